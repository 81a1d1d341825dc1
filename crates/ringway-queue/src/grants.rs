//! Items written and read where they lie in the queue's memory.
//!
//! [`Queue::reserve`](crate::Queue::reserve) grants room for an item, which is filled in
//! place and put by [`WriteGrant::commit`]; [`Queue::get_ref`](crate::Queue::get_ref) takes
//! an item without copying it, and [`ReadGrant::release`] gives its memory free. For
//! queues of bytes ([`Raw`]) and of plain old data ([`Pod`]).
//!
//! ```
//! use ringway_queue::{Builder, Raw};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let queue = Builder::new().pool_size(4 << 20).bounded::<Vec<u8>, Raw>(10)?;
//! let mut picture = queue.reserve(1 << 20)?;
//! for line in 0..1024 {
//!     picture.write_at(line * 1024, &[7; 1024])?;
//! }
//! picture.commit()?;
//!
//! let picture = queue.get_ref()?;
//! let mut line = [0; 1024];
//! picture.read_at(500 * 1024, &mut line)?;
//! assert_eq!(line, [7; 1024]);
//! picture.release();
//! # Ok(())
//! # }
//! ```
//!
//! # Why this is sound although another process may write the bytes
//!
//! A `&[u8]` promises that its bytes do not change, and nobody can promise that of
//! shared memory. So no function of a grant hands one out, or a `&mut [u8]`, or a `&T`:
//! `write_at`, `store`, `read_at`, `load` and `to_vec` copy between the queue's memory and
//! private memory, by relaxed atomic words or by assembly, which a racing store can make
//! wrong but not undefined. What was copied is private: it can be checked and then used.
//! Plain old data is copied whole before it is a value, and every bit pattern is one.
//! Which bytes belong to the item was checked when the grant was made, and is kept in
//! private memory. A long item may lie in several pieces; the copies see to that, and no
//! raw pointer is offered.

use crate::error::{GetError, PutError, PutReason, get_error, put_reason};
use crate::inner::Inner;
use crate::long::{self, Looks, NotHere};
use crate::read_grant::ReadGrant;
use crate::until::Until;
use crate::{Pod, Queue, Raw};
use core::fmt;
use ringway_codec::Codec;
use ringway_core::mpmc;
use std::time::Duration;

/// A range that is not inside a granted item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{size} bytes from offset {offset} are not inside an item of {len} bytes")]
pub struct RangeError {
    /// Where the range begins.
    pub offset: usize,
    /// Its length.
    pub size: usize,
    /// The length of the item.
    pub len: usize,
}

/// Room for one item. [`commit`](Self::commit) puts it; dropped, it never was.
///
/// It takes memory of the queue and none of its places: those count when it is committed.
/// What is not written has any value, for instance that of earlier items.
///
/// # If the process dies
///
/// Before the commit the item never was, and its memory is free again; after it, it is
/// taken once.
#[must_use = "a grant that is not committed is given up"]
pub struct WriteGrant<'q> {
    inner: &'q Inner,
    room: Room<'q>,
}

enum Room<'q> {
    /// What fits a slot is written to the slot in one go.
    Private(Vec<u8>),
    Blocks(mpmc::WriteGrant<'q>),
}

// ---- Writing ----------------------------------------------------------------------

impl<'q> WriteGrant<'q> {
    fn reserve(inner: &'q Inner, len: usize, until: Until) -> Result<Self, PutReason> {
        if inner.is_closed() {
            return Err(PutReason::Closed);
        }
        let limit = inner.max_message().min(inner.ring.max_kept());
        if len > limit {
            return Err(PutReason::TooLarge { len, limit });
        }
        let room = if len <= inner.ring.payload_size() {
            Room::Private(vec![0; len])
        } else {
            Room::Blocks(inner.reserve(len, until)?)
        };
        Ok(Self { inner, room })
    }

