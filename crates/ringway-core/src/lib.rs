//! The engine of Ringway: shared-memory segments, rings, waiting and liveness.
//!
//! Follow a byte: [`segment`] → [`memory`] → rings → [`wait`] → the queue and pipe
//! crates. Users add the `ringway` crate, not this one.

pub mod blocks;
pub mod error;
pub mod handover;
pub mod memory;
pub mod mpmc;
pub mod peer;
pub mod process;
pub mod segment;
pub mod spsc;
pub mod sync;
pub mod wait;

pub use error::{Error, Result};
