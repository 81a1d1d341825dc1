//! Through the cache or past it: which way long copies for another processor are quicker.
//!
//! A line that is written through the cache is fetched from wherever it was last, and the
//! reader fetches it from there. How long that takes depends on where the two processors are
//! and on how many bytes go round:
//!
//! * Few bytes go round: the lines lie in the other one's own cache. Past the cache is quicker.
//! * More than the two own caches hold, and the two share a larger one: the lines lie in that,
//!   and through the cache is two to three times as quick.
//! * They share none: past the cache is three to seven times as quick.
//!
//! Threads move, and so do the processors of a virtual machine, within seconds. So it is not
//! asked for but measured: from time to time some copies go the other way, and the way is kept
//! that takes less time of the two sides together. The writer's copy alone does not tell: one
//! past the cache is soon over, but the reader gets its bytes from memory. So while a writer
//! tries it asks readers to time what they do, too ([`ReadTimes`]).
//!
//! Measured on two Zen 4 processors of a virtual machine, 64 KiB at a time by a bare ring:
//!
//! | bytes that go round | they share a cache: through, past | they do not: through, past |
//! | --- | --- | --- |
//! | 64 KiB | 7.8 us, 5.2 | 31 us, 4.9 |
//! | 512 KiB | 7.7, 4.7 | 32, 4.1 |
//! | 4 MiB | 1.7 to 2.7, 4.5 | 13, 4.2 |
//! | 8 MiB | 1.6 to 2.3, 4.5 | 12, 4.1 |

use super::ReadTimes;
use super::trial::{Cost, Step, Trial};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicBool, AtomicU64};
use std::sync::Mutex;
use std::time::Instant;

/// Copies of more bytes than these have a choice. Below, waiting for stores that go past the
/// cache to drain costs more than they save.
pub const LONG_COPY: usize = 4096;

/// How a copy into shared memory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Ordinary stores.
    Through,
    /// Stores that leave the bytes in no cache, if there are more than [`LONG_COPY`] and the
    /// processor has such.
    Past,
}

impl Way {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Through => Self::Past,
            Self::Past => Self::Through,
        }
    }
}

/// The least and the most bytes of a lap. Where more go round, the reader may be further behind
/// than a lap, and then the writer stays with the way that it begins with.
const LAP: core::ops::RangeInclusive<u64> = 128 << 10..=64 << 20;
/// The most bytes of which a way's cost is taken.
const WINDOW: u64 = 8 << 20;
/// Bytes of a copy that are made in one way: a message may be as long as many laps.
const PART: usize = 4 << 20;
/// Laps between two glances.
const LAPS_BETWEEN: u64 = 8;
/// Laps before the first trial.
const LAPS_BEFORE: u64 = 4;

/// What this process knows about its copies into one ring or pool. Private memory but for
/// [`ReadTimes`]; threads share it, and a fork inherits a copy.
pub struct Stores {
    /// Bytes that go round: after so many all lines have been written the same way, and a reader
    /// that is as far behind as it can be has come to them.
    lap: u64,
    past: AtomicBool,
    /// Whether copies are timed.
    timed: AtomicBool,
    /// Bytes until the next step, and nanoseconds spent in this one.
    left: AtomicU64,
    spent: AtomicU64,
    /// At how many the step ends early.
    enough: AtomicU64,
    /// Bytes of the step.
    step: AtomicU64,
    readers: ReadTimes,
    trial: Mutex<Trial>,
}

impl Stores {
    /// For memory in which `room` bytes go round. Begins past the cache: far processors lose
    /// more by the wrong way than near ones do.
    pub fn new(room: u64, readers: ReadTimes) -> Self {
        let lap = room.clamp(*LAP.start(), *LAP.end());
        Self {
            lap,
            past: AtomicBool::new(true),
            timed: AtomicBool::new(false),
            left: AtomicU64::new(lap * LAPS_BEFORE),
            spent: AtomicU64::new(0),
            enough: AtomicU64::new(u64::MAX),
            step: AtomicU64::new(lap * LAPS_BEFORE),
            readers,
            trial: Mutex::new(Trial::new(Way::Past)),
        }
    }

