//! Counting what came of items, in memory that forked processes share.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Words of shared memory, zero at first. Not a segment: no code under test.
pub(crate) struct Words {
    map: memmap::Shared,
}

impl Words {
    pub(crate) fn new(count: usize) -> Self {
        Self { map: memmap::Shared::new(count) }
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self.map.word(index).load(SeqCst)
    }

    pub(crate) fn set(&self, index: usize, value: u64) {
        self.map.word(index).store(value, SeqCst);
    }

    /// Adds one and returns what was there.
    pub(crate) fn count(&self, index: usize) -> u64 {
        self.map.word(index).fetch_add(1, SeqCst)
    }

    pub(crate) fn lower(&self, index: usize) {
        self.map.word(index).fetch_sub(1, SeqCst);
    }

    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        self.map.word(index)
    }
}

mod memmap {
    #![allow(unsafe_code, reason = "an anonymous shared mapping")]

    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU64;

    pub(super) struct Shared {
        base: NonNull<AtomicU64>,
        count: usize,
    }

    // SAFETY: the words are only reached as atomics.
    unsafe impl Send for Shared {}
    // SAFETY: as for `Send`.
    unsafe impl Sync for Shared {}

    impl Shared {
        pub(super) fn new(count: usize) -> Self {
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a fresh anonymous mapping, wherever the kernel wants it.
            let at = unsafe { libc::mmap(std::ptr::null_mut(), count * 8, access, flags, -1, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            Self { base: NonNull::new(at.cast()).unwrap(), count }
        }

        pub(super) fn word(&self, index: usize) -> &AtomicU64 {
            assert!(index < self.count);
            // SAFETY: inside the mapping, which has `count` words.
            let at = unsafe { self.base.add(index) };
            // SAFETY: mapped until drop, aligned, and only accessed as an atomic.
            unsafe { at.as_ref() }
        }
    }

    impl Drop for Shared {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and no reference outlives `self`.
            unsafe { libc::munmap(self.base.as_ptr().cast(), self.count * 8) };
        }
    }
}
