//! The process-wide state, behind one lock that fork knows about.
//!
//! The lock is held for a few instructions at a time and never while calling out.

use super::lock;
use crate::peer::Watcher;
use std::any::Any;
use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, Weak};

/// Identity of a segment: device, inode, and the header's nonce.
pub type SegmentKey = (u64, u64, u64);

/// Everything that is one per process.
#[derive(Default)]
pub struct Global {
    /// Descriptors whose descriptions hold locks. A forked child must let go of them.
    pub(super) lock_fds: Vec<RawFd>,
    /// This process's attachments. An entry whose value is gone is removed by whoever
    /// meets it.
    pub attachments: HashMap<SegmentKey, Weak<dyn Any + Send + Sync>>,
    /// The watcher thread, if one was started in this process or a forebear.
    pub(crate) watcher: Option<Watcher>,
}

static GLOBAL: LazyLock<Mutex<Global>> = LazyLock::new(Mutex::default);

/// Locks the state. A panic elsewhere while it was locked does not matter: every
/// change of it is a single call.
pub fn lock() -> MutexGuard<'static, Global> {
    GLOBAL.lock().unwrap_or_else(PoisonError::into_inner)
}

static LOOKING: Mutex<()> = Mutex::new(());

/// Held by the watcher thread while it looks at one target, whose locks it then may
/// hold, and by a thread that forks: a child must not inherit a lock that only its
/// parent's watcher would open. Taken before [`lock`], never after it.
pub(crate) fn looking() -> MutexGuard<'static, ()> {
    LOOKING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Global {
    /// Runs in a forked child, while it has one thread. Makes system calls only:
    /// another thread of the parent may have held the allocator's lock.
    pub(super) fn after_fork(&self) {
        for fd in &self.lock_fds {
            lock::renew_description(*fd);
        }
    }
}
