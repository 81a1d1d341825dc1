//! What goes through the subjects, and how the receiver knows that it came whole.
//!
//! A message begins with its sequence number. Behind it, one word in every
//! `STRIDE` bytes and the last word depend on the number too; all other bytes are a
//! fixed pattern. So the sender writes and the receiver reads something new in every
//! part of every message, at a cost that is small against one copy of it.

use crate::Fallible;
use crate::message::Message;

/// Distance of the words that change with every message, in bytes: four to a page.
const STRIDE: usize = 1024;
/// Length of such a word, and the shortest message.
pub const WORD: usize = 8;

/// A message of `len` bytes before its first stamp.
///
/// # Panics
///
/// When `len` is not a multiple of 8, or 0: stamped words must not overlap.
pub fn blank(len: usize) -> Message {
    assert!(len >= WORD && len.is_multiple_of(WORD), "a message consists of words of 8 bytes");
    let mut message = Message::zeroed(len);
    let (first, rest) = message.split_at_mut(len.min(PERIOD));
    first.iter_mut().enumerate().for_each(|(at, byte)| *byte = pattern(at));
    rest.chunks_mut(PERIOD).for_each(|piece| piece.copy_from_slice(&first[..piece.len()]));
    message
}

/// Makes `message` number `seq`.
#[inline]
pub fn stamp(message: &mut [u8], seq: u64) {
    for at in stamped(message.len()) {
        message[at..at + WORD].copy_from_slice(&word(at, seq).to_le_bytes());
    }
}

/// Checks that `message` is number `seq`, at the stamped positions.
///
/// # Errors
///
/// Says where it differs.
#[inline]
pub fn check(message: &[u8], seq: u64) -> Fallible {
    for at in stamped(message.len()) {
        if message[at..at + WORD] != word(at, seq).to_le_bytes() {
            return Err(wrong(message, at, seq));
        }
    }
    Ok(())
}

/// As [`check`], of a message of `len` bytes whose words `load` gives.
///
/// # Errors
///
/// Says where it differs; what `load` returned.
#[inline]
pub fn check_at(len: usize, seq: u64, load: impl Fn(usize) -> Fallible<[u8; WORD]>) -> Fallible {
    for at in stamped(len) {
        if load(at)? != word(at, seq).to_le_bytes() {
            return Err(format!("message {seq} is wrong at byte {at}").into());
        }
    }
    Ok(())
}

/// As [`check`], of the part of a message of `len` bytes that begins at its byte `at`; both ends
/// of the part lie between words.
///
/// # Errors
///
/// Says where it differs.
#[inline]
pub fn check_part(len: usize, seq: u64, at: usize, part: &[u8]) -> Fallible {
    let (last, end) = (len - WORD, at + part.len());
    let stamped = (at.next_multiple_of(STRIDE)..end.min(last)).step_by(STRIDE);
    let end = (end == len).then_some(last);
    stamped.chain(end).try_for_each(|word_at| {
        let found = part[word_at - at..].first_chunk();
        if found == Some(&word(word_at, seq).to_le_bytes()) {
            return Ok(());
        }
        Err(format!("message {seq} is wrong at byte {word_at}").into())
    })
}

/// `sum` and the words of `bytes`: what somebody does at least who reads all of a message.
#[inline]
pub fn sum(sum: u64, bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<WORD>();
    words.iter().fold(sum, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

/// Checks every byte.
///
/// # Errors
///
/// Says where it differs.
pub fn check_whole(message: &[u8], seq: u64) -> Fallible {
    let mut expected = blank(message.len());
    stamp(&mut expected, seq);
    // The comparison of whole slices is a fast one.
    if *message == *expected {
        return Ok(());
    }
    match message.iter().zip(expected.iter()).position(|(got, want)| got != want) {
        None => Ok(()),
        Some(at) => Err(format!("message {seq} is wrong at byte {at}").into()),
    }
}

/// The first word, one in each stride behind it, and the last word.
#[inline]
fn stamped(len: usize) -> impl Iterator<Item = usize> {
    let last = len - WORD;
    let end = (last > 0).then_some(last);
    (0..last.max(1)).step_by(STRIDE).chain(end)
}

/// The word at `at` of message `seq`; the first is the number itself.
#[inline]
fn word(at: usize, seq: u64) -> u64 {
    seq ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// After so many bytes the pattern repeats.
const PERIOD: usize = 251 * 256;

/// A byte that differs from its neighbours at the distances where mistakes happen.
fn pattern(at: usize) -> u8 {
    let [byte, ..] = (at / 251 + at).to_le_bytes();
    byte
}

#[cold]
fn wrong(message: &[u8], at: usize, seq: u64) -> Box<dyn std::error::Error + Send + Sync> {
    let number = message.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    format!("message {seq} is wrong at byte {at}; it says it is number {number}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_message_passes_and_no_other() {
        for len in [8, 16, 64, 1024, 1032, 4096, 65536] {
            let mut message = blank(len);
            stamp(&mut message, 7);
            check(&message, 7).unwrap();
            check_whole(&message, 7).unwrap();
            assert!(check(&message, 8).is_err(), "length {len}");
            for at in [0, len / 2, len - 1] {
                message[at] ^= 1;
                assert!(check_whole(&message, 7).is_err(), "length {len}, byte {at}");
                message[at] ^= 1;
            }
        }
    }

    #[test]
    fn a_part_is_checked_where_the_whole_is() {
        for len in [8, 16, 1024, 1032, 4096, 4104, 9216] {
            let mut message = blank(len);
            stamp(&mut message, 7);
            for piece in [8, 1024, 4096, 16_384] {
                let parts = |message: &[u8], seq| {
                    let mut parts = message.chunks(piece).zip(0..);
                    parts.all(|(part, n)| check_part(len, seq, n * piece, part).is_ok())
                };
                assert!(parts(&message, 7) && !parts(&message, 8), "{len} in {piece}");
                for at in stamped(len) {
                    message[at] ^= 1;
                    assert!(!parts(&message, 7), "{len} in {piece}, byte {at}");
                    message[at] ^= 1;
                }
            }
        }
    }

    #[test]
    fn a_sum_has_every_word_and_may_be_taken_in_pieces() {
        let mut message = blank(8192);
        let all = sum(0, &message);
        let piecewise = message.chunks(4096).fold(0, sum);
        assert_eq!(piecewise, all);
        for at in 0..message.len() {
            message[at] ^= 1;
            assert_ne!(sum(0, &message), all, "byte {at}");
            message[at] ^= 1;
        }
    }

    #[test]
    fn every_byte_is_the_pattern() {
        for len in [8, PERIOD - 8, PERIOD, PERIOD + 8, 3 * PERIOD + 64] {
            let message = blank(len);
            assert!(message.iter().enumerate().all(|(at, byte)| *byte == pattern(at)), "{len}");
        }
    }

    #[test]
    fn every_stride_changes_with_the_number() {
        let (mut one, mut two) = (blank(8192), blank(8192));
        stamp(&mut one, 1);
        stamp(&mut two, 2);
        for (a, b) in one.chunks(STRIDE).zip(two.chunks(STRIDE)) {
            assert_ne!(a, b);
        }
    }
}
