//! What this process holds, and what fork does to it.
//!
//! * [`generation`] tells a handle that it was copied by fork.
//! * [`LockFile`] is the kernel's proof of life: an open-file-description lock.
//! * [`global`] is the only process-wide state.

mod fork;
pub mod global;
mod lock;

pub use fork::generation;
pub(crate) use fork::install_handlers;
pub use lock::LockFile;
pub use lock::reopen;
