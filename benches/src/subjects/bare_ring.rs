//! Two copies through shared memory and next to nothing else.
//!
//! One process copies pieces into a ring, the other copies them out, and each tells the other
//! how many it has done on a cache line of its own. No lengths, no waits but spinning, no word
//! to a sleeper, nothing that outlives a death. So it shows what a transport adds to two such
//! copies, or gains by making them in a better way. The copies are the C library's, or go past
//! the cache, or are the quickest that we know of where two processors share one.

#![allow(unsafe_code, reason = "a ring in a mapping has no safe address")]

use super::lines::{Lines, PAGE, Side};
use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use crate::subjects::ringway::{Policy, Roomy};
use ringway_core::sync::{Ordering, spin_hint};
use std::marker::PhantomData;

/// Bytes of a piece. Messages are whole pieces, so that nothing has to say where one ends.
const PIECE: usize = 64 << 10;
/// Pieces that the ring has room for. A power of two: counts of pieces wrap, and the places have
/// to go on.
const PIECES: u32 = 64;
const _: () = assert!(PIECES.is_power_of_two());
/// Bytes of the ring.
const RING: usize = PIECES as usize * PIECE;
// What is compared goes through as much memory.
const _: () = assert!(RING as u64 == Roomy::CAPACITY);

/// How a piece comes into the ring and out of it, and what the tables call it.
pub trait Put: 'static {
    /// The name in the tables.
    const NAME: &'static str;

    /// Copies a piece in.
    ///
    /// # Safety
    ///
    /// `to` is where a cache line begins, `PIECE` bytes are mapped there, and until the next
    /// release store of this thread nobody else accesses them.
    unsafe fn put(to: *mut u8, piece: &[u8; PIECE]);

    /// Copies a piece out.
    ///
    /// # Safety
    ///
    /// `from` is where a cache line begins, `PIECE` bytes are mapped there, and until the next
    /// release store of this thread nobody writes to them.
    #[inline]
    unsafe fn get(piece: &mut [u8; PIECE], from: *const u8) {
        // SAFETY: the caller promised the bytes at `from`; `piece` is private memory, so the two do
        // not overlap.
        unsafe { from.copy_to_nonoverlapping(piece.as_mut_ptr(), PIECE) };
    }
}

/// By the C library's `memcpy`, as row `memcpy` copies a message.
#[derive(Debug)]
pub struct Plain;

impl Put for Plain {
    const NAME: &'static str = "bare_ring";

    #[inline]
    unsafe fn put(to: *mut u8, piece: &[u8; PIECE]) {
        // SAFETY: `piece` is alive, and the caller promised as many bytes at `to` that nobody
        // else accesses, so no reference to them exists and the two do not overlap.
        unsafe { piece.as_ptr().copy_to_nonoverlapping(to, PIECE) };
    }
}

/// By stores that leave the bytes in no cache.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Past;

#[cfg(target_arch = "x86_64")]
impl Put for Past {
    const NAME: &'static str = "bare_ring_past";

    #[inline]
    unsafe fn put(to: *mut u8, piece: &[u8; PIECE]) {
        use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
        const VECTOR: usize = size_of::<__m128i>();
        let (vectors, _) = piece.as_chunks::<VECTOR>();
        for (i, vector) in vectors.iter().enumerate() {
            // SAFETY: as many bytes as the reference has; the load needs no alignment.
            let vector = unsafe { _mm_loadu_si128(vector.as_ptr().cast()) };
            // SAFETY: `i` is a vector of `piece`, so it begins within the `PIECE` bytes.
            let to = unsafe { to.add(i * VECTOR) };
            // SAFETY: the vector ends within the bytes that the caller promised, and is aligned
            // as they are. The fence below makes it come before the next release store.
            unsafe { _mm_stream_si128(to.cast(), vector) };
        }
        // Such stores are ordered by nothing else, not by a release store either.
        // SAFETY: SSE is part of x86-64.
        unsafe { _mm_sfence() };
    }
}

/// By moves of 32 bytes; out of the ring with lines fetched ahead. Of some fifty pairs of ways that
/// were tried where two processors share a cache none took less.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Ahead;

