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

use super::chunk::{HEADER, Head, Piece};
use super::producer::RESERVE;
use super::{Consumer, Producer};
use crate::sync::Ordering::Relaxed;

/// Part of the ring after which a batch is published, or released, in between.
const PARTS: u64 = 4;

/// A batch of messages being written. Dropping it publishes them and wakes the reader.
pub struct Writing<'a> {
    producer: &'a mut Producer,
    /// What was filled and not published: from where on, and the header that belongs there.
    hidden: Option<(u64, u64)>,
}

impl Producer {
    /// Begins a batch. Not amidst a streamed message.
    #[inline]
    pub fn writing(&mut self) -> Writing<'_> {
        debug_assert!(!self.streaming());
        Writing { producer: self, hidden: None }
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
        let producer = &mut *self.producer;
        producer.fetch();
        let at = producer.pos;
        let header = producer.fill(Piece::Whole, message);
        match self.hidden {
            None => self.hidden = Some((at, header)),
            // Relaxed: nobody looks here before the first header is published.
            Some(_) => producer.ring().data.word(at).store(header, Relaxed),
        }
        let from = self.hidden.map_or(at, |(from, _)| from);
        if self.producer.pos.wrapping_sub(from) >= self.producer.capacity / PARTS {
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
        if let Some((from, header)) = self.hidden.take() {
            self.producer.publish(from, header);
            self.producer.ring().readable.notify();
        }
    }
}

impl Drop for Writing<'_> {
    #[inline]
    fn drop(&mut self) {
        self.publish();
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
        self.consumer.fetch();
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