    /// The length that was reserved, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.room {
            Room::Private(bytes) => bytes.len(),
            Room::Blocks(grant) => grant.len(),
        }
    }

    /// Whether the item has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `bytes` to byte `offset` of the item.
    ///
    /// # Errors
    ///
    /// [`RangeError`]; nothing was written.
    #[inline]
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), RangeError> {
        let wrong = RangeError { offset, size: bytes.len(), len: self.len() };
        match &mut self.room {
            Room::Private(room) => {
                let end = offset.checked_add(bytes.len()).ok_or(wrong)?;
                room.get_mut(offset..end).ok_or(wrong)?.copy_from_slice(bytes);
                Ok(())
            }
            Room::Blocks(grant) => grant.write_at(offset, bytes).map_err(|_| wrong),
        }
    }

    /// Copies plain old data to byte `offset` of the item.
    ///
    /// # Errors
    ///
    /// [`RangeError`]; nothing was written.
    #[inline]
    pub fn store<V>(&mut self, offset: usize, value: &V) -> Result<(), RangeError>
    where
        Pod: Codec<V>,
    {
        let wrong = RangeError { offset, size: size_of::<V>(), len: self.len() };
        let write = |bytes: &[u8]| self.write_at(offset, bytes);
        // Plain old data always has an encoding.
        Pod::encode(value, &mut Vec::new(), write).map_err(|_| wrong)?
    }

    fn put(&mut self, until: Until) -> Result<(), PutReason> {
        match &mut self.room {
            _ if self.inner.is_closed() => Err(PutReason::Closed),
            Room::Private(bytes) => self.inner.put(bytes, until),
            Room::Blocks(grant) => self.inner.commit(grant, until),
        }
    }

    #[allow(clippy::result_large_err, reason = "a box would cost every grant an allocation")]
    fn commit_until(mut self, until: Until) -> Result<(), PutError<Self>> {
        self.put(until).map_err(|reason| PutError::new(reason, self))
    }

    /// Puts the item, waiting for a place.
    ///
    /// # Blocking
    ///
    /// While a bounded queue is full. An unbounded one never blocks.
    ///
    /// # Errors
    ///
    /// As [`Queue::put`]. All of them are lasting: the grant is given up.
    pub fn commit(mut self) -> Result<(), PutReason> {
        self.put(Until::NEVER)
    }

    /// Puts the item if there is a place now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_put`], with the grant.
    #[allow(clippy::result_large_err, reason = "as above")]
    pub fn try_commit(self) -> Result<(), PutError<Self>> {
        self.commit_until(Until::Now)
    }

    /// Puts the item; gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Queue::put_timeout`], with the grant.
    #[allow(clippy::result_large_err, reason = "as above")]
    pub fn commit_timeout(self, timeout: Duration) -> Result<(), PutError<Self>> {
        self.commit_until(Until::after(timeout))
    }
}

