//! The short way of a put and a get: nothing but the ring.
//!
//! Almost every call finds its thread's actor at hand, its slot ready and nobody in the
//! way. What it takes then is small enough to be compiled into the caller. Everything else
//! is left to [`blocking`](super::blocking), which may begin anew: nothing has happened.

use super::attachment::Attachment;
use super::blocking::{GetError, Try, get_failed};
use super::ring::Ring;
use super::shared::SharedRing;
use super::word::{Announcement, Phase, State, marks};
use crate::peer::{Actor, Committed};
use crate::sync::Ordering::Relaxed;
use crate::sync::spin_hint;
use std::sync::Arc;

/// What [`SharedRing::get_quick`] came to: a length, or one of two that no message has. One
/// register, where a `Result` would go through memory at each level of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a message may have been taken"]
pub struct QuickGet(usize);

impl QuickGet {
    /// Nothing was taken, and nothing is known but that the long way knows more.
    pub const MISSED: Self = Self(usize::MAX - 1);
    /// The message had an impossible length, or is too long for the buffer: what it is was
    /// left with the actor.
    const ODD: Self = Self(usize::MAX);

    /// Whether a message of just `len` bytes was taken.
    #[inline]
    pub fn is(self, len: usize) -> bool {
        self.0 == len
    }

    /// The length of the message that was taken, if one was.
    #[inline]
    pub fn taken(self) -> Option<usize> {
        (self.0 < Self::MISSED.0).then_some(self.0)
    }
}

impl SharedRing {
    /// Puts `message` if that takes nothing but the ring. Looks up to `looks()` times, about
    /// 30 ns apart, for room; at least once. `false` says only that
    /// [`put`](Self::put) and [`try_put`](Self::try_put) know more.
    #[inline]
    pub fn put_quick(&self, message: &[u8], looks: impl FnOnce() -> u32) -> bool {
        let put = |ring: &Ring, actor: &mut Actor| ring.put_quick(actor, message, looks);
        self.quick().and_then(|attachment| attachment.with_own_actor(put)).unwrap_or(false)
    }

    /// Takes a message if that takes nothing but the ring, as
    /// [`try_get`](Self::try_get). Looks up to `looks()` times, about 30 ns apart, for one;
    /// at least once. Ask [`explain`](Self::explain) about an answer that is not the
    /// length that was expected.
    #[inline]
    pub fn get_quick(&self, buffer: &mut [u8], looks: impl FnOnce() -> u32) -> QuickGet {
        let Some(attachment) = self.quick() else { return QuickGet::MISSED };
        let get = |ring: &Ring, actor: &mut Actor| ring.get_quick(actor, buffer, looks);
        attachment.with_own_actor(get).unwrap_or(QuickGet::MISSED)
    }

    /// What the last [`get_quick`](Self::get_quick) of this thread means: the length of the
    /// message that was taken, why there is none, or `None`: [`get`](Self::get) and
    /// [`try_get`](Self::try_get) know more.
    ///
    /// # Errors
    ///
    /// [`GetError::Corrupted`]; [`GetError::Long`].
    #[cold]
    pub fn explain(&self, got: QuickGet) -> Option<Result<usize, GetError>> {
        match got {
            QuickGet::MISSED => None,
            QuickGet::ODD => self.quick()?.why_odd(),
            QuickGet(len) => Some(Ok(len)),
        }
    }
}

impl Attachment {
    /// What came of a get of this thread that was [`QuickGet::ODD`].
    fn why_odd(self: &Arc<Self>) -> Option<Result<usize, GetError>> {
        let left = self.with_own_actor(|_, actor| actor.take_left()).flatten();
        match get_failed(self, left?) {
            Try::Done(result) => Some(result),
            _ => None,
        }
    }
}

impl Ring {
    #[inline]
    fn put_quick(&self, actor: &mut Actor, message: &[u8], looks: impl FnOnce() -> u32) -> bool {
        self.room.fits(message.len())
            && (self.put_now(actor, message) || self.put_soon(actor, message, looks()))
    }

    /// The first look. The steps of a put, as in `put_at`, with everything looked up once.
    #[inline]
    fn put_now(&self, actor: &mut Actor, message: &[u8]) -> bool {
        // Relaxed: a first guess. The slot's state and the CAS decide.
        let tail = self.enqueue_pos.load(Relaxed);
        let lap = self.positions.lap(tail);
        let (Some(slot), Some(own)) = (self.slot(tail), self.actors.own(actor)) else {
            return false;
        };
        if slot.state() != State::of(Phase::Empty, lap) {
            return false;
        }
        own.announce(Announcement::put(tail));
        if self.claim_put(tail).is_err() {
            // Nobody waits or leaves while it announces: repair would wait for it.
            own.announce(Announcement::IDLE);
            return false;
        }
        slot.write(self.room, message);
        slot.publish(lap);
        self.not_empty.notify();
        own.count_one(Committed::Put);
        true
    }

    /// The others. Apart, so that the first stays short.
    #[inline(never)]
    fn put_soon(&self, actor: &mut Actor, message: &[u8], looks: u32) -> bool {
        (1..looks).any(|_| {
            spin_hint();
            self.put_now(actor, message)
        })
    }

    #[inline]
    fn get_quick(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
        looks: impl FnOnce() -> u32,
    ) -> QuickGet {
        match self.get_now(actor, buffer) {
            QuickGet::MISSED => self.get_soon(actor, buffer, looks()),
            got => got,
        }
    }

    /// The first look. The steps of a get, as in `get_at`, with everything looked up once.
    #[inline]
    fn get_now(&self, actor: &mut Actor, buffer: &mut [u8]) -> QuickGet {
        // Relaxed: a reason to leave it to the long way, which looks again.
        if self.marks.load(Relaxed) & (marks::REDELIVER | marks::DISCARD) != 0 {
            return QuickGet::MISSED;
        }
        // Relaxed: a first guess. The slot's state and the CAS decide.
        let head = self.dequeue_pos.load(Relaxed);
        let lap = self.positions.lap(head);
        let (Some(slot), Some(own)) = (self.slot(head), self.actors.own(actor)) else {
            return QuickGet::MISSED;
        };
        if slot.state() != State::of(Phase::Full, lap) {
            return QuickGet::MISSED;
        }
        own.announce(Announcement::get(head));
        if self.claim_get(head).is_err() {
            // As in `put_now`.
            own.announce(Announcement::IDLE);
            return QuickGet::MISSED;
        }
        let Some(len) = slot.read(self.room, buffer) else {
            return self.get_elsewhere(actor, head, buffer);
        };
        slot.release(self.positions.next_lap(head));
        self.notify_room();
        own.count_one(Committed::Get);
        QuickGet(len)
    }

    /// The message at `head`, which was claimed, is not in its slot.
    #[cold]
    fn get_elsewhere(&self, actor: &mut Actor, head: u64, buffer: &mut [u8]) -> QuickGet {
        match self.get_long(actor, head, buffer) {
            Ok(len) => len.map_or(QuickGet::MISSED, QuickGet),
            Err(why) => {
                actor.leave(why);
                QuickGet::ODD
            }
        }
    }

    /// The others.
    #[inline(never)]
    fn get_soon(&self, actor: &mut Actor, buffer: &mut [u8], looks: u32) -> QuickGet {
        for _ in 1..looks {
            spin_hint();
            match self.get_now(actor, buffer) {
                QuickGet::MISSED => {}
                got => return got,
            }
        }
        QuickGet::MISSED
    }
}
