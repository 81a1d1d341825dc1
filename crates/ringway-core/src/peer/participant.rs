//! Participants: the processes attached to a segment, each a unit of death.

use crate::memory::{Memory, OutOfBounds, Region};
use crate::mpmc::layout::LINE;
use crate::mpmc::layout::at::{self, RECORD};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Process id, in its own pid namespace.
    pub pid: u64,
    /// Inode of that namespace.
    pub pid_namespace: u64,
    /// Start of the process in clock ticks since boot; tells a re-used pid.
    pub start_time: u64,
}

/// What a process has to do with the tasks of a joinable queue, in one word, so that
/// writing off is one store: `lost:32 | held:32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskCount(pub(crate) u64);

impl TaskCount {
    /// Taken by the process and not done. One too many while it is about to take.
    pub(crate) fn held(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    /// Held by processes that had this record and went.
    pub(crate) fn lost(self) -> u64 {
        self.0 >> 32
    }

    fn written_off(self) -> Self {
        Self((self.lost() + self.held()).min(u64::from(u32::MAX)) << 32)
    }
}

/// The table of participant records, numbered from 1.
pub struct Participants {
    records: Region,
    count: u32,
}

impl Participants {
    /// The `count` records at `offset`.
    pub(crate) fn new(memory: &Memory, offset: u64, count: u32) -> Result<Self, OutOfBounds> {
        Ok(Self { records: memory.region(offset, u64::from(count) * LINE)?, count })
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

    /// Takes the free record `id`. The caller has excluded everybody else who might.
    pub fn join(&self, id: u32, identity: Identity) {
        self.store(id, at::participant::PID, identity.pid);
        self.store(id, at::participant::PID_NAMESPACE, identity.pid_namespace);
        self.store(id, at::participant::START_TIME, identity.start_time);
        self.store(id, at::participant::OVERFLOW, 0);
        self.set(id, Standing::Live);
    }

    /// Notes that `id` is dead and being repaired. For the holder of its exclusion.
    pub(crate) fn bury(&self, id: u32) {
        self.set(id, Standing::Dead);
    }

    /// Frees record `id`: its process leaves with nothing in flight, or was repaired.
    pub fn free(&self, id: u32) {
        // What only its memory held is gone, or was put before it left.
        self.store(id, at::participant::OVERFLOW, 0);
        let incarnation = self.load(id, at::participant::INCARNATION).wrapping_add(1);
        if let Some(word) = self.word(id, at::participant::INCARNATION) {
            // ORDERING tasks-departed (release): pairs with `departures`.
            word.store(incarnation, Release);
        }
        self.write_off_tasks(id);
        self.set(id, Standing::Free);
    }

    /// Who `id` says it is.
    pub fn identity(&self, id: u32) -> Identity {
        Identity {
            pid: self.load(id, at::participant::PID),
            pid_namespace: self.load(id, at::participant::PID_NAMESPACE),
            start_time: self.load(id, at::participant::START_TIME),
        }
    }

    /// Moves what `id` has taken and not done to what is lost. Nobody else changes the
    /// word meanwhile; repeated, it changes nothing.
    fn write_off_tasks(&self, id: u32) {
        if let Some(word) = self.tasks(id) {
            // Relaxed: the process that wrote it is gone.
            let tasks = TaskCount(word.load(Relaxed));
            if tasks.held() > 0 {
                // ORDERING tasks-held (release): who sees them written off sees the
                // departure above, in `SharedRing::unfinished`.
                word.store(tasks.written_off().0, Release);
            }
        }
    }

    /// The [`TaskCount`] of record `id`.
    pub(crate) fn tasks(&self, id: u32) -> Option<&AtomicU64> {
        self.word(id, at::participant::TASKS)
    }

    /// A number that changes whenever a record is freed.
    pub(crate) fn departures(&self) -> u64 {
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
        if let Some(word) = self.word(id, at::participant::OVERFLOW) {
            // ORDERING overflow-count (release): an item is put before it stops
            // counting here, and who sees the lower count sees the put.
            word.store(items, Release);
        }
    }

    /// Accepted items that wait in the memory of processes not known to be dead.
    pub fn overflow(&self) -> u64 {
        let waiting = |id| match self.standing(id) {
            // ORDERING overflow-count (acquire): pairs with `set_overflow`.
            Standing::Live => {
                self.word(id, at::participant::OVERFLOW).map_or(0, |word| word.load(Acquire))
            }
            Standing::Free | Standing::Dead => 0,
        };
        (1..=self.count).map(waiting).fold(0, u64::saturating_add)
    }
}
