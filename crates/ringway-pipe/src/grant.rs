//! Messages written and read where they lie in the ring.
//!
//! [`Sender::reserve`] grants room for a message, which is filled in place and sent by
//! [`WriteGrant::commit`]; [`Receiver::recv_ref`] grants a look at a message, whose room is
//! given back by [`ReadGrant::release`]. Nothing is allocated and nothing copied that the
//! caller does not copy itself.
//!
//! # Why this is sound although another process may write the bytes
//!
//! A `&[u8]` promises that its bytes do not change. Nobody can promise that of a
//! shared mapping: a peer with a bug, or a hostile one, can store there at any time, and
//! a change under a `&[u8]` is undefined behaviour *here*. So no safe function of a
//! grant hands one out, or a `&mut [u8]`, or a `&T`:
//!
//! * `write_at`, `read_at`, `store`, `load`, `values`, [`Writer`] and [`Reader`] copy
//!   between the ring and private memory, by relaxed atomic words or by assembly, which
//!   a racing store can make wrong but not undefined. What was copied is private: it can
//!   be checked and then used.
//! * Plain old data is copied whole before it is a value, and every bit pattern is one.
//! * `parts` gives raw pointers, which promise nothing: for system calls (`read` a
//!   file into a message, `write` one to a socket) and for assembly. To make a reference
//!   of them takes `unsafe`, and is right only for whoever can rule out that the peer
//!   stores there meanwhile.
//! * Both borrow the end mutably: two grants of one end, or a grant beside a message,
//!   do not compile. They may be forgotten ([`core::mem::forget`]): a forgotten
//!   reservation was never sent, a message whose grant was forgotten comes again.
//!
//! A message that goes round the end of the ring lies in two parts; the copies see to
//! it, and `parts` shows both.

use crate::end::{CLOSED, PEER_GONE};
use crate::error::{RangeError, RecvError, SendError};
use crate::half::{Receiver, Sender};
use crate::recv::{Next, RecvHalf};
use crate::send::SendHalf;
use crate::until::Until;
use core::fmt;
use ringway_codec::{Codec, DecodeError, Pod, values};
use ringway_core::process::generation;
use ringway_core::spsc::{Head, Payload, Piece};
use ringway_core::wait::Deadline;
use std::io;
use std::time::{Duration, Instant};

/// Room for one message in the ring. [`commit`](Self::commit) sends it; dropped, it never
/// was.
///
/// What is not written holds bytes of earlier messages of this pipe.
///
/// # If the caller dies
///
/// Before the commit there is no message; after it, it is received once.
#[must_use = "a reservation that is not committed is not sent"]
pub struct WriteGrant<'a> {
    half: &'a mut SendHalf,
    len: usize,
}

/// A received message in the ring. Its room is given back when this is dropped; until
/// then the sender cannot use it, and goes on with the rest of the ring.
///
/// # If the caller dies
///
/// Before it is given back, the message goes to a successor on this end, if there is one.
#[must_use = "a message that is not looked at is dropped"]
pub struct ReadGrant<'a> {
    half: &'a mut RecvHalf,
    head: Head,
    /// For a writer that times what its readers do.
    begun: Option<Instant>,
}

impl<T, C> Sender<T, C> {
    /// Room for a message of `len` bytes. Blocks until there is. The message is received
    /// like one of [`send_bytes`](Self::send_bytes); for [`recv`](Receiver::recv) its bytes must be what
    /// the encoding would give, which for plain old data are the value's.
    ///
    /// # Errors
    ///
    /// [`SendError::WouldStream`] if the ring never has room for so much in one piece: it
    /// can only be sent by copy; as [`send`](Self::send).
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<WriteGrant<'_>, SendError> {
        self.reserve_until(len, Until::NEVER)
    }

    /// Room for a message of `len` bytes if there is now. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]; as [`reserve`](Self::reserve).
    #[inline]
    pub fn try_reserve(&mut self, len: usize) -> Result<WriteGrant<'_>, SendError> {
        self.reserve_until(len, Until::Now)
    }

    /// Room for a message of `len` bytes; gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendError::Timeout`]; as [`reserve`](Self::reserve).
    pub fn reserve_timeout(
        &mut self,
        len: usize,
        timeout: Duration,
    ) -> Result<WriteGrant<'_>, SendError> {
        self.reserve_until(len, Until::Deadline(Deadline::after(timeout)))
    }

    #[inline]
    fn reserve_until(&mut self, len: usize, until: Until) -> Result<WriteGrant<'_>, SendError> {
        self.half.reserve(len, until)?;
        Ok(WriteGrant { half: &mut self.half, len })
    }
}

