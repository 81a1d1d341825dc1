//! The typed ends of one-way pipes.

use crate::error::{RecvError, SendError};
use crate::recv::{Next, RecvHalf};
use crate::send::SendHalf;
use crate::until::Until;
use core::fmt;
use core::marker::PhantomData;
use ringway_codec::{Codec, Postcard};
use ringway_core::wait::{Deadline, WaitPolicy};
use std::time::{Duration, Instant};

/// A handle owns no `T` and no `C`: it is `Send` whatever they are.
type Types<T, C> = fn(T, C) -> (T, C);

/// The end of a pipe that sends values of type `T`, encoded by `C`.
///
/// Sending needs `&mut self`: a unique handle saves a lock, which would cost more than
/// the message. Threads that share an end use [`into_shared`](Self::into_shared).
///
/// # If the peer dies
///
/// Sending to a pipe whose other end nobody holds is [`SendError::BrokenPipe`]. A
/// blocked call returns it within about a millisecond of the death, once the kernel has
/// torn down the dead process's memory. Messages sent before are lost with the pipe.
///
/// # Memory ordering
///
/// What a thread did before it sent a message is visible, in memory they share, to the
/// thread that received it.
pub struct Sender<T, C = Postcard> {
    pub(crate) half: SendHalf,
    scratch: Vec<u8>,
    types: PhantomData<Types<T, C>>,
}

/// The end of a pipe that receives values of type `T`, decoded by `C`.
///
/// # If the peer dies
///
/// All complete messages are still received; then, if the last one was cut off, one
/// [`RecvError::Truncated`]; then [`RecvError::Eof`] for ever. A blocked call returns it
/// within about a millisecond of the death, once the kernel has torn down the dead
/// process's memory.
pub struct Receiver<T, C = Postcard> {
    pub(crate) half: RecvHalf,
    scratch: Vec<u8>,
    types: PhantomData<Types<T, C>>,
}

impl<T, C> Sender<T, C> {
    pub(crate) fn new(half: SendHalf) -> Self {
        Self { half, scratch: Vec::new(), types: PhantomData }
    }

    /// Closes this process's hold of the end, as dropping it does. Idempotent. The
    /// receiver gets what was sent, then [`RecvError::Eof`], unless another process
    /// holds a copy of this end.
    pub fn close(&self) {
        self.half.end().close();
    }

    /// What a blocked call does before it sleeps.
    pub fn policy(&self) -> WaitPolicy {
        self.half.policy()
    }

    pub(crate) fn bytes_until(&mut self, message: &[u8], until: Until) -> Result<(), SendError> {
        self.half.send(message, until)
    }

    /// Sends `message` as it is. Blocks until there is room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_bytes(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.bytes_until(message, Until::NEVER)
    }

    /// Sends `size` bytes from `offset` of `buffer`, or all from there on.
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidRange`] before anything is sent, if they are not inside the
    /// buffer; as [`send`](Self::send).
    pub fn send_bytes_range(
        &mut self,
        buffer: &[u8],
        offset: usize,
        size: Option<usize>,
    ) -> Result<(), SendError> {
        let len = buffer.len();
        let size = size.unwrap_or_else(|| len.saturating_sub(offset));
        let range = offset.checked_add(size).and_then(|end| buffer.get(offset..end));
        self.send_bytes(range.ok_or(SendError::InvalidRange { offset, size, len })?)
    }

    /// Sends `message` if there is room now. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]; [`SendError::WouldStream`] if it is longer than the ring.
    pub fn try_send_bytes(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.bytes_until(message, Until::Now)
    }

    /// Sends `message`; gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendError::Timeout`]; as [`send`](Self::send).
    pub fn send_bytes_timeout(
        &mut self,
        message: &[u8],
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.bytes_until(message, Until::Deadline(Deadline::after(timeout)))
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    #[inline]
    pub(crate) fn send_until(&mut self, value: &T, until: Until) -> Result<(), SendError> {
        let Self { half, scratch, .. } = self;
        C::encode(value, scratch, |bytes| half.send(bytes, until))?
    }

    /// Sends one value. Blocks until the ring has room; a message longer than a quarter
    /// of the ring is streamed while the receiver takes it.
    ///
    /// # Errors
    ///
    /// [`SendError::BrokenPipe`], [`SendError::Closed`], [`SendError::EndInUse`],
    /// [`SendError::Encode`], [`SendError::Engine`]. Nothing of the value reaches the
    /// receiver then.
    #[inline]
    pub fn send(&mut self, value: &T) -> Result<(), SendError> {
        self.send_until(value, Until::NEVER)
    }

    /// Sends one value if there is room now. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`]; [`SendError::WouldStream`] if it is longer than the ring; as
    /// [`send`](Self::send).
    #[inline]
    pub fn try_send(&mut self, value: &T) -> Result<(), SendError> {
        self.send_until(value, Until::Now)
    }

    /// Sends one value; the whole call takes at most `timeout`. A streamed message that
    /// is cut short by it is withdrawn: the receiver never sees it.
    ///
    /// # Errors
    ///
    /// [`SendError::Timeout`]; as [`send`](Self::send).
    pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.send_until(value, Until::Deadline(Deadline::after(timeout)))
    }

    /// Sends one value; gives up at `deadline`.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(&mut self, value: &T, deadline: Instant) -> Result<(), SendError> {
        self.send_until(value, Until::Deadline(Deadline::at(deadline)))
    }
}

