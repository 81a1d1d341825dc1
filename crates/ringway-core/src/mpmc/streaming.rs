//! Putting and taking [streams](super::stream): both sides wait for each other.

use super::attachment::Attachment;
use super::blocking::{Ended, GetError, PutError, Try, get_failed, put_failed, retry, wait};
use super::grants::put_ended;
use super::long::Place;
use super::shared::SharedRing;
use super::stream::{LONGEST_STREAM, Named};
use super::stream_get::Got;
use super::stream_put::{Outgoing, Wrote};
use super::tasks::counted;
use super::word::{IMMEDIATE, SHUTDOWN};
use crate::peer::Committed;
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::sync::fence;
use crate::wait::{Deadline, Event, Spinner};
use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NO_SENSE: &str = "the record of a stream";
/// So often its pace is what a getter grants a putter in all.
const PACES: u32 = 10;

/// And so long for this many bytes: a second for each 16 MiB, which is slow.
fn time_for(bytes: u64) -> Duration {
    Duration::from_micros(bytes >> 4)
}

// ---- Putting --------------------------------------------------------------------

/// What a putter of something that was accepted before has to do beside.
pub(super) struct Accepted<'a> {
    /// Whether to give up.
    pub(super) stop: &'a dyn Fn() -> bool,
    /// The message is about to be offered.
    pub(super) offering: &'a dyn Fn(),
    /// It was offered, or not after all.
    pub(super) offered: &'a dyn Fn(bool),
}

/// A stream that ends with its putter, however that leaves.
struct Putting<'a> {
    attachment: &'a Arc<Attachment>,
    stream: Option<Outgoing>,
}

impl Putting<'_> {
    /// Whether the message was taken after all.
    fn end(&mut self) -> bool {
        let Some(stream) = self.stream.take() else { return false };
        let taken = self.attachment.ring.close_stream(stream);
        if taken {
            self.attachment.with_actor(|ring, actor| ring.actors.count_one(actor, Committed::Put));
        }
        taken
    }
}

impl Drop for Putting<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Puts a message that is longer than the pool; returns when a getter has committed.
///
/// Waits in turn for a record and a buffer, for a slot, and for a getter. Once the message is
/// offered a signal does not end it: the caller would begin anew, at the end of the queue and
/// at the first byte, and signals that come often enough would never let it come to an end.
pub(super) fn put_stream(
    attachment: &Arc<Attachment>,
    message: &[u8],
    spinner: &mut Spinner,
    deadline: Deadline,
    accepted: Option<&Accepted<'_>>,
) -> Result<(), PutError> {
    let ring = &attachment.ring;
    if message.len() > LONGEST_STREAM {
        return Err(PutError::TooLong { len: message.len(), limit: LONGEST_STREAM });
    }
    let open = || stopped(accepted, open_once(attachment, message.len(), accepted.is_some()));
    let stream = wait(attachment, ring.pool.freed(), spinner, deadline, || true, open)
        .unwrap_or_else(|ended| Err(put_ended(&ended, PutError::NoMemory)))?;
    let mut putting = Putting { attachment, stream: Some(stream) };
    let Some(stream) = &mut putting.stream else { return Err(PutError::Full) };
    let hint = || ring.may_have_room();
    let offer = || stopped(accepted, offer_once(attachment, stream, accepted));
    wait(attachment, ring.not_full(), spinner, deadline, hint, offer)
        .unwrap_or_else(|ended| Err(put_ended(&ended, PutError::Full)))?;
    match pass(attachment, stream, message, spinner, deadline, accepted) {
        Ok(()) => {
            putting.end();
            Ok(())
        }
        // Perhaps a getter was quicker.
        Err(_) if putting.end() => Ok(()),
        Err(why) => Err(why),
    }
}

/// What came of a try, unless there is reason to try no more.
fn stopped<T>(accepted: Option<&Accepted<'_>>, tried: Try<T, PutError>) -> Try<T, PutError> {
    match (tried, accepted) {
        (Try::Done(result), _) => Try::Done(result),
        (_, Some(accepted)) if (accepted.stop)() => Try::Done(Err(PutError::Full)),
        (other, _) => other,
    }
}

fn open_once(
    attachment: &Arc<Attachment>,
    len: usize,
    was_accepted: bool,
) -> Try<Outgoing, PutError> {
    let ring = &attachment.ring;
    // ORDERING event-announce (SeqCst): a sleeper announced itself before this look at records
    // and blocks; who frees them changes them by SeqCst RMWs before the look for sleepers.
    fence(SeqCst);
    let refused = if was_accepted { IMMEDIATE } else { SHUTDOWN };
    if ring.enqueue_pos.load(SeqCst) & refused != 0 {
        return Try::Done(Err(PutError::ShutDown));
    }
    let opened =
        ring.may_open_stream().then(|| ring.open_stream(len, attachment.participant())).flatten();
    opened.map_or(Try::Blocked, |stream| Try::Done(Ok(stream)))
}

