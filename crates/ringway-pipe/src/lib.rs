//! Two-ended pipes between processes, over shared-memory byte rings.
//!
//! A pipe has two ends. [`duplex`] makes one on which both ends send and receive,
//! [`simplex`] a receiver and a sender. Messages keep their boundaries and may be of any
//! size. Each end is used by one process at a time: the first that sends or receives on
//! it. When the last holder of an end is gone, by `close`, exit or SIGKILL, the other end
//! gets the complete messages and then end of file.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut receiver, mut sender) = ringway_pipe::simplex::<String>()?;
//! sender.send(&"hello".into())?;
//! drop(sender);
//! assert_eq!(receiver.recv()?, "hello");
//! assert!(matches!(receiver.recv(), Err(ringway_pipe::RecvError::Eof)));
//! # Ok(())
//! # }
//! ```
//!
//! Small messages go fastest in batches ([`Sender::send_many`], [`Receiver::recv_many`], also
//! on ends that threads [share](Sender::into_shared)), large ones where they lie in the ring
//! ([`Sender::reserve`], [`Receiver::recv_ref`]; see [`grant`]).
//!
//! To give an end to another process see the `ringway` crate.

mod builder;
mod connection;
mod end;
mod error;
pub mod grant;
mod half;
mod handover;
mod layout;
mod many;
mod named;
mod recv;
mod send;
mod shared;
mod shared_many;
mod until;
mod user;
mod waitable;

pub use builder::{Builder, DEFAULT_CAPACITY, SMALLEST_CAPACITY};
pub use connection::Connection;
pub use error::{OpenError, RangeError, RecvError, SendError, SendManyError};
pub use grant::{ReadGrant, WriteGrant};
pub use half::{Receiver, Sender};
pub use ringway_codec::{Codec, DecodeError, EncodeError, Pod, Postcard, Raw};
pub use ringway_core::Error;
pub use ringway_core::wait::WaitPolicy;
pub use shared::{SharedConnection, SharedReceiver, SharedSender};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A two-way pipe with the default options: 64 KiB in each direction, any serde type.
///
/// # Errors
///
/// [`Error::Os`] when memory or descriptors run out.
pub fn duplex<T: Serialize + DeserializeOwned>() -> Result<(Connection<T>, Connection<T>), Error> {
    Builder::new().duplex()
}

/// A one-way pipe with the default options: 64 KiB, any serde type. The receiver comes
/// first, as from Python's `Pipe(False)`.
///
/// # Errors
///
/// [`Error::Os`] when memory or descriptors run out.
pub fn simplex<T: Serialize + DeserializeOwned>() -> Result<(Receiver<T>, Sender<T>), Error> {
    Builder::new().simplex()
}
