//! What goes through pipes, and how the receiver knows that it came whole.

use crate::failure::Failure;
use std::ops::{Deref, DerefMut};

/// Distance of the words that change with every message.
const STRIDE: usize = 1024;
const WORD: usize = 8;
const PAGE: usize = 4096;

/// A buffer that begins where a page begins: some processors copy many times slower
/// between some other places, and that would measure the allocator.
#[derive(Debug)]
pub(super) struct Message {
    room: Vec<u8>,
    from: usize,
    len: usize,
}

impl Message {
    /// `len` bytes, a multiple of 8 and not 0.
    pub(super) fn new(len: usize) -> Self {
        // Not zeros: pages that were never written would all be the same one.
        let room = vec![0xA5; len + PAGE];
        let from = room.as_ptr().addr().wrapping_neg() % PAGE;
        Self { room, from, len }
    }

    /// Makes it number `seq`.
    #[inline]
    pub(super) fn stamp(&mut self, seq: u64) {
        for at in stamped(self.len) {
            if let Some(place) = self.get_mut(at..at + WORD) {
                place.copy_from_slice(&word(at, seq).to_le_bytes());
            }
        }
    }

    /// An error if it is not number `seq`.
    #[inline]
    pub(super) fn check(&self, seq: u64) -> Result<(), Failure> {
        for at in stamped(self.len) {
            if self.get(at..at + WORD) != Some(&word(at, seq).to_le_bytes()) {
                return Err(Failure::Failed(format!("message {seq} is wrong at byte {at}")));
            }
        }
        Ok(())
    }
}

impl Deref for Message {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.room[self.from..][..self.len]
    }
}

impl DerefMut for Message {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.from..][..self.len]
    }
}

/// The first word, one in each stride behind it, and the last.
#[inline]
fn stamped(len: usize) -> impl Iterator<Item = usize> {
    let last = len - WORD;
    (0..last.max(1)).step_by(STRIDE).chain((last > 0).then_some(last))
}

#[inline]
fn word(at: usize, seq: u64) -> u64 {
    seq ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_passes_as_its_own_number_only() {
        for len in [8, 16, 1024, 1032, 65536] {
            let mut message = Message::new(len);
            assert_eq!((message.as_ptr().addr() % PAGE, message.len()), (0, len));
            message.stamp(7);
            assert!(message.check(7).is_ok() && message.check(8).is_err(), "{len}");
            message[len - 1] ^= 1;
            assert!(message.check(7).is_err(), "{len}");
        }
    }
}
