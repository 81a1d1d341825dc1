//! One slot: what a put and a get do with it once they have found it.

use super::layout::at::slot;
use super::word::{Meta, Phase, State};
use crate::memory::Record;
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// What the slots of a ring hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes of the shortest message: of every one, in short slots.
    least: usize,
    /// Bytes that the longest message in a slot has more than that.
    more: usize,
    /// Whether the slots are short: the word after the state is the message.
    short: bool,
}

impl Room {
    /// Slots with room for `payload` bytes; short ones, for messages of just so many.
    pub(super) fn new(payload: usize, short: bool) -> Self {
        if short {
            Self { least: payload, more: 0, short }
        } else {
            Self { least: 0, more: payload, short }
        }
    }

    /// Whether a message of `len` bytes fits a slot.
    #[inline]
    pub(super) fn fits(&self, len: usize) -> bool {
        len.wrapping_sub(self.least) <= self.more
    }

    /// Whether all messages have one length, and their bytes in their slots.
    #[inline]
    pub(super) fn is_exact(&self) -> bool {
        self.short
    }

    /// Bytes of the longest message that fits a slot.
    #[inline]
    pub(super) fn most(&self) -> usize {
        self.least + self.more
    }
}

/// The bytes of a message in a short slot, as its word.
#[inline]
fn to_word(message: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    match message.try_into() {
        Ok(all) => bytes = all,
        Err(_) => bytes.iter_mut().zip(message).for_each(|(to, from)| *to = *from),
    }
    u64::from_le_bytes(bytes)
}

/// Copies as many of the first bytes of a word as `buffer` has room for.
#[inline]
pub(super) fn from_word(word: u64, buffer: &mut [u8]) {
    let bytes = word.to_le_bytes();
    match <&mut [u8; 8]>::try_from(&mut *buffer) {
        Ok(all) => *all = bytes,
        Err(_) => buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = from),
    }
}

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
    pub(super) fn write(&self, room: Room, message: &[u8]) {
        if room.short {
            // Relaxed: `publish` releases it.
            return self.write_word(message);
        }
        // Relaxed throughout: `publish` releases it. The length was checked against the
        // payload size, below 2^16.
        #[allow(clippy::cast_possible_truncation, reason = "checked before the claim")]
        let meta = Meta::inline(message.len() as u32);
        self.meta_word().store(meta.0, Relaxed);
        let _ = self.0.copy_in(message);
    }

    /// As [`write`](Self::write), of a word to a short slot.
    #[inline]
    pub(super) fn write_word(&self, message: &[u8]) {
        // Relaxed: as there.
        self.meta_word().store(to_word(message), Relaxed);
    }

    /// COMMIT of the put of `lap`.
    #[inline]
    pub(super) fn publish(&self, lap: u64) {
        // ORDERING mpmc-commit (release): the message written above becomes visible to
        // the getter that acquires FULL.
        self.state_word().store(State::of(Phase::Full, lap).0, Release);
    }

    /// Copies the message, or as much as fits, and says how long it is; `None` if it has no
    /// room in the slot.
    #[inline]
    pub(super) fn read(&self, room: Room, buffer: &mut [u8]) -> Option<usize> {
        if room.short {
            // Relaxed: `state` acquired it.
            let fits = room.least.min(buffer.len());
            from_word(self.meta_word().load(Relaxed), &mut buffer[..fits]);
            return Some(room.least);
        }
        // Relaxed: `state` acquired it. Read once: the copy is checked and used.
        let meta = Meta(self.meta_word().load(Relaxed));
        // Apart, so that the copy of a length that the caller knows is a few instructions.
        if meta.is_inline(buffer.len()) && self.0.copy_out(buffer).is_ok() {
            return Some(buffer.len());
        }
        self.read_part(meta, room.more, buffer)
    }

    /// As [`read`](Self::read), of a word from a short slot.
    #[inline]
    pub(super) fn read_word(&self, buffer: &mut [u8]) {
        // Relaxed: as there.
        from_word(self.meta_word().load(Relaxed), buffer);
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
