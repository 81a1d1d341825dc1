//! Ringway's pipe, as its users get it: the default ring (64 KiB, as large as an OS
//! pipe), messages as bytes, the end handed to the partner.

use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use ringway_core::handover;
use ringway_core::wait::WaitPolicy;
use ringway_pipe::{Builder, Connection};
use std::marker::PhantomData;

/// A pipe whose ends wait as `P` says.
#[derive(Debug)]
pub struct Ringway<P> {
    end: Connection<Vec<u8>, Vec<u8>>,
    policy: PhantomData<P>,
}

/// How an end waits, and what the tables call it.
pub trait Policy: 'static {
    /// The name in the tables.
    const NAME: &'static str;
    /// The policy.
    const POLICY: WaitPolicy;
    /// Bytes of a pipe's ring.
    const CAPACITY: u64 = ringway_pipe::DEFAULT_CAPACITY;
}

/// As the default, with a ring of 4 MiB: more than the caches that two processors have of
/// their own.
#[derive(Debug)]
pub struct Roomy;

impl Policy for Roomy {
    const NAME: &'static str = "ringway_4MiB_ring";
    const POLICY: WaitPolicy = WaitPolicy::Adaptive;
    const CAPACITY: u64 = 4 << 20;
}

/// Spins for a while, then sleeps: the default.
#[derive(Debug)]
pub struct Adaptive;

impl Policy for Adaptive {
    const NAME: &'static str = "ringway";
    const POLICY: WaitPolicy = WaitPolicy::Adaptive;
}

/// Never sleeps.
#[derive(Debug)]
pub struct Spin;

impl Policy for Spin {
    const NAME: &'static str = "ringway_spin";
    const POLICY: WaitPolicy = WaitPolicy::Spin;
}

/// Sleeps at once.
#[derive(Debug)]
pub struct Block;

impl Policy for Block {
    const NAME: &'static str = "ringway_block";
    const POLICY: WaitPolicy = WaitPolicy::Block;
}

impl<P: Policy> Duplex for Ringway<P> {
    const NAME: &'static str = P::NAME;

    fn create() -> Fallible<(Self, Parcel)> {
        let (end, theirs) = Builder::new().policy(P::POLICY).capacity(P::CAPACITY).duplex()?;
        let theirs: Connection<Vec<u8>, Vec<u8>> = theirs;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&theirs));
        Ok((Self { end, policy: PhantomData }, Parcel { bytes: bytes?, descriptors }))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let Parcel { bytes, descriptors } = parcel;
        let end = handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
        Ok(Self { end, policy: PhantomData })
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        Ok(self.end.send_bytes(message)?)
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        match self.end.recv_bytes_into(message)? {
            all if all == message.len() => Ok(()),
            some => Err(format!("a message of {some} bytes came").into()),
        }
    }
}
