//! One error type for each thing that can be tried.

use core::fmt;
use ringway_codec::{DecodeError, EncodeError};
use ringway_core::Error;
use ringway_core::mpmc;
use std::io;

/// Why a value was not put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutReason {
    /// There is no room, or was none before the deadline.
    #[error("the queue is full")]
    Full,
    /// Others were quicker, many times over. Only from `try_put`; nothing is wrong.
    #[error("too many others use the queue at this moment")]
    Contended,
    /// This handle was closed.
    #[error("the queue is closed here")]
    Closed,
    /// Somebody shut the queue down, for all.
    #[error("the queue was shut down")]
    ShutDown,
    /// There is a place, and the memory for items longer than a slot is used up, or was
    /// until the deadline.
    #[error("the queue's memory for long items is used up")]
    NoMemory,
    /// The encoding is longer than all the queue's memory for long items: it can only be
    /// streamed to a getter, which takes as long as that does. Only from `try_put`.
    #[error("the item is longer than the queue's memory, and streaming it would wait")]
    WouldStream,
    /// The encoding is longer than the limit the queue was made with; or than all its memory
    /// for long items, for a grant, or where it has none.
    #[error("the message of {len} bytes is longer than the limit of {limit}")]
    TooLarge {
        /// Bytes of the encoding.
        len: usize,
        /// The most that this queue takes.
        limit: usize,
    },
    /// The value has no encoding.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// This process found the segment corrupted before and does not use it any more.
    #[error("the queue was found corrupted before")]
    Poisoned,
    /// The segment is corrupted, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// A value that was not put, and why. The queue is as it was before.
#[non_exhaustive]
pub struct PutError<T> {
    /// Why it was not put.
    pub reason: PutReason,
    /// What was to be put.
    pub value: T,
}

/// What was not put of a batch, and why.
#[non_exhaustive]
pub struct PutManyError<T> {
    /// Why the first of the rest was not put.
    pub reason: PutReason,
    /// How many were put, from the first on.
    pub put: usize,
    /// What was not put, in order.
    pub rest: Vec<T>,
}

impl<T> fmt::Debug for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, put, rest } = self;
        let rest = rest.len();
        f.debug_struct("PutManyError")
            .field("reason", reason)
            .field("put", put)
            .field("rest", &rest)
            .finish()
    }
}

impl<T> fmt::Display for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (put, all) = (self.put, self.put + self.rest.len());
        write!(f, "{put} of {all} items were put; then: {}", self.reason)
    }
}

impl<T> std::error::Error for PutManyError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl<T> PutError<T> {
    pub(crate) fn new(reason: PutReason, value: T) -> Self {
        Self { reason, value }
    }

    /// The value that was not put.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Whether there was no room; trying again later may help.
    pub fn is_full(&self) -> bool {
        matches!(self.reason, PutReason::Full)
    }
}

// By hand: errors can be shown whatever the value is.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> std::error::Error for PutError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is nothing, or was nothing before the deadline.
    #[error("the queue is empty")]
    Empty,
    /// Others were quicker, many times over. Only from `try_get`; nothing is wrong.
    #[error("too many others use the queue at this moment")]
    Contended,
    /// This handle was closed.
    #[error("the queue is closed here")]
    Closed,
    /// Somebody shut the queue down, and nothing is left in it.
    #[error("the queue was shut down")]
    ShutDown,
    /// The item is longer than the limit the queue was made with: whoever put it does not
    /// keep to it. It was consumed, and no memory was allocated for it.
    #[error("the item of {len} bytes is longer than the limit of {limit}")]
    TooLarge {
        /// Bytes of the item.
        len: usize,
        /// The most that may be put.
        limit: usize,
    },
    /// The next item is longer than the queue's memory and was not copied as a whole: it
    /// cannot be lent. It stays for a call that copies. Only from `get_ref` and its kin.
    #[error("the item of {len} bytes is longer than the queue's memory: it can only be copied")]
    Streamed {
        /// Bytes of the item.
        len: usize,
    },
    /// The bytes are no encoding of the type. The item was consumed; the queue stays
    /// usable.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// This process found the segment corrupted before and does not use it any more.
    #[error("the queue was found corrupted before")]
    Poisoned,
    /// The segment is corrupted, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Why a queue could not be opened or handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The builder was given no name to open.
    #[error("a queue is opened by name, and none was given")]
    NoName,
    /// The handle that was to be handed over is closed.
    #[error("the queue is closed here")]
    Closed,
    /// The segment is not what it should be, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Why `join_thread` did not see everything published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinThreadError {
    /// The handle must be closed first.
    #[error("close the queue before joining its thread")]
    NotClosed,
    /// So many accepted items of this process, since it began to use the queue, could
    /// not be published: nobody was left to take them, the queue was shut down at
    /// once, or its memory was corrupted.
    #[error("{items} accepted items could not be published and are lost")]
    Lost {
        /// How many.
        items: usize,
    },
}

