//! What takes the futex's place under Miri, which has none in the form that the system's is
//! called here: nobody sleeps. A sleep may return early for no reason, so that is one.

use super::Deadline;
use crate::memory::Word32;

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Woken, or the word had changed already.
    Notified,
    /// A signal handler ran: not here.
    Interrupted,
    /// The deadline passed.
    TimedOut,
}

/// Lets another thread run.
pub(crate) fn sleep(_word: &Word32, _seen: u32, until: Deadline) -> Woken {
    std::thread::yield_now();
    if until.passed() { Woken::TimedOut } else { Woken::Notified }
}

/// Nobody sleeps.
pub(crate) fn wake(_word: &Word32, _count: u32) -> usize {
    0
}

/// As on a system without `futex_waitv`: the caller polls.
pub(crate) fn sleep_any(_words: &[(&Word32, u32)], _until: Deadline) -> Option<Woken> {
    None
}
