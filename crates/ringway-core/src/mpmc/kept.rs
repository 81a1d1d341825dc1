//! Grants that keep their slots, because all lease records are in use.
//!
//! In the segment such a slot looks as if a call of this process were amidst a get, and that
//! one may still give its message back. The caller of a grant has it for as long as it
//! likes: a getter of the same process that waited for it might wait for itself.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The positions of such grants of this process. Private memory.
#[derive(Default)]
pub(super) struct Kept(Mutex<BTreeSet<u64>>);

impl Kept {
    fn positions(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of `position` is taken, and a caller gets it.
    pub(super) fn begin(&self, position: u64) {
        self.positions().insert(position);
    }

    /// The caller lets go. Before its slot says so: who saw it taken and then finds it here
    /// knows that a caller had it.
    pub(super) fn end(&self, position: u64) {
        self.positions().remove(&position);
    }

    /// Whether a caller has it.
    pub(super) fn has(&self, position: u64) -> bool {
        self.positions().contains(&position)
    }
}