impl WriteGrant<'_> {
    #[inline]
    fn payload(&self) -> Option<Payload<'_>> {
        self.half.reserved(self.len)
    }

    /// The length that was reserved, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `bytes` to byte `offset` of the message.
    ///
    /// # Errors
    ///
    /// [`RangeError`]; nothing was written.
    #[inline]
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<(), RangeError> {
        let wrong = RangeError { offset, size: bytes.len(), len: self.len };
        let payload = self.payload().ok_or(wrong)?;
        payload.write_at(offset, bytes).map_err(|_| wrong)
    }

    /// Copies plain old data to byte `offset` of the message.
    ///
    /// # Errors
    ///
    /// [`RangeError`]; nothing was written.
    #[inline]
    pub fn store<V>(&mut self, offset: usize, value: &V) -> Result<(), RangeError>
    where
        Pod: Codec<V>,
    {
        let wrong = RangeError { offset, size: size_of::<V>(), len: self.len };
        let write = |bytes: &[u8]| self.write_at(offset, bytes);
        // Plain old data always has an encoding.
        Pod::encode(value, &mut Vec::new(), write).map_err(|_| wrong)?
    }

    /// Writes the message from its beginning on, as to a file of fixed length.
    pub fn writer(&mut self) -> Writer<'_> {
        Writer { payload: self.payload(), at: 0 }
    }

    /// Where the bytes of the message lie: the second part is empty unless the message
    /// goes round the end of the ring. The pointers are valid while the grant lives; see
    /// the [module](crate::grant) for what may be done with them.
    pub fn parts(&mut self) -> [*mut [u8]; 2] {
        self.payload().map_or_else(|| [nothing(), nothing()], |payload| payload.parts())
    }

    /// Sends the message. Does not block.
    ///
    /// # Errors
    ///
    /// [`SendError::BrokenPipe`] and [`SendError::Closed`], if that came to be known since;
    /// [`SendError::EndInUse`] in a forked child, whose copy of the grant is the parent's.
    #[inline]
    pub fn commit(self) -> Result<(), SendError> {
        let len = self.len;
        self.commit_prefix(len)
    }

    /// Sends the first `len` bytes as the message, for those who reserved more than they
    /// needed. A longer `len` sends all that was reserved.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    #[inline]
    pub fn commit_prefix(self, len: usize) -> Result<(), SendError> {
        self.half.commit(len.min(self.len))
    }
}

impl SendHalf {
    #[inline]
    fn reserved(&self, len: usize) -> Option<Payload<'_>> {
        self.producer.as_ref().map(|producer| producer.reserved(len))
    }

    #[inline]
    fn commit(&mut self, len: usize) -> Result<(), SendError> {
        if self.taken != generation() {
            return Err(SendError::EndInUse { pid: None });
        }
        if self.end().state() & CLOSED != 0 {
            return Err(SendError::Closed);
        }
        if self.end().state() & PEER_GONE != 0 {
            return Err(SendError::BrokenPipe);
        }
        let producer = self.producer.as_mut().ok_or(SendError::Closed)?;
        producer.commit(len);
        producer.ring().readable.notify();
        Ok(())
    }
}

impl<T, C> Receiver<T, C> {
    /// The next message, where it lies. Blocks until it has come.
    ///
    /// # Errors
    ///
    /// [`RecvError::Streamed`] if its sender had to stream it: longer than a quarter of
    /// the ring, unless it was reserved. It stays for the calls that copy. Else as
    /// [`recv`](Self::recv).
    #[inline]
    pub fn recv_ref(&mut self) -> Result<ReadGrant<'_>, RecvError> {
        self.ref_until(Until::NEVER)
    }

    /// The next message, where it lies, if there is one now. Never waits.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; as [`recv_ref`](Self::recv_ref).
    #[inline]
    pub fn try_recv_ref(&mut self) -> Result<ReadGrant<'_>, RecvError> {
        self.ref_until(Until::Now)
    }

    /// The next message, where it lies; gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`]; as [`recv_ref`](Self::recv_ref).
    pub fn recv_ref_timeout(&mut self, timeout: Duration) -> Result<ReadGrant<'_>, RecvError> {
        self.ref_until(Until::Deadline(Deadline::after(timeout)))
    }

    #[inline]
    fn ref_until(&mut self, until: Until) -> Result<ReadGrant<'_>, RecvError> {
        let half = &mut self.half;
        if let Some(len) = half.glance(until) {
            return Ok(ReadGrant::new(half, Head { piece: Piece::Whole, len }));
        }
        match half.next(until)? {
            Next::Whole(head) => Ok(ReadGrant::new(half, head)),
            Next::Stream(len) => Err(RecvError::Streamed { len }),
        }
    }
}

impl<'a> ReadGrant<'a> {
    #[inline]
    fn new(half: &'a mut RecvHalf, head: Head) -> Self {
        let begun = half.consumer.as_ref().and_then(|c| c.ring().read_times.begin(head.len));
        Self { half, head, begun }
    }

