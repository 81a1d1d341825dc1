//! Which blocks a pool has, and where they lie.

use crate::blocks::word::MAX_BLOCKS;

/// Bytes of an owner word and the link beside it.
pub(super) const ENTRY: u64 = 16;
/// Blocks begin so far behind where a page does. Long private buffers begin there, or 16 bytes behind:
/// copies between two that lie alike within their pages are slow, for each load seems to want what
/// was stored just before. 1 MiB out of blocks to a vector, from memory: 34 us a message, and 45 where
/// blocks began with a page, on two Zen 5 processors that share no cache; 24.4 and 25.6 where they do.
const BEHIND_PAGE: u64 = 128;
const PAGE: u64 = 4096;
/// How many small blocks a block of each class is as long as, as a shift; largest first.
const SHIFTS: [u32; CLASSES] = [7, 4, 2, 0];
pub(super) const CLASSES: usize = 4;
/// The index of the class of small blocks.
pub(super) const SMALL: usize = CLASSES - 1;
/// That of blocks as long as four of them. They spare a message of a KiB three owner words out of four.
pub(super) const QUAD: usize = SMALL - 1;

const SMALLEST: u64 = 256;
const LARGEST: u64 = 1 << 16;
/// How many messages are in the hands of putters and getters beside those that wait, as a
/// guess.
const IN_HAND: u64 = 4;
/// The largest pool in bytes: far beyond any machine, and far from overflowing offsets.
const LARGEST_POOL: u64 = 1 << 44;

/// The validated dimensions of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Bytes of a small block; 0 for a pool without blocks.
    small: u64,
    /// How many blocks there are of each class, largest first.
    counts: [u64; CLASSES],
    table_at: u64,
    blocks_at: u64,
    end: u64,
}

/// A class of blocks that lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    /// Number of its first block.
    pub(super) first: u64,
    pub(super) count: u64,
    /// Bytes of each.
    pub(super) size: u64,
    /// Where the first begins among the bytes of all blocks.
    pub(super) at: u64,
}

impl PoolGeometry {
    /// Numbers that describe it in a header.
    pub(crate) const PARAMS: usize = 1 + CLASSES;

    /// A pool of about `bytes`, at most one page's worth more, from offset `at` on, for
    /// messages of more than `inline` bytes. So many `places` are there for them in the ring, and
    /// so many may be `granted` beside. `None` if it is too large.
    pub(crate) fn of_size(
        bytes: u64,
        inline: u64,
        places: u64,
        granted: u64,
        at: u64,
    ) -> Option<Self> {
        if bytes == 0 {
            return Some(Self::none(at));
        }
        let small = (inline + 1).next_power_of_two().clamp(SMALLEST, LARGEST);
        let total = bytes.checked_next_multiple_of(small).filter(|total| *total <= LARGEST_POOL)?;
        let [large, medium, quad, _] = SHIFTS.map(|shift| small << shift);
        // So many bytes of each longer class; what is left is small blocks.
        let of = |shares: [u64; SMALL]| {
            let [larges, mediums, quads] =
                [shares[0] / large, shares[1] / medium, shares[QUAD] / quad];
            let longer = larges * large + mediums * medium + quads * quad;
            Self::checked([small, larges, mediums, quads, (total - longer) / small], at)
        };
        // Of the shorter blocks each message takes less than half of a longer one.
        let ends = places.saturating_add(granted).saturating_add(IN_HAND);
        let least = |share: u64, size: u64, longer: u64| {
            (share / size).min(ends.saturating_mul(longer / size / 2)) * size
        };
        let mediums = least(total / 8, medium, large);
        let quads = least(total / 8, quad, medium);
        let smalls = least(total / 4, small, medium);
        // The longest of which there may be one for each place. Of quad blocks there are to be twice as
        // many: most of a pool of small ones holds four times as many messages of less than one.
        let twice = places.saturating_mul(2).max(places.saturating_add(IN_HAND));
        let of_long = if total / large >= places {
            of([total - mediums - quads - smalls, mediums, quads])
        } else if total / medium >= places {
            of([0, total - quads - smalls, quads])
        } else if total / quad >= twice {
            of([0, 0, total - smalls])
        } else {
            None
        };
        let of_any = || of([total / 2, total / 8, total / 8]);
        // The largest pools have too many blocks with the quad ones.
        of_long.or_else(of_any).or_else(|| of([total / 2, total / 4, 0]))
    }

    /// A pool without blocks.
    pub(crate) fn none(at: u64) -> Self {
        Self { small: 0, counts: [0; CLASSES], table_at: at, blocks_at: at, end: at }
    }

    /// The pool that `params` describe, which may be anything. `None` if they make no
    /// sense.
    pub(crate) fn checked(params: [u64; Self::PARAMS], at: u64) -> Option<Self> {
        let [small, counts @ ..] = params;
        if small == 0 {
            return (counts == [0; CLASSES]).then(|| Self::none(at));
        }
        let is_size = small.is_power_of_two() && (SMALLEST..=LARGEST).contains(&small);
        if !is_size || counts.iter().any(|count| *count > MAX_BLOCKS) {
            return None;
        }
        // Cannot overflow: counts are below 2^24, sizes at most 2^23.
        let blocks: u64 = counts.iter().sum();
        let bytes: u64 =
            counts.iter().zip(SHIFTS).map(|(count, shift)| count * (small << shift)).sum();
        if !(1..=MAX_BLOCKS).contains(&blocks) || bytes > LARGEST_POOL {
            return None;
        }
        let table_at = at.checked_next_multiple_of(64)?;
        let table_end = table_at.checked_add(blocks * ENTRY)?;
        let page = table_end.saturating_sub(BEHIND_PAGE).checked_next_multiple_of(PAGE)?;
        let blocks_at = page.checked_add(BEHIND_PAGE)?;
        let end = blocks_at.checked_add(bytes)?;
        Some(Self { small, counts, table_at, blocks_at, end })
    }

