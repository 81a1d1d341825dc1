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
    fn other(self) -> Self {
        match self {
            Self::Through => Self::Past,
            Self::Past => Self::Through,
        }
    }
}

/// The least and the most bytes of a window.
const WINDOW: core::ops::RangeInclusive<u64> = 128 << 10..=8 << 20;
/// Windows between two trials. A trial that the other way loses takes two windows of it at
/// most, at not much more than the time that the first way takes.
const WINDOWS_BETWEEN: u64 = 256;
/// Windows before the first.
const WINDOWS_BEFORE: u64 = 4;

/// What this process knows about its copies into one ring or pool. Private memory but for
/// [`ReadTimes`]; threads share it, and a fork inherits a copy.
pub struct Stores {
    /// Bytes of a window: as many as go round, so that after one of them all lines have been
    /// written the same way.
    window: u64,
    past: AtomicBool,
    /// Whether copies are timed.
    timed: AtomicBool,
    /// Bytes until the next step, and nanoseconds spent since the last.
    left: AtomicU64,
    spent: AtomicU64,
    /// At how many the step ends early.
    enough: AtomicU64,
    readers: ReadTimes,
    trial: Mutex<Trial>,
}

/// How far a trial has come.
struct Trial {
    step: Step,
    /// The way that is kept.
    kept: Way,
    /// The best of the way that is kept and the worst of the other.
    kept_cost: Cost,
    other_cost: Cost,
    /// Whether this is the second round.
    again: bool,
    /// What readers had told before this window.
    told: (u64, u64),
}

/// Nanoseconds a KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    writing: u64,
    /// Unknown where readers have not told.
    reading: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Settled,
    /// The way that is kept is timed. In the second round it is warmed up before.
    WarmKept,
    Kept,
    /// So is the other, once all lines have been written that way.
    WarmOther,
    Other,
}

impl Stores {
    /// For memory in which `room` bytes go round. Begins past the cache: far processors lose
    /// more by the wrong way than near ones do.
    pub fn new(room: u64, readers: ReadTimes) -> Self {
        let window = room.clamp(*WINDOW.start(), *WINDOW.end());
        let trial = Trial {
            step: Step::Settled,
            kept: Way::Past,
            kept_cost: Cost::NONE,
            other_cost: Cost::NONE,
            again: false,
            told: (0, 0),
        };
        Self {
            window,
            past: AtomicBool::new(true),
            timed: AtomicBool::new(false),
            left: AtomicU64::new(window * WINDOWS_BEFORE),
            spent: AtomicU64::new(0),
            enough: AtomicU64::new(u64::MAX),
            readers,
            trial: Mutex::new(trial),
        }
    }

    /// The way of the next copy.
    pub fn way(&self) -> Way {
        // Relaxed, as all here: guesses of one process, which guard no data.
        if self.past.load(Relaxed) { Way::Past } else { Way::Through }
    }

    /// Makes a copy of `len` bytes, more than [`LONG_COPY`].
    pub fn copy<R>(&self, len: usize, copy: impl FnOnce(Way) -> R) -> R {
        let begun = self.timed.load(Relaxed).then(Instant::now);
        let copied = copy(self.way());
        let nanos = begun.map_or(0, |begun| begun.elapsed().as_nanos());
        self.note(u64::try_from(nanos).unwrap_or(u64::MAX), len as u64);
        copied
    }

    fn note(&self, nanos: u64, bytes: u64) {
        // No RMW: what two threads count at a time may count once.
        let spent = self.spent.load(Relaxed).saturating_add(nanos);
        self.spent.store(spent, Relaxed);
        let left = self.left.load(Relaxed);
        self.left.store(left.saturating_sub(bytes), Relaxed);
        if left <= bytes || spent >= self.enough.load(Relaxed) {
            self.turn(bytes.saturating_sub(left));
        }
    }

    /// The next step. `more` bytes than the window has were copied.
    #[cold]
    fn turn(&self, more: u64) {
        // One thread steps. A child forked while it does inherits the lock locked, and stays
        // with the way there is.
        let Ok(mut trial) = self.trial.try_lock() else { return };
        let spent = self.spent.load(Relaxed);
        let hopeless = spent >= self.enough.load(Relaxed);
        let told = self.readers.told();
        let read = (told.0.wrapping_sub(trial.told.0), told.1.wrapping_sub(trial.told.1));
        let cost = Cost::of((spent, self.window.saturating_add(more)), read);
        trial.told = told;
        let step = trial.next(cost, hopeless);
        let (way, enough) = match step {
            Step::Settled | Step::WarmKept | Step::Kept => (trial.kept, u64::MAX),
            // Half as long again.
            Step::WarmOther | Step::Other => {
                let kept = trial.kept_cost.sum().saturating_mul(self.window >> 10);
                (trial.kept.other(), kept.saturating_add(kept / 2).max(1))
            }
        };
        let windows = if step == Step::Settled { WINDOWS_BETWEEN } else { 1 };
        self.readers.want(step != Step::Settled);
        self.past.store(way == Way::Past, Relaxed);
        self.timed.store(step != Step::Settled, Relaxed);
        self.enough.store(enough, Relaxed);
        self.spent.store(0, Relaxed);
        self.left.store(self.window * windows, Relaxed);
    }
}

