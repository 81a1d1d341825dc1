//! Two words, each on a cache line of its own, in memory that two processes share, and what
//! lies behind them.

#![allow(unsafe_code, reason = "words in a mapping have no safe address")]

use crate::Fallible;
use memmap2::MmapRaw;
use ringway_core::sync::AtomicU32;
use rustix::fs::{FallocateFlags, MemfdFlags};
use std::os::fd::OwnedFd;

/// Distance of the words: two lines, because processors fetch lines in pairs.
const APART: usize = 128;
/// Bytes of the words' page: the mapping is as large at least, and [`Lines::word`] stays inside.
pub(super) const PAGE: usize = 4096;

/// The mapping. Nobody else has it, and both processes touch the words' page only as
/// atomics of 32 bits.
#[derive(Debug)]
pub(crate) struct Lines {
    map: MmapRaw,
}

/// One of the two words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// Written by the process that made the mapping.
    Maker,
    /// Written by the other.
    Other,
}

impl Side {
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Maker => Self::Other,
            Self::Other => Self::Maker,
        }
    }
}

impl Lines {
    /// New words, both 0, and the descriptor for the other process.
    pub(super) fn create() -> Fallible<(Self, OwnedFd)> {
        let memory = rustix::fs::memfd_create("ringway-bench-floor", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&memory, PAGE as u64)?;
        Ok((Self { map: MmapRaw::map_raw(&memory)? }, memory))
    }

    /// As [`create`](Self::create), the first words of `len` reserved bytes.
    pub(crate) fn reserve(len: u64) -> Fallible<(Self, OwnedFd)> {
        let memory = rustix::fs::memfd_create("ringway-bench-floor", MemfdFlags::CLOEXEC)?;
        rustix::fs::fallocate(&memory, FallocateFlags::empty(), 0, len.max(PAGE as u64))?;
        Ok((Self { map: MmapRaw::map_raw(&memory)? }, memory))
    }

    /// The same words in the other process.
    pub(crate) fn open(memory: &OwnedFd) -> Fallible<Self> {
        let map = MmapRaw::map_raw(memory)?;
        if map.len() < PAGE {
            return Err("the words did not come whole".into());
        }
        Ok(Self { map })
    }

    /// The byte `at` bytes behind the words' page, when `len` of them are mapped from there on.
    /// No reference to any of them comes from here.
    #[inline]
    pub(super) fn behind(&self, at: usize, len: usize) -> Option<*mut u8> {
        let from = at.checked_add(PAGE)?;
        if from.checked_add(len)? > self.map.len() {
            return None;
        }
        // SAFETY: `from` is at most the mapping's length.
        Some(unsafe { self.map.as_mut_ptr().add(from) })
    }

    #[inline]
    pub(crate) fn word(&self, side: Side) -> &AtomicU32 {
        let at = match side {
            Side::Maker => 0,
            Side::Other => APART,
        };
        // SAFETY: `at` is at most 128 and the mapping has at least 4096 bytes.
        let word = unsafe { self.map.as_mut_ptr().add(at) };
        // SAFETY: the pointer is aligned (a page plus a multiple of 128), valid for as
        // long as `self.map`, which the result borrows, and every access to these
        // bytes, here and in the other process, is an atomic one of this size.
        unsafe { AtomicU32::from_ptr(word.cast()) }
    }
}
