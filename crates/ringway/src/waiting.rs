//! Waiting for the first of several handles.

use ringway_core::wait::{Deadline, wait_any};
use std::time::Duration;

pub use ringway_core::wait::{WaitPolicy, Waitable};

/// Waits until some of `sources` are ready, for at most `timeout`; `None` waits for
/// ever. This is Python's `multiprocessing.connection.wait`.
///
/// Returns the indices of those that are ready, in order; none if the time ran out or if
/// there are no sources. Ready means that the next call on it would not block: a message
/// has come, or the other end is gone, or the call would fail. Consumes nothing. The
/// answer stays true until this process receives from the source.
///
/// ```
/// use ringway::pipe::{self, RecvError};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut quiet, _held) = pipe::simplex::<String>()?;
/// let (mut busy, mut sender) = pipe::simplex::<String>()?;
/// let (mut over, gone) = pipe::duplex::<u32>()?;
/// sender.send(&"hello".to_string())?;
/// drop(gone);
///
/// let ready = ringway::wait(&mut [&mut quiet, &mut busy, &mut over], None);
/// assert_eq!(ready, [1, 2]);
/// assert_eq!(busy.recv()?, "hello");
/// assert!(matches!(over.recv(), Err(RecvError::Eof)));
/// assert!(ringway::wait(&mut [&mut quiet], Some(Duration::ZERO)).is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # Blocking
///
/// Sleeps in the kernel on all of them at once, on up to 128 (Linux 5.16); with more, or
/// on older systems, it looks every millisecond.
///
/// # If a peer dies
///
/// Its other end becomes ready, within about a millisecond of the death.
pub fn wait(sources: &mut [&mut dyn Waitable], timeout: Option<Duration>) -> Vec<usize> {
    wait_any(sources, timeout.map_or(Deadline::NEVER, Deadline::after))
}
