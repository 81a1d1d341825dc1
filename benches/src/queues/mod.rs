//! The queues that are compared.

mod bare;
mod batches;
mod lock_based;
mod os_pipe;
mod ringway;

pub use bare::{Announced, Bare, Plain};
pub use batches::RingwayBatches;
pub use lock_based::LockBased;
pub use os_pipe::PipeQueue;
pub use ringway::RingwayQueue;
