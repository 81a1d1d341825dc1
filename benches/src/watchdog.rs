//! Ends a measurement whose partner died or whose subject hangs.
//!
//! A spinning subject cannot be interrupted from its own thread. So one thread looks
//! every `TICK` whether an armed wait is overdue or its partner had ended a tick ago; then it
//! says so, kills and reaps the partner, and ends the program with [`EXIT`]. It
//! sleeps in between: arming is one uncontended lock, outside the timed part.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long one batch may take. A batch is meant to take well under a second.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const TICK: Duration = Duration::from_millis(500);
/// The program's exit status when the watchdog ended it.
pub const EXIT: i32 = 3;

/// The wait that is going on.
#[derive(Debug)]
struct Watched {
    what: String,
    partner: Pid,
    until: Instant,
    /// Whether the last look found that it had ended. One may have done so in order, just before
    /// the wait is over.
    ended: bool,
}

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);
static STARTED: Once = Once::new();

/// While it lives, the partner has to live too, and `limit` bounds the time.
#[derive(Debug)]
#[must_use]
pub struct Armed(());

impl Drop for Armed {
    fn drop(&mut self) {
        *WATCHED.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Watches `partner`, a child that nobody reaps meanwhile, until the result drops.
pub fn arm(what: &str, partner: Pid, limit: Duration) -> Armed {
    STARTED.call_once(|| drop(std::thread::spawn(watch)));
    let until = Instant::now() + limit;
    let watched = Watched { what: what.into(), partner, until, ended: false };
    *WATCHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(watched);
    Armed(())
}

fn watch() {
    loop {
        std::thread::sleep(TICK);
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(now) = &mut *watched else { continue };
        let ended = std::mem::replace(&mut now.ended, has_ended(now.partner));
        if !ended && Instant::now() < now.until {
            continue;
        }
        let why = if ended { "the partner ended" } else { "nothing came in time" };
        eprintln!("{}: {why}; giving up", now.what);
        // The lock is held: the pid cannot be reaped, so it cannot be someone else's.
        let _ = rustix::process::kill_process(now.partner, Signal::KILL);
        let _ = rustix::process::waitpid(Some(now.partner), WaitOptions::empty());
        std::process::exit(EXIT);
    }
}

/// Whether a child has ended, leaving it to be reaped.
fn has_ended(child: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(WaitId::Pid(child), look), Ok(None))
}