impl fmt::Debug for WriteGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGrant").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Queue<Vec<u8>, Raw> {
    /// Room for an item of `len` bytes, waiting for memory.
    ///
    /// # Blocking
    ///
    /// While the queue's memory for long items is used up.
    ///
    /// # Errors
    ///
    /// [`PutReason::TooLarge`], [`PutReason::Closed`], [`PutReason::ShutDown`],
    /// [`PutReason::Poisoned`], [`PutReason::Engine`].
    pub fn reserve(&self, len: usize) -> Result<WriteGrant<'_>, PutReason> {
        WriteGrant::reserve(&self.inner, len, Until::NEVER)
    }

    /// Room for an item of `len` bytes if there is memory now. Never waits.
    ///
    /// # Errors
    ///
    /// [`PutReason::NoMemory`]; as [`reserve`](Self::reserve).
    pub fn try_reserve(&self, len: usize) -> Result<WriteGrant<'_>, PutReason> {
        WriteGrant::reserve(&self.inner, len, Until::Now)
    }

    /// Room for an item of `len` bytes; gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// [`PutReason::NoMemory`] after that time; as [`reserve`](Self::reserve).
    pub fn reserve_timeout(
        &self,
        len: usize,
        timeout: Duration,
    ) -> Result<WriteGrant<'_>, PutReason> {
        WriteGrant::reserve(&self.inner, len, Until::after(timeout))
    }

    /// As [`put`](Queue::put), from borrowed bytes: they are copied to the queue's memory
    /// and nowhere else.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(), PutReason> {
        self.put_bytes_until(bytes, Until::NEVER)
    }

    /// As [`put_bytes`](Self::put_bytes), if there is room now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_put`](Queue::try_put).
    pub fn try_put_bytes(&self, bytes: &[u8]) -> Result<(), PutReason> {
        self.put_bytes_until(bytes, Until::Now)
    }

    fn put_bytes_until(&self, bytes: &[u8], until: Until) -> Result<(), PutReason> {
        if self.inner.is_closed() {
            return Err(PutReason::Closed);
        }
        self.inner.put(bytes, until)
    }

    /// As [`get`](Queue::get), to a buffer that is used again: its length becomes the
    /// item's, and it grows if it must.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_into(&self, buffer: &mut Vec<u8>) -> Result<(), GetError> {
        self.get_into_until(buffer, Until::NEVER)
    }

    /// As [`get_into`](Self::get_into), if there is an item now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Queue::try_get).
    pub fn try_get_into(&self, buffer: &mut Vec<u8>) -> Result<(), GetError> {
        self.get_into_until(buffer, Until::Now)
    }

    /// As [`get_into`](Self::get_into); gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Queue::get_timeout).
    pub fn get_into_timeout(
        &self,
        buffer: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<(), GetError> {
        self.get_into_until(buffer, Until::after(timeout))
    }

    fn get_into_until(&self, buffer: &mut Vec<u8>, until: Until) -> Result<(), GetError> {
        if self.inner.is_closed() {
            return Err(GetError::Closed);
        }
        let payload = self.inner.ring.payload_size();
        let mut looks = Looks::new(until);
        loop {
            // Room for what lies in a slot. What it held is of no use any more, but zeroing it
            // would cost as much as the copy.
            if buffer.len() < payload {
                buffer.resize(payload, 0);
            }
            match looks.get(&self.inner, buffer) {
                Ok(len) => {
                    buffer.truncate(len);
                    return Ok(());
                }
                Err(NotHere::Stream(stream)) => {
                    let into = std::mem::take(buffer);
                    if let Some(bytes) = looks.receive(&self.inner, *stream, into)? {
                        *buffer = bytes;
                        return Ok(());
                    }
                }
                Err(why) => {
                    let (len, grant) = long::allowed(&self.inner, why)?;
                    buffer.resize(len, 0);
                    return long::copy_and_release(&self.inner, grant, buffer);
                }
            }
        }
    }
}

impl<T> Queue<T, Pod>
where
    Pod: Codec<T>,
{
    /// Room for one item, waiting for memory. Else as for a queue of bytes.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn reserve(&self) -> Result<WriteGrant<'_>, PutReason> {
        WriteGrant::reserve(&self.inner, size_of::<T>(), Until::NEVER)
    }

    /// Room for one item if there is memory now. Never waits.
    ///
    /// # Errors
    ///
    /// [`PutReason::NoMemory`]; as [`reserve`](Self::reserve).
    pub fn try_reserve(&self) -> Result<WriteGrant<'_>, PutReason> {
        WriteGrant::reserve(&self.inner, size_of::<T>(), Until::Now)
    }
}

// ---- Reading ----------------------------------------------------------------------

/// Encodings that are the value's bytes, so that it makes sense to read them in place.
pub trait InPlace: sealed::Sealed {}

impl InPlace for Raw {}
impl InPlace for Pod {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Raw {}
    impl Sealed for crate::Pod {}
}

impl<T, C: Codec<T> + InPlace> Queue<T, C> {
    fn ref_until(&self, until: Until) -> Result<ReadGrant, GetError> {
        if self.inner.is_closed() {
            return Err(GetError::Closed);
        }
        self.inner.get_ref(until)
    }

    /// Takes the next item and leaves it where it is, waiting for it.
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    ///
    /// # Errors
    ///
    /// As [`get`](Queue::get), but for [`GetError::Decode`].
    pub fn get_ref(&self) -> Result<ReadGrant, GetError> {
        self.ref_until(Until::NEVER)
    }

