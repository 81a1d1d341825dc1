//! [`Memory`] over real bytes: pointers checked once, then used without a check.
#![allow(unsafe_code, reason = "the one place that turns offsets into pointers")]

use super::{Out, OutOfBounds, Storage, Way, check, copy};
use crate::sync::{AtomicU32, AtomicU64};
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use std::sync::Arc;

/// A share of a segment's bytes. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    storage: Arc<dyn Storage>,
}

impl Memory {
    /// Lays typed access over a backing.
    pub fn new(storage: impl Storage + 'static) -> Self {
        Self { storage: Arc::new(storage) }
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.storage.len() as u64
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.storage.is_empty()
    }

    fn at(&self, at: u64, len: u64, align: u64) -> Result<NonNull<u8>, OutOfBounds> {
        let offset = check(self.storage.len(), at, len, align)?;
        // SAFETY: `check` showed that `offset + len` lies inside the storage, so the
        // sum stays inside one allocation (contract of `Storage`).
        Ok(unsafe { self.storage.base().add(offset) })
    }

    /// The 32-bit word at offset `at`, which must be a multiple of 4.
    pub fn word32(&self, at: u64) -> Result<Word32, OutOfBounds> {
        Ok(Word32 { at: self.at(at, 4, 4)?.cast(), _keep: Arc::clone(&self.storage) })
    }

    /// The 64-bit word at offset `at`, which must be a multiple of 8.
    pub fn word64(&self, at: u64) -> Result<Word64, OutOfBounds> {
        Ok(Word64 { at: self.at(at, 8, 8)?.cast(), _keep: Arc::clone(&self.storage) })
    }

    /// `count` 64-bit words, `stride` bytes apart, the first at `at`. Both must be
    /// multiples of 8.
    pub fn words64(&self, at: u64, count: u64, stride: u64) -> Result<WordArray, OutOfBounds> {
        let refuse = OutOfBounds { at, len: count.saturating_mul(stride) };
        if !stride.is_multiple_of(8) || stride == 0 {
            return Err(refuse);
        }
        let len = match count {
            0 => 0,
            n => (n - 1).checked_mul(stride).and_then(|l| l.checked_add(8)).ok_or(refuse)?,
        };
        let base = self.at(at, len, 8)?;
        let (Ok(count), Ok(stride)) = (usize::try_from(count), usize::try_from(stride)) else {
            return Err(refuse);
        };
        Ok(WordArray { base, count, stride, _keep: Arc::clone(&self.storage) })
    }

    /// The bytes `at..at + len` as a region to copy into and out of. Both must be
    /// multiples of 8.
    pub fn region(&self, at: u64, len: u64) -> Result<Region, OutOfBounds> {
        let base = self.at(at, len, 8)?;
        match usize::try_from(len) {
            Ok(len) if len.is_multiple_of(8) => {
                Ok(Region { base, len, _keep: Arc::clone(&self.storage) })
            }
            _ => Err(OutOfBounds { at, len }),
        }
    }
}

/// A 32-bit atomic in the memory. Dereferences to [`AtomicU32`].
#[derive(Clone)]
pub struct Word32 {
    at: NonNull<AtomicU32>,
    _keep: Arc<dyn Storage>,
}

// SAFETY: the word is only reachable as an atomic, and `_keep` keeps it mapped.
unsafe impl Send for Word32 {}
// SAFETY: as for `Send`.
unsafe impl Sync for Word32 {}

impl Deref for Word32 {
    type Target = AtomicU32;
    #[inline]
    fn deref(&self) -> &AtomicU32 {
        // SAFETY: `at` was checked for bounds and alignment in `Memory::word32`,
        // stays mapped through `_keep`, and is only ever accessed as an atomic.
        unsafe { self.at.as_ref() }
    }
}

/// A 64-bit atomic in the memory. Dereferences to [`AtomicU64`].
#[derive(Clone)]
pub struct Word64 {
    at: NonNull<AtomicU64>,
    _keep: Arc<dyn Storage>,
}

// SAFETY: the word is only reachable as an atomic, and `_keep` keeps it mapped.
unsafe impl Send for Word64 {}
// SAFETY: as for `Send`.
unsafe impl Sync for Word64 {}

impl Deref for Word64 {
    type Target = AtomicU64;
    #[inline]
    fn deref(&self) -> &AtomicU64 {
        // SAFETY: `at` was checked for bounds and alignment in `Memory::word64`,
        // stays mapped through `_keep`, and is only ever accessed as an atomic.
        unsafe { self.at.as_ref() }
    }
}

