//! Putting what was accepted before.
//!
//! A queue without a limit accepts more than its ring holds. What waits in a process's
//! own memory was accepted, and so it is published also after an orderly shutdown; only
//! an immediate one discards it.

use super::attachment::Attachment;
use super::blocking::{Ended, PutError, Try, put_failed, wait};
use super::grants;
use super::long::Place;
use super::position::POSITION_MASK;
use super::put::{ATTEMPTS, TryPut};
use super::ring::Ring;
use super::shared::SharedRing;
use super::streaming::{self, Accepted};
use super::word::{Announcement, IMMEDIATE, Phase, SHUTDOWN, State};
use crate::peer::{Actor, Committed};
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::sync::{fence, spin_hint};
use crate::wait::{Deadline, Event, Spinner, WaitPolicy};
use std::sync::Arc;

impl Ring {
    /// As [`try_put`](Self::try_put), but an orderly shutdown does not refuse it.
    ///
    /// # Errors
    ///
    /// As there; [`TryPut::ShutDown`] after an immediate shutdown.
    pub fn try_put_accepted(&self, actor: &mut Actor, message: &[u8]) -> Result<(), TryPut> {
        match self.try_put(actor, message) {
            Err(TryPut::ShutDown) => {
                self.put_after_shutdown(actor, |at| self.write(at, message))?;
                self.actors.count_one(actor, Committed::Put);
                Ok(())
            }
            other => other,
        }
    }

    /// See [`SharedRing::accepts`].
    #[doc(hidden)]
    pub fn accepts(&self) -> bool {
        // ORDERING accept-or-shutdown (SeqCst): pairs with `drained_of_overflow`.
        fence(SeqCst);
        !self.is_shut_down()
    }

    /// See [`SharedRing::total_len`].
    #[doc(hidden)]
    pub fn total_len(&self) -> u64 {
        const LOOKS: u64 = 10_000;
        let mut looks = LOOKS;
        while looks > 0 {
            looks -= 1;
            // Overflow first: items move from there to the ring.
            if let before @ Some((items, _)) = self.participants.settled_overflow() {
                // After a death the ring looks at every slot: for as many looks.
                let slots = if self.is_marked() { self.capacity() / 64 } else { 0 };
                looks = looks.saturating_sub(slots);
                let len = self.len();
                if self.participants.settled_overflow() == before {
                    return items.saturating_add(len);
                }
            }
            if looks.is_multiple_of(64) { std::thread::yield_now() } else { spin_hint() }
        }
        self.participants.overflow().saturating_add(self.len())
    }

    /// The steps of a put, on a word that keeps its flag. Rare and slow: any doubt
    /// about a slot is "pending". `write` writes the message to a position. The caller counts the
    /// put.
    #[cold]
    pub(super) fn put_after_shutdown(
        &self,
        actor: &mut Actor,
        write: impl Fn(u64),
    ) -> Result<(), TryPut> {
        for _ in 0..ATTEMPTS {
            // ORDERING mpmc-claim (acquire): at least what the last claim left. SeqCst, as the
            // look below.
            let word = self.enqueue_pos.load(SeqCst);
            if word & IMMEDIATE != 0 {
                self.announce(actor, Announcement::IDLE);
                return Err(TryPut::ShutDown);
            }
            let tail = word & POSITION_MASK;
            let Some(state) = self.state(tail) else {
                self.announce(actor, Announcement::IDLE);
                return Err(TryPut::Corrupted("enqueue_pos is no slot's"));
            };
            if state == State::of(Phase::Empty, self.positions.lap(tail)) {
                self.announce(actor, Announcement::put(tail));
                let next = self.positions.next(tail) | SHUTDOWN;
                // ORDERING mpmc-claim (SeqCst): as in `claim_put`.
                if self.enqueue_pos.compare_exchange(word, next, SeqCst, Relaxed).is_ok() {
                    write(tail);
                    self.publish(tail);
                    self.not_empty.notify();
                    return Ok(());
                }
                spin_hint();
                continue;
            }
            self.announce(actor, Announcement::IDLE);
            // ORDERING mpmc-claim (SeqCst): as in `put_blocked`.
            let head = self.dequeue_pos.load(SeqCst);
            if self.enqueue_pos.load(SeqCst) != word {
                continue;
            }
            if self.positions.distance(tail, head) != Some(self.capacity()) {
                if self.drop_void(Place::slot(self.positions.lap_before(tail))) {
                    continue;
                }
                return Err(TryPut::Pending(self.positions.lap_before(tail)));
            }
            if self.is_dud(head, state) {
                self.retire(actor, head);
                continue;
            }
            return Err(TryPut::Full);
        }
        self.announce(actor, Announcement::IDLE);
        Err(TryPut::Busy)
    }
}

