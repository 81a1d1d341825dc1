//! One error type for each thing that can be tried.

use ringway_codec::{DecodeError, EncodeError};
use ringway_core::Error;
use std::io;

/// Why a message was not sent. In every case the pipe is as it was before: nothing of
/// the message reaches the receiver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room now. Only from the `try_` forms.
    #[error("the pipe is full")]
    Full,
    /// The deadline passed before there was room.
    #[error("timed out before the message could be sent")]
    Timeout,
    /// The message is longer than the ring. A blocking form streams it; a `try_` form
    /// cannot.
    #[error(
        "a message of {len} bytes can only be streamed, which waits; at most {limit} go at once"
    )]
    WouldStream {
        /// Its length in bytes.
        len: usize,
        /// The longest that a `try_` form can send.
        limit: usize,
    },
    /// The other end is closed, or its process died.
    #[error("broken pipe: nobody holds the other end")]
    BrokenPipe,
    /// This end is closed or was handed over.
    #[error("this end of the pipe is closed")]
    Closed,
    /// Another process uses this end.
    #[error("this end of the pipe is in use by {}", process(*.pid))]
    EndInUse {
        /// Its process id in its own namespace, if known. A hint.
        pid: Option<u32>,
    },
    /// `offset` and `size` reach outside the buffer.
    #[error("{size} bytes from offset {offset} are not inside a buffer of {len} bytes")]
    InvalidRange {
        /// Where the message begins in the buffer.
        offset: usize,
        /// Its length.
        size: usize,
        /// The buffer's length.
        len: usize,
    },
    /// The value has no encoding.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The segment is corrupted, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Why a batch was not sent to its end.
#[derive(Debug, thiserror::Error)]
#[error("after {sent} messages of the batch: {reason}")]
pub struct SendManyError {
    /// How many were sent: so many of the values, from the first on, reach the receiver;
    /// of the others nothing does.
    pub sent: usize,
    /// Why the next one was not.
    #[source]
    pub reason: SendError,
}

impl From<SendManyError> for io::Error {
    fn from(error: SendManyError) -> Self {
        let kind = error.reason.kind();
        Self::new(kind, error)
    }
}

/// A range that is not inside a granted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{size} bytes from offset {offset} are not inside a message of {len} bytes")]
pub struct RangeError {
    /// Where the range begins.
    pub offset: usize,
    /// Its length.
    pub size: usize,
    /// The length of the message.
    pub len: usize,
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing has come. Only from the `try_` forms.
    #[error("the pipe is empty")]
    Empty,
    /// The deadline passed before a whole message had come. What has come of it is
    /// kept for the next call.
    #[error("timed out before a message came")]
    Timeout,
    /// The other end is closed, or its process died, and all messages were received.
    #[error("end of file: nobody holds the other end")]
    Eof,
    /// A message was cut off: its sender closed or died in the middle. What had come of
    /// it is gone. The next call goes on behind it.
    #[error("a message was cut off because its sender went away")]
    Truncated,
    /// The message is longer than the caller allows. It stays where it is.
    #[error("the message has {len} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// What the caller allows.
        limit: usize,
    },
    /// The message was too long for its sender to write it in one piece: it comes as a
    /// stream and cannot be read in place. It stays where it is; [`recv`](crate::Receiver::recv)
    /// and its like put it together.
    #[error("a message of {len} bytes is streamed and never lies in the ring as a whole")]
    Streamed {
        /// Its length in bytes, as its sender says.
        len: u64,
    },
    /// `offset` lies outside the buffer.
    #[error("offset {offset} is outside a buffer of {len} bytes")]
    InvalidRange {
        /// Where the message was to be put.
        offset: usize,
        /// The buffer's length.
        len: usize,
    },
    /// This end is closed or was handed over.
    #[error("this end of the pipe is closed")]
    Closed,
    /// Another process uses this end.
    #[error("this end of the pipe is in use by {}", process(*.pid))]
    EndInUse {
        /// Its process id in its own namespace, if known. A hint.
        pid: Option<u32>,
    },
    /// The bytes are no encoding of the type. The message was consumed; the pipe stays
    /// usable.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The segment is corrupted, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Why an end could not be opened or handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The pipe is one-way, and this end goes the other way or is the other kind.
    #[error("wrong direction: this end {is}, and was opened as one that {wanted}")]
    WrongDirection {
        /// What it does.
        is: &'static str,
        /// What the caller wanted.
        wanted: &'static str,
    },
    /// Another process has this end open.
    #[error("this end of the pipe is in use by {}", process(*.pid))]
    EndInUse {
        /// Its process id in its own namespace, if known. A hint.
        pid: Option<u32>,
    },
    /// This end was opened before and is closed for good.
    #[error("this end of the pipe was opened and closed before")]
    Spent,
    /// A message is half sent or half received: finish it first.
    #[error("the end is in the middle of a message")]
    MidMessage,
    /// An end opened by name stays with the process that opened it.
    #[error("an end opened by name cannot be handed over; open the other end by name there")]
    NamedEnd,
    /// This end is closed or was handed over.
    #[error("this end of the pipe is closed")]
    Closed,
    /// The segment is not what it should be, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl SendError {
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Full => io::ErrorKind::WouldBlock,
            Self::Timeout => io::ErrorKind::TimedOut,
            Self::BrokenPipe => io::ErrorKind::BrokenPipe,
            Self::Closed => io::ErrorKind::NotConnected,
            Self::EndInUse { .. } => io::ErrorKind::ResourceBusy,
            Self::InvalidRange { .. } | Self::WouldStream { .. } => io::ErrorKind::InvalidInput,
            Self::Encode(_) => io::ErrorKind::InvalidData,
            Self::Engine(_) => io::ErrorKind::Other,
        }
    }
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<RecvError> for io::Error {
    fn from(error: RecvError) -> Self {
        let kind = match &error {
            RecvError::Empty => io::ErrorKind::WouldBlock,
            RecvError::Timeout => io::ErrorKind::TimedOut,
            RecvError::Eof | RecvError::Truncated => io::ErrorKind::UnexpectedEof,
            RecvError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            RecvError::Streamed { .. } => io::ErrorKind::Unsupported,
            RecvError::InvalidRange { .. } => io::ErrorKind::InvalidInput,
            RecvError::Closed => io::ErrorKind::NotConnected,
            RecvError::EndInUse { .. } => io::ErrorKind::ResourceBusy,
            RecvError::Decode(_) => io::ErrorKind::InvalidData,
            RecvError::Engine(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
