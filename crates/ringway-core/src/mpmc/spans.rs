//! Sets of numbers, as ranges: what many announcements cover, in the memory and the time
//! of the announcements and not of what they cover.

use core::ops::Range;

/// A set of numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    /// In order, none touching the next, none empty.
    ranges: Vec<Range<u64>>,
}

impl Spans {
    /// All that is in any of `ranges`.
    pub(super) fn of(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self { ranges: merged }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= number);
        self.ranges[..after].last().is_some_and(|range| number < range.end)
    }

    /// Each of them, once, in order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.ranges.iter().cloned().flatten()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn spans_are_the_set_of_their_numbers(
            ranges in prop::collection::vec((0_u64..40, 0_u64..12), 0..12)
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(start, len)| start..start + len).collect();
            let expected: BTreeSet<u64> = ranges.iter().cloned().flatten().collect();
            let spans = Spans::of(ranges);
            prop_assert!(spans.numbers().eq(expected.iter().copied()));
            for number in 0..60 {
                prop_assert_eq!(spans.contains(number), expected.contains(&number));
            }
        }
    }
}
