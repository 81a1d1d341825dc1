//! What is made and dropped.

use super::{Life, SIZE};
use crate::Fallible;
use crate::control::Parcel;
use crate::payload;
use crate::shape::{CAPACITY, Queued};
use crate::subject::Duplex;
use ringway_core::handover;
use ringway_pipe::{Receiver, Sender};
use std::io::{PipeReader, PipeWriter, Read, Write};

fn message() -> [u8; SIZE] {
    let mut message = [0; SIZE];
    payload::stamp(&mut message, 1);
    message
}

/// A two-way pipe. An OS pipe goes one way: two of them.
#[derive(Debug)]
pub struct Pipe<S>(S);

impl<S: Duplex> Life for Pipe<S> {
    const WHAT: &'static str = "pipe";
    const NAME: &'static str = S::NAME;
    type Theirs = S;

    fn make() -> Fallible<(Self, Parcel)> {
        S::create().map(|(end, parcel)| (Self(end), parcel))
    }

    fn greet(&mut self) -> Fallible {
        self.0.send(&message())
    }

    fn attach(parcel: Parcel) -> Fallible<S> {
        S::attach(parcel)
    }

    fn receive(theirs: &mut S) -> Fallible {
        let mut message = [0; SIZE];
        theirs.recv(&mut message)?;
        payload::check(&message, 1)
    }
}

/// Ringway's one-way pipe, whose receiver is handed over.
#[derive(Debug)]
pub struct RingwayOneWay(Sender<Vec<u8>>);

impl Life for RingwayOneWay {
    const WHAT: &'static str = "pipe_one_way";
    const NAME: &'static str = "ringway";
    type Theirs = Receiver<Vec<u8>>;

    fn make() -> Fallible<(Self, Parcel)> {
        let (theirs, own) = ringway_pipe::simplex()?;
        let theirs: Receiver<Vec<u8>> = theirs;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&theirs));
        Ok((Self(own), Parcel { bytes: bytes?, descriptors }))
    }

    fn greet(&mut self) -> Fallible {
        Ok(self.0.send_bytes(&message())?)
    }

    fn attach(parcel: Parcel) -> Fallible<Self::Theirs> {
        let Parcel { bytes, descriptors } = parcel;
        Ok(handover::unpack(descriptors, || postcard::from_bytes(&bytes))?)
    }

    fn receive(theirs: &mut Self::Theirs) -> Fallible {
        let mut message = [0; SIZE];
        match theirs.recv_bytes_into(&mut message)? {
            SIZE => payload::check(&message, 1),
            other => Err(format!("a message of {other} bytes came").into()),
        }
    }
}

/// One OS pipe, whose reading end is handed over.
#[derive(Debug)]
pub struct OsPipeOneWay(PipeWriter);

impl Life for OsPipeOneWay {
    const WHAT: &'static str = "pipe_one_way";
    const NAME: &'static str = "os_pipe";
    type Theirs = PipeReader;

    fn make() -> Fallible<(Self, Parcel)> {
        let (theirs, own) = std::io::pipe()?;
        Ok((Self(own), Parcel::of([theirs.into()])))
    }

    fn greet(&mut self) -> Fallible {
        Ok(self.0.write_all(&message())?)
    }

    fn attach(parcel: Parcel) -> Fallible<PipeReader> {
        let [reader] = parcel.take()?;
        Ok(reader.into())
    }

    fn receive(theirs: &mut PipeReader) -> Fallible {
        let mut message = [0; SIZE];
        theirs.read_exact(&mut message)?;
        payload::check(&message, 1)
    }
}

/// A queue of numbers as plain old data: 1024 places, and no pool, which they do not need.
#[derive(Debug)]
pub struct Queue<Q>(Q);

impl<Q: Queued<1>> Life for Queue<Q> {
    const WHAT: &'static str = "queue";
    const NAME: &'static str = Q::NAME;
    type Theirs = Q;

    fn make() -> Fallible<(Self, Parcel)> {
        let queue = Q::create()?;
        let parcel = queue.parcel(0)?;
        Ok((Self(queue), parcel))
    }

    fn greet(&mut self) -> Fallible {
        self.0.put(&[1])
    }

    fn attach(parcel: Parcel) -> Fallible<Q> {
        Q::attach(parcel)
    }

    fn receive(theirs: &mut Q) -> Fallible {
        match theirs.get()? {
            [1] => Ok(()),
            [other] => Err(format!("{other} came").into()),
        }
    }
}

/// A queue of a serde type with all defaults: as many places, of 128 bytes, and the pool for
/// items that are longer.
#[derive(Debug)]
pub struct PooledQueue(ringway_queue::Queue<u64>);

impl Life for PooledQueue {
    const WHAT: &'static str = "queue_with_pool";
    const NAME: &'static str = "ringway";
    type Theirs = ringway_queue::Queue<u64>;

    fn make() -> Fallible<(Self, Parcel)> {
        let queue = ringway_queue::Queue::bounded(CAPACITY)?;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&queue));
        Ok((Self(queue), Parcel { bytes: bytes?, descriptors }))
    }

    fn greet(&mut self) -> Fallible {
        self.0.put(1).map_err(|error| error.reason.into())
    }

    fn attach(parcel: Parcel) -> Fallible<Self::Theirs> {
        let Parcel { bytes, descriptors } = parcel;
        Ok(handover::unpack(descriptors, || postcard::from_bytes(&bytes))?)
    }

    fn receive(theirs: &mut Self::Theirs) -> Fallible {
        match theirs.get()? {
            1 => Ok(()),
            other => Err(format!("{other} came").into()),
        }
    }
}
