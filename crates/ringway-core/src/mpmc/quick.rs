//! The short way of a put and a get: nothing but the ring.
//!
//! Almost every call finds its thread's actor at hand, its slot ready and nobody in the
//! way. What it takes then is small enough to be compiled into the caller. Everything else
//! is left to [`blocking`](super::blocking), which may begin anew: nothing has happened.

use super::attachment::Attachment;
use super::blocking::{GetError, Try, get_failed};
use super::put::At;
use super::ring::Ring;
use super::shared::SharedRing;
use super::word::{Announcement, marks};
use crate::peer::Actor;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::spin_hint;
use std::sync::Arc;

/// The message had an impossible length, or is too long for the buffer: what it is was left
/// with the actor. No message is as long.
const WRONG: usize = usize::MAX;

impl SharedRing {
    /// Puts `message` if that takes nothing but the ring. Looks up to `looks` times, about
    /// 30 ns apart, for room; at least once. `false` says only that
    /// [`put`](Self::put) and [`try_put`](Self::try_put) know more.
    #[inline]
    pub fn put_quick(&self, message: &[u8], looks: u32) -> bool {
        let put = |ring: &Ring, actor: &mut Actor| ring.put_quick(actor, message, looks);
        self.quick().and_then(|attachment| attachment.with_own_actor(put)).unwrap_or(false)
    }

    /// Takes a message if that takes nothing but the ring, as
    /// [`try_get`](Self::try_get). Looks up to `looks` times, about 30 ns apart, for one;
    /// at least once. `None` says only that [`get`](Self::get) and `try_get` know more.
    ///
    /// # Errors
    ///
    /// [`GetError::Corrupted`]; [`GetError::Long`].
    #[inline]
    pub fn get_quick(&self, buffer: &mut [u8], looks: u32) -> Option<Result<usize, GetError>> {
        let attachment = self.quick()?;
        let get = |ring: &Ring, actor: &mut Actor| ring.get_quick(actor, buffer, looks);
        match attachment.with_own_actor(get)?? {
            WRONG => attachment.no_length(),
            len => Some(Ok(len)),
        }
    }
}

impl Attachment {
    /// What came of a get of this thread that has [`WRONG`] for a length.
    #[cold]
    fn no_length(self: &Arc<Self>) -> Option<Result<usize, GetError>> {
        let left = self.with_own_actor(|_, actor| actor.take_left()).flatten();
        match get_failed(self, left?) {
            Try::Done(result) => Some(result),
            _ => None,
        }
    }
}

impl Ring {
    #[inline]
    fn put_quick(&self, actor: &mut Actor, message: &[u8], looks: u32) -> bool {
        message.len() <= self.payload_size()
            && (self.put_now(actor, message) || self.put_soon(actor, message, looks))
    }

    /// The first look.
    #[inline]
    fn put_now(&self, actor: &mut Actor, message: &[u8]) -> bool {
        // Relaxed: a first guess. The slot's state and the CAS decide.
        let tail = self.enqueue_pos.load(Relaxed);
        match self.put_at::<true>(actor, message, tail) {
            At::Done(()) => return true,
            // Nobody waits or leaves while it announces: repair would wait for it.
            At::Lost(_) => self.announce(actor, Announcement::IDLE),
            At::NotFree => {}
        }
        false
    }

    /// The others. Apart, so that the first stays short.
    #[inline(never)]
    fn put_soon(&self, actor: &mut Actor, message: &[u8], looks: u32) -> bool {
        (1..looks).any(|_| {
            spin_hint();
            self.put_now(actor, message)
        })
    }

    /// The length of the message, or [`WRONG`].
    #[inline]
    fn get_quick(&self, actor: &mut Actor, buffer: &mut [u8], looks: u32) -> Option<usize> {
        self.get_now(actor, buffer).or_else(|| self.get_soon(actor, buffer, looks))
    }

    /// The first look.
    #[inline]
    fn get_now(&self, actor: &mut Actor, buffer: &mut [u8]) -> Option<usize> {
        // ORDERING mpmc-mark (acquire): a mark comes with the slots it marks.
        if self.marks.load(Acquire) & (marks::REDELIVER | marks::DISCARD) != 0 {
            return None;
        }
        // Relaxed: a first guess. The slot's state and the CAS decide.
        let head = self.dequeue_pos.load(Relaxed);
        match self.get_at::<true>(actor, buffer, head) {
            At::Done(Ok(len)) => return Some(len),
            At::Done(Err(why)) => {
                actor.leave(why);
                return Some(WRONG);
            }
            // As in `put_now`.
            At::Lost(_) => self.announce(actor, Announcement::IDLE),
            At::NotFree => {}
        }
        None
    }

    /// The others.
    #[inline(never)]
    fn get_soon(&self, actor: &mut Actor, buffer: &mut [u8], looks: u32) -> Option<usize> {
        (1..looks).find_map(|_| {
            spin_hint();
            self.get_now(actor, buffer)
        })
    }
}
