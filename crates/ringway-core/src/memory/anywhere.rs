//! Copies to and from any byte, not only multiples of 8.
//!
//! Words at the ends of an unaligned range are read and written whole: every access to a
//! place keeps its one size for ever. Whoever writes here must be the only writer of those
//! words by the protocol; a peer that breaks it makes wrong bytes and nothing worse.
//!
//! Programs that use a message where it lies ask for one value after the other. Those have a way
//! of their own, without calls.

use super::{Out, OutOfBounds, Region, Way};
use crate::sync::AtomicU64;
use crate::sync::Ordering::Relaxed;

/// Bytes of a word.
const WORD: usize = 8;
/// The most bytes of a short copy. Its words are touched one by one, where the compiler knows
/// how many they are.
const SHORT: usize = 8 * WORD;

/// Copies a value from byte `at` to `dst`: bytes of one word, or a few whole ones, as `word` gives
/// them. Says whether it did; if not, some of `dst` may have changed.
///
/// Asks `word` for those that hold bytes of `at..at + dst.len()` alone, by multiples of 8, if there
/// are such bytes: [`Run`](super::Run) relies on that without a check of its own.
#[inline]
pub(super) fn read_short<'a>(
    word: impl Fn(usize) -> Option<&'a AtomicU64>,
    at: usize,
    dst: &mut [u8],
) -> bool {
    let begin = at % WORD;
    if begin + dst.len() <= WORD {
        let Some(word) = word(at - begin) else { return false };
        let bytes = (word.load(Relaxed).to_le() >> (8 * begin)).to_le_bytes();
        dst.copy_from_slice(&bytes[..dst.len()]);
        return true;
    }
    if begin != 0 || !dst.len().is_multiple_of(WORD) || dst.len() > SHORT {
        return false;
    }
    for (i, bytes) in dst.as_chunks_mut::<WORD>().0.iter_mut().enumerate() {
        let Some(word) = word(at + i * WORD) else { return false };
        *bytes = word.load(Relaxed).to_ne_bytes();
    }
    true
}

/// Copies a value from `src` to byte `at`, as [`read_short`] does, and changes no other byte. Says
/// whether it did; if not, some of the bytes there may have changed.
#[inline]
pub(super) fn write_short<'a>(
    word: impl Fn(usize) -> Option<&'a AtomicU64>,
    at: usize,
    src: &[u8],
) -> bool {
    let begin = at % WORD;
    if src.is_empty() {
        // Not a store of what is there: the word may be somebody else's by now.
        return true;
    }
    if begin + src.len() <= WORD && src.len() < WORD {
        let Some(word) = word(at - begin) else { return false };
        // Relaxed, and no RMW: we are the only writer.
        let mut all = word.load(Relaxed).to_ne_bytes();
        all[begin..begin + src.len()].copy_from_slice(src);
        word.store(u64::from_ne_bytes(all), Relaxed);
        return true;
    }
    if begin != 0 || !src.len().is_multiple_of(WORD) || src.len() > SHORT {
        return false;
    }
    for (i, bytes) in src.as_chunks::<WORD>().0.iter().enumerate() {
        let Some(word) = word(at + i * WORD) else { return false };
        word.store(u64::from_ne_bytes(*bytes), Relaxed);
    }
    true
}

impl Region {
    /// Copies `src` to byte `at` and changes no other byte. Relaxed, as
    /// [`copy_in_by`](Self::copy_in_by).
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; nothing was written.
    pub fn write_at(&self, way: Way, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        if at.is_multiple_of(WORD) && src.len().is_multiple_of(WORD) {
            return self.copy_in_by(way, at, src);
        }
        self.inside(at, src.len())?;
        let (head, whole) = split(at, src.len());
        let (head, rest) = src.split_at(head);
        let (whole, tail) = rest.split_at(whole);
        self.write_value(at, head);
        let at = at + head.len();
        if !whole.is_empty() {
            self.copy_in_by(way, at, whole)?;
        }
        self.write_value(at + whole.len(), tail);
        Ok(())
    }

