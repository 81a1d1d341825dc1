//! The getter's side of a [stream](super::stream): steps that never wait.

use super::get::TryGet;
use super::long::Place;
use super::put::ATTEMPTS;
use super::ring::Ring;
use super::stream::{LONGEST_STREAM, Mark, Named, Record, Truth};
use super::stream_put::piece_of;
use crate::blocks::Chain;
use crate::peer::{Actor, Committed, Take};
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::sync::fence;

/// How often one who takes a stream begins it anew because somebody else moved its position:
/// by the protocol never, but for one that stood still for 2^20 epochs.
const RESTARTS: u32 = 8;
/// A buffer grows by no less, unless the message ends before.
const LEAST_GROWTH: usize = 64 << 10;

/// A stream that the caller has taken from its slot and has not committed. A step of
/// [`Incoming::receive`](super::Incoming::receive).
#[derive(Debug)]
pub struct Taking {
    /// Where it is.
    #[doc(hidden)]
    pub place: Place,
    pub(super) named: Named,
    chain: Chain,
    pub(super) read: Mark,
    restarts: u32,
}

impl Taking {
    /// Bytes that have come so far.
    pub(super) fn received(&self) -> u64 {
        self.read.position()
    }
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// Bytes.
    Some,
    /// The putter must come first.
    Nothing,
    /// All of it. To be committed.
    Whole,
    /// The stream is over: withdrawn, or its putter is dead.
    Void,
    /// The caller has no memory for what comes next.
    NoMemory,
    /// The record makes no sense.
    Corrupted,
}

/// All of a message of `len` bytes is in `to`.
fn whole(len: u64, to: &mut Vec<u8>) -> Got {
    to.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    Got::Whole
}

impl Ring {
    /// The record of a stream that the caller takes.
    pub(super) fn record_for(&self, stream: &Taking) -> Option<&Record> {
        self.streams.get(stream.named.index)
    }

    /// As [`try_get`](Self::try_get), but takes no stream: those in its way are given back, for
    /// others to get, and it takes what is behind them. With `task` as
    /// [`try_get_task`](Self::try_get_task).
    ///
    /// No order is hurt: the put of a stream has not returned.
    pub(super) fn try_get_beside(
        &self,
        actor: &mut Actor,
        buffer: &mut [u8],
        task: bool,
    ) -> Result<usize, TryGet> {
        let places = &mut self.given_back_places();
        places.beside_streams = true;
        let mut once = |actor: &mut Actor| {
            self.past_voids(|| {
                let place = self.take_in_place(actor, places)?;
                self.get_taken(actor, place, buffer)
            })
        };
        // As many as can be open at a time.
        for _ in 0..=self.streams.len() {
            let got = if task { actor.counting(&mut once) } else { once(actor) };
            match got {
                Err(TryGet::Stream(place)) => self.hand_back_stream(place),
                other => return other,
            }
        }
        Err(TryGet::Empty)
    }

    /// Looks at a stream that the caller has taken from its slot, and leaves it there or in
    /// a lease record. One that is over is dropped: `None`.
    #[cold]
    pub(super) fn meet_stream(
        &self,
        actor: &mut Actor,
        place: Place,
        named: Named,
    ) -> Option<TryGet> {
        if self.streams.get(named.index).is_none() {
            self.vacate(place);
            return Some(TryGet::Corrupted("the number of a stream"));
        }
        if self.is_void(place) {
            self.vacate(place);
            return None;
        }
        Some(TryGet::Stream(self.move_to_lease(actor, place)))
    }

    /// As [`join_named`](Self::join_named), of what is named at `place` now.
    #[doc(hidden)]
    pub fn join_stream(&self, place: Place) -> Result<Taking, Got> {
        let named = self.cell(place).stream().ok_or(Got::Corrupted)?;
        self.join_named(place, named)
    }

