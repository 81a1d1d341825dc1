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
//! message that its sender gave up.
//!
//! The header is written last, and is what the consumer looks at: message and news of it
//! lie on one cache line, which crosses between the processors once. Before a producer
//! publishes a header it empties the next one. So the word at the consumer's position is
//! [`NONE`] or the header of the next chunk, never bytes of an earlier lap. The check makes
//! a word that is neither visible as what it is.
//!
//! Looking at the record itself for news of it is after Agrona's ring buffers, where the
//! consumer zeroes what it read. Here the producer does, one word for each record, and the
//! consumer writes nothing to the line.

use super::{Corrupted, Direction};
use crate::sync::Ordering::Acquire;

pub(super) const HEADER: u64 = 8;
pub(super) const TOTAL: u64 = 8;
/// No chunk. Not a header: those have flags, or a length other than 0.
pub(super) const NONE: u64 = 0;

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
#[inline]
pub(super) fn span(piece: Piece, len: u64) -> u64 {
    let extra = if matches!(piece, Piece::First { .. }) { TOTAL } else { 0 };
    HEADER + extra + len.next_multiple_of(8)
}

#[inline]
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

/// The word at `pos`, where the next header is or will be.
#[inline]
pub(super) fn word_at(ring: &Direction, pos: u64) -> u64 {
    // ORDERING ring-publish (acquire): pairs with `Producer::write`: everything before
    // this header was written, and the word after its chunk was emptied.
    ring.data.word(pos).load(Acquire)
}

/// The chunk at `pos`; `None` if it is not there yet. The header is read once.
#[inline]
pub(super) fn at(ring: &Direction, pos: u64) -> Result<Option<Head>, Corrupted> {
    let header = word_at(ring, pos);
    if header == NONE {
        return Ok(None);
    }
    let total = || word_at(ring, pos.wrapping_add(HEADER));
    decode(header, pos, ring.capacity(), total).map(Some)
}

/// The length in a header, if it is the one of a whole message at `pos`. The quick way
/// past [`decode`]; the length is still to be checked against the ring.
#[inline]
pub(super) fn decode_whole(word: u64, pos: u64) -> Option<u64> {
    let len = word ^ (FIRST | LAST | check_bits(pos));
    (len <= u64::from(u32::MAX)).then_some(len)
}

/// Reads a header that was found at `pos` of a ring of `capacity` bytes. `total` reads the
/// word after it.
#[inline]
pub(super) fn decode(
    word: u64,
    pos: u64,
    capacity: u64,
    total: impl FnOnce() -> u64,
) -> Result<Head, Corrupted> {
    if word >> CHECK_SHIFT != check_bits(pos) >> CHECK_SHIFT {
        return Err(Corrupted("a chunk header is not where it should be"));
    }
    let len = word & u64::from(u32::MAX);
    let piece = match word & FLAGS {
        f if f == FIRST | LAST => Piece::Whole,
        FIRST => Piece::First { total: total() },
        0 => Piece::Middle,
        LAST => Piece::Last,
        f if f == LAST | ABORT && len == 0 => Piece::Abort,
        _ => return Err(Corrupted("a chunk header has impossible flags")),
    };
    // `len` has 32 bits: no overflow.
    // A chunk leaves room for the empty header after it.
    if span(piece, len) > capacity - HEADER {
        return Err(Corrupted("a chunk is longer than the ring"));
    }
    match usize::try_from(len) {
        Ok(len) => Ok(Head { piece, len }),
        Err(_) => Err(Corrupted("a chunk is longer than memory")),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_read_back() {
        for piece in
            [Piece::Whole, Piece::First { total: 99 }, Piece::Middle, Piece::Last, Piece::Abort]
        {
            let len = if piece == Piece::Abort { 0 } else { 17 };
            let word = encode(piece, len, 4096);
            let head = decode(word, 4096, 64, || 99).unwrap();
            assert_eq!((head.piece, head.len), (piece, len as usize));
            let whole = (piece == Piece::Whole).then_some(17);
            assert_eq!((decode_whole(word, 4096), decode_whole(word, 4104)), (whole, None));
        }
    }

    #[test]
    fn no_header_is_the_empty_one() {
        for pos in [0, 8, 64, ((1 << 24) - 1) << 3, 1 << 27, u64::MAX << 3] {
            for piece in [Piece::Whole, Piece::First { total: 0 }, Piece::Last, Piece::Abort] {
                assert_ne!(encode(piece, 0, pos), NONE);
            }
            // The only piece without a flag; one without bytes is never written.
            assert_ne!(encode(Piece::Middle, 1, pos), NONE);
        }
    }

    #[test]
    fn nonsense_is_corrupted() {
        let good = encode(Piece::Whole, 17, 4096);
        assert!(decode(good, 4104, 64, || 0).is_err(), "another position");
        assert!(decode(good, 4096, 32, || 0).is_err(), "longer than the ring");
        assert!(decode(good | ABORT, 4096, 64, || 0).is_err(), "impossible flags");
        assert!(decode(0, 0, 64, || 0).is_err(), "never written");
    }

    proptest! {
        /// Whatever a word says, what is read of it lies in the ring, and says the same when
        /// it is written again.
        #[test]
        fn any_word_is_a_chunk_in_the_ring_or_corrupted(
            word in any::<u64>(),
            place in any::<u64>(),
            sound in any::<bool>(),
            len in prop_oneof![0_u64..300, any::<u64>()],
            bits in 12_u32..41,
            short in prop::option::of(0_u64..40),
        ) {
            let (pos, capacity) = (place << 3, 1_u64 << bits);
            // Some as long as the ring, or nearly.
            let len = short.map_or(len, |short| capacity - short);
            // Half of them are headers but for their flags or length.
            let word = if sound {
                check_bits(pos) | word & (FIRST | LAST | ABORT) | len & u64::from(u32::MAX)
            } else {
                word
            };
            if let Ok(head) = decode(word, pos, capacity, || 7) {
                let len = head.len as u64;
                prop_assert!(span(head.piece, len) <= capacity - HEADER);
                prop_assert_eq!(encode(head.piece, u32::try_from(len).unwrap(), pos), word);
                let whole = (head.piece == Piece::Whole).then_some(len);
                prop_assert_eq!(decode_whole(word, pos), whole);
            }
        }
    }
}
