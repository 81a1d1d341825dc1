//! Copies between private memory and memory that a peer may be writing.
//!
//! A library `memcpy` on racing memory is a data race. Two things are not: relaxed
//! atomic accesses, and assembly, which is outside the language's memory model.
//! Short copies use the first, long ones the second where the processor has a
//! worthwhile way; Miri and builds with `cfg(fuzzing)`, whose AddressSanitizer cannot see
//! into assembly, always use the first.
//!
//! Reads never depend on the value being stable: callers publish with a release
//! store and acquire it before they copy, or throw the copy away.
#![allow(unsafe_code, reason = "raw copies; every block has its proof")]

#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
use super::LONG_COPY;
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
use super::lines::{
    FAR_AHEAD, LINE, away_from_lines, drain, into_lines, move_all_lines, out_of_lines,
    out_of_piece, out_of_piece_and_on, stream_lines,
};
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
use super::processor::strings_are_quicker;
use super::{Out, Way};
use crate::sync::Ordering::Relaxed;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

/// From this many bytes on, `rep movsb` has made up for its start-up.
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
const LONG: usize = 2048;

/// Whether `rep movsb` does well. Where the destination lies 1 to 31 bytes behind the
/// source, modulo the page, every load looks as if it depended on the store before it,
/// and the microcode falls back to single bytes: 21 us instead of 1.3 for 64 KiB. Chunks
/// begin at any multiple of 8 and buffers at multiples of 16, so that happens often.
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
#[inline]
fn movsb_is_quick(to: *const u8, from: *const u8, len: usize) -> bool {
    len >= LONG && !(1..64).contains(&(to.addr().wrapping_sub(from.addr()) % 4096))
}

/// As [`into_shared`], by the way that [`Stores`](super::Stores) chose.
///
/// # Safety
///
/// As there.
#[inline]
pub(super) unsafe fn into_shared_by(way: Way, to: NonNull<u8>, src: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    match way {
        Way::Past if src.len() > LONG_COPY => {
            // SAFETY: the caller's promise.
            return unsafe { past_cache(to, src) };
        }
        Way::Through if src.len() >= FAR_AHEAD => {
            // SAFETY: the caller's promise.
            return unsafe { into_lines(to, src) };
        }
        _ => {}
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, fuzzing)))))]
    let _ = way;
    // SAFETY: the caller's promise.
    unsafe { into_shared(to, src) };
}

/// The whole lines of `to` past the cache, what lies before and behind them through it.
///
/// # Safety
///
/// As [`into_shared`]; `src` has at least a line.
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
#[inline(never)]
unsafe fn past_cache(to: NonNull<u8>, src: &[u8]) {
    let (head, rest) = src.split_at(to.as_ptr().addr().wrapping_neg() % LINE);
    let (lines, tail) = rest.split_at(rest.len() & !(LINE - 1));
    // SAFETY: `to` is aligned to 8, so `head` is a multiple of 8 long; within the promise.
    unsafe { into_shared(to, head) };
    // SAFETY: within the promise.
    let to = unsafe { to.add(head.len()) };
    if !lines.is_empty() {
        // SAFETY: `to` is where a line begins, `lines` are whole ones; within the promise. No
        // slice into shared memory exists, so the two do not overlap.
        unsafe { stream_lines(to.as_ptr(), lines.as_ptr(), lines.len()) };
        drain();
    }
    // SAFETY: within the promise.
    let to = unsafe { to.add(lines.len()) };
    // SAFETY: `to` is where a line begins; `tail` ends where `src` does.
    unsafe { into_shared(to, tail) };
}

