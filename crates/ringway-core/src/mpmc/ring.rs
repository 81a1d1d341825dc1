//! The ring: its words, its steps, and what can be seen from outside.
//!
//! Puts and gets (`put`, `get`) are composed of the step functions here, each one
//! access to shared memory that matters. Tests stop an actor after any of them, which
//! is what a kill does.

use super::kept::Kept;
use super::layout::{Geometry, at};
use super::long::Place;
use super::position::{POSITION_MASK, Positions};
use super::slot::{Room, Slot};
use super::stream::Streams;
use super::word::{Announcement, IMMEDIATE, Phase, SHUTDOWN, State, marks};
use crate::blocks::Pool;
use crate::memory::{Memory, OutOfBounds, ReadTimes, Records, Region, Word64};
use crate::peer::{Actor, Actors, Participants};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::sync::fence;
use crate::wait::Event;

/// A bounded queue of messages of up to [`payload_size`](Self::payload_size) bytes.
///
/// Any number of actors use it at a time, from any process that maps the memory. Each
/// brings its [`Actor`]. See the [module](super) for the protocol.
pub struct Ring {
    pub(super) positions: Positions,
    geometry: Geometry,
    pub(super) room: Room,
    pub(super) enqueue_pos: Word64,
    pub(super) dequeue_pos: Word64,
    pub(super) marks: Word64,
    pub(super) not_empty: Event,
    pub(super) not_full: Event,
    pub(super) participants: Participants,
    pub(super) actors: Actors,
    slots: Records<{ at::slot::PAYLOAD }>,
    /// The same slots and the lease records as bytes, for `long`.
    pub(super) slot_bytes: Region,
    pub(super) slot_size: usize,
    /// Bytes of every message, if the slots are short.
    pub(super) short_len: Option<u32>,
    pub(super) leases: Region,
    pub(super) lease_size: usize,
    pub(super) pool: Pool,
    pub(super) streams: Streams,
    pub(super) kept: Kept,
    /// Tombs made and messages given back by repairs through this very value. Private
    /// memory.
    pub(super) tombs_made: AtomicU64,
    pub(super) given_back: AtomicU64,
}

impl Ring {
    /// The ring that `geometry` describes in `memory`. All bytes zero are an empty
    /// ring; any other bytes are safe to use, if useless.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if the memory is too small.
    pub fn new(memory: &Memory, geometry: Geometry) -> Result<Self, OutOfBounds> {
        let len = geometry.positions.slots() * geometry.slot_size;
        let leases = geometry.leases * geometry.lease_size();
        let freed = Event::new(memory.word32(at::FREED)?);
        let too_large = |_| OutOfBounds { at: geometry.slots_at, len };
        let slot_size = usize::try_from(geometry.slot_size).map_err(too_large)?;
        let payload = usize::try_from(geometry.payload_size()).map_err(too_large)?;
        let slots = Records::new(memory.region(geometry.slots_at, len)?, slot_size);
        let slots = slots.ok_or(OutOfBounds { at: geometry.slots_at, len })?;
        let participants = Participants::new(memory, at::PARTICIPANTS, geometry.participants)?;
        let read_times = ReadTimes::new(memory, at::READ_TIMES)?;
        Ok(Self {
            positions: geometry.positions,
            room: Room::new(payload, geometry.is_short()),
            enqueue_pos: memory.word64(at::ENQUEUE_POS)?,
            dequeue_pos: memory.word64(at::DEQUEUE_POS)?,
            marks: memory.word64(at::MARKS)?,
            not_empty: Event::new(memory.word32(at::NOT_EMPTY)?),
            not_full: Event::new(memory.word32(at::NOT_FULL)?),
            participants,
            actors: Actors::new(memory, geometry.actors_at, geometry.actors)?,
            slots,
            slot_bytes: memory.region(geometry.slots_at, len)?,
            slot_size,
            short_len: u32::try_from(payload).ok().filter(|_| geometry.is_short()),
            leases: memory.region(geometry.leases_at, leases)?,
            lease_size: usize::try_from(geometry.lease_size()).map_err(too_large)?,
            pool: Pool::new(memory, geometry.pool, freed, read_times)?,
            streams: Streams::new(memory, &geometry)?,
            kept: Kept::default(),
            tombs_made: AtomicU64::new(0),
            given_back: AtomicU64::new(0),
            geometry,
        })
    }

    /// The most messages at a time, exactly.
    pub fn capacity(&self) -> u64 {
        self.positions.slots()
    }

