//! How this process hears of the deaths of others, and tells of its own.
//!
//! All of it works without a call: one small thread per process is told by the kernel when
//! a peer of any of its queues dies, proves it, repairs and wakes. What is here turns parts
//! off, or tells the program of it.
//!
//! ```
//! use ringway::liveness::{self, DeathEvent, Settings};
//!
//! fn note(death: &DeathEvent<'_>) {
//!     eprintln!("{death:?}");
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // No /proc to rely on, and somebody wants to know. Before the first queue.
//! liveness::configure(Settings { early_proof: false, ..Settings::default() });
//! liveness::set_death_hook(Some(note));
//!
//! let queue = ringway::queue::Queue::<u32>::bounded(10)?;
//! println!("{:?}", queue.stats());
//! # Ok(())
//! # }
//! ```

pub use ringway_core::peer::guardian::{
    DeathEvent, DeathHook, Proof, Settings, WatchMode, configure, set_death_hook, settings,
};
