//! Many messages in one call.
//!
//! A batch is published by one store of the ring's position and wakes the other end at
//! most once, as long as the ring has room for it; where it is longer than that, once for
//! each quarter of the ring. Per message that leaves the copy and the encoding.

use crate::connection::Connection;
use crate::end::CLOSED;
use crate::error::{RecvError, SendError, SendManyError};
use crate::half::{Receiver, Sender, within};
use crate::recv::RecvHalf;
use crate::send::SendHalf;
use crate::until::Until;
use core::convert::Infallible;
use ringway_codec::{Codec, EncodeError};
use ringway_core::spsc::{Reading, Writing};
use ringway_core::wait::Deadline;
use std::time::{Duration, Instant};

/// Sends `items` in order. `add` encodes one and adds it to a batch, if there is room;
/// `alone` sends one on its own: waiting for room, or streamed. `codec` is what both need.
///
/// Two closures and not one that is told where to: then each is inlined. What `add` returns
/// must not go through memory. It would be read back in a piece larger than it was written,
/// which waits until all stores before it have left the processor: those to the ring,
/// whose lines come from another one.
#[inline]
fn send_all<I, X>(
    half: &mut SendHalf,
    codec: &mut X,
    items: &[I],
    add: impl Fn(&mut X, &I, &mut Writing<'_>) -> Result<bool, EncodeError>,
    alone: impl Fn(&mut X, &I, &mut SendHalf) -> Result<(), SendError>,
) -> Result<(), SendManyError> {
    let mut sent = 0;
    while sent < items.len() {
        if let Some(mut batch) = half.writing() {
            while let Some(item) = items.get(sent) {
                match add(codec, item, &mut batch) {
                    Ok(true) => sent += 1,
                    Ok(false) => break,
                    Err(error) => return Err(SendManyError { sent, reason: error.into() }),
                }
            }
        }
        // Here the batch is published.
        if let Some(item) = items.get(sent) {
            alone(codec, item, half).map_err(|reason| SendManyError { sent, reason })?;
            sent += 1;
        }
    }
    Ok(())
}

impl<T, C> Sender<T, C> {
    fn bytes_many(
        &mut self,
        messages: &[impl AsRef<[u8]>],
        until: Until,
    ) -> Result<(), SendManyError> {
        let add = |(): &mut (), message: &_, batch: &mut Writing<'_>| {
            Ok(batch.push(AsRef::<[u8]>::as_ref(message)))
        };
        send_all(&mut self.half, &mut (), messages, add, |(), message, half| {
            half.send_alone(message.as_ref(), until)
        })
    }

    /// Sends `messages` as they are, in order, as [`send_many`](Self::send_many) does.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_bytes_many(&mut self, messages: &[impl AsRef<[u8]>]) -> Result<(), SendManyError> {
        self.bytes_many(messages, Until::NEVER)
    }

    /// Sends as many of `messages` as there is room for now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_send_many`](Self::try_send_many).
    pub fn try_send_bytes_many(
        &mut self,
        messages: &[impl AsRef<[u8]>],
    ) -> Result<(), SendManyError> {
        self.bytes_many(messages, Until::Now)
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    pub(crate) fn send_many_until(
        &mut self,
        values: &[T],
        until: Until,
    ) -> Result<(), SendManyError> {
        let Self { half, scratch, .. } = self;
        let add = |scratch: &mut Vec<u8>, value: &T, batch: &mut Writing<'_>| {
            C::encode(value, scratch, |bytes| batch.push(bytes))
        };
        send_all(half, scratch, values, add, |scratch, value, half| {
            C::encode(value, scratch, |bytes| half.send_alone(bytes, until))?
        })
    }

    /// Sends `values` in order, as so many calls of [`send`](Self::send) would, but
    /// publishes them together: the receiver finds them all at once and is woken at most
    /// once. A batch that the ring has no room for passes in parts.
    ///
    /// # Blocking
    ///
    /// Until there is room for all.
    ///
    /// # If the caller dies
    ///
    /// The receiver gets a prefix of the batch, each message of it whole.
    ///
    /// # Errors
    ///
    /// [`SendManyError`] says how many were sent: those reach the receiver, the others
    /// do not. Its reason is one of [`send`](Self::send)'s.
    pub fn send_many(&mut self, values: &[T]) -> Result<(), SendManyError> {
        self.send_many_until(values, Until::NEVER)
    }

    /// Sends as many of `values` as there is room for now, in order. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendManyError`], with [`SendError::Full`] or [`SendError::WouldStream`] as reason
    /// where not all were sent; as [`send_many`](Self::send_many).
    pub fn try_send_many(&mut self, values: &[T]) -> Result<(), SendManyError> {
        self.send_many_until(values, Until::Now)
    }

    /// As [`send_many`](Self::send_many); the whole call takes at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendManyError`], with [`SendError::Timeout`] as reason; as there.
    pub fn send_many_timeout(
        &mut self,
        values: &[T],
        timeout: Duration,
    ) -> Result<(), SendManyError> {
        self.send_many_until(values, Until::Deadline(Deadline::after(timeout)))
    }

    /// As [`send_many`](Self::send_many); gives up at `deadline`.
    ///
    /// # Errors
    ///
    /// As [`send_many_timeout`](Self::send_many_timeout).
    pub fn send_many_deadline(
        &mut self,
        values: &[T],
        deadline: Instant,
    ) -> Result<(), SendManyError> {
        self.send_many_until(values, Until::Deadline(Deadline::at(deadline)))
    }
}

