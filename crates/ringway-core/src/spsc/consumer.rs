//! The reading side.

use super::chunk::{self, HEADER, Head, Piece, TOTAL, span};
use super::{Corrupted, Direction};
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// The only reader of a ring. Never waits.
pub struct Consumer {
    ring: Direction,
    pub(super) capacity: u64,
    /// Bytes released, and read to be released. Authoritative: the shared copy is for the producer.
    pub(super) pos: u64,
    /// The producer's position when last looked at; at most `capacity` after `pos`.
    write_cache: u64,
}

impl Consumer {
    /// Becomes the reader, at the position where the last one stopped. The caller sees
    /// to it that there is no other reader.
    ///
    /// # Errors
    ///
    /// [`Corrupted`] if the two positions contradict each other.
    pub fn new(ring: Direction) -> Result<Self, Corrupted> {
        // ORDERING ring-handover (acquire): as in `Producer::new`.
        let pos = ring.read_pos.load(Acquire);
        if !pos.is_multiple_of(8) {
            return Err(Corrupted("read_pos is not a multiple of 8"));
        }
        let capacity = ring.capacity();
        let mut consumer = Self { ring, capacity, pos, write_cache: pos };
        consumer.refresh()?;
        Ok(consumer)
    }

    /// The shared part.
    pub fn ring(&self) -> &Direction {
        &self.ring
    }

    /// Whether a chunk is there. Looks at the producer's position.
    ///
    /// # Errors
    ///
    /// [`Corrupted`] if that makes no sense.
    #[inline]
    pub fn is_ready(&mut self) -> Result<bool, Corrupted> {
        if self.write_cache == self.pos {
            self.refresh()?;
            if self.write_cache == self.pos {
                // While the position travels from the producer's cache to ours, let the line
                // of the next chunk travel beside it, not after it.
                self.ring.data.prefetch(self.index(self.pos));
            }
        }
        Ok(self.write_cache != self.pos)
    }

    /// The length of the message at the head of the ring, if it is there in one chunk.
    /// The quick way for the usual case; `None` says only that [`head`](Self::head)
    /// knows more.
    #[inline]
    pub fn whole(&mut self) -> Option<usize> {
        if self.write_cache == self.pos && !self.is_ready().is_ok_and(|ready| ready) {
            return None;
        }
        let available = self.write_cache.wrapping_sub(self.pos);
        // Relaxed: as in `head`.
        let word = self.ring.data.word(self.index(self.pos))?.load(Relaxed);
        let len = chunk::decode_whole(word, self.pos)?;
        if span(Piece::Whole, len) > available {
            return None;
        }
        usize::try_from(len).ok()
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
    /// [`Corrupted`] if position or header make no sense.
    #[inline]
    pub fn head(&mut self) -> Result<Option<Head>, Corrupted> {
        if !self.is_ready()? {
            return Ok(None);
        }
        let available = self.write_cache.wrapping_sub(self.pos);
        // Relaxed: `refresh` acquired the position after this word. Each is read once.
        let word =
            |pos: u64| self.ring.data.word(self.index(pos)).map_or(0, |word| word.load(Relaxed));
        let total = || word(self.pos.wrapping_add(HEADER));
        chunk::decode(word(self.pos), self.pos, available, total).map(Some)
    }

    /// Copies the payload of the chunk that [`head`](Self::head) showed to `dst` and
    /// releases the chunk. Then the caller notifies `writable`.
    ///
    /// # Panics
    ///
    /// If `dst` is not as long as the payload.
    #[inline]
    pub fn take(&mut self, head: Head, dst: &mut [u8]) {
        self.copy(head, dst);
        self.release(head);
    }

    /// Copies the payload of the chunk that [`head`](Self::head) showed to `dst`, which
    /// has its length.
    #[inline]
    pub(super) fn copy(&self, head: Head, dst: &mut [u8]) {
        assert_eq!(head.len, dst.len(), "the caller sizes the destination by the head");
        let framing =
            if matches!(head.piece, Piece::First { .. }) { HEADER + TOTAL } else { HEADER };
        let start = self.index(self.pos.wrapping_add(framing));
        // Both parts lie in the region: `head` checked the length against the ring.
        let to_end = self.ring.data.len() - start;
        let fitted = if dst.len() <= to_end {
            self.ring.data.copy_out(start, dst)
        } else {
            let (before, after) = dst.split_at_mut(to_end);
            self.ring.data.copy_out(start, before).and(self.ring.data.copy_out(0, after))
        };
        debug_assert!(fitted.is_ok());
    }

    /// Releases the chunk that [`head`](Self::head) showed, unread.
    #[inline]
    pub fn release(&mut self, head: Head) {
        self.pass(head);
        self.settle();
    }

    /// Goes on behind the chunk that [`head`](Self::head) showed. The producer does not
    /// see it before [`settle`](Self::settle).
    #[inline]
    pub(super) fn pass(&mut self, head: Head) {
        self.pos = self.pos.wrapping_add(span(head.piece, head.len as u64));
    }

    /// Releases what was passed. This store is the commit of a receive.
    #[inline]
    pub(super) fn settle(&self) {
        // ORDERING ring-release (release): our reads of the chunks are done before the
        // producer, which acquires read_pos in `Producer::refresh`, overwrites them.
        self.ring.read_pos.store(self.pos, Release);
    }

    #[inline]
    pub(super) fn index(&self, pos: u64) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "the ring fits the address space")]
        let index = (pos & (self.capacity - 1)) as usize;
        index
    }

    #[inline]
    fn refresh(&mut self) -> Result<(), Corrupted> {
        // ORDERING ring-publish (acquire): pairs with `Producer::write`: everything
        // before this position was written.
        let seen = self.ring.write_pos.load(Acquire);
        // In sound memory: pos <= write_cache <= seen <= pos + capacity.
        let (known, ahead) = (self.write_cache.wrapping_sub(self.pos), seen.wrapping_sub(self.pos));
        if !(known..=self.capacity).contains(&ahead) || !seen.is_multiple_of(8) {
            return Err(Corrupted("write_pos is outside the ring"));
        }
        self.write_cache = seen;
        Ok(())
    }
}