/// Copies `src` to `to`.
///
/// # Safety
///
/// `to` is aligned to 8, and `src.len()` rounded up to a multiple of 8 bytes are
/// mapped there. Bytes between the end of `src` and that multiple become zero
/// (short copies) or stay (long ones).
#[inline]
pub(super) unsafe fn into_shared(to: NonNull<u8>, src: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    if movsb_is_quick(to.as_ptr(), src.as_ptr(), src.len()) {
        // SAFETY: the caller's promise covers `src.len()` bytes at `to`; `src` is a
        // live slice; the two do not overlap, for no slice into shared memory exists.
        unsafe { rep_movsb(to.as_ptr(), src.as_ptr(), src.len()) };
        return;
    }
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    let (to, src) = if src.len() >= LINE {
        let (blocks, rest) = src.split_at(src.len() & !(LINE - 1));
        // SAFETY: as above; the length is a multiple of 64 and not 0.
        unsafe { move_all_lines(to.as_ptr(), blocks.as_ptr(), blocks.len()) };
        // SAFETY: `blocks.len()` bytes are inside what the caller promised.
        (unsafe { to.add(blocks.len()) }, rest)
    } else {
        (to, src)
    };
    let (words, tail) = src.as_chunks::<8>();
    for (i, bytes) in words.iter().enumerate() {
        // SAFETY: word `i` ends at or before `src.len()` bytes.
        let word = unsafe { word_at(to, i) };
        word.store(u64::from_ne_bytes(*bytes), Relaxed);
    }
    if !tail.is_empty() {
        // SAFETY: the last word ends at `src.len()` rounded up to a multiple of 8.
        let word = unsafe { word_at(to, words.len()) };
        word.store(gather(tail), Relaxed);
    }
}

/// As [`out_of_shared`], as [`Out`] says.
///
/// # Safety
///
/// As there.
#[inline]
pub(super) unsafe fn out_of_shared_by(how: Out, from: NonNull<u8>, dst: &mut [u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    match how {
        Out::Away if dst.len() >= FAR_AHEAD => {
            // SAFETY: the caller's promise.
            return unsafe { away_from_lines(from, dst) };
        }
        Out::Through if dst.len() >= FAR_AHEAD => {
            let strings = strings_are_quicker();
            if !strings || !movsb_is_quick(dst.as_ptr(), from.as_ptr(), dst.len()) {
                // SAFETY: the caller's promise.
                return unsafe { out_of_lines(from, dst) };
            }
            // As what was written past the cache, below.
        }
        // Short ones, such as whole messages of some KiB: 64 KiB in pieces of 4 KiB took the two sides 3.0 us on a Zen 4. By `rep movsb` they
        // took 2.4 in one half of the runs and 5.4 in the other, where the writer's next stores to those
        // lines were slow.
        Out::Away | Out::Through if dst.len() >= LINE => {
            // SAFETY: the caller's promise.
            return unsafe { out_of_piece(from, dst) };
        }
        Out::Piece(more) if dst.len() >= LINE => {
            // SAFETY: the caller's promise.
            return unsafe { out_of_piece_and_on(from, dst, more) };
        }
        _ => {}
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, fuzzing)))))]
    let _ = how;
    // SAFETY: the caller's promise.
    unsafe { out_of_shared(from, dst) };
}

/// Copies the whole blocks, and says what is left.
///
/// # Safety
///
/// As [`out_of_shared`]; `dst` has a block at least.
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
#[inline]
unsafe fn out_in_blocks(from: NonNull<u8>, dst: &mut [u8]) -> (NonNull<u8>, &mut [u8]) {
    let (blocks, rest) = dst.split_at_mut(dst.len() & !(LINE - 1));
    // SAFETY: `blocks.len()` bytes are inside what the caller promised, a multiple of 64 and not
    // 0; no slice into shared memory exists, so the two do not overlap.
    unsafe { move_all_lines(blocks.as_mut_ptr(), from.as_ptr(), blocks.len()) };
    // SAFETY: within the promise.
    (unsafe { from.add(blocks.len()) }, rest)
}