impl<T, C> Receiver<T, C> {
    fn bytes_many_until(
        &mut self,
        into: &mut Vec<Vec<u8>>,
        max: usize,
        limit: Option<usize>,
        until: Until,
    ) -> Result<usize, RecvError> {
        let got = self.take_bytes_batch(into, max, limit);
        if got > 0 || max == 0 {
            return Ok(got);
        }
        into.push(self.bytes_until(limit, until)?);
        Ok(1 + self.take_bytes_batch(into, max - 1, limit))
    }

    /// Takes what is there within the limit, up to `max`.
    fn take_bytes_batch(
        &mut self,
        into: &mut Vec<Vec<u8>>,
        max: usize,
        limit: Option<usize>,
    ) -> usize {
        let Some(mut batch) = self.half.reading() else { return 0 };
        let mut got = 0;
        while got < max
            && let Some(len) = batch.whole()
            && within(len as u64, limit).is_ok()
        {
            let mut bytes = vec![0; len];
            batch.take(&mut bytes);
            into.push(bytes);
            got += 1;
        }
        got
    }

    /// Receives up to `max` messages as bytes, each of at most `limit` bytes if one is
    /// given, as [`recv_many`](Self::recv_many) does.
    ///
    /// # Errors
    ///
    /// [`RecvError::TooLarge`] if the first message is longer: it stays; as there. A
    /// longer one behind the first ends the batch.
    pub fn recv_bytes_many(
        &mut self,
        into: &mut Vec<Vec<u8>>,
        max: usize,
        limit: Option<usize>,
    ) -> Result<usize, RecvError> {
        self.bytes_many_until(into, max, limit, Until::NEVER)
    }

    /// Receives up to `max` messages as bytes if any is there now. Never waits.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; as [`recv_bytes_many`](Self::recv_bytes_many).
    pub fn try_recv_bytes_many(
        &mut self,
        into: &mut Vec<Vec<u8>>,
        max: usize,
        limit: Option<usize>,
    ) -> Result<usize, RecvError> {
        self.bytes_many_until(into, max, limit, Until::Now)
    }
}

/// Takes what is there and needs no decoding, up to `max`: says how many. By value, and with nothing
/// but a loop in it: then what a batch keeps is kept in registers.
#[inline]
fn take_in_place<'a, T, C: Codec<T>>(
    mut batch: Reading<'a>,
    into: &mut Vec<T>,
    max: usize,
) -> (Reading<'a>, usize) {
    let mut got = 0;
    while got < max
        && let Some(value) = C::decode_in_place(|to| batch.take_exact(to))
    {
        into.push(value);
        got += 1;
    }
    (batch, got)
}

