//! Takes of tasks, counted so that no death leaves a doubt.
//!
//! One store decides whether a task was taken: its commit. How many an actor took is
//! counted after it, by another store. A death between the two must not lose count, so the
//! actor writes down, before the commit, that it is about to make one and how to tell
//! whether it did:
//!
//! ```text
//! take_at = the place, take_state = what is written there     how to tell; or the record of a
//!                                                             stream, and its word
//! take = number + 1 | PLACE, BATCH or STREAM                  the intent
//! the place or record changes, or the batch is announced done COMMIT
//! taken = number + 1 | count                                  counted; the intent is void
//! ```
//!
//! An intent counts as long as its number is the next. Only repair asks, after the proof of
//! the death: all stores are made then, and no other process changes a place that bears
//! the dead one's name. Repair does, and first makes void what it is about to undo. So at every
//! instruction of taker and repair the count is exact: what is in `taken`, and one
//! intent whose commit can be seen.

use super::actor::{Actor, Actors};
use crate::mpmc::layout::at;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// A take that is not counted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Of the message at a place. Committed once something else than `state` is there.
    Place {
        /// A number for the place.
        at: u64,
        /// The state word of a message that is the taker's.
        state: u64,
    },
    /// Of a stream. Committed once the word of its record says that the actor's participant
    /// has taken it.
    Stream {
        /// The number of the record.
        record: u64,
        /// What its word is until somebody takes it.
        truth: u64,
    },
    /// Of the batch that the actor announces. Committed once it is announced as done.
    Batch,
}

const PLACE: u64 = 1;
const BATCH: u64 = 2;
const STREAM: u64 = 3;

/// `number:32 | count:32`: how often an actor took, and how many tasks. Both wrap.
#[derive(Clone, Copy)]
struct Taken(u64);

impl Taken {
    fn next_number(self) -> u64 {
        (self.0 >> 32).wrapping_add(1) & u64::from(u32::MAX)
    }

    fn count(self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "the low half")]
        let count = self.0 as u32;
        count
    }

    fn and(self, many: u32) -> Self {
        Self(self.next_number() << 32 | u64::from(self.count().wrapping_add(many)))
    }
}

impl Actor {
    /// What `body` takes with this actor counts as tasks.
    pub(crate) fn counting<R>(&mut self, body: impl FnOnce(&mut Self) -> R) -> R {
        self.counting = true;
        let result = body(self);
        self.counting = false;
        result
    }

    /// Whether it does.
    pub(crate) fn is_counting(&self) -> bool {
        self.counting
    }

    /// What follows is thrown away and counts for nobody.
    pub(crate) fn stop_counting(&mut self) {
        self.counting = false;
    }
}

impl Actors {
    /// `actor` is about to commit a take of tasks. Nothing, if it does not count.
    pub(crate) fn begin_take(&self, actor: &mut Actor, take: Take) {
        if !actor.is_counting() {
            return;
        }
        let index = actor.index();
        let (kind, told_by) = match take {
            Take::Place { at, state } => (PLACE, Some((at, state))),
            Take::Stream { record, truth } => (STREAM, Some((record, truth))),
            Take::Batch => (BATCH, None),
        };
        if let Some((at, state)) = told_by {
            self.store_take::<{ at::actor::TAKE_AT }>(index, at);
            self.store_take::<{ at::actor::TAKE_STATE }>(index, state);
        }
        let number = self.taken_word(index).next_number();
        self.store_take::<{ at::actor::TAKE }>(index, number << 2 | kind);
    }

    /// `actor` has committed it: so many tasks.
    pub(crate) fn end_take(&self, actor: &mut Actor, many: u32) {
        if actor.is_counting() {
            let taken = self.taken_word(actor.index()).and(many);
            self.store_take::<{ at::actor::TAKEN }>(actor.index(), taken.0);
        }
    }

    /// Tasks that the actor of record `index` took, but for a [pending](Self::pending_take)
    /// take. Wraps.
    pub(crate) fn taken(&self, index: usize) -> u32 {
        self.taken_word(index).count()
    }

