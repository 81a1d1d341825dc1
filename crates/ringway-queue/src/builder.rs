//! Making queues.

use crate::error::OpenError;
use crate::inner::Inner;
use crate::shape::{Kind, Shape};
use crate::{JoinableQueue, Queue, SimpleQueue};
use ringway_codec::{Codec, signature_of, signature_of_tag};
use ringway_core::mpmc::{Geometry, Options};
use ringway_core::segment::{self, Name, NewSegment, Place, Segment, Spec};
use ringway_core::wait::WaitPolicy;
use ringway_core::{Error, Result};
use rustix::fs::Mode;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the largest item unless told otherwise: with the slot's two words, 128.
pub const DEFAULT_SLOT_SIZE: u32 = 112;
/// Slots of a queue without a limit unless told otherwise: 512 KiB.
pub const DEFAULT_RING_LEN: u64 = 4096;

/// Options for a queue.
///
/// ```
/// use ringway_queue::{Builder, Pod, WaitPolicy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Builder::new().policy(WaitPolicy::Block).bounded::<u64, Pod>(1000)?;
/// queue.put(42)?;
/// assert_eq!(queue.get()?, 42);
/// # Ok(())
/// # }
/// ```
///
/// # Memory
///
/// All of it is reserved when the queue is made. A slot takes the item's bytes and 16
/// more, rounded up to a power of two up to 64, and to a multiple of 64 above. A queue
/// takes its slots, 128 bytes for each process and each thread that may use it at a
/// time, and about 5 KiB. With the defaults that is 45 KiB and 128 bytes per slot: 46
/// KiB for `bounded(10)` and 557 KiB for `unbounded()`.
#[derive(Debug, Clone)]
pub struct Builder {
    name: Option<String>,
    slot_size: Option<u32>,
    ring_len: u64,
    policy: WaitPolicy,
    participants: u32,
    actors: u32,
    tag: Option<String>,
    limit: Option<usize>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The defaults: no name, items of up to 112 bytes or just what a plain-old-data
    /// type needs, adaptive waits, 64 processes, 256 threads.
    pub fn new() -> Self {
        let Options { participants, actors, .. } = Options::new(1, 0);
        Self {
            name: None,
            slot_size: None,
            ring_len: DEFAULT_RING_LEN,
            policy: WaitPolicy::default(),
            participants,
            actors,
            tag: None,
            limit: None,
        }
    }

    /// Makes or opens a queue that other processes of this user find under `name`: 1 to
    /// 200 letters, digits, dots, dashes and underscores. It stays until
    /// [`remove`](Self::remove), with its items, also when nobody uses it.
    ///
    /// Its users trust each other not to truncate the file: unlike the memory of a queue
    /// without a name, it cannot be sealed.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Bytes of the largest encoding of an item, up to 65,520. At present a larger one
    /// is refused ([`PutReason::TooLarge`](crate::PutReason::TooLarge)).
    #[must_use]
    pub fn slot_size(mut self, bytes: u32) -> Self {
        self.slot_size = Some(bytes);
        self
    }

    /// Slots of the ring of an unbounded or simple queue, 1 to 2^30: how many items are
    /// in shared memory before an unbounded queue keeps them in the putter's memory and
    /// a simple queue makes it wait. No limit of the unbounded queue.
    #[must_use]
    pub fn ring_len(mut self, slots: u64) -> Self {
        self.ring_len = slots;
        self
    }

    /// What blocked calls do before they sleep. Stays with the handle when it is handed
    /// over.
    #[must_use]
    pub fn policy(mut self, policy: WaitPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How many processes may use the queue at a time, 1 to 4095.
    #[must_use]
    pub fn max_processes(mut self, processes: u32) -> Self {
        self.participants = processes;
        self
    }

    /// How many threads of all processes may use the queue at a time at full speed; each
    /// process takes one more for itself, which all further threads take turns with.
    #[must_use]
    pub fn max_threads(mut self, threads: u32) -> Self {
        self.actors = threads;
        self
    }

    /// What the items are, for programs that know the same type under different paths.
    /// Without a tag the type's name, size, alignment and encoding must agree.
    #[must_use]
    pub fn type_tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Refuses items whose encoding is longer than this, whatever fits a slot.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }

