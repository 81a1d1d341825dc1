//! Streams: messages that are longer than the pool.
//!
//! ```text
//! put:  record: FREE → OPEN(me)      CAS            get:  claim, slot.state = TAKEN(me), to a lease record
//!       take blocks, a circle of bytes                    the record is as the slot names it? else drop the slot
//!       claim a slot, name the record, FULL               read: an epoch of its own, from byte 0
//!       write bytes while there is room   ───────────→    copy bytes to private memory
//!       written = epoch, position   RMW                   read = epoch, position   CAS
//!       record is TAKEN: return Ok  ←─────────────────    record: OPEN → TAKEN     CAS, COMMIT
//!       done with the record, give the blocks back        count it, done with the record
//! ```
//!
//! # The only truth
//!
//! One word per record, `generation:36 | getter:12 | putter:12 | phase:4`. A slot names the
//! record and the exact word it must have. Whoever takes a slot whose word does not match any
//! more has taken nothing: the putter has withdrawn or died, or was told that the message was
//! taken. So who withdraws or repairs changes that one word, and need not find the slot.
//!
//! Nobody makes a tomb of such a slot either: two would have to agree on it, one of whom is
//! just taking it. It stays as it is, and every way past it is one that was there before:
//!
//! * FULL at the head: getters take it by an ordinary get and drop it; putters that find the
//!   ring full of it do the same, as with a tomb. Behind older messages it keeps its place
//!   until those are taken, as a tomb does.
//! * REDELIVER: getters claim it as ever and drop it; putters and repair free it by the
//!   exchange with which a getter would have claimed it.
//! * TAKEN: is its getter's, and that one finds out.
//!
//! # Who is done with a record
//!
//! ```text
//!                  withdrawn, or the putter died
//! FREE ──→ OPEN ─────────────────────────────────────────────────────────→ FREE
//!            │ a getter has all of it: COMMIT
//!            └──→ TAKEN ──→ PUT (the putter knows) ─── the getter is done ──→ FREE
//!                   └─────→ GOT (the getter is done) ─ the putter knows ────→ FREE
//! ```
//!
//! After the commit both still need the word: the putter, to return; the getter, or the
//! repair of its death, to count what it took. The last of them frees the record. Neither
//! waits for the other: one that is stopped there keeps a record, and no call; but records are
//! few, and when all are kept the next stream waits for one.
//!
//! # Epochs
//!
//! The putter has the whole message until it returns. A getter that dies, or hands the
//! message back at its deadline, leaves it to another, who begins a new *epoch*: both
//! positions carry it, and bytes that were written in another one are never accepted. The
//! putter sees the new epoch and begins again at byte 0. An epoch in which nothing was read
//! is used as it is.
//!
//! A getter that was stopped and whose stream is long over can do no harm: every copy is
//! accepted by a compare-and-swap of `read` from the exact word of its own last step, and
//! opening a record begins an epoch, too. It would have to be stopped for exactly 2^20 epochs
//! of one record, between two neighbouring instructions, to meet its word again.