    #[inline]
    fn payload(&self) -> Option<Payload<'_>> {
        self.half.payload(self.head)
    }

    /// The length of the message in bytes.
    pub fn len(&self) -> usize {
        self.head.len
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.head.len == 0
    }

    /// Copies from byte `offset` of the message to `bytes`.
    ///
    /// # Errors
    ///
    /// [`RangeError`]; `bytes` is as it was.
    #[inline]
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) -> Result<(), RangeError> {
        let wrong = RangeError { offset, size: bytes.len(), len: self.head.len };
        let payload = self.payload().ok_or(wrong)?;
        payload.read_at(offset, bytes).map_err(|_| wrong)
    }

    /// The message in private memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.head.len];
        // The range is the whole message; without an end there is none.
        let _ = self.read_at(0, &mut bytes);
        bytes
    }

    /// A copy of the plain old data at byte `offset` of the message.
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
        let wrong = RangeError { offset, size, len: self.head.len };
        let fill = |bytes: &mut [u8]| self.read_at(offset, bytes);
        let loaded: Result<V, DecodeError> = Pod::decode_from(size, &mut Vec::new(), fill)?;
        // Of the right length, so it is a value.
        loaded.map_err(|_| wrong)
    }

    /// Copies of the values that the message consists of, one at a time. Bytes at its
    /// end that are no whole value are left out.
    ///
    /// A loop takes some 1 ns for a value of a word. Values that are neither within a word nor up to
    /// eight whole ones, or that go round the end of the ring, take somewhat longer than by
    /// [`load`](Self::load). Fastest for many small ones: [`read_at`](Self::read_at), some KiB at a
    /// time.
    pub fn values<V>(&self) -> impl Iterator<Item = V>
    where
        Pod: Codec<V>,
    {
        let run_from = |at| {
            let mut run = self.payload().and_then(|payload| payload.run(at));
            move |value: &mut [u8]| run.as_mut().is_some_and(|run| run.next(value))
        };
        values(self.head.len, |at| self.load(at).ok(), run_from)
    }

    /// Reads the message from its beginning on, as a file.
    pub fn reader(&self) -> Reader<'_> {
        Reader { payload: self.payload(), at: 0 }
    }

    /// Where the bytes of the message lie; as [`WriteGrant::parts`].
    pub fn parts(&self) -> [*const [u8]; 2] {
        let parts = self.payload().map(|payload| payload.parts());
        parts.unwrap_or_else(|| [nothing(), nothing()]).map(<*mut [u8]>::cast_const)
    }

    /// Gives the room back and wakes the sender. The same as dropping it.
    #[inline]
    pub fn release(self) {}
}

impl Drop for ReadGrant<'_> {
    #[inline]
    fn drop(&mut self) {
        self.half.give_back(self.head, self.begun);
    }
}

impl RecvHalf {
    #[inline]
    fn payload(&self, head: Head) -> Option<Payload<'_>> {
        self.consumer.as_ref().map(|consumer| consumer.payload(head))
    }

    /// Releases a granted message, unless the end is not this process's any more: then
    /// another may have it already.
    #[inline]
    fn give_back(&mut self, head: Head, begun: Option<Instant>) {
        if self.taken == generation() && self.end.state() & CLOSED == 0 {
            if let Some(consumer) = &self.consumer {
                consumer.ring().read_times.end(begun, head.len);
            }
            self.release(head);
        }
    }
}

fn nothing() -> *mut [u8] {
    core::ptr::slice_from_raw_parts_mut(core::ptr::dangling_mut(), 0)
}

/// Writes a granted message in order. At its end it accepts no more.
pub struct Writer<'a> {
    payload: Option<Payload<'a>>,
    at: usize,
}

impl Writer<'_> {
    /// How many bytes were written; what [`WriteGrant::commit_prefix`] is to be given.
    pub fn written(&self) -> usize {
        self.at
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(payload) = &self.payload else { return Ok(0) };
        let fits = bytes.len().min(payload.len() - self.at);
        payload.write_at(self.at, &bytes[..fits]).map_err(io::Error::other)?;
        self.at += fits;
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a granted message in order.
pub struct Reader<'a> {
    payload: Option<Payload<'a>>,
    at: usize,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(payload) = &self.payload else { return Ok(0) };
        let fits = bytes.len().min(payload.len() - self.at);
        payload.read_at(self.at, &mut bytes[..fits]).map_err(io::Error::other)?;
        self.at += fits;
        Ok(fits)
    }
}

impl fmt::Debug for WriteGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGrant").field("len", &self.len).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReadGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGrant").field("len", &self.head.len).finish_non_exhaustive()
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("written", &self.at).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("read", &self.at).finish_non_exhaustive()
    }
}
