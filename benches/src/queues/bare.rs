//! The ring alone, with and without announcements, to see what announcing costs.
//!
//! No blocking, no repair: both wait by trying again. Without announcements nobody could
//! repair after a death; no queue is built that way.

use crate::Fallible;
use crate::control::Parcel;
use crate::shape::{CAPACITY, Queued};
use ringway_core::mpmc::{Geometry, Options, Ring, TryGet, TryPut};
use ringway_core::peer::{Actor, Identity};
use ringway_core::segment::{Kind, NewSegment, Place, Segment, Spec};
use std::marker::PhantomData;

/// Whether puts and gets are announced.
pub trait Mode {
    /// The name in the tables.
    const NAME: &'static str;
    /// Puts once.
    ///
    /// # Errors
    ///
    /// As the ring.
    fn put(ring: &Ring, actor: &mut Actor, item: &[u8]) -> Result<(), TryPut>;
    /// Gets once.
    ///
    /// # Errors
    ///
    /// As the ring.
    fn get(ring: &Ring, actor: &mut Actor, room: &mut [u8]) -> Result<usize, TryGet>;
}

/// As it is.
#[derive(Debug)]
pub struct Announced;

impl Mode for Announced {
    const NAME: &'static str = "ring_announced";
    #[inline]
    fn put(ring: &Ring, actor: &mut Actor, item: &[u8]) -> Result<(), TryPut> {
        ring.try_put(actor, item)
    }
    #[inline]
    fn get(ring: &Ring, actor: &mut Actor, room: &mut [u8]) -> Result<usize, TryGet> {
        ring.try_get(actor, room)
    }
}

/// As it must not be.
#[derive(Debug)]
pub struct Plain;

impl Mode for Plain {
    const NAME: &'static str = "ring_plain";
    #[inline]
    fn put(ring: &Ring, actor: &mut Actor, item: &[u8]) -> Result<(), TryPut> {
        ring.try_put_unannounced(actor, item)
    }
    #[inline]
    fn get(ring: &Ring, actor: &mut Actor, room: &mut [u8]) -> Result<usize, TryGet> {
        ring.try_get_unannounced(actor, room)
    }
}

/// The ring in a segment, with one actor.
pub struct Bare<M> {
    segment: Segment,
    ring: Ring,
    actor: Actor,
    mode: PhantomData<M>,
}

/// The creator's participant; the others follow.
const CREATOR: u32 = 1;
/// Between two looks at a ring that is full or empty, the processor goes to whoever else
/// may want it.
const LOOKS: u32 = 64;

impl<M> Bare<M> {
    fn over(segment: Segment, participant: u32) -> Fallible<Self> {
        let header = segment.header();
        let geometry = Geometry::from_params(&header.params, header.total_len, segment.label())?;
        let ring = Ring::new(segment.memory(), geometry)?;
        ring.participants().join(participant, Identity::default());
        let actor = ring.actors().claim(participant, 0).ok_or("no actor is free")?;
        Ok(Self { segment, ring, actor, mode: PhantomData })
    }

    /// Tries until `once` gives something.
    #[inline]
    fn until<R>(&mut self, mut once: impl FnMut(&Ring, &mut Actor) -> Option<R>) -> R {
        loop {
            for _ in 0..LOOKS {
                if let Some(done) = once(&self.ring, &mut self.actor) {
                    return done;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
        }
    }
}

impl<M: Mode> Queued<1> for Bare<M> {
    const NAME: &'static str = M::NAME;

    fn create() -> Fallible<Self> {
        let geometry = Geometry::new(&Options::new(CAPACITY as u64, 8))?;
        let (params, body_len) = (geometry.params(), geometry.body_len());
        let spec = Spec { kind: Kind::Queue, signature: 0, params, body_len };
        let segment = NewSegment::create(Place::Anonymous("ringway-bench"), &spec)?.publish()?;
        Self::over(segment, CREATOR)
    }

    fn parcel(&self, place: usize) -> Fallible<Parcel> {
        let participant = CREATOR + 1 + u32::try_from(place)?;
        let bytes = participant.to_ne_bytes().to_vec();
        Ok(Parcel { bytes, descriptors: vec![self.segment.share()?] })
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let participant = *parcel.bytes.first_chunk().ok_or("no participant")?;
        let [fd] = parcel.take()?;
        Self::over(Segment::from_fd(fd)?, u32::from_ne_bytes(participant))
    }

    #[inline]
    fn put(&mut self, item: &[u64; 1]) -> Fallible {
        let bytes = item[0].to_ne_bytes();
        self.until(|ring, actor| match M::put(ring, actor, &bytes) {
            Ok(()) => Some(Ok(())),
            Err(TryPut::Full | TryPut::Pending(_) | TryPut::Busy) => None,
            Err(other) => Some(Err(format!("put: {other:?}").into())),
        })
    }

    #[inline]
    fn get(&mut self) -> Fallible<[u64; 1]> {
        let mut bytes = [0; 8];
        self.until(|ring, actor| match M::get(ring, actor, &mut bytes) {
            Ok(_) => Some(Ok([u64::from_ne_bytes(bytes)])),
            Err(TryGet::Empty | TryGet::Pending(_) | TryGet::Busy) => None,
            Err(other) => Some(Err(format!("get: {other:?}").into())),
        })
    }
}
