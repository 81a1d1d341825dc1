//! Telling the program of deaths.

use crate::peer::Identity;
use crate::process::global;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a death was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// The kernel dropped the dead process's lock on the segment.
    Lock,
    /// The kernel marked the participant, and every thread of it is on its way out.
    Early,
}

/// A peer died, and this process has repaired what it left in one ring.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DeathEvent<'a> {
    /// What messages call the segment.
    pub label: &'a str,
    /// The dead peer's record.
    pub participant: u32,
    /// Who it said it was.
    pub identity: Identity,
    /// How that was proven.
    pub proof: Proof,
    /// Positions it had claimed for a put and not filled.
    pub tombs: u64,
    /// Messages it had claimed and not taken, which go to others.
    pub redelivered: u64,
}

/// Whom to tell of a death. Called once per death and ring, in the process that
/// repaired it, on the thread that did, usually the guardian's: be brief, and do not
/// call the ring from it. A panic in it is swallowed.
pub type DeathHook = fn(&DeathEvent<'_>);

/// Sets what is called after each repair in this process; `None` for nothing.
pub fn set_death_hook(hook: Option<DeathHook>) {
    global::lock().death_hook = hook;
}

/// Calls the hook.
pub(crate) fn tell(event: &DeathEvent<'_>) {
    let hook = global::lock().death_hook;
    if let Some(hook) = hook {
        // A guardian that unwinds would be taken for a death by the kernel.
        let _ = catch_unwind(AssertUnwindSafe(|| hook(event)));
    }
}
