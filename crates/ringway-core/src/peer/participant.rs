//! Participants: the processes attached to a segment, each a unit of death.

use crate::memory::{Memory, OutOfBounds, Region, Word32};
use crate::mpmc::layout::LINE;
use crate::mpmc::layout::at::{self, RECORD};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::wait;

/// What a record says about its participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody.
    Free,
    /// A process joined with it and has not left. It may have died since.
    Live,
    /// Proven dead; repair has begun and may have to be tried again.
    Dead,
}

/// Who a participant says it is, for messages and tools. Never proof of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Identity {
    /// Process id, in its own pid namespace.
    pub pid: u64,
    /// Inode of that namespace.
    pub pid_namespace: u64,
    /// Start of the process in clock ticks since boot; tells a re-used pid.
    pub start_time: u64,
}

/// How often a word is tried to be changed that another changes all the time. Nobody who
/// keeps the protocol needs as many; what somebody else makes of it makes no sense anyway.
pub(crate) const UPDATES: u32 = 1 << 16;

/// What a process has to do with the tasks of a joinable queue, in one word, so that one
/// exchange makes a task done: `done:32 | held:32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskCount(pub(crate) u64);

impl TaskCount {
    /// One task more is held.
    pub(crate) const TAKEN: u64 = 1;
    /// One that was held is done. Wraps round above.
    pub(crate) const DONE: u64 = (1 << 32) - 1;

    /// Taken by the process and not done. One too many while it is about to take.
    pub(crate) fn held(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    /// What is lost if the process goes, having taken `taken` since it joined.
    fn lost_of(self, taken: u32) -> u64 {
        // Half of all numbers are negative: what others' records hold makes no sense then.
        let lost = taken.wrapping_sub(u32::try_from(self.0 >> 32).unwrap_or(0)).cast_signed();
        u64::try_from(lost).unwrap_or(0).min(self.held())
    }
}

/// What went with processes that had a record, and the last of them that is in it, by
/// incarnation: `lost:32 | incarnation + 1:32`. Writing off is one store that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LostCount(u64);

impl LostCount {
    fn lost(self) -> u64 {
        self.0 >> 32
    }

    fn and(self, lost: u64, incarnation: u64) -> Self {
        let lost = (self.lost() + lost).min(u64::from(u32::MAX));
        Self(lost << 32 | Self::tag(incarnation))
    }

    fn has(self, incarnation: u64) -> bool {
        self.0 & u64::from(u32::MAX) == Self::tag(incarnation)
    }

    fn tag(incarnation: u64) -> u64 {
        incarnation.wrapping_add(1) & u64::from(u32::MAX)
    }
}

/// The table of participant records, numbered from 1.
pub struct Participants {
    records: Region,
    count: u32,
    changes: Word32,
    memory: Memory,
    offset: u64,
}

/// A participant's `live` word: 0, or the id of the thread whose death the kernel is to
/// mark, or the mark. Anybody can forge it: it is a reason to ask, never an answer.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) word: Word32,
    pub(crate) value: u32,
}

impl Live {
    /// The kernel's bits in a robust futex.
    const WAITERS: u32 = 0x8000_0000;
    const OWNER_DIED: u32 = 0x4000_0000;
    const THREAD: u32 = 0x3FFF_FFFF;

    /// What the word holds while `thread` lives and others may sleep on it.
    pub(crate) fn of(thread: u32) -> u32 {
        thread & Self::THREAD | Self::WAITERS
    }

    /// Whether the kernel, or a forger, says that the participant died.
    pub(crate) fn says_dead(&self) -> bool {
        self.value & Self::OWNER_DIED != 0
    }

    /// Whether the kernel will say nothing, because it was not asked to.
    pub(crate) fn is_silent(&self) -> bool {
        self.value & (Self::OWNER_DIED | Self::THREAD) == 0
    }
}

