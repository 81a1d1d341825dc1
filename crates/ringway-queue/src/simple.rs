//! The queue with the fewest features.

use crate::Queue;
use crate::error::{GetError, PutError};
use crate::inner::Inner;
use core::fmt;
use ringway_codec::{Codec, Postcard};

/// A queue of put, get, `is_empty` and close, without threads, time-outs and tasks.
///
/// It holds as many items as it has slots
/// ([`Builder::ring_len`](crate::Builder::ring_len)); beyond that, a put waits, as it
/// does in Python when the pipe underneath is full. Order, deaths and memory ordering
/// are as for [`Queue`].
pub struct SimpleQueue<T, C = Postcard> {
    pub(crate) queue: Queue<T, C>,
}

impl<T, C> SimpleQueue<T, C> {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { queue: Queue::new(inner) }
    }

    /// Whether there is no item. May be wrong as soon as it returns.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// As [`Queue::close`].
    pub fn close(&self) {
        self.queue.close();
    }
}

impl<T, C: Codec<T>> SimpleQueue<T, C> {
    /// Puts one item, waiting for room.
    ///
    /// # Errors
    ///
    /// As [`Queue::put`].
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.queue.put(value)
    }

    /// Takes one item, waiting for it.
    ///
    /// # Errors
    ///
    /// As [`Queue::get`].
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.queue.get()
    }
}

impl<T, C> Clone for SimpleQueue<T, C> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T, C> fmt::Debug for SimpleQueue<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimpleQueue").field(&self.queue).finish()
    }
}
