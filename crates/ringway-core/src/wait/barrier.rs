//! The asymmetric fence: the sleeper pays, the busy side does not.
//!
//! A producer that publishes with a plain store and then looks whether someone
//! sleeps needs a full fence between the two, on every message. It costs 5 to 10 ns
//! here, more than the message itself. `membarrier(GLOBAL_EXPEDITED)` lets the
//! sleeper run that fence on behalf of every running thread of every *registered*
//! process: 0.5 us with an idle peer, 11 to 14 us with a busy one, and the sleeper
//! has time.
//!
//! It says nothing about unregistered processes and does not complain about them.
//! So every process registers itself before it becomes a possible waker and says in
//! the segment whether that worked. A sleeper relies on the barrier only if all its
//! possible wakers are registered; else its first sleeps are short, and it looks
//! again after each: by then the store buffers of any processor have long drained.

use crate::sync::fence;

/// The busy side's half: keeps the compiler from moving the look at the sleeper bit
/// before the publishing store. No instruction. Under loom, which knows no
/// membarrier, both halves are full fences; litmus tests cover the real ones.
#[inline]
pub fn light() {
    // ORDERING membarrier (release to the kernel): the kernel's interrupt finds the store
    // before it in order, or the look behind it not yet made.
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    #[cfg(loom)]
    fence(crate::sync::Ordering::SeqCst);
}

/// The sleeper's half: a full fence here and in every running thread of every
/// registered process. `false` if the system refused: then sleep shortly first.
pub fn heavy() -> bool {
    // ORDERING membarrier (SeqCst): the sleeper's announcement stays before the barrier, its
    // second look behind it.
    fence(crate::sync::Ordering::SeqCst);
    #[cfg(not(loom))]
    {
        use rustix::thread::{MembarrierCommand, membarrier};
        registered() && membarrier(MembarrierCommand::GlobalExpedited).is_ok()
    }
    #[cfg(loom)]
    true
}

/// Registers this process as one that others' [`heavy`] reaches; says whether it is.
/// One syscall per process: a forked child registers anew, whatever fork copied.
pub fn registered() -> bool {
    #[cfg(not(loom))]
    {
        use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
        use rustix::thread::{MembarrierCommand, membarrier};
        // Fork generation of the answer, shifted up, and the answer in bit 0. Relaxed:
        // the word stands for itself, and asking twice does no harm.
        static ANSWER: AtomicU64 = AtomicU64::new(0);
        let generation = crate::process::generation();
        let known = ANSWER.load(Relaxed);
        if known >> 1 == generation {
            return known & 1 == 1;
        }
        let now = membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok();
        ANSWER.store(generation << 1 | u64::from(now), Relaxed);
        now
    }
    #[cfg(loom)]
    true
}
