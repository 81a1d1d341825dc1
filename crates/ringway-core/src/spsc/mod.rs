//! The single-producer single-consumer byte ring: framed messages of any size.
//!
//! ```text
//!              read_pos                     write_pos
//!                 |                             |
//!   ... released  | header payload header pay.. |  free ...        (mod capacity)
//! ```
//!
//! Two ever-growing byte positions, each written by one side alone. The producer copies
//! a chunk in and publishes it with one release store of its header; the consumer, which
//! looks at the header where the next chunk will be, copies it out and releases it with
//! one release store of `read_pos`. `write_pos` is noted down for the next producer only.
//! Nothing else is shared on the way, so there is nothing to repair: a side killed before
//! its store has done nothing, one killed after it has done everything.
//!
//! Each side keeps its own position in private memory; the producer also a cached copy of
//! the consumer's, re-read only when it does not suffice. What is shared is input: a
//! position outside `0..=capacity` of the private one, or a header that is not the next
//! one, is [`Corrupted`], never followed.
//!
//! A message of up to a quarter of the ring is one chunk, visible whole or not at all.
//! A longer one is streamed in several, so that both sides copy at the same time and
//! the ring stays in cache.
//!
//! Several messages can be written, or read, under one store ([`Writing`], [`Reading`]): the
//! commit of a batch.
//!
//! The cached position is after the well-known rtrb, looking at the record and not at a
//! position after FastForward and Agrona; the framing is our own.

mod chunk;
mod consumer;
mod fetch;
mod grant;
mod layout;
mod many;
mod producer;

pub use chunk::{Head, Piece};
pub use consumer::Consumer;
pub use grant::Payload;
pub use layout::{CONTROL_LEN, Direction, LARGEST_CAPACITY, SMALLEST_CAPACITY, check_capacity};
pub use many::{Reading, Writing};
pub use producer::{Producer, PushError};

/// The ring's bytes make no sense. The handle that saw it must not be used further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupted(pub &'static str);
