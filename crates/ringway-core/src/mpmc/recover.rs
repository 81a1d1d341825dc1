//! Repair after a death.
//!
//! # The argument
//!
//! * A position `p` was claimed iff `enqueue_pos` is beyond it, and by one winner. The
//!   winner announced `p` before its claim, so whoever sees the claim sees that
//!   announcement or a later one by the same actor. A later one was stored after the
//!   winner's commit, so whoever reads it sees the commit, and the slot is not EMPTY
//!   any more. Hence: if `p` is claimed, no live actor announces it, and *then* the
//!   slot is still EMPTY, the winner is dead. Which dead one does not matter.
//! * The same for gets, with `dequeue_pos` and FULL.
//! * Every change is a CAS from an exact old word, or a store that only the holder of
//!   the exclusion makes. So repair can be killed anywhere and started over.
//!
//! An announcement may be of several positions (`cover`): the argument is about each.
//!
//! A live actor that announced `p` and lost the race for it will move on: until then
//! repair answers [`Recovery::Retry`].

use super::cover::{Claimant, Claims};
use super::long::Place;
use super::ring::Ring;
use super::word::{Phase, State, marks};
use crate::peer::{Liveness, Standing};
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};

/// What became of an attempt to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The participant's record is free: nothing to repair.
    Nothing,
    /// There is no proof that it is dead.
    Alive,
    /// Somebody else repairs it or joins in its place.
    Busy,
    /// A live actor is just about to claim the same position. Try again shortly.
    Retry,
    /// Repaired; the record is free.
    Done,
}

impl Ring {
    /// Repairs what participant `dead` left, if it is proven dead: unclaims or buries
    /// its claims, redelivers what it had taken and not committed, frees its actors and
    /// its record, frees the blocks that nothing names, and wakes every sleeper.
    ///
    /// Any survivor may call this at any time, many at once; a repairer may be killed
    /// anywhere. The caller must not be amidst an operation. Takes time in proportion
    /// to slots, actors and blocks.
    pub fn recover(&self, dead: u32, liveness: &dyn Liveness) -> Recovery {
        let mut outcome = Recovery::Busy;
        liveness.alone(dead, &mut || outcome = self.recover_alone(dead, liveness));
        outcome
    }

    /// As [`recover`](Self::recover), for one who holds the exclusion already.
    pub fn recover_alone(&self, dead: u32, liveness: &dyn Liveness) -> Recovery {
        // Proof first, then the standing: nobody joins while we hold the exclusion, so
        // a record that is not free after the proof belongs to the dead.
        if !liveness.proven_dead(dead) {
            return Recovery::Alive;
        }
        if self.participants.standing(dead) == Standing::Free {
            return Recovery::Nothing;
        }
        self.participants.bury(dead);
        // Before what they tell by is changed.
        self.settle_takes(dead);
        let claims = self.claims(dead, liveness);
        // Which of slot and record is the truth, the slot tells as long as it is FULL.
        self.drop_copies(&claims);
        let resolved = self.resolve(&claims);
        // First of all: what is named in slots and is the dead's is nothing any more.
        self.settle_streams(dead);
        // Lease records first: which of slot and record is the truth, the slot tells.
        self.settle_leases(dead);
        self.sweep(dead);
        self.bury_streams();
        self.sweep_blocks(dead);
        self.settle_discard();
        // A killed waker wakes nobody, and a killed sleeper swallows a wake-up.
        self.not_empty.broadcast();
        self.not_full.broadcast();
        self.pool.freed().broadcast();
        self.streams.broadcast();
        if !resolved {
            return Recovery::Retry;
        }
        self.leave(dead);
        Recovery::Done
    }

    /// Brings mark and flag of an immediate shutdown together, should its caller have died
    /// between them.
    fn settle_discard(&self) {
        // ORDERING mpmc-mark (acquire): before the flag. Who shuts down marks once more after
        // it, so that an exchange from an older mark fails.
        let marked = self.marks.load(Acquire);
        let there = marked & marks::DISCARD != 0;
        match (self.is_discarding(), there) {
            (true, false) => self.set_mark(marks::DISCARD),
            (false, true) => {
                let without = marked & !marks::DISCARD;
                // ORDERING mpmc-mark (SeqCst): as every change of the marks.
                let _ = self.marks.compare_exchange(marked, without, SeqCst, Relaxed);
            }
            _ => {}
        }
    }

