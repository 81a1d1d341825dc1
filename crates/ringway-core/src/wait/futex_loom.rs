//! The futex under loom: a mutex and a condition variable beside each word. A wake
//! that never comes shows as a deadlock, as it would on a real machine. A model has no
//! clock: a sleep with a deadline ends at once.

use super::Deadline;
use crate::memory::Word32;
use crate::sync::Ordering::SeqCst;

/// Why a sleep ended.
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
    if until != Deadline::NEVER {
        return Woken::TimedOut;
    }
    let (mutex, condvar) = &*word.queue;
    let guard = mutex.lock().unwrap();
    // The kernel compares under the queue's lock. Reading by an RMW sees the newest
    // value, as the kernel does.
    if word.fetch_add(0, SeqCst) == seen {
        drop(condvar.wait(guard).unwrap());
    }
    Woken::Notified
}

/// Wakes sleepers; says one, as loom does not tell.
pub(crate) fn wake(word: &Word32, count: u32) -> usize {
    let (mutex, condvar) = &*word.queue;
    let guard = mutex.lock().unwrap();
    if count == 1 {
        condvar.notify_one()
    } else {
        condvar.notify_all()
    }
    drop(guard);
    1
}

/// Not modelled.
pub(crate) fn sleep_any(_words: &[(&Word32, u32)], _until: Deadline) -> Option<Woken> {
    None
}