/// Evenly spaced 64-bit words, such as the state words of slots.
#[derive(Clone)]
pub struct WordArray {
    base: NonNull<u8>,
    count: usize,
    stride: usize,
    _keep: Arc<dyn Storage>,
}

// SAFETY: the words are only reachable as atomics, and `_keep` keeps them mapped.
unsafe impl Send for WordArray {}
// SAFETY: as for `Send`.
unsafe impl Sync for WordArray {}

impl WordArray {
    /// How many words there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Word `index`, or `None` past the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `index < count`, and `Memory::words64` checked that the last word,
        // at `(count - 1) * stride`, ends inside the storage; nothing overflows.
        let at = unsafe { self.base.add(index * self.stride) };
        // SAFETY: base and stride are multiples of 8, so `at` is aligned; `_keep`
        // keeps it mapped; it is only ever accessed as an atomic.
        Some(unsafe { at.cast::<AtomicU64>().as_ref() })
    }
}

/// Bytes that may only be copied, never borrowed.
#[derive(Clone)]
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    _keep: Arc<dyn Storage>,
}

// SAFETY: the bytes are only reached by atomic or assembly copies, and `_keep` keeps
// them mapped.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl Region {
    /// Size in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The 64-bit word at byte `at`, a multiple of 8, or `None` outside the region.
    /// For record headers, which are published by an ordering elsewhere.
    #[inline]
    pub fn word(&self, at: usize) -> Option<&AtomicU64> {
        if !at.is_multiple_of(8) || at >= self.len {
            return None;
        }
        // SAFETY: `at < len`, so the sum stays inside the storage.
        let word = unsafe { self.base.add(at) };
        // SAFETY: base, `at` and `len` are multiples of 8, so all 8 bytes are inside
        // and aligned; `_keep` keeps them mapped; region bytes are only accessed as
        // 64-bit atomics or by the copies of this type.
        Some(unsafe { word.cast::<AtomicU64>().as_ref() })
    }

    /// Asks the processor to fetch the cache line of byte `at` while the caller looks
    /// elsewhere. Never faults, changes nothing; does nothing outside the region.
    #[inline]
    pub fn prefetch(&self, at: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if let Some(word) = self.word(at) {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch reads nothing that the program could see; SSE is part of
            // x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(word).cast()) };
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = at;
    }

    /// As [`prefetch`](Self::prefetch), for a line that the caller is about to write: it comes
    /// without a copy left elsewhere. Changes no byte.
    #[inline]
    pub fn prefetch_to_write(&self, at: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if let Some(word) = self.word(at) {
            // SAFETY: an instruction that changes nothing a program could see, and does
            // nothing on processors that do not know it.
            unsafe {
                core::arch::asm!(
                    "prefetchw [{0}]",
                    in(reg) core::ptr::from_ref(word),
                    options(nostack, preserves_flags, readonly)
                );
            }
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = at;
    }

    /// Copies `src` to byte `at`, a multiple of 8. Bytes up to the next multiple of
    /// 8 after it may be overwritten with zeros. Relaxed: publish with a release
    /// store elsewhere.
    #[inline]
    pub fn copy_in(&self, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        let to = self.span(at, src.len())?;
        // SAFETY: `span` checked that `src.len()`, rounded up to a multiple of 8, lies
        // inside the region at an aligned address; `_keep` keeps it mapped.
        unsafe { copy::into_shared(to, src) }
        Ok(())
    }

    /// As [`copy_in`](Self::copy_in), through the cache or past it.
    #[inline]
    pub fn copy_in_by(&self, way: Way, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        let to = self.span(at, src.len())?;
        // SAFETY: as in `copy_in`.
        unsafe { copy::into_shared_by(way, to, src) }
        Ok(())
    }

    /// Copies from byte `at`, a multiple of 8, to `dst`. Relaxed: acquire a word
    /// that published these bytes first.
    #[inline]
    pub fn copy_out(&self, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = self.span(at, dst.len())?;
        // SAFETY: as in `copy_in`.
        unsafe { copy::out_of_shared(from, dst) }
        Ok(())
    }

    /// As [`copy_out`](Self::copy_out), made as `how` says.
    #[inline]
    pub fn copy_out_by(&self, how: Out, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = self.span(at, dst.len())?;
        // SAFETY: as in `copy_in`.
        unsafe { copy::out_of_shared_by(how, from, dst) }
        Ok(())
    }

    /// Where bytes `at..at + len` lie, or `None` outside the region. To be used by system
    /// calls and assembly only, while the region lives: a reference made of it is
    /// undefined behaviour as soon as any process writes there.
    pub fn pointer(&self, at: usize, len: usize) -> Option<*mut [u8]> {
        if at > self.len || len > self.len - at {
            return None;
        }
        // SAFETY: `at <= len of the region`, which lies inside the storage.
        let from = unsafe { self.base.add(at) };
        Some(core::ptr::slice_from_raw_parts_mut(from.as_ptr(), len))
    }

    /// The place of byte `at`, for accesses whose bounds the caller knows.
    ///
    /// # Safety
    ///
    /// `at` is a multiple of 8 and at most the length.
    #[inline]
    pub(super) unsafe fn spot(&self, at: usize) -> Spot<'_> {
        debug_assert!(at.is_multiple_of(8) && at <= self.len);
        // SAFETY: `at <= len` by the caller's promise.
        Spot { at: unsafe { self.base.add(at) }, region: PhantomData }
    }

    /// The address of byte `at`, after checking that `len` bytes from there, rounded
    /// up to a multiple of 8, are inside.
    #[inline]
    fn span(&self, at: usize, len: usize) -> Result<NonNull<u8>, OutOfBounds> {
        // `self.len` is a multiple of 8 and so is `at`: if `len` fits, so does `len`
        // rounded up.
        if at.is_multiple_of(8) && at <= self.len && len <= self.len - at {
            // SAFETY: `at <= len of the region`, which lies inside the storage.
            Ok(unsafe { self.base.add(at) })
        } else {
            Err(OutOfBounds { at: at as u64, len: len as u64 })
        }
    }
}