impl<T, C: Codec<T>> Receiver<T, C> {
    pub(crate) fn recv_many_until(
        &mut self,
        into: &mut Vec<T>,
        max: usize,
        until: Until,
    ) -> Result<usize, RecvError> {
        let got = self.take_batch(into, max)?;
        if got > 0 || max == 0 {
            return Ok(got);
        }
        into.push(self.recv_until(until)?);
        Ok(1 + self.take_batch(into, max - 1)?)
    }

    /// Takes what is there, up to `max`.
    fn take_batch(&mut self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        let Self { half, scratch, .. } = self;
        let Some(batch) = half.reading() else { return Ok(0) };
        // A type that is decoded at no cost: the short way first.
        let (mut batch, mut got) = take_in_place::<T, C>(batch, into, max);
        while got < max {
            let Some(len) = batch.whole() else { break };
            let fill = |to: &mut [u8]| {
                batch.take(to);
                Ok::<(), Infallible>(())
            };
            let Ok(decoded) = C::decode_from(len, scratch, fill);
            into.push(decoded?);
            // It had come just now, or was of another length.
            let more;
            (batch, more) = take_in_place::<T, C>(batch, into, max - got - 1);
            got += 1 + more;
        }
        Ok(got)
    }

    /// Receives up to `max` values: waits for the first, then takes those that are
    /// there, and appends them to `into` in order. Returns how many, at least 1 unless
    /// `max` is 0. What they took of the ring is given back together, but for one that had to be
    /// waited for, and at each quarter of the ring.
    ///
    /// A streamed message is received only as the first of a batch; so are the errors
    /// that stand where a message should be.
    ///
    /// # Blocking
    ///
    /// Until the first has come.
    ///
    /// # If the caller dies
    ///
    /// Before they are given back, a successor on this end receives them again; after
    /// that they are gone with the caller: at most a batch.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). On [`RecvError::Decode`] the values before that message
    /// are in `into`, the message was consumed, and those behind it are still to come. On
    /// any other error nothing was received.
    pub fn recv_many(&mut self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        self.recv_many_until(into, max, Until::NEVER)
    }

    /// Receives up to `max` values if any is there now. Never waits.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]; as [`recv_many`](Self::recv_many).
    pub fn try_recv_many(&mut self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        self.recv_many_until(into, max, Until::Now)
    }

    /// As [`recv_many`](Self::recv_many), waiting at most `timeout` for the first.
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`]; as there.
    pub fn recv_many_timeout(
        &mut self,
        into: &mut Vec<T>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, RecvError> {
        self.recv_many_until(into, max, Until::Deadline(Deadline::after(timeout)))
    }

    /// As [`recv_many`](Self::recv_many), waiting for the first until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`recv_many_timeout`](Self::recv_many_timeout).
    pub fn recv_many_deadline(
        &mut self,
        into: &mut Vec<T>,
        max: usize,
        deadline: Instant,
    ) -> Result<usize, RecvError> {
        self.recv_many_until(into, max, Until::Deadline(Deadline::at(deadline)))
    }
}

impl SendHalf {
    /// A batch, if this process has the end and there is no news of the other one. Else
    /// a single message looks into it first.
    fn writing(&mut self) -> Option<Writing<'_>> {
        self.ready_producer().map(|producer| producer.writing())
    }
}

impl RecvHalf {
    /// A batch, if this process has the end and no streamed message is half received.
    fn reading(&mut self) -> Option<Reading<'_>> {
        if self.end.state() & CLOSED != 0 {
            return None;
        }
        self.ready_consumer().map(|consumer| consumer.reading())
    }
}

impl<S, R, C> Connection<S, R, C> {
    /// See [`Sender::send_bytes_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_bytes_many(&mut self, messages: &[impl AsRef<[u8]>]) -> Result<(), SendManyError> {
        self.sender.send_bytes_many(messages)
    }

    /// See [`Sender::try_send_bytes_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send_bytes_many(
        &mut self,
        messages: &[impl AsRef<[u8]>],
    ) -> Result<(), SendManyError> {
        self.sender.try_send_bytes_many(messages)
    }
}
