//! Tasks: items whose taker says when it is done with them.
//!
//! Each process counts, in its participant record, what it has taken and not done.
//! The count is raised *before* a take and lowered again if nothing was taken: so an
//! item is in some process's overflow, in the ring or in a count at every instruction,
//! and whoever looks at the three in the order in which items move never misses one.
//!
//! What a process took and has not done when it dies or leaves is written off, and told to
//! joiners. The count above does not say what that is: the process may have died before
//! the commit of a take, and then another gets the item. So each actor counts its takes
//! *after* the commit, in a way that leaves no doubt amidst one ([`takes`](crate::peer)),
//! and lost is what all its actors took less what is done.

use super::attachment::Attachment;
use super::blocking::{Ended, GetError, PutError, Try, get_failed, retry, wait};
use super::get::TryGet;
use super::grants::ref_once;
use super::read_grant::ReadGrant;
use super::ring::Ring;
use super::shared::SharedRing;
use super::word::marks;
use crate::peer::{Actor, Take, TaskCount, UPDATES};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::sync::fence;
use crate::wait::{Deadline, Spinner};
use std::sync::Arc;

/// Why a task could not be marked done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// This process has nothing taken that is not done.
    #[error("this process has no task that is not done")]
    NoneTaken,
    /// The ring cannot be used.
    #[error(transparent)]
    Unusable(#[from] PutError),
}

impl Ring {
    /// See [`SharedRing::unfinished`].
    #[doc(hidden)]
    pub fn unfinished(&self) -> u64 {
        self.count_unfinished(|| {})
    }

    /// As [`unfinished`](Self::unfinished). `between` is what others may do amidst it.
    pub(super) fn count_unfinished(&self, mut between: impl FnMut()) -> u64 {
        const LOOKS: usize = 64;
        let table = self.participants();
        let mut unfinished = 0;
        for _ in 0..LOOKS {
            // What moves items back, from a count to the ring: a death, and a getter that gives
            // one back. That one marks it before it lowers its count.
            // ORDERING mpmc-mark (acquire): both looks at the mark stay outside the others.
            let moves = || (table.departures(), self.marks.load(Acquire) / marks::STEP);
            let before = moves();
            // In the order in which items move on.
            let waiting = self.total_len();
            between();
            unfinished = waiting.saturating_add(table.held_tasks());
            if moves() == before {
                break;
            }
        }
        unfinished
    }

    /// As [`try_get`](Self::try_get), of a task. The message is marked as taken by us
    /// before the copy, so that the commit can be told from its undoing.
    pub(super) fn try_get_task(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
    ) -> Result<usize, TryGet> {
        let places = &mut self.given_back_places();
        actor.counting(|actor| {
            self.past_voids(|| {
                let place = self.take_in_place(actor, places)?;
                self.get_taken(actor, place, buffer)
            })
        })
    }

    /// Makes void what `dead` was about to take and did not: repair is going to undo it, and
    /// the next repairer could not tell any more.
    pub(super) fn settle_takes(&self, dead: u32) {
        for actor in self.actors.of(dead) {
            match self.actors.pending_take(actor) {
                // Counted now: its record will be used again, and tell no more.
                Some(Take::Stream { record, truth }) if self.has_committed(dead, record, truth) => {
                    self.actors.count_take(actor);
                }
                Some(Take::Stream { .. }) => self.actors.void_take(actor),
                Some(take) if self.is_there(take) => self.actors.void_take(actor),
                _ => {}
            }
        }
    }

    /// Tasks that `participant` has taken since it joined, done or not. Wraps. Exact for the
    /// dead whose takes are settled, and for one that is in no call. `actors` are its own.
    fn taken_tasks(&self, actors: &[usize]) -> u32 {
        let pending = |actor: usize| match self.actors.pending_take(actor) {
            Some(Take::Place { .. }) => 1,
            Some(Take::Batch) => {
                let done = self.actors.done(actor).map_or(0, |(_, count)| count);
                u32::try_from(done).unwrap_or(0)
            }
            // Counted or void by now.
            Some(Take::Stream { .. }) | None => 0,
        };
        let taken = |actor: &usize| self.actors.taken(*actor).wrapping_add(pending(*actor));
        actors.iter().map(taken).fold(0, u32::wrapping_add)
    }

