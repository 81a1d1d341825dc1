//! A normal exit publishes what was accepted.
//!
//! `exit` and a return from `main` run this; `_exit`, `abort` and signals do not. The
//! feeders run on until the process is gone, so all there is to do is to wait for them.
#![allow(unsafe_code, reason = "atexit")]

use crate::local;
use ringway_core::process::global;
use std::sync::Once;

/// Makes the process wait for its feeders when it exits. Called before the first item is
/// accepted.
pub(crate) fn flush_at_exit() {
    static REGISTERED: Once = Once::new();
    if REGISTERED.is_completed() {
        return;
    }
    // Under the lock that fork waits for: a child never inherits it half done.
    let _fork_waits = global::lock();
    REGISTERED.call_once(|| {
        // SAFETY: the handler is a plain function that lives for ever and takes nothing.
        // If it cannot be registered, an exit does not wait: no memory, no promise.
        let _ = unsafe { libc::atexit(flush_all) };
    });
}

/// Runs in the thread that exits, after the destructors of its thread-locals, while all
/// other threads still run.
extern "C" fn flush_all() {
    for overflow in local::all() {
        overflow.flush(true);
    }
}
