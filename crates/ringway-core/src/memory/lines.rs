//! Long copies by whole lines, some of which are fetched ahead.
//!
//! Two processors that copy at the same time through a larger cache that they share are limited by
//! that cache and by how many lines each asks for at a time. So lines are asked for early, and each
//! line of the destination is written whole: a store across two lines counts as two. The moves are
//! of 32 bytes where there is AVX; some processors run slower for a while after wider ones.
//! Measured on two Zen 4 processors of a virtual machine that share a cache, 64 KiB at a time
//! through a bare ring of 4 MiB whose pieces begin 8 bytes behind a line: 1.48 us, where each side
//! alone, the other one at rest, takes 1.41. Moves of 16 bytes take 1.60, of 64 bytes 1.48 too.
//!
//! Fetching spares up to half where a side waits for each line: the processor's own guesses stop
//! at every page, and come late for lines that another one wrote. 64 KiB took a writer 3.3 us and
//! not 4.1, a reader 1.7 and not 3.0. By `rep movsb` in parts a reader took up to twice the time
//! for a MiB and more. What lies in no cache is another matter: there `rep movsb` in one go is
//! quicker by a sixth.
#![allow(unsafe_code, reason = "raw copies; every block has its proof")]

use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use core::ptr::NonNull;
use std::arch::is_x86_feature_detected;

/// From this many bytes on copies are made so. In shorter pieces, as they are in a ring of
/// 64 KiB, the processor's own guesses do better: a MiB takes 85 us, and 106 with them.
pub(super) const FAR_AHEAD: usize = 16 << 10;
/// Bytes that are fetched at a time.
const PART: usize = 2048;
/// From so many bytes on moves of 32 bytes have made up for the call.
const WIDE: usize = 256;
/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Copies `src` to `to`. While one part is copied, the lines of the next but one leave other
/// processors' caches.
///
/// # Safety
///
/// `src.len()` bytes are mapped at `to`; `src` has [`FAR_AHEAD`] at least.
#[inline(never)]
pub(super) unsafe fn into_lines(to: NonNull<u8>, src: &[u8]) {
    let (to, from, len) = (to.as_ptr(), src.as_ptr(), src.len());
    let fetch = |at| {
        let line = to.wrapping_add(at);
        // SAFETY: an instruction that changes nothing a program could see, and does nothing
        // on processors that do not know it.
        unsafe {
            core::arch::asm!(
                "prefetchw [{0}]",
                in(reg) line,
                options(nostack, preserves_flags, readonly)
            );
        }
    };
    // SAFETY: the caller's promise, and a live slice; the two do not overlap, for no slice into
    // shared memory exists.
    unsafe { by_lines(moves(), to, from, len, 2, len, fetch) };
}

/// Copies from `from` to `dst`. While one part is copied, the lines of the next are fetched.
///
/// # Safety
///
/// `dst.len()` bytes are mapped at `from`; `dst` has [`FAR_AHEAD`] at least.
#[inline(never)]
pub(super) unsafe fn out_of_lines(from: NonNull<u8>, dst: &mut [u8]) {
    // SAFETY: the caller's promise.
    unsafe { out_by(moves(), from, dst) };
}

/// As [`out_of_lines`], of a few KiB of which nothing is fetched.
///
/// # Safety
///
/// As there, but that `dst` has [`LINE`] at least.
#[inline(never)]
pub(super) unsafe fn out_of_piece(from: NonNull<u8>, dst: &mut [u8]) {
    // SAFETY: as in `into_lines`; the caller's promise.
    unsafe { by_lines(moves(), dst.as_mut_ptr(), from.as_ptr(), dst.len(), 0, 0, |_| {}) };
}

/// As [`out_of_piece`], but lines are fetched: from two parts behind the beginning on, up to `more`
/// bytes behind the end. Those before were fetched with the piece before this one.
///
/// # Safety
///
/// As there. What is behind need not be mapped.
#[inline(never)]
pub(super) unsafe fn out_of_piece_and_on(from: NonNull<u8>, dst: &mut [u8], more: usize) {
    let (to, from, len) = (dst.as_mut_ptr(), from.as_ptr(), dst.len());
    let reach = len.saturating_add(more);
    // SAFETY: as in `into_lines`; the caller's promise.
    unsafe { by_lines(moves(), to, from, len, 2, reach, |at| fetch(from, at)) };
}

/// Has the line `at` bytes behind `from` fetched.
#[inline]
fn fetch(from: *const u8, at: usize) {
    let line = from.wrapping_add(at);
    // SAFETY: a prefetch reads nothing that the program could see, and faults nowhere; SSE is part of
    // x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
}

/// As [`out_of_lines`], past the cache.
///
/// # Safety
///
/// As there.
#[inline(never)]
pub(super) unsafe fn away_from_lines(from: NonNull<u8>, dst: &mut [u8]) {
    // SAFETY: the caller's promise.
    unsafe { out_by(stream_lines, from, dst) };
    // Whoever is given `dst` next, by a release store, sees it.
    drain();
}

/// # Safety
///
/// As [`out_of_lines`]; as [`by_lines`] for `moves`.
#[inline]
unsafe fn out_by(moves: Moves, from: NonNull<u8>, dst: &mut [u8]) {
    let (to, from, len) = (dst.as_mut_ptr(), from.as_ptr(), dst.len());
    // SAFETY: as in `into_lines`; the caller's promise.
    unsafe { by_lines(moves, to, from, len, 1, len, |at| fetch(from, at)) };
}

