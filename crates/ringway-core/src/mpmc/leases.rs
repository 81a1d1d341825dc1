//! Lease records: where granted messages wait, so that their slots do not.
//!
//! A getter that wants to keep a message for a while moves it from its slot to a lease
//! record, which looks like a slot and names the position it came from. A message in the
//! slot is copied; of one in blocks only the name moves.
//!
//! ```text
//! usually                                       else: what was given back, a tomb at the head, a
//!                                               stream; whoever was not the first
//! announce, claim: the slot stays FULL          announce, claim, slot.state = TAKEN(me)
//! record.state: EMPTY → FILLING(me)   CAS       record.state: EMPTY → FILLING(me)   CAS
//! copy meta and payload or name, position       copy meta and payload or name, position
//! record.state = TAKEN(me)            release   record.state = TAKEN(me)            release
//! slot.state = EMPTY of the next lap  release   slot.state = EMPTY of the next lap  RMW
//! ```
//!
//! From the last store on the slot goes on, and the record is the truth. In the usual way nobody sees
//! the slot TAKEN, as with a get of what lies in it: a store to it with an RMW right behind would wait
//! for its line, which the putter's processor has (a KiB in a stream, used in place, on two Zen 4
//! processors: 280 and 245 ns where they are near, 700 and 490 where they are far).
//!
//! Killed before the last store, the slot still says TAKEN by the dead at that very position, or FULL:
//! the slot is the truth, and the record is emptied. Killed after it, the record is the truth and is
//! redelivered. Repair looks at records first and at slots afterwards, so a repairer that dies in
//! between leaves the same question with the same answer. Before any claim of a dead getter is
//! settled, also by the repair of another one that had announced the same position, records that hold
//! what such a slot holds are emptied ([`drop_copies`](Ring::drop_copies)): afterwards the slot would
//! not tell any more.
//!
//! Where all records are in use, a granted message stays in its slot: all is as safe, but
//! putters have to wait at that slot when the ring comes round to it.

use super::contents::Contents;
use super::cover::{Claimant, Claims};
use super::get::{Next, TryGet, WRONG_LENGTH};
use super::layout::at;
use super::long::{Cell, GivenBack, Place};
use super::put::ATTEMPTS;
use super::ring::Ring;
use super::word::{Announcement, Meta, Phase, State, marks};
use crate::peer::Actor;
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::spin_hint;
use smallvec::SmallVec;

/// A message of so many bytes in a slot goes to a record without the allocator.
const FEW_BYTES: usize = 256;

impl State {
    /// The word of a lease record after its use: empty, of the next lap.
    pub(super) fn next_lease(self) -> Self {
        Self::of(Phase::Empty, self.lap().wrapping_add(1))
    }
}

impl Ring {
    /// Takes the next message and leaves it where it is, or in a lease record: it is the
    /// caller's until [`release_taken`](Self::release_taken). Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Self::try_get), but for [`TryGet::Long`].
    pub fn try_take(&self, actor: &mut Actor) -> Result<Place, TryGet> {
        self.try_take_with(actor, &mut Contents::default())
    }

    /// As [`try_take`](Self::try_take), and tells in `contents` what the message consists of.
    pub(super) fn try_take_with(
        &self,
        actor: &mut Actor,
        contents: &mut Contents,
    ) -> Result<Place, TryGet> {
        if let Some(place) = self.take_to_lease(actor) {
            if self.contents(place, contents) {
                return Ok(place);
            }
            self.release_taken(actor, place);
            return Err(WRONG_LENGTH);
        }
        let places = &mut self.given_back_places();
        self.past_voids(|| {
            let place = self.take_in_place(actor, places)?;
            self.to_lease(actor, place, contents)
        })
    }

    /// Takes the next message straight to a lease record, or leaves it in its slot if there is none, as
    /// long as it is there, nothing was given back and nobody else is quicker. `None` says only that
    /// the other way knows more.
    fn take_to_lease(&self, actor: &mut Actor) -> Option<Place> {
        // Relaxed: as in `take_in_place`.
        if self.marks.load(Relaxed) & (marks::REDELIVER | marks::DISCARD) != 0 {
            return None;
        }
        // Relaxed: a first guess. The slot's state and the CAS decide.
        let head = self.dequeue_pos.load(Relaxed);
        let lap = self.positions.lap(head);
        let slot = self.slot(head)?;
        // What is FULL stays as it is until it is claimed.
        if slot.state() != State::of(Phase::Full, lap)
            || self.cell(Place::slot(head)).stream().is_some()
        {
            return None;
        }
        self.announce(actor, Announcement::get(head));
        if self.claim_get(head).is_err() {
            // Nobody waits or leaves while it announces: repair would wait for it.
            self.announce(actor, Announcement::IDLE);
            return None;
        }
        let Some(lease) = self.reserve_lease(actor.participant()) else {
            self.mark_taken(head, actor.participant());
            return Some(Place::slot(head));
        };
        self.fill_lease(lease, head);
        self.hold_lease(lease, actor.participant());
        slot.release(self.positions.next_lap(head));
        self.notify_room();
        Some(lease)
    }

