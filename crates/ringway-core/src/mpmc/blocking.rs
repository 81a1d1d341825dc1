//! Puts and gets that may wait.
//!
//! ```text
//! try → spin on a cheap look → announce the sleep → try again → sleep → …
//! ```
//!
//! The try after the announcement is the sleeper's half of the handshake in
//! [`Event`]: it reads the position that the waker's claim changed by a SeqCst RMW
//! before it looked for sleepers. A claim without its commit shows as Pending: the
//! commit is a plain store, not ordered before the look for sleepers, so a sleeper
//! that meets Pending only naps, and looks again.

use super::attachment::Attachment;
use super::shared::SharedRing;
use super::streaming::Incoming;
use super::{Announcement, ReadGrant, TryGet, TryPut, grants};
use crate::error::Error;
use crate::wait::{Deadline, Event, Spinner, WaitPolicy, Woken};
use std::sync::Arc;
use std::time::Duration;

/// How often a try that others got in the way of is repeated.
const RETRIES: u32 = 16;
/// The first nap of one who met a pending claim; each next one is twice as long.
const FIRST_NAP: Duration = Duration::from_micros(50);
const LONGEST_NAP: Duration = Duration::from_millis(5);
/// How long others sleep at a time: until one of them must take over the looking.
const LONG_TICK: Duration = Duration::from_secs(2);

