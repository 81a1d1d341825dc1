//! Copies to and from any byte, not only multiples of 8.
//!
//! Words at the ends of an unaligned range are read and written whole: every access to a
//! place keeps its one size for ever. Whoever writes here must be the only writer of those
//! words by the protocol; a peer that breaks it makes wrong bytes and nothing worse.

use super::{OutOfBounds, Region, Way};
use crate::sync::Ordering::Relaxed;

/// Bytes of a word.
const WORD: usize = 8;

impl Region {
    /// Copies `src` to byte `at` and changes no other byte. Relaxed, as
    /// [`copy_in_by`](Self::copy_in_by).
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; nothing was written.
    pub fn write_at(&self, way: Way, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        self.inside(at, src.len())?;
        let (head, whole) = split(at, src.len());
        let (head, rest) = src.split_at(head);
        let (whole, tail) = rest.split_at(whole);
        self.patch(at, head);
        let at = at + head.len();
        if !whole.is_empty() {
            self.copy_in_by(way, at, whole)?;
        }
        self.patch(at + whole.len(), tail);
        Ok(())
    }

    /// Copies from byte `at` to `dst`. Relaxed, as [`copy_out`](Self::copy_out).
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; `dst` is as it was.
    pub fn read_at(&self, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        self.inside(at, dst.len())?;
        let (head, _) = split(at, dst.len());
        let (head, rest) = dst.split_at_mut(head);
        if let Some(word) = self.word(at - at % WORD)
            && !head.is_empty()
        {
            let bytes = word.load(Relaxed).to_ne_bytes();
            head.copy_from_slice(&bytes[at % WORD..at % WORD + head.len()]);
        }
        if rest.is_empty() { Ok(()) } else { self.copy_out(at + head.len(), rest) }
    }

    fn inside(&self, at: usize, len: usize) -> Result<(), OutOfBounds> {
        let fits = at.checked_add(len).is_some_and(|end| end <= self.len());
        fits.then_some(()).ok_or(OutOfBounds { at: at as u64, len: len as u64 })
    }

    /// Writes `bytes`, which lie within one word, beside what the word holds.
    fn patch(&self, at: usize, bytes: &[u8]) {
        let Some(word) = self.word(at - at % WORD) else { return };
        if bytes.is_empty() {
            return;
        }
        // Relaxed, and no RMW: we are the only writer.
        let mut all = word.load(Relaxed).to_ne_bytes();
        all[at % WORD..at % WORD + bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(all), Relaxed);
    }
}

/// Of `len` bytes from `at` on: those up to the next word, and those in whole words
/// behind them.
fn split(at: usize, len: usize) -> (usize, usize) {
    let head = (at.next_multiple_of(WORD) - at).min(len);
    (head, (len - head) / WORD * WORD)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::memory::{Heap, Memory, Way};

    #[test]
    fn every_place_and_length_round_trips_and_touches_no_neighbour() {
        const SIZE: usize = 256;
        let region = Memory::new(Heap::new(SIZE)).region(0, SIZE as u64).unwrap();
        for at in (0..20).chain(120..130) {
            for len in (0..40).chain(60..80).chain([SIZE - at]) {
                region.copy_in(0, &[0xEE; SIZE]).unwrap();
                let src: Vec<u8> = (1..=200).cycle().take(len).collect();
                region.write_at(Way::Past, at, &src).unwrap();
                let mut all = vec![0; SIZE];
                region.copy_out(0, &mut all).unwrap();
                assert_eq!(all[at..at + len], src);
                let rest = all[..at].iter().chain(&all[at + len..]);
                assert!(rest.copied().all(|byte| byte == 0xEE), "{len} bytes at {at}");
                let mut back = vec![0; len];
                region.read_at(at, &mut back).unwrap();
                assert_eq!(back, src);
            }
        }
        assert!(
            region.write_at(Way::Past, SIZE, &[]).is_ok() && region.read_at(SIZE, &mut []).is_ok()
        );
        for (at, len) in [(SIZE, 1), (SIZE - 3, 4), (usize::MAX, 1), (SIZE + 1, 0)] {
            assert!(region.write_at(Way::Past, at, &vec![0; len]).is_err());
            assert!(region.read_at(at, &mut vec![0; len]).is_err());
        }
    }
}