    /// The take of a dead actor that was not counted, whether it was committed or not.
    pub(crate) fn pending_take(&self, index: usize) -> Option<Take> {
        let take = self.load_take::<{ at::actor::TAKE }>(index);
        if take >> 2 != self.taken_word(index).next_number() {
            return None;
        }
        let at = self.load_take::<{ at::actor::TAKE_AT }>(index);
        let state = self.load_take::<{ at::actor::TAKE_STATE }>(index);
        match take & 3 {
            PLACE => Some(Take::Place { at, state }),
            STREAM => Some(Take::Stream { record: at, truth: state }),
            BATCH => Some(Take::Batch),
            _ => None,
        }
    }

    /// `actor` has not committed what it was about to.
    pub(crate) fn withdraw_take(&self, actor: &mut Actor) {
        if actor.is_counting() {
            self.void_take(actor.index());
        }
    }

    /// The pending take of a dead actor was committed, and what tells so will change.
    pub(crate) fn count_take(&self, index: usize) {
        let taken = self.taken_word(index).and(1);
        self.store_take::<{ at::actor::TAKEN }>(index, taken.0);
    }

    /// The pending take of a dead actor was not committed, and will be undone.
    pub(crate) fn void_take(&self, index: usize) {
        self.store_take::<{ at::actor::TAKE }>(index, 0);
    }

    /// Begins anew. The intent goes first: beside a count of nothing it might be the next.
    pub(super) fn forget_takes(&self, index: usize) {
        self.void_take(index);
        self.store_take::<{ at::actor::TAKEN }>(index, 0);
    }

    fn taken_word(&self, index: usize) -> Taken {
        Taken(self.load_take::<{ at::actor::TAKEN }>(index))
    }

    fn store_take<const FIELD: usize>(&self, index: usize, value: u64) {
        if let Some(word) = self.word::<FIELD>(index) {
            // ORDERING task-take (release): how to tell, the intent, the commit and the
            // count are stored in this order. Whoever loads them after the proof of the
            // death has all that were made; a kill is between two of them.
            word.store(value, Release);
        }
    }

    fn load_take<const FIELD: usize>(&self, index: usize) -> u64 {
        // ORDERING task-take (acquire): a repairer that was killed has voided intents.
        self.word::<FIELD>(index).map_or(0, |word| word.load(Acquire))
    }

    /// Whether a record must stay with its process: what its actor took is not all done.
    pub(crate) fn has_taken(&self, actor: &Actor) -> bool {
        // Relaxed: only its actor writes it.
        let taken = self.word::<{ at::actor::TAKEN }>(actor.index());
        taken.is_some_and(|word| Taken(word.load(Relaxed)).count() != 0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::{Heap, Memory};
    use crate::mpmc::layout::at::RECORD;

    #[test]
    fn an_intent_counts_until_it_is_counted() {
        let memory = Memory::new(Heap::new(RECORD));
        let actors = Actors::new(&memory, 0, 1).unwrap();
        let mut actor = actors.claim(1, 0).unwrap();
        let take = Take::Place { at: 3, state: 77 };
        actors.begin_take(&mut actor, take);
        assert_eq!(actors.pending_take(0), None, "it does not count tasks");
        actor.counting(|actor| {
            for n in 0..3 {
                assert_eq!((actors.taken(0), actors.pending_take(0)), (n, None));
                actors.begin_take(actor, take);
                assert_eq!((actors.taken(0), actors.pending_take(0)), (n, Some(take)));
                actors.end_take(actor, 1);
            }
            actors.begin_take(actor, Take::Batch);
            assert_eq!(actors.pending_take(0), Some(Take::Batch));
            actors.end_take(actor, 5);
            // Thought better of: the next one takes its number.
            actors.begin_take(actor, Take::Batch);
            actors.begin_take(actor, take);
            assert_eq!((actors.taken(0), actors.pending_take(0)), (8, Some(take)));
        });
        actors.void_take(0);
        assert_eq!(actors.pending_take(0), None);
        assert!(actors.has_taken(&actor));
        actors.release(actor);
        let actor = actors.claim(1, 0).unwrap();
        assert!(!actors.has_taken(&actor));
    }
}
