//! What this process holds, and what fork does to it.
//!
//! * [`generation`] tells a handle that it was copied by fork.
//! * [`Copies`] counts holders of what a fork copies.
//! * [`LockFile`] is the kernel's proof of life: an open-file-description lock.
//! * `exiting` is the early proof of death.
//! * [`global`] is the only process-wide state.

mod copies;
mod exiting;
mod fork;
pub mod global;
mod lock;

pub use copies::{Copies, about_to_exec};
pub(crate) use exiting::exiting;
pub use exiting::own_identity;
pub use fork::generation;
pub(crate) use fork::install_handlers;
pub use lock::{LockFile, any_lock, reopen};
