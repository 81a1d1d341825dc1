//! The writing side.

use super::chunk::{self, HEADER, Piece, TOTAL, span};
use super::{Corrupted, Direction};
use crate::memory::{LONG_COPY, OutOfBounds, Stores, Way};
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// Why a message was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// There is no room now.
    Full,
    /// The message never fits in one chunk; it must be streamed.
    TooLong,
    /// The shared position makes no sense.
    Corrupted(Corrupted),
}

impl From<Corrupted> for PushError {
    fn from(corrupted: Corrupted) -> Self {
        Self::Corrupted(corrupted)
    }
}

/// The only writer of a ring. Never waits.
pub struct Producer {
    ring: Direction,
    pub(super) capacity: u64,
    /// Bytes published, and filled to be published. Authoritative: the shared copy is for the consumer.
    pub(super) pos: u64,
    /// The consumer's position when last looked at; at most `capacity` before `pos`.
    read_cache: u64,
    /// Bytes of the message that is being streamed that are yet to come; 0 if none is.
    rest: u64,
    /// Bytes that a message sent whole takes at most.
    pub(super) whole_span: u64,
    /// Whether a piece of that message was written. It left [`RESERVE`] free.
    begun: bool,
    /// Up to where lines were fetched ahead.
    pub(super) fetched: u64,
    /// How long messages are copied.
    stores: Stores,
}

/// Always kept free by data, so that an ABORT can be written at any time, and the empty
/// header after it.
pub(super) const RESERVE: u64 = 2 * HEADER;
/// A chunk's length has 32 bits.
const LONGEST_CHUNK: u64 = 1 << 31;

impl Producer {
    /// Becomes the writer, at the position where the last one stopped. The caller sees
    /// to it that there is no other writer.
    ///
    /// # Errors
    ///
    /// [`Corrupted`] if the positions contradict each other.
    pub fn new(ring: Direction) -> Result<Self, Corrupted> {
        // ORDERING ring-handover (acquire): a former writer published its last chunk
        // before it let go of the kernel's lock that the caller now holds; the lock
        // orders the two. Acquire for a former writer in this process.
        let mut pos = ring.write_pos.load(Acquire);
        let capacity = ring.capacity();
        if !pos.is_multiple_of(8) {
            return Err(Corrupted("write_pos is not a multiple of 8"));
        }
        // The former writer may have been killed between publishing and noting that down:
        // one chunk, or the chunks of a batch. It wrote an empty header after the last.
        let noted = pos;
        while let Some(head) = chunk::at(&ring, pos)? {
            pos = pos.wrapping_add(span(head.piece, head.len as u64));
            if pos.wrapping_sub(noted) > capacity - HEADER {
                return Err(Corrupted("more than a ring was published and not noted down"));
            }
        }
        let stores = Stores::new(capacity, ring.read_times.clone());
        let mut producer = Self {
            ring,
            capacity,
            pos,
            read_cache: pos.wrapping_sub(capacity),
            rest: 0,
            whole_span: capacity.min(LONGEST_CHUNK) / 4,
            begun: false,
            fetched: pos,
            stores,
        };
        producer.refresh()?;
        Ok(producer)
    }

    /// The shared part.
    pub fn ring(&self) -> &Direction {
        &self.ring
    }

    /// The longest message that goes as one chunk when streaming is possible: a
    /// quarter of the ring, header included.
    pub fn whole_limit(&self) -> usize {
        usize::try_from(self.whole_span - HEADER).unwrap_or(usize::MAX)
    }

    /// The longest message that fits the ring at all as one chunk.
    #[inline]
    pub fn try_limit(&self) -> usize {
        usize::try_from(self.capacity.min(LONGEST_CHUNK) - HEADER - RESERVE).unwrap_or(usize::MAX)
    }

