//! Bytes in a circle: positions grow for ever, the memory comes round.
#![allow(unsafe_code, reason = "an index that cannot be out of bounds needs no check")]

use super::anywhere::{read_short, write_short};
use super::{Out, OutOfBounds, Region, Way};
use crate::sync::AtomicU64;

/// A [`Region`] whose length is a power of two. Every position names a word of it, so there
/// is nothing to check and nothing to go wrong on the way of a message.
#[derive(Clone)]
pub struct Circle {
    region: Region,
    /// Takes a position to the index of the word that holds it.
    mask: u64,
}

impl Circle {
    /// Lays a circle over `region`; `None` if its length is no power of two from 8 on.
    pub fn new(region: Region) -> Option<Self> {
        let len = region.len() as u64;
        // A power of two less 8 has no bit below 8 and none from the length on.
        (len.is_power_of_two() && len >= 8).then(|| Self { region, mask: len - 8 })
    }

    /// Size in bytes.
    #[inline]
    pub fn len(&self) -> u64 {
        self.mask + 8
    }

    /// Never: the least circle has 8 bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// A multiple of 8 from 0 to 8 before the end of the region.
    #[inline]
    fn index(&self, pos: u64) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "below the length, a usize")]
        let index = (pos & self.mask) as usize;
        index
    }

    /// The word that holds the byte at `pos`.
    #[inline]
    pub fn word(&self, pos: u64) -> &AtomicU64 {
        // SAFETY: `index` gives a multiple of 8 at least 8 before the end.
        let spot = unsafe { self.region.spot(self.index(pos)) };
        // SAFETY: those 8 bytes are the word.
        unsafe { spot.word(0) }
    }

    /// Has the processor fetch the line of the byte at `pos`, to be read soon. Changes nothing.
    #[inline]
    pub fn prefetch(&self, pos: u64) {
        self.region.prefetch(self.index(pos));
    }

    /// As [`prefetch`](Self::prefetch), to be written soon: it leaves other processors' caches.
    #[inline]
    pub fn prefetch_to_write(&self, pos: u64) {
        self.region.prefetch_to_write(self.index(pos));
    }

    /// Copies `src` to `pos`, a multiple of 8, as [`Region::copy_in`] does.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if it is longer than the circle. Part of it was copied.
    #[inline]
    pub fn copy_in(&self, way: Way, pos: u64, src: &[u8]) -> Result<(), OutOfBounds> {
        let at = self.index(pos);
        if src.len() <= self.region.len() - at {
            // SAFETY: `index` gives a multiple of 8 inside.
            let spot = unsafe { self.region.spot(at) };
            // SAFETY: `src` ends inside.
            unsafe { spot.copy_in_by(way, 0, src) };
            return Ok(());
        }
        self.copy_in_round(way, at, src)
    }

    /// Copies from `pos`, a multiple of 8, to `dst`, as [`Region::copy_out_by`] does.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if it is longer than the circle. Part of it was copied.
    #[inline]
    pub fn copy_out(&self, how: Out, pos: u64, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let at = self.index(pos);
        if dst.len() <= self.region.len() - at {
            // SAFETY: `index` gives a multiple of 8 inside.
            let spot = unsafe { self.region.spot(at) };
            // SAFETY: `dst` ends inside.
            unsafe { spot.copy_out_by(how, 0, dst) };
            return Ok(());
        }
        self.copy_out_round(how, at, dst)
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// Splits `len` bytes from any byte `pos` on at the end: where they begin, and how many
    /// lie before it.
    #[inline]
    pub(super) fn split(&self, pos: u64, len: usize) -> (usize, usize) {
        let at = self.byte(pos);
        (at, len.min(self.region.len() - at))
    }

    /// How many of the `len` bytes from any byte `pos` on lie before the end.
    #[inline]
    pub fn straight(&self, pos: u64, len: usize) -> usize {
        self.split(pos, len).1
    }

    /// Where the byte at `pos` lies in the region.
    #[inline]
    fn byte(&self, pos: u64) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "below the length, a usize")]
        let byte = (pos & (self.len() - 1)) as usize;
        byte
    }

    /// The word that holds a byte, also one lap ahead.
    #[inline]
    fn words<'a>(&'a self) -> impl Fn(usize) -> Option<&'a AtomicU64> {
        |at| Some(self.word(at as u64))
    }

    /// Copies `src` to any byte `pos` and changes no other, as [`Region::write_at`] does.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if it is longer than the circle. Part of it was copied.
    #[inline]
    pub fn write_at(&self, way: Way, pos: u64, src: &[u8]) -> Result<(), OutOfBounds> {
        if src.len() as u64 <= self.len() && write_short(self.words(), self.byte(pos), src) {
            return Ok(());
        }
        if pos.is_multiple_of(8) && src.len().is_multiple_of(8) {
            return self.copy_in(way, pos, src);
        }
        let (at, first) = self.split(pos, src.len());
        let (before, after) = src.split_at(first);
        self.region.write_at(way, at, before)?;
        if after.is_empty() { Ok(()) } else { self.region.write_at(way, 0, after) }
    }

    /// Copies from any byte `pos` to `dst`, as [`Region::read_at`] does.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if it is longer than the circle. Part of it was copied.
    #[inline]
    pub fn read_at(&self, how: Out, pos: u64, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        if dst.len() as u64 <= self.len() && read_short(self.words(), self.byte(pos), dst) {
            return Ok(());
        }
        if pos.is_multiple_of(8) && dst.len().is_multiple_of(8) {
            return self.copy_out(how, pos, dst);
        }
        let (at, first) = self.split(pos, dst.len());
        let (before, after) = dst.split_at_mut(first);
        self.region.read_at(how, at, before)?;
        if after.is_empty() { Ok(()) } else { self.region.read_at(how, 0, after) }
    }

    /// Where the up to two parts of `len` bytes from `pos` on lie, as [`Region::pointer`]
    /// says; of more than the circle has, the rest is left out.
    pub fn parts(&self, pos: u64, len: usize) -> [*mut [u8]; 2] {
        let none = || core::ptr::slice_from_raw_parts_mut(core::ptr::dangling_mut(), 0);
        let (at, first) = self.split(pos, len);
        let part = |at, len| self.region.pointer(at, len).unwrap_or_else(none);
        [part(at, first), part(0, len - first)]
    }

    #[cold]
    #[inline(never)]
    fn copy_in_round(&self, way: Way, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        let (before, after) = src.split_at(self.region.len() - at);
        self.region.copy_in_by(way, at, before)?;
        self.region.copy_in_by(way, 0, after)
    }

    #[cold]
    #[inline(never)]
    fn copy_out_round(&self, how: Out, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let (before, after) = dst.split_at_mut(self.region.len() - at);
        self.region.copy_out_by(how, at, before)?;
        self.region.copy_out_by(how, 0, after)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::{Heap, Memory};
    use super::*;
    use crate::sync::Ordering::Relaxed;

    fn circle(len: u64) -> Option<Circle> {
        let memory = Memory::new(Heap::new(4096));
        Circle::new(memory.region(0, len).unwrap())
    }

    #[test]
    fn what_goes_round_is_not_straight() {
        let circle = circle(64).unwrap();
        for (pos, len, straight) in [
            (0, 64, 64),
            (0, 100, 64),
            (60, 4, 4),
            (60, 5, 4),
            (64, 9, 9),
            (u64::MAX, 2, 1),
            (3, 0, 0),
        ] {
            assert_eq!(circle.straight(pos, len), straight, "{len} from {pos}");
        }
    }

    #[test]
    fn only_powers_of_two_are_circles() {
        for len in [0, 24, 48, 4088] {
            assert!(circle(len).is_none(), "{len}");
        }
        for len in [8, 64, 4096] {
            assert_eq!(circle(len).unwrap().len(), len);
        }
    }

    #[test]
    fn every_position_names_a_word_inside() {
        let circle = circle(64).unwrap();
        for pos in (0..200).chain([u64::MAX, u64::MAX - 7, 1 << 63]) {
            circle.word(pos).store(pos, Relaxed);
            assert_eq!(circle.word(pos.wrapping_add(64)).load(Relaxed), pos);
        }
    }

    /// Also values, which have a shorter way.
    #[test]
    fn any_bytes_come_round_and_touch_no_neighbour() {
        let (circle, small) = (circle(128).unwrap(), circle(8).unwrap());
        for pos in (0..260).chain([0_u64.wrapping_sub(20)]) {
            for len in 0..=80_u8 {
                circle.copy_in(Way::Past, 0, &[0xEE; 128]).unwrap();
                let src: Vec<u8> = (1..=len).collect();
                circle.write_at(Way::Past, pos, &src).unwrap();
                let mut all = [0; 128];
                circle.read_at(Out::Past, pos, &mut all).unwrap();
                let (there, rest) = all.split_at(src.len());
                assert_eq!(there, src, "{len} bytes at {pos}");
                assert!(rest.iter().all(|byte| *byte == 0xEE), "{len} bytes at {pos}");
                let mut back = vec![0; src.len()];
                circle.read_at(Out::Past, pos, &mut back).unwrap();
                assert_eq!(back, src, "{len} bytes at {pos}");
            }
        }
        assert!(small.write_at(Way::Past, 0, &[0; 24]).is_err());
        assert!(small.read_at(Out::Past, 0, &mut [0; 24]).is_err());
    }

    #[test]
    fn copies_come_round_and_stay_inside() {
        let circle = circle(64).unwrap();
        for pos in (0..200).step_by(8).chain([0_u64.wrapping_sub(16)]) {
            for len in 0..=64 {
                let src: Vec<u8> = (0..len).map(|i| u8::try_from(i + 1).unwrap()).collect();
                circle.copy_in(Way::Past, pos, &src).unwrap();
                let mut back = vec![0; len];
                circle.copy_out(Out::Through, pos, &mut back).unwrap();
                assert_eq!(back, src, "{len} bytes at {pos}");
            }
            assert!(circle.copy_in(Way::Past, pos, &[0; 129]).is_err());
            assert!(circle.copy_out(Out::Through, pos, &mut [0; 129]).is_err());
        }
    }
}
