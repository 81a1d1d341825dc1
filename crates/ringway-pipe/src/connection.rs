//! The ends of a two-way pipe.

use crate::end::BOTH;
use crate::error::{RecvError, SendError, SendManyError};
use crate::grant::{ReadGrant, WriteGrant};
use crate::{Receiver, Sender};
use core::fmt;
use ringway_codec::{Codec, Postcard};
use ringway_core::wait::WaitPolicy;
use std::time::{Duration, Instant};

/// One end of a two-way pipe: sends values of type `S`, receives values of type `R`.
///
/// The two directions are independent rings. What [`Sender`] and [`Receiver`] say of
/// blocking, errors and death holds for each.
pub struct Connection<S, R = S, C = Postcard> {
    pub(crate) sender: Sender<S, C>,
    pub(crate) receiver: Receiver<R, C>,
}

impl<S, R, C> Connection<S, R, C> {
    pub(crate) fn new(sender: Sender<S, C>, receiver: Receiver<R, C>) -> Self {
        Self { sender, receiver }
    }

    /// The two directions as handles of their own, for two threads. The end closes when
    /// both are dropped, or when one is closed.
    pub fn split(self) -> (Sender<S, C>, Receiver<R, C>) {
        (self.sender, self.receiver)
    }

    /// Closes this process's hold of the end, as dropping it does. Idempotent.
    pub fn close(&self) {
        self.sender.half.end().close(BOTH);
    }

    /// What a blocked call does before it sleeps.
    pub fn policy(&self) -> WaitPolicy {
        self.sender.policy()
    }
}

/// Forwards methods to one of the two directions, with a pointer to their docs.
macro_rules! forward {
    ($field:ident, $kind:literal: $($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        #[doc = concat!("See [`", $kind, "::", stringify!($name), "`].")]
        ///
        /// # Errors
        ///
        /// As there.
        #[inline]
        pub fn $name(&mut self, $($arg: $type),*) -> $result {
            self.$field.$name($($arg),*)
        }
    )*};
}

impl<S, R, C> Connection<S, R, C> {
    forward! { sender, "Sender":
        send_bytes(message: &[u8]) -> Result<(), SendError>;
        send_bytes_range(buffer: &[u8], offset: usize, size: Option<usize>) -> Result<(), SendError>;
        try_send_bytes(message: &[u8]) -> Result<(), SendError>;
        send_bytes_timeout(message: &[u8], timeout: Duration) -> Result<(), SendError>;
        reserve(len: usize) -> Result<WriteGrant<'_>, SendError>;
        try_reserve(len: usize) -> Result<WriteGrant<'_>, SendError>;
        reserve_timeout(len: usize, timeout: Duration) -> Result<WriteGrant<'_>, SendError>;
    }
    forward! { receiver, "Receiver":
        poll(timeout: Duration) -> Result<bool, RecvError>;
        recv_bytes(limit: Option<usize>) -> Result<Vec<u8>, RecvError>;
        try_recv_bytes(limit: Option<usize>) -> Result<Vec<u8>, RecvError>;
        recv_bytes_timeout(limit: Option<usize>, timeout: Duration) -> Result<Vec<u8>, RecvError>;
        recv_bytes_into(buffer: &mut [u8]) -> Result<usize, RecvError>;
        recv_bytes_into_at(buffer: &mut [u8], offset: usize) -> Result<usize, RecvError>;
        try_recv_bytes_into(buffer: &mut [u8]) -> Result<usize, RecvError>;
        recv_bytes_many(into: &mut Vec<Vec<u8>>, max: usize, limit: Option<usize>) -> Result<usize, RecvError>;
        try_recv_bytes_many(into: &mut Vec<Vec<u8>>, max: usize, limit: Option<usize>) -> Result<usize, RecvError>;
        recv_ref() -> Result<ReadGrant<'_>, RecvError>;
        try_recv_ref() -> Result<ReadGrant<'_>, RecvError>;
        recv_ref_timeout(timeout: Duration) -> Result<ReadGrant<'_>, RecvError>;
    }
}

impl<S, R, C: Codec<S>> Connection<S, R, C> {
    forward! { sender, "Sender":
        send(value: &S) -> Result<(), SendError>;
        try_send(value: &S) -> Result<(), SendError>;
        send_timeout(value: &S, timeout: Duration) -> Result<(), SendError>;
        send_deadline(value: &S, deadline: Instant) -> Result<(), SendError>;
        send_many(values: &[S]) -> Result<(), SendManyError>;
        try_send_many(values: &[S]) -> Result<(), SendManyError>;
        send_many_timeout(values: &[S], timeout: Duration) -> Result<(), SendManyError>;
        send_many_deadline(values: &[S], deadline: Instant) -> Result<(), SendManyError>;
    }
}

impl<S, R, C: Codec<R>> Connection<S, R, C> {
    forward! { receiver, "Receiver":
        recv() -> Result<R, RecvError>;
        try_recv() -> Result<R, RecvError>;
        recv_timeout(timeout: Duration) -> Result<R, RecvError>;
        recv_deadline(deadline: Instant) -> Result<R, RecvError>;
        recv_many(into: &mut Vec<R>, max: usize) -> Result<usize, RecvError>;
        try_recv_many(into: &mut Vec<R>, max: usize) -> Result<usize, RecvError>;
        recv_many_timeout(into: &mut Vec<R>, max: usize, timeout: Duration) -> Result<usize, RecvError>;
        recv_many_deadline(into: &mut Vec<R>, max: usize, deadline: Instant) -> Result<usize, RecvError>;
    }
}

impl<S, R, C> fmt::Debug for Connection<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.sender.half.end().label;
        f.debug_struct("Connection").field("pipe", label).finish_non_exhaustive()
    }
}
