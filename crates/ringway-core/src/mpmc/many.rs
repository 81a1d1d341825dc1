//! Putting and getting several messages under one claim.
//!
//! ```text
//! put_many:  the slots of t, t+1, … are EMPTY         get_many:  the slots of h, h+1, … are FULL
//!            count = k, announce PUT(t)                          count = k, announce GET(h)
//!            enqueue_pos: t → t+k    the claim                   dequeue_pos: h → h+k    the claim
//!            write all                                           copy all
//!            each in turn: state = FULL  COMMIT of it            announce DONE(h)        COMMIT of all
//!            announce IDLE, count = 0                            each: slot.state = EMPTY of the next lap
//!            wake up to k getters                                announce IDLE, count = 0
//!                                                                wake up to k putters
//! ```
//!
//! One killed amidst a put leaves the messages up to some point, each whole. One killed
//! amidst a get has taken all or none: before DONE repair gives all back, after it repair
//! releases the rest. A batch takes what can be had at once, at least one message; it
//! never waits for more. Messages whose bytes are not in their slot are left to the
//! single calls.

use super::batch::Batch;
use super::get::{Next as GetNext, TryGet, WRONG_LENGTH};
use super::long::Place;
use super::put::{ATTEMPTS, Next as PutNext, TryPut};
use super::quick_many::WORD;
use super::ring::Ring;
use super::slot::Slot;
use super::word::{Announcement, Meta, Phase, State, marks};
use crate::peer::{Actor, Committed, Take};
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::sync::spin_hint;

/// A batch takes no more messages once it has so many bytes.
const MOST_BYTES: usize = 1 << 20;

/// How many of the first slots are in `state`.
#[inline]
fn leading<'a>(slots: impl Iterator<Item = Slot<'a>>, state: State) -> u64 {
    let same = slots.take_while(|slot| slot.state() == state);
    // No more than there are slots: without a check in each round.
    same.fold(0, |run: u64, _| run.wrapping_add(1))
}

impl Ring {
    /// Puts messages of `batch` from number `from` on, as many as there is room for now,
    /// in consecutive positions; says how many, at least one. Ends before one that does
    /// not fit a slot. Never waits and makes no syscall but to wake sleeping getters.
    ///
    /// # Memory ordering
    ///
    /// As [`try_put`](Self::try_put).
    ///
    /// # If the caller dies
    ///
    /// The messages up to some point are delivered once each; of the others nothing is
    /// there.
    ///
    /// # Errors
    ///
    /// See [`TryPut`]; nothing was put. [`TryPut::TooLong`] if the first does not fit, or
    /// if there is none.
    pub fn try_put_many(
        &self,
        actor: &mut Actor,
        batch: &Batch,
        from: usize,
    ) -> Result<usize, TryPut> {
        let fits = |index: &usize| batch.get(*index).is_some_and(|m| self.room.fits(m.len()));
        let wanted = match batch.even(from) {
            Some((each, _)) if self.room.fits(each) => batch.len().saturating_sub(from),
            Some(_) => 0,
            None => (from..batch.len()).take_while(fits).count(),
        };
        if wanted == 0 {
            return Err(TryPut::TooLong);
        }
        let result = self.put_run(actor, batch, from, wanted);
        if result.is_err() {
            self.actors.withdraw_many(actor);
        }
        result
    }

    fn put_run(
        &self,
        actor: &mut Actor,
        batch: &Batch,
        from: usize,
        wanted: usize,
    ) -> Result<usize, TryPut> {
        // Relaxed: a first guess. The slots' states and the CAS decide.
        let mut tail = self.enqueue_pos.load(Relaxed);
        for _ in 0..ATTEMPTS {
            if !self.positions.is_valid(tail) {
                return Err(self.put_refused(actor, tail));
            }
            let run = self.run_of(Phase::Empty, tail, wanted as u64);
            if run == 0 {
                // What comes next may announce and claim on its own.
                self.actors.withdraw_many(actor);
                match self.put_blocked(actor, tail) {
                    PutNext::Again(seen) => tail = seen,
                    PutNext::Stop(why) => return Err(why),
                }
                continue;
            }
            self.actors.announce_many(actor, Announcement::put(tail), run);
            if let Err(seen) = self.claim_put_many(tail, run) {
                tail = seen;
                spin_hint();
                continue;
            }
            self.write_run(tail, run, batch, from);
            self.publish_run(tail, run);
            self.actors.withdraw_many(actor);
            self.not_empty.notify_many(run);
            self.actors.count_many(actor, Committed::Put, run);
            return Ok(usize::try_from(run).unwrap_or(wanted));
        }
        Err(TryPut::Busy)
    }

