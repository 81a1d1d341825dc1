//! Ringway's queue, as its users get it.

use crate::Fallible;
use crate::control::Parcel;
use crate::shape::{CAPACITY, Queued};
use crate::subjects::ringway::Policy;
use ringway_codec::Pod;
use ringway_core::handover;
use ringway_queue::{Builder, Queue};
use std::marker::PhantomData;

/// A queue of plain old data whose handles wait as `P` says.
#[derive(Debug)]
pub struct RingwayQueue<P, const W: usize>
where
    [u64; W]: Sized,
{
    queue: Queue<[u64; W], Pod>,
    policy: PhantomData<P>,
}

macro_rules! of_width {
    ($width:literal) => {
        impl<P: Policy> Queued<$width> for RingwayQueue<P, $width> {
            const NAME: &'static str = P::NAME;

            fn create() -> Fallible<Self> {
                let queue = Builder::new().policy(P::POLICY).bounded(CAPACITY)?;
                Ok(Self { queue, policy: PhantomData })
            }

            fn parcel(&self, _place: usize) -> Fallible<Parcel> {
                let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&self.queue));
                Ok(Parcel { bytes: bytes?, descriptors })
            }

            fn attach(parcel: Parcel) -> Fallible<Self> {
                let Parcel { bytes, descriptors } = parcel;
                let queue = handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
                Ok(Self { queue, policy: PhantomData })
            }

            #[inline]
            fn put(&mut self, item: &[u64; $width]) -> Fallible {
                self.queue.put(*item).map_err(|error| error.reason.into())
            }

            #[inline]
            fn get(&mut self) -> Fallible<[u64; $width]> {
                Ok(self.queue.get()?)
            }
        }
    };
}

of_width!(1);
of_width!(8);
