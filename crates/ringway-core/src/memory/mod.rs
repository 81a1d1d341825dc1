//! Typed access to the bytes of a segment, wherever they live.
//!
//! # Why this is sound although another process may write any byte at any time
//!
//! * A [`Memory`] hands out three things only: [`Word32`] and [`Word64`], which are
//!   atomics, and [`Region`], whose bytes are copied in and out and never borrowed.
//!   No `&[u8]`, no `&T` and no `&mut T` into the memory ever exists.
//! * Each word has one size for ever: racing accesses of different sizes to one
//!   place are not defined. The layouts keep words and regions apart.
//! * Region copies are made of relaxed atomic accesses or of assembly (`copy`), so
//!   a racing peer can give us wrong bytes and nothing worse.
//! * Every handle owns a share of its backing: it cannot dangle.
//! * Offsets are checked once, when the handle is made; the arithmetic afterwards
//!   stays inside the handle's own private bounds.
//!
//! The backing is a [`Storage`]: a mapped segment, or [`Heap`] for fuzzing, Miri
//! and AddressSanitizer. Under loom the words are loom's own (`loom_memory`).

mod anywhere;
#[cfg(not(loom))]
mod copy;
mod heap;

#[cfg(not(loom))]
mod real;
#[cfg(not(loom))]
pub use real::{Memory, Region, Word32, Word64, WordArray};

#[cfg(loom)]
mod loom_memory;
#[cfg(loom)]
pub use loom_memory::{Memory, Region, Word32, Word64, WordArray};

pub use heap::Heap;

use core::ptr::NonNull;

/// Memory that a [`Memory`] can be laid over.
///
/// # Safety
///
/// The implementor promises, for as long as the value lives:
///
/// * `base()` always returns the same pointer, aligned to [`BASE_ALIGN`];
/// * `base()..base() + len()` is mapped, readable and writable, and belongs to one
///   allocation or mapping of at most `isize::MAX` bytes;
/// * inside this process nothing reads or writes those bytes but through
///   [`Memory`]. (Other processes may do anything.)
#[allow(unsafe_code, reason = "declares the contract; implementors prove it")]
pub unsafe trait Storage: Send + Sync {
    /// The first byte.
    fn base(&self) -> NonNull<u8>;
    /// The number of bytes.
    fn len(&self) -> usize;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Alignment of every backing, in bytes: hot words sit on 128-byte lines of their
/// own, since x86 fetches pairs of 64-byte lines and some AArch64 cores have
/// 128-byte ones (the figure is crossbeam's `CachePadded`'s).
pub const BASE_ALIGN: usize = 128;

/// An offset or length does not lie inside the memory, or is not aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at offset {at} do not fit the memory or its alignment")]
pub struct OutOfBounds {
    /// Offset asked for, in bytes.
    pub at: u64,
    /// Length asked for, in bytes.
    pub len: u64,
}

/// Checks that `at..at + len` lies inside `size` bytes and `at` is aligned.
fn check(size: usize, at: u64, len: u64, align: u64) -> Result<usize, OutOfBounds> {
    let fits = at.checked_add(len).is_some_and(|end| end <= size as u64);
    if fits && at.is_multiple_of(align) {
        usize::try_from(at).map_err(|_| OutOfBounds { at, len })
    } else {
        Err(OutOfBounds { at, len })
    }
}