    /// Writes `message` as one chunk if it is no longer than [`whole_limit`](
    /// Self::whole_limit) and there is room by what is known of the consumer. The quick
    /// way for the usual case; `false` says only that [`try_push`](Self::try_push) knows
    /// more. Then the caller notifies `readable`.
    #[inline]
    pub fn push_whole(&mut self, message: &[u8]) -> bool {
        let need = HEADER + (message.len() as u64).next_multiple_of(8);
        let fits = need <= self.whole_span && need + RESERVE <= self.free();
        if fits {
            self.write(Piece::Whole, message);
        }
        fits
    }

    /// Writes `message` as one chunk, visible whole or not at all. Then the caller
    /// notifies `readable`.
    ///
    /// # Errors
    ///
    /// [`PushError`]; nothing was written.
    #[inline]
    pub fn try_push(&mut self, message: &[u8]) -> Result<(), PushError> {
        let len = message.len() as u64;
        // Slices are at most isize::MAX long: no overflow.
        let need = HEADER + len.next_multiple_of(8);
        if need > self.capacity.min(LONGEST_CHUNK) - RESERVE {
            return Err(PushError::TooLong);
        }
        if need + RESERVE > self.free() && !self.room(need)? {
            return Err(PushError::Full);
        }
        self.write(Piece::Whole, message);
        Ok(())
    }

    /// Begins a streamed message of `total` bytes, which must not be 0.
    pub fn begin(&mut self, total: u64) {
        debug_assert!(self.rest == 0 && total > 0);
        self.rest = total;
        self.begun = false;
    }

    /// Writes as much of `rest`, the part of the streamed message that was not written
    /// yet, as there is room for, up to a piece of the ring; returns how much. `first`
    /// is true until something of the message was written. Returns 0 if there is no
    /// room; then the caller waits until [`has_room`](Self::has_room).
    ///
    /// # Errors
    ///
    /// [`Corrupted`] if the shared position makes no sense.
    pub fn push_part(&mut self, rest: &[u8], total: u64) -> Result<usize, Corrupted> {
        debug_assert_eq!(rest.len() as u64, self.rest);
        let first = self.rest == total;
        let framing = HEADER + RESERVE + if first { TOTAL } else { 0 };
        // The least piece worth a header: less would make many tiny chunks of a
        // consumer that lags by a little.
        let least = (rest.len() as u64).min(self.capacity / 16).next_multiple_of(8);
        if self.free() < framing + least && !self.room(framing - RESERVE + least)? {
            return Ok(0);
        }
        let most = (self.free() - framing).min(self.piece_limit());
        let len = rest.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        // A piece that is not the last must end on a multiple of 8, as `most` does.
        let last = len == rest.len();
        let piece = match (first, last) {
            (true, true) => Piece::Whole,
            (true, false) => Piece::First { total },
            (false, false) => Piece::Middle,
            (false, true) => Piece::Last,
        };
        self.write(piece, &rest[..len]);
        self.begun = true;
        self.rest -= len as u64;
        Ok(len)
    }

    /// Whether [`push_part`](Self::push_part), or else [`try_push`](Self::try_push) of
    /// `len` bytes, would find room now.
    ///
    /// # Errors
    ///
    /// [`Corrupted`] if the shared position makes no sense.
    pub fn has_room(&mut self, len: usize) -> Result<bool, Corrupted> {
        let len = len as u64;
        let part = TOTAL + self.rest.min(self.capacity / 16);
        let need = if self.streaming() { part } else { len };
        self.room(HEADER + need.next_multiple_of(8))
    }

    /// Whether a streamed message was begun and has more to come.
    pub fn streaming(&self) -> bool {
        self.rest > 0
    }

    /// Gives the streamed message up: its receiver drops what it has of it. One of which
    /// nothing was written leaves no trace.
    pub fn abort(&mut self) {
        if self.rest > 0 && self.begun {
            // The piece before it left RESERVE free. Without one the room may have gone
            // to an earlier abort.
            self.write(Piece::Abort, &[]);
        }
        self.rest = 0;
    }

