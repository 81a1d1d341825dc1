//! Streams: messages that are longer than the pool.
//!
//! ```text
//! put:  record: FREE → OPEN(me)      CAS            get:  claim, slot.state = TAKEN(me), to a lease record
//!       take blocks, a circle of bytes                    the record is as the slot names it? else drop the slot
//!       claim a slot, name the record, FULL               read: an epoch of its own, from byte 0
//!       write bytes while there is room   ───────────→    copy bytes to private memory
//!       written = epoch, position   RMW                   read = epoch, position   CAS
//!       record is TAKEN: return Ok  ←─────────────────    record: OPEN → TAKEN     CAS, COMMIT
//!       record: FREE; give the blocks back                give the lease record free
//! ```
//!
//! # The only truth
//!
//! One word per record, `generation:48 | owner:12 | phase:4`. A slot names the record and
//! the exact word it must have. Whoever takes a slot whose word does not match any more has
//! taken nothing: the putter has withdrawn, died, or been told that the message was taken. So
//! who withdraws or repairs changes that one word, and need not find the slot.
//!
//! # Epochs
//!
//! The putter has the whole message until it returns. A getter that dies, or hands the
//! message back at its deadline, leaves it to another, who begins a new *epoch*: both
//! positions carry it, and bytes that were written in another one are never accepted. The
//! putter sees the new epoch and begins again at byte 0. An epoch in which nothing was read
//! is used as it is; so epochs are never more than one ahead of the putter's answer.
//!
//! A getter that was stopped and whose stream is long over can do no harm: every copy is
//! accepted by a compare-and-swap of `read` from the exact word of its own last step, and
//! opening a record begins an epoch, too. It would have to be stopped for exactly 2^20 epochs
//! of one record, between two neighbouring instructions, to meet its word again.

use super::layout::Geometry;
use super::long::{Cell, Place};
use super::ring::Ring;
use super::word::{Meta, Phase, State, marks};
use crate::blocks::Descriptor;
use crate::memory::{Memory, OutOfBounds, Word64};
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::wait::Event;

/// Bytes of a record: a line that the putter writes, one that the getter writes, and one for
/// those who wait.
pub(super) const RECORD: u64 = 384;

/// The longest streamed message: 2^44 bytes less one, as far as positions go.
pub const LONGEST_STREAM: usize = (1 << Mark::POSITION_BITS) - 1;

/// The truth about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truth(pub(super) u64);

impl Truth {
    const PHASE: u64 = 0xF;
    const OPEN: u64 = 1;
    const TAKEN: u64 = 2;
    const OWNER_SHIFT: u32 = 4;
    const GENERATION_SHIFT: u32 = 16;

    pub(super) fn is_free(self) -> bool {
        self.0 & Self::PHASE == 0
    }

    /// The participant that puts.
    pub(super) fn owner(self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "12 bits")]
        let owner = (self.0 >> Self::OWNER_SHIFT & 0xFFF) as u32;
        owner
    }

    /// The word of the next stream, `owner`'s.
    pub(super) fn opened(self, owner: u32) -> Self {
        let generation = (self.0 >> Self::GENERATION_SHIFT).wrapping_add(1);
        let owner = u64::from(owner & 0xFFF) << Self::OWNER_SHIFT;
        Self(generation << Self::GENERATION_SHIFT | owner | Self::OPEN)
    }

    /// The same stream, committed by its getter.
    pub(super) fn taken(self) -> Self {
        Self(self.0 & !Self::PHASE | Self::TAKEN)
    }

    /// The stream is over.
    pub(super) fn freed(self) -> Self {
        Self(self.0 >> Self::GENERATION_SHIFT << Self::GENERATION_SHIFT)
    }

    pub(super) fn is_open(self) -> bool {
        self.0 & Self::PHASE == Self::OPEN
    }
}

/// How far one side has come: `epoch:20 | position:44`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(pub(super) u64);

impl Mark {
    const POSITION_BITS: u32 = 44;

    pub(super) fn epoch(self) -> u64 {
        self.0 >> Self::POSITION_BITS
    }

    pub(super) fn position(self) -> u64 {
        self.0 & ((1 << Self::POSITION_BITS) - 1)
    }

    /// Byte `position` of the same epoch.
    pub(super) fn at(self, position: u64) -> Self {
        Self(self.epoch() << Self::POSITION_BITS | position)
    }

    /// Byte 0 of the next epoch.
    pub(super) fn next(self) -> Self {
        Self(self.epoch().wrapping_add(1) << Self::POSITION_BITS)
    }
}

