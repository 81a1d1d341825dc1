//! Getting.

use super::long::Place;
use super::position::POSITION_MASK;
use super::put::{ATTEMPTS, At};
use super::ring::Ring;
use super::word::{Announcement, IMMEDIATE, Phase, SHUTDOWN, State, marks};
use crate::peer::{Actor, Committed};
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::sync::{fence, spin_hint};

/// Why a get got nothing. Nothing is announced any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryGet {
    /// No message.
    Empty,
    /// A put has claimed this position and not committed yet: nanoseconds, unless it
    /// is stopped or dead.
    Pending(u64),
    /// Others were quicker every time. Try again.
    Busy,
    /// No message, and there will never be one.
    ShutDown,
    /// The memory makes no sense: what was wrong. If it was the message, it is gone.
    Corrupted(&'static str),
    /// The next message is longer than the buffer, and nothing of it was cut: it is the
    /// caller's now, and stays where it is until the caller
    /// [copies](Ring::copy_taken) and [releases](Ring::release_taken) it.
    Long(Place),
    /// The next message is longer than the pool and is streamed. It is the caller's now, as
    /// a [`Long`](Self::Long) one.
    Stream(Place),
}

/// The slot was released, and what it held was no message.
pub(super) const WRONG_LENGTH: TryGet = TryGet::Corrupted("a message's length");

/// What to do after a look at a slot without a message.
pub(super) enum Next {
    /// Look again, at this position.
    Again(u64),
    Stop(TryGet),
}

impl Ring {
    /// Takes one message, if there is one now: copies as much of it as fits to
    /// `buffer` and says how long it is. Never waits and makes no syscall but to wake
    /// a sleeping putter.
    ///
    /// # Memory ordering
    ///
    /// What the putter did before it put is visible afterwards.
    ///
    /// # If the caller dies
    ///
    /// Before the commit, the message goes to another getter; after it, it is gone
    /// with the caller.
    ///
    /// # Errors
    ///
    /// See [`TryGet`].
    #[inline]
    pub fn try_get(&self, actor: &mut Actor, buffer: &mut [u8]) -> Result<usize, TryGet> {
        self.get_with::<true>(actor, buffer)
    }

    /// As [`try_get`](Self::try_get), without announcing. For benchmarks.
    #[doc(hidden)]
    #[inline]
    pub fn try_get_unannounced(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
    ) -> Result<usize, TryGet> {
        self.get_with::<false>(actor, buffer)
    }

    #[inline]
    fn get_with<const ANNOUNCE: bool>(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
    ) -> Result<usize, TryGet> {
        // Relaxed: `take_redelivered` looks again and acquires.
        if self.marks.load(Relaxed) & (marks::REDELIVER | marks::DISCARD) != 0
            && let Some(answer) = self.get_marked(actor, buffer)
        {
            return answer;
        }
        self.get_next::<ANNOUNCE>(actor, buffer)
    }

    /// The message at `dequeue_pos`.
    #[inline]
    fn get_next<const ANNOUNCE: bool>(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
    ) -> Result<usize, TryGet> {
        // Relaxed: a first guess. The slot's state and the CAS decide.
        let head = self.dequeue_pos.load(Relaxed);
        match self.get_at::<ANNOUNCE>(actor, buffer, head) {
            At::Done(answer) => answer,
            At::Lost(_) | At::NotFree | At::Void => self.get_slow::<ANNOUNCE>(actor, buffer),
        }
    }

    /// The get itself, if the slot of `head` is full and nobody else claims it first.
    #[inline(always)]
    pub(super) fn get_at<const ANNOUNCE: bool>(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
        head: u64,
    ) -> At<Result<usize, TryGet>> {
        let lap = self.positions.lap(head);
        let Some(slot) = self.slot(head) else { return At::NotFree };
        if slot.state() != State::of(Phase::Full, lap) {
            return At::NotFree;
        }
        if ANNOUNCE {
            self.announce(actor, Announcement::get(head));
        }
        if let Err(seen) = self.claim_get(head) {
            return At::Lost(seen);
        }
        let Some(len) = slot.read(self.room, buffer) else {
            return self.get_named(actor, head, buffer);
        };
        slot.release(self.positions.lap_after(lap));
        self.notify_room();
        self.actors.count_one(actor, Committed::Get);
        At::Done(Ok(len))
    }

    #[cold]
    fn get_named(
        &self,
        actor: &mut Actor,
        head: u64,
        buffer: &mut [u8],
    ) -> At<Result<usize, TryGet>> {
        match self.get_long(actor, head, buffer) {
            Ok(None) => At::Void,
            Ok(Some(len)) => At::Done(Ok(len)),
            Err(why) => At::Done(Err(why)),
        }
    }

