//! Making pipes.

use crate::end::{End, Hold};
use crate::error::OpenError;
use crate::layout::{Reach, Shape, Side};
use crate::recv::RecvHalf;
use crate::send::SendHalf;
use crate::{Connection, Receiver, Sender};
use ringway_codec::{Codec, signature_of, signature_of_tag};
use ringway_core::segment::{Kind, NewSegment, Place, Segment};
use ringway_core::spsc::LARGEST_CAPACITY;
use ringway_core::wait::WaitPolicy;
use ringway_core::{Error, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// What a ring has unless told otherwise: as much as a Linux pipe.
pub const DEFAULT_CAPACITY: u64 = 64 << 10;
/// The least ring one can ask for.
pub const SMALLEST_CAPACITY: u64 = 4096;

/// Options for a pipe.
///
/// ```
/// use ringway_pipe::{Builder, Connection, WaitPolicy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut a, mut b): (Connection<String, u32>, Connection<u32, String>) =
///     Builder::new().capacity(1 << 20).policy(WaitPolicy::Block).duplex()?;
/// a.send(&"how many?".into())?;
/// assert_eq!(b.recv()?, "how many?");
/// b.send(&42)?;
/// assert_eq!(a.recv()?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) capacity: u64,
    pub(crate) policy: WaitPolicy,
    pub(crate) tag: Option<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The defaults: rings of 64 KiB, adaptive waits.
    pub fn new() -> Self {
        Self { capacity: DEFAULT_CAPACITY, policy: WaitPolicy::default(), tag: None }
    }

    /// Bytes of each ring, rounded up to a power of two; at least 4 KiB, at most 2^40.
    /// Reserved in memory when the pipe is made. Messages of up to a quarter of it are
    /// visible whole or not at all; longer ones are streamed through it.
    ///
    /// For a stream of messages of 64 KiB and more, 4 MiB are up to three times as fast as the
    /// default: more than the caches that two processors have of their own, so that the bytes
    /// pass through the one that they share (`docs/benchmarks.md`, large messages).
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// What blocked calls do before they sleep. Stays with the ends when they are handed
    /// over.
    #[must_use]
    pub fn policy(mut self, policy: WaitPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// What the messages are, for programs that know the same type under different
    /// paths. Without a tag the type's name, size, alignment and encoding must agree.
    #[must_use]
    pub fn type_tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// A two-way pipe. The first end sends `S` and receives `R`, the second the reverse.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for the capacity; [`Error::Os`] when memory or descriptors
    /// run out. Nothing is left behind.
    #[allow(clippy::type_complexity, reason = "two ends of mirrored types")]
    pub fn duplex<S, R, C>(&self) -> Result<(Connection<S, R, C>, Connection<R, S, C>)>
    where
        C: Codec<S> + Codec<R>,
    {
        let signature = self.signature(duplex_signature::<R, S, C>());
        let (a, b) = self.pair(true, signature)?;
        Ok((connection(&a, self.policy), connection(&b, self.policy)))
    }

    /// A one-way pipe: receiver and sender, in the order of Python's `Pipe(False)`.
    ///
    /// # Errors
    ///
    /// As [`duplex`](Self::duplex).
    pub fn simplex<T, C: Codec<T>>(&self) -> Result<(Receiver<T, C>, Sender<T, C>)> {
        let (a, b) = self.pair(false, self.signature(signature_of::<T, C>()))?;
        let (receive, send) = (RecvHalf::new(a, self.policy), SendHalf::new(b, self.policy));
        Ok((Receiver::new(receive), Sender::new(send)))
    }

    pub(crate) fn signature(&self, of_types: u64) -> u64 {
        self.tag.as_deref().map_or(of_types, signature_of_tag)
    }

    pub(crate) fn shape(&self, duplex: bool, reach: Reach, creator: Side) -> Result<Shape> {
        let capacity = self
            .capacity
            .checked_next_power_of_two()
            .filter(|c| (SMALLEST_CAPACITY..=LARGEST_CAPACITY).contains(c) && self.capacity > 0)
            .ok_or_else(|| {
                Error::out_of_range("a ring capacity", self.capacity, "4096 to 2^40 bytes")
            })?;
        Ok(Shape { capacity, duplex, reach, creator })
    }

    fn pair(&self, duplex: bool, signature: u64) -> Result<(Hold, Hold)> {
        let shape = self.shape(duplex, Reach::Handed, Side::A)?;
        let mut spec = shape.spec(signature);
        spec.params[TAGGED] = u64::from(self.tag.is_some());
        let segment = NewSegment::create(Place::Anonymous("ringway-pipe"), &spec)?.publish()?;
        let (token_a, token_b) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(|e| Error::os("create", "the tokens of a pipe", e))?;
        let (memory, _, fd_a, label) = segment.into_parts();
        // The same description will do: neither of these is ever locked or sent.
        let fd_b =
            rustix::io::fcntl_dupfd_cloexec(&fd_a, 0).map_err(|e| Error::os("share", &label, e))?;
        let a = End::hold(&memory, shape, Side::A, fd_a, Some(token_a), &label)?;
        let b = End::hold(&memory, shape, Side::B, fd_b, Some(token_b), &label)?;
        End::pair(&a, &b);
        Ok((a, b))
    }
}

/// Header parameter: whether the signature stands for a tag.
pub(crate) const TAGGED: usize = 4;

/// The signature of a two-way pipe on which A receives `ToA` and B receives `ToB`: the
/// same seen from both ends.
pub(crate) fn duplex_signature<ToA, ToB, C: Codec<ToA> + Codec<ToB>>() -> u64 {
    signature_of::<ToA, C>().rotate_left(17) ^ signature_of::<ToB, C>()
}

pub(crate) fn connection<S, R, C>(end: &Hold, policy: WaitPolicy) -> Connection<S, R, C> {
    let sender = Sender::new(SendHalf::new(Hold::clone(end), policy));
    let receiver = Receiver::new(RecvHalf::new(Hold::clone(end), policy));
    Connection::new(sender, receiver)
}

/// What an opened segment must be.
pub(crate) struct Expected {
    pub(crate) duplex: bool,
    pub(crate) reach: Reach,
    pub(crate) signature: u64,
}

impl Expected {
    /// Checks a segment that somebody else made and gives its shape.
    pub(crate) fn check(&self, segment: &Segment) -> Result<Shape, OpenError> {
        let (header, label) = (segment.header(), segment.label());
        let signature = if header.params[TAGGED] == 1 && self.reach == Reach::Handed {
            // Both sides agreed on a tag that only the creator's options hold.
            header.signature
        } else {
            self.signature
        };
        // The kind before the shape, which only pipes have; the types last: a pipe of the
        // other direction has another signature too, and that would be a poor answer.
        header.expect(label, Kind::Pipe, header.signature)?;
        let shape = Shape::read(header, label)?;
        if shape.duplex != self.duplex {
            let name = |duplex| if duplex { "goes both ways" } else { "goes one way" };
            let (is, wanted) = (name(shape.duplex), name(self.duplex));
            return Err(OpenError::WrongDirection { is, wanted });
        }
        header.expect(label, Kind::Pipe, signature)?;
        if shape.reach != self.reach {
            return Err(Error::corrupted(label, "how its ends are reached").into());
        }
        Ok(shape)
    }
}
