//! Plain old data one after the other, where others keep the bytes.

use crate::{Codec, Pod};
use core::marker::PhantomData;

struct Values<V, L, G, R> {
    load: L,
    run_from: G,
    run: R,
    /// Bytes `at..end` are left, whole values.
    at: usize,
    end: usize,
    value: PhantomData<V>,
}

/// The values that `len` bytes consist of. What is left at their end is left out.
///
/// `run_from` gives for a byte what copies those from there on, one value after the other: as long
/// as it says that it did, which may be never. `load` copies the value at any byte. Values come by
/// the first and, where that ends, by the second. A loop calls only what `run_from` gave.
pub fn values<V, L, G, R>(len: usize, load: L, run_from: G) -> impl Iterator<Item = V>
where
    Pod: Codec<V>,
    L: Fn(usize) -> Option<V>,
    G: Fn(usize) -> R,
    R: FnMut(&mut [u8]) -> bool,
{
    let size = size_of::<V>();
    // Of nothing there is any number, so there is none.
    let end = len.checked_div(size).map_or(0, |count| count * size);
    let run = run_from(0);
    Values { load, run_from, run, at: 0, end, value: PhantomData }
}

impl<V, L, G, R> Iterator for Values<V, L, G, R>
where
    Pod: Codec<V>,
    L: Fn(usize) -> Option<V>,
    G: Fn(usize) -> R,
    R: FnMut(&mut [u8]) -> bool,
{
    type Item = V;

    #[inline]
    fn next(&mut self) -> Option<V> {
        if self.at >= self.end {
            return None;
        }
        let value = Pod::decode_in_place(&mut self.run).or_else(|| {
            let value = (self.load)(self.at)?;
            self.run = (self.run_from)(self.at + size_of::<V>());
            Some(value)
        })?;
        self.at += size_of::<V>();
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, (self.end - self.at).checked_div(size_of::<V>()))
    }

    /// As [`next`](Iterator::next) would, with all that it needs in registers.
    #[inline]
    fn fold<B, F>(self, init: B, mut f: F) -> B
    where
        F: FnMut(B, V) -> B,
    {
        let Self { load, run_from, mut run, mut at, end, .. } = self;
        let mut folded = init;
        while at < end {
            let there = Pod::decode_in_place(&mut run);
            let apart = there.is_none();
            let Some(value) = there.or_else(|| load(at)) else { break };
            at += size_of::<V>();
            folded = f(folded, value);
            if apart {
                run = run_from(at);
            }
        }
        folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    /// The values of 100 bytes of which `together` lie together each time, but that the first
    /// `apart` are in no run.
    fn of<V: FromBytes + IntoBytes + Immutable>(
        bytes: &[u8],
        apart: usize,
        together: usize,
    ) -> impl Iterator<Item = V> {
        let load = |at: usize| V::read_from_prefix(&bytes[at..]).ok().map(|(value, _)| value);
        let run_from = move |at: usize| {
            let len = if at < apart { 0 } else { together.min(bytes.len() - at) };
            let mut left = &bytes[at..at + len];
            move |value: &mut [u8]| match left.split_at_checked(value.len()) {
                Some((first, rest)) => {
                    value.copy_from_slice(first);
                    left = rest;
                    true
                }
                None => false,
            }
        };
        values(bytes.len(), load, run_from)
    }

    fn all_are_there<const N: usize>() {
        let bytes: Vec<u8> = (0..100).collect();
        let expected: Vec<[u8; N]> = bytes.as_chunks().0.to_vec();
        for apart in [0, 1, 50, 100] {
            for together in [0, 1, N - 1, N, N + 1, 3 * N, 33, 100] {
                let each = || of::<[u8; N]>(&bytes, apart, together);
                let mut one_by_one = Vec::new();
                for value in each() {
                    one_by_one.push(value);
                }
                assert_eq!(one_by_one, expected, "{N} bytes, {apart}, {together}");
                let folded = each().fold(Vec::new(), |mut all, value| {
                    all.push(value);
                    all
                });
                assert_eq!(folded, expected, "folded, {N} bytes, {apart}, {together}");
                let mut some = each();
                let first = some.next();
                assert_eq!(first.into_iter().chain(some).collect::<Vec<_>>(), expected);
                assert_eq!(each().size_hint(), (0, Some(expected.len())));
            }
        }
    }

    #[test]
    fn every_value_comes_once_wherever_a_run_ends() {
        all_are_there::<1>();
        all_are_there::<4>();
        all_are_there::<7>();
        all_are_there::<24>();
        all_are_there::<100>();
        all_are_there::<101>();
    }

    #[test]
    fn values_of_no_size_are_none() {
        assert_eq!(of::<[u8; 0]>(&[1, 2, 3], 0, 3).count(), 0);
    }

    #[test]
    fn it_ends_where_nothing_can_be_loaded() {
        let run_from = |_| |_: &mut [u8]| false;
        let load = |at| (at < 16).then_some(at as u64);
        assert_eq!(values(64, load, run_from).collect::<Vec<_>>(), [0, 8]);
        assert_eq!(values(64, load, run_from).map(|value| value + 1).sum::<u64>(), 10);
    }
}