    /// Frees the records of a participant that was repaired.
    pub(super) fn leave(&self, participant: u32) {
        let all: Vec<usize> = (0..self.actors.count()).collect();
        self.leave_with(participant, &all);
    }

    /// As [`leave`](Self::leave), of one that leaves: it has claimed no other actors than
    /// those in `claimed`. It may have given them back, and others may have them.
    pub(super) fn leave_with(&self, participant: u32, claimed: &[usize]) {
        let of = |actor: &usize| self.actors.participant(*actor) == participant;
        let own: Vec<usize> = claimed.iter().copied().filter(of).collect();
        self.participants.write_off_tasks(participant, self.taken_tasks(&own));
        for actor in own {
            self.actors.clear(actor);
        }
        self.participants.free(participant);
    }
}

impl SharedRing {
    /// As [`try_get`](Self::try_get), and what is taken counts as a task until
    /// [`task_done`](Self::task_done).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_get_task(&self, buffer: &mut [u8]) -> Result<usize, GetError> {
        let attachment = self.attachment()?;
        let mut once = || task_once(attachment, buffer);
        let first = once();
        retry(attachment, first, once)
            .unwrap_or_else(|busy| Err(if busy { GetError::Contended } else { GetError::Empty }))
    }

    /// As [`get`](Self::get), and what is taken counts as a task until
    /// [`task_done`](Self::task_done).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_task(
        &self,
        buffer: &mut [u8],
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<usize, GetError> {
        let attachment = self.attachment()?;
        let mut once = || task_once(attachment, buffer);
        if let Try::Done(result) = once() {
            return result;
        }
        let ring = &attachment.ring;
        let hint = || ring.may_have_message();
        wait(attachment, ring.not_empty(), spinner, deadline, hint, once).unwrap_or_else(|ended| {
            Err(match ended {
                Ended::TimedOut => GetError::Empty,
                Ended::Interrupted => GetError::Interrupted,
            })
        })
    }

    /// As [`try_get_ref`](Self::try_get_ref), and what is taken counts as a task.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_get_ref_task(&self) -> Result<ReadGrant, GetError> {
        let attachment = self.attachment()?;
        let once = || ref_task_once(attachment);
        retry(attachment, once(), once)
            .unwrap_or_else(|busy| Err(if busy { GetError::Contended } else { GetError::Empty }))
    }

    /// As [`get_ref`](Self::get_ref), and what is taken counts as a task until
    /// [`task_done`](Self::task_done), or until the grant is dropped unreleased.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_ref_task(
        &self,
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<ReadGrant, GetError> {
        let attachment = self.attachment()?;
        let ring = &attachment.ring;
        let hint = || ring.may_have_message();
        let once = || ref_task_once(attachment);
        wait(attachment, ring.not_empty(), spinner, deadline, hint, once).unwrap_or_else(|ended| {
            Err(match ended {
                Ended::TimedOut => GetError::Empty,
                Ended::Interrupted => GetError::Interrupted,
            })
        })
    }

    /// One of the tasks that this process has taken is done.
    ///
    /// # Errors
    ///
    /// [`TaskError::NoneTaken`]: called more often than this process has taken.
    pub fn task_done(&self) -> Result<(), TaskError> {
        let attachment = self.attachment().map_err(PutError::from)?;
        if change(attachment, 1, TaskCount::DONE) { Ok(()) } else { Err(TaskError::NoneTaken) }
    }

    /// Tasks that are not done: accepted, in the ring, or taken. Never too low; one
    /// too high for each process that is just about to take, or to move an accepted item
    /// to the ring; for one about to take a batch as many as may be in it.
    pub fn unfinished(&self) -> u64 {
        self.any_attachment().ring.unfinished()
    }

    /// How many tasks were lost so far with processes that died or left before they
    /// were done. Exact, wherever they died: a task that another process gets is not lost.
    pub fn lost_tasks(&self) -> u64 {
        self.any_attachment().ring.participants().lost_tasks()
    }

    /// Waits until [`unfinished`](Self::unfinished) is 0; `false` if the deadline
    /// passed first.
    ///
    /// # Errors
    ///
    /// The lasting ones of a put.
    pub fn wait_for_tasks(&self, deadline: Deadline) -> Result<bool, PutError> {
        let attachment = self.attachment()?;
        let event = attachment.tasks_done();
        loop {
            if self.unfinished() == 0 {
                return Ok(true);
            }
            if deadline.passed() {
                return Ok(false);
            }
            let ticket = event.announce();
            // ORDERING event-announce (SeqCst): `give_back` is the waker's RMW. The fence
            // keeps the plain acquire loads of the counts behind the announcement, also
            // where an RMW's store may be late.
            fence(SeqCst);
            if self.unfinished() == 0 {
                return Ok(true);
            }
            // Items also come to nothing by deaths and departures, which wake nobody
            // here: hence the tick.
            event.sleep(ticket, deadline.min(Deadline::after(attachment.pause())));
            attachment.tick();
        }
    }

    /// Wakes joiners after something other than a task done: overflow that is gone, a
    /// shutdown that threw items away.
    pub fn recount_tasks(&self) {
        if let Ok(attachment) = self.attachment() {
            attachment.tasks_done().broadcast();
        }
    }
}

