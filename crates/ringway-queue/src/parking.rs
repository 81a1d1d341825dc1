//! Threads of one process waiting for each other.
//!
//! `atomic-wait` sleeps on words of the heap. Its futexes are private to the process,
//! so it must never be given a word of a segment: a peer's wake-up would not arrive.
//! Processes wait for each other with `ringway_core::wait`.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::SeqCst;

/// Lets threads wait for a change of something that a lock guards.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    /// Goes up with every change. A thread would have to sleep through exactly 2^32 of
    /// them to miss one.
    changes: AtomicU32,
    sleepers: AtomicU32,
}

impl Parking {
    /// Waits until `done`, which takes the lock to look.
    pub(crate) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        // ORDERING parking (SeqCst): as every access here: either `changed` sees this sleeper, or the
        // number read below is that after the change.
        self.sleepers.fetch_add(1, SeqCst);
        loop {
            let seen = self.changes.load(SeqCst);
            if done() {
                break;
            }
            atomic_wait::wait(&self.changes, seen);
        }
        // ORDERING parking (SeqCst): as above.
        self.sleepers.fetch_sub(1, SeqCst);
    }

    /// Whether a thread waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        // ORDERING parking (SeqCst): stays behind the change.
        self.sleepers.load(SeqCst) > 0
    }

    /// Wakes those who wait. Call it after the change, without the lock.
    pub(crate) fn changed(&self) {
        // ORDERING parking (SeqCst): the change comes before the look for sleepers.
        self.changes.fetch_add(1, SeqCst);
        if self.is_waited_for() {
            atomic_wait::wake_all(&self.changes);
        }
    }
}
