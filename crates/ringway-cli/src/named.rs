//! `ringway ls` and `ringway rm`: queues and pipes that have a name.

use crate::failure::Failure;
use crate::output::say;
use indicatif::{BinaryBytes, HumanDuration};
use ringway::named::{Contents, Kind, Name, Sight};
use std::fmt::Write;
use std::time::SystemTime;

/// List named queues and pipes
///
/// They are the files `ringway.*` in the directory $RINGWAY_DIR, or in /dev/shm. HELD
/// tells whether a living process uses one: without, it was left behind, by a process
/// that was killed or on purpose. LAYOUT is the version of what is in it; `-` if it is no
/// queue or pipe of Ringway, `?` if it cannot be read, for a reason that is told.
#[derive(Debug, clap::Args)]
pub(crate) struct List;

/// Remove a named queue or pipe
///
/// Only the name goes: processes that have it open keep it, and its memory is freed when
/// the last of them lets go. Exit status: 0 if it is removed, 1 if there is none or it
/// cannot be removed, 2 if that is no name.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// The name, as `ringway ls` shows it
    name: String,
}

/// Prints the table.
pub(crate) fn list(_: &List) -> Result<(), Failure> {
    let all = Sight::all().map_err(|e| Failure::Failed(e.to_string()))?;
    let width = all.iter().map(|sight| sight.name.as_str().len()).max().unwrap_or(0).max(4);
    let mut table = String::new();
    let mut row = |name: &str, [kind, size, age, layout, held]: [&str; 5]| {
        // Writing to a string does not fail.
        let _ =
            writeln!(table, "{name:width$}  {kind:5}  {size:>11}  {age:>4}  {layout:>6}  {held}");
    };
    row("NAME", ["KIND", "SIZE", "AGE", "LAYOUT", "HELD"]);
    for Sight { name, size, created, contents, .. } in &all {
        if let Err(why) = contents {
            eprintln!("ringway: cannot read {}: {why}", name.path().display());
        }
        let (kind, layout, held) = columns(contents.as_ref().ok());
        // A clock that was set back makes it new.
        let age = created.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
        let age = age.map_or("?".into(), |age| format!("{:#}", HumanDuration(age)));
        let size = BinaryBytes(*size).to_string();
        row(name.as_str(), [kind, &size, &age, &layout, held]);
    }
    Ok(say(&table)?)
}

/// Kind, layout and held.
fn columns(contents: Option<&Contents>) -> (&'static str, String, &'static str) {
    let Some(Contents { layout, kind, held, .. }) = contents else { return ("?", "?".into(), "?") };
    let kind = match (layout, kind) {
        (None, _) => "-",
        (_, Some(Kind::Pipe)) => "pipe",
        (_, Some(Kind::Queue)) => "queue",
        _ => "?",
    };
    let layout = layout.map_or("-".into(), |layout| layout.to_string());
    (kind, layout, if *held { "yes" } else { "no" })
}

/// Removes one.
pub(crate) fn remove(Remove { name }: &Remove) -> Result<(), Failure> {
    let name = Name::new(name).map_err(|e| Failure::Usage(e.to_string()))?;
    let told = |e: ringway::queue::Error| Failure::Failed(e.to_string());
    let sight = Sight::of(name).map_err(told)?;
    sight.name.remove().map_err(told)?;
    let held = matches!(sight.contents, Ok(Contents { held: true, .. }));
    let rest = if held { "; processes that have it open keep it" } else { "" };
    Ok(say(&format!("removed {}{rest}\n", sight.name))?)
}
