//! Who announces a position, alone or within a batch.
//!
//! A batch's announcement has a count beside it and covers so many positions. Its writer
//! stores the count first and takes it back last; a reader that sees a claim therefore
//! sees a cover of all that was claimed, or something stored after the batch was over, and
//! with it the commits. A cover may be too wide while its writer moves on: a live one then
//! only makes repair try again, and for a dead one each position is decided by the same
//! rule as any other. Only a DONE must be exact, for it decides by itself
//! ([`Actors::done`](crate::peer::Actors::done)).

use super::ring::Ring;
use super::word::{Announcement, Phase, State};
use crate::peer::Liveness;
use crate::sync::Ordering::{Relaxed, SeqCst};

/// Who may have claimed a position that is claimed and not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimant {
    /// Somebody who lives, or was quicker and will move on.
    Live,
    /// One who is dead, and had committed it as part of a batch.
    Done,
    /// One who is dead: nobody else covers it.
    Dead,
}

impl Ring {
    /// Whether the actor of a record may have claimed what `what`, a single put or get,
    /// announces.
    pub(super) fn announces(&self, actor: usize, what: Announcement) -> bool {
        let (theirs, count) = self.actors.covering(actor);
        let pair = match (what.as_put(), what.as_get()) {
            (Some(position), _) => (theirs.as_put(), position),
            (_, Some(position)) => (theirs.as_get().or(theirs.as_done()), position),
            _ => return false,
        };
        let (Some(first), position) = pair else { return false };
        self.positions.covers(first, count, position)
    }

    /// Who may have claimed the position of `what`, which is claimed. `dead` is proven.
    pub(super) fn claimant(
        &self,
        what: Announcement,
        dead: u32,
        liveness: &dyn Liveness,
    ) -> Claimant {
        let mut found = Claimant::Dead;
        for actor in (0..self.actors.count()).filter(|actor| self.announces(*actor, what)) {
            let participant = self.actors.participant(actor);
            if participant == 0 {
                continue;
            }
            if participant != dead && !liveness.proven_dead(participant) {
                found = Claimant::Live;
            } else if self.has_done(actor, what) {
                // Looked at after the proof, which was asked for after the claim was seen:
                // whoever claimed this position has stood still since.
                return Claimant::Done;
            }
        }
        found
    }

    /// Whether the actor of a record has committed the get `what` as part of a batch.
    fn has_done(&self, actor: usize, what: Announcement) -> bool {
        let covered = |(first, count), position| self.positions.covers(first, count, position);
        what.as_get()
            .zip(self.actors.done(actor))
            .is_some_and(|(position, done)| covered(done, position))
    }

    /// Settles what the actor of a dead participant's record announced. `false` if that
    /// cannot be told yet.
    pub(super) fn resolve(&self, actor: usize, dead: u32, liveness: &dyn Liveness) -> bool {
        let (what, count) = self.actors.covering(actor);
        let first = what.as_put().or(what.as_get()).or(what.as_done());
        let Some(mut position) = first.filter(|first| self.positions.is_valid(*first)) else {
            return true;
        };
        let mut resolved = true;
        for _ in 0..count.min(self.capacity()) {
            if what.as_put().is_some() {
                resolved &= self.resolve_put(position, dead, liveness);
            } else if what.as_get().is_some() {
                resolved &= self.resolve_get(position, dead, liveness);
            } else {
                self.finish(position);
            }
            position = self.positions.next(position);
        }
        resolved
    }

    /// Releases the slot of `position`, which a dead getter committed as taken, if it did
    /// not do so itself.
    pub(super) fn finish(&self, position: u64) {
        // ORDERING mpmc-claim (acquire): as in `resolve_put`.
        if !self.passed(self.dequeue_pos.load(SeqCst), position) {
            return;
        }
        let lap = self.positions.lap(position);
        let [full, empty] =
            [State::of(Phase::Full, lap), State::of(Phase::Empty, self.positions.lap_after(lap))];
        if let Some(word) = self.state_word(position) {
            // ORDERING mpmc-commit (SeqCst): as in `resolve_put`, and failure too.
            let _ = word.compare_exchange(full.0, empty.0, SeqCst, Relaxed);
        }
    }
}
