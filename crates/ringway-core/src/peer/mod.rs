//! Peers: who else uses a segment, and what happens when they go.

mod watch;

pub(crate) use watch::Watcher;
pub use watch::{Watch, Watched, spawn_quiet, watch};
