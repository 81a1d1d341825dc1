//! Batches: many messages under one store.
//!
//! The chunks of a batch are filled one after the other behind the place where the consumer
//! looks; the header that belongs there comes last, and with it all of them are visible at
//! once. They are read one after the other, and released by one store of `read_pos`. A side
//! that is killed before its store has done nothing of the batch, one killed after it
//! everything. Every quarter of the ring the store is made in between, so that the other
//! side works at the same time and a long batch does not stall on its own length.
//!
//! Both guards settle when dropped, also by a panic in a caller's encoding.

use super::chunk::{HEADER, Head, NONE, Piece, span};
use super::fetch::beyond;
use super::producer::RESERVE;
use super::{Consumer, Producer};
use crate::sync::Ordering::Relaxed;

/// Bytes of a word.
const WORD: usize = 8;

/// Part of the ring after which a batch is published, or released, in between.
const PARTS: u64 = 4;

/// A batch of messages being written. Dropping it publishes them and wakes the reader.
///
/// What changes with each message is kept here and not in the producer, so that it stays in
/// registers. A store to private memory between two to the ring would keep the processor from
/// joining those that go to one cache line: the line, which the consumer's processor has, would
/// be waited for again and again (on a Zen 4, 35 to 145 ns a line instead of 9).
pub struct Writing<'a> {
    producer: &'a mut Producer,
    /// Where the next message goes.
    pos: u64,
    /// Where the first message is that was filled and not published, and its header; 0 if
    /// there is none.
    from: u64,
    header: u64,
    /// Up to here there is room, the lines are on their way and nothing is to be published.
    ready: u64,
}

impl Producer {
    /// Begins a batch. Not amidst a streamed message.
    #[inline]
    pub fn writing(&mut self) -> Writing<'_> {
        debug_assert!(!self.streaming());
        let pos = self.pos;
        Writing { producer: self, pos, from: pos, header: NONE, ready: pos }
    }

    /// Publishes a batch: what was filled between `from`, where `header` belongs, and `to`.
    fn publish_batch(&mut self, from: u64, header: u64, to: u64) {
        self.pos = to;
        self.publish(from, header);
        self.ring().readable.notify();
    }

    /// Makes ready for a message at `pos` that takes `need` bytes, and for those behind it as
    /// far as one look goes: says up to where. No message passes that place, and the one that
    /// ends a quarter of the ring ends there. `None` if there is no room for it. Takes and
    /// gives numbers, for whoever keeps them in registers.
    #[inline(never)]
    fn prepare(&mut self, pos: u64, from: u64, need: u64) -> Option<u64> {
        self.pos = pos;
        // Corrupted memory has no room; the single call says so.
        if need + RESERVE > self.free() && !self.room(need).is_ok_and(|room| room) {
            return None;
        }
        self.fetch();
        let part = (self.capacity / PARTS).saturating_sub(pos.wrapping_sub(from));
        let more = part.min(self.free() - RESERVE).min(self.fetched_ahead());
        Some(pos.wrapping_add(more.max(need)))
    }
}

impl Writing<'_> {
    /// Adds `message`, if it is no longer than [`whole_limit`](Producer::whole_limit) and
    /// there is room now. `false` says that the batch ends before it: a call for a single
    /// message finds out why.
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> bool {
        let need = HEADER + (message.len() as u64).next_multiple_of(8);
        if need > self.producer.whole_span {
            return false;
        }
        if beyond(self.pos.wrapping_add(need), self.ready) > 0 {
            match self.producer.prepare(self.pos, self.from, need) {
                Some(ready) => self.ready = ready,
                None => return false,
            }
        }
        let header = self.producer.fill_at(self.pos, Piece::Whole, message);
        if self.header == NONE {
            self.header = header;
        } else {
            // Relaxed: nobody looks here before the first header is published.
            self.producer.ring().data.word(self.pos).store(header, Relaxed);
        }
        self.pos = self.pos.wrapping_add(need);
        if self.pos == self.ready
            && self.pos.wrapping_sub(self.from) >= self.producer.capacity / PARTS
        {
            self.publish();
        }
        true
    }

    #[inline]
    fn publish(&mut self) {
        if self.header != NONE {
            self.producer.publish_batch(self.from, self.header, self.pos);
            (self.from, self.header) = (self.pos, NONE);
        }
    }
}

