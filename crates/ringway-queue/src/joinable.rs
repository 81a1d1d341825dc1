//! Queues whose items are tasks.

use crate::Queue;
use crate::error::{JoinError, TaskDoneError, unusable};
use crate::inner::Inner;
use crate::until::Until;
use core::fmt;
use core::ops::Deref;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::AcqRel;
use ringway_codec::Postcard;
use ringway_core::mpmc::TaskError;
use ringway_core::wait::Deadline;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A [`Queue`] that knows which of its items are not done.
///
/// Each item put is one more unfinished task; whoever takes it calls
/// [`task_done`](Self::task_done) when done with it; [`join`](Self::join) waits until
/// none is left. All else is as for [`Queue`], to which it dereferences.
///
/// Each process answers for what it took: it can call `task_done` once for each item
/// that it has taken, from any thread and handle.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = ringway_queue::Builder::new().joinable::<u32, ringway_queue::Postcard>()?;
/// queue.put(7)?;
/// assert_eq!(queue.unfinished(), 1);
/// assert_eq!(queue.get()?, 7);
/// queue.task_done()?;
/// queue.join()?;
/// # Ok(())
/// # }
/// ```
///
/// # If a process dies
///
/// Tasks that it had taken and not done are lost, and so they are if it detaches (drops
/// its last handle) or exits: they no longer count, and `join` says exactly how many there
/// were. What it had only been about to take, at whatever instruction, goes to others and is
/// not lost.
pub struct JoinableQueue<T, C = Postcard> {
    queue: Queue<T, C>,
    /// Lost tasks that this handle and its clones were told of.
    told: Arc<AtomicU64>,
}

impl<T, C> JoinableQueue<T, C> {
    pub(crate) fn new(inner: Inner) -> Self {
        let told = Arc::new(AtomicU64::new(inner.ring.lost_tasks()));
        Self { queue: Queue::new(inner), told }
    }

    /// Tasks put and not done. Never too low; one too high for each process that is just
    /// about to take one, or whose feeder just moves one to the ring. May be wrong as soon
    /// as it returns.
    pub fn unfinished(&self) -> u64 {
        self.inner.ring.unfinished()
    }

    /// One of the items that this process has taken is done.
    ///
    /// # Errors
    ///
    /// [`TaskDoneError::TooMany`]; [`TaskDoneError::Poisoned`],
    /// [`TaskDoneError::Engine`].
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        self.inner.ring.task_done().map_err(|error| match error {
            TaskError::NoneTaken => TaskDoneError::TooMany,
            TaskError::Unusable(error) => unusable(error, self.inner.ring.label()).into(),
            other => {
                let label = self.inner.ring.label();
                let source = std::io::Error::other(other);
                TaskDoneError::Engine(ringway_core::Error::os("count tasks of", label, source))
            }
        })
    }

    fn join_until(&self, until: Until) -> Result<(), JoinError> {
        let ring = &self.inner.ring;
        let deadline = match until {
            Until::Now => Deadline::after(Duration::ZERO),
            Until::Deadline(deadline) => deadline,
        };
        let all = ring.wait_for_tasks(deadline).map_err(|e| unusable(e, ring.label()))?;
        if !all {
            return Err(JoinError::Timeout);
        }
        let lost = ring.lost_tasks();
        // ORDERING tasks-told (acq-rel): each loss is told to one of the clones.
        let told = self.told.swap(lost, AcqRel);
        match lost.saturating_sub(told) {
            0 => Ok(()),
            lost => Err(JoinError::PeerDied { lost }),
        }
    }

    /// Waits until all tasks are done.
    ///
    /// # Blocking
    ///
    /// While any is not. A death is noticed within half a second.
    ///
    /// # Errors
    ///
    /// [`JoinError::PeerDied`] if tasks were lost since the last such answer; none is
    /// unfinished then. [`JoinError::Poisoned`], [`JoinError::Engine`].
    pub fn join(&self) -> Result<(), JoinError> {
        self.join_until(Until::NEVER)
    }

    /// As [`join`](Self::join), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`JoinError::Timeout`]; as [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.join_until(Until::after(timeout))
    }

    /// As [`join`](Self::join); gives up at `deadline`.
    ///
    /// # Errors
    ///
    /// As [`join_timeout`](Self::join_timeout).
    pub fn join_deadline(&self, deadline: Instant) -> Result<(), JoinError> {
        self.join_until(Until::at(deadline))
    }

    pub(crate) fn as_queue_mut(&mut self) -> &mut Queue<T, C> {
        &mut self.queue
    }
}

impl<T, C> Deref for JoinableQueue<T, C> {
    type Target = Queue<T, C>;
    fn deref(&self) -> &Queue<T, C> {
        &self.queue
    }
}

// Not through `Deref`: a clone must remain joinable.
impl<T, C> Clone for JoinableQueue<T, C> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), told: Arc::clone(&self.told) }
    }
}

impl<T, C> fmt::Debug for JoinableQueue<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinableQueue").field(&self.queue).finish()
    }
}