/// What a slot or lease record says of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) truth: Truth,
    pub(super) len: u64,
    pub(super) index: u64,
}

impl Named {
    const INDEX_BITS: u32 = 16;

    pub(super) fn words(self) -> [u64; 2] {
        [self.truth.0, self.len << Self::INDEX_BITS | self.index]
    }

    /// From words that may hold anything.
    pub(super) fn from_words([truth, rest]: [u64; 2]) -> Self {
        let index = rest & ((1 << Self::INDEX_BITS) - 1);
        Self { truth: Truth(truth), len: rest >> Self::INDEX_BITS, index }
    }
}

/// One stream at a time.
pub(super) struct Record {
    pub(super) truth: Word64,
    /// The putter's buffer.
    chain: [Word64; 2],
    pub(super) written: Word64,
    pub(super) read: Word64,
    /// What the getter sleeps on.
    pub(super) more: Event,
    /// What the putter sleeps on.
    pub(super) room: Event,
}

impl Record {
    fn new(memory: &Memory, at: u64) -> Result<Self, OutOfBounds> {
        Ok(Self {
            truth: memory.word64(at)?,
            chain: [memory.word64(at + 8)?, memory.word64(at + 16)?],
            written: memory.word64(at + 24)?,
            read: memory.word64(at + 128)?,
            more: Event::new(memory.word32(at + 256)?),
            room: Event::new(memory.word32(at + 320)?),
        })
    }

    pub(super) fn truth(&self) -> Truth {
        // ORDERING stream-truth (acquire): who finds the stream open finds what its putter
        // wrote into the record; who finds it taken, that the getter has all of it.
        Truth(self.truth.load(Acquire))
    }

    /// Says where the bytes will be. Published with the slot.
    pub(super) fn describe(&self, what: Descriptor) {
        for (word, value) in self.chain.iter().zip(what.words()) {
            // Relaxed: the slot that names the record releases it.
            word.store(value, Relaxed);
        }
    }

    /// Where the bytes are. May be of a later stream: look at the truth afterwards.
    pub(super) fn descriptor(&self) -> Descriptor {
        // Relaxed: the slot was acquired; and the caller looks whether it is still so.
        Descriptor::from_words([self.chain[0].load(Relaxed), self.chain[1].load(Relaxed)])
    }

    /// Wakes all who wait for this stream.
    pub(super) fn broadcast(&self) {
        self.more.broadcast();
        self.room.broadcast();
    }
}

/// The records of a ring, in its segment.
pub(super) struct Streams(Vec<Record>);

impl Streams {
    pub(super) fn new(memory: &Memory, geometry: &Geometry) -> Result<Self, OutOfBounds> {
        let at = |index| geometry.streams_at() + index * RECORD;
        let records = (0..geometry.streams).map(|index| Record::new(memory, at(index)));
        Ok(Self(records.collect::<Result<_, _>>()?))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Record `index`, which may be any number.
    pub(super) fn get(&self, index: u64) -> Option<&Record> {
        self.0.get(usize::try_from(index).ok()?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.iter()
    }

    /// Wakes all who wait for any stream.
    pub(super) fn broadcast(&self) {
        self.iter().for_each(Record::broadcast);
    }
}

impl Cell<'_> {
    /// The stream that is named here, if one is.
    pub(super) fn stream(&self) -> Option<Named> {
        let words = || self.payload_words();
        (self.meta().kind() == Meta::STREAM).then(|| Named::from_words(words()))
    }
}

impl Ring {
    /// Whether a message may be longer than the pool.
    pub fn streams(&self) -> bool {
        self.streams.len() > 0
    }

    /// Whether a message of `len` bytes is to be streamed.
    pub(super) fn is_streamed(&self, len: usize) -> bool {
        self.streams() && len > self.max_kept()
    }

    /// Whether any stream is being put. One that is not offered yet counts.
    pub(super) fn has_open_stream(&self) -> bool {
        self.streams.iter().any(|record| record.truth().is_open())
    }

    /// Whether what is named at `place` is a stream that is over.
    pub(super) fn is_void(&self, place: Place) -> bool {
        let Some(named) = self.cell(place).stream() else { return false };
        let Some(record) = self.streams.get(named.index) else { return false };
        record.truth() != named.truth || !named.truth.is_open()
    }

