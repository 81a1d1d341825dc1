//! The system's futex on words of the segment.
//!
//! Always shared: `FUTEX_PRIVATE_FLAG` would key the queue by address space, and a
//! peer's wake would never arrive.

use super::Deadline;
use crate::memory::Word32;
use core::num::NonZeroU32;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Wait, WaitFlags};

/// The most words that the system lets one thread sleep on.
const WAITV_MAX: usize = 128;

/// Why a sleep ended. Spurious ends count as `Notified`: callers look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Woken, or the word had changed already.
    Notified,
    /// A signal handler ran.
    Interrupted,
    /// The deadline passed.
    TimedOut,
}

/// Sleeps while `word` is `seen`.
pub(crate) fn sleep(word: &Word32, seen: u32, until: Deadline) -> Woken {
    let everyone = NonZeroU32::MAX;
    let flags = Flags::empty();
    outcome(futex::wait_bitset(word, flags, seen, until.as_timespec(), everyone).map(drop))
}

/// Wakes at most `count` sleepers; says how many.
pub(crate) fn wake(word: &Word32, count: u32) -> usize {
    // The system reads the count as a signed number.
    let count = count.min(i32::MAX as u32);
    // The word is mapped and aligned, so nothing but a filter can refuse this call.
    // Then nobody was woken, which is what 0 says.
    futex::wake(word, Flags::empty(), count).unwrap_or(0)
}

/// Sleeps while every word is what was seen there. More words than the system takes
/// at once (128), or a system without `futex_waitv` (before Linux 5.16, or refused
/// by a filter), give `None`: the caller polls instead.
pub(crate) fn sleep_any(words: &[(&Word32, u32)], until: Deadline) -> Option<Woken> {
    if words.is_empty() || words.len() > WAITV_MAX {
        return None;
    }
    let waiters: Vec<Wait> = words
        .iter()
        .map(|(word, seen)| {
            let mut wait = Wait::new();
            let address: *const crate::sync::AtomicU32 = &raw const ***word;
            wait.uaddr = futex::WaitPtr::new(address.cast_mut().cast());
            wait.val = u64::from(*seen);
            // No PRIVATE here either.
            wait.flags = WaitFlags::SIZE_U32;
            wait
        })
        .collect();
    let clock = rustix::thread::futex::ClockId::Monotonic;
    let none = futex::WaitvFlags::empty();
    match futex::waitv(&waiters, none, until.as_timespec(), clock) {
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => None,
        other => Some(outcome(other.map(drop))),
    }
}

fn outcome(slept: Result<(), Errno>) -> Woken {
    match slept {
        Err(Errno::INTR) => Woken::Interrupted,
        Err(Errno::TIMEDOUT) => Woken::TimedOut,
        Ok(()) | Err(Errno::AGAIN) => Woken::Notified,
        // A filter refused the call: yield, so that the caller's loop stays polite.
        Err(_) => {
            std::thread::sleep(std::time::Duration::from_millis(1));
            Woken::Notified
        }
    }
}
