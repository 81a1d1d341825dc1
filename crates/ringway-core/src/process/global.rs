//! The process-wide state, behind one lock that fork knows about.
//!
//! The lock is held for a few instructions at a time and never while calling out.

use super::copies::Counted;
use super::lock;
use crate::peer::guardian::{DeathHook, Guardian, Settings};
use crate::peer::{Identity, Watcher};
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::RawFd;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, Weak};

/// Identity of a segment: device, inode, and the header's nonce.
pub type SegmentKey = (u64, u64, u64);

/// Everything that is one per process.
#[derive(Default)]
pub struct Global {
    /// Descriptors whose descriptions hold locks. A forked child must let go of them.
    pub(super) lock_fds: Vec<RawFd>,
    /// Counts of holders that a fork raises, by number.
    pub(super) counted: BTreeMap<u64, Counted>,
    pub(super) next_counted: u64,
    /// This process's attachments. An entry whose value is gone is removed by whoever
    /// meets it.
    pub attachments: HashMap<SegmentKey, Weak<dyn Any + Send + Sync>>,
    /// The watcher thread, if one was started in this process or a forebear.
    pub(crate) watcher: Option<Watcher>,
    /// The guardian thread, likewise.
    pub(crate) guardian: Option<Guardian>,
    /// What the program chose, if it did.
    pub(crate) settings: Option<Settings>,
    /// Who this process, or a forebear in that fork generation, is.
    pub(super) identity: Option<(u64, Identity)>,
    /// Whom to tell of deaths.
    pub(crate) death_hook: Option<DeathHook>,
}

static GLOBAL: LazyLock<Mutex<Global>> = LazyLock::new(Mutex::default);
static NO_FORK: Mutex<()> = Mutex::new(());

/// Keeps `fork` waiting until the guard is dropped. Whoever holds a lock of a handle's
/// holds this around it: a child copied in between would find that lock taken by a
/// thread it does not have. Taken before every other lock, by one caller at a time, and
/// only for a few system calls; never on the way of a message.
pub fn no_fork() -> MutexGuard<'static, ()> {
    NO_FORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the state. A panic elsewhere while it was locked does not matter: every
/// change of it is a single call.
pub fn lock() -> MutexGuard<'static, Global> {
    GLOBAL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Global {
    /// Runs before a fork, in the process that is copied.
    pub(super) fn before_fork(&self) {
        self.counted.values().for_each(Counted::raise);
    }

    /// Runs in a forked child that is about to exec.
    pub(super) fn before_exec(&self) {
        self.counted.values().for_each(Counted::lower);
    }

    /// Runs in a forked child, while it has one thread. Makes system calls only:
    /// another thread of the parent may have held the allocator's lock.
    pub(super) fn after_fork(&self) {
        for fd in &self.lock_fds {
            lock::renew_description(*fd);
        }
    }
}
