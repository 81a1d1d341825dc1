//! Ringway's queue with items put and taken in batches.

use crate::Fallible;
use crate::batches::BATCH;
use crate::control::Parcel;
use crate::shape::{CAPACITY, Queued};
use ringway_codec::Pod;
use ringway_core::handover;
use ringway_queue::{Builder, Queue};

/// A queue of numbers. Keeps items back until a batch is full, or [flushed](Queued::flush).
/// For one getter: one that gets a stop may have others' in hand.
#[derive(Debug)]
pub struct RingwayBatches {
    queue: Queue<[u64; 1], Pod>,
    putting: Vec<[u64; 1]>,
    /// Taken, and which is the next.
    taken: Vec<[u64; 1]>,
    next: usize,
}

impl RingwayBatches {
    fn over(queue: Queue<[u64; 1], Pod>) -> Self {
        let (putting, taken) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        Self { queue, putting, taken, next: 0 }
    }
}

impl Queued<1> for RingwayBatches {
    const NAME: &'static str = "ringway_batch32";

    fn create() -> Fallible<Self> {
        Ok(Self::over(Builder::new().bounded(CAPACITY)?))
    }

    fn parcel(&self, _place: usize) -> Fallible<Parcel> {
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&self.queue));
        Ok(Parcel { bytes: bytes?, descriptors })
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let Parcel { bytes, descriptors } = parcel;
        Ok(Self::over(handover::unpack(descriptors, || postcard::from_bytes(&bytes))?))
    }

    #[inline]
    fn put(&mut self, item: &[u64; 1]) -> Fallible {
        self.putting.push(*item);
        if self.putting.len() == BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Fallible {
        self.queue.put_many(self.putting.drain(..)).map_err(|error| error.reason.into())
    }

    #[inline]
    fn get(&mut self) -> Fallible<[u64; 1]> {
        if self.next == self.taken.len() {
            self.taken.clear();
            self.next = 0;
            self.queue.get_many(&mut self.taken, BATCH)?;
        }
        let item = self.taken.get(self.next).ok_or("an empty batch")?;
        self.next += 1;
        Ok(*item)
    }
}