    /// Takes the next item and leaves it where it is, if there is one now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Queue::try_get), but for [`GetError::Decode`].
    pub fn try_get_ref(&self) -> Result<ReadGrant, GetError> {
        self.ref_until(Until::Now)
    }

    /// Takes the next item and leaves it where it is; gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Queue::get_timeout), but for [`GetError::Decode`].
    pub fn get_ref_timeout(&self, timeout: Duration) -> Result<ReadGrant, GetError> {
        self.ref_until(Until::after(timeout))
    }
}

impl Inner {
    #[inline]
    fn reserve(&self, len: usize, until: Until) -> Result<mpmc::WriteGrant<'_>, PutReason> {
        match self.ring.try_reserve(len) {
            Ok(grant) => Ok(grant),
            Err(why) => self.wait_to_reserve(len, until, why),
        }
    }

    #[cold]
    fn wait_to_reserve(
        &self,
        len: usize,
        until: Until,
        why: mpmc::PutError,
    ) -> Result<mpmc::WriteGrant<'_>, PutReason> {
        let (mpmc::PutError::NoMemory, Until::Deadline(deadline)) = (&why, until) else {
            return Err(put_reason(why, self.ring.label()));
        };
        let reserved = crate::scratch::putting(self.policy, |spinner| {
            loop {
                match self.ring.reserve(len, spinner, deadline) {
                    Err(mpmc::PutError::Interrupted) => {}
                    other => break other,
                }
            }
        });
        reserved.map_err(|error| put_reason(error, self.ring.label()))
    }

    #[inline]
    fn commit(&self, grant: &mut mpmc::WriteGrant<'_>, until: Until) -> Result<(), PutReason> {
        if let Some(overflow) = self.overflow() {
            return overflow.commit(grant);
        }
        self.ring.look_for_room(until.looks(self.policy));
        match grant.try_commit() {
            Ok(()) => Ok(()),
            Err(why) => self.wait_to_commit(grant, until, why),
        }
    }

    #[cold]
    fn wait_to_commit(
        &self,
        grant: &mut mpmc::WriteGrant<'_>,
        until: Until,
        why: mpmc::PutError,
    ) -> Result<(), PutReason> {
        use mpmc::PutError::{Contended, Full};
        let (Full | Contended, Until::Deadline(deadline)) = (&why, until) else {
            return Err(put_reason(why, self.ring.label()));
        };
        let put = crate::scratch::putting(self.policy, |spinner| {
            loop {
                match grant.commit(spinner, deadline) {
                    Err(mpmc::PutError::Interrupted) => {}
                    other => break other,
                }
            }
        });
        put.map_err(|error| put_reason(error, self.ring.label()))
    }

    #[inline]
    fn get_ref(&self, until: Until) -> Result<ReadGrant, GetError> {
        self.ring.look_for_message(until.looks(self.policy));
        let first = match self.counts_tasks() {
            true => self.ring.try_get_ref_task(),
            false => self.ring.try_get_ref(),
        };
        match first {
            Ok(grant) => Ok(ReadGrant { grant }),
            Err(why) => self.wait_for_ref(until, why),
        }
    }

    #[cold]
    fn wait_for_ref(&self, until: Until, why: mpmc::GetError) -> Result<ReadGrant, GetError> {
        use mpmc::GetError::{Contended, Empty};
        let (Empty | Contended, Until::Deadline(deadline)) = (&why, until) else {
            return Err(get_error(why, self.ring.label()));
        };
        let ring = &self.ring;
        let got = crate::scratch::getting(self.policy, |spinner| {
            loop {
                let got = match self.counts_tasks() {
                    true => ring.get_ref_task(spinner, deadline),
                    false => ring.get_ref(spinner, deadline),
                };
                match got {
                    Err(mpmc::GetError::Interrupted) => {}
                    other => break other,
                }
            }
        });
        got.map(|grant| ReadGrant { grant }).map_err(|error| get_error(error, ring.label()))
    }
}
