//! The framing: one 64-bit header before each chunk.
//!
//! ```text
//! bits  0..32  len     payload bytes; the next header is at the next multiple of 8
//! bits 32..40  flags   FIRST, LAST, ABORT
//! bits 40..64  check   low bits of position / 8, inverted
//! ```
//!
//! A chunk that is FIRST but not LAST begins a streamed message: another 64-bit word,
//! the length of the whole message, stands before its payload. An ABORT ends a streamed
//! message that its sender gave up. The check makes a header that was left over from an
//! earlier round, or never written, visible as what it is.

use super::Corrupted;

pub(super) const HEADER: u64 = 8;
pub(super) const TOTAL: u64 = 8;

const FIRST: u64 = 1 << 32;
const LAST: u64 = 1 << 33;
const ABORT: u64 = 1 << 34;
const FLAGS: u64 = 0xFF << 32;
const CHECK_SHIFT: u32 = 40;

/// What a chunk is to its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The whole message.
    Whole,
    /// The beginning of a message of `total` bytes.
    First {
        /// Length of the whole message, as its sender says. Not to be allocated on trust.
        total: u64,
    },
    /// More of it.
    Middle,
    /// The end of it.
    Last,
    /// No more will come: its sender gave up.
    Abort,
}

/// The chunk at the head of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it is to its message.
    pub piece: Piece,
    /// Its payload, in bytes. Checked to be in the ring.
    pub len: usize,
}

/// Bytes that a chunk takes in the ring.
pub(super) fn span(piece: Piece, len: u64) -> u64 {
    let extra = if matches!(piece, Piece::First { .. }) { TOTAL } else { 0 };
    HEADER + extra + len.next_multiple_of(8)
}

fn check_bits(pos: u64) -> u64 {
    // The shift drops what is above the low 24 bits.
    !(pos >> 3) << CHECK_SHIFT
}

/// The header of a chunk at `pos`.
#[inline]
pub(super) fn encode(piece: Piece, len: u32, pos: u64) -> u64 {
    let flags = match piece {
        Piece::Whole => FIRST | LAST,
        Piece::First { .. } => FIRST,
        Piece::Middle => 0,
        Piece::Last => LAST,
        Piece::Abort => LAST | ABORT,
    };
    u64::from(len) | flags | check_bits(pos)
}

/// Reads a header that was found at `pos`, with `available` published bytes from there
/// on. `total` reads the word after it.
#[inline]
pub(super) fn decode(
    word: u64,
    pos: u64,
    available: u64,
    total: impl FnOnce() -> u64,
) -> Result<Head, Corrupted> {
    if word >> CHECK_SHIFT != check_bits(pos) >> CHECK_SHIFT {
        return Err(Corrupted("a chunk header is not where it should be"));
    }
    let len = word & u64::from(u32::MAX);
    let piece = match word & FLAGS {
        f if f == FIRST | LAST => Piece::Whole,
        FIRST if available >= HEADER + TOTAL => Piece::First { total: total() },
        0 => Piece::Middle,
        LAST => Piece::Last,
        f if f == LAST | ABORT && len == 0 => Piece::Abort,
        _ => return Err(Corrupted("a chunk header has impossible flags")),
    };
    // `len` has 32 bits: no overflow.
    if span(piece, len) > available {
        return Err(Corrupted("a chunk is longer than what was published"));
    }
    match usize::try_from(len) {
        Ok(len) => Ok(Head { piece, len }),
        Err(_) => Err(Corrupted("a chunk is longer than memory")),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back() {
        for piece in
            [Piece::Whole, Piece::First { total: 99 }, Piece::Middle, Piece::Last, Piece::Abort]
        {
            let len = if piece == Piece::Abort { 0 } else { 17 };
            let word = encode(piece, len, 4096);
            let head = decode(word, 4096, 64, || 99).unwrap();
            assert_eq!((head.piece, head.len), (piece, len as usize));
        }
    }

    #[test]
    fn nonsense_is_corrupted() {
        let good = encode(Piece::Whole, 17, 4096);
        assert!(decode(good, 4104, 64, || 0).is_err(), "another position");
        assert!(decode(good, 4096, 24, || 0).is_err(), "longer than published");
        assert!(decode(good | ABORT, 4096, 64, || 0).is_err(), "impossible flags");
        assert!(decode(0, 0, 64, || 0).is_err(), "never written");
        let first = encode(Piece::First { total: 1 }, 0, 0);
        assert!(decode(first, 0, 8, || 0).is_err(), "no room for the total");
    }
}
