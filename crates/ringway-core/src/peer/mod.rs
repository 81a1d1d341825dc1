//! Peers: who else uses a segment, and what happens when they go.

mod actor;
pub mod guardian;
mod liveness;
mod participant;
mod takes;
mod watch;

pub(crate) use actor::Committed;
pub use actor::{Actor, Actors};
pub use liveness::Liveness;
pub use participant::{Identity, Participants, Standing};
pub(crate) use participant::{Live, TaskCount, UPDATES};
pub(crate) use takes::Take;
pub use watch::{Watch, Watched, spawn_quiet, watch, watch_process};
pub(crate) use watch::{Watcher, spawn_quiet_as};
