//! One slot: what a put and a get do with it once they have found it.

use super::layout::at::slot;
use super::word::{Meta, Phase, State};
use crate::memory::Record;
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// A slot of the ring. Its bounds were checked when it was looked up.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a>(pub(super) Record<'a, { slot::PAYLOAD }>);

impl<'a> Slot<'a> {
    #[inline]
    pub(super) fn state_word(&self) -> &'a AtomicU64 {
        self.0.word::<{ slot::STATE }>()
    }

    #[inline]
    pub(super) fn meta_word(&self) -> &'a AtomicU64 {
        self.0.word::<{ slot::META }>()
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        // ORDERING mpmc-commit (acquire): FULL makes the message visible, EMPTY that
        // its getter has copied it out.
        State(self.state_word().load(Acquire))
    }

    /// Writes the message, into a slot that is ours alone.
    #[inline]
    pub(super) fn write(&self, message: &[u8]) {
        // Relaxed throughout: `publish` releases it. The length was checked against the
        // payload size, below 2^16.
        #[allow(clippy::cast_possible_truncation, reason = "checked before the claim")]
        let meta = Meta::inline(message.len() as u32);
        self.meta_word().store(meta.0, Relaxed);
        let _ = self.0.copy_in(message);
    }

    /// COMMIT of the put of `lap`.
    #[inline]
    pub(super) fn publish(&self, lap: u64) {
        // ORDERING mpmc-commit (release): the message written above becomes visible to
        // the getter that acquires FULL.
        self.state_word().store(State::of(Phase::Full, lap).0, Release);
    }

    /// Copies the message, or as much as fits, and says how long it is; `None` if its
    /// length is more than `limit`.
    #[inline]
    pub(super) fn read(&self, limit: usize, buffer: &mut [u8]) -> Option<usize> {
        // Relaxed: `state` acquired it. Read once: the copy is checked and used.
        let meta = Meta(self.meta_word().load(Relaxed));
        // Apart, so that the copy of a length that the caller knows is a few instructions.
        if meta.is_inline(buffer.len()) && self.0.copy_out(buffer).is_ok() {
            return Some(buffer.len());
        }
        self.read_part(meta, limit, buffer)
    }

    #[inline(never)]
    fn read_part(&self, meta: Meta, limit: usize, buffer: &mut [u8]) -> Option<usize> {
        let len = usize::try_from(meta.len()).ok()?;
        if len > limit || meta.kind() != Meta::INLINE {
            return None;
        }
        let fits = len.min(buffer.len());
        self.0.copy_out(&mut buffer[..fits]).ok()?;
        Some(len)
    }

    /// COMMIT of a get: the slot is free for the put of `next_lap`.
    #[inline]
    pub(super) fn release(&self, next_lap: u64) {
        // ORDERING mpmc-commit (release): the copy above is complete before the putter
        // that acquires EMPTY overwrites the slot.
        self.state_word().store(State::of(Phase::Empty, next_lap).0, Release);
    }
}