    /// Begins to take the stream at `place`, which is the caller's, and which it has found
    /// `named` there: the length that the caller has checked is the one that counts. `Err` is
    /// [`Got::Void`] or [`Got::Corrupted`]: `place` is still the caller's.
    pub(super) fn join_named(&self, place: Place, named: Named) -> Result<Taking, Got> {
        if named.len > LONGEST_STREAM as u64 {
            return Err(Got::Corrupted);
        }
        let record = self.streams.get(named.index).ok_or(Got::Corrupted)?;
        for _ in 0..ATTEMPTS {
            // ORDERING stream-read (acquire): before the look at the truth below.
            let seen = Mark(record.read.load(Acquire));
            let chain = self.buffer_of(record.descriptor());
            // ORDERING stream-truth (acquire): the loads above come before the look: if the
            // stream is still open, all of them were of it.
            fence(Acquire);
            if record.truth() != named.truth {
                return Err(Got::Void);
            }
            let chain = chain.ok_or(Got::Corrupted)?;
            if seen.position() == 0 {
                // Nobody has read: what was written is all there.
                return Ok(Taking { place, named, chain, read: seen, restarts: 0 });
            }
            // ORDERING stream-read (SeqCst): before the look for a sleeping putter, who has
            // to begin again. Relaxed on failure: looked at afresh.
            if record.read.compare_exchange(seen.0, seen.next().0, SeqCst, Relaxed).is_ok() {
                record.room.notify();
                return Ok(Taking { place, named, chain, read: seen.next(), restarts: 0 });
            }
        }
        Err(Got::Corrupted)
    }

    /// Copies what is there of the next piece to `to`, which has what came before and may have
    /// bytes of no use behind it: those need not be made zeros first. Memory grows with the bytes
    /// that have come. `to` ends with the message once that is whole.
    #[doc(hidden)]
    pub fn read_stream(&self, stream: &mut Taking, to: &mut Vec<u8>) -> Got {
        let Some(record) = self.record_for(stream) else { return Got::Corrupted };
        if record.truth() != stream.named.truth {
            return Got::Void;
        }
        let (len, room) = (stream.named.len, stream.chain.len as u64);
        let from = stream.read.position();
        if from == len {
            return whole(len, to);
        }
        // ORDERING stream-written (acquire): the bytes before this position.
        let written = Mark(record.written.load(Acquire));
        if written.epoch() != stream.read.epoch() {
            // The putter has not seen us yet.
            return Got::Nothing;
        }
        let there = written.position().checked_sub(from).filter(|there| *there <= room);
        let Some(there) = there.filter(|_| written.position() <= len) else {
            return Got::Corrupted;
        };
        // A whole piece or all the rest, as the putter writes them: so nothing goes round the
        // buffer, and a message comes in so many steps.
        let many = piece_of(room).min(len - from);
        if there < many {
            return Got::Nothing;
        }
        let (Ok(many), Ok(at)) = (usize::try_from(many), usize::try_from(from % room)) else {
            return Got::Corrupted;
        };
        let (Ok(begin), Ok(rest)) = (usize::try_from(from), usize::try_from(len - from)) else {
            return Got::NoMemory;
        };
        let end = begin + many;
        let is_fresh = to.len() < end;
        if is_fresh {
            // The message may be longer than this process's memory.
            let more = rest.min(begin.max(LEAST_GROWTH).max(many));
            if to.capacity() < end && to.try_reserve_exact(begin + more - to.len()).is_err() {
                return Got::NoMemory;
            }
            to.resize(end, 0);
        }
        // What was filled with zeros right before lies in the cache.
        let message = if is_fresh { 0 } else { len };
        let begun = self.pool.read_times().begin(many);
        let read = self.pool.read_part(message, &stream.chain, at, &mut to[begin..end]);
        self.pool.read_times().end(begun, many);
        if read.is_err() {
            return Got::Corrupted;
        }
        let next = stream.read.at(from + many as u64);
        // ORDERING stream-read (SeqCst): the release: the copy above is complete before the
        // putter writes there again. An RMW before the look for a sleeper. What was copied
        // counts only if nobody has begun another epoch: failure is looked into.
        if record.read.compare_exchange(stream.read.0, next.0, SeqCst, Relaxed).is_err() {
            return self.begin_again(stream);
        }
        stream.read = next;
        record.room.notify();
        if next.position() == len { whole(len, to) } else { Got::Some }
    }

