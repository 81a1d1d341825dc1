//! Fork without exec: handles are copied, locks and threads are not.
//!
//! A handle remembers the [`generation`] it was used in. In a forked child the
//! number differs, and the handle's slow path attaches anew. Three handlers, run by
//! the C library's `fork`, keep the process-wide state whole: no other thread is
//! amidst changing it when the copy is taken, counts of holders go up before it, and the
//! child gives back its parent's locks. A raw `clone` runs no handlers: then the handles' checks do not fire, and
//! using one in the child is an error that only the kernel's locks catch. Children
//! made by `Command` or `posix_spawn` exec at once, which closes everything.
#![allow(unsafe_code, reason = "pthread_atfork and a cell that only the forking thread touches")]

use super::global::{self, Global};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{MutexGuard, Once};

/// Starts at 1, so that 0 can mean "never".
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// How many forks lie between the first process and this one, plus one. Changes only
/// in a forked child, before it runs any code of its own.
#[inline]
pub fn generation() -> u64 {
    // Relaxed: written by the only thread of a fresh child, before it starts others.
    GENERATION.load(Relaxed)
}

/// The locks, kept while fork copies the process.
struct Held(UnsafeCell<Option<Locks>>);

/// Dropped in this order.
struct Locks {
    global: MutexGuard<'static, Global>,
    _no_fork: MutexGuard<'static, ()>,
}

// SAFETY: touched only by the handlers below. The one that fills it holds the state's
// lock from then on, and only the same thread (in parent or child) empties it; a
// second fork blocks on that lock before it could touch the cell.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

/// Installs the handlers. Called before the first segment exists.
pub(crate) fn install_handlers() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the three are plain functions that live for ever. Should memory run
        // out they are not installed, and a forked child's uses meet the kernel's locks.
        let _ = unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
    });
}

extern "C" fn before() {
    let no_fork = global::no_fork();
    let global = global::lock();
    global.before_fork();
    // SAFETY: see `Sync for Held`: the locks just taken make this thread the only one.
    let held = unsafe { &mut *HELD.0.get() };
    *held = Some(Locks { global, _no_fork: no_fork });
}

extern "C" fn parent() {
    // SAFETY: see `Sync for Held`: this thread still holds the lock.
    let held = unsafe { &mut *HELD.0.get() };
    drop(held.take());
}

extern "C" fn child() {
    // Relaxed: there is no other thread yet.
    GENERATION.fetch_add(1, Relaxed);
    // SAFETY: see `Sync for Held`: this thread held the lock when it was copied.
    let held = unsafe { &mut *HELD.0.get() };
    if let Some(locks) = &*held {
        locks.global.after_fork();
    }
    drop(held.take());
}
