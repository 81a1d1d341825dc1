//! Messages one after the other in private memory.

use core::iter;

/// What a batch puts, or what one got. Keeps its memory when cleared.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// How many messages.
    len: usize,
    /// Bytes of each, as long as all are of one length.
    each: usize,
    /// Where each message ends in `bytes`, since not all are of one length.
    ends: Vec<usize>,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Message number `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = self.place(index)?;
        self.bytes.get(start..end)
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Adds a message.
    #[inline]
    pub fn push(&mut self, message: &[u8]) {
        self.note(message.len(), 1);
        self.bytes.extend_from_slice(message);
    }

    /// Drops all messages.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Bytes of every message from number `from` on, if all are of one length, and they
    /// themselves: one after the other.
    #[inline]
    pub(super) fn even(&self, from: usize) -> Option<(usize, &[u8])> {
        let even = self.ends.is_empty() && self.each > 0;
        even.then(|| self.bytes.get(from * self.each..)).flatten().map(|bytes| (self.each, bytes))
    }

    /// As [`even`](Self::even), to be filled.
    #[inline]
    pub(super) fn even_mut(&mut self, from: usize) -> Option<(usize, &mut [u8])> {
        if !self.ends.is_empty() || self.each == 0 {
            return None;
        }
        Some((self.each, self.bytes.get_mut(from * self.each..)?))
    }

    /// Adds `many` messages of `len` bytes of zeros each, to be filled.
    pub(super) fn grow(&mut self, len: usize, many: usize) {
        self.note(len, many);
        self.bytes.resize(self.bytes.len() + len * many, 0);
    }

    /// Message number `index`, to be filled.
    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let (start, end) = self.place(index)?;
        self.bytes.get_mut(start..end)
    }

    /// Drops all messages from number `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        if len == 0 {
            self.ends.clear();
        }
        if len < self.len {
            self.ends.truncate(len);
            self.bytes.truncate(self.ends.last().copied().unwrap_or(len * self.each));
            self.len = len;
        }
    }

    /// Where message number `index` begins and ends.
    #[inline]
    fn place(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if self.ends.is_empty() {
            return Some((index * self.each, (index + 1) * self.each));
        }
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        Some((start, *self.ends.get(index)?))
    }

    /// `many` more messages of `len` bytes each follow.
    #[inline]
    fn note(&mut self, len: usize, many: usize) {
        if self.len == 0 {
            self.each = len;
        } else if self.each != len || !self.ends.is_empty() {
            self.note_odd(len, many);
        }
        self.len += many;
    }

    /// Not all are of one length.
    #[inline(never)]
    fn note_odd(&mut self, len: usize, many: usize) {
        if self.ends.is_empty() {
            self.ends.extend((1..=self.len).map(|number| number * self.each));
        }
        let more = iter::successors(Some(self.bytes.len() + len), |end| Some(end + len));
        self.ends.extend(more.take(many));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_lengths_come_out() {
        for lengths in [[8, 8, 8, 8], [8, 8, 3, 8], [0, 0, 8, 8], [8, 0, 0, 0], [0, 0, 0, 0]] {
            let mut batch = Batch::new();
            for round in 0..3_u8 {
                for (index, len) in lengths.into_iter().enumerate() {
                    let message = vec![round + 1; len];
                    if index % 2 == 0 {
                        batch.push(&message);
                    } else {
                        batch.grow(len, 1);
                        batch.get_mut(index).unwrap().copy_from_slice(&message);
                    }
                }
                let found: Vec<_> = batch.iter().map(<[u8]>::to_vec).collect();
                assert_eq!(found, lengths.map(|len| vec![round + 1; len]), "{lengths:?}");
                let even = lengths == [8; 4];
                assert_eq!(batch.even(1), even.then_some((8, &*vec![round + 1; 24])));
                batch.truncate(3);
                assert_eq!((batch.len(), batch.get(3)), (3, None));
                assert_eq!(batch.bytes(), lengths[..3].iter().sum::<usize>());
                if round == 1 {
                    batch.truncate(0);
                } else {
                    batch.clear();
                }
                assert!(batch.is_empty() && batch.bytes() == 0);
            }
        }
    }
}