    /// Bytes of the largest message that fits a slot.
    pub fn payload_size(&self) -> usize {
        self.room.most()
    }

    /// What lies where.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What getters sleep on.
    pub fn not_empty(&self) -> &Event {
        &self.not_empty
    }

    /// What putters sleep on.
    pub fn not_full(&self) -> &Event {
        &self.not_full
    }

    /// The actor records.
    pub fn actors(&self) -> &Actors {
        &self.actors
    }

    /// The participant records.
    pub fn participants(&self) -> &Participants {
        &self.participants
    }

    /// How many tombs and how many redeliverable messages repairs through this value
    /// have made.
    pub(super) fn given_up(&self) -> (u64, u64) {
        // Relaxed: counts for people.
        (self.tombs_made.load(Relaxed), self.given_back.load(Relaxed))
    }

    // ---- Steps ----------------------------------------------------------------

    /// The slot of `position`; `None` if that is no position.
    #[inline]
    pub(super) fn slot(&self, position: u64) -> Option<Slot<'_>> {
        if position & !POSITION_MASK != 0 {
            return None;
        }
        // The index is below 2^30.
        #[allow(clippy::cast_possible_truncation, reason = "64-bit only: see Positions")]
        let index = self.positions.index(position) as usize;
        Some(Slot(self.slots.get(index)?))
    }

    /// The slots of the indices from `from` up to `to`, as far as there are such.
    #[inline]
    pub(super) fn slots_between(&self, from: usize, to: usize) -> impl Iterator<Item = Slot<'_>> {
        self.slots.between(from, to).map(Slot)
    }

    /// The state word of the slot of `position`; `None` if that is no position.
    #[inline]
    pub(super) fn state_word(&self, position: u64) -> Option<&AtomicU64> {
        Some(self.slot(position)?.state_word())
    }

    /// Looks at the slot of `position`.
    #[inline]
    pub(super) fn state(&self, position: u64) -> Option<State> {
        Some(self.slot(position)?.state())
    }

    /// Step 1 of a put or get: write down what is about to be claimed.
    #[doc(hidden)]
    #[inline]
    pub fn announce(&self, actor: &mut Actor, what: Announcement) {
        self.actors.announce(actor, what);
    }

    /// Step 2 of a put: one winner per position. `Err` is what is there instead.
    #[doc(hidden)]
    #[inline]
    pub fn claim_put(&self, position: u64) -> Result<(), u64> {
        // ORDERING mpmc-claim (SeqCst): release, so that whoever sees the claim sees
        // the announcement before it (`recover`, mpmc-claim, acquire). SeqCst, because
        // `Event::notify` after the commit looks for sleepers without a fence of its
        // own: a sleeper that announced itself before that look was heard; one that
        // did so after it re-reads this word and sees the claim.
        // Relaxed on failure: the value is looked at afresh.
        let next = self.positions.next(position);
        self.enqueue_pos.compare_exchange(position, next, SeqCst, Relaxed).map(drop)
    }

    /// Step 3 of a put: the message, in a slot that is ours alone.
    #[doc(hidden)]
    pub fn write(&self, position: u64, message: &[u8]) {
        if let Some(slot) = self.slot(position) {
            slot.write(self.room, message);
        }
    }

    /// Step 4 of a put: COMMIT.
    #[doc(hidden)]
    pub fn publish(&self, position: u64) {
        if let Some(slot) = self.slot(position) {
            slot.publish(self.positions.lap(position));
        }
    }

    /// Step 2 of a get: one winner per position. `Err` is what is there instead.
    #[doc(hidden)]
    #[inline]
    pub fn claim_get(&self, position: u64) -> Result<(), u64> {
        // ORDERING mpmc-claim (SeqCst): as in `claim_put`.
        let next = self.positions.next(position);
        self.dequeue_pos.compare_exchange(position, next, SeqCst, Relaxed).map(drop)
    }

    /// Step 3 of a get: copies the message, or as much as fits, and says how long it
    /// is; `None` if its length is impossible.
    #[doc(hidden)]
    pub fn read(&self, position: u64, buffer: &mut [u8]) -> Option<usize> {
        self.slot(position)?.read(self.room, buffer)
    }

    /// Step 4 of a get: COMMIT. The slot is free for the put of the next lap.
    #[doc(hidden)]
    pub fn release(&self, position: u64) {
        if let Some(slot) = self.slot(position) {
            slot.release(self.positions.next_lap(position));
        }
    }

    /// A slot is free since just now: wakes a putter.
    #[inline]
    pub(super) fn notify_room(&self) {
        if self.not_full.notify_any(1) {
            self.notify_room_behind();
        }
    }

    /// Behind a message that was taken may be a tomb or the name of a stream that is over: room
    /// for one more, whose own wake-up came while the message was in its way.
    #[cold]
    pub(super) fn notify_room_behind(&self) {
        // ORDERING mpmc-claim (SeqCst): whoever slept in spite of that wake-up saw the message
        // unclaimed; it is claimed by a SeqCst RMW since, and we see what is behind it.
        let head = self.dequeue_pos.load(SeqCst);
        if self.state(head).is_some_and(|state| self.is_dud(head, state)) {
            self.not_full.notify();
        }
    }

    /// The slot of `position` is free since just now, in which a message was held: wakes a
    /// putter, and others for the room behind it.
    pub(super) fn notify_held_room(&self, position: u64) {
        if self.not_full.notify_any(1) {
            self.notify_room_past(position);
            self.notify_room_behind();
        }
    }

    /// Wakes putters for the slots behind that of `position` that were freed while it was not:
    /// who was woken for one of them found this one in its way, and slept again.
    #[cold]
    pub(super) fn notify_room_past(&self, position: u64) {
        /// From so many on all are woken.
        const MANY: u64 = 64;
        // ORDERING mpmc-claim (SeqCst): whoever freed such a slot had claimed it before it
        // looked for sleepers. A sleeper that it did not see, or woke in vain, announced itself
        // later and still saw this slot held; it is free since. So we see the claim, and after
        // the fence that the slot is held no more.
        fence(SeqCst);
        let head = self.dequeue_pos.load(SeqCst);
        let (slots, to) = (self.capacity(), self.positions.index(head));
        let past = (to + slots).checked_sub(self.positions.index(position) + 1);
        let Some(claimed) = past.map(|past| past % slots).filter(|_| to < slots) else { return };
        // A lap before the head, and on: a slot records fewer bits of the lap than a position has.
        let before = self.positions.lap_before(head);
        let mut at = self.positions.advance(before, slots - claimed);
        let mut room = 0;
        while room < claimed.min(MANY) && !self.is_held(at) {
            at = self.positions.next(at);
            room += 1;
        }
        if room > 0 {
            self.not_full.notify_many(if room < MANY { room } else { u64::MAX });
        }
    }

    /// Whether a put of the next lap finds no room at `position`, and sleeps long.
    fn is_held(&self, position: u64) -> bool {
        self.state(position).is_some_and(|state| {
            state.lap() == self.positions.lap(position)
                && matches!(state.phase(), Some(Phase::Taken | Phase::Redeliver | Phase::Freeing))
        })
    }

    // ---- What can be seen -----------------------------------------------------

    /// Both positions at one moment, `enqueue_pos` with its flags. `None` if they keep
    /// moving.
    fn snapshot(&self) -> Option<(u64, u64)> {
        const LOOKS: usize = 64;
        // ORDERING mpmc-claim (acquire): who sees one position sees the other as its claimer
        // did, so that the distance is a true one. SeqCst, as the looks of sleepers.
        let mut tail = self.enqueue_pos.load(SeqCst);
        for _ in 0..LOOKS {
            let head = self.dequeue_pos.load(SeqCst);
            let again = self.enqueue_pos.load(SeqCst);
            if again == tail {
                return Some((tail, head));
            }
            tail = again;
        }
        None
    }

    /// How many messages are in the ring: committed or redeliverable, and not taken.
    ///
    /// Exact for operations that are completed; one that runs meanwhile counts or does
    /// not. 0 after an immediate shutdown. May be wrong as soon as it returns.
    pub fn len(&self) -> u64 {
        const LOOKS: usize = 8;
        let mut len = 0;
        for _ in 0..LOOKS {
            // ORDERING mpmc-mark (acquire): a mark comes with what it marks.
            let marked = self.marks.load(Acquire);
            let (tail, head) = self
                .snapshot()
                // ORDERING mpmc-claim (acquire): as in `snapshot`.
                .unwrap_or_else(|| (self.enqueue_pos.load(SeqCst), self.dequeue_pos.load(SeqCst)));
            if tail & IMMEDIATE != 0 {
                // What is there is thrown away, also what a put that was amidst commits
                // later: nobody may ever come by to do it.
                return 0;
            }
            let tail = tail & POSITION_MASK;
            // Out of range only while both move, or in corrupted memory.
            len = self.positions.distance(tail, head).unwrap_or(0);
            if marked & (marks::REDELIVER | marks::TOMBS) == 0 {
                return len;
            }
            len = self.count_marked(marked, head, len);
            // ORDERING mpmc-claim (acquire): as in `snapshot`.
            // ORDERING mpmc-mark (acquire): as above.
            let still = self.enqueue_pos.load(SeqCst) & POSITION_MASK == tail
                && self.dequeue_pos.load(SeqCst) == head;
            if still && self.marks.load(Acquire) == marked {
                break;
            }
        }
        len
    }

    /// Whether counting takes a look at every slot.
    pub(super) fn is_marked(&self) -> bool {
        // Relaxed: a guess at what a count will cost.
        self.marks.load(Relaxed) & (marks::REDELIVER | marks::TOMBS) != 0
    }

    /// Corrects the distance `len` from `head` by tombs, names of streams that are over, and
    /// redeliverable messages. Takes down the TOMBS mark if there is none left.
    #[cold]
    fn count_marked(&self, marked: u64, head: u64, len: u64) -> u64 {
        let (mut any, mut tombs, mut waiting) = (false, 0, 0);
        for index in 0..self.capacity() {
            let Some(state) = self.state(index) else { continue };
            let position = self.positions.at(state.lap(), index);
            if state.phase() == Some(Phase::Redeliver) {
                waiting += u64::from(!self.is_void(Place::slot(position)));
            } else if self.is_dud(position, state) {
                any = true;
                // One that is claimed already is in the distance no more.
                let ahead = self.positions.distance(position, head);
                tombs += u64::from(ahead.is_some_and(|ahead| ahead < len));
            }
        }
        if !any && marked & marks::TOMBS != 0 {
            // ORDERING mpmc-mark (SeqCst): as every change of the marks. Failure: marked
            // again meanwhile.
            let _ = self.marks.compare_exchange(marked, marked & !marks::TOMBS, SeqCst, Relaxed);
        }
        // Grants that were given back come on top: their slots may be in use again.
        (len.saturating_sub(tombs) + waiting).min(self.capacity()) + self.leases_given_back()
    }

    /// Whether there is no message.  May be wrong as soon as it returns.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`try_put`](Self::try_put) would find no room now.
    pub fn is_full(&self) -> bool {
        const LOOKS: usize = 64;
        for _ in 0..LOOKS {
            let Some((tail, head)) = self.snapshot() else { break };
            if tail & SHUTDOWN != 0 {
                break;
            }
            let Some(state) = self.state(tail) else { break };
            if state == State::of(Phase::Empty, self.positions.lap(tail)) {
                break;
            }
            // ORDERING mpmc-claim (acquire): as in `snapshot`.
            if self.enqueue_pos.load(SeqCst) != tail {
                // A put took this slot between the two looks: it tells nothing.
                continue;
            }
            // A put retires a tomb at the head of a full ring and takes its place.
            let retired = self.positions.index(head) == self.positions.index(tail)
                && self.is_dud(head, state);
            // And it frees what was given back and is over.
            let dropped = state.phase() == Some(Phase::Redeliver)
                && self.is_void(Place::slot(self.positions.lap_before(tail)));
            return !(retired || dropped);
        }
        // Also while others put all the time: there was room for each.
        false
    }

    /// Whether a get might find something: cheap enough to spin on. No ordering.
    #[inline]
    pub fn may_have_message(&self) -> bool {
        // Relaxed: a hint. The get looks again.
        let marked = self.marks.load(Relaxed) & (marks::REDELIVER | marks::DISCARD) != 0;
        let head = self.dequeue_pos.load(Relaxed);
        let lap = self.positions.lap(head);
        let ready = |word: &AtomicU64| {
            let state = State(word.load(Relaxed));
            state == State::of(Phase::Full, lap) || state == State::of(Phase::Tomb, lap)
        };
        marked || self.state_word(head).is_none_or(ready)
    }

    /// Whether a put might find room: cheap enough to spin on. No ordering.
    #[inline]
    pub fn may_have_room(&self) -> bool {
        // Relaxed: a hint. The put looks again.
        let tail = self.enqueue_pos.load(Relaxed);
        let free = State::of(Phase::Empty, self.positions.lap(tail)).0;
        self.state_word(tail).is_none_or(|word| word.load(Relaxed) == free)
    }
}
