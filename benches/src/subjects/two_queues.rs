//! Two of Ringway's queues as one connection: a message there and back is a put and a get
//! on each.

use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use crate::subjects::ringway::Policy;
use ringway_codec::Pod;
use ringway_core::handover;
use ringway_queue::{Builder, Queue};
use std::marker::PhantomData;

type Items = Queue<[u8; 8], Pod>;

/// Items that each queue holds at most.
const CAPACITY: usize = 64;

/// Queues of 8 bytes whose handles wait as `P` says.
#[derive(Debug)]
pub struct TwoQueues<P> {
    out: Items,
    back: Items,
    policy: PhantomData<P>,
}

impl<P: Policy> Duplex for TwoQueues<P> {
    const NAME: &'static str = P::NAME;

    fn create() -> Fallible<(Self, Parcel)> {
        let make = || Builder::new().policy(P::POLICY).bounded(CAPACITY);
        let (out, back): (Items, Items) = (make()?, make()?);
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&(&back, &out)));
        Ok((Self { out, back, policy: PhantomData }, Parcel { bytes: bytes?, descriptors }))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let Parcel { bytes, descriptors } = parcel;
        let (out, back) = handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
        Ok(Self { out, back, policy: PhantomData })
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        self.out.put(message.try_into()?).map_err(|error| error.reason.into())
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        message.copy_from_slice(&self.back.get()?);
        Ok(())
    }
}