impl Participants {
    /// The `count` records at `offset`.
    pub(crate) fn new(memory: &Memory, offset: u64, count: u32) -> Result<Self, OutOfBounds> {
        Ok(Self {
            records: memory.region(offset, u64::from(count) * LINE)?,
            count,
            changes: memory.word32(at::CHANGES)?,
            memory: memory.clone(),
            offset,
        })
    }

    /// Where the `live` word of record `id` lies in the memory. Ids start at 1.
    pub(crate) fn live_at(&self, id: u32) -> u64 {
        self.offset + u64::from(id.saturating_sub(1)) * LINE + at::participant::LIVE
    }

    /// The `live` word of record `id` and what it holds; `None` for no such record.
    pub(crate) fn live(&self, id: u32) -> Option<Live> {
        if !(1..=self.count).contains(&id) {
            return None;
        }
        let word = self.memory.word32(self.live_at(id)).ok()?;
        // ORDERING live-word (acquire from the kernel): who sees the mark sees what the
        // kernel did before it.
        let value = word.load(Acquire);
        Some(Live { word, value })
    }

    /// Writes record `id`'s `live` word, and wakes whoever watches it.
    pub(crate) fn set_live(&self, id: u32, value: u32) {
        if let Some(live) = self.live(id) {
            // ORDERING live-word (SeqCst): the sleepers' system call compares the word after
            // this.
            live.word.store(value, SeqCst);
            wait::wake(&live.word, u32::MAX);
        }
    }

    /// The word that counts the changes of the table, and its value.
    #[doc(hidden)]
    pub fn changes(&self) -> (Word32, u32) {
        // ORDERING table-changes (acquire): who sees the count sees the change.
        (self.changes.clone(), self.changes.load(Acquire))
    }

    /// Tells watchers that somebody joined or left.
    pub(crate) fn changed(&self) {
        // ORDERING table-changes (SeqCst): as in `set_live`. It may wrap round: a watcher would have to be
        // delayed for 2^32 changes, and looks twice a second anyway.
        self.changes.fetch_add(1, SeqCst);
        wait::wake(&self.changes, u32::MAX);
    }

    /// A word of participant `id`'s record; `None` for an id that does not exist.
    fn word(&self, id: u32, field: usize) -> Option<&AtomicU64> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        self.records.word(index * RECORD + field)
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// What record `id` says. Unknown words count as [`Standing::Dead`]: whoever can
    /// prove the death cleans them.
    pub fn standing(&self, id: u32) -> Standing {
        // ORDERING participant-standing (acquire): who sees Free sees all repairs and
        // all that the last holder did.
        match self.word(id, at::participant::STATE).map_or(0, |w| w.load(Acquire)) {
            0 => Standing::Free,
            1 => Standing::Live,
            _ => Standing::Dead,
        }
    }

    fn set(&self, id: u32, standing: Standing) {
        let value = match standing {
            Standing::Free => 0,
            Standing::Live => 1,
            Standing::Dead => 2,
        };
        if let Some(word) = self.word(id, at::participant::STATE) {
            // ORDERING participant-standing (release): pairs with `standing`.
            word.store(value, Release);
        }
    }

    fn store(&self, id: u32, field: usize, value: u64) {
        if let Some(word) = self.word(id, field) {
            // Relaxed: numbers for people, or released by the standing.
            word.store(value, Relaxed);
        }
    }

    fn load(&self, id: u32, field: usize) -> u64 {
        // Relaxed: as `store`.
        self.word(id, field).map_or(0, |word| word.load(Relaxed))
    }

    /// Takes the free record `id`, and tells the guardians of the others: one that had
    /// nobody to look after has no tick, and the kernel may never tell it of this one.
    /// Until then `id` has nothing in its hands that others could miss. They are told before,
    /// too, and look again if its death can be heard: killed in between, it would be there and
    /// nobody know. The caller has excluded everybody else who might.
    pub fn join(&self, id: u32, identity: Identity) {
        self.store(id, at::participant::PID, identity.pid);
        self.store(id, at::participant::PID_NAMESPACE, identity.pid_namespace);
        self.store(id, at::participant::START_TIME, identity.start_time);
        self.store(id, at::participant::OVERFLOW, 0);
        self.changed();
        self.set(id, Standing::Live);
        self.changed();
    }

