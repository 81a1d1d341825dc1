//! Peers that are queues of items between any number of processes.

mod posix_mq;
mod robust;

pub use posix_mq::MqQueue;
pub use robust::RobustQueue;