impl<T, C> Receiver<T, C> {
    pub(crate) fn new(half: RecvHalf) -> Self {
        Self { half, scratch: Vec::new(), types: PhantomData }
    }

    /// Closes this process's hold of the end, as dropping it does. Idempotent. The
    /// sender gets [`SendError::BrokenPipe`], unless another process holds a copy of
    /// this end.
    pub fn close(&self) {
        self.half.end.close();
    }

    /// What a blocked call does before it sleeps.
    pub fn policy(&self) -> WaitPolicy {
        self.half.policy()
    }

    /// Whether a message, an error or the end is there, waiting at most `timeout` for
    /// it. Consumes nothing. Of a streamed message the beginning is enough; its sender may
    /// still withdraw it.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`], [`RecvError::EndInUse`], [`RecvError::Engine`].
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, RecvError> {
        if timeout.is_zero() {
            return self.half.poll(Until::Now);
        }
        self.half.poll(Until::Deadline(Deadline::after(timeout)))
    }

    pub(crate) fn bytes_until(
        &mut self,
        limit: Option<usize>,
        until: Until,
    ) -> Result<Vec<u8>, RecvError> {
        loop {
            match self.half.next(until)? {
                Next::Whole(head) => {
                    within(head.len as u64, limit)?;
                    let mut bytes = vec![0; head.len];
                    self.half.take(head, &mut bytes);
                    return Ok(bytes);
                }
                Next::Stream(total) => {
                    within(total, limit)?;
                    if let Some(bytes) = self.half.stream(total, until)? {
                        return Ok(bytes);
                    }
                }
            }
        }
    }

    #[inline]
    pub(crate) fn fill_until(
        &mut self,
        buffer: &mut [u8],
        until: Until,
    ) -> Result<usize, RecvError> {
        if let Some(len) = self.half.glance(until)
            && let Some(buffer) = buffer.get_mut(..len)
        {
            self.half.take_whole(buffer);
            return Ok(len);
        }
        self.fill_slow(buffer, until)
    }

    #[cold]
    #[inline(never)]
    fn fill_slow(&mut self, buffer: &mut [u8], until: Until) -> Result<usize, RecvError> {
        loop {
            match self.half.next(until)? {
                Next::Whole(head) => {
                    within(head.len as u64, Some(buffer.len()))?;
                    self.half.take(head, &mut buffer[..head.len]);
                    return Ok(head.len);
                }
                Next::Stream(total) => {
                    // Fits a usize: it is at most the buffer's length.
                    let len = within(total, Some(buffer.len()))?;
                    if self.half.stream_into(&mut buffer[..len], until)? {
                        return Ok(len);
                    }
                }
            }
        }
    }

    /// Receives one message as bytes, of at most `limit` bytes if one is given. Blocks
    /// until it has come.
    ///
    /// # Errors
    ///
    /// [`RecvError::TooLarge`]: the message stays, nothing was allocated for it; as
    /// [`recv`](Self::recv).
    pub fn recv_bytes(&mut self, limit: Option<usize>) -> Result<Vec<u8>, RecvError> {
        self.bytes_until(limit, Until::NEVER)
    }

    /// Receives one message as bytes if it is there now. Never waits.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; as [`recv_bytes`](Self::recv_bytes).
    pub fn try_recv_bytes(&mut self, limit: Option<usize>) -> Result<Vec<u8>, RecvError> {
        self.bytes_until(limit, Until::Now)
    }

