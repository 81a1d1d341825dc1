//! Messages in blocks, and messages that a getter has and has not given free.
//!
//! ```text
//! put:  take blocks, fill them              get:  claim as ever
//!       announce, claim as ever                   slot.state = TAKEN(me)      others need not wait
//!       write the name of the chain               check the chain, copy it out
//!       slot.state = FULL        COMMIT           slot.state = FREEING(me)    COMMIT
//!                                                 give the blocks back, last first
//!                                                 slot.state = EMPTY of the next lap
//! ```
//!
//! A putter that dies with blocks that no slot names leaves them to the sweep. A getter
//! that dies in TAKEN has its message redelivered; one that dies in FREEING has its blocks
//! given back: each free is a compare-and-swap from the word that the chain promised, so
//! it is done once, whoever does it.

use super::contents::Contents;
use super::get::{TryGet, WRONG_LENGTH};
use super::layout::at;
use super::put::{ATTEMPTS, Next, TryPut};
use super::ring::Ring;
use super::slot::from_word;
use super::stream::LONGEST_STREAM;
use super::word::{Announcement, Meta, Phase, State, marks};
use crate::blocks::{Blocks, Chain, Descriptor};
use crate::memory::{Out, OutOfBounds, Region};
use crate::peer::{Actor, Committed, Take};
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU64, spin_hint};

/// Where a message is: a slot, or a lease record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(At);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Slot(u64),
    Lease(u64),
}

impl Place {
    /// The slot of `position`.
    pub(super) fn slot(position: u64) -> Self {
        Self(At::Slot(position))
    }

    /// Lease record `index`.
    pub(super) fn lease(index: u64) -> Self {
        Self(At::Lease(index))
    }

    /// A number for the place, whatever the lap.
    fn number(self, ring: &Ring) -> u64 {
        match self.0 {
            At::Slot(position) => ring.positions.index(position) << 1,
            At::Lease(index) => index << 1 | 1,
        }
    }

    /// The place of this number.
    fn numbered(number: u64) -> Self {
        Self(if number & 1 == 0 { At::Slot(number >> 1) } else { At::Lease(number >> 1) })
    }

    /// The position, if it is a slot.
    pub(super) fn position(self) -> Option<u64> {
        match self.0 {
            At::Slot(position) => Some(position),
            At::Lease(_) => None,
        }
    }
}

/// A slot or lease record as memory: both begin alike.
pub(super) struct Cell<'a> {
    region: &'a Region,
    at: usize,
    /// Bytes of the message, if it is all of the word after the state.
    short: Option<u32>,
}

impl Cell<'_> {
    pub(super) fn word(&self, field: usize) -> Option<&AtomicU64> {
        self.region.word(self.at + field)
    }

    pub(super) fn state(&self) -> Option<&AtomicU64> {
        self.word(at::slot::STATE)
    }

    pub(super) fn meta(&self) -> Meta {
        if let Some(len) = self.short {
            return Meta::inline(len);
        }
        // Relaxed: the state that says there is a message was acquired.
        Meta(self.word(at::slot::META).map_or(0, |word| word.load(Relaxed)))
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor::from_words(self.payload_words())
    }

    /// The name of what is elsewhere.
    pub(super) fn payload_words(&self) -> [u64; 2] {
        // Relaxed: as in `meta`. Each word is loaded once, and the copy is checked.
        [0, 8].map(|n| self.word(at::slot::PAYLOAD + n).map_or(0, |word| word.load(Relaxed)))
    }

    /// Copies bytes of an inline message from `from` on.
    pub(super) fn copy_out(&self, from: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        if self.short.is_some() {
            // Relaxed: as in `meta`.
            let word = self.word(at::slot::META).map_or(0, |word| word.load(Relaxed));
            // All that is beyond the word is zeros, and nobody asks for it.
            let shift = u32::try_from(8 * from).unwrap_or(u32::MAX);
            from_word(word.checked_shr(shift).unwrap_or(0), dst);
            return Ok(());
        }
        self.region.read_at(Out::Past, self.at + at::slot::PAYLOAD + from, dst)
    }

    pub(super) fn copy_in(&self, src: &[u8]) -> Result<(), OutOfBounds> {
        self.region.copy_in(self.at + at::slot::PAYLOAD, src)
    }
}

/// A walk over the places where a message may be that was given back.
pub(super) struct GivenBack<I> {
    /// The marks from before the first look.
    marked: u64,
    places: I,
    /// Whether to leave streams where they are.
    pub(super) beside_streams: bool,
}

impl Ring {
    /// The longest message: a streamed one, if there can be any.
    pub fn max_message(&self) -> usize {
        if self.streams() { LONGEST_STREAM } else { self.max_kept() }
    }