/// Why a put did not put. Nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// There is no room, and was none before the deadline.
    #[error("the queue is full")]
    Full,
    /// Others were quicker, many times over.
    #[error("too many others use the queue at this moment")]
    Contended,
    /// A signal handler ran during the wait. Call again to go on waiting.
    #[error("the wait was interrupted by a signal")]
    Interrupted,
    /// Somebody shut the queue down.
    #[error("the queue was shut down")]
    ShutDown,
    /// The pool has no room for the message now, although the ring has.
    #[error("the queue's memory for long messages is used up")]
    NoMemory,
    /// The message is longer than the pool. It is streamed to a getter, and that takes as
    /// long as the getter does: not for a call that never waits.
    #[error("the message is longer than the queue's memory, and streaming it would wait")]
    WouldStream,
    /// The message fits neither a slot nor the pool, and may not be streamed.
    #[error("the message of {len} bytes is longer than the limit of {limit}")]
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes of the longest.
        limit: usize,
    },
    /// The segment's bytes make no sense. This process will not use it any more.
    #[error("the queue is corrupted: {0}")]
    Corrupted(&'static str),
    /// The segment's bytes made no sense before.
    #[error("the queue was found corrupted before")]
    Poisoned,
    /// This process was forked and could not attach.
    #[error("cannot attach after fork: {0}")]
    Attach(#[source] Error),
}

/// Why a get got nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is no message, and was none before the deadline.
    #[error("the queue is empty")]
    Empty,
    /// Others were quicker, many times over.
    #[error("too many others use the queue at this moment")]
    Contended,
    /// A signal handler ran during the wait. Call again to go on waiting.
    #[error("the wait was interrupted by a signal")]
    Interrupted,
    /// The queue was shut down, and there will be no more messages.
    #[error("the queue was shut down")]
    ShutDown,
    /// The message was taken and does not fit the buffer: here it is.
    #[error("the message of {} bytes is longer than the buffer", .0.len())]
    Long(ReadGrant),
    /// The message is longer than the pool and comes as a stream: here is its beginning.
    #[error("the message of {} bytes is longer than the queue's memory", .0.len())]
    Stream(Box<Incoming>),
    /// The message is longer than the pool and cannot be lent where it lies. It stays.
    #[error("the message of {len} bytes is longer than the queue's memory: it can only be copied")]
    Streamed {
        /// Bytes of the message, as its putter says.
        len: usize,
    },
    /// The message is longer than the pool, and than what this process has of memory. It stays.
    #[error("the message of {len} bytes is longer than this process's memory")]
    NoMemory {
        /// Bytes of the message, as its putter says.
        len: usize,
    },
    /// The segment's bytes make no sense. This process will not use it any more.
    #[error("the queue is corrupted: {0}")]
    Corrupted(&'static str),
    /// The segment's bytes made no sense before.
    #[error("the queue was found corrupted before")]
    Poisoned,
    /// This process was forked and could not attach.
    #[error("cannot attach after fork: {0}")]
    Attach(#[source] Error),
}

/// What one try came to.
pub(super) enum Try<T, E> {
    Done(Result<T, E>),
    /// Nothing to be had until somebody claims something.
    Blocked,
    /// Nothing until this claim is committed.
    Pending(Announcement),
    Busy,
}

/// Why a wait ended without a result.
pub(super) enum Ended {
    TimedOut,
    Interrupted,
}

impl SharedRing {
    /// Puts one message, if there is room now.
    ///
    /// # Blocking
    ///
    /// Never. Makes a syscall only to wake a sleeping getter, or to ask after a peer
    /// whose claim has been pending for a millisecond.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], also while a getter that has claimed the oldest message
    /// still copies it; [`PutError::NoMemory`] if the message is longer than a slot and
    /// the pool has no room for it; [`PutError::Contended`] and the lasting ones.
    #[inline]
    pub fn try_put(&self, message: &[u8]) -> Result<(), PutError> {
        let attachment = self.attachment()?;
        // The common case apart, without the larger types of the others.
        match attachment.with_actor(|ring, actor| ring.try_put(actor, message)) {
            Ok(()) => Ok(()),
            Err(why) => try_put_failed(attachment, message, why),
        }
    }

    /// Puts one message, waiting for room until the deadline.
    ///
    /// # Blocking
    ///
    /// As long as the ring is full, or the pool where the message is longer than a slot,
    /// at most until `deadline`. `spinner` decides how long it looks before it sleeps.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`] or [`PutError::NoMemory`] at the deadline, [`PutError::Interrupted`] and
    /// the lasting ones. A message that is being streamed is not interrupted.
    #[inline]
    pub fn put(
        &self,
        message: &[u8],
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<(), PutError> {
        let attachment = self.attachment()?;
        match attachment.with_actor(|ring, actor| ring.try_put(actor, message)) {
            Ok(()) => Ok(()),
            Err(why) => put_wait(attachment, message, why, spinner, deadline),
        }
    }

    /// Takes one message, if there is one now: copies as much of it as fits to
    /// `buffer` and says how long it is.
    ///
    /// # Blocking
    ///
    /// Never. Makes a syscall only to wake a sleeping putter, or to ask after a peer
    /// whose claim has been pending for a millisecond.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], also while the next message's putter has not finished;
    /// [`GetError::Long`] with a message in blocks that is longer than `buffer`;
    /// [`GetError::Contended`] and the lasting ones.
    #[inline]
    pub fn try_get(&self, buffer: &mut [u8]) -> Result<usize, GetError> {
        let attachment = self.attachment()?;
        match attachment.with_actor(|ring, actor| ring.try_get(actor, buffer)) {
            Ok(len) => Ok(len),
            Err(why) => try_get_failed(attachment, buffer, why),
        }
    }

    /// Takes one message, waiting for it until the deadline.
    ///
    /// # Blocking
    ///
    /// As long as the ring is empty, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] at the deadline, [`GetError::Long`] with a message in blocks
    /// that is longer than `buffer`, [`GetError::Interrupted`] and the lasting ones.
    #[inline]
    pub fn get(
        &self,
        buffer: &mut [u8],
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<usize, GetError> {
        let attachment = self.attachment()?;
        match attachment.with_actor(|ring, actor| ring.try_get(actor, buffer)) {
            Ok(len) => Ok(len),
            Err(why) => get_wait(attachment, buffer, why, spinner, deadline),
        }
    }
}

#[cold]
fn try_put_failed(
    attachment: &Arc<Attachment>,
    message: &[u8],
    why: TryPut,
) -> Result<(), PutError> {
    if why == TryPut::TooLong {
        return grants::try_put_long(attachment, message);
    }
    let last = put_failed(attachment, why, message.len());
    retry(attachment, last, || put_once(attachment, message))
        .unwrap_or_else(|busy| Err(if busy { PutError::Contended } else { PutError::Full }))
}

#[cold]
fn try_get_failed(
    attachment: &Arc<Attachment>,
    buffer: &mut [u8],
    why: TryGet,
) -> Result<usize, GetError> {
    let last = get_failed(attachment, why);
    retry(attachment, last, || get_once(attachment, buffer))
        .unwrap_or_else(|busy| Err(if busy { GetError::Contended } else { GetError::Empty }))
}

#[cold]
fn put_wait(
    attachment: &Arc<Attachment>,
    message: &[u8],
    why: TryPut,
    spinner: &mut Spinner,
    deadline: Deadline,
) -> Result<(), PutError> {
    if why == TryPut::TooLong {
        return grants::put_long(attachment, message, spinner, deadline);
    }
    if let Try::Done(result) = put_failed(attachment, why, message.len()) {
        return result;
    }
    let ring = &attachment.ring;
    let hint = || ring.may_have_room();
    wait(attachment, ring.not_full(), spinner, deadline, hint, || put_once(attachment, message))
        .unwrap_or_else(|ended| {
            Err(match ended {
                Ended::TimedOut => PutError::Full,
                Ended::Interrupted => PutError::Interrupted,
            })
        })
}

#[cold]
fn get_wait(
    attachment: &Arc<Attachment>,
    buffer: &mut [u8],
    why: TryGet,
    spinner: &mut Spinner,
    deadline: Deadline,
) -> Result<usize, GetError> {
    if let Try::Done(result) = get_failed(attachment, why) {
        return result;
    }
    let ring = &attachment.ring;
    let hint = || ring.may_have_message();
    wait(attachment, ring.not_empty(), spinner, deadline, hint, || get_once(attachment, buffer))
        .unwrap_or_else(|ended| {
            Err(match ended {
                Ended::TimedOut => GetError::Empty,
                Ended::Interrupted => GetError::Interrupted,
            })
        })
}

fn put_once(attachment: &Arc<Attachment>, message: &[u8]) -> Try<(), PutError> {
    match attachment.with_actor(|ring, actor| ring.try_put(actor, message)) {
        Ok(()) => Try::Done(Ok(())),
        Err(why) => put_failed(attachment, why, message.len()),
    }
}

pub(super) fn put_failed<T>(attachment: &Attachment, why: TryPut, len: usize) -> Try<T, PutError> {
    match why {
        TryPut::Full => Try::Blocked,
        TryPut::Pending(position) => Try::Pending(Announcement::get(position)),
        TryPut::Busy => Try::Busy,
        TryPut::ShutDown => Try::Done(Err(PutError::ShutDown)),
        TryPut::NoMemory => Try::Done(Err(PutError::NoMemory)),
        TryPut::TooLong => {
            let limit = attachment.ring.max_message();
            Try::Done(Err(PutError::TooLong { len, limit }))
        }
        TryPut::Corrupted(what) => {
            attachment.poison();
            Try::Done(Err(PutError::Corrupted(what)))
        }
    }
}

pub(super) fn get_once(attachment: &Arc<Attachment>, buffer: &mut [u8]) -> Try<usize, GetError> {
    match attachment.with_actor(|ring, actor| ring.try_get(actor, buffer)) {
        Ok(len) => Try::Done(Ok(len)),
        Err(why) => get_failed(attachment, why),
    }
}

pub(super) fn get_failed<T>(attachment: &Arc<Attachment>, why: TryGet) -> Try<T, GetError> {
    match why {
        TryGet::Empty => Try::Blocked,
        TryGet::Pending(position) => Try::Pending(Announcement::put(position)),
        TryGet::Busy => Try::Busy,
        TryGet::ShutDown => Try::Done(Err(GetError::ShutDown)),
        TryGet::Long(place) => Try::Done(Err(match ReadGrant::open(attachment, place) {
            Ok(grant) => GetError::Long(grant),
            Err(error) => error,
        })),
        TryGet::Stream(place) => Try::Done(Err(match Incoming::open(attachment, place) {
            Ok(stream) => GetError::Stream(Box::new(stream)),
            Err(error) => error,
        })),
        TryGet::Corrupted(what) => {
            attachment.poison();
            Try::Done(Err(GetError::Corrupted(what)))
        }
    }
}

/// Repeats a non-blocking try while others get in the way. `Err` says whether they
/// still do.
pub(super) fn retry<T, E>(
    attachment: &Attachment,
    mut last: Try<T, E>,
    mut once: impl FnMut() -> Try<T, E>,
) -> Result<Result<T, E>, bool> {
    for _ in 0..RETRIES {
        match last {
            Try::Done(result) => return Ok(result),
            Try::Blocked => return Err(false),
            Try::Pending(what) => {
                attachment.note_pending(what);
                return Err(false);
            }
            Try::Busy => std::thread::yield_now(),
        }
        last = once();
    }
    Err(true)
}

/// Waits until a try is done. `worth_trying` is a look that costs next to nothing.
pub(super) fn wait<T, E>(
    attachment: &Attachment,
    event: &Event,
    spinner: &mut Spinner,
    deadline: Deadline,
    worth_trying: impl Fn() -> bool,
    mut once: impl FnMut() -> Try<T, E>,
) -> Result<Result<T, E>, Ended> {
    let mut nap = FIRST_NAP;
    // Whether we got a wake-up since we last found nothing. If the wait ends before we
    // took what it was for, it must not be lost with us.
    let mut woken_for = false;
    loop {
        if !deadline.passed() {
            // Also after a sleep: where one message is, more are coming.
            spinner.spin(deadline, || worth_trying().then_some(()));
        }
        match once() {
            Try::Done(result) => return Ok(result),
            Try::Busy => std::thread::yield_now(),
            Try::Pending(what) => attachment.note_pending(what),
            Try::Blocked => woken_for = false,
        }
        if deadline.passed() {
            if woken_for {
                event.notify();
            }
            return Err(Ended::TimedOut);
        }
        if spinner.policy() == WaitPolicy::Spin {
            attachment.tick();
            continue;
        }
        let ticket = event.announce();
        // The try after the announcement: see the module.
        let woken = match once() {
            Try::Done(result) => {
                // No sleep at all: looking a little longer would have spared the waker a syscall.
                spinner.slept();
                return Ok(result);
            }
            Try::Busy => {
                std::thread::yield_now();
                continue;
            }
            Try::Pending(what) => {
                let woken = event.sleep(ticket, deadline.min(Deadline::after(nap)));
                nap = (nap * 2).min(LONGEST_NAP);
                attachment.note_pending(what);
                woken
            }
            Try::Blocked => {
                nap = FIRST_NAP;
                sleep_long(attachment, |until| event.sleep(ticket, deadline.min(until)))
            }
        };
        spinner.slept();
        woken_for |= event.moved_since(ticket);
        if woken == Woken::Interrupted {
            return match once() {
                Try::Done(result) => Ok(result),
                Try::Blocked => Err(Ended::Interrupted),
                Try::Pending(_) | Try::Busy => {
                    if woken_for {
                        event.notify();
                    }
                    Err(Ended::Interrupted)
                }
            };
        }
    }
}

/// Sleeps, and looks after the peers if nobody else in this process does.
fn sleep_long(attachment: &Attachment, sleep: impl FnOnce(Deadline) -> Woken) -> Woken {
    if attachment.is_guarded() {
        return sleep(Deadline::NEVER);
    }
    if !attachment.start_ticking() {
        return sleep(Deadline::after(LONG_TICK));
    }
    let woken = sleep(Deadline::after(attachment.pause()));
    attachment.stop_ticking();
    // Also one who is woken all the time.
    attachment.tick();
    woken
}