    /// The way of the next copy.
    pub fn way(&self) -> Way {
        // Relaxed, as all here: guesses of one process, which guard no data.
        if self.past.load(Relaxed) { Way::Past } else { Way::Through }
    }

    /// Copies `src`, of more than [`LONG_COPY`] bytes: calls `copy` with the way, the offset and
    /// the bytes of each part.
    pub fn copy<E>(
        &self,
        src: &[u8],
        mut copy: impl FnMut(Way, usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (n, part) in src.chunks(PART).enumerate() {
            let begun = self.timed.load(Relaxed).then(Instant::now);
            let way = self.way();
            copy(way, n * PART, part)?;
            // One that another thread's step has overtaken belongs to no step.
            if self.timed.load(Relaxed) == begun.is_some() && self.way() == way {
                let nanos = begun.map_or(0, |begun| begun.elapsed().as_nanos());
                self.note(u64::try_from(nanos).unwrap_or(u64::MAX), part.len() as u64);
            }
        }
        Ok(())
    }

    fn note(&self, nanos: u64, bytes: u64) {
        // No RMW: what two threads count at a time may count once.
        let spent = self.spent.load(Relaxed).saturating_add(nanos);
        self.spent.store(spent, Relaxed);
        let left = self.left.load(Relaxed);
        self.left.store(left.saturating_sub(bytes), Relaxed);
        if self.is_due() {
            self.turn(bytes.saturating_sub(left));
        }
    }

    fn is_due(&self) -> bool {
        self.left.load(Relaxed) == 0 || self.spent.load(Relaxed) >= self.enough.load(Relaxed)
    }

    /// The next step. `more` bytes were copied than were left.
    #[cold]
    fn turn(&self, more: u64) {
        // One thread steps. A child forked while it does inherits the lock locked, and stays
        // with the way there is.
        let Ok(mut trial) = self.trial.try_lock() else { return };
        if !self.is_due() {
            // Another thread has just made the step.
            return;
        }
        let written = self.step.load(Relaxed).saturating_sub(self.left.load(Relaxed));
        let told = self.readers.told();
        let read = (told.0.wrapping_sub(trial.told.0), told.1.wrapping_sub(trial.told.1));
        let cost = Cost::of((self.spent.load(Relaxed), written.saturating_add(more)), read);
        trial.told = told;
        let step = trial.next(cost);
        let window = self.lap.min(WINDOW);
        let (way, bytes) = match step {
            Step::Settled => (trial.kept, self.lap * LAPS_BETWEEN),
            Step::Glance => (trial.kept, 1),
            Step::WarmKept => (trial.kept, self.lap),
            Step::Kept => (trial.kept, window),
            // Three laps of the other way before it is timed. The first meets lines as the way that is
            // kept left them. Then the two sides find their distance: past the cache the reader is the
            // slower one, and the writer, right behind it, fetches each line from the reader's own cache
            // until it has fallen back. That may take more than a lap: through the cache, a MiB at a time
            // and a pool of 8 MiB, two processors of an Emerald Rapids took 205 us for both sides in the
            // first lap, 145 to 175 in the third and 120 from then on, past it 170. Timed in the third,
            // one run in four stayed past it.
            Step::ColdOther => (trial.kept.other(), self.lap),
            Step::WarmOther => (trial.kept.other(), 2 * self.lap),
            Step::Other => (trial.kept.other(), window),
        };
        let enough = if way == trial.kept { u64::MAX } else { trial.enough_of(bytes) };
        self.readers.want(!matches!(step, Step::Settled | Step::Glance), way);
        self.past.store(way == Way::Past, Relaxed);
        self.timed.store(step != Step::Settled, Relaxed);
        self.enough.store(enough, Relaxed);
        self.spent.store(0, Relaxed);
        self.step.store(bytes, Relaxed);
        self.left.store(bytes, Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
impl Stores {
    /// As if a trial had just ended so.
    pub(crate) fn settle(&self, way: Way) {
        self.past.store(way == Way::Past, Relaxed);
        self.left.store(u64::MAX, Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::{Heap, Memory};
    use super::*;
    use std::collections::VecDeque;

    const ROOM: u64 = 1 << 20;
    const COPY: u64 = 64 << 10;

    fn stores(room: u64) -> Stores {
        Stores::new(room, ReadTimes::new(&Memory::new(Heap::new(24)), 0).unwrap())
    }

    /// Copies `rooms` rooms, `copy` bytes at a time: each takes the writer and the reader what
    /// `nanos` says. How many went through the cache.
    fn copies(stores: &Stores, rooms: u64, copy: u64, nanos: impl FnMut(Way) -> (u64, u64)) -> u64 {
        copies_behind(stores, rooms * ROOM / copy, copy, 0, nanos)
    }

    /// As above, so many copies; the reader is `behind` of them behind.
    fn copies_behind(
        stores: &Stores,
        count: u64,
        copy: u64,
        behind: usize,
        mut nanos: impl FnMut(Way) -> (u64, u64),
    ) -> u64 {
        let (mut through, mut unread) = (0, VecDeque::new());
        for _ in 0..count {
            let way = stores.way();
            through += u64::from(way == Way::Through);
            let (writing, reading) = nanos(way);
            unread.push_back(reading);
            let read = if unread.len() > behind { unread.pop_front() } else { None };
            if let Some(reading) = read.filter(|reading| *reading > 0 && stores.readers.wanted()) {
                stores.readers.add(reading, copy);
            }
            stores.note(if stores.timed.load(Relaxed) { writing } else { 0 }, copy);
        }
        through
    }

    fn costs(through: (u64, u64), past: (u64, u64)) -> impl Fn(Way) -> (u64, u64) {
        move |way| if way == Way::Through { through } else { past }
    }

    #[test]
    fn the_way_that_takes_less_time_is_kept() {
        let stores = stores(ROOM);
        assert_eq!(stores.way(), Way::Past, "before anything is known");
        // Of both sides together.
        copies(&stores, 20, COPY, costs((1600, 1600), (1200, 4500)));
        assert_eq!(stores.way(), Way::Through);
        // The processors move apart, and together again.
        copies(&stores, 600, COPY, costs((13_000, 12_000), (2100, 4200)));
        assert_eq!(stores.way(), Way::Past);
        copies(&stores, 600, COPY, costs((1600, 1600), (1200, 4500)));
        assert_eq!(stores.way(), Way::Through);
        // Nothing is copied out: by the writer's time alone.
        copies(&stores, 600, COPY, costs((1600, 0), (1200, 0)));
        assert_eq!(stores.way(), Way::Past);
    }

    /// It is not waited for until the next trial is due.
    #[test]
    fn processors_that_move_apart_are_met_soon() {
        let stores = stores(ROOM);
        copies(&stores, 20, COPY, costs((1600, 1600), (1200, 4500)));
        assert_eq!(stores.way(), Way::Through);
        copies(&stores, 30, COPY, costs((13_000, 12_000), (2100, 4200)));
        assert_eq!(stores.way(), Way::Past);
    }

    #[test]
    fn trials_in_vain_cost_little() {
        // One that is given up in its first lap, after three times as long as that should take, and one
        // that is timed.
        for (other, least) in [((31_000, 31_000), 400), ((4500, 2500), 60)] {
            let stores = stores(ROOM);
            let all = 10_000;
            let through = copies(&stores, all, COPY, costs(other, (1200, 4900)));
            assert_eq!(stores.way(), Way::Past);
            let share = all * ROOM / COPY / through;
            assert!(through > 0 && share > least, "{other:?}: one copy in {share}");
        }
    }

    /// It looks at next to nothing, so that the writer's time is all there is; and past the cache
    /// the lines went to memory, from where they come once.
    #[test]
    fn the_first_lap_of_the_other_way_may_be_slow() {
        for cold in [5000, 7500] {
            let stores = stores(ROOM);
            let mut in_a_row = 0;
            copies(&stores, 20, COPY, |way| {
                in_a_row = if way == Way::Through { in_a_row + 1 } else { 0 };
                match way {
                    Way::Past => (2650, 70),
                    Way::Through if in_a_row <= ROOM / COPY => (cold, 70),
                    Way::Through => (1400, 70),
                }
            });
            assert_eq!(stores.way(), Way::Through, "{cold} ns at first");
        }
    }

    /// Until the two sides have found their distance.
    #[test]
    fn the_other_way_is_timed_in_its_fourth_lap() {
        for (dear, kept) in [(3, Way::Through), (4, Way::Past)] {
            let stores = stores(ROOM);
            let mut in_a_row = 0;
            copies(&stores, 20, COPY, |way| {
                in_a_row = if way == Way::Through { in_a_row + 1 } else { 0 };
                match way {
                    Way::Past => (2000, 3000),
                    Way::Through if in_a_row <= dear * ROOM / COPY => (2500, 2500),
                    Way::Through => (1500, 1500),
                }
            });
            assert_eq!(stores.trial.lock().unwrap().kept, kept, "{dear} dear laps");
        }
    }

    #[test]
    fn noise_changes_nothing() {
        let stores = stores(ROOM);
        // Alike, but that each tenth copy is held up.
        let mut n = 0;
        let noisy = |_| {
            n += 1;
            (if n % 10 == 0 { 9000 } else { 4000 + n % 7 * 50 }, 4000)
        };
        copies(&stores, 4000, COPY, noisy);
        assert_eq!(stores.way(), Way::Past);
    }

    #[test]
    fn copies_longer_than_a_window_count_whole() {
        for copy in [16 << 20, 24 << 20, 64 << 20, 256 << 20] {
            for reading in [0, copy / 20] {
                let stores = stores(u64::MAX);
                let costs = costs((copy / 13, reading), (copy / 6, reading));
                copies_behind(&stores, 60, copy, 0, costs);
                assert_eq!(stores.way(), Way::Through, "{copy} bytes, read in {reading}");
            }
        }
    }

    #[test]
    fn a_reader_may_be_a_lap_behind() {
        for room in [8 << 20, 16 << 20, 64 << 20] {
            let stores = stores(room);
            let behind = usize::try_from(room / COPY).unwrap() - 1;
            let costs = costs((1600, 1600), (1200, 4500));
            copies_behind(&stores, 17 * room / COPY, COPY, behind, costs);
            assert_eq!(stores.trial.lock().unwrap().kept, Way::Through, "a room of {room}");
        }
    }

    #[test]
    fn long_copies_are_made_in_parts() {
        let src: Vec<u8> = (0..=250).cycle().take(2 * PART + 5).collect();
        let mut copied = Vec::new();
        let whole = stores(ROOM).copy(&src, |_, at, part| {
            assert_eq!(at, copied.len());
            copied.extend_from_slice(part);
            Ok::<_, ()>(())
        });
        assert!(whole.is_ok() && copied == src);
        let mut calls = 0;
        let failed = stores(ROOM).copy(&src, |_, _, _| {
            calls += 1;
            Err(calls)
        });
        assert_eq!(failed, Err(1), "the first that fails ends it");
    }

    /// The threads' copies may cover a whole window.
    #[test]
    fn copies_that_a_step_overtakes_belong_to_no_step() {
        let stores = stores(ROOM);
        copies(&stores, 4, COPY, costs((9, 9), (9, 9)));
        assert_eq!((stores.timed.load(Relaxed), stores.way()), (true, Way::Past));
        let left = stores.left.load(Relaxed);
        for flag in [&stores.timed, &stores.past] {
            let overtaken = stores.copy(&[0; 5000], |_, _, _| {
                flag.store(false, Relaxed);
                Ok::<_, ()>(())
            });
            assert!(overtaken.is_ok());
        }
        assert_eq!(stores.left.load(Relaxed), left);
    }

    #[test]
    fn any_bytes_in_shared_memory_do_no_harm() {
        let stores = stores(ROOM);
        let mut word = 0_u64;
        copies(&stores, 1000, COPY, |_| {
            word = word.rotate_left(7) ^ (u64::MAX / 3);
            stores.readers.add(word, word.rotate_left(9));
            (word, word)
        });
    }
}
