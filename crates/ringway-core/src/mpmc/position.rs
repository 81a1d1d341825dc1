//! Arithmetic of positions: pure functions of numbers.
//!
//! ```text
//! position, 62 bits:   lap (62 - B bits) | index (B bits, < slots)      B = bits of slots - 1
//! ```
//!
//! Every number of slots is exact: the index wraps at `slots`, whatever it is, and no
//! division is needed. Positions wrap round after `2^(62 - B)` laps: with one slot
//! after 2^62 messages, which takes a century at a billion per second.

/// Bits of a position. Two bits above it are flags of `enqueue_pos`, or the kind of an
/// announcement.
pub(super) const POSITION_BITS: u32 = 62;
/// The bits of a position within a word.
pub(super) const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;
/// Bits of a lap as slots record it.
pub(super) const LAP_BITS: u32 = 48;
/// The most slots a ring can have: laps keep 32 bits.
pub const MAX_SLOTS: u64 = 1 << 30;

/// The arithmetic for a ring of a certain number of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions {
    slots: u64,
    index_bits: u32,
    index_mask: u64,
    last_index: u64,
    /// From the last index of a lap to the first of the next.
    wrap_step: u64,
    /// Lap as slots record it: at most [`LAP_BITS`], fewer where positions have fewer.
    lap_mask: u64,
}

impl Positions {
    /// For `slots` slots, 1 to [`MAX_SLOTS`]; else `None`.
    pub fn new(slots: u64) -> Option<Self> {
        if !(1..=MAX_SLOTS).contains(&slots) {
            return None;
        }
        let index_bits = u64::BITS - (slots - 1).leading_zeros();
        let lap_mask = (1 << LAP_BITS.min(POSITION_BITS - index_bits)) - 1;
        let (index_mask, last_index) = ((1 << index_bits) - 1, slots - 1);
        let wrap_step = index_mask - last_index + 1;
        Some(Self { slots, index_bits, index_mask, last_index, wrap_step, lap_mask })
    }

    /// How many slots.
    #[inline]
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// The slot of `position`: `< slots`, unless the position came from corrupted
    /// memory ([`is_valid`](Self::is_valid)).
    #[inline]
    pub fn index(&self, position: u64) -> u64 {
        position & self.index_mask
    }

    /// The lap of `position` as its slot records it.
    #[inline]
    pub fn lap(&self, position: u64) -> u64 {
        position >> self.index_bits & self.lap_mask
    }

    /// `position` as its slot tells it, which records fewer bits of the lap.
    pub fn in_slot(&self, position: u64) -> u64 {
        self.at(self.lap(position), self.index(position))
    }

    /// The lap after that of `position`, as its slot records it.
    #[inline]
    pub fn next_lap(&self, position: u64) -> u64 {
        (self.lap(position) + 1) & self.lap_mask
    }

    /// The lap after `lap`, both as slots record them.
    #[inline]
    pub fn lap_after(&self, lap: u64) -> u64 {
        ((lap & self.lap_mask) + 1) & self.lap_mask
    }

    /// The position one lap before `position`: the same slot, `slots` positions ago.
    pub fn lap_before(&self, position: u64) -> u64 {
        position.wrapping_sub(1 << self.index_bits) & POSITION_MASK
    }

    /// Whether a word is a position of this ring.
    #[inline]
    pub fn is_valid(&self, word: u64) -> bool {
        word <= POSITION_MASK && self.index(word) < self.slots
    }

    /// The position after `position`.
    #[inline]
    pub fn next(&self, position: u64) -> u64 {
        debug_assert!(self.is_valid(position));
        // From the last index one more lap, index 0. Cannot overflow: 62 bits plus a step.
        let last = self.index(position) == self.last_index;
        (position + if last { self.wrap_step } else { 1 }) & POSITION_MASK
    }

    /// The position `steps` after `position`, for up to `slots` steps.
    #[inline]
    pub fn advance(&self, position: u64, steps: u64) -> u64 {
        debug_assert!(self.is_valid(position) && steps <= self.slots);
        let index = self.index(position) + steps;
        if index >= self.slots {
            // As in `next`; what is left of the steps is below `slots`.
            (((position | self.index_mask) + 1) & POSITION_MASK) + (index - self.slots)
        } else {
            position + steps
        }
    }