/// Why a task could not be marked done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// This process has called it once for each item it has taken already.
    #[error("task_done called too many times: this process has no task that is not done")]
    TooMany,
    /// This process found the segment corrupted before and does not use it any more.
    #[error("the queue was found corrupted before")]
    Poisoned,
    /// The segment is corrupted, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Why `join` did not see all tasks done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Processes died or left with tasks that they had taken and not done. All others
    /// are done. Told once to each handle and its clones.
    #[error("{lost} tasks were lost with processes that died or left before they were done")]
    PeerDied {
        /// How many tasks.
        lost: u64,
    },
    /// The deadline passed; tasks are not done.
    #[error("timed out before all tasks were done")]
    Timeout,
    /// This process found the segment corrupted before and does not use it any more.
    #[error("the queue was found corrupted before")]
    Poisoned,
    /// The segment is corrupted, or the system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Why a queue could not be shut down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutDownError {
    /// This process found the segment corrupted before and does not use it any more.
    #[error("the queue was found corrupted before")]
    Poisoned,
    /// The system refused something.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// What is left of a put's error where there is no message.
pub(crate) enum Unusable {
    Poisoned,
    Engine(Error),
}

pub(crate) fn unusable(error: mpmc::PutError, label: &str) -> Unusable {
    match error {
        mpmc::PutError::Poisoned => Unusable::Poisoned,
        mpmc::PutError::Attach(error) => Unusable::Engine(error),
        mpmc::PutError::Corrupted(what) => Unusable::Engine(Error::corrupted(label, what)),
        other => Unusable::Engine(Error::os("use", label, io::Error::other(other))),
    }
}

macro_rules! from_unusable {
    ($($error:ident),*) => {
        $(impl From<Unusable> for $error {
            fn from(why: Unusable) -> Self {
                match why {
                    Unusable::Poisoned => Self::Poisoned,
                    Unusable::Engine(error) => Self::Engine(error),
                }
            }
        })*
    };
}

from_unusable!(PutReason, GetError, TaskDoneError, JoinError, ShutDownError);

/// What the ring's answer to a put means to the caller.
#[cold]
pub(crate) fn put_reason(error: mpmc::PutError, label: &str) -> PutReason {
    match error {
        mpmc::PutError::Full => PutReason::Full,
        mpmc::PutError::NoMemory => PutReason::NoMemory,
        mpmc::PutError::Contended => PutReason::Contended,
        mpmc::PutError::WouldStream => PutReason::WouldStream,
        mpmc::PutError::ShutDown => PutReason::ShutDown,
        mpmc::PutError::TooLong { len, limit } => PutReason::TooLarge { len, limit },
        other => unusable(other, label).into(),
    }
}

/// What the ring's answer to a get means to the caller.
#[cold]
pub(crate) fn get_error(error: mpmc::GetError, label: &str) -> GetError {
    match error {
        mpmc::GetError::Empty => GetError::Empty,
        mpmc::GetError::Contended => GetError::Contended,
        mpmc::GetError::ShutDown => GetError::ShutDown,
        mpmc::GetError::Poisoned => GetError::Poisoned,
        mpmc::GetError::Attach(error) => GetError::Engine(error),
        mpmc::GetError::Streamed { len } => GetError::Streamed { len },
        mpmc::GetError::Corrupted(what) => GetError::Engine(Error::corrupted(label, what)),
        error @ mpmc::GetError::NoMemory { .. } => {
            let source = io::Error::new(io::ErrorKind::OutOfMemory, error);
            GetError::Engine(Error::os("receive an item of", label, source))
        }
        other => GetError::Engine(Error::os("use", label, io::Error::other(other))),
    }
}

impl<T> From<PutError<T>> for io::Error
where
    T: Send + Sync + 'static,
{
    fn from(error: PutError<T>) -> Self {
        let kind = match &error.reason {
            PutReason::Full | PutReason::Contended => io::ErrorKind::WouldBlock,
            PutReason::NoMemory | PutReason::WouldStream => io::ErrorKind::WouldBlock,
            PutReason::Closed => io::ErrorKind::NotConnected,
            PutReason::ShutDown => io::ErrorKind::BrokenPipe,
            PutReason::TooLarge { .. } => io::ErrorKind::InvalidInput,
            PutReason::Encode(_) => io::ErrorKind::InvalidData,
            PutReason::Poisoned | PutReason::Engine(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<GetError> for io::Error {
    fn from(error: GetError) -> Self {
        let kind = match &error {
            GetError::Empty | GetError::Contended => io::ErrorKind::WouldBlock,
            GetError::Closed => io::ErrorKind::NotConnected,
            GetError::Streamed { .. } => io::ErrorKind::InvalidInput,
            GetError::ShutDown => io::ErrorKind::UnexpectedEof,
            GetError::Decode(_) | GetError::TooLarge { .. } => io::ErrorKind::InvalidData,
            GetError::Poisoned | GetError::Engine(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
