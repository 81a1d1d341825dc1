//! The reading side.

use super::chunk::{self, HEADER, Head, NONE, Piece, TOTAL, span};
use super::layout::SMALLEST_CAPACITY;
use super::{Corrupted, Direction};
use crate::sync::Ordering::{Acquire, Release};

/// The only reader of a ring. Never waits.
pub struct Consumer {
    ring: Direction,
    pub(super) capacity: u64,
    /// Bytes released. Authoritative: the shared copy is for the producer. A batch keeps to itself how
    /// far it has read.
    pub(super) pos: u64,
    /// Up to where lines were fetched ahead.
    pub(super) fetched: u64,
    /// Bytes of the message that is streamed, as its sender said; 0 if it goes to memory that is in the
    /// cache. Says only how copies are made.
    message: u64,
}

impl Consumer {
    /// Becomes the reader, at the position where the last one stopped. The caller sees
    /// to it that there is no other reader.
    ///
    /// # Errors
    ///
    /// [`Corrupted`] if that position makes no sense.
    pub fn new(ring: Direction) -> Result<Self, Corrupted> {
        // ORDERING ring-handover (acquire): as in `Producer::new`.
        let pos = ring.read_pos.load(Acquire);
        if !pos.is_multiple_of(8) {
            return Err(Corrupted("read_pos is not a multiple of 8"));
        }
        let capacity = ring.capacity();
        Ok(Self { ring, capacity, pos, fetched: pos, message: 0 })
    }

    /// The shared part.
    pub fn ring(&self) -> &Direction {
        &self.ring
    }

    /// Whether a chunk is there, or something that should not be.
    #[inline]
    pub fn is_ready(&self) -> bool {
        chunk::word_at(&self.ring, self.pos) != NONE
    }

    /// The length of the message at the head of the ring, if it is there in one chunk.
    /// The quick way for the usual case; `None` says only that [`head`](Self::head)
    /// knows more.
    #[inline]
    pub fn whole(&self) -> Option<usize> {
        self.whole_at(self.pos)
    }

    /// As [`whole`](Self::whole), at `pos`.
    #[inline]
    pub(super) fn whole_at(&self, pos: u64) -> Option<usize> {
        let len = chunk::decode_whole(chunk::word_at(&self.ring, pos), pos)?;
        if span(Piece::Whole, len) > self.capacity - HEADER {
            return None;
        }
        usize::try_from(len).ok()
    }

    /// Whether the message at `pos` is there in one chunk and has just `len` bytes.
    #[inline]
    pub(super) fn is_whole_at(&self, pos: u64, len: usize) -> bool {
        let span = span(Piece::Whole, len as u64);
        // No ring is smaller. Where the length is known, as it is of numbers, the first answers.
        let fits = span <= SMALLEST_CAPACITY - HEADER || span <= self.capacity - HEADER;
        fits && chunk::decode_whole(chunk::word_at(&self.ring, pos), pos) == Some(len as u64)
    }

    /// Copies the message that [`whole`](Self::whole) showed to `dst`, which has its
    /// length, and releases it. Then the caller notifies `writable`.
    #[inline]
    pub fn take_whole(&mut self, dst: &mut [u8]) {
        self.take(Head { piece: Piece::Whole, len: dst.len() }, dst);
    }

    /// The chunk at the head of the ring, which stays there; `None` if it is empty.
    ///
    /// # Errors
    ///
    /// [`Corrupted`] if the header makes no sense.
    #[inline]
    pub fn head(&self) -> Result<Option<Head>, Corrupted> {
        chunk::at(&self.ring, self.pos)
    }

    /// Copies the payload of the chunk that [`head`](Self::head) showed to `dst` and
    /// releases the chunk. Then the caller notifies `writable`.
    ///
    /// # Panics
    ///
    /// If `dst` is not as long as the payload.
    #[inline]
    pub fn take(&mut self, head: Head, dst: &mut [u8]) {
        if let Piece::First { total } = head.piece {
            self.message = total;
        }
        self.copy_at(self.pos, head, dst);
        self.release(head);
    }

    /// As [`take`](Self::take), to bytes that were made right before, and so lie in the cache: the copy
    /// does not go past it, however long the message is.
    pub fn take_to_fresh(&mut self, head: Head, dst: &mut [u8]) {
        self.message = 0;
        self.copy_at(self.pos, head, dst);
        self.release(head);
    }

    /// Copies the payload of the chunk at `pos`, which `head` is about, to `dst`, which has its
    /// length.
    #[inline]
    pub(super) fn copy_at(&self, pos: u64, head: Head, dst: &mut [u8]) {
        assert_eq!(head.len, dst.len(), "the caller sizes the destination by the head");
        let framing =
            if matches!(head.piece, Piece::First { .. }) { HEADER + TOTAL } else { HEADER };
        // It fits: whoever told the length checked it against the ring.
        let at = pos.wrapping_add(framing);
        let (times, data) = (&self.ring.read_times, &self.ring.data);
        let begun = times.begin(dst.len());
        let whole = head.piece == Piece::Whole;
        let message = if whole { 0 } else { self.message };
        let fitted = data.copy_out(times.out(dst.len(), message), at, dst);
        times.end(begun, dst.len());
        debug_assert!(fitted.is_ok());
    }

    /// Releases the chunk that [`head`](Self::head) showed, unread.
    #[inline]
    pub fn release(&mut self, head: Head) {
        self.pos = self.pos.wrapping_add(span(head.piece, head.len as u64));
        self.settle();
    }

    /// Releases all before the position. This store is the commit of a receive.
    #[inline]
    pub(super) fn settle(&self) {
        // ORDERING ring-release (release): our reads of the chunks are done before the
        // producer, which acquires read_pos in `Producer::refresh`, overwrites them.
        // ORDERING ring-handover (release): a successor starts here.
        self.ring.read_pos.store(self.pos, Release);
    }
}