    /// Whether `position` is one of the `count` from `first` on; of no more than `slots`.
    #[inline]
    pub fn covers(&self, first: u64, count: u64, position: u64) -> bool {
        let steps = self.distance(position, first);
        steps.is_some_and(|steps| steps < count.max(1) && steps < self.slots)
    }

    /// How far `ahead` is ahead of `behind`, if that is 0 to `slots`.
    #[inline]
    pub fn distance(&self, ahead: u64, behind: u64) -> Option<u64> {
        let laps = (ahead >> self.index_bits).wrapping_sub(behind >> self.index_bits);
        let laps = laps & (POSITION_MASK >> self.index_bits);
        let (a, b) = (self.index(ahead), self.index(behind));
        if !self.is_valid(ahead) || !self.is_valid(behind) {
            return None;
        }
        match laps {
            0 => a.checked_sub(b),
            // b - a slots short of a whole lap.
            1 => b.checked_sub(a).map(|short| self.slots - short),
            _ => None,
        }
    }

    /// How many positions lie before `position`, counted from 0 and modulo 2^64: laps
    /// times slots plus index.
    pub fn count(&self, position: u64) -> u64 {
        (position >> self.index_bits).wrapping_mul(self.slots).wrapping_add(self.index(position))
    }

    /// The position of index `index` in position-lap `lap`.
    pub fn at(&self, lap: u64, index: u64) -> u64 {
        (lap << self.index_bits | index) & POSITION_MASK
    }

    /// The last position before they wrap round to 0.
    pub fn last(&self) -> u64 {
        self.at(POSITION_MASK >> self.index_bits, self.slots - 1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SIZES: [u64; 9] = [1, 2, 3, 10, 1000, 1023, 1 << 20, (1 << 24) + 1, MAX_SLOTS];

    #[test]
    fn sizes_out_of_range_are_refused() {
        assert!(Positions::new(0).is_none() && Positions::new(MAX_SLOTS + 1).is_none());
    }

    #[test]
    fn next_visits_every_slot_in_order_and_distance_counts_the_steps() {
        for slots in [1, 2, 3, 5, 8, 10] {
            let p = Positions::new(slots).unwrap();
            // Around the start, around the wrap of slot laps, around the wrap of positions.
            for start in [0, p.at((1 << LAP_BITS) - 2, 0), p.at(u64::MAX >> 2, 0), p.last()] {
                let mut at = start;
                for step in 0..=3 * slots {
                    let expected = (step <= slots).then_some(step);
                    assert_eq!(p.distance(at, start), expected, "{slots} slots, step {step}");
                    let next = p.next(at);
                    if step <= slots {
                        assert_eq!(p.advance(start, step), at, "{slots} slots, step {step}");
                        assert_eq!(p.covers(start, step, at), step == 0);
                        assert_eq!(p.covers(start, step + 1, at), step < slots);
                    }
                    assert_eq!(p.index(next), (p.index(at) + 1) % slots);
                    if next != 0 {
                        assert_eq!(p.count(next), p.count(at).wrapping_add(1), "{at:#x}");
                    }
                    at = next;
                }
            }
        }
    }

    #[test]
    fn positions_wrap_to_zero() {
        for slots in SIZES {
            let p = Positions::new(slots).unwrap();
            assert!(p.is_valid(p.last()));
            assert_eq!(p.next(p.last()), 0, "{slots} slots");
            assert_eq!(p.next_lap(p.last()), 0);
            assert_eq!(p.distance(0, p.last()), Some(1));
            assert_eq!(p.distance(p.last(), 0).filter(|_| slots > 1), None);
        }
    }

    #[test]
    fn what_a_slot_tells_of_a_position_is_known_of_the_position() {
        for slots in SIZES {
            let p = Positions::new(slots).unwrap();
            for position in [0, p.at(1 << LAP_BITS, slots / 2), p.at(1 << 50, 0), p.last()] {
                let told = p.at(p.lap(position), p.index(position));
                assert_eq!(p.in_slot(position), told, "{slots} slots");
                assert_eq!(p.in_slot(told), told);
            }
        }
    }

    #[test]
    fn words_of_corrupted_memory_are_not_positions() {
        let p = Positions::new(3).unwrap();
        assert!(!p.is_valid(3) && !p.is_valid(1 << 62) && !p.is_valid(u64::MAX));
        assert_eq!(p.distance(3, 2), None);
        assert_eq!(p.distance(4, 7), None);
        assert_eq!(p.distance(8, 0), None, "two laps apart");
    }
}