    /// The longest message that fits: a slot's, or the whole pool.
    pub fn max_kept(&self) -> usize {
        self.payload_size().max(self.pool.bytes())
    }

    /// Blocks of the pool that are not free, for inspection. Exact when nobody is amidst
    /// an operation.
    pub fn blocks_used(&self) -> u64 {
        self.pool.used()
    }

    pub(super) fn cell(&self, place: Place) -> Cell<'_> {
        match place.0 {
            At::Slot(position) => {
                // Beyond the end for a word that is no position: `Region` refuses.
                let index = usize::try_from(self.positions.index(position)).unwrap_or(usize::MAX);
                Cell {
                    region: &self.slot_bytes,
                    at: index.saturating_mul(self.slot_size),
                    short: self.short_len,
                }
            }
            At::Lease(index) => Cell {
                region: &self.leases,
                // Beyond the end for an index that does not exist: `Region` refuses.
                at: usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(self.lease_size),
                short: None,
            },
        }
    }

    // ---- Putting ----------------------------------------------------------------

    /// Puts one message in blocks, of any length that the pool has room for.
    ///
    /// # Errors
    ///
    /// [`TryPut::NoMemory`]; as [`try_put`](Self::try_put).
    pub fn try_put_long(&self, actor: &mut Actor, message: &[u8]) -> Result<(), TryPut> {
        let chain = self.pool.take(message.len(), actor.participant());
        let chain = chain.ok_or(TryPut::NoMemory)?;
        let written = self.pool.write(&chain, 0, message).map_err(|_| TryPut::NoMemory);
        written
            .and_then(|()| self.try_put_chain(actor, &chain))
            .inspect_err(|_| self.pool.free_all(&chain.blocks, chain.owner))
    }

    /// As [`try_put`](Self::try_put) for a message in blocks, which are the getter's to
    /// give back from then on, if it is put.
    pub(super) fn try_put_chain(&self, actor: &mut Actor, chain: &Chain) -> Result<(), TryPut> {
        let what = self.pool.describe(chain);
        self.try_put_name(actor, |at| self.write_descriptor(at, what))?;
        self.actors.count_one(actor, Committed::Put);
        Ok(())
    }

    /// As [`try_put`](Self::try_put) for the name of a message that is elsewhere: `write`
    /// writes it to a position. The caller counts the put.
    pub(super) fn try_put_name(
        &self,
        actor: &mut Actor,
        write: impl FnOnce(u64),
    ) -> Result<(), TryPut> {
        // Relaxed: a first guess, as in `try_put`.
        let mut tail = self.enqueue_pos.load(Relaxed);
        for _ in 0..ATTEMPTS {
            if self.state(tail) == Some(State::of(Phase::Empty, self.positions.lap(tail))) {
                self.announce(actor, Announcement::put(tail));
                match self.claim_put(tail) {
                    Ok(()) => {
                        write(tail);
                        self.publish(tail);
                        self.not_empty.notify();
                        return Ok(());
                    }
                    Err(seen) => tail = seen,
                }
                spin_hint();
            } else if !self.positions.is_valid(tail) {
                return Err(self.put_refused(actor, tail));
            } else {
                match self.put_blocked(actor, tail) {
                    Next::Again(seen) => tail = seen,
                    Next::Stop(why) => return Err(why),
                }
            }
        }
        self.announce(actor, Announcement::IDLE);
        Err(TryPut::Busy)
    }

    /// As [`try_put_chain`](Self::try_put_chain), but an orderly shutdown does not refuse
    /// it.
    pub(super) fn try_put_chain_accepted(
        &self,
        actor: &mut Actor,
        chain: &Chain,
    ) -> Result<(), TryPut> {
        match self.try_put_chain(actor, chain) {
            Err(TryPut::ShutDown) => {
                let what = self.pool.describe(chain);
                self.put_after_shutdown(actor, |at| self.write_descriptor(at, what))?;
                self.actors.count_one(actor, Committed::Put);
                Ok(())
            }
            other => other,
        }
    }

    /// Step 3 of a put of blocks: their name, in a slot that is ours alone.
    pub(super) fn write_descriptor(&self, position: u64, what: Descriptor) {
        self.write_name(position, Meta::blocks(), what.words());
    }

    /// The name of a message that is elsewhere, in a slot that is ours alone.
    pub(super) fn write_name(&self, position: u64, meta: Meta, [first, rest]: [u64; 2]) {
        let cell = self.cell(Place::slot(position));
        let fields =
            [(at::slot::META, meta.0), (at::slot::PAYLOAD, first), (at::slot::PAYLOAD + 8, rest)];
        for (field, value) in fields {
            if let Some(word) = cell.word(field) {
                // Relaxed: `publish` releases it, and what is in the blocks.
                word.store(value, Relaxed);
            }
        }
    }

    // ---- Getting ----------------------------------------------------------------

    /// The message at `head`, which was claimed, is not in its slot. `None`: nor elsewhere.
    #[cold]
    pub(super) fn get_long(
        &self,
        actor: &mut Actor,
        head: u64,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, TryGet> {
        self.mark_taken(head, actor.participant());
        self.get_taken(actor, Place::slot(head), buffer)
    }

    /// Writes our name into a slot that we have claimed: its message may take long.
    pub(super) fn mark_taken(&self, head: u64, participant: u32) {
        if let Some(word) = self.state_word(head) {
            let taken = State::owned(Phase::Taken, self.positions.lap(head), participant);
            // ORDERING mpmc-commit (release): whoever reads a later announcement of ours
            // sees that this claim is settled.
            word.store(taken.0, Release);
        }
    }

    /// Copies a message that the caller has taken, and gives its place free; or leaves it
    /// taken, if it is in blocks and longer than the buffer, or streamed. `None` if it was the
    /// name of a stream that is over: then nothing was taken.
    pub(super) fn get_taken(
        &self,
        actor: &mut Actor,
        place: Place,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, TryGet> {
        let cell = self.cell(place);
        if cell.meta().kind() == Meta::BLOCKS && cell.descriptor().len > buffer.len() as u64 {
            return Err(TryGet::Long(place));
        }
        if let Some(named) = cell.stream() {
            return self.meet_stream(actor, place, named).map_or(Ok(None), Err);
        }
        let mut contents = Contents::default();
        if !self.contents(place, &mut contents) {
            actor.stop_counting();
            self.release_taken(actor, place);
            return Err(WRONG_LENGTH);
        }
        self.locate(&mut contents);
        let fits = contents.len().min(buffer.len());
        let copied = self.copy_whole(place, &contents, &mut buffer[..fits]);
        if copied.is_err() {
            actor.stop_counting();
        }
        self.release_contents(actor, place, &contents);
        copied.map(|()| Some(contents.len())).map_err(|_| WRONG_LENGTH)
    }

    /// Repeats a take that met the name of a stream that is over: at most as often as there
    /// are places for one.
    pub(super) fn past_voids<R>(
        &self,
        mut once: impl FnMut() -> Result<Option<R>, TryGet>,
    ) -> Result<R, TryGet> {
        for _ in 0..=self.capacity() + self.geometry().leases {
            if let Some(taken) = once()? {
                return Ok(taken);
            }
        }
        Err(TryGet::Busy)
    }

    /// COMMIT of a get of a message that the caller has taken: gives its blocks and its
    /// place free.
    pub fn release_taken(&self, actor: &mut Actor, place: Place) {
        self.release_with(actor, place, None);
    }

    /// As [`release_taken`](Self::release_taken), by one who knows what the message consists
    /// of: its blocks are not looked up a second time.
    pub(super) fn release_contents(&self, actor: &mut Actor, place: Place, contents: &Contents) {
        self.release_with(actor, place, Some(contents));
    }

    #[inline]
    fn release_with(&self, actor: &mut Actor, place: Place, contents: Option<&Contents>) {
        self.begin_take(actor, place);
        if self.cell(place).meta().kind() == Meta::BLOCKS {
            self.mark_freeing(place, actor.participant());
            match contents {
                Some(Contents(chain)) => self.pool.free_all(&chain.blocks, chain.owner),
                None => self.free_named(place),
            }
        }
        self.vacate(place);
        self.actors.end_take(actor, 1);
        self.actors.count_one(actor, Committed::Get);
    }

    /// Writes down that the commit of a task at `place` comes next.
    fn begin_take(&self, actor: &mut Actor, place: Place) {
        if actor.is_counting()
            && let Some(word) = self.cell(place).state()
        {
            // Relaxed: only its owner changes this word.
            let state = word.load(Relaxed);
            self.actors.begin_take(actor, Take::Place { at: place.number(self), state });
        }
    }

    /// Whether the message is still there of which `take` is about to be committed.
    pub(super) fn is_there(&self, take: Take) -> bool {
        match take {
            Take::Place { at, state } => {
                let cell = self.cell(Place::numbered(at));
                // ORDERING mpmc-commit (acquire): as in `Ring::state`.
                cell.state().is_some_and(|word| word.load(Acquire) == state)
            }
            Take::Batch | Take::Stream { .. } => false,
        }
    }

    /// COMMIT of a message in blocks.
    pub(super) fn mark_freeing(&self, place: Place, participant: u32) {
        if let Some(word) = self.cell(place).state() {
            // Relaxed: only its owner changes this word.
            let lap = State(word.load(Relaxed)).lap();
            // ORDERING mpmc-commit (release): from here on repair frees and does not
            // redeliver.
            word.store(State::owned(Phase::Freeing, lap, participant).0, Release);
        }
    }

    /// Gives back what is not given back yet of the blocks that a place in FREEING names.
    pub(super) fn free_rest(&self, place: Place) {
        if self.cell(place).meta().kind() == Meta::BLOCKS {
            self.free_named(place);
        }
    }

    /// Gives back what is not given back yet of the blocks that a place names.
    fn free_named(&self, place: Place) {
        let what = self.cell(place).descriptor();
        let blocks: Blocks = self.pool.walk(what).collect();
        self.pool.free_all(&blocks, what.owner);
    }

    /// The place is empty. What it held was taken or moved.
    pub(super) fn vacate(&self, place: Place) {
        if let Some(word) = self.cell(place).state() {
            let empty = match place.0 {
                At::Slot(position) => State::of(Phase::Empty, self.positions.next_lap(position)),
                // Relaxed: only its owner changes this word.
                At::Lease(_) => State(word.load(Relaxed)).next_lease(),
            };
            // ORDERING mpmc-commit (SeqCst): an RMW, because putters that saw TAKEN or
            // FREEING sleep long: they see this, or we see them.
            word.swap(empty.0, SeqCst);
        }
        match place.0 {
            At::Slot(position) => self.notify_held_room(position),
            // Getters that were told to wait for this (`may_come_back`) may be told the end.
            At::Lease(_) => self.note_end(),
        }
    }

    // ---- What the dead left -----------------------------------------------------

    /// Where a message may be that was given back: lease records first, then the oldest in
    /// a slot.
    pub(super) fn given_back_places(&self) -> GivenBack<impl Iterator<Item = Place> + use<>> {
        // ORDERING mpmc-mark (acquire): as in `get_with`.
        let marked = self.marks.load(Acquire);
        // Before dequeue_pos lie the positions of its lap and before, oldest first
        // from its own slot on.
        let slots = self.capacity();
        let first = self.positions.index(self.dequeue_pos.load(Relaxed)).min(slots);
        let leases = (0..self.geometry().leases).map(Place::lease);
        let places = leases.chain((first..slots).chain(0..first).map(Place::slot));
        GivenBack { marked, places, beside_streams: false }
    }

    /// Takes a message that was given back, if one is in the `places` that are left.
    /// Takes the mark down if there is none.
    pub(super) fn claim_redelivered(
        &self,
        participant: u32,
        GivenBack { marked, places, beside_streams }: &mut GivenBack<impl Iterator<Item = Place>>,
    ) -> Option<Place> {
        for place in places {
            let cell = self.cell(place);
            let Some(word) = cell.state() else { continue };
            // ORDERING mpmc-commit (acquire): the message, as for FULL.
            let state = State(word.load(Acquire));
            if state.phase() != Some(Phase::Redeliver) {
                continue;
            }
            if *beside_streams && cell.stream().is_some() && !self.is_void(place) {
                continue;
            }
            // From here on the place is ours; repair finds our name in it.
            let mine = State::owned(Phase::Taken, state.lap(), participant);
            // ORDERING lease-record (SeqCst): before the look for a shutdown below. The load
            // above acquired the message. Relaxed on failure: somebody else has it.
            if word.compare_exchange(state.0, mine.0, SeqCst, Relaxed).is_err() {
                continue;
            }
            if let At::Lease(_) = place.0 {
                // It comes back to nobody of this process as long as that lives.
                self.note_end();
            }
            // A short slot has no room for the count.
            let meta = cell.short.is_none().then(|| cell.word(at::slot::META)).flatten();
            if let Some(meta) = meta {
                // Relaxed: released with the place.
                meta.store(Meta(meta.load(Relaxed)).tried_again().0, Relaxed);
            }
            return Some(match place.0 {
                At::Slot(index) => Place::slot(self.positions.at(state.lap(), index)),
                At::Lease(_) => place,
            });
        }
        if *beside_streams {
            // Perhaps one of those that were passed over.
            return None;
        }
        // None is left, unless one was marked since: then the generation has grown.
        // ORDERING mpmc-mark (SeqCst): as every change of the marks.
        let without = *marked & !marks::REDELIVER;
        let _ = self.marks.compare_exchange(*marked, without, SeqCst, Relaxed);
        None
    }

    /// Gives a message that the caller has taken to another getter.
    pub(super) fn give_back(&self, place: Place) {
        if let Some(word) = self.cell(place).state() {
            // Relaxed: only its owner changes this word.
            let lap = State(word.load(Relaxed)).lap();
            // ORDERING mpmc-commit (release): our reads come before the next getter's
            // commit. Killed before the mark, the repair of our death sets it.
            word.store(State::of(Phase::Redeliver, lap).0, Release);
        }
        self.set_mark(marks::REDELIVER);
        self.not_empty.notify();
    }
}
