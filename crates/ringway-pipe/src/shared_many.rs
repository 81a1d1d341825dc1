//! Batches on ends that several threads share.
//!
//! The turn is taken once for a batch. So the batch of one thread stays together: no
//! message of another comes between its messages, and none of them goes to another.

use crate::Sender;
use crate::error::{RecvError, SendManyError};
use crate::shared::{SharedConnection, SharedReceiver, SharedSender};
use crate::until::Until;
use ringway_codec::Codec;
use ringway_core::wait::Deadline;
use std::time::Duration;

impl<T, C> SharedSender<T, C> {
    /// Runs `body`, which sends a batch, when it is this thread's turn. Until then nothing
    /// was sent.
    fn batch(
        &self,
        until: Until,
        body: impl FnOnce(&mut Sender<T, C>) -> Result<(), SendManyError>,
    ) -> Result<(), SendManyError> {
        let mut sent = Ok(());
        let turn = self.turn(until, |sender| {
            sent = body(sender);
            Ok(())
        });
        turn.map_err(|reason| SendManyError { sent: 0, reason })?;
        sent
    }

    /// See [`Sender::send_bytes_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_bytes_many(&self, messages: &[impl AsRef<[u8]>]) -> Result<(), SendManyError> {
        self.batch(Until::NEVER, |sender| sender.send_bytes_many(messages))
    }
}

impl<T, C: Codec<T>> SharedSender<T, C> {
    /// See [`Sender::send_many`]. No message of another thread comes between.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_many(&self, values: &[T]) -> Result<(), SendManyError> {
        self.batch(Until::NEVER, |sender| sender.send_many(values))
    }

    /// See [`Sender::try_send_many`]. Another thread's message in progress counts as full.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send_many(&self, values: &[T]) -> Result<(), SendManyError> {
        self.batch(Until::Now, |sender| sender.try_send_many(values))
    }

    /// See [`Sender::send_many_timeout`]. Waiting for one's turn counts.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_many_timeout(&self, values: &[T], timeout: Duration) -> Result<(), SendManyError> {
        let until = Until::Deadline(Deadline::after(timeout));
        self.batch(until, |sender| sender.send_many_until(values, until))
    }
}

impl<T, C> SharedReceiver<T, C> {
    /// See [`Receiver::recv_bytes_many`](crate::Receiver::recv_bytes_many).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_bytes_many(
        &self,
        into: &mut Vec<Vec<u8>>,
        max: usize,
        limit: Option<usize>,
    ) -> Result<usize, RecvError> {
        self.turn(Until::NEVER, |receiver| receiver.recv_bytes_many(into, max, limit))
    }
}

impl<T, C: Codec<T>> SharedReceiver<T, C> {
    /// See [`Receiver::recv_many`](crate::Receiver::recv_many). The messages follow each other: none between them went
    /// to another thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        self.turn(Until::NEVER, |receiver| receiver.recv_many(into, max))
    }

    /// See [`Receiver::try_recv_many`](crate::Receiver::try_recv_many). Another thread that waits for a message counts as
    /// empty.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        self.turn(Until::Now, |receiver| receiver.try_recv_many(into, max))
    }

    /// See [`Receiver::recv_many_timeout`](crate::Receiver::recv_many_timeout). Waiting for one's turn counts.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_many_timeout(
        &self,
        into: &mut Vec<T>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, RecvError> {
        let until = Until::Deadline(Deadline::after(timeout));
        self.turn(until, |receiver| receiver.recv_many_until(into, max, until))
    }
}

impl<S, R, C: Codec<S> + Codec<R>> SharedConnection<S, R, C> {
    /// See [`SharedSender::send_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_many(&self, values: &[S]) -> Result<(), SendManyError> {
        self.sender().send_many(values)
    }

    /// See [`SharedReceiver::recv_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_many(&self, into: &mut Vec<R>, max: usize) -> Result<usize, RecvError> {
        self.receiver().recv_many(into, max)
    }
}