    /// Somebody changed what is ours alone: the stream is over, or a getter of an earlier
    /// one woke up and was in our way.
    #[cold]
    fn begin_again(&self, stream: &mut Taking) -> Got {
        if stream.restarts == RESTARTS {
            return Got::Corrupted;
        }
        match self.join_named(stream.place, stream.named) {
            Ok(again) => {
                *stream = Taking { restarts: stream.restarts + 1, ..again };
                Got::Some
            }
            Err(why) => why,
        }
    }

    /// COMMIT of a stream that was read whole, or is thrown away unread. `false` if it is
    /// over: then nothing was taken. The place is free in either case.
    pub(super) fn commit_stream(&self, actor: &mut Actor, place: Place, named: Named) -> bool {
        let taken = self.begin_commit(actor, named);
        if taken {
            self.end_commit(actor, named);
        }
        self.vacate(place);
        if taken {
            self.actors.count_one(actor, Committed::Get);
        }
        taken
    }

    /// The commit itself, before which is written down, for a task, that it comes.
    pub(super) fn begin_commit(&self, actor: &mut Actor, named: Named) -> bool {
        let Some(record) = self.streams.get(named.index) else { return false };
        let take = Take::Stream { record: named.index, truth: named.truth.0 };
        self.actors.begin_take(actor, take);
        let taken = named.truth.taken(actor.participant());
        // ORDERING stream-truth (SeqCst): excludes a withdrawal; before the look for the
        // putter that sleeps. Failure: it is over.
        if record.truth.compare_exchange(named.truth.0, taken.0, SeqCst, Relaxed).is_err() {
            self.actors.withdraw_take(actor);
            return false;
        }
        record.room.notify();
        self.note_end();
        true
    }

    /// Counts a task that was committed, and is done with the record.
    pub(super) fn end_commit(&self, actor: &mut Actor, named: Named) {
        // Before the record may be used again: until then repair can tell that it was taken.
        self.actors.end_take(actor, 1);
        let Some(record) = self.streams.get(named.index) else { return };
        let me = actor.participant();
        let mine = |truth: Truth| truth.is_of(named.truth) && truth.getter() == me;
        let before = record.step(mine, Truth::without_getter);
        if before.and_then(Truth::without_getter).is_some_and(Truth::is_free) {
            // Putters wait for a record where they wait for blocks.
            self.pool.freed().notify_all();
        }
    }

    /// Whether `getter`, which is dead, has committed the stream of which its intent says
    /// that it would. Until it was done with the record, nobody opened that again.
    pub(super) fn has_committed(&self, getter: u32, record: u64, truth: u64) -> bool {
        self.streams.get(record).is_some_and(|record| {
            let now = record.truth();
            now.is_taken() && now.is_of(Truth(truth)) && now.getter() == getter
        })
    }

    /// As [`commit_stream`](Self::commit_stream).
    #[doc(hidden)]
    pub fn take_stream(&self, actor: &mut Actor, stream: &Taking) -> bool {
        self.commit_stream(actor, stream.place, stream.named)
    }

    /// The record of a stream that the caller takes makes no sense: nobody gets the message, and
    /// its putter, which would wait for a getter, is told.
    pub(super) fn end_stream(&self, named: Named) {
        let Some(record) = self.streams.get(named.index) else { return };
        record.step(|now| now == named.truth, Truth::without_putter);
        record.broadcast();
        self.note_end();
    }

    /// Gives a stream that was not committed to another getter, or drops it if it is over.
    #[doc(hidden)]
    pub fn hand_back_stream(&self, place: Place) {
        if self.is_void(place) {
            self.vacate(place);
            return;
        }
        self.give_back(place);
        self.drop_handed_back(place);
    }

    /// Drops what was just given back at `place`, should it be over by now.
    pub(super) fn drop_handed_back(&self, place: Place) {
        // ORDERING event-announce (SeqCst): who withdraws wakes a putter that waits for the
        // slot. If that came too early to find it given back, we see here that it is over.
        fence(SeqCst);
        if self.drop_void(place) {
            self.not_full.notify();
            // Nor will it come back to those who wait for that after a shutdown.
            self.note_end();
        }
    }
}
