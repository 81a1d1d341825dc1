//! Batches: many messages under one store of a position.
//!
//! Chunks are filled, or read, one after the other on the private position; the shared
//! one moves when the batch ends, and with it all of them at once. A side that is killed
//! before that store has done nothing of the batch, one killed after it everything. Every
//! quarter of the ring the position is stored in between, so that the other side works
//! at the same time and a long batch does not stall on its own length.
//!
//! Both guards settle when dropped, also by a panic in a caller's encoding.

use super::chunk::{HEADER, Head, Piece};
use super::producer::RESERVE;
use super::{Consumer, Producer};

/// Part of the ring after which a batch is published, or released, in between.
const PARTS: u64 = 4;

/// A batch of messages being written. Dropping it publishes them and wakes the reader.
pub struct Writing<'a> {
    producer: &'a mut Producer,
    /// Bytes filled and not published.
    hidden: u64,
}

impl Producer {
    /// Begins a batch. Not amidst a streamed message.
    #[inline]
    pub fn writing(&mut self) -> Writing<'_> {
        debug_assert!(!self.streaming());
        Writing { producer: self, hidden: 0 }
    }
}

impl Writing<'_> {
    /// Adds `message`, if it is no longer than [`whole_limit`](Producer::whole_limit) and
    /// there is room now. `false` says that the batch ends before it: a call for a single
    /// message finds out why.
    #[inline]
    pub fn push(&mut self, message: &[u8]) -> bool {
        let need = HEADER + (message.len() as u64).next_multiple_of(8);
        if need > self.producer.whole_span || !self.has_room(need) {
            return false;
        }
        self.producer.fill(Piece::Whole, message);
        self.hidden += need;
        if self.hidden >= self.producer.capacity / PARTS {
            self.publish();
        }
        true
    }

    #[inline]
    fn has_room(&mut self, need: u64) -> bool {
        // Corrupted memory has no room; the single call says so.
        need + RESERVE <= self.producer.free() || self.producer.room(need).is_ok_and(|room| room)
    }

    #[inline]
    fn publish(&mut self) {
        self.hidden = 0;
        self.producer.publish();
        self.producer.ring().readable.notify();
    }
}

impl Drop for Writing<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.hidden > 0 {
            self.publish();
        }
    }
}

/// A batch of messages being read. Dropping it releases them and wakes the writer.
pub struct Reading<'a> {
    consumer: &'a mut Consumer,
    /// Bytes of messages that were read and not released.
    owed: u64,
}

impl Consumer {
    /// Begins a batch.
    #[inline]
    pub fn reading(&mut self) -> Reading<'_> {
        Reading { consumer: self, owed: 0 }
    }
}

impl Reading<'_> {
    /// The length of the next message, if it is there in one chunk. `None` says that the
    /// batch ends here: a call for a single message finds out why.
    #[inline]
    pub fn whole(&mut self) -> Option<usize> {
        self.consumer.whole()
    }

    /// Copies the message that [`whole`](Self::whole) showed to `dst`, which has its
    /// length, and goes on behind it.
    #[inline]
    pub fn take(&mut self, dst: &mut [u8]) {
        let head = Head { piece: Piece::Whole, len: dst.len() };
        self.consumer.copy(head, dst);
        self.consumer.pass(head);
        self.owed += HEADER + dst.len() as u64;
        if self.owed >= self.consumer.capacity / PARTS {
            self.settle();
        }
    }

    #[inline]
    fn settle(&mut self) {
        self.owed = 0;
        self.consumer.settle();
        self.consumer.ring().writable.notify();
    }
}

impl Drop for Reading<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.owed > 0 {
            self.settle();
        }
    }
}