#[cfg(target_arch = "x86_64")]
impl Ahead {
    /// Bytes that are fetched at a time, while those before are copied. A piece is whole parts.
    const PART: usize = 2048;
    const WHOLE: () = assert!(PIECE.is_multiple_of(Self::PART));

    /// Copies `PART` bytes.
    ///
    /// # Safety
    ///
    /// As many are mapped at both addresses, nobody writes to either meanwhile, and they do not
    /// overlap. `to` is where 32 aligned bytes begin. The processor has AVX.
    #[target_feature(enable = "avx")]
    #[inline]
    unsafe fn part(to: *mut u8, from: *const u8) {
        const { Self::WHOLE };
        use core::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_store_si256};
        for at in (0..Self::PART).step_by(size_of::<__m256i>()) {
            // SAFETY: within the promise; the load needs no alignment.
            let vector = unsafe { _mm256_loadu_si256(from.wrapping_add(at).cast()) };
            // SAFETY: within the promise, and aligned as `to` is.
            unsafe { _mm256_store_si256(to.wrapping_add(at).cast(), vector) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Put for Ahead {
    const NAME: &'static str = "bare_ring_ahead";

    #[inline]
    unsafe fn put(to: *mut u8, piece: &[u8; PIECE]) {
        if !is_x86_feature_detected!("avx") {
            // SAFETY: the caller's promise.
            return unsafe { Plain::put(to, piece) };
        }
        for at in (0..PIECE).step_by(Self::PART) {
            let from = piece.as_ptr().wrapping_add(at);
            // SAFETY: parts of the piece and of what the caller promised; the processor has AVX.
            unsafe { Self::part(to.wrapping_add(at), from) };
        }
    }

    #[inline]
    unsafe fn get(piece: &mut [u8; PIECE], from: *const u8) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let to = piece.as_mut_ptr();
        if !is_x86_feature_detected!("avx") || !to.addr().is_multiple_of(32) {
            // SAFETY: the caller's promise.
            return unsafe { Plain::get(piece, from) };
        }
        for at in (0..PIECE).step_by(Self::PART) {
            for next in (at + Self::PART..PIECE.min(at + 2 * Self::PART)).step_by(64) {
                // SAFETY: a prefetch reads nothing that the program could see.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(next).cast()) };
            }
            // SAFETY: parts of the piece and of what the caller promised; the processor has AVX.
            unsafe { Self::part(to.wrapping_add(at), from.wrapping_add(at)) };
        }
    }
}

/// One end: the maker's sends, the other one receives. The parcel is for one process.
#[derive(Debug)]
pub struct BareRing<P> {
    lines: Lines,
    own: Side,
    /// Pieces that this end has put or taken.
    done: u32,
    /// Those that the other one was seen to have.
    seen: u32,
    put: PhantomData<P>,
}

impl<P: Put> BareRing<P> {
    fn end(lines: Lines, own: Side) -> Fallible<Self> {
        // Looked at once, so that the calls below may rely on it.
        lines.behind(0, RING).ok_or("the ring did not come whole")?;
        Ok(Self { lines, own, done: 0, seen: 0, put: PhantomData })
    }

    /// Where this end's next piece is.
    #[inline]
    fn place(&self) -> Fallible<*mut u8> {
        let at = (self.done % PIECES) as usize * PIECE;
        Ok(self.lines.behind(at, PIECE).ok_or("the ring is not whole")?)
    }

    /// Spins while the other end is seen to have done just `pieces`.
    #[inline]
    fn wait_while(&mut self, pieces: u32) {
        while self.seen == pieces {
            // ORDERING bare-filled (acquire): the bytes of the pieces that the sender counted.
            // ORDERING bare-free (acquire): the receiver's loads of those that it counted are over.
            self.seen = self.lines.word(self.own.opposite()).load(Ordering::Acquire);
            if self.seen == pieces {
                spin_hint();
            }
        }
    }

    /// Says that one more piece was put or taken.
    #[inline]
    fn count(&mut self) {
        self.done = self.done.wrapping_add(1);
        // ORDERING bare-filled (release): the bytes of a piece that was put.
        // ORDERING bare-free (release): the loads of one that was taken; its place is free.
        self.lines.word(self.own).store(self.done, Ordering::Release);
    }
}

impl<P: Put> Duplex for BareRing<P> {
    const NAME: &'static str = P::NAME;

    fn create() -> Fallible<(Self, Parcel)> {
        let (lines, memory) = Lines::reserve((PAGE + RING) as u64)?;
        Ok((Self::end(lines, Side::Maker)?, Parcel::of([memory])))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [memory] = parcel.take()?;
        Self::end(Lines::open(&memory)?, Side::Other)
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        let (pieces, []) = message.as_chunks::<PIECE>() else {
            return Err(not_pieces(message.len()));
        };
        if matches!(self.own, Side::Other) {
            return Err("a bare ring goes one way".into());
        }
        for piece in pieces {
            // While all places are full.
            self.wait_while(self.done.wrapping_sub(PIECES));
            let to = self.place()?;
            // SAFETY: the piece is within the mapping and begins at a multiple of 64 KiB behind
            // a page. Two processes know the mapping: this one, which writes only here, and the
            // receiver, which was seen to have counted the piece that was in this place before
            // and reads none that this end has not counted. So no atomics are needed.
            unsafe { P::put(to, piece) };
            self.count();
        }
        Ok(())
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        let len = message.len();
        let (pieces, []) = message.as_chunks_mut::<PIECE>() else {
            return Err(not_pieces(len));
        };
        if matches!(self.own, Side::Maker) {
            return Err("a bare ring goes one way".into());
        }
        for piece in pieces {
            // While there is none.
            self.wait_while(self.done);
            let from = self.place()?;
            // SAFETY: the piece is within the mapping and begins at a multiple of 64 KiB behind a
            // page; the sender was seen to have counted it and writes to its place only when this
            // end has, too.
            unsafe { P::get(piece, from) };
            self.count();
        }
        Ok(())
    }
}

#[cold]
fn not_pieces(len: usize) -> Box<dyn std::error::Error + Send + Sync> {
    format!("a bare ring's messages are whole pieces of {PIECE} bytes, not {len}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload;

    fn goes_round<P: Put>() {
        let (mut sender, parcel) = BareRing::<P>::create().unwrap();
        let mut receiver = BareRing::<P>::attach(parcel).unwrap();
        // Half a ring, all of one, and the rest of it and its beginning.
        for (seq, len) in [RING / 2, RING, 3 * PIECE, PIECE, RING].into_iter().enumerate() {
            let mut message = payload::blank(len);
            payload::stamp(&mut message, seq as u64);
            sender.send(&message).unwrap();
            let mut got = payload::blank(len);
            receiver.recv(&mut got).unwrap();
            payload::check_whole(&got, seq as u64).unwrap();
        }
    }

    #[test]
    fn messages_go_round() {
        goes_round::<Plain>();
        #[cfg(target_arch = "x86_64")]
        {
            goes_round::<Past>();
            goes_round::<Ahead>();
        }
    }

    #[test]
    fn counts_wrap() {
        let (mut sender, parcel) = BareRing::<Plain>::create().unwrap();
        let mut receiver = BareRing::<Plain>::attach(parcel).unwrap();
        for end in [&mut sender, &mut receiver] {
            (end.done, end.seen) = (0u32.wrapping_sub(PIECES / 2), 0u32.wrapping_sub(PIECES / 2));
            end.lines.word(end.own).store(end.done, Ordering::Relaxed);
        }
        let mut message = payload::blank(RING);
        payload::stamp(&mut message, 1);
        sender.send(&message).unwrap();
        let mut got = payload::blank(RING);
        receiver.recv(&mut got).unwrap();
        payload::check_whole(&got, 1).unwrap();
    }

    #[test]
    fn what_a_bare_ring_cannot_is_refused() {
        let (mut sender, parcel) = BareRing::<Plain>::create().unwrap();
        let mut receiver = BareRing::<Plain>::attach(parcel).unwrap();
        for len in [8, PIECE - 8, PIECE + 8] {
            let mut message = vec![0; len];
            assert!(sender.send(&message).is_err());
            assert!(receiver.recv(&mut message).is_err());
        }
        let mut message = vec![0; PIECE];
        assert!(receiver.send(&message).is_err());
        assert!(sender.recv(&mut message).is_err());
        let (_, short) = Lines::create().unwrap();
        assert!(BareRing::<Plain>::attach(Parcel::of([short])).is_err());
    }
}