/// A place in a [`Region`], without a length: whoever made it knows what lies behind.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    at: NonNull<u8>,
    region: PhantomData<&'a Region>,
}

impl<'a> Spot<'a> {
    /// The place `offset` bytes from here.
    ///
    /// # Safety
    ///
    /// It lies in the region or at its end, and `offset` is a multiple of 8.
    #[inline]
    pub(super) unsafe fn after(self, offset: usize) -> Self {
        // SAFETY: inside by the caller's promise.
        Self { at: unsafe { self.at.add(offset) }, ..self }
    }

    /// The 64-bit word `offset` bytes from here.
    ///
    /// # Safety
    ///
    /// It lies in the region, and `offset` is a multiple of 8.
    #[inline]
    pub(super) unsafe fn word(self, offset: usize) -> &'a AtomicU64 {
        // SAFETY: inside by the caller's promise.
        let word = unsafe { self.at.add(offset) };
        // SAFETY: as in `Region::word`; the region, which keeps it mapped, is borrowed.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    /// As [`Region::copy_in`], `offset` bytes from here.
    ///
    /// # Safety
    ///
    /// `src.len()` bytes from there lie in the region, and `offset` is a multiple of 8.
    #[inline]
    pub(super) unsafe fn copy_in(self, offset: usize, src: &[u8]) {
        // SAFETY: inside by the caller's promise.
        let to = unsafe { self.at.add(offset) };
        // SAFETY: as in `Region::copy_in`: a region's length is a multiple of 8 too, so
        // `src.len()` rounded up is inside.
        unsafe { copy::into_shared(to, src) }
    }

    /// As [`Region::copy_in_by`], `offset` bytes from here.
    ///
    /// # Safety
    ///
    /// As [`copy_in`](Self::copy_in).
    #[inline]
    pub(super) unsafe fn copy_in_by(self, way: Way, offset: usize, src: &[u8]) {
        // SAFETY: inside by the caller's promise.
        let to = unsafe { self.at.add(offset) };
        // SAFETY: as in `copy_in`.
        unsafe { copy::into_shared_by(way, to, src) }
    }

    /// As [`Region::copy_out_by`], `offset` bytes from here.
    ///
    /// # Safety
    ///
    /// As [`copy_in`](Self::copy_in).
    #[inline]
    pub(super) unsafe fn copy_out_by(self, how: Out, offset: usize, dst: &mut [u8]) {
        // SAFETY: inside by the caller's promise.
        let from = unsafe { self.at.add(offset) };
        // SAFETY: as in `copy_in`.
        unsafe { copy::out_of_shared_by(how, from, dst) }
    }

    /// As [`Region::copy_out`], `offset` bytes from here.
    ///
    /// # Safety
    ///
    /// As [`copy_in`](Self::copy_in).
    #[inline]
    pub(super) unsafe fn copy_out(self, offset: usize, dst: &mut [u8]) {
        // SAFETY: inside by the caller's promise.
        let from = unsafe { self.at.add(offset) };
        // SAFETY: as in `copy_in`.
        unsafe { copy::out_of_shared(from, dst) }
    }
}
