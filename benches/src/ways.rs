//! The ways of a long message that is made for the occasion: by copy or in place, through a
//! pipe or a queue.
//!
//! By copy the sender makes the message in private memory and sends it from there, and the
//! receiver has it in private memory. In place the message is made where the receiver finds it.

use crate::message::Message;
use crate::subjects::ringway::{Adaptive, Policy, Roomy};
use crate::{Fallible, large, large_queue, payload};
use ringway_core::wait::WaitPolicy;
use ringway_pipe::{Builder, Raw, Receiver, Sender};
use ringway_queue::Queue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::hint::black_box;

/// From this size on a pipe by copy has the ring of [`Roomy`].
const LONG: usize = 64 << 10;
/// How much a receiver reads in one piece, in place.
pub const PIECE: usize = 4 << 10;

/// From one process to another.
pub trait Way: 'static {
    /// The name in the tables.
    const NAME: &'static str;
    /// The sender's end.
    type Sender;
    /// The receiver's.
    type Receiver: Serialize + DeserializeOwned;
    /// Where the receiver puts a message; nowhere in place.
    type Room;
    /// A message that was received.
    type Taken<'a>: Taken;

    /// Both ends for messages of `size` bytes; they wait as `policy` says.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn create(size: usize, policy: WaitPolicy) -> Fallible<(Self::Sender, Self::Receiver)>;

    /// Room for a message of `size` bytes.
    fn room(size: usize) -> Self::Room;

    /// Makes a copy of `message`, in private memory in `made`, and sends it.
    ///
    /// # Errors
    ///
    /// The receiver is gone.
    fn send(sender: &mut Self::Sender, message: &[u8], made: &mut Message) -> Fallible;

    /// The next message. Blocks until it came.
    ///
    /// # Errors
    ///
    /// The sender is gone.
    fn take<'a>(
        receiver: &'a mut Self::Receiver,
        room: &'a mut Self::Room,
    ) -> Fallible<Self::Taken<'a>>;
}

/// A message in the receiver's hands.
pub trait Taken {
    /// Its length.
    fn size(&self) -> usize;

    /// The word at `at`.
    ///
    /// # Errors
    ///
    /// There is none.
    fn word(&self, at: usize) -> Fallible<[u8; payload::WORD]>;

    /// The sum of all its words, every byte of it read once; in place piece by piece, which come
    /// to `piece`, of whole words. Each piece is checked to be one of message `seq`.
    ///
    /// # Errors
    ///
    /// The message cannot be read, or is another one.
    fn sum(&self, piece: &mut [u8], seq: u64) -> Fallible<u64>;

    /// All of it in private memory.
    fn whole(&self) -> Vec<u8>;

    /// It is done with.
    fn release(self);
}

impl Taken for &[u8] {
    fn size(&self) -> usize {
        self.len()
    }

    #[inline]
    fn word(&self, at: usize) -> Fallible<[u8; payload::WORD]> {
        Ok(*self.get(at..).and_then(|rest| rest.first_chunk()).ok_or("no such word")?)
    }

    #[inline]
    fn sum(&self, piece: &mut [u8], seq: u64) -> Fallible<u64> {
        let mut sum = 0;
        for (part, n) in self.chunks(piece.len()).zip(0..) {
            sum = payload::sum(sum, part);
            payload::check_part(self.len(), seq, n * piece.len(), part)?;
        }
        Ok(sum)
    }