    /// Receives one message as bytes; gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`]; as [`recv_bytes`](Self::recv_bytes).
    pub fn recv_bytes_timeout(
        &mut self,
        limit: Option<usize>,
        timeout: Duration,
    ) -> Result<Vec<u8>, RecvError> {
        self.bytes_until(limit, Until::Deadline(Deadline::after(timeout)))
    }

    /// Receives one message into the beginning of `buffer`; returns its length.
    ///
    /// # Errors
    ///
    /// [`RecvError::TooLarge`] if the buffer is too short: the message stays; as
    /// [`recv`](Self::recv).
    #[inline]
    pub fn recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.fill_until(buffer, Until::NEVER)
    }

    /// Receives one message into `buffer` from `offset` on; returns its length.
    ///
    /// # Errors
    ///
    /// [`RecvError::InvalidRange`] before anything is received, if `offset` is outside;
    /// as [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn recv_bytes_into_at(
        &mut self,
        buffer: &mut [u8],
        offset: usize,
    ) -> Result<usize, RecvError> {
        let len = buffer.len();
        let buffer = buffer.get_mut(offset..).ok_or(RecvError::InvalidRange { offset, len })?;
        self.recv_bytes_into(buffer)
    }

    /// Receives one message into `buffer` if it is there now. Never waits.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; as [`recv_bytes_into`](Self::recv_bytes_into).
    pub fn try_recv_bytes_into(&mut self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.fill_until(buffer, Until::Now)
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    #[inline]
    pub(crate) fn recv_until(&mut self, until: Until) -> Result<T, RecvError> {
        if let Some(len) = self.half.glance(until) {
            let Self { half, scratch, .. } = self;
            let fill = |to: &mut [u8]| {
                half.take_whole(to);
                Ok::<(), core::convert::Infallible>(())
            };
            let Ok(decoded) = C::decode_from(len, scratch, fill);
            return Ok(decoded?);
        }
        self.recv_slow(until)
    }

    #[cold]
    #[inline(never)]
    fn recv_slow(&mut self, until: Until) -> Result<T, RecvError> {
        loop {
            match self.half.next(until)? {
                Next::Whole(head) => {
                    let Self { half, scratch, .. } = self;
                    let fill = |to: &mut [u8]| {
                        half.take(head, to);
                        Ok::<(), RecvError>(())
                    };
                    return Ok(C::decode_from(head.len, scratch, fill)??);
                }
                Next::Stream(total) => {
                    if let Some(bytes) = self.half.stream(total, until)? {
                        return Ok(C::decode(&bytes)?);
                    }
                }
            }
        }
    }

    /// Receives one value. Blocks until it has come.
    ///
    /// # Errors
    ///
    /// [`RecvError::Eof`], [`RecvError::Truncated`], [`RecvError::Decode`],
    /// [`RecvError::Closed`], [`RecvError::EndInUse`], [`RecvError::Engine`].
    #[inline]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(Until::NEVER)
    }

    /// Receives one value if it is there now. Never waits; what has come of a streamed
    /// one is taken in and kept.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; as [`recv`](Self::recv).
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(Until::Now)
    }

    /// Receives one value; the whole call takes at most `timeout`. What has come of a
    /// streamed value by then is kept for the next call.
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`]; as [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_until(Until::Deadline(Deadline::after(timeout)))
    }

    /// Receives one value; gives up at `deadline`.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvError> {
        self.recv_until(Until::Deadline(Deadline::at(deadline)))
    }

    /// The values still to come, until the end of file. Blocks for each.
    pub fn iter(&mut self) -> impl Iterator<Item = Result<T, RecvError>> + '_ {
        std::iter::from_fn(|| match self.recv() {
            Err(RecvError::Eof) => None,
            other => Some(other),
        })
    }
}

/// The length as a `usize`, if it is within the limit.
#[inline]
fn within(len: u64, limit: Option<usize>) -> Result<usize, RecvError> {
    let limit = limit.unwrap_or(usize::MAX);
    usize::try_from(len).ok().filter(|len| *len <= limit).ok_or(RecvError::TooLarge { len, limit })
}

impl<T, C> fmt::Debug for Sender<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("pipe", &self.half.end().label).finish_non_exhaustive()
    }
}

impl<T, C> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("pipe", &self.half.end.label).finish_non_exhaustive()
    }
}
