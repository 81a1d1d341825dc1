//! Messages that are written and read where they lie in the ring.
//!
//! A reservation is nothing but free space that its producer knows of: until the commit
//! nobody else sees it, and whoever forgets it has changed nothing. A message that is
//! looked at is one that was not released yet.

use super::chunk::{self, HEADER, Head, Piece, TOTAL, span};
use super::producer::RESERVE;
use super::{Consumer, Producer, PushError};
use crate::memory::{Circle, LONG_COPY, Out, OutOfBounds, ReadTimes, Run, Stores, Way};

/// The payload of one chunk where it lies: in two parts if it goes round the end of the
/// ring. Bytes are copied in and out, never borrowed: the other process may write them.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    data: &'a Circle,
    pos: u64,
    len: usize,
    side: Side<'a>,
}

/// Whose it is.
#[derive(Clone, Copy)]
enum Side<'a> {
    /// How long parts of it are written.
    Producer(&'a Stores),
    /// How they were.
    Consumer(&'a ReadTimes),
}

impl<'a> Payload<'a> {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The position of byte `offset`, if `len` bytes from there are inside.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> Result<u64, OutOfBounds> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len);
        let refuse = OutOfBounds { at: offset as u64, len: len as u64 };
        if fits { Ok(self.pos.wrapping_add(offset as u64)) } else { Err(refuse) }
    }

    /// Copies `src` to byte `offset` of the payload.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; nothing was written.
    #[inline]
    pub fn write_at(&self, offset: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        let at = self.at(offset, src.len())?;
        match self.side {
            Side::Producer(stores) if src.len() > LONG_COPY => stores
                .copy(src, |way, from, part| {
                    self.data.write_at(way, at.wrapping_add(from as u64), part)
                }),
            _ => self.data.write_at(Way::Through, at, src),
        }
    }

    /// Copies from byte `offset` of the payload to `dst`.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; `dst` is as it was.
    #[inline]
    pub fn read_at(&self, offset: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let at = self.at(offset, dst.len())?;
        let how = match self.side {
            Side::Consumer(times) => {
                let len = dst.len();
                let piece = times.out_of_piece(len, offset, self.len - offset - len);
                // What lies behind the end of the ring is something else.
                piece.within(|more| self.data.straight(at, len + more).saturating_sub(len))
            }
            Side::Producer(_) => Out::Past,
        };
        self.data.read_at(how, at, dst)
    }

    /// Its bytes from `offset` on, up to where it goes round the end of the ring; none if there
    /// is no such byte.
    #[inline]
    pub fn run(&self, offset: usize) -> Option<Run<'a>> {
        let len = self.len.checked_sub(offset)?;
        self.data.run(self.pos.wrapping_add(offset as u64), len)
    }

    /// Where its two parts lie; the second is empty unless it goes round the end of the
    /// ring. See [`Region::pointer`](crate::memory::Region::pointer).
    pub fn parts(&self) -> [*mut [u8]; 2] {
        self.data.parts(self.pos, self.len)
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
        self.fetch();
        Ok(())
    }

    /// The place of a message of `len` bytes for which [`reserve`](Self::reserve) found
    /// room. Nothing else may be pushed before [`commit`](Self::commit).
    #[inline]
    pub fn reserved(&self, len: usize) -> Payload<'_> {
        let (data, pos) = (&self.ring().data, self.pos.wrapping_add(HEADER));
        Payload { data, pos, len, side: Side::Producer(self.stores()) }
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
        let from = self.pos;
        self.pos = from.wrapping_add(span);
        self.publish(from, header);
    }
}

impl Consumer {
    /// The payload of the chunk that [`head`](Self::head) showed, until it is released.
    #[inline]
    pub fn payload(&self, head: Head) -> Payload<'_> {
        let framing =
            if matches!(head.piece, Piece::First { .. }) { HEADER + TOTAL } else { HEADER };
        let pos = self.pos.wrapping_add(framing);
        let ring = self.ring();
        Payload { data: &ring.data, pos, len: head.len, side: Side::Consumer(&ring.read_times) }
    }
}