    /// As [`try_take`](Self::try_take), but for one that is not kept for long: it stays in
    /// its slot. Of the places for what was given back it goes on where the last call of the
    /// same take ended: many names of nothing cost one walk.
    pub(super) fn take_in_place(
        &self,
        actor: &mut Actor,
        places: &mut GivenBack<impl Iterator<Item = Place>>,
    ) -> Result<Place, TryGet> {
        // Relaxed: who looks for what is marked looks again and acquires.
        let marked = self.marks.load(Relaxed);
        if marked & marks::DISCARD != 0 && self.is_discarding() {
            self.discard(actor);
            return Err(TryGet::ShutDown);
        }
        if marked & marks::REDELIVER != 0
            && let Some(place) = self.claim_redelivered(actor.participant(), places)
        {
            return Ok(place);
        }
        let mut head = self.dequeue_pos.load(Relaxed);
        let mut attempts = ATTEMPTS;
        let mut tombs = self.capacity();
        while attempts > 0 {
            attempts -= 1;
            let lap = self.positions.lap(head);
            match self.state(head) {
                Some(state) if state == State::of(Phase::Full, lap) => {
                    self.announce(actor, Announcement::get(head));
                    match self.claim_get(head) {
                        Ok(()) => {
                            self.mark_taken(head, actor.participant());
                            return Ok(Place::slot(head));
                        }
                        Err(seen) => head = seen,
                    }
                    spin_hint();
                }
                Some(state) if state == State::of(Phase::Tomb, lap) => {
                    if self.retire(actor, head) && tombs > 0 {
                        // Progress, bounded by the number of tombs.
                        tombs -= 1;
                        attempts += 1;
                    }
                    head = self.dequeue_pos.load(Relaxed);
                }
                Some(_) => match self.get_blocked(actor, head) {
                    Next::Again(seen) => head = seen,
                    Next::Stop(why) => return Err(why),
                },
                None => {
                    self.announce(actor, Announcement::IDLE);
                    return Err(TryGet::Corrupted("dequeue_pos is no position"));
                }
            }
        }
        self.announce(actor, Announcement::IDLE);
        Err(TryGet::Busy)
    }

    /// Moves a taken message from its slot to a lease record, if there is one, so that
    /// the slot is free. One that is no message is released; `None` for the name of a stream
    /// that is over.
    fn to_lease(
        &self,
        actor: &mut Actor,
        place: Place,
        contents: &mut Contents,
    ) -> Result<Option<Place>, TryGet> {
        if let Some(named) = self.cell(place).stream() {
            return self.meet_stream(actor, place, named).map_or(Ok(None), Err);
        }
        if !self.contents(place, contents) {
            self.release_taken(actor, place);
            return Err(WRONG_LENGTH);
        }
        Ok(Some(self.move_to_lease(actor, place)))
    }

    /// Moves what the caller has taken to a lease record, if it is in a slot and there is
    /// one.
    pub(super) fn move_to_lease(&self, actor: &mut Actor, place: Place) -> Place {
        let Some(position) = place.position() else { return place };
        let Some(lease) = self.reserve_lease(actor.participant()) else { return place };
        self.fill_lease(lease, position);
        self.hold_lease(lease, actor.participant());
        self.vacate(place);
        lease
    }

    /// Takes a free lease record.
    pub(super) fn reserve_lease(&self, participant: u32) -> Option<Place> {
        (0..self.geometry().leases).map(Place::lease).find(|lease| {
            let cell = self.cell(*lease);
            let Some(word) = cell.state() else { return false };
            // Relaxed: a look.
            let seen = State(word.load(Relaxed));
            let mine = State::owned(Phase::Filling, seen.lap(), participant);
            seen.phase() == Some(Phase::Empty)
                // ORDERING lease-record (acquire): the last holder is done with it.
                && word.compare_exchange(seen.0, mine.0, Acquire, Relaxed).is_ok()
        })
    }

    /// Copies what the slot of `position` holds to a record that is ours.
    pub(super) fn fill_lease(&self, lease: Place, position: u64) {
        let (slot, record) = (self.cell(Place::slot(position)), self.cell(lease));
        let meta = slot.meta();
        let store = |field, value| {
            if let Some(word) = record.word(field) {
                // Relaxed: `hold_lease` releases it.
                word.store(value, Relaxed);
            }
        };
        store(at::slot::META, meta.0);
        store(self.lease_position(), position);
        if meta.kind() != Meta::INLINE {
            let [first, rest] = slot.payload_words();
            store(at::slot::PAYLOAD, first);
            store(at::slot::PAYLOAD + 8, rest);
        } else {
            let len = usize::try_from(meta.len()).unwrap_or(0).min(self.payload_size());
            let mut bytes = SmallVec::<[u8; FEW_BYTES]>::from_elem(0, len);
            // Checked by `contents`; if the length has changed since, the bytes do not
            // matter.
            let _ = slot.copy_out(0, &mut bytes).and_then(|()| record.copy_in(&bytes));
        }
    }