    fn whole(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn release(self) {}
}

macro_rules! in_place {
    ($grant:ty) => {
        impl Taken for $grant {
            fn size(&self) -> usize {
                self.len()
            }

            #[inline]
            fn word(&self, at: usize) -> Fallible<[u8; payload::WORD]> {
                Ok(self.load(at)?)
            }

            #[inline]
            fn sum(&self, piece: &mut [u8], seq: u64) -> Fallible<u64> {
                let mut sum = 0;
                for at in (0..self.len()).step_by(piece.len()) {
                    let len = piece.len().min(self.len() - at);
                    let piece = &mut piece[..len];
                    self.read_at(at, piece)?;
                    sum = payload::sum(sum, piece);
                    payload::check_part(self.len(), seq, at, piece)?;
                }
                Ok(sum)
            }

            fn whole(&self) -> Vec<u8> {
                self.to_vec()
            }

            fn release(self) {
                <$grant>::release(self);
            }
        }
    };
}

in_place!(ringway_pipe::ReadGrant<'_>);
in_place!(ringway_queue::ReadGrant);

fn make(message: &[u8], made: &mut Message) {
    black_box(&mut **made).copy_from_slice(message);
    black_box(made);
}

/// Through a pipe, by copy: the default ring, for long messages one of 4 MiB.
pub struct PipeCopy;

impl Way for PipeCopy {
    const NAME: &'static str = Adaptive::NAME;
    type Sender = Sender<Vec<u8>, Raw>;
    type Receiver = Receiver<Vec<u8>, Raw>;
    type Room = Message;
    type Taken<'a> = &'a [u8];

    fn create(size: usize, policy: WaitPolicy) -> Fallible<(Self::Sender, Self::Receiver)> {
        let capacity = if size < LONG { Adaptive::CAPACITY } else { Roomy::CAPACITY };
        let (receiver, sender) = Builder::new().policy(policy).capacity(capacity).simplex()?;
        Ok((sender, receiver))
    }

    fn room(size: usize) -> Message {
        Message::zeroed(size)
    }

    fn send(sender: &mut Self::Sender, message: &[u8], made: &mut Message) -> Fallible {
        make(message, made);
        Ok(sender.send_bytes(made)?)
    }

    fn take<'a>(receiver: &'a mut Self::Receiver, room: &'a mut Message) -> Fallible<&'a [u8]> {
        let len = receiver.recv_bytes_into(room)?;
        Ok(&room[..len])
    }
}

/// Through a pipe, in place.
pub struct PipeInPlace;

impl Way for PipeInPlace {
    const NAME: &'static str = large::NAME;
    type Sender = Sender<Vec<u8>, Raw>;
    type Receiver = Receiver<Vec<u8>, Raw>;
    type Room = ();
    type Taken<'a> = ringway_pipe::ReadGrant<'a>;

    fn create(size: usize, policy: WaitPolicy) -> Fallible<(Self::Sender, Self::Receiver)> {
        let capacity = large::capacity(size);
        let (receiver, sender) = Builder::new().policy(policy).capacity(capacity).simplex()?;
        Ok((sender, receiver))
    }

    fn room(_: usize) {}

    fn send(sender: &mut Self::Sender, message: &[u8], _: &mut Message) -> Fallible {
        let mut grant = sender.reserve(message.len())?;
        grant.write_at(0, message)?;
        Ok(grant.commit()?)
    }

    fn take<'a>(receiver: &'a mut Self::Receiver, (): &'a mut ()) -> Fallible<Self::Taken<'a>> {
        Ok(receiver.recv_ref()?)
    }
}

/// Through a queue, by copy.
pub struct QueueCopy;

impl Way for QueueCopy {
    const NAME: &'static str = large_queue::LargeItems::<{ large_queue::THERE }>::NAME;
    type Sender = Queue<Vec<u8>, Raw>;
    type Receiver = Queue<Vec<u8>, Raw>;
    type Room = Vec<u8>;
    type Taken<'a> = &'a [u8];

    fn create(size: usize, policy: WaitPolicy) -> Fallible<(Self::Sender, Self::Receiver)> {
        let queue = large_queue::queue(size, false, policy)?;
        Ok((queue.clone(), queue))
    }

    fn room(size: usize) -> Vec<u8> {
        Vec::with_capacity(size)
    }

    fn send(queue: &mut Self::Sender, message: &[u8], made: &mut Message) -> Fallible {
        make(message, made);
        Ok(queue.put_bytes(made)?)
    }

    fn take<'a>(queue: &'a mut Self::Receiver, room: &'a mut Vec<u8>) -> Fallible<&'a [u8]> {
        queue.get_into(room)?;
        Ok(room)
    }
}

/// Through a queue, in place.
pub struct QueueInPlace;

impl Way for QueueInPlace {
    const NAME: &'static str = large_queue::LargeItems::<{ large_queue::IN_PLACE }>::NAME;
    type Sender = Queue<Vec<u8>, Raw>;
    type Receiver = Queue<Vec<u8>, Raw>;
    type Room = ();
    type Taken<'a> = ringway_queue::ReadGrant;

    fn create(size: usize, policy: WaitPolicy) -> Fallible<(Self::Sender, Self::Receiver)> {
        let queue = large_queue::queue(size, true, policy)?;
        Ok((queue.clone(), queue))
    }

    fn room(_: usize) {}

    fn send(queue: &mut Self::Sender, message: &[u8], _: &mut Message) -> Fallible {
        let mut grant = queue.reserve(message.len())?;
        grant.write_at(0, message)?;
        Ok(grant.commit()?)
    }

    fn take<'a>(queue: &'a mut Self::Receiver, (): &'a mut ()) -> Fallible<Self::Taken<'a>> {
        Ok(queue.get_ref()?)
    }
}
