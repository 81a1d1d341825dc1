//! Ends a benchmark that hangs or whose processes died.
//!
//! A process that spins cannot be interrupted from its own thread. So another thread
//! looks now and then; when a batch is overdue or one of its processes has ended, it
//! says so and ends the program, which ends its children.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const TICK: Duration = Duration::from_millis(250);

#[derive(Debug)]
struct Watched {
    what: String,
    children: Vec<u32>,
    until: Instant,
}

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);
static STARTED: Once = Once::new();

/// While it lives, the children have to live too, and the time is limited.
#[derive(Debug)]
#[must_use]
pub(super) struct Armed(());

impl Drop for Armed {
    fn drop(&mut self) {
        *WATCHED.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Watches `children`, which nobody reaps meanwhile, until the result is dropped.
pub(super) fn arm(what: &str, children: Vec<u32>, limit: Duration) -> Armed {
    STARTED.call_once(|| drop(thread::spawn(watch)));
    let watched = Watched { what: what.into(), children, until: Instant::now() + limit };
    *WATCHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(watched);
    Armed(())
}

fn watch() {
    loop {
        thread::sleep(TICK);
        let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(now) = &*watched else { continue };
        let why = if now.children.iter().any(|child| has_ended(*child)) {
            "a process ended early"
        } else if Instant::now() >= now.until {
            "it hangs"
        } else {
            continue;
        };
        eprintln!("ringway: {}: {why}", now.what);
        std::process::exit(1);
    }
}

/// Whether a child has ended, leaving it to be reaped.
fn has_ended(child: u32) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), look), Ok(None)))
}
