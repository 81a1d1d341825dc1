//! Heap memory of an exact size, for fuzzing, Miri, AddressSanitizer and tests.
#![allow(unsafe_code, reason = "allocates aligned memory; every block has its proof")]

use super::{BASE_ALIGN, Storage};
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Zeroed heap memory. An access one byte past its end is one that
/// AddressSanitizer sees, which it cannot for a mapping.
pub struct Heap {
    base: NonNull<u8>,
    layout: Layout,
}

impl Heap {
    /// Allocates `len` zero bytes; a length of 0 gives one byte.
    ///
    /// # Panics
    ///
    /// If `len` is larger than `isize::MAX`. Aborts when memory runs out.
    pub fn new(len: usize) -> Self {
        let layout = Layout::from_size_align(len.max(1), BASE_ALIGN)
            .expect("a heap segment is smaller than isize::MAX");
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        Self { base, layout }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: `base` came from `alloc_zeroed` with this very layout, and every
        // handle that could still use it owns a share of `self`.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

// SAFETY: the bytes are reached through `Memory` only, which is atomic throughout.
unsafe impl Send for Heap {}
// SAFETY: as for `Send`.
unsafe impl Sync for Heap {}

// SAFETY: one allocation, aligned to BASE_ALIGN, owned and alive until drop, never
// reached but through `base`.
unsafe impl Storage for Heap {
    fn base(&self) -> NonNull<u8> {
        self.base
    }
    fn len(&self) -> usize {
        self.layout.size()
    }
}
