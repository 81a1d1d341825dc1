//! The ways of moving bytes that are measured.

mod bare_ring;
mod byte_queues;
mod futex_words;
mod ipc_channel;
pub(crate) mod lines;
mod os_pipe;
pub mod ringway;
mod two_lines;
mod two_queues;
mod unix_socket;

#[cfg(target_arch = "x86_64")]
pub use bare_ring::{Ahead, Past};
pub use bare_ring::{BareRing, Plain};
pub use byte_queues::ByteQueues;
pub use futex_words::FutexWords;
pub use ipc_channel::IpcChannel;
pub use os_pipe::{OsPipe, WideOsPipe};
pub use ringway::Ringway;
pub use two_lines::TwoLines;
pub use two_queues::TwoQueues;
pub use unix_socket::UnixSocket;

use crate::Fallible;

/// The number that an 8-byte message is, for the floors, whose words have 32 bits.
#[inline]
fn number(message: &[u8]) -> Fallible<u32> {
    let word = message.try_into().map(u64::from_le_bytes)?;
    Ok(u32::try_from(word)?)
}

/// The 8-byte message that a number is.
#[inline]
fn put_number(message: &mut [u8], number: u32) -> Fallible {
    let place = message.first_chunk_mut::<8>().ok_or("a floor's message has 8 bytes")?;
    *place = u64::from(number).to_le_bytes();
    Ok(())
}