    /// Copies from byte `at` to `dst`. Relaxed, as [`copy_out`](Self::copy_out).
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`]; `dst` is as it was.
    pub fn read_at(&self, how: Out, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        if at.is_multiple_of(WORD) {
            return self.copy_out_by(how, at, dst);
        }
        self.inside(at, dst.len())?;
        let (head, _) = split(at, dst.len());
        let (head, rest) = dst.split_at_mut(head);
        self.read_value(at, head);
        if rest.is_empty() { Ok(()) } else { self.copy_out_by(how, at + head.len(), rest) }
    }

    /// As [`read_at`](Self::read_at), of bytes within one word or a few whole words. Says whether
    /// it did: whether they are such, and inside.
    #[inline]
    pub fn read_value(&self, at: usize, dst: &mut [u8]) -> bool {
        read_short(|at| self.word(at), at, dst)
    }

    /// As [`write_at`](Self::write_at), of such bytes. Says whether it did.
    #[inline]
    pub fn write_value(&self, at: usize, src: &[u8]) -> bool {
        write_short(|at| self.word(at), at, src)
    }

    fn inside(&self, at: usize, len: usize) -> Result<(), OutOfBounds> {
        let fits = at.checked_add(len).is_some_and(|end| end <= self.len());
        fits.then_some(()).ok_or(OutOfBounds { at: at as u64, len: len as u64 })
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
    use crate::memory::{Heap, Memory, Out, Way};

    /// What `Run` relies on.
    #[test]
    fn a_short_read_asks_for_the_words_of_its_bytes_alone() {
        use super::read_short;
        use crate::sync::AtomicU64;
        let word = AtomicU64::new(0);
        for at in 0..24 {
            for len in 1..100 {
                let look = |asked: usize| {
                    assert!(asked.is_multiple_of(8), "{asked}");
                    assert!(asked + 8 > at && asked < at + len, "{asked} for {len} at {at}");
                    Some(&word)
                };
                read_short(look, at, &mut vec![0; len]);
            }
        }
    }

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
                region.read_at(Out::Past, at, &mut back).unwrap();
                assert_eq!(back, src);
            }
        }
        assert!(
            region.write_at(Way::Past, SIZE, &[]).is_ok()
                && region.read_at(Out::Past, SIZE, &mut []).is_ok()
        );
        for (at, len) in [(SIZE, 1), (SIZE - 3, 4), (usize::MAX, 1), (SIZE + 1, 0)] {
            assert!(region.write_at(Way::Past, at, &vec![0; len]).is_err());
            assert!(region.read_at(Out::Past, at, &mut vec![0; len]).is_err());
        }
    }

    /// No byte is not a word: that may be somebody else's.
    #[test]
    fn nothing_touches_nothing() {
        assert!(super::write_short(|_| panic!("no word is asked for"), 8, &[]));
    }

    #[test]
    fn values_within_a_word_and_of_whole_words_go_the_short_way() {
        let region = Memory::new(Heap::new(128)).region(0, 128).unwrap();
        let short = |at: usize, len: usize| {
            at % 8 + len <= 8 || at.is_multiple_of(8) && len.is_multiple_of(8) && len <= 64
        };
        for (at, len) in (0..16).flat_map(|at| (1..=80).map(move |len| (at, len))) {
            assert_eq!(
                region.write_value(at, &vec![7; len]),
                short(at, len),
                "{len} bytes to {at}"
            );
            let mut value = vec![0; len];
            assert_eq!(region.read_value(at, &mut value), short(at, len), "{len} bytes from {at}");
            assert!(!short(at, len) || value == vec![7; len]);
        }
        assert!(!region.read_value(128, &mut [0]) && !region.write_value(121, &[0; 8]));
    }
}