use super::layout::Geometry;
use super::long::{Cell, Place};
use super::ring::Ring;
use super::word::{Meta, Phase, SHUTDOWN, State, marks};
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
    /// Committed; both sides are still to be done with it.
    const TAKEN: u64 = 2;
    /// Committed, and the putter knows.
    const PUT: u64 = 3;
    /// Committed, and the getter has counted it.
    const GOT: u64 = 4;
    const PUTTER_SHIFT: u32 = 4;
    const GETTER_SHIFT: u32 = 16;
    const GENERATION_SHIFT: u32 = 28;

    fn phase(self) -> u64 {
        self.0 & Self::PHASE
    }

    fn participant(self, shift: u32) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "12 bits")]
        let participant = (self.0 >> shift & 0xFFF) as u32;
        participant
    }

    fn in_phase(self, phase: u64) -> Self {
        Self(self.0 & !Self::PHASE | phase)
    }

    pub(super) fn is_free(self) -> bool {
        self.phase() == 0
    }

    pub(super) fn is_open(self) -> bool {
        self.phase() == Self::OPEN
    }

    /// Whether a getter has committed and somebody is not done with it yet.
    pub(super) fn is_taken(self) -> bool {
        matches!(self.phase(), Self::TAKEN | Self::PUT | Self::GOT)
    }

    /// The participant that puts.
    pub(super) fn putter(self) -> u32 {
        self.participant(Self::PUTTER_SHIFT)
    }

    /// The participant that has taken it, once one has.
    pub(super) fn getter(self) -> u32 {
        self.participant(Self::GETTER_SHIFT)
    }

    /// Whether both are of the same stream.
    pub(super) fn is_of(self, other: Self) -> bool {
        self.0 >> Self::GENERATION_SHIFT == other.0 >> Self::GENERATION_SHIFT
    }

    /// The word of the next stream, `putter`'s.
    pub(super) fn opened(self, putter: u32) -> Self {
        let generation = (self.0 >> Self::GENERATION_SHIFT).wrapping_add(1);
        let putter = u64::from(putter & 0xFFF) << Self::PUTTER_SHIFT;
        Self(generation << Self::GENERATION_SHIFT | putter | Self::OPEN)
    }

    /// The same stream, committed by `getter`.
    pub(super) fn taken(self, getter: u32) -> Self {
        Self(self.0 | u64::from(getter & 0xFFF) << Self::GETTER_SHIFT).in_phase(Self::TAKEN)
    }

    /// The stream is over.
    pub(super) fn freed(self) -> Self {
        Self(self.0 >> Self::GENERATION_SHIFT << Self::GENERATION_SHIFT)
    }

    /// The same once its putter is done with it: withdraws it if nobody has committed.
    pub(super) fn without_putter(self) -> Option<Self> {
        match self.phase() {
            Self::OPEN | Self::GOT => Some(self.freed()),
            Self::TAKEN => Some(self.in_phase(Self::PUT)),
            _ => None,
        }
    }

    /// The same once the getter that has committed is done with it.
    pub(super) fn without_getter(self) -> Option<Self> {
        match self.phase() {
            Self::TAKEN => Some(self.in_phase(Self::GOT)),
            Self::PUT => Some(self.freed()),
            _ => None,
        }
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
        // wrote into the record; who finds it taken, that the getter has all of it. SeqCst: a
        // sleeper's last look, as in `put_blocked`.
        Truth(self.truth.load(SeqCst))
    }

    /// Changes the truth by `step`, as long as it is one that `concerns` the caller and has a
    /// next. What it was before, if it was changed.
    pub(super) fn step(
        &self,
        concerns: impl Fn(Truth) -> bool,
        step: impl Fn(Truth) -> Option<Truth>,
    ) -> Option<Truth> {
        // A stream has so many steps; each failure is one of the other side's.
        const STEPS: u32 = 4;
        for _ in 0..STEPS {
            let seen = self.truth();
            let next = step(seen).filter(|_| concerns(seen))?;
            // ORDERING stream-truth (SeqCst): commit, withdrawal and repair exclude each other.
            // The release: who finds it over, or opens it next, finds us done with it. An RMW
            // before the look for sleepers. Failure: looked at again.
            if self.truth.compare_exchange(seen.0, next.0, SeqCst, Relaxed).is_ok() {
                return Some(seen);
            }
        }
        None
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

    /// As [`broadcast`](Self::broadcast), if anybody may wait.
    pub(super) fn notify_all(&self) {
        for record in self.iter() {
            record.more.notify_all();
            record.room.notify_all();
        }
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

    /// Whether there is nothing to be had in the slot of `position`, which is in `state`: it is
    /// a tomb, or names a stream that is over. That lasts: who claims the position then may
    /// drop what it holds.
    pub(super) fn is_dud(&self, position: u64, state: State) -> bool {
        let lap = self.positions.lap(position);
        state == State::of(Phase::Tomb, lap)
            || state == State::of(Phase::Full, lap) && self.is_void(Place::slot(position))
    }

    /// Frees a place in REDELIVER that names a stream that is over. `true` if this call did.
    pub(super) fn drop_void(&self, place: Place) -> bool {
        let cell = self.cell(place);
        let Some(word) = cell.state() else { return false };
        // ORDERING mpmc-commit (acquire): the name, as for FULL.
        let state = State(word.load(Acquire));
        if state.phase() != Some(Phase::Redeliver) || !self.is_void(place) {
            return false;
        }
        let free = match place.position() {
            Some(_) => State::of(Phase::Empty, self.positions.lap_after(state.lap())),
            None => state.next_lease(),
        };
        // In this state a place is anybody's to claim, and this is a claim and its commit.
        // ORDERING mpmc-commit (SeqCst): what sleepers wait for changes here; the look for
        // them follows. Failure: another was quicker.
        let dropped = word.compare_exchange(state.0, free.0, SeqCst, Relaxed).is_ok();
        if let Some(position) = place.position()
            && dropped
        {
            self.notify_room_past(position);
        }
        dropped
    }

    /// A stream is open no more, or a message does not come back to all who were told so. In a
    /// ring that was shut down somebody may have waited for that.
    pub(super) fn note_end(&self) {
        // ORDERING mpmc-shutdown (SeqCst): a sleeper looks for the shutdown and then for open
        // streams and what may come back; we have changed these by a SeqCst RMW and look for
        // the mark, which is older than the shutdown. Who shuts down later wakes everybody itself.
        let marked = self.marks.load(SeqCst) & marks::SHUTDOWN != 0;
        if marked && self.enqueue_pos.load(SeqCst) & SHUTDOWN != 0 {
            self.not_empty.broadcast();
        }
    }

    // ---- Repair -----------------------------------------------------------------

    /// The dead is done with its streams: as putter and as getter that has committed. Before
    /// its slots are looked at: what they name of its streams is nothing then. After its takes
    /// are counted: they tell by these words.
    pub(super) fn settle_streams(&self, dead: u32) {
        for record in self.streams.iter() {
            record.step(|truth| truth.putter() == dead, Truth::without_putter);
            record.step(|truth| truth.getter() == dead, Truth::without_getter);
        }
    }

    /// Frees what was given back and names a stream that is over, and marks the slots with
    /// such a name that nobody has claimed.
    pub(super) fn bury_streams(&self) {
        if !self.streams() {
            return;
        }
        for index in 0..self.capacity() {
            let Some(state) = self.state(index) else { continue };
            let position = self.positions.at(state.lap(), index);
            if self.is_dud(position, state) {
                self.set_mark(marks::TOMBS);
            }
            self.drop_void(Place::slot(position));
        }
        for lease in (0..self.geometry().leases).map(Place::lease) {
            self.drop_void(lease);
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
        let taken = open.taken(77);
        assert_eq!((open.putter(), open.getter()), (4095, 0));
        assert_eq!((taken.putter(), taken.getter()), (4095, 77));
        assert!(!taken.is_open() && taken.is_taken() && taken.is_of(open));
        let (put, got) = (taken.without_putter().unwrap(), taken.without_getter().unwrap());
        assert!(put.is_taken() && got.is_taken() && put != got);
        assert_eq!((put.without_putter(), got.without_getter()), (None, None));
        for over in [put.without_getter(), got.without_putter(), open.without_putter()] {
            assert_eq!(over, Some(open.freed()), "the last one frees it");
        }
        assert_eq!((free.without_putter(), open.without_getter()), (None, None));
        assert_ne!(open.freed().opened(4095), open, "a generation later");
        let mark = Mark(u64::MAX);
        assert_eq!(mark.next(), Mark(0), "epochs come round without touching the position");
        assert_eq!(mark.at(7).position(), 7);
        assert_eq!(mark.at(7).epoch(), mark.epoch());
        let named = Named { truth: open, len: LONGEST_STREAM as u64, index: 65_535 };
        assert_eq!(Named::from_words(named.words()), named);
    }
}
