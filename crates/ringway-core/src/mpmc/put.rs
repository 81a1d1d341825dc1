//! Putting.

use super::long::Place;
use super::ring::Ring;
use super::word::{Announcement, IMMEDIATE, Phase, SHUTDOWN, State};
use crate::peer::{Actor, Committed};
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::sync::spin_hint;

/// How often a call tries before it says that others are in the way. Each failure
/// means that somebody else moved on.
pub(super) const ATTEMPTS: u32 = 128;

/// Why a put did not put. Nothing was stored, and nothing is announced any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryPut {
    /// No room until a message is taken, or a dead getter's is redelivered.
    Full,
    /// No room until a getter that has claimed this slot's message has copied it:
    /// nanoseconds, unless it is stopped or dead. The position it claimed.
    Pending(u64),
    /// Others were quicker every time. Try again.
    Busy,
    /// No more puts, for anybody, ever.
    ShutDown,
    /// The message does not fit a slot.
    TooLong,
    /// The message does not fit what is free of the pool.
    NoMemory,
    /// The memory makes no sense: what was wrong.
    Corrupted(&'static str),
}

/// What came of an attempt at a certain position.
pub(super) enum At<T = ()> {
    Done(T),
    /// Another claimed it; what is there instead.
    Lost(u64),
    /// The slot is not in the state it takes.
    NotFree,
    /// A get claimed the slot, and what it named is over.
    Void,
}

/// What to do after a look at a slot that is not free.
pub(super) enum Next {
    /// Look again, at this position.
    Again(u64),
    Stop(TryPut),
}

impl Ring {
    /// Puts one message, if there is room now. Never waits and makes no syscall but to
    /// wake a sleeping getter.
    ///
    /// # Memory ordering
    ///
    /// What the caller did before is visible to the getter of this message.
    ///
    /// # If the caller dies
    ///
    /// Before the commit the message never was; after it, it is delivered once.
    ///
    /// # Errors
    ///
    /// See [`TryPut`].
    #[inline]
    pub fn try_put(&self, actor: &mut Actor, message: &[u8]) -> Result<(), TryPut> {
        self.put_with::<true>(actor, message)
    }

    /// As [`try_put`](Self::try_put), without announcing: what a ring that cannot
    /// survive a kill would cost. For benchmarks.
    #[doc(hidden)]
    #[inline]
    pub fn try_put_unannounced(&self, actor: &mut Actor, message: &[u8]) -> Result<(), TryPut> {
        self.put_with::<false>(actor, message)
    }

    #[inline]
    fn put_with<const ANNOUNCE: bool>(
        &self,
        actor: &mut Actor,
        message: &[u8],
    ) -> Result<(), TryPut> {
        if !self.room.fits(message.len()) {
            return Err(TryPut::TooLong);
        }
        // Relaxed: a first guess. The slot's state and the CAS decide.
        let tail = self.enqueue_pos.load(Relaxed);
        match self.put_at::<ANNOUNCE>(actor, message, tail) {
            At::Done(()) => Ok(()),
            At::Lost(_) | At::NotFree | At::Void => self.put_slow::<ANNOUNCE>(actor, message),
        }
    }

    /// The put itself, if the slot of `tail` is free and nobody else claims it first.
    #[inline(always)]
    pub(super) fn put_at<const ANNOUNCE: bool>(
        &self,
        actor: &mut Actor,
        message: &[u8],
        tail: u64,
    ) -> At {
        let lap = self.positions.lap(tail);
        let Some(slot) = self.slot(tail) else { return At::NotFree };
        if slot.state() != State::of(Phase::Empty, lap) {
            return At::NotFree;
        }
        if ANNOUNCE {
            self.announce(actor, Announcement::put(tail));
        }
        if let Err(seen) = self.claim_put(tail) {
            return At::Lost(seen);
        }
        slot.write(self.room, message);
        slot.publish(lap);
        self.not_empty.notify();
        self.actors.count_one(actor, Committed::Put);
        At::Done(())
    }

