//! Actors: who announces.
//!
//! A process may be in as many operations as it has threads, and a kill ends them all
//! at once. So each thread announces in a record of its own. A record is written by
//! its actor alone, until its participant is proven dead.

use crate::memory::{Memory, OutOfBounds, Record, Records};
use crate::mpmc::layout::LINE;
use crate::mpmc::layout::at::{self, RECORD};
use crate::mpmc::{Announcement, TryGet};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// The right to announce in one record. Whoever has it is its only user; it is not
/// `Clone`, and operations take it by `&mut`.
///
/// Dropped without [`Actors::release`], the record stays taken until its participant
/// leaves or dies.
#[derive(Debug)]
pub struct Actor {
    index: usize,
    participant: u32,
    /// Why the last quick get has no length.
    left: Option<TryGet>,
    /// Whether what it takes counts as tasks.
    pub(super) counting: bool,
}

impl Actor {
    /// The participant it acts for.
    pub fn participant(&self) -> u32 {
        self.participant
    }

    /// Which record it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Leaves the reason for an answer that has no room for it.
    #[cold]
    pub(crate) fn leave(&mut self, why: TryGet) {
        self.left = Some(why);
    }

    pub(crate) fn take_left(&mut self) -> Option<TryGet> {
        self.left.take()
    }
}

/// The table of actor records.
pub struct Actors {
    records: Records<RECORD>,
}

impl Actors {
    /// The `count` records at `offset`.
    pub(crate) fn new(memory: &Memory, offset: u64, count: u32) -> Result<Self, OutOfBounds> {
        let len = u64::from(count) * LINE;
        let records = Records::new(memory.region(offset, len)?, RECORD);
        Ok(Self { records: records.ok_or(OutOfBounds { at: offset, len })? })
    }

    /// The word at byte `FIELD` of record `index`.
    #[inline]
    pub(super) fn word<const FIELD: usize>(&self, index: usize) -> Option<&AtomicU64> {
        Some(self.records.get(index)?.word::<FIELD>())
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.records.len()
    }

    /// Takes a free record for `participant`, looking from record `hint` on. `None`
    /// when all are taken.
    pub fn claim(&self, participant: u32, hint: usize) -> Option<Actor> {
        let count = self.count();
        let from = hint % count.max(1);
        let index = (from..count).chain(0..from).find(|index| {
            self.word::<{ at::actor::PARTICIPANT }>(*index).is_some_and(|word| {
                // ORDERING actor-record (acquire): what the previous actor wrote here
                // comes before what this one writes. Relaxed on failure: taken.
                word.compare_exchange(0, participant.into(), Acquire, Relaxed).is_ok()
            })
        })?;
        Some(Actor { index, participant, left: None, counting: false })
    }

    /// Gives a record back.
    pub fn release(&self, actor: Actor) {
        self.clear(actor.index);
    }

    /// Empties a record: its actor is done, or dead.
    pub(crate) fn clear(&self, index: usize) {
        if let Some(record) = self.records.get(index) {
            Own(record).withdraw_many();
        }
        self.forget_takes(index);
        if let Some(word) = self.word::<{ at::actor::PARTICIPANT }>(index) {
            // ORDERING actor-record (release): pairs with `claim`, and with those who
            // look whose record it is.
            word.store(0, Release);
        }
    }

    /// Writes down what `actor` is about to claim. One plain store.
    #[inline]
    pub fn announce(&self, actor: &mut Actor, what: Announcement) {
        self.store_announcement(actor.index, what);
    }

    #[inline]
    fn store_announcement(&self, index: usize, what: Announcement) {
        if let Some(record) = self.records.get(index) {
            Own(record).announce(what);
        }
    }

    /// The record of `actor`, looked up once for a whole operation.
    #[inline]
    pub(crate) fn own<'a>(&'a self, actor: &'a mut Actor) -> Option<Own<'a>> {
        self.records.get(actor.index).map(Own)
    }

    /// Writes down what a batch of `count` is about to claim. The count comes first, so
    /// that whoever sees the position sees it.
    #[inline]
    pub fn announce_many(&self, actor: &mut Actor, what: Announcement, count: u64) {
        if let Some(own) = self.own(actor) {
            own.announce_many(what, count);
        }
    }

    /// Takes the announcement of a batch back. The count goes last: it is wrong beside
    /// no position, and beside none but this one.
    #[inline]
    pub fn withdraw_many(&self, actor: &mut Actor) {
        if let Some(own) = self.own(actor) {
            own.withdraw_many();
        }
    }

    pub(super) fn count_of(&self, index: usize) -> u64 {
        // ORDERING mpmc-count (acquire): pairs with `Own::store_count`.
        self.word::<{ at::actor::COUNT }>(index).map_or(0, |word| word.load(Acquire))
    }

    /// What the actor of record `index` announces, and of how many positions: at least
    /// as many as it says, more if it moves on meanwhile.
    pub fn covering(&self, index: usize) -> (Announcement, u64) {
        let before = self.count_of(index);
        let what = self.announcement(index);
        (what, before.max(self.count_of(index)).max(1))
    }

    /// The batch that the actor of record `index` has committed as taken and not
    /// released yet, exactly: its first position, and how many.
    pub fn done(&self, index: usize) -> Option<(u64, u64)> {
        let what = self.announcement(index);
        let first = what.as_done()?;
        let count = self.count_of(index);
        // The same announcement is never made twice, and its count stands as long as it
        // does: a count read between two looks at it is its own.
        (self.announcement(index) == what).then_some((first, count.max(1)))
    }

