//! An item where it lies. See [`grants`](crate::grants).

use crate::grants::RangeError;
use core::fmt;
use ringway_codec::{Codec, DecodeError, Pod, values};
use ringway_core::mpmc;

/// An item that was taken and whose memory is still in use. Nobody else gets it
/// meanwhile, and nobody waits for it: it takes none of the queue's places.
///
/// [`release`](Self::release) ends it. Dropped without, for instance by a panic, the item
/// goes to another getter, perhaps after newer ones. It does so on top of the queue's
/// capacity if its place was filled meanwhile.
///
/// As many as [`Builder::max_grants`](crate::Builder::max_grants) at a time, over all
/// processes, are kept beside the queue's places. Any more keep their places: putters have
/// to wait there when they have come round.
///
/// After a shutdown, getters of other processes wait for it: it may come back to them. Those
/// of its own process are told the end.
///
/// # If the process dies
///
/// Before the release, the item goes to another getter, and no task of a
/// [`JoinableQueue`](crate::JoinableQueue) is lost.
#[must_use = "an item whose grant is dropped goes to another getter"]
pub struct ReadGrant {
    pub(crate) grant: mpmc::ReadGrant,
}

impl ReadGrant {
    /// The length of the item in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.grant.len()
    }

    /// Whether the item has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies from byte `offset` of the item to `bytes`.
    ///
    /// # Errors
    ///
    /// [`RangeError`]; `bytes` is as it was.
    #[inline]
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) -> Result<(), RangeError> {
        let wrong = RangeError { offset, size: bytes.len(), len: self.len() };
        self.grant.read_at(offset, bytes).map_err(|_| wrong)
    }

    /// The item in private memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        // The range is the whole item.
        let _ = self.read_at(0, &mut bytes);
        bytes
    }

    /// A copy of the plain old data at byte `offset` of the item.
    ///
    /// # Errors
    ///
    /// [`RangeError`].
    #[inline]
    pub fn load<V>(&self, offset: usize) -> Result<V, RangeError>
    where
        Pod: Codec<V>,
    {
        let size = size_of::<V>();
        let wrong = RangeError { offset, size, len: self.len() };
        let fill = |bytes: &mut [u8]| self.read_at(offset, bytes);
        let loaded: Result<V, DecodeError> = Pod::decode_from(size, &mut Vec::new(), fill)?;
        // Of the right length, so it is a value.
        loaded.map_err(|_| wrong)
    }

    /// Copies of the values that the item consists of, one at a time. Bytes at its end that
    /// are no whole value are left out.
    ///
    /// A loop takes some 1 ns for a value of a word. Values that are neither within a word nor up to
    /// eight whole ones, or that lie in two blocks, take somewhat longer than by
    /// [`load`](Self::load). Fastest for many small ones: [`read_at`](Self::read_at), some KiB at a
    /// time.
    pub fn values<V>(&self) -> impl Iterator<Item = V>
    where
        Pod: Codec<V>,
    {
        let run_from = |at| {
            let mut run = self.grant.run(at);
            move |value: &mut [u8]| run.as_mut().is_some_and(|run| run.next(value))
        };
        values(self.len(), |at| self.load(at).ok(), run_from)
    }

    /// The item is done with: it is gone, and its memory is free.
    #[inline]
    pub fn release(self) {
        self.grant.release();
    }
}

impl fmt::Debug for ReadGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGrant").field("len", &self.len()).finish_non_exhaustive()
    }
}