    /// The first attempt failed. Apart from it, so that it stays short.
    #[inline(never)]
    fn get_slow<const ANNOUNCE: bool>(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
    ) -> Result<usize, TryGet> {
        let mut head = self.dequeue_pos.load(Relaxed);
        let mut attempts = ATTEMPTS;
        let mut tombs = self.capacity();
        while attempts > 0 {
            attempts -= 1;
            match self.get_at::<ANNOUNCE>(actor, buffer, head) {
                At::Done(answer) => return answer,
                At::Lost(seen) => {
                    head = seen;
                    spin_hint();
                    continue;
                }
                At::Void => {
                    // Progress, bounded as by tombs.
                    attempts += u32::from(tombs > 0);
                    tombs = tombs.saturating_sub(1);
                    head = self.dequeue_pos.load(Relaxed);
                    continue;
                }
                At::NotFree => {}
            }
            let Some(state) = self.state(head) else {
                self.announce(actor, Announcement::IDLE);
                return Err(TryGet::Corrupted("dequeue_pos is no position"));
            };
            if state == State::of(Phase::Tomb, self.positions.lap(head)) {
                if self.retire(actor, head) && tombs > 0 {
                    // Progress, bounded by the number of tombs: also where a hostile peer
                    // writes new ones all the time.
                    tombs -= 1;
                    attempts += 1;
                }
                head = self.dequeue_pos.load(Relaxed);
            } else {
                match self.get_blocked(actor, head) {
                    Next::Again(seen) => head = seen,
                    Next::Stop(why) => return Err(why),
                }
            }
        }
        self.announce(actor, Announcement::IDLE);
        Err(TryGet::Busy)
    }

    /// There is no message at `head`. Finds out why.
    #[inline(never)]
    pub(super) fn get_blocked(&self, actor: &mut Actor, head: u64) -> Next {
        // ORDERING mpmc-claim (SeqCst): as the look at the tail below.
        let now = self.dequeue_pos.load(SeqCst);
        if now != head {
            return Next::Again(now);
        }
        // Whatever comes of it, no caller waits or repairs while it announces.
        self.announce(actor, Announcement::IDLE);
        // ORDERING mpmc-claim (SeqCst): a sleeper's last look. Either it sees the tail
        // that a putter claimed, or that putter sees the sleeper.
        let tail = self.enqueue_pos.load(SeqCst);
        let Some(state) = self.state(head) else {
            return Next::Stop(TryGet::Corrupted("dequeue_pos is no slot's"));
        };
        let now = self.dequeue_pos.load(SeqCst);
        if now != head {
            return Next::Again(now);
        }
        // The head stood still while the tail was read: the distance is a true one.
        match self.positions.distance(tail & POSITION_MASK, head) {
            Some(0) if tail & SHUTDOWN != 0 => Next::Stop(self.drained(tail, actor.participant())),
            Some(0) => Next::Stop(TryGet::Empty),
            None => Next::Stop(TryGet::Corrupted("the positions are too far apart")),
            Some(_) => {
                let lap = self.positions.lap(head);
                match state.phase() {
                    Some(Phase::Full | Phase::Tomb) if state.lap() == lap => Next::Again(head),
                    Some(Phase::Empty) if state.lap() == lap => Next::Stop(TryGet::Pending(head)),
                    _ => Next::Stop(TryGet::Corrupted("a slot's state contradicts the positions")),
                }
            }
        }
    }

    /// The ring was shut down and has no message at `dequeue_pos`. Is that all?
    #[cold]
    fn drained(&self, tail: u64, participant: u32) -> TryGet {
        // A getter that dies before it commits gives its message back.
        match self.may_be_got_at(participant) {
            Some(index) => TryGet::Pending(index),
            None if tail & IMMEDIATE != 0 => TryGet::ShutDown,
            // After the slots: a message moves from there to a record.
            None if self.may_come_back(participant) => TryGet::Empty,
            // Whoever takes it may give it back.
            None if self.has_open_stream() => TryGet::Pending(0),
            None => self.drained_of_overflow(tail),
        }
    }

    /// A slot that has something that is or may become a message for `participant`.
    fn may_be_got_at(&self, participant: u32) -> Option<u64> {
        (0..self.capacity()).find(|index| self.may_be_got(*index, participant))
    }

    /// Whether there is such a slot.
    pub(super) fn may_be_got_somewhere(&self, participant: u32) -> bool {
        self.may_be_got_at(participant).is_some()
    }

    /// Whether a slot has something that is or may become a message for `participant`.
    fn may_be_got(&self, index: u64, participant: u32) -> bool {
        let Some(state) = self.state(index) else { return true };
        match state.phase() {
            Some(Phase::Empty) => false,
            // As those of one's own in lease records (`may_come_back`).
            Some(Phase::Taken) if state.owner() == participant => {
                !self.kept.has(self.positions.at(state.lap(), index))
            }
            _ => true,
        }
    }