impl Cost {
    const NONE: Self = Self { writing: 0, reading: None };

    /// Of so many nanoseconds and bytes, written and read.
    fn of(written: (u64, u64), read: (u64, u64)) -> Self {
        let each = |(nanos, bytes): (u64, u64)| nanos.saturating_mul(1 << 10).checked_div(bytes);
        Self { writing: each(written).unwrap_or(0), reading: each(read) }
    }

    fn sum(self) -> u64 {
        self.writing.saturating_add(self.reading.unwrap_or(0))
    }

    /// Whether this is less by more than an eighth: else it is noise.
    fn is_clearly_less(self, than: Self) -> bool {
        // Of two sides or of one, but not of different ones.
        self.reading.is_some() == than.reading.is_some() && self.sum() < than.sum() / 8 * 7
    }
}

impl Trial {
    /// Goes on after a window of that cost, or one that was given up.
    fn next(&mut self, cost: Cost, hopeless: bool) -> Step {
        self.step = match self.step {
            Step::Settled => {
                self.again = false;
                Step::Kept
            }
            Step::WarmKept => Step::Kept,
            Step::Kept => {
                if !self.again || cost.sum() < self.kept_cost.sum() {
                    self.kept_cost = cost;
                }
                Step::WarmOther
            }
            Step::WarmOther if hopeless => Step::Settled,
            Step::WarmOther => Step::Other,
            Step::Other => {
                let alike = cost.reading.is_some() == self.other_cost.reading.is_some();
                if !self.again || !alike || cost.sum() > self.other_cost.sum() {
                    self.other_cost = cost;
                }
                let better = !hopeless && self.other_cost.is_clearly_less(self.kept_cost);
                if better && self.again {
                    self.kept = self.kept.other();
                }
                let go_on = better && !self.again;
                self.again = true;
                if go_on { Step::WarmKept } else { Step::Settled }
            }
        };
        self.step
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

    const ROOM: u64 = 1 << 20;
    const COPY: u64 = 64 << 10;

    fn stores(room: u64) -> Stores {
        Stores::new(room, ReadTimes::new(&Memory::new(Heap::new(24)), 0).unwrap())
    }

    /// Copies `rooms` rooms, `copy` bytes at a time: each takes the writer and the reader what
    /// `nanos` says. How many went through the cache.
    fn copies(
        stores: &Stores,
        rooms: u64,
        copy: u64,
        mut nanos: impl FnMut(Way) -> (u64, u64),
    ) -> u64 {
        let mut through = 0;
        for _ in 0..rooms * ROOM / copy {
            let way = stores.way();
            through += u64::from(way == Way::Through);
            let (writing, reading) = nanos(way);
            if stores.readers.wanted() && reading > 0 {
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

    #[test]
    fn trials_in_vain_cost_little() {
        let stores = stores(ROOM);
        let all = 10_000;
        let through = copies(&stores, all, COPY, costs((31_000, 31_000), (1200, 4900)));
        assert_eq!(stores.way(), Way::Past);
        // Of a window that is given up after half as long again as it would take.
        let share = all * ROOM / COPY / through;
        assert!(through > 0 && share > 800, "one copy in {share}");
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
    fn better_once_is_not_enough() {
        let cost = |writing| Cost { writing, reading: Some(10) };
        let steps = [
            (cost(0), Step::Kept),
            (cost(90), Step::WarmOther),
            (cost(0), Step::Other),
            (cost(40), Step::WarmKept),
            (cost(0), Step::Kept),
            (cost(90), Step::WarmOther),
            (cost(0), Step::Other),
        ];
        for (last, kept) in [
            (cost(50), Way::Through),
            (cost(89), Way::Past),
            (Cost { reading: None, ..cost(50) }, Way::Past),
        ] {
            let stores = stores(ROOM);
            let mut trial = stores.trial.lock().unwrap();
            for (cost, step) in steps {
                assert_eq!(trial.next(cost, false), step);
            }
            assert_eq!(trial.next(last, false), Step::Settled);
            assert_eq!(trial.kept, kept, "{last:?}");
        }
    }

    #[test]
    fn copies_longer_than_a_window_count_whole() {
        let stores = stores(u64::MAX);
        assert_eq!(stores.window, *WINDOW.end());
        copies(&stores, 16 * 12, 16 << 20, costs((1_200_000, 0), (2_400_000, 0)));
        assert_eq!(stores.way(), Way::Through);
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