    /// Notes that `id` is dead and being repaired. For the holder of its exclusion.
    pub(crate) fn bury(&self, id: u32) {
        self.set(id, Standing::Dead);
    }

    /// Frees record `id`: its process leaves with nothing in flight, or was repaired. Its
    /// tasks were written off, and its actors are free.
    pub fn free(&self, id: u32) {
        // What only its memory held is gone, or was put before it left.
        self.store(id, at::participant::OVERFLOW, 0);
        let incarnation = self.load(id, at::participant::INCARNATION).wrapping_add(1);
        if let Some(word) = self.word(id, at::participant::INCARNATION) {
            // ORDERING tasks-departed (release): pairs with `departures`.
            word.store(incarnation, Release);
        }
        if let Some(word) = self.tasks(id) {
            // ORDERING tasks-held (release): who sees that it holds none sees the departure
            // above, in `Ring::unfinished`, and what was written off before.
            word.store(0, Release);
        }
        self.set(id, Standing::Free);
        // Not before: the kernel tells of whoever dies in leaving. Left there by one that is
        // killed just here, the word means nothing, and the next to join writes its own.
        self.set_live(id, 0);
        self.changed();
    }

    /// Who `id` says it is.
    pub fn identity(&self, id: u32) -> Identity {
        Identity {
            pid: self.load(id, at::participant::PID),
            pid_namespace: self.load(id, at::participant::PID_NAMESPACE),
            start_time: self.load(id, at::participant::START_TIME),
        }
    }

    /// Notes as lost what `id`, which has taken `taken` tasks since it joined, has not done.
    /// Nobody else changes its words meanwhile; repeated, also by another, it changes
    /// nothing. Before its actors forget what they took.
    pub(crate) fn write_off_tasks(&self, id: u32, taken: u32) {
        let (Some(tasks), Some(word)) = (self.tasks(id), self.word(id, at::participant::LOST))
        else {
            return;
        };
        let incarnation = self.load(id, at::participant::INCARNATION);
        // Relaxed: the process that wrote it is gone, and repairers exclude one another.
        let lost = LostCount(word.load(Relaxed));
        if !lost.has(incarnation) {
            let more = TaskCount(tasks.load(Relaxed)).lost_of(taken);
            // ORDERING tasks-lost (release): who sees the loss sees what it came from. It
            // comes before `free`, whose store a joiner acquires before it asks.
            word.store(lost.and(more, incarnation).0, Release);
        }
    }

    /// What record `id` has to do with tasks: `done:32 | held:32`.
    #[doc(hidden)]
    pub fn tasks(&self, id: u32) -> Option<&AtomicU64> {
        self.word(id, at::participant::TASKS)
    }

    /// `id` is about to take so many tasks.
    #[doc(hidden)]
    pub fn count_tasks(&self, id: u32, many: u64) {
        if let Some(word) = self.tasks(id) {
            // ORDERING tasks-held (SeqCst): before the take: the claim that follows orders
            // it. Several threads count in one word, hence the RMW.
            word.fetch_add(many, SeqCst);
        }
    }

    /// What all have taken and not done.
    pub(crate) fn held_tasks(&self) -> u64 {
        // ORDERING tasks-held (acquire): who sees a count taken back sees the departure.
        let held = |id| self.tasks(id).map_or(0, |word| TaskCount(word.load(Acquire)).held());
        (1..=self.count).map(held).fold(0, u64::saturating_add)
    }

    /// What was written off.
    pub(crate) fn lost_tasks(&self) -> u64 {
        let lost = |id| {
            let word = self.word(id, at::participant::LOST);
            // ORDERING tasks-lost (acquire): pairs with `write_off_tasks`.
            word.map_or(0, |word| LostCount(word.load(Acquire)).lost())
        };
        (1..=self.count).map(lost).fold(0, u64::saturating_add)
    }

