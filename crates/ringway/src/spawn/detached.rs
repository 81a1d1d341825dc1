//! Children that nobody waits for any more.
//!
//! A dead child stays in the process table until its parent asks for its status. So
//! the handle of a child that is dropped early comes here, and is asked about again
//! whenever another child is started or dropped. Dead children thus never pile up: at
//! most those are left that died since the last time.

use std::process::Child;
use std::sync::{Mutex, PoisonError};

static DETACHED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Takes over a child that may still run. The pipes to it are closed: nobody will use
/// them, and the child may wait for the end of one.
pub(super) fn keep(mut child: Child) {
    drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
    let mut detached = DETACHED.lock().unwrap_or_else(PoisonError::into_inner);
    detached.push(child);
    retain_living(&mut detached);
}

/// Reaps those that have ended.
pub(super) fn reap() {
    retain_living(&mut DETACHED.lock().unwrap_or_else(PoisonError::into_inner));
}

fn retain_living(detached: &mut Vec<Child>) {
    // An error means that the child is not ours to reap any more.
    detached.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}