fn offer_once(
    attachment: &Arc<Attachment>,
    stream: &mut Outgoing,
    accepted: Option<&Accepted<'_>>,
) -> Try<(), PutError> {
    let len = stream.named.len;
    let offered = match accepted {
        None => attachment.with_actor(|ring, actor| ring.offer_stream(actor, stream)),
        Some(accepted) => {
            (accepted.offering)();
            let offered =
                attachment.with_actor(|ring, actor| ring.offer_stream_accepted(actor, stream));
            (accepted.offered)(offered.is_ok());
            offered
        }
    };
    match offered {
        Ok(()) => Try::Done(Ok(())),
        Err(why) => put_failed(attachment, why, usize::try_from(len).unwrap_or(usize::MAX)),
    }
}

/// Passes the bytes on until a getter has committed.
fn pass(
    attachment: &Arc<Attachment>,
    stream: &mut Outgoing,
    message: &[u8],
    spinner: &mut Spinner,
    deadline: Deadline,
    accepted: Option<&Accepted<'_>>,
) -> Result<(), PutError> {
    let ring = &attachment.ring;
    let corrupted = || {
        attachment.poison();
        Err(PutError::Corrupted(NO_SENSE))
    };
    let index = stream.named.index;
    let Some(record) = ring.streams.get(index) else { return corrupted() };
    loop {
        // Relaxed: a hint. The step looks again.
        let seen = (record.truth.load(Relaxed), record.read.load(Relaxed));
        let hint = || (record.truth.load(Relaxed), record.read.load(Relaxed)) != seen;
        let mut step = || {
            // ORDERING event-announce (SeqCst): a sleeper announced itself before this look;
            // the getter moves `read` and the truth by SeqCst RMWs before it looks for
            // sleepers. One of the two sees the other.
            fence(SeqCst);
            let wrote = ring.write_stream(stream, message);
            if wrote == Wrote::NoRoom {
                // An immediate shutdown throws away what was offered.
                let over = ring.is_discarding();
                return if over { Try::Done(Err(PutError::ShutDown)) } else { Try::Blocked };
            }
            Try::Done(Ok(wrote))
        };
        match steadily(attachment, &record.room, spinner, deadline, hint, || {
            stopped(accepted, step())
        }) {
            Some(Ok(Wrote::Some)) if deadline.passed() => return Err(PutError::Full),
            Some(Ok(Wrote::Some | Wrote::NoRoom)) => {}
            Some(Ok(Wrote::Taken)) => return Ok(()),
            Some(Ok(Wrote::Corrupted)) => return corrupted(),
            Some(Err(why)) => return Err(why),
            None => return Err(PutError::Full),
        }
    }
}

/// As [`wait`], also through signals: see [`put_stream`]. `None` at the deadline.
fn steadily<T, E>(
    attachment: &Attachment,
    event: &Event,
    spinner: &mut Spinner,
    deadline: Deadline,
    hint: impl Fn() -> bool,
    mut once: impl FnMut() -> Try<T, E>,
) -> Option<Result<T, E>> {
    // Mostly there is something to do.
    if let Try::Done(result) = once() {
        return Some(result);
    }
    loop {
        match wait(attachment, event, spinner, deadline, &hint, &mut once) {
            Ok(result) => return Some(result),
            Err(Ended::Interrupted) if !deadline.passed() => {}
            Err(_) => return None,
        }
    }
}

// ---- Taking ---------------------------------------------------------------------

impl SharedRing {
    /// As [`try_get`](Self::try_get), but passes over streamed messages: for one who has begun
    /// to receive one and has no time left. With `task` as
    /// [`try_get_task`](Self::try_get_task).
    ///
    /// # Errors
    ///
    /// As there, but for [`GetError::Stream`].
    pub fn try_get_beside(&self, buffer: &mut [u8], task: bool) -> Result<usize, GetError> {
        let attachment = self.attachment()?;
        let mut once = || {
            let mut once = || match attachment
                .with_actor(|ring, actor| ring.try_get_beside(actor, buffer, task))
            {
                Ok(len) => Try::Done(Ok(len)),
                Err(why) => get_failed(attachment, why),
            };
            if task { counted(attachment, once) } else { once() }
        };
        let first = once();
        retry(attachment, first, once)
            .unwrap_or_else(|busy| Err(if busy { GetError::Contended } else { GetError::Empty }))
    }
}

/// A streamed message that was taken from its slot and is still its putter's: to be
/// [received](Self::receive). Nobody else gets it meanwhile, and nobody waits for it: its
/// slot goes on, unless all lease records are in use.
///
/// Dropped, or with its process, it goes to another getter, who begins at its first byte.
#[must_use = "a stream that is dropped goes to another getter"]
pub struct Incoming {
    attachment: Arc<Attachment>,
    place: Place,
    named: Named,
    /// Whether it was counted as a task when it was taken.
    task: bool,
    over: bool,
}

impl Incoming {
    /// For a stream at `place` that this process has just taken.
    pub(super) fn open(attachment: &Arc<Attachment>, place: Place) -> Result<Self, GetError> {
        let Some(named) = attachment.ring.cell(place).stream() else {
            attachment.ring.vacate(place);
            attachment.poison();
            return Err(GetError::Corrupted(NO_SENSE));
        };
        let attachment = Arc::clone(attachment);
        Ok(Self { attachment, place, named, task: false, over: false })
    }