/// Copies some whole lines.
type Moves = unsafe fn(*mut u8, *const u8, usize);

/// The quickest through the cache.
#[inline]
fn moves() -> Moves {
    if is_x86_feature_detected!("avx") { move_wide_lines } else { move_lines }
}

/// Copies `len` bytes, of which the lines of the destination are whole moves. Calls `fetch` for
/// the lines of each part, `ahead` parts before it is copied; with offsets below `reach`.
///
/// # Safety
///
/// As [`move_lines`], but that `len` is any number from [`LINE`] on. The processor has what `moves`
/// needs, which is safe where `move_lines` is and `to` is where a line begins.
#[inline]
unsafe fn by_lines(
    moves: Moves,
    to: *mut u8,
    from: *const u8,
    len: usize,
    ahead: usize,
    reach: usize,
    fetch: impl Fn(usize),
) {
    let begin = to.addr().wrapping_neg() % LINE;
    let end = len - (len - begin) % LINE;
    // The first and the last line's worth, wherever they lie. The rest writes parts of them again.
    for at in [0, len - LINE] {
        // SAFETY: a line's worth within `len`, which the caller promised.
        unsafe { move_lines(to.wrapping_add(at), from.wrapping_add(at), LINE) };
    }
    for at in (begin..end).step_by(PART) {
        let next = at + ahead * PART;
        (next..reach.min(next + PART)).step_by(LINE).for_each(&fetch);
        // SAFETY: whole lines, one at least, that begin where a line of the destination does and end at
        // or before `end`, which is within `len`. The processor has what `moves` needs.
        unsafe { moves(to.wrapping_add(at), from.wrapping_add(at), PART.min(end - at)) };
    }
}

/// The loop of [`move_lines`] and of [`stream_lines`], which differ in how they store 16 bytes.
macro_rules! by_sixteen {
    ($store:literal, $to:expr, $from:expr, $len:expr) => {
        core::arch::asm!(
            "2:",
            "movups {a}, [rsi]",
            "movups {b}, [rsi + 16]",
            "movups {c}, [rsi + 32]",
            "movups {d}, [rsi + 48]",
            concat!($store, " [rdi], {a}"),
            concat!($store, " [rdi + 16], {b}"),
            concat!($store, " [rdi + 32], {c}"),
            concat!($store, " [rdi + 48], {d}"),
            "add rsi, 64",
            "add rdi, 64",
            "sub rcx, 64",
            "jnz 2b",
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            inout("rcx") $len => _,
            inout("rdi") $to => _,
            inout("rsi") $from => _,
            options(nostack),
        )
    };
}

/// Copies `len` bytes upwards, 64 at a time. SSE2 is part of x86-64. On a Zen 4, 512 bytes: 10 ns,
/// against 16 by words and 15 by `rep movsb`.
///
/// # Safety
///
/// Both ranges are mapped, and they do not overlap. `len` is a multiple of [`LINE`] and not 0.
/// Either may be written by another process meanwhile: the assembly is outside the memory model,
/// and the compiler must assume that it reads and writes any memory (no `nomem` here).
#[inline]
pub(super) unsafe fn move_lines(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the registers are declared as changed. The loop ends when `rcx` reaches 0,
    // which a positive multiple of 64 does.
    unsafe {
        by_sixteen!("movups", to, from, len);
    }
}

/// As [`move_lines`].
///
/// # Safety
///
/// As there; the processor has AVX.
#[target_feature(enable = "avx")]
unsafe fn move_wide_lines(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: as there. At the end the upper halves are emptied, which all code without AVX expects
    // and which the compiler does not see to for assembly.
    unsafe {
        core::arch::asm!(
            "2:",
            "vmovups ymm0, [rsi]",
            "vmovups ymm1, [rsi + 32]",
            "vmovups [rdi], ymm0",
            "vmovups [rdi + 32], ymm1",
            "add rsi, 64",
            "add rdi, 64",
            "sub rcx, 64",
            "jnz 2b",
            "vzeroupper",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
}

/// As [`move_lines`], by the quickest way for so many. On a Zen 4 a KiB takes 20 ns through a grant, and
/// 25 by moves of 16 bytes alone.
///
/// # Safety
///
/// As there.
#[inline]
pub(super) unsafe fn move_all_lines(to: *mut u8, from: *const u8, len: usize) {
    let moves = if len < WIDE { move_lines } else { moves() };
    // SAFETY: the caller's promise; the processor has what `moves` needs.
    unsafe { moves(to, from, len) };
}

/// As [`move_lines`], by stores that go past the cache. They become visible in any order, unlike all
/// others of this processor, until [`drain`].
///
/// # Safety
///
/// As there; `to` is a multiple of 16.
#[inline]
pub(super) unsafe fn stream_lines(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: as in `move_lines`.
    unsafe {
        by_sixteen!("movntps", to, from, len);
    }
}

/// Makes what was stored past the cache visible before what is stored later, so that a release store
/// publishes it like anything else.
#[inline]
pub(super) fn drain() {
    // SAFETY: a fence; SSE is part of x86-64. The compiler must assume that it reads and writes any
    // memory, and keeps it where it is.
    unsafe { core::arch::asm!("sfence", options(nostack, preserves_flags)) };
}
