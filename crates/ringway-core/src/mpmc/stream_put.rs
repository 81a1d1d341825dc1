//! The putter's side of a [stream](super::stream): steps that never wait.

use super::put::{ATTEMPTS, TryPut};
use super::ring::Ring;
use super::stream::{LONGEST_STREAM, Mark, Named, Record, Truth};
use super::word::{Meta, marks};
use crate::blocks::{Chain, Descriptor};
use crate::peer::Actor;
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};

/// The most pieces of a buffer, each of which is handed over at a time. While one is copied in and
/// another out, the others keep the two sides from waiting for each other.
const PIECES: u64 = 16;
/// A short buffer has four: handing over costs as much as copying a few KiB.
const FEW_PIECES: u64 = 4;
/// The shortest of sixteen pieces, in bytes.
const LEAST_PIECE: u64 = 16 << 10;
/// The smallest buffer, and what every buffer is a multiple of: whole words in each piece.
pub(super) const GRAIN: u64 = PIECES * 8;

/// Bytes of a piece in a buffer of `room`, for both sides.
pub(super) fn piece_of(room: u64) -> u64 {
    room / if room >= PIECES * LEAST_PIECE { PIECES } else { FEW_PIECES }
}

/// A stream that is being put. A step of [`SharedRing::put`](super::SharedRing::put).
#[derive(Debug)]
pub struct Outgoing {
    pub(super) named: Named,
    chain: Chain,
    /// How far the getter was told that it is.
    written: Mark,
    /// Whether a slot names it.
    offered: bool,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// Bytes are there for the getter.
    Some,
    /// The getter must come first.
    NoRoom,
    /// A getter has committed.
    Taken,
    /// The record makes no sense.
    Corrupted,
}

impl Ring {
    /// The record of a stream that the caller puts.
    pub(super) fn record_of(&self, stream: &Outgoing) -> Option<&Record> {
        self.streams.get(stream.named.index)
    }

    /// Bytes of the buffer of a stream that has record `index`: for a lone one a quarter of the
    /// pool (a half where there is one record), for each further one half as much, for the last as
    /// much as for the last but one. All streams together leave half of the pool to other messages;
    /// each has at least a block. Records are used from the first on, and a long buffer is a quick
    /// one: two processors that share a cache find more in it than their own hold.
    fn stream_buffer(&self, index: u64) -> usize {
        let last = u32::try_from(self.streams.len()).unwrap_or(u32::MAX);
        let halvings = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(2).min(last);
        let share = self.pool.bytes().checked_shr(halvings).unwrap_or(0);
        let least = self.geometry().pool.small_block().max(GRAIN);
        (share as u64).max(least).next_multiple_of(GRAIN).try_into().unwrap_or(usize::MAX)
    }

    /// Bytes of the shortest: who finds no room for a longer one begins with that.
    fn least_stream_buffer(&self) -> usize {
        self.stream_buffer(u64::MAX)
    }

    /// Whether [`open_stream`](Self::open_stream) may succeed. For those who wait: an attempt
    /// in vain would wake the others who do, and they it.
    pub(super) fn may_open_stream(&self) -> bool {
        self.streams.iter().any(|record| record.truth().is_free())
            && self.pool.has_room(self.least_stream_buffer())
    }

    /// Takes a record and a buffer for a message of `len` bytes, if there are.
    #[doc(hidden)]
    pub fn open_stream(&self, len: usize, participant: u32) -> Option<Outgoing> {
        if len > LONGEST_STREAM {
            return None;
        }
        let (index, record, truth) =
            (0..).zip(self.streams.iter()).find_map(|(index, record)| {
                let seen = record.truth();
                let mine = seen.opened(participant);
                // ORDERING stream-truth (SeqCst): an acquire: the last putter is done with the
                // record. Relaxed on failure: somebody else's.
                (seen.is_free()
                    && record.truth.compare_exchange(seen.0, mine.0, SeqCst, Relaxed).is_ok())
                .then_some((index, record, mine))
            })?;
        let named = Named { truth, len: len as u64, index };
        let mut stream =
            Outgoing { named, chain: Chain::default(), written: Mark(0), offered: false };
        let take = |len| self.pool.take_buffer(len, participant);
        let wished = self.stream_buffer(index);
        // A look first: an attempt in vain would wake those who wait for blocks.
        let buffer = self.pool.has_room(wished).then(|| take(wished)).flatten();
        let buffer = buffer.or_else(|| take(self.least_stream_buffer()));
        let begun = buffer.and_then(|chain| {
            record.describe(self.pool.describe(&chain));
            stream.chain = chain;
            self.begin_epoch(record)
        });
        match begun {
            Some(epoch) => {
                stream.written = epoch;
                // Relaxed: the slot that names the record releases it.
                record.written.store(epoch.0, Relaxed);
                Some(stream)
            }
            None => {
                self.close_stream(stream);
                None
            }
        }
    }