impl Drop for Writing<'_> {
    #[inline]
    fn drop(&mut self) {
        self.publish();
    }
}

/// A batch of messages being read. Dropping it releases them and wakes the writer; if it is forgotten,
/// those since the last quarter of the ring come again.
///
/// As in [`Writing`], what changes with each message is kept here: one that goes through memory is
/// waited for by the next, some 5 cycles each.
pub struct Reading<'a> {
    consumer: &'a mut Consumer,
    /// Where the next message is.
    pos: u64,
    /// Up to here all was released.
    from: u64,
    /// Up to here the lines are on their way and nothing is to be released.
    ready: u64,
}

impl Consumer {
    /// Begins a batch.
    #[inline]
    pub fn reading(&mut self) -> Reading<'_> {
        let pos = self.pos;
        let ready = self.ready(pos, pos);
        Reading { consumer: self, pos, from: pos, ready }
    }

    /// Up to where a batch that is at `pos` and has released all before `from` needs nothing.
    #[inline]
    fn ready(&self, pos: u64, from: u64) -> u64 {
        let part = (self.capacity / PARTS).saturating_sub(pos.wrapping_sub(from));
        pos.wrapping_add(part.min(self.fetched_ahead(pos)))
    }

    /// Fetches lines for a batch that has come to `pos`, and releases a quarter of the ring that was
    /// read. Says up to where all is released, and what [`ready`](Self::ready) does. Takes and gives
    /// numbers, as [`Producer::prepare`] does.
    #[inline(never)]
    fn go_on(&mut self, pos: u64, from: u64) -> (u64, u64) {
        self.fetch(pos);
        let part = pos.wrapping_sub(from) >= self.capacity / PARTS;
        let from = if part { self.release_batch(from, pos) } else { from };
        (from, self.ready(pos, from))
    }

    /// Releases what a batch read between `from` and `to`, and says where that is.
    fn release_batch(&mut self, from: u64, to: u64) -> u64 {
        self.pos = to;
        if from != to {
            self.settle();
            self.ring().writable.notify();
        }
        to
    }
}

impl Reading<'_> {
    /// The length of the next message, if it is there in one chunk. `None` says that the
    /// batch ends here: a call for a single message finds out why.
    #[inline]
    pub fn whole(&mut self) -> Option<usize> {
        self.consumer.whole_at(self.pos)
    }

    /// Copies the next message to `dst` and goes on behind it, if it is there in one chunk
    /// and has just that length. `false` says only that [`whole`](Self::whole) knows more.
    #[inline]
    pub fn take_exact(&mut self, dst: &mut [u8]) -> bool {
        let found = self.consumer.is_whole_at(self.pos, dst.len());
        if found && dst.len() <= WORD {
            // So much never goes round the end of the ring. Where the length is known, as it is of
            // numbers, one load is all that is left of a copy.
            let word = self.consumer.ring().data.word(self.pos.wrapping_add(HEADER));
            // Relaxed, as a copy: the header, which was acquired, published it.
            let bytes = word.load(Relaxed).to_ne_bytes();
            dst.copy_from_slice(&bytes[..dst.len()]);
            self.pass(dst.len());
        } else if found {
            self.take(dst);
        }
        found
    }

    /// Copies the message that [`whole`](Self::whole) showed to `dst`, which has its
    /// length, and goes on behind it.
    #[inline]
    pub fn take(&mut self, dst: &mut [u8]) {
        let head = Head { piece: Piece::Whole, len: dst.len() };
        self.consumer.copy_at(self.pos, head, dst);
        self.pass(dst.len());
    }

    /// Goes on behind a message of `len` bytes.
    #[inline]
    fn pass(&mut self, len: usize) {
        self.pos = self.pos.wrapping_add(span(Piece::Whole, len as u64));
        if beyond(self.pos, self.ready) >= 0 {
            (self.from, self.ready) = self.consumer.go_on(self.pos, self.from);
        }
    }
}

impl Drop for Reading<'_> {
    #[inline]
    fn drop(&mut self) {
        self.consumer.release_batch(self.from, self.pos);
    }
}
