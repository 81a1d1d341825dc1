//! Actors: who announces.
//!
//! A process may be in as many operations as it has threads, and a kill ends them all
//! at once. So each thread announces in a record of its own. A record is written by
//! its actor alone, until its participant is proven dead.

use crate::memory::{Memory, OutOfBounds, Records};
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
    fn word<const FIELD: usize>(&self, index: usize) -> Option<&AtomicU64> {
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
        Some(Actor { index, participant, left: None })
    }

    /// Gives a record back.
    pub fn release(&self, actor: Actor) {
        self.clear(actor.index);
    }

    /// Empties a record: its actor is done, or dead.
    pub(crate) fn clear(&self, index: usize) {
        self.store_announcement(index, Announcement::IDLE);
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
        if let Some(word) = self.word::<{ at::actor::ANNOUNCEMENT }>(index) {
            // ORDERING mpmc-announce (release): whoever reads this announcement or a
            // later one in `Ring::live_claimant` (mpmc-announce, acquire) also sees
            // the commits before it. The claiming CAS that follows orders it before
            // the claim.
            word.store(what.0, Release);
        }
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
        let Some(record) = self.records.get(actor.index) else { return };
        let word = match what {
            Committed::Put => record.word::<{ at::actor::PUTS }>(),
            Committed::Get => record.word::<{ at::actor::GETS }>(),
        };
        // Relaxed, and no RMW: only this actor writes it.
        word.store(word.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Committed puts and gets of all actors ever, for inspection. A kill may leave
    /// one of its actors' numbers one too low.
    pub fn totals(&self) -> (u64, u64) {
        let records = (0..self.count()).filter_map(|index| self.records.get(index));
        records.fold((0_u64, 0_u64), |(puts, gets), record| {
            let put = record.word::<{ at::actor::PUTS }>().load(Relaxed);
            let got = record.word::<{ at::actor::GETS }>().load(Relaxed);
            (puts.wrapping_add(put), gets.wrapping_add(got))
        })
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
        assert_eq!(actors.claim(2, 0).unwrap().index(), 1);
        assert_eq!(actors.of(1).collect::<Vec<_>>(), [0, 2]);
    }
}