    /// Takes the name of a stream that is over from where it waits, so that it holds up
    /// nobody and counts for nothing: the slot of `position`, if it was offered there, and
    /// lease records. Where a getter has it, that one finds out.
    pub(super) fn bury_stream(&self, position: u64, named: Named) {
        let slot = Place::slot(position);
        if self.cell(slot).stream() == Some(named) {
            self.bury_slot(position);
        }
        for lease in (0..self.geometry().leases).map(Place::lease) {
            let cell = self.cell(lease);
            let Some(word) = cell.state() else { continue };
            // ORDERING lease-record (acquire): what the record holds.
            let state = State(word.load(Acquire));
            if state.phase() == Some(Phase::Redeliver) && cell.stream() == Some(named) {
                // ORDERING lease-record (SeqCst): a taker or another who buries was quicker,
                // or nobody meets it.
                let _ = word.compare_exchange(state.0, state.next_lease().0, SeqCst, Relaxed);
            }
        }
    }

    /// The slot of `position` names a stream that is over, unless it has been used again:
    /// makes a tomb of it, or frees it if it was given back. A getter that has claimed it
    /// and not said so overwrites the tomb and finds out itself.
    pub(super) fn bury_slot(&self, position: u64) {
        let Some(word) = self.state_word(position) else { return };
        let lap = self.positions.lap(position);
        // Before the tomb: who counts messages must not miss it.
        self.set_mark(marks::TOMBS);
        let next = State::of(Phase::Empty, self.positions.lap_after(lap));
        let changes = [
            (State::of(Phase::Full, lap), State::of(Phase::Tomb, lap)),
            (State::of(Phase::Redeliver, lap), next),
        ];
        for (from, to) in changes {
            // ORDERING mpmc-commit (SeqCst): what sleepers wait for changes here; the look
            // for them follows. Failure: somebody has it, and finds out.
            if word.compare_exchange(from.0, to.0, SeqCst, Relaxed).is_ok() {
                self.not_full.notify();
            }
        }
    }

    // ---- Repair -----------------------------------------------------------------

    /// Ends the streams of a dead putter. Before its slots are looked at: they name nothing
    /// then.
    pub(super) fn settle_streams(&self, dead: u32) {
        for record in self.streams.iter() {
            let seen = record.truth();
            if !seen.is_free() && seen.owner() == dead {
                // ORDERING stream-truth (SeqCst): the getter looks at it once more before its
                // commit, which fails. Failure: another repairer, or that getter's commit:
                // then the message was taken, and the next look ends it.
                if record.truth.compare_exchange(seen.0, seen.freed().0, SeqCst, Relaxed).is_err() {
                    let now = record.truth();
                    if now == seen.taken() {
                        // ORDERING stream-truth (SeqCst): as above.
                        let _ =
                            record.truth.compare_exchange(now.0, now.freed().0, SeqCst, Relaxed);
                    }
                }
            }
        }
    }

    /// Makes tombs of what is offered and over.
    pub(super) fn bury_streams(&self) {
        if !self.streams() {
            return;
        }
        for index in 0..self.capacity() {
            let Some(state) = self.state(index) else { continue };
            let position = self.positions.at(state.lap(), index);
            let there = matches!(state.phase(), Some(Phase::Full | Phase::Redeliver));
            // A slot that is used again meanwhile has another lap, and is left alone.
            if there && self.is_void(Place::slot(position)) {
                self.bury_slot(position);
            }
        }
        for lease in (0..self.geometry().leases).map(Place::lease) {
            let cell = self.cell(lease);
            let Some(word) = cell.state() else { continue };
            // ORDERING lease-record (acquire): what the record holds.
            let state = State(word.load(Acquire));
            if state.phase() == Some(Phase::Redeliver) && self.is_void(lease) {
                // ORDERING lease-record (SeqCst): as in `bury_stream`.
                let _ = word.compare_exchange(state.0, state.next_lease().0, SeqCst, Relaxed);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_they_are_given() {
        let free = Truth(0);
        assert!(free.is_free() && !free.is_open());
        let open = free.opened(4095);
        assert!(open.is_open() && !open.is_free());
        assert_eq!((open.owner(), open.taken().owner()), (4095, 4095));
        assert!(!open.taken().is_open() && open.taken().freed().is_free());
        assert_ne!(open.freed().opened(4095), open, "a generation later");
        let mark = Mark(u64::MAX);
        assert_eq!(mark.next(), Mark(0), "epochs come round without touching the position");
        assert_eq!(mark.at(7).position(), 7);
        assert_eq!(mark.at(7).epoch(), mark.epoch());
        let named = Named { truth: open, len: LONGEST_STREAM as u64, index: 65_535 };
        assert_eq!(Named::from_words(named.words()), named);
    }
}
