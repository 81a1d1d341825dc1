//! What is counted in a file.

use serde::{Deserialize, Serialize};

/// The counts of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Its length.
    pub(crate) bytes: u64,
    /// Newline bytes.
    pub(crate) lines: u64,
    /// Longest runs of bytes that are not [`is_space`].
    pub(crate) words: u64,
    /// CRC-32 (IEEE 802.3, as in gzip and PNG).
    pub(crate) crc: u32,
}

/// Counts contents that come in pieces, cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    tally: Tally,
    crc: crc32fast::Hasher,
    /// Whether the last byte belongs to a word, which may go on in the next piece.
    in_word: bool,
}

/// White space as C's `isspace` knows it, and so `LC_ALL=C wc`. Rust's
/// `is_ascii_whitespace` leaves out the vertical tab.
fn is_space(byte: u8) -> bool {
    byte == b' ' || byte.wrapping_sub(b'\t') < 5
}

/// Bytes whose counts fit a `u8`: the compiler turns such sums into vector code.
const BLOCK: usize = 128;

impl Counter {
    /// Counts the next piece.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return };
        self.crc.update(bytes);
        self.tally.bytes += bytes.len() as u64;
        for block in bytes.chunks(BLOCK) {
            self.tally.lines += u64::from(block.iter().map(|b| u8::from(*b == b'\n')).sum::<u8>());
        }
        // A word begins where a byte of one follows a byte of none.
        self.tally.words += u64::from(!self.in_word && !is_space(*first));
        let (before, after) = (&bytes[..bytes.len() - 1], &bytes[1..]);
        for (before, after) in before.chunks(BLOCK).zip(after.chunks(BLOCK)) {
            let starts =
                before.iter().zip(after).map(|(a, b)| u8::from(is_space(*a) & !is_space(*b)));
            self.tally.words += u64::from(starts.sum::<u8>());
        }
        self.in_word = !is_space(*last);
    }

    /// The counts of all pieces.
    pub(crate) fn finish(self) -> Tally {
        Tally { crc: self.crc.finalize(), ..self.tally }
    }
}

/// The counts of many files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    /// The sum of the checksums, so that the order of the files does not matter.
    pub(crate) crcs: u64,
}

impl Total {
    /// Adds a file.
    pub(crate) fn add(&mut self, tally: &Tally) {
        self.files += 1;
        self.bytes += tally.bytes;
        self.lines += tally.lines;
        self.words += tally.words;
        self.crcs += u64::from(tally.crc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pieces: &[&[u8]]) -> Tally {
        let mut counter = Counter::default();
        pieces.iter().for_each(|piece| counter.add(piece));
        counter.finish()
    }

    #[test]
    fn known_answers() {
        // The check value of CRC-32 in every catalogue.
        let nine = Tally { bytes: 9, lines: 0, words: 1, crc: 0xcbf4_3926 };
        assert_eq!(count(&[b"123456789"]), nine);
        assert_eq!(count(&[]), Tally::default());
        let poem = count(&["  one\ttwo\n\nthree\u{b}four\x0c\r\nf\u{fc}nf\u{a0}\n".as_bytes()]);
        // No-break space is no white space here: its bytes belong to the word.
        assert_eq!((poem.lines, poem.words), (4, 5));
    }

    #[test]
    fn where_it_is_cut_does_not_matter() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let alphabet = b"ab \n\t\x0b\x0c\r\x00\xff\x08\x0e";
        let bytes: Vec<u8> =
            (0..3000).map(|_| alphabet[next() as usize % alphabet.len()]).collect();
        let whole = count(&[&bytes]);
        // The obvious way to do it.
        let words = bytes.split(|b| b" \t\n\x0b\x0c\r".contains(b)).filter(|w| !w.is_empty());
        assert_eq!(whole.words, words.count() as u64);
        assert_eq!(whole.lines, bytes.iter().filter(|b| **b == b'\n').count() as u64);
        for _ in 0..200 {
            let (a, b) = (next() as usize % 3001, next() as usize % 3001);
            let (a, b) = (a.min(b), a.max(b));
            assert_eq!(count(&[&bytes[..a], &bytes[a..b], &[], &bytes[b..]]), whole);
        }
    }
}
