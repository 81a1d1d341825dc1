//! Peers that move messages of bytes between two processes.

mod eventfd;
mod iceoryx;
mod ipc_channel;
mod ipmpsc;
mod local_socket;
mod posix_mq;
mod shmem;

pub use eventfd::EventfdRing;
pub use iceoryx::Iceoryx;
pub use ipc_channel::IpcChannel;
pub use ipmpsc::Ipmpsc;
pub use local_socket::LocalSocket;
pub use posix_mq::{Mq, PosixMq, open as posix_open};
pub use shmem::ShmemIpc;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other object of any process has.
pub fn fresh_name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("ringway-compare-{what}-{}-{number}", std::process::id())
}
