//! A page that children write and this process reads after they are dead.
#![allow(unsafe_code, reason = "mmap and munmap")]

use ringway_core::sync::{AtomicU64, Ordering::SeqCst};

/// Words in the page.
const WORDS: usize = 512;
/// Where [`Page::log`] writes.
const FIRST: usize = 16;

/// Zeroed memory that forked children share with their parent. What a child stored
/// before it was killed stays.
pub(crate) struct Page {
    at: *mut AtomicU64,
}

impl Page {
    /// The operation returned.
    pub(crate) const RETURNED: usize = 0;
    /// What it gave, in the terms of the one who asks.
    pub(crate) const VALUE: usize = 1;
    /// The child has made its preparations.
    pub(crate) const READY: usize = 2;
    /// How many numbers were logged.
    const LOGGED: usize = 3;
    /// What the child waits for.
    pub(crate) const CUE: usize = 4;

    pub(crate) fn new() -> Self {
        let (read_write, shared) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: asks for fresh memory; the answer is checked.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), WORDS * 8, read_write, shared, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "a page of memory");
        Self { at: at.cast() }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < WORDS);
        // SAFETY: inside the mapping, which lives as long as `self`.
        let word = unsafe { self.at.add(index) };
        // SAFETY: aligned, mapped, zeroed memory that is only used as atomics.
        unsafe { &*word }
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self.word(index).load(SeqCst)
    }

    pub(crate) fn set(&self, index: usize, value: u64) {
        self.word(index).store(value, SeqCst);
    }

    /// Appends a number to the log: first the number, then the count.
    pub(crate) fn log(&self, value: u64) {
        let count = self.get(Self::LOGGED);
        self.set(FIRST + usize::try_from(count).unwrap_or(WORDS), value);
        self.set(Self::LOGGED, count + 1);
    }

    pub(crate) fn logged(&self) -> Vec<u64> {
        let count = usize::try_from(self.get(Self::LOGGED)).unwrap_or(0);
        (FIRST..FIRST + count).map(|index| self.get(index)).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.at.cast(), WORDS * 8) };
    }
}
