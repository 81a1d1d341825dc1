//! `ringway ls` shows what named objects there are, `ringway rm` removes them.

mod common;

use common::{Outcome, PATIENCE, Scratch, ringway, run};
use ringway::Spawn;
use ringway::named::Name;
use ringway::pipe::Connection;
use ringway::queue::{self, Pod};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A name of this test's. Gone when dropped, if it is not already.
struct Named(String);

impl Named {
    fn new(what: &str) -> Self {
        Self(format!("cli-test-{}-{what}", std::process::id()))
    }

    fn path(&self) -> std::path::PathBuf {
        Name::new(&self.0).unwrap().path().into()
    }

    /// Its row of the table: kind, layout and held.
    fn row(&self) -> Option<(String, String, String)> {
        let outcome = run(ringway().arg("ls"));
        assert!(outcome.status.success(), "{outcome:?}");
        row(&outcome, &self.0)
    }

    fn remove(&self) -> Outcome {
        run(ringway().args(["rm", &self.0]))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = Name::new(&self.0).and_then(|name| name.remove());
    }
}

/// Kind, layout and held in the row of that name.
fn row(outcome: &Outcome, name: &str) -> Option<(String, String, String)> {
    let mut rows = outcome.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.first() == Some(&name))?;
    let [.., layout, held] = row[..] else { panic!("{row:?}") };
    Some((row[1].into(), layout.into(), held.into()))
}

fn is(kind: &str, layout: &str, held: &str) -> Option<(String, String, String)> {
    Some((kind.into(), layout.into(), held.into()))
}

/// Makes a queue and a pipe, says so, and holds them until it is killed.
fn hold((names, mut ready): ([String; 2], Connection<()>)) {
    let queue = queue::Builder::new().name(&names[0]).bounded::<u32, Pod>(10).unwrap();
    queue.put(1).unwrap();
    let pipe = ringway::pipe::Builder::new();
    let _pipe: Connection<u32> = pipe.create_duplex(&names[1]).unwrap();
    ready.send(&()).unwrap();
    // Until the parent is gone, if it does not kill us.
    let _ = ready.recv();
}

#[test]
fn what_a_killed_process_left_is_shown_and_removed() {
    ringway::init_test!(hold);
    let [queue, pipe] = ["queue", "pipe"].map(Named::new);
    let (mut mine, theirs) = ringway::pipe::duplex::<()>().unwrap();
    let names = [queue.0.clone(), pipe.0.clone()];
    let mut child = Spawn::new(hold).kill_on_drop(true).spawn((names, theirs)).unwrap();
    mine.recv_timeout(PATIENCE).unwrap();
    assert_eq!(queue.row(), is("queue", "1", "yes"));
    assert_eq!(pipe.row(), is("pipe", "1", "yes"));

    child.kill().unwrap();
    child.join().unwrap();
    assert_eq!(queue.row(), is("queue", "1", "no"));
    assert_eq!(pipe.row(), is("pipe", "1", "no"));

    for stale in [&queue, &pipe] {
        let removed = stale.remove();
        assert!(removed.status.success(), "{removed:?}");
        assert_eq!(removed.stdout, format!("removed {}\n", stale.0));
        assert_eq!((stale.row(), stale.path().exists()), (None, false));
        let again = stale.remove();
        assert_eq!(again.status.code(), Some(1), "{again:?}");
        assert!(again.stderr.contains("nothing is named"), "{again:?}");
    }
}

#[test]
fn removing_leaves_it_to_those_who_have_it() {
    let name = Named::new("kept");
    let queue = queue::Builder::new().name(&name.0).bounded::<u32, Pod>(10).unwrap();
    let removed = name.remove();
    assert!(removed.status.success(), "{removed:?}");
    assert!(removed.stdout.contains("open keep it"), "{removed:?}");
    queue.put(7).unwrap();
    assert_eq!(queue.get().unwrap(), 7);
}

#[test]
fn whatever_else_has_such_a_name_is_shown_and_harms_nothing() {
    let name = Named::new("model");
    let queue = queue::Builder::new().name(&name.0).bounded::<u32, Pod>(10).unwrap();
    let mut bytes = fs::read(name.path()).unwrap();
    drop(queue);
    // The layout version.
    bytes[8] = 99;

    let scratch = Scratch::new("named");
    let file = |name: &str| scratch.path().join(format!("ringway.{name}"));
    fs::write(file("future"), &bytes).unwrap();
    fs::write(file("short"), "RINGWAY").unwrap();
    fs::write(file("empty"), "").unwrap();
    fs::write(file("secret"), "x").unwrap();
    fs::set_permissions(file("secret"), PermissionsExt::from_mode(0o000)).unwrap();
    // Permissions do not stop the superuser.
    let readable = fs::File::open(file("secret")).is_ok();
    fs::create_dir(file("directory")).unwrap();
    symlink(name.path(), file("link")).unwrap();
    fs::write(file("no name"), "x").unwrap();
    fs::write(scratch.path().join("other"), "x").unwrap();

    let command =
        |arguments: &[&str]| run(ringway().args(arguments).env("RINGWAY_DIR", scratch.path()));
    let outcome = command(&["ls"]);
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(row(&outcome, "future"), is("?", "99", "no"));
    for none in ["short", "empty", "directory", "link"] {
        assert_eq!(row(&outcome, none), is("-", "-", "no"), "{none}");
    }
    assert_eq!(
        row(&outcome, "secret"),
        if readable { is("-", "-", "no") } else { is("?", "?", "?") }
    );
    assert_eq!(outcome.stdout.lines().count(), 1 + 6, "{outcome:?}");

    assert!(command(&["rm", "link"]).status.success());
    assert!(name.path().exists(), "the link was followed");
    assert!(command(&["rm", "future"]).status.success());
    assert_eq!(command(&["rm", "directory"]).status.code(), Some(1));
    for bad in ["no name", "../other", ""] {
        assert_eq!(command(&["rm", bad]).status.code(), Some(2), "{bad}");
    }
    assert!(file("no name").exists());
    fs::remove_dir(file("directory")).unwrap();
}

#[test]
fn an_empty_directory_has_a_header_and_a_missing_one_an_error() {
    let scratch = Scratch::new("named-empty");
    let outcome = run(ringway().arg("ls").env("RINGWAY_DIR", scratch.path()));
    assert!(outcome.status.success() && outcome.stdout.starts_with("NAME "), "{outcome:?}");
    assert_eq!(outcome.stdout.lines().count(), 1);
    let missing = scratch.path().join("missing");
    let outcome = run(ringway().arg("ls").env("RINGWAY_DIR", &missing));
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains(missing.to_str().unwrap()), "{outcome:?}");
}
