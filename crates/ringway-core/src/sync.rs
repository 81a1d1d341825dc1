//! Atomics: the real ones, or loom's under `--cfg loom`.
//!
//! Every module of this crate imports them from here and nowhere else, so that
//! the code that loom explores is the code that runs.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
mod loom_sync;
#[cfg(loom)]
pub use loom_sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// Tells the processor (or loom) that the caller spins on another party's store.
#[inline]
pub fn spin_hint() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
