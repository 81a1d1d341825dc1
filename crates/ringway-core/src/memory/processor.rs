//! What the processor says of itself: who made it, and how much its largest cache holds.
//!
//! It is asked once, by the first who has long messages: in a virtual machine that takes some
//! microseconds. Nobody waits for who asks, as for a `OnceLock`: a child that was forked meanwhile
//! would wait for ever. Who comes meanwhile asks, too.
#![allow(unsafe_code, reason = "one instruction; it has its proof")]

use crate::sync::AtomicU64;
use crate::sync::Ordering::Relaxed;
use core::arch::x86_64::{__cpuid_count, CpuidResult};
use std::arch::is_x86_feature_detected;

/// What a processor has that does not say; virtual machines hide it.
const USUAL: u64 = 32 << 20;
/// Nobody is asked about less.
const LEAST: u64 = 4 << 20;

/// Whether `len` bytes and a copy of them fill the largest cache, or more.
pub(super) fn caches_overflow(len: u64) -> bool {
    static LARGEST: AtomicU64 = AtomicU64::new(0);
    if len < LEAST {
        return false;
    }
    // Relaxed: a number by itself, the same each time.
    let mut largest = LARGEST.load(Relaxed);
    if largest == 0 {
        largest = third_level().unwrap_or(USUAL);
        LARGEST.store(largest, Relaxed);
    }
    len.saturating_mul(2) >= largest
}

/// Whether `rep movsb` is the quickest copy out of lines that another processor wrote through the
/// cache: on Intel's processors, if it is enhanced, as measured on two of an Emerald Rapids. 64 KiB at a
/// time through a pipe of 4 MiB took 3.7 us, by moves of 32 bytes with lines fetched ahead 4.4; 16 MiB
/// 1.45 ms and 1.75. On AMD's it is the other way round ([`lines`](super::lines)).
#[inline]
pub(super) fn strings_are_quicker() -> bool {
    const QUICKER: u64 = 1;
    const SLOWER: u64 = 2;
    static ANSWER: AtomicU64 = AtomicU64::new(0);
    // Relaxed: as above.
    match ANSWER.load(Relaxed) {
        0 => {
            let quicker = is_intels(ask(0, 0)) && is_x86_feature_detected!("ermsb");
            ANSWER.store(if quicker { QUICKER } else { SLOWER }, Relaxed);
            quicker
        }
        answer => answer == QUICKER,
    }
}

/// Whether the maker's name is Intel's.
fn is_intels(maker: CpuidResult) -> bool {
    [maker.ebx, maker.edx, maker.ecx] == [*b"Genu", *b"ineI", *b"ntel"].map(u32::from_le_bytes)
}

/// Bytes of a cache of the third level or a higher one.
fn third_level() -> Option<u64> {
    // AMD's processors describe their caches as Intel's do, in a leaf of their own.
    let has_own = ask(0x8000_0000, 0).eax >= 0x8000_001D && ask(0x8000_0001, 0).ecx & 1 << 22 != 0;
    let leaf = if has_own { 0x8000_001D } else { 4 };
    let known = ask(0, 0).eax >= 4;
    (0..8).filter(|_| known).filter_map(|index| size_of(ask(leaf, index))).max()
}

/// Bytes of the cache that is described, if it is of so high a level.
fn size_of(cache: CpuidResult) -> Option<u64> {
    let (kind, level) = (cache.eax & 0x1F, cache.eax >> 5 & 7);
    let field = |from: u32, bits: u32| u64::from(cache.ebx >> from & ((1 << bits) - 1)) + 1;
    // Ways, partitions, bytes of a line; below, sets.
    let set = field(22, 10) * field(12, 10) * field(0, 12);
    let size = set.saturating_mul(u64::from(cache.ecx) + 1);
    (kind != 0 && level >= 3).then_some(size)
}

fn ask(leaf: u32, index: u32) -> CpuidResult {
    #[allow(unused_unsafe, reason = "newer compilers know that it is safe")]
    // SAFETY: every x86-64 processor has the instruction. It changes nothing; of what is not there it
    // tells nonsense, which is a number.
    unsafe {
        __cpuid_count(leaf, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a processor with 32 MiB, 16 ways and lines of 64 bytes describes its cache.
    const DESCRIBED: CpuidResult =
        CpuidResult { eax: 3 << 5 | 3, ebx: 15 << 22 | 63, ecx: 32_767, edx: 0 };

    #[test]
    fn sizes_of_third_level_caches_are_read() {
        assert_eq!(size_of(DESCRIBED), Some(32 << 20));
        assert_eq!(size_of(CpuidResult { eax: 2 << 5 | 3, ..DESCRIBED }), None, "of a lower level");
        assert_eq!(size_of(CpuidResult { eax: 3 << 5, ..DESCRIBED }), None, "no cache");
        let most = CpuidResult { eax: u32::MAX, ebx: u32::MAX, ecx: u32::MAX, edx: 0 };
        assert_eq!(size_of(most), Some(u64::MAX));
    }

    #[test]
    fn short_messages_fit_and_the_longest_do_not() {
        assert!(!caches_overflow(0) && !caches_overflow(LEAST - 1));
        assert!(caches_overflow(1 << 40) && caches_overflow(u64::MAX));
    }

    #[test]
    fn makers_are_told_apart() {
        let named = |name: &[u8; 12]| {
            let part = |at: usize| u32::from_le_bytes(*name[at..].first_chunk().unwrap());
            CpuidResult { eax: 0, ebx: part(0), edx: part(4), ecx: part(8) }
        };
        assert!(is_intels(named(b"GenuineIntel")));
        assert!(!is_intels(named(b"AuthenticAMD")));
        assert_eq!(strings_are_quicker(), strings_are_quicker(), "the first time and the next");
    }
}
