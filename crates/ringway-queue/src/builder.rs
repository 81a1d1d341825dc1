//! Making queues.

use crate::error::OpenError;
use crate::inner::Inner;
use crate::shape::{Kind, Shape};
use crate::{JoinableQueue, Queue, SimpleQueue};
use ringway_codec::{Codec, signature_of, signature_of_tag};
use ringway_core::mpmc::{Geometry, Options};
use ringway_core::segment::{self, Name, NewSegment, Place, Segment, Spec};
use ringway_core::wait::WaitPolicy;
use rustix::fs::Mode;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the largest item unless told otherwise: with the slot's two words, 128.
pub const DEFAULT_SLOT_SIZE: u32 = 112;
/// Slots of a queue without a limit unless told otherwise: 512 KiB.
pub const DEFAULT_RING_LEN: u64 = 4096;
/// Bytes for items that are longer than a slot unless told otherwise. An unbounded queue
/// with all defaults takes just under 1 MiB.
pub const DEFAULT_POOL_SIZE: u64 = 384 << 10;
/// Items longer than the pool that are on their way at a time; more wait.
const STREAMS: u32 = 4;
/// Bytes of slots that are set aside for grants unless told otherwise.
const GRANTED: u64 = 8 << 10;

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
/// more, rounded up to a power of two up to 64, and to a multiple of 64 above; 16 in all
/// for plain old data of up to 8 bytes. A queue
/// takes its slots, 128 bytes for each process and each thread that may use it at a
/// time, about 5 KiB, a slot and a line for each [grant](Self::max_grants), and the
/// [pool](Self::pool_size) for items that are longer than a slot. With the defaults that
/// is 450 KiB and 128 bytes per slot; 64 KiB and the slots for plain old data of up to
/// 65,520 bytes, which needs no pool.
#[derive(Debug, Clone)]
pub struct Builder {
    name: Option<String>,
    slot_size: Option<u32>,
    ring_len: u64,
    policy: WaitPolicy,
    participants: u32,
    actors: u32,
    leases: Option<u32>,
    pool: Option<u64>,
    tag: Option<String>,
    limit: Option<usize>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The defaults: no name, slots for 112 bytes or just what a plain-old-data type needs,
    /// 384 KiB for longer items, adaptive waits, 64 processes, 256 threads.
    pub fn new() -> Self {
        let Options { participants, actors, .. } = Options::new(1, 0);
        Self {
            name: None,
            slot_size: None,
            ring_len: DEFAULT_RING_LEN,
            policy: WaitPolicy::default(),
            participants,
            actors,
            leases: None,
            pool: None,
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

    /// Bytes of the largest encoding of an item that has room in a slot, up to 65,520.
    /// Longer ones go to the [pool](Self::pool_size), which costs some 100 ns.
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

    /// Bytes for items that are longer than a slot, all together. Rounded up to whole blocks; 0
    /// for none: then longer ones are refused. An item that is longer than all of it is
    /// streamed through a part of it: its [`put`](crate::Queue::put) returns when a getter has
    /// it, and [`try_put`](crate::Queue::try_put) says
    /// [`WouldStream`](crate::PutReason::WouldStream). While it is used up,
    /// [`put`](crate::Queue::put) waits and [`try_put`](crate::Queue::try_put) says
    /// [`NoMemory`](crate::PutReason::NoMemory).
    ///
    /// An item takes its length, rounded up to at most twice that (or the smallest block:
    /// 256 bytes with the default slots), as long as there are free blocks of fitting size.
    /// Holes are never lost: an item has room if the free blocks together hold it.
    ///
    /// Give it room for a few items more than may wait: one that was taken keeps its memory
    /// until it is copied out, or its grant released. For a stream of items of 64 KiB and more,
    /// 8 MiB and places for half of that are fastest: more than the caches that two processors
    /// have of their own, so that the bytes pass through the one that they share.
    #[must_use]
    pub fn pool_size(mut self, bytes: u64) -> Self {
        self.pool = Some(bytes);
        self
    }

    /// How many [`ReadGrant`](crate::ReadGrant)s of all processes can be held at a time
    /// without holding up a place, 0 to 4096. Each takes the memory of a slot and up to 120
    /// bytes more. By default 64, less where slots are large, and at least 4.
    #[must_use]
    pub fn max_grants(mut self, grants: u32) -> Self {
        self.leases = Some(grants);
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

    /// Refuses items whose encoding is longer than this, whatever the queue has room for:
    /// putters are told so, and getters take no memory for one that somebody put all the
    /// same.
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
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for impossible options; [`Error::NameTaken`](crate::Error::NameTaken);
    /// [`Error::Os`](crate::Error::Os) when memory or descriptors do not suffice; all in
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
    /// [`OpenError::NoName`]; [`Error::NotFound`](crate::Error::NotFound), [`Error::Incompatible`](crate::Error::Incompatible),
    /// [`Error::Corrupted`](crate::Error::Corrupted), [`Error::TooManyParticipants`](crate::Error::TooManyParticipants), [`Error::TooManyActors`](crate::Error::TooManyActors),
    /// [`Error::Os`](crate::Error::Os), in [`OpenError::Engine`].
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
    /// [`OpenError::NoName`]; [`Error::NotFound`](crate::Error::NotFound), [`Error::Os`](crate::Error::Os), in
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
        let payload = self.payload::<T, C>();
        let geometry = Geometry::new(&Options {
            slots,
            payload,
            participants: self.participants,
            actors: self.actors,
            leases: self.leases.unwrap_or_else(|| default_grants(payload)),
            pool: self.pool.unwrap_or_else(|| default_pool(payload, C::FIXED_LEN)),
            streams: STREAMS,
            exact: u32::try_from(C::FIXED_LEN.unwrap_or(0)) == Ok(payload),
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
    fn payload<T, C: Codec<T>>(&self) -> u32 {
        match (C::FIXED_LEN, self.slot_size) {
            (_, Some(size)) => size,
            // What does not fit the largest slot goes to the pool.
            (Some(len), None) => u32::try_from(len).ok().filter(|len| *len <= 65_520).unwrap_or(16),
            (None, None) => DEFAULT_SLOT_SIZE,
        }
    }

    fn open_kind<T, C: Codec<T>>(&self, kind: Kind) -> Result<Inner, OpenError> {
        let segment = Segment::open_named(&self.checked_name()?)?;
        let signature = self.signature::<T, C>();
        segment.header().expect(segment.label(), segment::Kind::Queue, signature)?;
        Inner::attach(segment, kind, true, self.policy)
    }
}

/// Lease records for slots of `payload` bytes.
fn default_grants(payload: u32) -> u32 {
    let fits = GRANTED / u64::from(payload.max(1));
    u32::try_from(fits).unwrap_or(u32::MAX).clamp(4, 64)
}

/// The pool for items of which each has `fixed` bytes, if all have the same.
fn default_pool(payload: u32, fixed: Option<usize>) -> u64 {
    match fixed {
        Some(len) if len as u64 <= u64::from(payload) => 0,
        // About four at a time: what their last blocks waste may take the place of one.
        Some(len) => DEFAULT_POOL_SIZE.max((len as u64).saturating_mul(4).saturating_add(8 << 10)),
        None => DEFAULT_POOL_SIZE,
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// A queue of at most `capacity` items, with the default options: any serde type; what
    /// is longer than 384 KiB is streamed. See [`Builder`] for others.
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
