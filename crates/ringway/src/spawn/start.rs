//! The child's side: `init` finds out whether this process is a child, and if so runs
//! the function.

use super::entry::{Call, Entry};
use super::registry::{self, Route};
use super::{Order, VARIABLE};
use crate::letter::{OpenError, Opened};
use crate::mark::Mark;
use ringway_codec::DecodeError;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};

/// What a child that cannot do its work exits with: EX_SOFTWARE of sysexits.h.
const CANNOT_START: i32 = 70;
/// What Rust programs exit with after a panic.
const PANICKED: i32 = 101;

/// Makes this program able to start children with the functions in `entries`. To be the
/// first line of `main`.
///
/// In a process started by [`spawn`](crate::spawn()), runs the function and exits; in
/// every other process, returns at once. What `main` does before this line happens in
/// every child too.
///
/// ```no_run
/// fn worker(name: String) {
///     println!("{name} runs in process {}", std::process::id());
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ringway::init(ringway::entries![worker]);
///     ringway::spawn(worker, "the first".to_string())?.join()?;
///     Ok(())
/// }
/// ```
///
/// # Panics
///
/// If two different functions in `entries` have the same name: closures in one function
/// body, or functions of one name declared in different blocks of it.
pub fn init(entries: impl IntoIterator<Item = Entry>) {
    start(entries.into_iter().collect(), &Route::Main);
}

/// What [`init`] does, for a given way to it.
pub(super) fn start(entries: Vec<Entry>, route: &Route) {
    registry::register(&entries, route);
    if let Some(letter) = waiting_letter() {
        // Also a panic of the function ends here, and not in a frame of the parent's
        // program or of the test harness.
        let outcome = catch_unwind(AssertUnwindSafe(|| open(letter, &entries).map(|call| call())));
        exit(match outcome {
            Ok(Ok(code)) => number(code),
            Ok(Err(refusal)) => refuse(&refusal),
            Err(_) => PANICKED,
        });
    }
}

/// Ends a child that came past `init`: it is about to start another like itself.
pub(super) fn refuse_recursion() {
    if !registry::is_initialised() && waiting_letter().is_some() {
        exit(refuse(
            "this process was spawned to run a function, but went on in main instead; \
             ringway::init must be the first line of main",
        ));
    }
}

/// The variable alone makes no child: it is inherited by every program further down,
/// the letter is not.
fn waiting_letter() -> Option<Mark> {
    let mark = std::env::var(VARIABLE).ok()?.parse::<Mark>().ok()?;
    mark.is_here().then_some(mark)
}

fn refuse(why: &str) -> i32 {
    eprintln!("ringway: cannot start: {why}");
    CANNOT_START
}

fn open(letter: Mark, entries: &[Entry]) -> Result<Call, String> {
    let letter = Opened::read(letter).map_err(|error| match error {
        OpenError::NotHere => "the letter from the parent is gone".to_string(),
        OpenError::ReadElsewhere => "another process has read the letter from the parent; \
            ringway::init must come before main starts other programs"
            .to_string(),
        OpenError::Decode(e) => format!("the letter from the parent: {e}"),
        OpenError::Os(e) => format!("the letter from the parent: {e}"),
    })?;
    letter.unpack(|bytes| {
        let failed = |e: postcard::Error| format!("the order: {}", DecodeError(e.into()));
        let (order, arguments) = postcard::take_from_bytes::<Order>(bytes).map_err(failed)?;
        let Order { entry: name, process_name, stdout, parent } = order;
        settle(&process_name, stdout.map(|fd| fd.0), parent.map(|fd| fd.0))
            .map_err(|e| format!("{name}: {e}"))?;
        let entry = entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
            format!("{name} is not among the entries of ringway::init ({})", known.join(", "))
        })?;
        entry.decode(arguments).map_err(|e| format!("{name}: its arguments: {e}"))
    })
}

fn settle(name: &str, stdout: Option<OwnedFd>, parent: Option<OwnedFd>) -> io::Result<()> {
    // exec calls the process "exe", after the link it was started through. Only a name:
    // without it the child is as good.
    let _ = std::fs::write("/proc/self/comm", name);
    if let Some(stdout) = stdout {
        rustix::stdio::dup2_stdout(&stdout)?;
    }
    if let Some(parent) = parent {
        ringway_core::peer::spawn_quiet(move || die_with(&parent))?;
    }
    Ok(())
}

/// Sleeps until the parent is dead, then kills this process.
///
/// Not PR_SET_PDEATHSIG: that kills the child when the *thread* that started it ends.
fn die_with(parent: &OwnedFd) {
    // Any other answer than an interruption: it is dead, or nobody can watch it.
    while poll(&mut [PollFd::new(parent, PollFlags::IN)], None) == Err(Errno::INTR) {}
    // Refused to no process.
    let _ = kill_process(getpid(), Signal::KILL);
}

/// The standard library compares exit codes but does not tell them.
fn number(code: ExitCode) -> i32 {
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(u8::MAX).into()
}