    /// Takes up to `max` messages, as many as are there now at consecutive positions,
    /// appends them to `into` and says how many. Never waits and makes no syscall but to
    /// wake sleeping putters. 0 says that there is a message to be taken by
    /// [`try_get`](Self::try_get): one that a dead getter gave back, or one whose bytes are
    /// elsewhere.
    ///
    /// # Memory ordering
    ///
    /// As [`try_get`](Self::try_get).
    ///
    /// # If the caller dies
    ///
    /// Before the commit, all go to other getters; after it, all are gone with the caller.
    ///
    /// # Errors
    ///
    /// See [`TryGet`].
    pub fn try_get_many(
        &self,
        actor: &mut Actor,
        max: usize,
        into: &mut Batch,
    ) -> Result<usize, TryGet> {
        // Relaxed: a reason to leave it to a single get, which looks again.
        if max == 0 || self.marks.load(Relaxed) & (marks::REDELIVER | marks::DISCARD) != 0 {
            return Ok(0);
        }
        let before = into.len();
        let result = self.get_run(actor, max as u64, into);
        if !matches!(result, Ok(1..)) {
            into.truncate(before);
            self.actors.withdraw_many(actor);
        }
        result
    }

    fn get_run(&self, actor: &mut Actor, max: u64, into: &mut Batch) -> Result<usize, TryGet> {
        let before = into.len();
        let mut head = self.dequeue_pos.load(Relaxed);
        let mut attempts = ATTEMPTS;
        let mut tombs = self.capacity();
        while attempts > 0 {
            attempts -= 1;
            // All memory is there before anything is claimed.
            into.truncate(before);
            let full = self.run_of(Phase::Full, head, max);
            let run = self.make_room(head, full, into);
            if run > 0 {
                self.actors.announce_many(actor, Announcement::get(head), run);
                if let Err(seen) = self.claim_get_many(head, run) {
                    head = seen;
                    spin_hint();
                    continue;
                }
                return self.take_run(actor, head, run, into, before);
            }
            if full > 0 {
                // A message for the single call, unless another has taken it already.
                return Ok(0);
            }
            // What comes next may announce and claim on its own.
            self.actors.withdraw_many(actor);
            let Some(state) = self.state(head) else {
                return Err(TryGet::Corrupted("dequeue_pos is no position"));
            };
            if state == State::of(Phase::Tomb, self.positions.lap(head)) {
                if self.retire(actor, head) && tombs > 0 {
                    // Progress, bounded as in a single get.
                    tombs -= 1;
                    attempts += 1;
                }
                head = self.dequeue_pos.load(Relaxed);
            } else {
                match self.get_blocked(actor, head) {
                    GetNext::Again(seen) => head = seen,
                    GetNext::Stop(why) => return Err(why),
                }
            }
        }
        Err(TryGet::Busy)
    }

    /// Copies and commits the `run` messages from `head` on, which are ours.
    fn take_run(
        &self,
        actor: &mut Actor,
        head: u64,
        run: u64,
        into: &mut Batch,
        before: usize,
    ) -> Result<usize, TryGet> {
        let sound = self.read_run(head, run, into, before);
        if !sound {
            actor.stop_counting();
        }
        self.actors.begin_take(actor, Take::Batch);
        self.commit_get_many(actor, head);
        self.release_run(head, run);
        // While the batch is announced as done.
        self.actors.end_take(actor, u32::try_from(run).unwrap_or(u32::MAX));
        self.actors.withdraw_many(actor);
        if self.not_full.notify_any(run) {
            self.notify_room_behind();
        }
        self.actors.count_many(actor, Committed::Get, run);
        if sound { Ok(into.len() - before) } else { Err(WRONG_LENGTH) }
    }

    // ---- Steps ----------------------------------------------------------------