    /// The record holds the message now.
    pub(super) fn hold_lease(&self, lease: Place, participant: u32) {
        if let Some(word) = self.cell(lease).state() {
            // Relaxed: only its owner changes this word.
            let lap = State(word.load(Relaxed)).lap();
            // ORDERING lease-record (release): who sees TAKEN, or that the slot was given
            // free afterwards, sees what the record holds.
            word.store(State::owned(Phase::Taken, lap, participant).0, Release);
        }
    }

    /// Where in a lease record the position stands.
    fn lease_position(&self) -> usize {
        self.lease_size - 64
    }

    /// Whether a message is in a record, given back or held by another participant than
    /// `participant`: it comes back should that one die. Those of one's own do not: a getter
    /// that waited for itself would wait for ever, and what dies with it needs no getter here.
    pub(super) fn may_come_back(&self, participant: u32) -> bool {
        (0..self.geometry().leases).map(Place::lease).any(|lease| {
            let cell = self.cell(lease);
            let Some(word) = cell.state() else { return false };
            // ORDERING lease-record (SeqCst): a sleeper's last look. Either it sees that the
            // holder is done, or the holder, who changes the record by an RMW and then
            // looks for a shutdown (`vacate`), wakes it.
            let state = State(word.load(SeqCst));
            match state.phase() {
                Some(Phase::Taken) => state.owner() != participant,
                Some(Phase::Redeliver) => true,
                _ => false,
            }
        })
    }

    /// Messages in lease records that were given back.
    pub(super) fn leases_given_back(&self) -> u64 {
        let waits = |lease: &Place| self.phase_at(*lease) == Some(Phase::Redeliver);
        let leases = (0..self.geometry().leases).map(Place::lease);
        leases.filter(|lease| waits(lease) && !self.is_void(*lease)).count() as u64
    }

    fn phase_at(&self, place: Place) -> Option<Phase> {
        // Relaxed: a count, which may be wrong as soon as it is made.
        State(self.cell(place).state()?.load(Relaxed)).phase()
    }

    /// The position from which a record has what it holds.
    fn position_of(&self, record: &Cell<'_>) -> u64 {
        // Relaxed: the state was acquired, and with it that the record is filled.
        record.word(self.lease_position()).map_or(0, |word| word.load(Relaxed))
    }

    /// Whether what was put at `position` is still in its slot.
    fn is_full_at(&self, position: u64) -> bool {
        self.state(position) == Some(State::of(Phase::Full, self.positions.lap(position)))
    }

    /// Empties records that hold what a slot still holds, too, whose claim is about to be settled: their
    /// holders, whoever of the dead, died before they gave those slots free. Before claims are settled.
    pub(super) fn drop_copies(&self, claims: &Claims) {
        for cell in (0..self.geometry().leases).map(|lease| self.cell(Place::lease(lease))) {
            let Some(word) = cell.state() else { continue };
            // ORDERING lease-record (acquire): what the record holds.
            let state = State(word.load(Acquire));
            let position = self.position_of(&cell);
            if state.phase() == Some(Phase::Taken)
                && self.is_full_at(position)
                && claims.getter(position) == Some(Claimant::Dead)
            {
                // ORDERING lease-record (SeqCst): as in `settle_leases`, and failure too.
                let _ = word.compare_exchange(state.0, state.next_lease().0, SeqCst, Relaxed);
            }
        }
    }

    /// Settles every lease record that bears the name of the dead. Before slots are.
    pub(super) fn settle_leases(&self, dead: u32) {
        let mut redeliver = false;
        for lease in (0..self.geometry().leases).map(Place::lease) {
            let cell = self.cell(lease);
            let Some(word) = cell.state() else { continue };
            // ORDERING lease-record (acquire): what the record holds.
            let state = State(word.load(Acquire));
            let repaired = match state.phase() {
                Some(Phase::Redeliver) => {
                    redeliver = true;
                    continue;
                }
                Some(Phase::Filling) if state.owner() == dead => state.next_lease(),
                Some(Phase::Taken) if state.owner() == dead => {
                    let position = self.position_of(&cell);
                    let there = State::owned(Phase::Taken, self.positions.lap(position), dead);
                    if self.is_full_at(position) || self.state(position) == Some(there) {
                        // It died before it gave the slot free: the slot is the truth.
                        state.next_lease()
                    } else {
                        redeliver = true;
                        State::of(Phase::Redeliver, state.lap())
                    }
                }
                Some(Phase::Freeing) if state.owner() == dead => {
                    self.free_rest(lease);
                    state.next_lease()
                }
                _ => continue,
            };
            // ORDERING lease-record (SeqCst): what sleepers wait for changes here; the
            // broadcast follows. Failure: as in `resolve_put`.
            if word.compare_exchange(state.0, repaired.0, SeqCst, Relaxed).is_ok() {
                self.count_given_back(repaired);
            }
        }
        if redeliver {
            self.set_mark(marks::REDELIVER);
        }
    }
}
