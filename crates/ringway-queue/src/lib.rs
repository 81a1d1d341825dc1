//! Queues between processes, over a lock-free ring in shared memory.
//!
//! * [`Queue`]: bounded or not, any number of putters and getters.
//! * [`JoinableQueue`]: also knows which items are not done.
//! * [`SimpleQueue`]: put, get, close.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ringway_queue::Queue;
//! use std::time::Duration;
//!
//! let queue = Queue::<(u32, String)>::bounded(10)?;
//! let clone = queue.clone();
//! std::thread::spawn(move || clone.put((1, "one".into())));
//! assert_eq!(queue.get_timeout(Duration::from_secs(10))?.1, "one");
//! # Ok(())
//! # }
//! ```
//!
//! Items may be of any length up to the queue's memory for them
//! ([`Builder::pool_size`]); items of bytes and plain old data can be written and read
//! [in place](grants).
//!
//! To give a queue to another process see the `ringway` crate. Any process may be killed
//! at any time; see [`Queue`] for what the others can rely on.

mod builder;
mod error;
mod exit;
pub mod grants;
mod handover;
mod inner;
mod joinable;
mod local;
mod long;
mod many;
mod overflow;
mod parking;
mod queue;
mod read_grant;
mod scratch;
mod shape;
mod simple;
mod until;
mod waitable;

pub use builder::{Builder, DEFAULT_POOL_SIZE, DEFAULT_RING_LEN, DEFAULT_SLOT_SIZE};
pub use error::{
    GetError, JoinError, JoinThreadError, OpenError, PutError, PutManyError, PutReason,
    ShutDownError, TaskDoneError,
};
pub use grants::{RangeError, WriteGrant};
pub use joinable::JoinableQueue;
pub use queue::Queue;
pub use read_grant::ReadGrant;
pub use ringway_codec::{Codec, DecodeError, EncodeError, Pod, Postcard, Raw};
pub use ringway_core::Error;
pub use ringway_core::mpmc::Stats;
pub use ringway_core::peer::guardian::WatchMode;
pub use ringway_core::wait::WaitPolicy;
pub use simple::SimpleQueue;
