//! Which processors the measured processes run on.

use crate::failure::{Failure, failed};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors this program may use, one thread of each core before the second of any:
/// two that share a core would slow each other down.
#[derive(Debug)]
pub(super) struct Cpus {
    allowed: CpuSet,
    ordered: Vec<usize>,
}

impl Cpus {
    /// Asks the system. To be called before anything is pinned.
    pub(super) fn find() -> Result<Self, Failure> {
        let allowed =
            sched_getaffinity(None).map_err(|e| failed("cannot list the processors", &e))?;
        let mut ordered: Vec<usize> =
            (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
        ordered.sort_by_key(|&cpu| (place_in_core(cpu), cpu));
        Ok(Self { allowed, ordered })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.ordered.len()
    }

    /// Where the two ends of a pipe run; `None` with one processor.
    pub(super) fn pair(&self) -> Option<(usize, usize)> {
        Some((*self.ordered.first()?, *self.ordered.get(1)?))
    }

    /// Where putter number `index` runs: they share the first half.
    pub(super) fn putter(&self, index: usize) -> Option<usize> {
        self.pair()?;
        let half = self.count() / 2;
        self.ordered.get(index % half).copied()
    }

    /// Where getter number `index` runs: they share the second half.
    pub(super) fn getter(&self, index: usize) -> Option<usize> {
        self.pair()?;
        let half = self.count() / 2;
        self.ordered.get(half + index % (self.count() - half)).copied()
    }

    /// Lets the calling thread run anywhere again.
    pub(super) fn unpin(&self) -> Result<(), Failure> {
        sched_setaffinity(None, &self.allowed).map_err(|e| failed("cannot unpin", &e))
    }
}

/// Pins the calling thread; `None` leaves it where it is.
pub(super) fn pin(cpu: Option<usize>) -> Result<(), Failure> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).map_err(|e| failed("cannot pin a process", &e))
}

/// 0 for the first hardware thread of a core, more for its siblings.
fn place_in_core(cpu: usize) -> usize {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    std::fs::read_to_string(path).map_or(0, |list| place_in(&list, cpu))
}

/// The position of `cpu` in a list such as `0,4` or `2-3`; 0 if it is not there.
fn place_in(list: &str, cpu: usize) -> usize {
    let ranges = list.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<usize>().ok()?..=to.parse().ok()?)
    });
    ranges.flatten().position(|listed| listed == cpu).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_are_told_from_first_threads() {
        assert_eq!((place_in("0,4\n", 0), place_in("0,4\n", 4)), (0, 1));
        assert_eq!((place_in("2-3", 2), place_in("2-3", 3)), (0, 1));
        assert_eq!((place_in("0-1,8-9", 8), place_in("nonsense", 3)), (2, 0));
    }

    #[test]
    fn putters_and_getters_do_not_share_a_processor() {
        let cpus = Cpus { allowed: CpuSet::new(), ordered: vec![0, 1, 2] };
        let putters: Vec<_> = (0..4).filter_map(|i| cpus.putter(i)).collect();
        let getters: Vec<_> = (0..4).filter_map(|i| cpus.getter(i)).collect();
        assert_eq!((putters, getters), (vec![0; 4], vec![1, 2, 1, 2]));
        let alone = Cpus { allowed: CpuSet::new(), ordered: vec![0] };
        assert_eq!((alone.pair(), alone.putter(0), alone.getter(0)), (None, None, None));
    }
}