    /// Begins an epoch at byte 0. By an exchange, so that a getter of an earlier stream
    /// that is just about to change the word does not.
    fn begin_epoch(&self, record: &Record) -> Option<Mark> {
        // Relaxed: the exchange tells.
        let mut seen = Mark(record.read.load(Relaxed));
        for _ in 0..ATTEMPTS {
            // ORDERING stream-read (SeqCst): an acquire and a release, as every change of it.
            match record.read.compare_exchange(seen.0, seen.next().0, SeqCst, Relaxed) {
                Ok(_) => return Some(seen.next()),
                Err(now) => seen = Mark(now),
            }
        }
        // Only a peer that keeps to no protocol writes so often.
        None
    }

    /// Offers the stream in a slot. As [`try_put`](Self::try_put), but that it is not
    /// committed: its getter does that.
    #[doc(hidden)]
    pub fn offer_stream(&self, actor: &mut Actor, stream: &mut Outgoing) -> Result<(), TryPut> {
        let named = stream.named;
        self.try_put_name(actor, |at| self.write_stream_name(at, named))?;
        stream.offered = true;
        Ok(())
    }

    /// As [`offer_stream`](Self::offer_stream), but an orderly shutdown does not refuse it.
    pub(super) fn offer_stream_accepted(
        &self,
        actor: &mut Actor,
        stream: &mut Outgoing,
    ) -> Result<(), TryPut> {
        match self.offer_stream(actor, stream) {
            Err(TryPut::ShutDown) => {
                let named = stream.named;
                // Counted as put when its getter has committed.
                self.put_after_shutdown(actor, |at| self.write_stream_name(at, named))?;
                stream.offered = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Step 3 of offering: the name, in a slot that is ours alone.
    pub(super) fn write_stream_name(&self, position: u64, named: Named) {
        self.write_name(position, Meta::stream(), named.words());
    }

    /// Writes the next piece of `message` to the buffer, if there is room for it.
    #[doc(hidden)]
    pub fn write_stream(&self, stream: &mut Outgoing, message: &[u8]) -> Wrote {
        let Some(record) = self.record_of(stream) else { return Wrote::Corrupted };
        let truth = record.truth();
        if truth != stream.named.truth {
            let taken = truth.is_taken() && truth.is_of(stream.named.truth);
            return if taken { Wrote::Taken } else { Wrote::Corrupted };
        }
        // ORDERING stream-read (acquire): the getter has copied what is before its position;
        // we may write over it.
        let read = Mark(record.read.load(Acquire));
        if read.epoch() != stream.written.epoch() {
            if read.position() != 0 {
                return Wrote::Corrupted;
            }
            // Another getter: from the beginning.
            stream.written = read;
        }
        let (written, room) = (stream.written.position(), stream.chain.len as u64);
        let held = written.checked_sub(read.position()).filter(|held| *held <= room);
        let Some(free) = held.map(|held| room - held) else { return Wrote::Corrupted };
        // Both bounds of a message in private memory.
        let rest = usize::try_from(written).ok().and_then(|from| message.get(from..));
        let Some(rest) = rest.filter(|rest| !rest.is_empty()) else { return Wrote::NoRoom };
        let piece = (rest.len() as u64).min(piece_of(room));
        if piece > free {
            return Wrote::NoRoom;
        }
        // All pieces but the last are alike and the buffer is made of them: none goes round.
        let at = usize::try_from(written % room).unwrap_or(usize::MAX);
        let bytes = usize::try_from(piece).ok().and_then(|piece| rest.get(..piece));
        let copied = bytes.is_some_and(|bytes| self.pool.write(&stream.chain, at, bytes).is_ok());
        if !copied {
            return Wrote::Corrupted;
        }
        stream.written = stream.written.at(written + piece);
        // ORDERING stream-written (SeqCst): the release: the getter that sees the position
        // sees the bytes. An RMW, before the look for a sleeper.
        record.written.swap(stream.written.0, SeqCst);
        record.more.notify();
        Wrote::Some
    }

    /// Ends a stream: withdraws it, or tidies up after its getter. Says whether it was
    /// taken: then it was put.
    #[doc(hidden)]
    pub fn close_stream(&self, stream: Outgoing) -> bool {
        let Outgoing { named, chain, offered, .. } = stream;
        let Some(record) = self.streams.get(named.index) else { return false };
        let mine = |truth: Truth| truth.is_of(named.truth);
        let before = record.step(mine, Truth::without_putter);
        if before == Some(named.truth) {
            record.more.broadcast();
            if offered {
                self.pass_over();
            }
            self.note_end();
        }
        // Also tells those who wait for a record.
        self.pool.free_all(&chain.blocks, chain.owner);
        before.is_some_and(Truth::is_taken)
    }

    /// A slot, wherever it is, names a stream that is over since just now.
    fn pass_over(&self) {
        // Afterwards: who counts and finds none takes the mark down. Killed before it, the
        // repair of our death marks.
        self.set_mark(marks::TOMBS);
        // Whoever waits for room may find this name in its way, and take its place.
        self.not_full.notify();
    }

    /// Where the bytes of a stream are, for its getter.
    pub(super) fn buffer_of(&self, what: Descriptor) -> Option<Chain> {
        let chain = self.pool.follow(what)?;
        (chain.len > 0 && (chain.len as u64).is_multiple_of(GRAIN)).then_some(chain)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::{Heap, Memory};
    use crate::mpmc::{Geometry, Options};

    fn ring(pool: u64, streams: u32) -> Ring {
        let options =
            Options { participants: 4, actors: 8, leases: 2, pool, streams, ..Options::new(4, 16) };
        let geometry = Geometry::new(&options).unwrap();
        let len = usize::try_from(geometry.total_len()).unwrap();
        Ring::new(&Memory::new(Heap::new(len)), geometry).unwrap()
    }

    #[test]
    fn pieces_are_whole_words_and_make_up_the_buffer() {
        for room in (GRAIN..4 * PIECES * LEAST_PIECE).step_by(GRAIN.try_into().unwrap()) {
            let piece = piece_of(room);
            assert!(piece.is_multiple_of(8) && room.is_multiple_of(piece), "{room} by {piece}");
            let long = room >= PIECES * LEAST_PIECE;
            assert_eq!(room / piece, if long { PIECES } else { FEW_PIECES }, "{room}");
        }
        assert_eq!((piece_of(256 << 10), piece_of((256 << 10) - GRAIN)), (16 << 10, 65_504));
    }

    #[test]
    fn all_streams_leave_half_of_the_pool_and_the_first_has_a_quarter() {
        for (streams, shares) in
            [(1, &[2][..]), (2, &[4, 4]), (3, &[4, 8, 8]), (4, &[4, 8, 16, 16])]
        {
            let ring = ring(4 << 20, streams);
            let bytes = ring.pool.bytes();
            let all: Vec<_> = std::iter::from_fn(|| ring.open_stream(8 << 20, 1)).collect();
            let lengths: Vec<_> = all.iter().map(|out| bytes / out.chain.len).collect();
            assert_eq!(lengths, shares);
            assert!(ring.pool.has_room(bytes / 2));
            for out in all {
                assert!(!ring.close_stream(out));
            }
            assert!(ring.pool.has_room(bytes));
        }
        let ring = ring(64 << 10, 64);
        let all: Vec<_> = std::iter::from_fn(|| ring.open_stream(8 << 20, 1)).collect();
        let least = ring.geometry().pool.small_block().max(GRAIN);
        let shortest = all.iter().map(|out| out.chain.len as u64).min();
        assert_eq!(shortest, Some(least), "at least a block");
    }

    #[test]
    fn a_stream_begins_with_little_where_others_have_most_of_the_pool() {
        let ring = ring(4 << 20, 4);
        let bytes = ring.pool.bytes();
        let others = ring.pool.take(bytes - bytes / 8, 2).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| {
            ring.may_open_stream().then(|| ring.open_stream(8 << 20, 1)).flatten()
        })
        .collect();
        let lengths: Vec<_> = all.iter().map(|out| bytes / out.chain.len).collect();
        assert_eq!(lengths, [16, 16], "as many as there is room for");
        ring.pool.free_all(&others.blocks, 2);
        assert!(ring.may_open_stream());
    }
}
