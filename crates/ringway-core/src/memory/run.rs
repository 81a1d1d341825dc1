//! Values one after the other.
#![allow(unsafe_code, reason = "a place whose bounds were checked once needs no check")]

use super::anywhere::read_short;
use super::{Circle, Region, Spot};

/// Bytes of a region that lie together, to be read in order. A loop over values keeps this in
/// registers: what it took from a handle it would have to load again after every atomic load.
pub struct Run<'a> {
    region: Spot<'a>,
    /// Bytes `at..end` of the region are left. Never beyond its end.
    at: usize,
    end: usize,
}

// SAFETY: it reads the words of a borrowed region as atomics, which any thread may do.
unsafe impl Send for Run<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for Run<'_> {}

impl Region {
    /// Bytes `at..at + len`, or `None` outside the region.
    #[inline]
    pub fn run(&self, at: usize, len: usize) -> Option<Run<'_>> {
        let end = at.checked_add(len).filter(|end| *end <= self.len())?;
        // SAFETY: every region has a beginning.
        Some(Run { region: unsafe { self.spot(0) }, at, end })
    }
}

impl Circle {
    /// The first of `len` bytes from any byte `pos` on: as many as lie before the end.
    #[inline]
    pub fn run(&self, pos: u64, len: usize) -> Option<Run<'_>> {
        let (at, first) = self.split(pos, len);
        self.region().run(at, first)
    }
}

impl Run<'_> {
    /// Copies the next bytes to `dst` and passes them over, if there are as many, and if they are
    /// what [`Region::read_value`] copies. Says whether it did; if not, `dst` may have changed.
    /// Relaxed: acquire a word that published these bytes first.
    #[inline]
    pub fn next(&mut self, dst: &mut [u8]) -> bool {
        // No bytes lie in no word.
        if dst.is_empty() || dst.len() > self.end - self.at {
            return false;
        }
        // SAFETY: `read_short` promises to ask for the words that hold the bytes
        // `at..at + dst.len()` and for no other, by multiples of 8. These bytes end at or before
        // `end`, so the words do at `end` rounded up, inside the region, which is made of whole ones.
        let word = |at| Some(unsafe { self.region.word(at) });
        let read = read_short(word, self.at, dst);
        if read {
            self.at += dst.len();
        }
        read
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::memory::{Circle, Heap, Memory, Region};

    fn region() -> Region {
        let region = Memory::new(Heap::new(128)).region(0, 128).unwrap();
        region.copy_in(0, &(0..128).collect::<Vec<u8>>()).unwrap();
        region
    }

    #[test]
    fn values_come_in_order_and_end_where_they_end() {
        let region = region();
        for size in [1, 2, 4, 8, 16, 24, 64] {
            for (begin, len) in [(0, 128), (64, 64), (8, 100), (64, size - 1), (128, 0)] {
                let mut run = region.run(begin, len).unwrap();
                let mut value = vec![0; size];
                for n in 0..len / size {
                    assert!(run.next(&mut value), "value {n} of {size} bytes from {begin}");
                    let from = u8::try_from(begin + n * size).unwrap();
                    assert!((from..).zip(&value).all(|(want, got)| want == *got), "{value:?}");
                }
                assert!(!run.next(&mut value), "{len} bytes from {begin} by {size}");
            }
        }
    }

    /// The caller reads those in another way, and goes on from behind them.
    #[test]
    fn what_is_no_value_is_refused() {
        let region = region();
        for (begin, size) in [(0, 0), (128, 0), (4, 8), (0, 12), (7, 2), (0, 72)] {
            let len = 128 - begin;
            assert!(!region.run(begin, len).unwrap().next(&mut vec![0; size]), "{begin} {size}");
        }
    }

    #[test]
    fn a_run_stays_inside() {
        let region = region();
        for (begin, len) in [(0, 129), (128, 1), (129, 0), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(region.run(begin, len).is_none(), "{begin} {len}");
        }
        let circle = Circle::new(region).unwrap();
        let mut run = circle.run(128 + 120, 16).unwrap();
        let mut value = [0; 8];
        assert!(run.next(&mut value) && value[0] == 120);
        assert!(!run.next(&mut value), "the rest is at the beginning");
    }
}