    pub(crate) fn params(&self) -> [u64; Self::PARAMS] {
        let [large, medium, quad, small] = self.counts;
        [self.small, large, medium, quad, small]
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Bytes of all blocks: the longest message.
    pub fn bytes(&self) -> u64 {
        self.end - self.blocks_at
    }

    /// Bytes of a small block; 0 for a pool without blocks.
    pub fn small_block(&self) -> u64 {
        self.small
    }

    pub(crate) fn table_at(&self) -> u64 {
        self.table_at
    }

    pub(crate) fn blocks_at(&self) -> u64 {
        self.blocks_at
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The classes, largest first.
    pub(super) fn classes(&self) -> [Class; CLASSES] {
        let (mut first, mut at) = (0, 0);
        std::array::from_fn(|class| {
            let (count, size) = (self.counts[class], self.small << SHIFTS[class]);
            let found = Class { first, count, size, at };
            first += count;
            at += count * size;
            found
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_the_size_that_was_asked_for() {
        let sizes = [1, 300, 4096, 65_536, 384 << 10, 1 << 20, (1 << 30) + 1];
        for (inline, places) in [0, 112, 4096, 65_520].into_iter().zip([1, 4, 1000, 1 << 30]) {
            for bytes in sizes {
                let pool = PoolGeometry::of_size(bytes, inline, places, 64, 5000).unwrap();
                assert!(pool.bytes() >= bytes && pool.bytes() - bytes < pool.small_block());
                assert!(pool.table_at() >= 5000 && pool.blocks_at() % PAGE == BEHIND_PAGE);
                assert!(pool.table_at() + ENTRY * pool.blocks() <= pool.blocks_at());
                assert_eq!(PoolGeometry::checked(pool.params(), 5000), Some(pool));
                let classes = pool.classes();
                let last = classes[SMALL];
                assert_eq!(last.at + last.count * last.size, pool.bytes());
                assert_eq!(last.first + last.count, pool.blocks());
            }
        }
    }

    /// Blocks of each class, largest first.
    fn counts(bytes: u64, places: u64, granted: u64) -> [u64; CLASSES] {
        let pool = PoolGeometry::of_size(bytes, 112, places, granted, 0).unwrap();
        pool.classes().map(|class| class.count)
    }

    #[test]
    fn a_pool_for_few_long_messages_has_few_short_blocks() {
        let many = [64, 128, 512, 4096];
        assert_eq!(counts(4 << 20, 4097, 64), many, "half, two eighths and a quarter");
        assert_eq!(counts(4 << 20, 1 << 30, 64), many);
        assert_eq!(counts(4 << 20, 4, 64), [103, 128, 144, 576]);
        assert_eq!(counts(4 << 20, 4, 0), [123, 32, 16, 64]);
        assert_eq!(counts(64 << 10, 4, 64), [0, 10, 8, 64], "too short for large ones");
        assert_eq!(counts(16 << 10, 4, 64), [0, 2, 2, 24]);
        assert_eq!(counts(16 << 10, 5, 64), [0, 0, 12, 16], "too short for medium ones");
        assert_eq!(counts(8 << 10, 4, 64), [0, 0, 6, 8], "two KiB for each place");
        assert_eq!(counts(8 << 10, 5, 64), [0, 0, 1, 28], "too short for those, too");
        assert_eq!(counts(1 << 10, 2, 64), [0, 0, 0, 4]);
    }

    /// What is granted leaves its place in the ring, and keeps its blocks.
    #[test]
    fn a_pool_has_blocks_for_what_is_granted() {
        for places in [1, 4, 10, 16] {
            let [large, medium, quad, small] = counts(384 << 10, places, 64);
            assert_eq!((small, quad), (384, 48), "{places} places");
            assert!(8 * large + medium >= 60, "{places} places");
        }
    }

    #[test]
    fn a_pool_may_have_as_many_blocks_as_can_be_numbered() {
        let pool = PoolGeometry::of_size(14 << 30, 112, 1 << 21, 64, 0).unwrap();
        assert!(pool.bytes() >= 14 << 30 && pool.blocks() <= MAX_BLOCKS);
        let pool = PoolGeometry::of_size(14 << 30, 112, 1 << 22, 64, 0).unwrap();
        let counts = pool.classes().map(|class| class.count);
        assert_eq!(counts, [229_376, 917_504, 0, 14_680_064], "too many with quad ones");
    }

    #[test]
    fn params_that_make_no_sense_are_refused() {
        let good = PoolGeometry::of_size(1 << 20, 100, 4096, 64, 0).unwrap().params();
        for bad in [0, 1, 255, 384, 1 << 17, u64::MAX] {
            let mut params = good;
            params[0] = bad;
            assert_eq!(PoolGeometry::checked(params, 0), None, "blocks of {bad}");
        }
        for class in 1..=CLASSES {
            let mut params = good;
            params[class] = MAX_BLOCKS;
            assert_eq!(PoolGeometry::checked(params, 0), None, "too many in all");
            params[class] = u64::MAX;
            assert_eq!(PoolGeometry::checked(params, 0), None, "class {class}");
        }
        assert_eq!(PoolGeometry::checked([256, 0, 0, 0, 0], 0), None, "no block");
        assert_eq!(PoolGeometry::checked([256, 0, 0, 0, 1], u64::MAX - 5), None);
        assert_eq!(PoolGeometry::of_size(u64::MAX, 0, 4096, 64, 0), None);
    }
}