impl SharedRing {
    /// Puts one message that was accepted before, waiting for room until `stop` says
    /// so; it is asked at least twice a second, and after each
    /// [`look_up`](Self::look_up). To be followed by
    /// [`moved_overflow`](Self::moved_overflow). For one thread of a process at a time.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`] when it was stopped; [`PutError::ShutDown`] after an
    /// immediate shutdown; [`PutError::Interrupted`] and the lasting ones.
    ///
    /// A message that is longer than the pool is there for others before this returns:
    /// `offered` is called then, and says by [`moved_overflow`](Self::moved_overflow) that it
    /// waits here no more.
    pub fn put_accepted(
        &self,
        message: &[u8],
        stop: &dyn Fn() -> bool,
        offered: &dyn Fn(),
    ) -> Result<(), PutError> {
        let attachment = self.attachment()?;
        let ring = &attachment.ring;
        if ring.is_streamed(message.len()) {
            return stream_accepted(attachment, message, stop, offered);
        }
        let mut blocks = None;
        if !ring.room.fits(message.len()) {
            // Filled before anything is claimed.
            let once = || stopped(stop, grants::accepted_long(attachment, message));
            blocks = Some(wait_long(attachment, ring.pool.freed(), once)?);
        }
        let once = || {
            stopped(
                stop,
                accepted_once(attachment, || match &mut blocks {
                    Some(blocks) => blocks.commit_accepted_once(),
                    None => put_accepted_once(attachment, message),
                }),
            )
        };
        wait_long(attachment, ring.not_full(), once)
    }

    /// Says that [`put_accepted`](Self::put_accepted) has put an item, and so many wait
    /// now.
    ///
    /// # Errors
    ///
    /// The lasting ones.
    pub fn moved_overflow(&self, items: u64) -> Result<(), PutError> {
        let attachment = self.attachment()?;
        attachment.ring.participants().moved_overflow(attachment.participant(), items);
        attachment.overflow_has_changed(items);
        Ok(())
    }

    /// How many items were accepted and not taken: [`len`](Self::len) and
    /// [`overflow`](Self::overflow) together, none of them twice. Exact for completed
    /// operations; may be wrong as soon as it returns, and one too high for each process
    /// that was stopped while it moved an item.
    pub fn total_len(&self) -> u64 {
        self.any_attachment().ring.total_len()
    }

    /// Makes those who wait for room look at what may stop them.
    pub fn look_up(&self) {
        if let Ok(attachment) = self.attachment() {
            attachment.ring.not_full().broadcast();
            attachment.ring.pool.freed().broadcast();
            attachment.ring.streams.broadcast();
        }
    }

    /// Whether an item may be accepted without being put: not once the ring was shut
    /// down. Ask after [`set_overflow`](Self::set_overflow) has counted it, and take it
    /// back if not.
    pub fn accepts(&self) -> bool {
        self.any_attachment().ring.accepts()
    }
}

fn stream_accepted(
    attachment: &Arc<Attachment>,
    message: &[u8],
    stop: &dyn Fn() -> bool,
    offered: &dyn Fn(),
) -> Result<(), PutError> {
    let step = || {
        attachment.ring.participants().step_overflow(attachment.participant());
    };
    // As in `accepted_once`: from here on the message may be counted twice.
    let after = |there: bool| if there { offered() } else { step() };
    let accepted = Accepted { stop, offering: &step, offered: &after };
    let mut spinner = Spinner::new(WaitPolicy::Block);
    let never = Deadline::NEVER;
    streaming::put_stream(attachment, message, &mut spinner, never, Some(&accepted))?;
    // Ends with `moved_overflow`.
    step();
    Ok(())
}

/// Waits without a deadline.
fn wait_long<T>(
    attachment: &Attachment,
    event: &Event,
    once: impl FnMut() -> Try<T, PutError>,
) -> Result<T, PutError> {
    let mut spinner = Spinner::new(WaitPolicy::Block);
    wait(attachment, event, &mut spinner, Deadline::NEVER, || true, once).unwrap_or_else(|ended| {
        Err(match ended {
            Ended::TimedOut => PutError::Full,
            Ended::Interrupted => PutError::Interrupted,
        })
    })
}

/// What came of a try, unless there is reason to try no more.
fn stopped<T>(stop: &dyn Fn() -> bool, tried: Try<T, PutError>) -> Try<T, PutError> {
    match tried {
        Try::Done(result) => Try::Done(result),
        _ if stop() => Try::Done(Err(PutError::Full)),
        other => other,
    }
}

fn accepted_once(
    attachment: &Attachment,
    put: impl FnOnce() -> Try<(), PutError>,
) -> Try<(), PutError> {
    let table = attachment.ring.participants();
    // From here on the item may be counted twice. It ends with `moved_overflow`.
    table.step_overflow(attachment.participant());
    let tried = put();
    if !matches!(tried, Try::Done(Ok(()))) {
        table.step_overflow(attachment.participant());
    }
    tried
}

fn put_accepted_once(attachment: &Arc<Attachment>, message: &[u8]) -> Try<(), PutError> {
    match attachment.with_actor(|ring, actor| ring.try_put_accepted(actor, message)) {
        Ok(()) => Try::Done(Ok(())),
        Err(why) => put_failed(attachment, why, message.len()),
    }
}