    /// The first attempt failed. Apart from it, so that it stays short.
    #[inline(never)]
    fn put_slow<const ANNOUNCE: bool>(
        &self,
        actor: &mut Actor,
        message: &[u8],
    ) -> Result<(), TryPut> {
        let mut tail = self.enqueue_pos.load(Relaxed);
        for _ in 0..ATTEMPTS {
            match self.put_at::<ANNOUNCE>(actor, message, tail) {
                At::Done(()) => return Ok(()),
                At::Lost(seen) => {
                    tail = seen;
                    spin_hint();
                }
                At::NotFree | At::Void if !self.positions.is_valid(tail) => {
                    return Err(self.put_refused(actor, tail));
                }
                At::NotFree | At::Void => match self.put_blocked(actor, tail) {
                    Next::Again(seen) => tail = seen,
                    Next::Stop(why) => return Err(why),
                },
            }
        }
        self.announce(actor, Announcement::IDLE);
        Err(TryPut::Busy)
    }

    /// The word is no position: a flag is set, or the memory is corrupted.
    #[cold]
    pub(super) fn put_refused(&self, actor: &mut Actor, tail: u64) -> TryPut {
        self.announce(actor, Announcement::IDLE);
        if tail & SHUTDOWN != 0 {
            TryPut::ShutDown
        } else if tail & IMMEDIATE != 0 {
            TryPut::Corrupted("enqueue_pos has half a shutdown")
        } else {
            TryPut::Corrupted("enqueue_pos is no position")
        }
    }

    /// The slot of `tail` is not free. Finds out why.
    #[inline(never)]
    pub(super) fn put_blocked(&self, actor: &mut Actor, tail: u64) -> Next {
        // ORDERING mpmc-claim (SeqCst): as the look at the head below.
        let now = self.enqueue_pos.load(SeqCst);
        if now != tail {
            return Next::Again(now);
        }
        // Whatever comes of it, no caller waits or repairs while it announces.
        self.announce(actor, Announcement::IDLE);
        // ORDERING mpmc-claim (SeqCst): a sleeper's last look. Either it sees the head
        // that a getter claimed, or that getter sees the sleeper.
        let head = self.dequeue_pos.load(SeqCst);
        // After the head, so that it is no older than what the head's claimer saw.
        let Some(state) = self.state(tail) else {
            return Next::Stop(TryPut::Corrupted("enqueue_pos is no slot's"));
        };
        let now = self.enqueue_pos.load(SeqCst);
        if now != tail {
            return Next::Again(now);
        }
        if state == State::of(Phase::Empty, self.positions.lap(tail)) {
            return Next::Again(tail);
        }
        // The tail stood still while the head was read: the distance is a true one.
        let Some(distance) = self.positions.distance(tail, head) else {
            return Next::Stop(TryPut::Corrupted("the positions are too far apart"));
        };
        if distance == self.capacity() {
            // The same slot. A tomb there holds no message, nor does a name of nothing.
            if self.is_dud(head, state) {
                self.retire(actor, head);
                return Next::Again(tail);
            }
            return Next::Stop(TryPut::Full);
        }
        // A getter has claimed the slot's message of the lap before.
        let before = self.positions.lap_after(state.lap()) == self.positions.lap(tail);
        match state.phase() {
            Some(Phase::Full | Phase::Tomb) if before => {
                Next::Stop(TryPut::Pending(self.positions.lap_before(tail)))
            }
            Some(Phase::Redeliver)
                if before && self.drop_void(Place::slot(self.positions.lap_before(tail))) =>
            {
                Next::Again(tail)
            }
            // Freed by a swap or by repair, both of which wake.
            Some(Phase::Taken | Phase::Redeliver | Phase::Freeing) if before => {
                Next::Stop(TryPut::Full)
            }
            _ => Next::Stop(TryPut::Corrupted("a slot's state contradicts the positions")),
        }
    }

    /// Gets the tomb at `head`, or the name of a stream that is over, if it is still there.
    /// `true` if this call did.
    pub(super) fn retire(&self, actor: &mut Actor, head: u64) -> bool {
        self.announce(actor, Announcement::get(head));
        let won = self.claim_get(head).is_ok();
        if won {
            self.release(head);
            self.not_full.notify();
        } else {
            // The winner may die before it is done: repair must not wait for us.
            self.announce(actor, Announcement::IDLE);
        }
        won
    }
}