    /// Makes a tomb of `position` if the dead claimed it and did not commit. `false`
    /// if that cannot be told yet.
    pub(super) fn resolve_put(&self, position: u64, claims: &Claims) -> bool {
        let Some(claimant) = claims.putter(position) else { return true };
        let claimed = State::of(Phase::Empty, self.positions.lap(position));
        let Some(word) = self.state_word(position) else { return true };
        // ORDERING mpmc-commit (acquire): as in `Ring::state`.
        if word.load(Acquire) != claimed.0 {
            return true;
        }
        if claimant == Claimant::Live {
            return false;
        }
        // Before the tomb: who counts messages must not miss it.
        self.set_mark(marks::TOMBS);
        let tomb = State::of(Phase::Tomb, claimed.lap());
        // Fails if the winner lived and has committed, or another repairer was here.
        // ORDERING mpmc-commit (SeqCst): what sleepers wait for changes here; the
        // broadcast follows.
        if word.compare_exchange(claimed.0, tomb.0, SeqCst, Relaxed).is_ok() {
            self.tombs_made.fetch_add(1, Relaxed);
        }
        true
    }

    /// Gives the message at `position` back if the dead claimed it and did not commit.
    /// `false` if that cannot be told yet.
    pub(super) fn resolve_get(&self, position: u64, claims: &Claims) -> bool {
        let Some(claimant) = claims.getter(position) else { return true };
        let lap = self.positions.lap(position);
        let Some(word) = self.state_word(position) else { return true };
        // ORDERING mpmc-commit (acquire): as in `Ring::state`.
        let state = State(word.load(Acquire));
        let repaired = match state.phase() {
            Some(Phase::Full) if state.lap() == lap => State::of(Phase::Redeliver, lap),
            Some(Phase::Tomb) if state.lap() == lap => {
                State::of(Phase::Empty, self.positions.lap_after(lap))
            }
            _ => return true,
        };
        match claimant {
            Claimant::Live => return false,
            Claimant::Done => {
                self.finish(position);
                return true;
            }
            Claimant::Dead => {}
        }
        // ORDERING mpmc-commit (SeqCst): as in `resolve_put`, and failure too.
        if word.compare_exchange(state.0, repaired.0, SeqCst, Relaxed).is_ok() {
            self.count_given_back(repaired);
        }
        true
    }

    pub(super) fn count_given_back(&self, repaired: State) {
        if repaired.phase() == Some(Phase::Redeliver) {
            // Relaxed: a count for people.
            self.given_back.fetch_add(1, Relaxed);
        }
    }

    /// Whether `end` has passed `position`, by no more than a lap. Positions further
    /// back are settled: their slots have been used again.
    pub(super) fn passed(&self, end: u64, position: u64) -> bool {
        self.positions.distance(end, position).is_some_and(|distance| distance > 0)
    }

    /// Settles every slot that bears the name of the dead, and marks what is to be
    /// redelivered and what is a tomb, whoever left it.
    pub(super) fn sweep(&self, dead: u32) {
        let mut redeliver = false;
        for index in 0..self.capacity() {
            let Some(word) = self.state_word(index) else { continue };
            // ORDERING mpmc-commit (acquire): as in `Ring::state`.
            let state = State(word.load(Acquire));
            let repaired = match state.phase() {
                Some(Phase::Redeliver) => {
                    redeliver = true;
                    continue;
                }
                Some(Phase::Tomb) => {
                    // Again: who looked between the mark and the tomb took it down.
                    self.set_mark(marks::TOMBS);
                    continue;
                }
                Some(Phase::Taken) if state.owner() == dead => {
                    redeliver = true;
                    State::of(Phase::Redeliver, state.lap())
                }
                Some(Phase::Freeing) if state.owner() == dead => {
                    self.free_rest(Place::slot(index));
                    State::of(Phase::Empty, self.positions.lap_after(state.lap()))
                }
                _ => continue,
            };
            // ORDERING mpmc-commit (SeqCst): as in `resolve_put`, and failure too.
            if word.compare_exchange(state.0, repaired.0, SeqCst, Relaxed).is_ok() {
                self.count_given_back(repaired);
            }
        }
        if redeliver {
            self.set_mark(marks::REDELIVER);
        }
    }
}
