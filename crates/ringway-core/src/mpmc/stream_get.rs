//! The getter's side of a [stream](super::stream): steps that never wait.

use super::get::TryGet;
use super::long::Place;
use super::put::ATTEMPTS;
use super::ring::Ring;
use super::stream::{Mark, Named, Record};
use super::stream_put::PIECES;
use crate::blocks::Chain;
use crate::peer::{Actor, Committed};
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::sync::fence;

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
    /// The record makes no sense.
    Corrupted,
}

impl Ring {
    /// The record of a stream that the caller takes.
    pub(super) fn record_for(&self, stream: &Taking) -> Option<&Record> {
        self.streams.get(stream.named.index)
    }

    /// Looks at a stream that the caller has taken from its slot, and leaves it there or in
    /// a lease record. One that is over is dropped.
    #[cold]
    pub(super) fn meet_stream(&self, actor: &mut Actor, place: Place, named: Named) -> TryGet {
        if self.streams.get(named.index).is_none() {
            self.vacate(place);
            return TryGet::Corrupted("the number of a stream");
        }
        if self.is_void(place) {
            self.vacate(place);
            return TryGet::Busy;
        }
        TryGet::Stream(self.move_to_lease(actor, place))
    }

    /// Begins to take the stream at `place`, which is the caller's. `Err` is [`Got::Void`] or
    /// [`Got::Corrupted`]: `place` is still the caller's.
    #[doc(hidden)]
    pub fn join_stream(&self, place: Place) -> Result<Taking, Got> {
        let named = self.cell(place).stream().ok_or(Got::Corrupted)?;
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
                return Ok(Taking { place, named, chain, read: seen });
            }
            // ORDERING stream-read (SeqCst): before the look for a sleeping putter, who has
            // to begin again. Relaxed on failure: looked at afresh.
            if record.read.compare_exchange(seen.0, seen.next().0, SeqCst, Relaxed).is_ok() {
                record.room.notify();
                return Ok(Taking { place, named, chain, read: seen.next() });
            }
        }
        Err(Got::Corrupted)
    }

    /// Copies what is there of the next piece behind `to`, which has what came before.
    /// Memory grows with the bytes that have come.
    #[doc(hidden)]
    pub fn read_stream(&self, stream: &mut Taking, to: &mut Vec<u8>) -> Got {
        let Some(record) = self.record_for(stream) else { return Got::Corrupted };
        if record.truth() != stream.named.truth {
            return Got::Void;
        }
        let (len, room) = (stream.named.len, stream.chain.len as u64);
        let from = stream.read.position();
        if from == len {
            return Got::Whole;
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
        // To the end of a piece: so nothing goes round the buffer.
        let piece = room / PIECES;
        let many = there.min(piece - from % piece);
        let (Ok(many), Ok(at)) = (usize::try_from(many), usize::try_from(from % room)) else {
            return Got::Corrupted;
        };
        if many == 0 {
            return Got::Nothing;
        }
        let begin = to.len();
        if to.capacity() - begin < many {
            let rest = usize::try_from(len - from).unwrap_or(usize::MAX);
            to.reserve_exact(rest.min(begin.max(LEAST_GROWTH).max(many)));
        }
        to.resize(begin + many, 0);
        if self.pool.read(&stream.chain, at, &mut to[begin..]).is_err() {
            return Got::Corrupted;
        }
        let next = stream.read.at(from + many as u64);
        // ORDERING stream-read (SeqCst): the release: the copy above is complete before the
        // putter writes there again. An RMW before the look for a sleeper. What was copied
        // counts only if nobody has begun another epoch: failure is looked into.
        if record.read.compare_exchange(stream.read.0, next.0, SeqCst, Relaxed).is_err() {
            return self.begin_again(stream, to);
        }
        stream.read = next;
        record.room.notify();
        if next.position() == len { Got::Whole } else { Got::Some }
    }

    /// Somebody changed what is ours alone: the stream is over, or a getter of an earlier
    /// one woke up and was in our way.
    #[cold]
    fn begin_again(&self, stream: &mut Taking, to: &mut Vec<u8>) -> Got {
        match self.join_stream(stream.place) {
            Ok(again) => {
                to.clear();
                *stream = again;
                Got::Some
            }
            Err(why) => why,
        }
    }

    /// COMMIT of a stream that was read whole, or is thrown away unread. `false` if it is
    /// over: then nothing was taken. The place is free in either case.
    pub(super) fn commit_stream(&self, actor: &mut Actor, place: Place, named: Named) -> bool {
        let taken = self.streams.get(named.index).is_some_and(|record| {
            // ORDERING stream-truth (SeqCst): excludes a withdrawal; before the look for the
            // putter that sleeps. Failure: it is over.
            let done = record
                .truth
                .compare_exchange(named.truth.0, named.truth.taken().0, SeqCst, Relaxed)
                .is_ok();
            if done {
                record.room.notify();
            }
            done
        });
        self.vacate(place);
        if taken {
            self.actors.count_one(actor, Committed::Get);
        }
        taken
    }

    /// As [`commit_stream`](Self::commit_stream).
    #[doc(hidden)]
    pub fn take_stream(&self, actor: &mut Actor, stream: &Taking) -> bool {
        self.commit_stream(actor, stream.place, stream.named)
    }

    /// Gives a stream that was not committed to another getter, or drops it if it is over.
    #[doc(hidden)]
    pub fn hand_back_stream(&self, place: Place) {
        if self.is_void(place) {
            self.vacate(place);
        } else {
            self.give_back(place);
            // The putter may withdraw between the look and the giving back, and find it
            // nowhere.
            if self.is_void(place) {
                self.bury_streams();
            }
        }
    }
}