    /// The `count` slots from `position` on, up to the last one and from the first one on;
    /// each part with its lap. What a batch does with its slots it does in loops over
    /// these, which store nothing but what goes to the slots: stores to one cache line
    /// that follow one another are joined, before another processor takes the line away.
    #[inline]
    pub(super) fn stretches(
        &self,
        position: u64,
        count: u64,
    ) -> [(u64, impl Iterator<Item = Slot<'_>>); 2] {
        let (index, lap) = (self.positions.index(position), self.positions.lap(position));
        let count = count.min(self.capacity());
        let ahead = count.min(self.capacity().saturating_sub(index));
        // Indices are below 2^30, unless `position` is none: then there is no slot.
        #[allow(clippy::cast_possible_truncation, reason = "64-bit only: see Positions")]
        let slots = |from: u64, to: u64| self.slots_between(from as usize, to as usize);
        [
            (lap, slots(index, index + ahead)),
            (self.positions.lap_after(lap), slots(0, count - ahead)),
        ]
    }

    /// How many slots from `position` on are in `phase` of their laps, up to `most` and a
    /// whole ring.
    #[inline]
    pub(super) fn run_of(&self, phase: Phase, position: u64, most: u64) -> u64 {
        if !self.positions.is_valid(position) {
            return 0;
        }
        let [(lap, ahead), (next_lap, behind)] = self.stretches(position, most);
        let (this, next) = (State::of(phase, lap), State::of(phase, next_lap));
        let run = leading(ahead, this);
        // The stretch ends at the last slot: only then does the next one go on.
        if self.positions.index(position) + run < self.capacity() {
            return run;
        }
        run + leading(behind, next)
    }

    /// Step 3 of a batch of puts: the messages from number `from` on, in slots that are
    /// ours alone.
    fn write_run(&self, tail: u64, run: u64, batch: &Batch, from: usize) {
        if let Some((WORD, messages)) = batch.even(from).filter(|_| self.has_words()) {
            return self.write_words(tail, run, messages);
        }
        let slots = self.stretches(tail, run).into_iter().flat_map(|(_, slots)| slots);
        for (slot, index) in slots.zip(from..) {
            if let Some(message) = batch.get(index) {
                slot.write(self.room, message);
            }
        }
    }

    /// Step 3 of a batch of gets: copies the messages to the places that
    /// [`make_room`](Self::make_room) made, from number `before` on; says whether they
    /// have the lengths that it saw.
    fn read_run(&self, head: u64, run: u64, into: &mut Batch, before: usize) -> bool {
        if self.has_words()
            && let Some((WORD, places)) = into.even_mut(before)
        {
            self.read_words(head, run, places);
            return true;
        }
        let slots = self.stretches(head, run).into_iter().flat_map(|(_, slots)| slots);
        slots.zip(before..).fold(true, |sound, (slot, index)| {
            let read = into.get_mut(index).map(|place| (place.len(), slot.read(self.room, place)));
            sound & read.is_some_and(|(len, read)| read == Some(len))
        })
    }

    /// Makes room for the messages in the up to `full` slots from `head` on, as far as they
    /// lie in their slots; says how many. Others may be taking them meanwhile: the claim
    /// tells whether what is read here holds.
    fn make_room(&self, head: u64, full: u64, into: &mut Batch) -> u64 {
        if self.room.is_exact() {
            // Every message has the one length that there is.
            let len = self.room.most();
            let run = full.min((MOST_BYTES / len.max(1)) as u64);
            into.grow(len, usize::try_from(run).unwrap_or(0));
            return run;
        }
        let (mut position, before) = (head, into.bytes());
        for run in 0..full {
            let meta = self.meta(position);
            let len = meta.filter(|meta| meta.kind() == Meta::INLINE).map(Meta::len);
            match len.and_then(|len| usize::try_from(len).ok()) {
                Some(len) if len <= self.payload_size() => into.grow(len, 1),
                _ => return run,
            }
            if into.bytes() - before >= MOST_BYTES {
                return run + 1;
            }
            position = self.positions.next(position);
        }
        full
    }

    /// Step 2 of a batch of puts: one winner of all positions. `Err` is what is there
    /// instead.
    #[doc(hidden)]
    #[inline]
    pub fn claim_put_many(&self, position: u64, count: u64) -> Result<(), u64> {
        // ORDERING mpmc-claim (SeqCst): as in `claim_put`.
        let next = self.positions.advance(position, count);
        self.enqueue_pos.compare_exchange(position, next, SeqCst, Relaxed).map(drop)
    }

    /// Step 2 of a batch of gets: one winner of all positions. `Err` is what is there
    /// instead.
    #[doc(hidden)]
    #[inline]
    pub fn claim_get_many(&self, position: u64, count: u64) -> Result<(), u64> {
        // ORDERING mpmc-claim (SeqCst): as in `claim_put`.
        let next = self.positions.advance(position, count);
        self.dequeue_pos.compare_exchange(position, next, SeqCst, Relaxed).map(drop)
    }

    /// Step 4 of a batch of gets: COMMIT of all that it announces.
    #[doc(hidden)]
    #[inline]
    pub fn commit_get_many(&self, actor: &mut Actor, position: u64) {
        self.announce(actor, Announcement::done(position));
    }

    /// The word that says what is in the slot of `position`.
    fn meta(&self, position: u64) -> Option<Meta> {
        Some(self.cell(Place::slot(position)).meta())
    }
}