    /// What the actor of record `index` announces.
    pub fn announcement(&self, index: usize) -> Announcement {
        // ORDERING mpmc-announce (acquire): pairs with `announce`.
        Announcement(self.word::<{ at::actor::ANNOUNCEMENT }>(index).map_or(0, |w| w.load(Acquire)))
    }

    /// The participant that record `index` belongs to; 0 for none.
    pub fn participant(&self, index: usize) -> u32 {
        // ORDERING actor-record (acquire): who sees it given back sees all that its
        // actor did.
        let word = self.word::<{ at::actor::PARTICIPANT }>(index).map_or(0, |w| w.load(Acquire));
        u32::try_from(word).unwrap_or(0)
    }

    /// The records of `participant`.
    pub(crate) fn of(&self, participant: u32) -> impl Iterator<Item = usize> {
        (0..self.count()).filter(move |index| self.participant(*index) == participant)
    }

    /// Counts a committed put or get.
    #[inline]
    pub(crate) fn count_one(&self, actor: &mut Actor, what: Committed) {
        self.count_many(actor, what, 1);
    }

    /// Counts so many committed puts or gets.
    #[inline]
    pub(crate) fn count_many(&self, actor: &mut Actor, what: Committed, many: u64) {
        if let Some(own) = self.own(actor) {
            own.count_many(what, many);
        }
    }

    /// Committed puts and gets of all actors ever, for inspection. A kill may leave
    /// one of its actors' numbers too low by one, or by a batch.
    pub fn totals(&self) -> (u64, u64) {
        let records = (0..self.count()).filter_map(|index| self.records.get(index));
        records.fold((0_u64, 0_u64), |(puts, gets), record| {
            let put = record.word::<{ at::actor::PUTS }>().load(Relaxed);
            let got = record.word::<{ at::actor::GETS }>().load(Relaxed);
            (puts.wrapping_add(put), gets.wrapping_add(got))
        })
    }
}

/// An actor's record in its own hands.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a>(Record<'a, RECORD>);

impl Own<'_> {
    /// As [`Actors::announce`].
    #[inline]
    pub(crate) fn announce(self, what: Announcement) {
        // ORDERING mpmc-announce (release): whoever reads this announcement or a later
        // one in `Ring::claimant` (mpmc-announce, acquire) also sees the commits
        // before it. The claiming CAS that follows orders it before the claim.
        self.0.word::<{ at::actor::ANNOUNCEMENT }>().store(what.0, Release);
    }

    /// As [`Actors::announce_many`].
    #[inline]
    pub(crate) fn announce_many(self, what: Announcement, count: u64) {
        self.store_count(count);
        self.announce(what);
    }

    /// As [`Actors::withdraw_many`].
    #[inline]
    pub(crate) fn withdraw_many(self) {
        self.announce(Announcement::IDLE);
        self.store_count(0);
    }

    #[inline]
    fn store_count(self, count: u64) {
        // ORDERING mpmc-count (release): whoever reads this count or a later one in
        // `covering` (mpmc-count, acquire) also sees the commits before it: a count
        // that is too small for the announcement beside it comes with them.
        self.0.word::<{ at::actor::COUNT }>().store(count, Release);
    }

    /// As [`Actors::count_one`].
    #[inline]
    pub(crate) fn count_one(self, what: Committed) {
        self.count_many(what, 1);
    }

    /// As [`Actors::count_many`].
    #[inline]
    pub(crate) fn count_many(self, what: Committed, many: u64) {
        let word = match what {
            Committed::Put => self.0.word::<{ at::actor::PUTS }>(),
            Committed::Get => self.0.word::<{ at::actor::GETS }>(),
        };
        // Relaxed, and no RMW: only this actor writes it.
        word.store(word.load(Relaxed).wrapping_add(many), Relaxed);
    }
}

/// What [`Actors::count_one`] counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Committed {
    Put,
    Get,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::Heap;

    #[test]
    fn each_record_has_one_actor() {
        let memory = Memory::new(Heap::new(3 * RECORD));
        let actors = Actors::new(&memory, 0, 3).unwrap();
        let mut taken: Vec<Actor> = (0..3).map(|_| actors.claim(1, 2).unwrap()).collect();
        assert_eq!(taken.iter().map(Actor::index).collect::<Vec<_>>(), [2, 0, 1]);
        assert!(actors.claim(1, 0).is_none());
        let mut actor = taken.pop().unwrap();
        actors.announce(&mut actor, Announcement::put(7));
        assert_eq!(actors.announcement(1), Announcement::put(7));
        actors.release(actor);
        assert_eq!((actors.participant(1), actors.announcement(1)), (0, Announcement::IDLE));
        let mut actor = actors.claim(1, 1).unwrap();
        actors.announce_many(&mut actor, Announcement::get(8), 5);
        assert_eq!(actors.covering(1), (Announcement::get(8), 5));
        assert_eq!(actors.done(1), None);
        actors.announce(&mut actor, Announcement::done(8));
        assert_eq!(actors.done(1), Some((8, 5)));
        actors.withdraw_many(&mut actor);
        assert_eq!(actors.covering(1), (Announcement::IDLE, 1));
        actors.announce_many(&mut actor, Announcement::get(8), 5);
        actors.release(actor);
        assert_eq!(actors.covering(1), (Announcement::IDLE, 1));
        assert_eq!(actors.claim(2, 0).unwrap().index(), 1);
        assert_eq!(actors.of(1).collect::<Vec<_>>(), [0, 2]);
    }
}