impl Attachment {
    fn tasks(&self) -> Option<&AtomicU64> {
        self.ring.participants().tasks(self.participant())
    }

    /// What counted as a task of this process was not taken after all, or given back.
    pub(super) fn forget_task(&self) {
        give_back(self, 1);
    }
}

fn task_once(attachment: &Arc<Attachment>, buffer: &mut [u8]) -> Try<usize, GetError> {
    counted(attachment, || {
        match attachment.with_actor(|ring, actor| ring.try_get_task(actor, buffer)) {
            Ok(len) => Try::Done(Ok(len)),
            Err(why) => get_failed(attachment, why),
        }
    })
}

fn ref_task_once(attachment: &Arc<Attachment>) -> Try<ReadGrant, GetError> {
    let mut taken = counted(attachment, || ref_once(attachment));
    if let Try::Done(Ok(grant)) = &mut taken {
        grant.set_task();
    }
    taken
}

/// Counts a task before `once` takes it, and no longer if it took nothing.
pub(super) fn counted<T>(
    attachment: &Attachment,
    once: impl FnOnce() -> Try<T, GetError>,
) -> Try<T, GetError> {
    attachment.ring.participants().count_tasks(attachment.participant(), 1);
    let mut result = once();
    match &mut result {
        Try::Done(Ok(_)) => {}
        Try::Done(Err(GetError::Long(grant))) => grant.set_task(),
        Try::Done(Err(GetError::Stream(stream))) => stream.set_task(),
        _ => attachment.forget_task(),
    }
    result
}

/// What was counted as taken was not, after all: lowers the count and tells joiners, unless
/// it is lower than that.
pub(super) fn give_back(attachment: &Attachment, many: u64) -> bool {
    many == 0 || change(attachment, many, 0_u64.wrapping_sub(many * TaskCount::TAKEN))
}

/// Adds `by` to the count if it says that `many` are held, and tells joiners.
fn change(attachment: &Attachment, many: u64, by: u64) -> bool {
    let Some(word) = attachment.tasks() else { return false };
    let mut seen = word.load(Relaxed);
    for _ in 0..UPDATES {
        if TaskCount(seen).held() < many {
            return false;
        }
        // ORDERING event-announce (SeqCst): the waker's RMW before it looks for sleepers.
        // Relaxed on failure: looked at afresh.
        match word.compare_exchange(seen, seen.wrapping_add(by), SeqCst, Relaxed) {
            Ok(_) => {
                attachment.tasks_done().notify_all();
                return true;
            }
            Err(now) => seen = now,
        }
    }
    false
}
