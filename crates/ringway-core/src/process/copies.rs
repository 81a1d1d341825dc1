//! Counts of holders in shared memory, which every fork must raise: it copies the handles.
//!
//! The count goes up before the fork and down when a holder lets go. One that dies, or
//! execs, takes its share with it, and a child of a raw `clone` is not counted: whoever
//! reads the count learns whether there may be copies, not how many.

use super::{fork, global};
use crate::memory::Word32;
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::wait::Event;

/// What one handle counts by, and who sleeps in reliance on the count.
pub(super) struct Counted {
    count: Word32,
    sleepers: Vec<Event>,
}

impl Counted {
    /// There is about to be one holder more. Makes system calls only.
    pub(super) fn raise(&self) {
        // Relaxed: a look. So many are as good as more, and the count must not wrap round.
        let now = self.count.load(Relaxed);
        if says_copies(now) && now >= MOST {
            return;
        }
        // ORDERING holder-copies (SeqCst): an RMW before the look at the sleepers' bits: one
        // that announced itself after that look sees the count.
        let before = self.count.fetch_add(1, SeqCst);
        if !says_copies(before) {
            self.sleepers.iter().for_each(Event::notify_all);
        }
    }

    /// There is one holder less.
    pub(super) fn lower(&self) {
        // ORDERING holder-copies (SeqCst): as every change of it. The last holder of all
        // makes it negative, which is none.
        self.count.fetch_sub(1, SeqCst);
    }
}

const MOST: u32 = u32::MAX / 4;

fn says_copies(count: u32) -> bool {
    (1..=u32::MAX / 2).contains(&count)
}

/// To be called in a child of a fork that will exec, right before it does: that closes what
/// the child holds. Takes a lock that the fork waited for, and allocates nothing.
pub fn about_to_exec() {
    global::lock().before_exec();
}

/// Keeps a count in step with this process's forks. Dropped when the handle lets go, which
/// takes this holder off the count.
pub struct Copies {
    id: u64,
}

impl Copies {
    /// Raises `count` at every fork from now on, and before the fork wakes whoever sleeps
    /// on `sleepers` with the count as it was in mind.
    #[must_use]
    pub fn count(count: Word32, sleepers: Vec<Event>) -> Self {
        fork::install_handlers();
        let mut global = global::lock();
        let id = global.next_counted;
        global.next_counted += 1;
        global.counted.insert(id, Counted { count, sleepers });
        Self { id }
    }

    /// There is about to be one holder more, by other means than a fork.
    pub fn raise(&self) {
        if let Some(counted) = global::lock().counted.get(&self.id) {
            counted.raise();
        }
    }

    /// Whether `count` says that there may be copies.
    pub fn exist(count: &Word32) -> bool {
        // ORDERING holder-copies (SeqCst): stays behind the sleeper's announcement.
        says_copies(count.load(SeqCst))
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let counted = global::lock().counted.remove(&self.id);
        if let Some(counted) = counted {
            counted.lower();
        }
    }
}