/// Copies from `from` into `dst`.
///
/// # Safety
///
/// `from` is aligned to 8, and `dst.len()` rounded up to a multiple of 8 bytes are
/// mapped there.
#[inline]
pub(super) unsafe fn out_of_shared(from: NonNull<u8>, dst: &mut [u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    if movsb_is_quick(dst.as_ptr(), from.as_ptr(), dst.len()) {
        // SAFETY: the caller's promise covers `dst.len()` bytes at `from`; `dst` is a
        // live slice; the two do not overlap, for no slice into shared memory exists.
        unsafe { rep_movsb(dst.as_mut_ptr(), from.as_ptr(), dst.len()) };
        return;
    }
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    let (from, dst) = if dst.len() >= LINE {
        // SAFETY: the caller's promise.
        unsafe { out_in_blocks(from, dst) }
    } else {
        (from, dst)
    };
    let (words, tail) = dst.as_chunks_mut::<8>();
    let count = words.len();
    for (i, bytes) in words.iter_mut().enumerate() {
        // SAFETY: word `i` ends at or before `dst.len()` bytes.
        let word = unsafe { word_at(from, i) };
        *bytes = word.load(Relaxed).to_ne_bytes();
    }
    if !tail.is_empty() {
        // SAFETY: the last word ends at `dst.len()` rounded up to a multiple of 8.
        let word = unsafe { word_at(from, count) };
        scatter(word.load(Relaxed), tail);
    }
}

/// The word that begins with `bytes`, fewer than 8, and ends with zeros. By shifts: a copy
/// of so few bytes would be a call.
#[inline]
fn gather(bytes: &[u8]) -> u64 {
    let shifted = bytes.iter().enumerate().map(|(i, byte)| u64::from(*byte) << (8 * i));
    u64::from_le(shifted.fold(0, |word, byte| word | byte))
}

/// The first of the bytes of `word`.
#[inline]
fn scatter(word: u64, bytes: &mut [u8]) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (word.to_le() >> (8 * i) & 0xFF) as u8;
    }
}

/// Word `i` of the shared bytes at `base`.
///
/// # Safety
///
/// `base` is aligned to 8 and word `i` is mapped for as long as the result is used.
#[inline]
unsafe fn word_at<'a>(base: NonNull<u8>, i: usize) -> &'a AtomicU64 {
    // SAFETY: the caller promises that word `i` is inside one mapping.
    let at = unsafe { base.cast::<AtomicU64>().add(i) };
    // SAFETY: mapped and aligned by the caller's promise, and only ever accessed as
    // an atomic or by assembly.
    unsafe { at.as_ref() }
}

