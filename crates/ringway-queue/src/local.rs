//! This process's overflow of a queue, found again after a fork.

use crate::overflow::Overflow;
use ringway_core::mpmc::SharedRing;
use ringway_core::process::generation;
use ringway_core::process::global::{self, SegmentKey};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// The overflows of this process, by segment: several handles to one queue must share
/// one. Locked only while the process-wide state is, for which fork waits: a child never
/// inherits it locked.
static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

struct Known {
    key: SegmentKey,
    /// Those of a forebear, copied by fork, are none of ours.
    generation: u64,
    overflow: Weak<Overflow>,
}

/// A handle's way to its process's overflow, and the one that replaces it in a forked
/// child.
pub(crate) struct Local {
    /// `None` only while it is dropped.
    overflow: Option<Arc<Overflow>>,
    key: SegmentKey,
    next: OnceLock<Arc<Local>>,
}

impl Local {
    /// For a new handle to the queue `ring` in the segment `key`.
    pub(crate) fn new(key: SegmentKey, ring: &SharedRing) -> Arc<Self> {
        let overflow = obtain(key, ring);
        overflow.add_handle();
        Arc::new(Self { overflow: Some(overflow), key, next: OnceLock::new() })
    }

    /// This process's overflow; `None` only while it is dropped.
    #[inline]
    pub(crate) fn overflow(&self) -> Option<&Arc<Overflow>> {
        let overflow = self.overflow.as_ref()?;
        if overflow.is_inherited() { self.overflow_slow() } else { Some(overflow) }
    }

    #[cold]
    fn overflow_slow(&self) -> Option<&Arc<Overflow>> {
        let mut link = self;
        loop {
            let overflow = link.overflow.as_ref()?;
            if !overflow.is_inherited() {
                return Some(overflow);
            }
            link = match link.next.get() {
                Some(next) => next,
                None => {
                    let new = Self::new(self.key, &overflow.ring);
                    // Under the lock that fork waits for: a child never inherits a cell
                    // that a thread was about to fill.
                    let fork_waits = global::lock();
                    let second = link.next.set(new).err();
                    drop(fork_waits);
                    // Another thread was quicker.
                    drop(second);
                    continue;
                }
            };
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let Some(overflow) = self.overflow.take() else { return };
        if overflow.is_inherited() {
            // A copy of the parent's, as it was in the middle of whatever it did.
            std::mem::forget(overflow);
        } else {
            overflow.remove_handle();
        }
    }
}

/// The overflow of this process for the queue, or a new one.
fn obtain(key: SegmentKey, ring: &SharedRing) -> Arc<Overflow> {
    let new = Arc::new(Overflow::new(ring.clone()));
    let fork_waits = global::lock();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|known| known.generation == generation() && known.overflow.strong_count() > 0);
    let found = known
        .iter()
        .find_map(|known| if known.key == key { known.overflow.upgrade() } else { None });
    if found.is_none() {
        known.push(Known { key, generation: generation(), overflow: Arc::downgrade(&new) });
    }
    // Both are free before anything is dropped: that may take them.
    drop(known);
    drop(fork_waits);
    found.unwrap_or(new)
}

/// All overflows of this process.
pub(crate) fn all() -> Vec<Arc<Overflow>> {
    let _fork_waits = global::lock();
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mine = known.iter().filter(|known| known.generation == generation());
    mine.filter_map(|known| known.overflow.upgrade()).collect()
}
