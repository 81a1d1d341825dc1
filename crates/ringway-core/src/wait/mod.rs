//! Sleeping until another process changes something, and waking it.
//!
//! * [`Deadline`]: a moment of the monotonic clock that bounds a whole call.
//! * [`Event`]: an eventcount in the segment; says how no wake-up is lost.
//! * [`barrier`]: lets the sleeper pay for the fence that the busy side saves.
//! * [`WaitPolicy`] and [`Spinner`]: how long to look before sleeping.
//! * [`wait_any`]: the first of several.
//! * [`park`]: all of these together, for publishers that use plain stores.
//!
//! This module never reads payload.

mod any;
pub mod barrier;
mod deadline;
mod event;
#[cfg(not(any(loom, miri)))]
mod futex;
#[cfg(miri)]
#[path = "futex_miri.rs"]
mod futex;
#[cfg(loom)]
#[path = "futex_loom.rs"]
mod futex;
mod park;
mod policy;

pub use any::{Waitable, wait_any};
pub use deadline::Deadline;
pub use event::{Event, Ticket};
pub use futex::Woken;
pub(crate) use futex::{sleep, sleep_any, wake};
pub use park::{Parked, Waker, park};
pub use policy::{Spinner, WaitPolicy};
