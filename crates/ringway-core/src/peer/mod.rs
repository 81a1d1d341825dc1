//! Peers: who else uses a segment, and what happens when they go.

mod actor;
pub mod guardian;
mod liveness;
mod participant;
mod quiet;
mod takes;
mod watch;

pub(crate) use actor::Committed;
pub use actor::{Actor, Actors};
pub use liveness::Liveness;
pub use participant::{Identity, Participants, Standing};
pub(crate) use participant::{Live, TaskCount, UPDATES};
pub use quiet::spawn_quiet;
pub(crate) use quiet::spawn_quiet_as;
pub(crate) use takes::Take;
pub(crate) use watch::Watcher;
pub use watch::{Watch, Watched, watch, watch_process};
