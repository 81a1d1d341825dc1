//! Frees the blocks that a dead process had in its hands: mark and sweep.
//!
//! A block of the dead is in use if a message names it. The dead publishes nothing any
//! more, and the living move a message only from a slot to a lease record, which they
//! write before they give the slot free. So whoever looks at all slots and *then* at all
//! records meets every message of the dead that was there all the time; what was taken
//! meanwhile is freed by its getter, by exact words, and missing or meeting it does not
//! matter.

use super::long::Place;
use super::ring::Ring;
use super::word::{Meta, Phase, State};
use crate::blocks::Marks;
use crate::sync::Ordering::Acquire;
use crate::sync::fence;

impl Ring {
    /// Frees the blocks of `dead` that no message names. For the holder of the exclusion.
    pub(super) fn sweep_blocks(&self, dead: u32) {
        let Some(mut marks) = self.pool.marks_for(dead) else { return };
        // Slots before records, each by acquire loads.
        for place in (0..self.capacity()).map(Place::slot) {
            self.mark_named(place, dead, &mut marks);
        }
        for place in (0..self.geometry().leases).map(Place::lease) {
            self.mark_named(place, dead, &mut marks);
        }
        self.pool.sweep(dead, &marks);
    }

    /// Marks the blocks of `dead` that the message at `place` names.
    fn mark_named(&self, place: Place, dead: u32, marks: &mut Marks) {
        let cell = self.cell(place);
        let Some(word) = cell.state() else { return };
        let holds = |state: State| {
            use Phase::{Freeing, Full, Redeliver, Taken};
            matches!(state.phase(), Some(Full | Taken | Redeliver | Freeing))
        };
        // ORDERING mpmc-commit (acquire): the message comes with the state; of a record,
        // ORDERING lease-record (acquire): the same.
        let before = State(word.load(Acquire));
        if !holds(before) || cell.meta().kind() != Meta::BLOCKS {
            return;
        }
        let what = cell.descriptor();
        // ORDERING mpmc-commit (acquire): the loads above come before the next one: if the
        // place was used again meanwhile, it shows, and what we read may be of two messages.
        // The next one acquires, too: what moved to a lease record meanwhile is met there.
        fence(Acquire);
        let after = State(word.load(Acquire));
        if holds(after) && after.lap() == before.lap() && what.owner == dead {
            // A block that is marked was met before, with all that follows it: the dead forms
            // no new chains. So the work is in proportion to blocks, whatever slots say.
            let _ = self.pool.walk(what).all(|block| marks.set(block));
        }
    }
}