/// Copies `len` bytes upwards.
///
/// # Safety
///
/// Both ranges are mapped, and they do not overlap. Either may be written by another
/// process meanwhile: the assembly is outside the memory model, and the compiler
/// must assume that it reads and writes any memory (no `nomem` here).
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
#[inline]
unsafe fn rep_movsb(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the ABI keeps the direction flag clear; the registers are declared as
    // changed; flags are not touched by `movsb`.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Heap, Memory, Out, Storage, Way};

    #[test]
    fn every_length_round_trips_and_touches_no_neighbour() {
        let size = 4096_usize;
        for len in (0..=600).chain(2000..2100) {
            let heap = Heap::new(size);
            assert_eq!(heap.len(), size);
            let region = Memory::new(heap).region(0, size as u64).unwrap();
            region.copy_in(0, &[0xEE; 4096]).unwrap();
            let src: Vec<u8> = (0..len).map(|i| u8::try_from((i * 7 + 1) % 251).unwrap()).collect();
            // Also at another distance modulo the page.
            let at = if len % 2 == 0 { 64 } else { 88 };
            region.copy_in(at, &src).unwrap();
            let mut back = vec![0; len];
            region.copy_out(at, &mut back).unwrap();
            assert_eq!(back, src);
            let mut all = vec![0; size];
            region.copy_out(0, &mut all).unwrap();
            let end = at + len.next_multiple_of(8);
            assert!(all[..at].iter().chain(&all[end..]).all(|b| *b == 0xEE), "length {len}");
        }
    }

    /// Racing accesses of different sizes are not defined: every region begins and ends on
    /// a word, and so does every copy.
    #[test]
    fn region_bytes_are_words() {
        let memory = Memory::new(Heap::new(128));
        assert!(memory.region(4, 8).is_err() && memory.region(8, 12).is_err());
        let region = memory.region(0, 128).unwrap();
        for at in 0..128 {
            let whole = at % 8 == 0;
            assert_eq!(region.copy_in(at, &[1]).is_ok(), whole, "in at {at}");
            assert_eq!(region.copy_out(at, &mut [0]).is_ok(), whole, "out at {at}");
            assert_eq!(region.word(at).is_some(), whole, "word at {at}");
        }
    }

    #[test]
    fn long_copies_touch_no_neighbour_whichever_way() {
        let size = 40 << 10;
        let lengths =
            (4060..4140).chain(16_360..16_400).chain(18_400..18_480).chain([39_872, 39_999]);
        let both = |len| [(len, Way::Past), (len, Way::Through)];
        for (n, (len, way)) in lengths.flat_map(both).enumerate() {
            let at = 8 * (n % 9);
            let region = Memory::new(Heap::new(size)).region(0, size as u64).unwrap();
            region.copy_in(0, &vec![0xEE; size]).unwrap();
            // The private side anywhere.
            let src: Vec<u8> = (0..=250).cycle().take(len + at).collect();
            region.copy_in_by(way, at, &src[at..]).unwrap();
            let mut all = vec![0; size + 1];
            region.copy_out(0, &mut all[1..]).unwrap();
            let all = &all[1..];
            assert_eq!(all[at..at + len], src[at..], "{len} at {at}, {way:?}");
            let end = at + len.next_multiple_of(8);
            assert!(all[..at].iter().chain(&all[end..]).all(|b| *b == 0xEE), "{len} at {at}");
            for how in [Out::Through, Out::Away, Out::Past, Out::Piece(300)] {
                // Wherever in its lines the private side begins, and with a byte of its own around it.
                let to = 1 + n % 67;
                let mut back = vec![0xDD; to + len + 1];
                region.copy_out_by(how, at, &mut back[to..to + len]).unwrap();
                assert_eq!(back[to..to + len], src[at..], "{len} from {at} to {to}, {how:?}");
                back.splice(to..to + len, []);
                assert!(back.iter().all(|byte| *byte == 0xDD), "{len} from {at} to {to}, {how:?}");
            }
        }
        let region = Memory::new(Heap::new(size)).region(0, size as u64).unwrap();
        for way in [Way::Past, Way::Through] {
            assert!(region.copy_in_by(way, 8, &vec![0; size]).is_err());
            assert!(region.copy_in_by(way, 4, &[1]).is_err());
        }
        for how in [Out::Through, Out::Away, Out::Past, Out::Piece(1 << 30)] {
            assert!(region.copy_out_by(how, 8, &mut vec![0; size]).is_err());
        }
    }

    #[test]
    fn copies_outside_are_refused() {
        let region = Memory::new(Heap::new(64)).region(0, 64).unwrap();
        assert!(region.copy_in(64, &[]).is_ok());
        assert!(region.copy_in(64, &[1]).is_err());
        assert!(region.copy_in(4, &[1]).is_err());
        assert!(region.copy_out(usize::MAX - 7, &mut [0; 8]).is_err());
        assert!(region.word(64).is_none() && region.word(60).is_none());
    }

    #[test]
    fn words_outside_are_refused() {
        let memory = Memory::new(Heap::new(64));
        assert!(memory.word64(56).is_ok() && memory.word64(57).is_err());
        assert!(memory.word64(60).is_err() && memory.word64(u64::MAX - 7).is_err());
        assert!(memory.word32(60).is_ok() && memory.word32(62).is_err());
        assert!(memory.words64(0, 8, 8).is_ok() && memory.words64(0, 9, 8).is_err());
        assert!(memory.words64(0, u64::MAX, u64::MAX - 7).is_err());
        assert!(memory.region(0, u64::MAX).is_err());
    }
}