    /// The longest piece of a streamed message. An eighth of the ring lets both sides
    /// copy at once and costs one header in `capacity / 8` bytes.
    fn piece_limit(&self) -> u64 {
        (self.capacity / 8).min(1 << 20)
    }

    #[inline]
    pub(super) fn free(&self) -> u64 {
        self.capacity - self.pos.wrapping_sub(self.read_cache)
    }

    /// Looks at the consumer's position again; whether `need` bytes and the reserve fit.
    #[cold]
    pub(super) fn room(&mut self, need: u64) -> Result<bool, Corrupted> {
        self.refresh()?;
        Ok(need + RESERVE <= self.free())
    }

    fn refresh(&mut self) -> Result<(), Corrupted> {
        // ORDERING ring-release (acquire): pairs with `Consumer::release`: the consumer
        // has read everything before this position, so it may be overwritten.
        let seen = self.ring.read_pos.load(Acquire);
        // In sound memory: read_cache <= seen <= pos.
        let held = self.pos.wrapping_sub(self.read_cache);
        if seen.wrapping_sub(self.read_cache) > held || !seen.is_multiple_of(8) {
            return Err(Corrupted("read_pos is outside the ring"));
        }
        self.read_cache = seen;
        Ok(())
    }

    /// Writes one chunk, for which there is room, and publishes it.
    #[inline]
    fn write(&mut self, piece: Piece, payload: &[u8]) {
        self.fetch();
        let from = self.pos;
        let header = self.fill(piece, payload);
        self.publish(from, header);
    }

    /// Writes one chunk, for which there is room, but for its header, which it gives.
    #[inline]
    pub(super) fn fill(&mut self, piece: Piece, payload: &[u8]) -> u64 {
        let header = self.fill_at(self.pos, piece, payload);
        self.pos = self.pos.wrapping_add(span(piece, payload.len() as u64));
        header
    }

    /// As [`fill`](Self::fill), at `pos`; the producer stays where it is.
    #[inline]
    pub(super) fn fill_at(&self, pos: u64, piece: Piece, payload: &[u8]) -> u64 {
        #[allow(clippy::cast_possible_truncation, reason = "a chunk is at most 2^32 - 1 bytes")]
        let len = payload.len() as u32;
        let data = &self.ring.data;
        // Relaxed, as the copy: published by the release store of a header.
        let mut at = pos.wrapping_add(HEADER);
        if let Piece::First { total } = piece {
            data.word(at).store(total, Relaxed);
            at = at.wrapping_add(TOTAL);
        }
        // It fits: the caller made sure that there is room.
        let fitted = if payload.len() > LONG_COPY {
            self.copy_long(at, payload)
        } else {
            data.copy_in(Way::Through, at, payload)
        };
        debug_assert!(fitted.is_ok());
        chunk::encode(piece, len, pos)
    }

    #[inline(never)]
    fn copy_long(&self, at: u64, payload: &[u8]) -> Result<(), OutOfBounds> {
        self.stores.copy(payload, |way, from, part| {
            self.ring.data.copy_in(way, at.wrapping_add(from as u64), part)
        })
    }

    /// How long messages are copied.
    pub(super) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Makes visible what was filled from `from` on, where `header` belongs.
    #[inline]
    pub(super) fn publish(&self, from: u64, header: u64) {
        let data = &self.ring.data;
        // Where the next chunk will be nothing is yet, whatever was there a lap ago. The
        // word is free: every write leaves it so.
        data.word(self.pos).store(chunk::NONE, Relaxed);
        // ORDERING ring-publish (release): what was filled and the empty header after it
        // become visible to whoever acquires this header in `chunk::at`. This store is the
        // commit.
        data.word(from).store(header, Release);
        // ORDERING ring-handover (release): for the next writer, see `new`. The consumer
        // does not look at it, so the line stays here.
        self.ring.write_pos.store(self.pos, Release);
    }
}