    /// Nothing is in the ring. Will what was accepted before the shutdown still come?
    pub(super) fn drained_of_overflow(&self, tail: u64) -> TryGet {
        // ORDERING accept-or-shutdown (SeqCst): a putter publishes its overflow and then
        // looks for the shutdown (`SharedRing::accepts`); we saw the shutdown and look
        // for overflow. One of the two sees the other.
        fence(SeqCst);
        let waiting = self.participants.overflow() > 0;
        // An item is put before it stops counting as overflow: it may have come since.
        if waiting || self.enqueue_pos.load(SeqCst) != tail {
            TryGet::Empty
        } else {
            TryGet::ShutDown
        }
    }

    /// The marks say that there is something beside `dequeue_pos` to do. `None` if
    /// there is not.
    #[cold]
    fn get_marked(&self, actor: &mut Actor, buffer: &mut [u8]) -> Option<Result<usize, TryGet>> {
        // Relaxed: as in `get_with`.
        let marked = self.marks.load(Relaxed);
        if marked & marks::DISCARD != 0 && self.is_discarding() {
            self.discard(actor);
            return Some(Err(TryGet::ShutDown));
        }
        // Perhaps the mark of a shutdown whose caller died before it.
        if marked & marks::REDELIVER == 0 {
            return None;
        }
        self.take_redelivered(actor, buffer)
    }

    /// Takes a message that a dead getter left, the oldest in a slot first.
    fn take_redelivered(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
    ) -> Option<Result<usize, TryGet>> {
        let places = &mut self.given_back_places();
        loop {
            let place = self.claim_redelivered(actor.participant(), places)?;
            // Else the name of a stream that is over. Bounded by the places.
            if let Some(answer) = self.get_taken(actor, place, buffer).transpose() {
                return Some(answer);
            }
        }
    }

    // ---- Shutting down --------------------------------------------------------

    /// Ends putting for everybody, for ever. Getters take what is there, and then
    /// learn of it; with `immediate`, what is there is thrown away. Blocked calls
    /// wake. Idempotent; does not block.
    ///
    /// # If the caller dies
    ///
    /// Either nothing happened or the ring is shut down. Half-way through throwing away,
    /// the next getter goes on.
    pub fn shutdown(&self, actor: &mut Actor, immediate: bool) {
        let flags = if immediate { SHUTDOWN | IMMEDIATE } else { SHUTDOWN };
        if immediate {
            // Before the flag: nobody finds the ring shut down and takes a message. Without
            // the flag the mark means nothing.
            self.set_mark(marks::DISCARD);
        }
        // ORDERING mpmc-shutdown (SeqCst): before the flag in every order, for `note_end`.
        self.marks.fetch_or(marks::SHUTDOWN, SeqCst);
        // ORDERING mpmc-shutdown (SeqCst): takes part in the order of claims. A put that
        // has not claimed yet fails, for the word has changed.
        self.enqueue_pos.fetch_or(flags, SeqCst);
        if immediate {
            // Again: a repair that did not see the flag may have taken the mark down.
            self.set_mark(marks::DISCARD);
            self.discard(actor);
        }
        self.not_empty.broadcast();
        self.not_full.broadcast();
        self.pool.freed().broadcast();
        self.streams.broadcast();
    }

    /// Whether the ring was shut down.
    pub fn is_shut_down(&self) -> bool {
        // ORDERING mpmc-shutdown (acquire): who sees it sees what was done before.
        self.enqueue_pos.load(Acquire) & SHUTDOWN != 0
    }

    /// Whether what is there is to be thrown away.
    pub(super) fn is_discarding(&self) -> bool {
        // ORDERING mpmc-shutdown (acquire): as in `is_shut_down`.
        self.enqueue_pos.load(Acquire) & IMMEDIATE != 0
    }

    /// Takes and drops what is there, by ordinary gets.
    pub(super) fn discard(&self, actor: &mut Actor) {
        actor.stop_counting();
        // In one walk, also where all that a peer left says that it was given back.
        let mut places = self.given_back_places();
        while let Some(place) = self.claim_redelivered(actor.participant(), &mut places) {
            self.release_taken(actor, place);
        }
        // Nothing new comes: at most a message per slot.
        for _ in 0..2 * self.capacity() {
            match self.get_next::<true>(actor, &mut []) {
                Ok(_) | Err(TryGet::Busy) => {}
                Err(TryGet::Long(place)) => self.release_taken(actor, place),
                // Its putter finds the ring shut down, and withdraws.
                Err(TryGet::Stream(place)) => self.vacate(place),
                Err(_) => break,
            }
        }
    }

    /// Sets a mark for getters.
    pub(super) fn set_mark(&self, mark: u64) {
        // Each failure is a change by somebody else.
        const ATTEMPTS: u32 = 1 << 16;
        let mut seen = self.marks.load(Relaxed);
        for _ in 0..ATTEMPTS {
            let new = seen.wrapping_add(marks::STEP) | mark;
            // ORDERING mpmc-mark (SeqCst): a release of the marked slots. SeqCst for
            // sleepers, as a claim.
            match self.marks.compare_exchange(seen, new, SeqCst, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        // Relaxed: only memory that somebody changes all the time gets here. Nothing holds
        // of it but that the call ends.
        self.marks.fetch_or(mark, Relaxed);
    }
}