    // ---- Making -----------------------------------------------------------------

    /// A queue of at most `capacity` items, 1 to 2^30, exactly.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for impossible options; [`Error::NameTaken`];
    /// [`Error::Os`] when memory or descriptors do not suffice; all in
    /// [`OpenError::Engine`]. Nothing is left behind.
    pub fn bounded<T, C: Codec<T>>(&self, capacity: usize) -> Result<Queue<T, C>, OpenError> {
        Ok(Queue::new(self.create::<T, C>(Kind::Queue, Some(capacity as u64))?))
    }

    /// A queue without a limit: putting never waits.
    ///
    /// # Errors
    ///
    /// As [`bounded`](Self::bounded).
    pub fn unbounded<T, C: Codec<T>>(&self) -> Result<Queue<T, C>, OpenError> {
        Ok(Queue::new(self.create::<T, C>(Kind::Queue, None)?))
    }

    /// As [`bounded`](Self::bounded), with tasks.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn joinable_bounded<T, C: Codec<T>>(
        &self,
        capacity: usize,
    ) -> Result<JoinableQueue<T, C>, OpenError> {
        let inner = self.create::<T, C>(Kind::JoinableQueue, Some(capacity as u64))?;
        Ok(JoinableQueue::new(inner))
    }

    /// As [`unbounded`](Self::unbounded), with tasks.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn joinable<T, C: Codec<T>>(&self) -> Result<JoinableQueue<T, C>, OpenError> {
        Ok(JoinableQueue::new(self.create::<T, C>(Kind::JoinableQueue, None)?))
    }

    /// A simple queue of [`ring_len`](Self::ring_len) slots.
    ///
    /// # Errors
    ///
    /// As [`bounded`](Self::bounded).
    pub fn simple<T, C: Codec<T>>(&self) -> Result<SimpleQueue<T, C>, OpenError> {
        let inner = self.create::<T, C>(Kind::SimpleQueue, Some(self.ring_len))?;
        Ok(SimpleQueue::new(inner))
    }

    // ---- Opening ----------------------------------------------------------------

    /// Opens the queue that was made under the [name](Self::name), bounded or not. If
    /// all its users died, it is repaired, and its items are kept. Of the options only
    /// the policy and the tag count; the others are the maker's.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoName`]; [`Error::NotFound`], [`Error::Incompatible`],
    /// [`Error::Corrupted`], [`Error::TooManyParticipants`], [`Error::TooManyActors`],
    /// [`Error::Os`], in [`OpenError::Engine`].
    pub fn open<T, C: Codec<T>>(&self) -> Result<Queue<T, C>, OpenError> {
        Ok(Queue::new(self.open_kind::<T, C>(Kind::Queue)?))
    }

    /// As [`open`](Self::open), for one with tasks.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_joinable<T, C: Codec<T>>(&self) -> Result<JoinableQueue<T, C>, OpenError> {
        Ok(JoinableQueue::new(self.open_kind::<T, C>(Kind::JoinableQueue)?))
    }

    /// As [`open`](Self::open), for a simple one.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_simple<T, C: Codec<T>>(&self) -> Result<SimpleQueue<T, C>, OpenError> {
        Ok(SimpleQueue::new(self.open_kind::<T, C>(Kind::SimpleQueue)?))
    }

    /// Takes the [name](Self::name) away. Those who have the queue open keep it.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoName`]; [`Error::NotFound`], [`Error::Os`], in
    /// [`OpenError::Engine`].
    pub fn remove(&self) -> Result<(), OpenError> {
        Ok(self.checked_name()?.remove()?)
    }

    fn checked_name(&self) -> Result<Name, OpenError> {
        Ok(Name::new(self.name.as_deref().ok_or(OpenError::NoName)?)?)
    }

    fn signature<T, C: Codec<T>>(&self) -> u64 {
        self.tag.as_deref().map_or_else(signature_of::<T, C>, signature_of_tag)
    }

    fn create<T, C: Codec<T>>(
        &self,
        kind: Kind,
        capacity: Option<u64>,
    ) -> Result<Inner, OpenError> {
        let slots = capacity.unwrap_or(self.ring_len);
        let geometry = Geometry::new(&Options {
            slots,
            payload: self.payload::<T, C>()?,
            participants: self.participants,
            actors: self.actors,
        })?;
        let shape = Shape {
            kind,
            unbounded: capacity.is_none(),
            tagged: self.tag.is_some(),
            limit: self.limit,
        };
        let mut params = geometry.params();
        shape.write(&mut params);
        let spec = Spec {
            kind: segment::Kind::Queue,
            signature: self.signature::<T, C>(),
            params,
            body_len: geometry.body_len(),
        };
        // A body of zeros is an empty ring.
        let Some(name) = &self.name else {
            let segment = NewSegment::create(Place::Anonymous("ringway-queue"), &spec)?;
            return Inner::attach(segment.publish()?, kind, false, self.policy);
        };
        let name = Name::new(name)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let segment = NewSegment::create(Place::Named(&name, mode), &spec)?.publish()?;
        Inner::attach(segment, kind, true, self.policy).inspect_err(|_| {
            // It is no use to anybody yet; if it is gone already, so much the better.
            let _ = name.remove();
        })
    }

    /// Bytes of a slot for items.
    fn payload<T, C: Codec<T>>(&self) -> Result<u32> {
        let exact = match C::FIXED_LEN {
            Some(len) if self.slot_size.is_none() => u32::try_from(len),
            _ => Ok(self.slot_size.unwrap_or(DEFAULT_SLOT_SIZE)),
        };
        let too_large = |len| Error::out_of_range("an item size", len, "at most 65520 bytes");
        exact.map_err(|_| too_large(C::FIXED_LEN.unwrap_or_default()))
    }

    fn open_kind<T, C: Codec<T>>(&self, kind: Kind) -> Result<Inner, OpenError> {
        let segment = Segment::open_named(&self.checked_name()?)?;
        let signature = self.signature::<T, C>();
        segment.header().expect(segment.label(), segment::Kind::Queue, signature)?;
        Inner::attach(segment, kind, true, self.policy)
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// A queue of at most `capacity` items, with the default options: any serde type of
    /// up to 112 bytes. See [`Builder`] for others.
    ///
    /// # Errors
    ///
    /// As [`Builder::bounded`].
    pub fn bounded(capacity: usize) -> Result<Self, OpenError> {
        Builder::new().bounded(capacity)
    }

    /// A queue without a limit, with the default options.
    ///
    /// # Errors
    ///
    /// As [`Builder::bounded`].
    pub fn unbounded() -> Result<Self, OpenError> {
        Builder::new().unbounded()
    }
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// A queue of at most `capacity` tasks, with the default options.
    ///
    /// # Errors
    ///
    /// As [`Builder::bounded`].
    pub fn bounded(capacity: usize) -> Result<Self, OpenError> {
        Builder::new().joinable_bounded(capacity)
    }

    /// A queue without a limit, with the default options.
    ///
    /// # Errors
    ///
    /// As [`Builder::bounded`].
    pub fn unbounded() -> Result<Self, OpenError> {
        Builder::new().joinable()
    }
}

impl<T: Serialize + DeserializeOwned> SimpleQueue<T> {
    /// A simple queue with the default options.
    ///
    /// # Errors
    ///
    /// As [`Builder::bounded`].
    pub fn create() -> Result<Self, OpenError> {
        Builder::new().simple()
    }
}
