//! Peers: who else uses a segment, and what happens when they go.

mod actor;
mod liveness;
mod participant;
mod watch;

pub(crate) use actor::Committed;
pub use actor::{Actor, Actors};
pub use liveness::Liveness;
pub(crate) use participant::TaskCount;
pub use participant::{Identity, Participants, Standing};
pub(crate) use watch::Watcher;
pub use watch::{Watch, Watched, spawn_quiet, watch};