    /// Remembers that the message counts as a task of this process.
    pub(super) fn set_task(&mut self) {
        self.task = true;
    }

    /// Bytes of the message, as its putter says: any number. Check it before
    /// [`receive`](Self::receive).
    pub fn len(&self) -> usize {
        usize::try_from(self.named.len).unwrap_or(usize::MAX)
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Receives the whole message to `into`, which grows with the bytes that come and never
    /// beyond the length, and commits: the putter's call returns. `false` if the putter has
    /// withdrawn it or died: then nothing was taken, and the next get gets the next message.
    ///
    /// What `into` held is overwritten, and need not be cleared first. Unless this says `true` it
    /// may hold anything afterwards.
    ///
    /// # Blocking
    ///
    /// Until the deadline, and no longer than `pace` for each next piece: the putter may be
    /// asleep, stopped or slow. With a pace also no longer than ten of it and a second for each
    /// 16 MiB that have come: a putter that just keeps pace does not keep the caller for ever.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] at the deadline or when the putter did not keep pace, and
    /// [`GetError::NoMemory`]: the message goes to another getter, or to a later call.
    /// [`GetError::ShutDown`] after an immediate shutdown. [`GetError::Corrupted`],
    /// [`GetError::Poisoned`].
    pub fn receive(
        mut self,
        into: &mut Vec<u8>,
        spinner: &mut Spinner,
        deadline: Deadline,
        pace: Option<Duration>,
    ) -> Result<bool, GetError> {
        if !self.attachment.is_usable() {
            return Err(GetError::Poisoned);
        }
        let attachment = Arc::clone(&self.attachment);
        let ring = &attachment.ring;
        let mut stream = match ring.join_named(self.place, self.named) {
            Ok(stream) => stream,
            Err(why) => return self.failed(why),
        };
        let begun = Instant::now();
        loop {
            let Some(record) = ring.record_for(&stream) else { return self.failed(Got::Corrupted) };
            let at_last = pace.map_or(deadline, |pace| {
                let in_all = pace.saturating_mul(PACES).saturating_add(time_for(stream.received()));
                let end = begun.checked_add(in_all);
                end.map_or(deadline, |end| deadline.min(Deadline::at(end)))
            });
            // Relaxed: a hint. The step looks again.
            let seen = (record.truth.load(Relaxed), record.written.load(Relaxed));
            let hint = || (record.truth.load(Relaxed), record.written.load(Relaxed)) != seen;
            let until = pace.map_or(at_last, |pace| at_last.min(Deadline::after(pace)));
            let step = || {
                // ORDERING event-announce (SeqCst): as in `pass`, about `written`.
                fence(SeqCst);
                match ring.read_stream(&mut stream, into) {
                    // The putter goes on no more: it withdraws, unless it is stopped.
                    Got::Nothing if ring.is_discarding() => Try::Done(Err(GetError::ShutDown)),
                    Got::Nothing => Try::Blocked,
                    other => Try::Done(Ok(other)),
                }
            };
            match steadily(&attachment, &record.more, spinner, until, hint, step) {
                Some(Ok(Got::Some | Got::Nothing)) if at_last.passed() => {
                    return Err(GetError::Empty);
                }
                Some(Ok(Got::Some | Got::Nothing)) => {}
                Some(Ok(Got::Whole)) => return Ok(self.commit()),
                Some(Ok(Got::NoMemory)) => {
                    return Err(GetError::NoMemory { len: self.len() });
                }
                Some(Ok(why)) => return self.failed(why),
                Some(Err(error)) => {
                    self.vacate();
                    return Err(error);
                }
                None => return Err(GetError::Empty),
            }
        }
    }

    /// Takes the message and throws it away unread: it is not one that this process wants.
    pub fn refuse(mut self) {
        if !self.attachment.is_inherited() {
            self.commit();
        }
    }

    fn commit(&mut self) -> bool {
        let (place, named, task) = (self.place, self.named, self.task);
        let taken = self.attachment.with_actor(|ring, actor| {
            if task {
                actor.counting(|actor| ring.commit_stream(actor, place, named))
            } else {
                ring.commit_stream(actor, place, named)
            }
        });
        self.over = true;
        if !taken {
            self.forget();
        }
        taken
    }

    /// The stream is over, or makes no sense.
    fn failed(&mut self, why: Got) -> Result<bool, GetError> {
        self.vacate();
        if why == Got::Void {
            return Ok(false);
        }
        self.attachment.ring.end_stream(self.named);
        self.attachment.poison();
        Err(GetError::Corrupted(NO_SENSE))
    }

    /// Nobody gets the message.
    fn vacate(&mut self) {
        self.attachment.ring.vacate(self.place);
        self.over = true;
        self.forget();
    }

    fn forget(&self) {
        if self.task {
            self.attachment.forget_task();
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // A copy that a fork made gives nothing back: the parent has it.
        if !self.over && !self.attachment.is_inherited() {
            self.attachment.ring.hand_back_stream(self.place);
            self.forget();
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("len", &self.len()).finish_non_exhaustive()
    }
}