    /// A number that changes whenever a record is freed.
    #[doc(hidden)]
    pub fn departures(&self) -> u64 {
        let incarnation = |id| {
            let word = self.word(id, at::participant::INCARNATION);
            // ORDERING tasks-departed (acquire): who sees a departure sees what the
            // repair before it gave back to the ring.
            word.map_or(0, |word| word.load(Acquire))
        };
        (1..=self.count).map(incarnation).fold(0, u64::wrapping_add)
    }

    /// Says how many accepted items wait in the memory of `id`'s process. Only that
    /// process calls this, one thread at a time.
    pub fn set_overflow(&self, id: u32, items: u64) {
        // ORDERING overflow-count (release): an item is put before it stops counting
        // here, and who sees the lower count sees the put.
        self.change_overflow(id, |count| count.with_items(items));
    }

    /// One of the items is about to be moved to the ring, or was not after all.
    pub(crate) fn step_overflow(&self, id: u32) {
        // ORDERING overflow-count (release): as in `set_overflow`.
        self.change_overflow(id, OverflowCount::stepped);
    }

    /// One of the items was moved to the ring; so many wait now.
    pub(crate) fn moved_overflow(&self, id: u32, items: u64) {
        // ORDERING overflow-count (release): as in `set_overflow`.
        self.change_overflow(id, |count| count.stepped().with_items(items));
    }

    fn change_overflow(&self, id: u32, change: impl Fn(OverflowCount) -> OverflowCount) {
        if let Some(word) = self.word(id, at::participant::OVERFLOW) {
            // An RMW: the thread that moves items and those that accept more share it.
            // ORDERING overflow-count (SeqCst): a release, and moving is announced before the
            // claim.
            let mut seen = word.load(Relaxed);
            for _ in 0..UPDATES {
                let new = change(OverflowCount(seen)).0;
                // As above. Relaxed on failure: looked at afresh.
                match word.compare_exchange(seen, new, SeqCst, Relaxed) {
                    Ok(_) => return,
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// The overflow counts of processes not known to be dead.
    fn overflow_counts(&self) -> impl Iterator<Item = OverflowCount> {
        let live = (1..=self.count).filter(|id| self.standing(*id) == Standing::Live);
        // ORDERING overflow-count (acquire): pairs with `set_overflow`.
        live.filter_map(|id| self.word(id, at::participant::OVERFLOW))
            .map(|word| OverflowCount(word.load(Acquire)))
    }

    /// Accepted items that wait in the memory of processes not known to be dead. One
    /// that is being moved counts.
    pub fn overflow(&self) -> u64 {
        self.overflow_counts().map(OverflowCount::items).fold(0, u64::saturating_add)
    }

    /// The same, and a number that changes with every move; `None` while one is under
    /// way.
    pub(crate) fn settled_overflow(&self) -> Option<(u64, u64)> {
        self.overflow_counts().try_fold((0, 0), |(items, steps): (u64, u64), count| {
            let settled = !count.is_moving();
            settled
                .then(|| (items.saturating_add(count.items()), steps.wrapping_add(count.steps())))
        })
    }
}

/// How many accepted items wait in a process's memory, and whether one of them is on
/// its way to the ring: `steps:32 | items:32`. The steps are odd during a move, when
/// the item may be in both places; they are a sequence lock for those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OverflowCount(u64);

impl OverflowCount {
    fn items(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    fn steps(self) -> u64 {
        self.0 >> 32
    }

    fn is_moving(self) -> bool {
        self.steps() % 2 == 1
    }

    fn stepped(self) -> Self {
        // The steps wrap round above.
        Self(self.0.wrapping_add(1 << 32))
    }

    fn with_items(self, items: u64) -> Self {
        Self(self.steps() << 32 | items.min(u64::from(u32::MAX)))
    }
}
