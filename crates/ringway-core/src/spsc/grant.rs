//! Messages that are written and read where they lie in the ring.
//!
//! A reservation is nothing but free space that its producer knows of: until the commit
//! nobody else sees it, and whoever forgets it has changed nothing. A message that is
//! looked at is one that was not released yet.

use super::chunk::{self, HEADER, Head, Piece, TOTAL, span};
use super::producer::RESERVE;
use super::{Consumer, Producer, PushError};
use crate::memory::{OutOfBounds, Region};
use crate::sync::Ordering::Relaxed;

/// The payload of one chunk where it lies: in two parts if it goes round the end of the
/// ring. Bytes are copied in and out, never borrowed: the other process may write them.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    data: &'a Region,
    start: usize,
    len: usize,
}

impl Payload<'_> {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Splits `len` bytes from `offset` on at the end of the ring: where the first part
    /// begins and how long it is.
    fn place(&self, offset: usize, len: usize) -> Result<(usize, usize), OutOfBounds> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len);
        if !fits {
            return Err(OutOfBounds { at: offset as u64, len: len as u64 });
        }
        // Both are below the ring's length, which is at most 2^40: no overflow. The ring's
        // length is a power of two.
        let start = (self.start + offset) & (self.data.len() - 1);
        Ok((start, len.min(self.data.len() - start)))
    }

    /// Copies `src` to byte `offset` of the payload.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; nothing was written.
    #[inline]
    pub fn write_at(&self, offset: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        let (start, first) = self.place(offset, src.len())?;
        let (before, after) = src.split_at(first);
        self.data.write_at(start, before)?;
        self.data.write_at(0, after)
    }

    /// Copies from byte `offset` of the payload to `dst`.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; `dst` is as it was.
    #[inline]
    pub fn read_at(&self, offset: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let (start, first) = self.place(offset, dst.len())?;
        let (before, after) = dst.split_at_mut(first);
        self.data.read_at(start, before)?;
        self.data.read_at(0, after)
    }

    /// Where its two parts lie; the second is empty unless it goes round the end of the
    /// ring. See [`Region::pointer`].
    pub fn parts(&self) -> [*mut [u8]; 2] {
        let none = || core::ptr::slice_from_raw_parts_mut(core::ptr::dangling_mut(), 0);
        let part = |at, len| self.data.pointer(at, len).unwrap_or_else(none);
        let first = self.len.min(self.data.len() - self.start);
        [part(self.start, first), part(0, self.len - first)]
    }
}

impl Producer {
    /// Makes sure that there is room for a message of `len` bytes in one chunk.
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push).
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<(), PushError> {
        if len > self.try_limit() {
            return Err(PushError::TooLong);
        }
        // No overflow: the limit is far below.
        let need = HEADER + (len as u64).next_multiple_of(8);
        if need + RESERVE > self.free() && !self.room(need)? {
            return Err(PushError::Full);
        }
        Ok(())
    }

    /// The place of a message of `len` bytes for which [`reserve`](Self::reserve) found
    /// room. Nothing else may be pushed before [`commit`](Self::commit).
    #[inline]
    pub fn reserved(&self, len: usize) -> Payload<'_> {
        let data = &self.ring().data;
        Payload { data, start: self.index(self.pos.wrapping_add(HEADER)), len: len.min(data.len()) }
    }

    /// Publishes the reserved message, or the first `len` bytes of it. Then the caller
    /// notifies `readable`.
    ///
    /// # Panics
    ///
    /// If there is no room for so much.
    #[inline]
    pub fn commit(&mut self, len: usize) {
        let span = span(Piece::Whole, len as u64);
        assert!(len <= self.try_limit() && span + RESERVE <= self.free(), "reserve it first");
        #[allow(clippy::cast_possible_truncation, reason = "the limit is below 2^31")]
        let header = chunk::encode(Piece::Whole, len as u32, self.pos);
        // Relaxed: `publish` releases it. The word exists, as in `fill`.
        if let Some(word) = self.ring().data.word(self.index(self.pos)) {
            word.store(header, Relaxed);
        }
        self.pos = self.pos.wrapping_add(span);
        self.publish();
    }

    #[inline]
    fn index(&self, pos: u64) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "the ring fits the address space")]
        let index = (pos & (self.capacity - 1)) as usize;
        index
    }
}

impl Consumer {
    /// The payload of the chunk that [`head`](Self::head) showed, until it is released.
    #[inline]
    pub fn payload(&self, head: Head) -> Payload<'_> {
        let framing =
            if matches!(head.piece, Piece::First { .. }) { HEADER + TOTAL } else { HEADER };
        let data = &self.ring().data;
        let start = self.index(self.pos.wrapping_add(framing));
        Payload { data, start, len: head.len.min(data.len()) }
    }
}
