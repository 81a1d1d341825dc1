//! Batches that may wait, as [`blocking`](super::blocking) does for single messages.

use super::attachment::Attachment;
use super::batch::Batch;
use super::blocking::{Ended, GetError, PutError, Try, get_failed, put_failed, retry, wait};
use super::shared::SharedRing;
use super::tasks::give_back;
use crate::wait::{Deadline, Spinner};
use std::sync::Arc;

impl SharedRing {
    /// Puts messages of `batch` from number `from` on under one claim, as many as there is
    /// room for now; says how many, at least one. Ends before one that is too long for a
    /// slot.
    ///
    /// # Blocking
    ///
    /// As [`try_put`](Self::try_put).
    ///
    /// # If the process dies
    ///
    /// The messages up to some point are there, in order; of the others nothing.
    ///
    /// # Errors
    ///
    /// As [`try_put`](Self::try_put), about the first message; nothing was put.
    pub fn try_put_many(&self, batch: &Batch, from: usize) -> Result<usize, PutError> {
        let attachment = self.attachment()?;
        let once = || put_many_once(attachment, batch, from);
        let first = once();
        retry(attachment, first, once)
            .unwrap_or_else(|busy| Err(if busy { PutError::Contended } else { PutError::Full }))
    }

    /// As [`try_put_many`](Self::try_put_many), waiting for room for the first until the
    /// deadline.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), about the first message; nothing was put.
    pub fn put_many(
        &self,
        batch: &Batch,
        from: usize,
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<usize, PutError> {
        let attachment = self.attachment()?;
        let once = || put_many_once(attachment, batch, from);
        if let Try::Done(result) = once() {
            return result;
        }
        let ring = &attachment.ring;
        let hint = || ring.may_have_room();
        wait(attachment, ring.not_full(), spinner, deadline, hint, once).unwrap_or_else(|ended| {
            Err(match ended {
                Ended::TimedOut => PutError::Full,
                Ended::Interrupted => PutError::Interrupted,
            })
        })
    }

    /// Takes up to `max` messages under one claim, as many as are there now, appends them
    /// to `into` and says how many. 0 says that the next message is one for
    /// [`try_get`](Self::try_get). With `tasks` they count as with
    /// [`try_get_task`](Self::try_get_task).
    ///
    /// # Blocking
    ///
    /// As [`try_get`](Self::try_get).
    ///
    /// # If the process dies
    ///
    /// Before the commit all of them go to others, after it all are gone with it.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Self::try_get).
    pub fn try_get_many(
        &self,
        max: usize,
        into: &mut Batch,
        tasks: bool,
    ) -> Result<usize, GetError> {
        let attachment = self.attachment()?;
        let mut once = || get_many_once(attachment, max, into, tasks);
        let first = once();
        retry(attachment, first, once)
            .unwrap_or_else(|busy| Err(if busy { GetError::Contended } else { GetError::Empty }))
    }

    /// As [`try_get_many`](Self::try_get_many), waiting for the first until the deadline.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_many(
        &self,
        max: usize,
        into: &mut Batch,
        tasks: bool,
        spinner: &mut Spinner,
        deadline: Deadline,
    ) -> Result<usize, GetError> {
        let attachment = self.attachment()?;
        let mut once = || get_many_once(attachment, max, into, tasks);
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
}

fn put_many_once(attachment: &Arc<Attachment>, batch: &Batch, from: usize) -> Try<usize, PutError> {
    match attachment.with_actor(|ring, actor| ring.try_put_many(actor, batch, from)) {
        Ok(many) => Try::Done(Ok(many)),
        Err(why) => put_failed(attachment, why, batch.get(from).map_or(0, <[u8]>::len)),
    }
}

fn get_many_once(
    attachment: &Arc<Attachment>,
    max: usize,
    into: &mut Batch,
    tasks: bool,
) -> Try<usize, GetError> {
    let got = if tasks {
        // No more than there are: a process that is killed here is held to have taken all.
        let there = usize::try_from(attachment.ring.len()).unwrap_or(usize::MAX);
        let most = max.min(there.max(1));
        attachment.ring.participants().count_tasks(attachment.participant(), most as u64);
        let got = attachment
            .with_actor(|ring, actor| actor.counting(|actor| ring.try_get_many(actor, most, into)));
        give_back(attachment, (most - got.unwrap_or(0)) as u64);
        got
    } else {
        attachment.with_actor(|ring, actor| ring.try_get_many(actor, max, into))
    };
    match got {
        Ok(many) => Try::Done(Ok(many)),
        Err(why) => get_failed(attachment, why),
    }
}
