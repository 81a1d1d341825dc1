//! The ring of slots: many putters, many getters, and any of them may be killed.
//!
//! # Follow a message
//!
//! ```text
//! put:  t = enqueue_pos; slot(t) is EMPTY of t's lap?     get:  h = dequeue_pos; slot(h) is FULL of h's lap?
//!       announce PUT(t)          plain store                    announce GET(h)          plain store
//!       enqueue_pos: t → t+1     CAS, the claim                 dequeue_pos: h → h+1     CAS, the claim
//!       write meta and payload                                  copy meta and payload out
//!       slot.state = FULL        COMMIT                         slot.state = EMPTY of the next lap   COMMIT
//!       wake a getter, if any sleeps                            wake a putter, if any sleeps
//! ```
//!
//! A ring without announcements dies with its claimant: nobody can tell who claimed a
//! slot and fell. With them, a survivor that has *proof* of the death finds every
//! position the dead may have claimed, and finishes or undoes it ([`Ring::recover`]).
//!
//! # Layers
//!
//! * [`Options`], [`Geometry`]: what lies where. [`Positions`]: arithmetic of positions.
//! * [`Ring`]: the algorithm over any [`Memory`](crate::memory::Memory). Makes no
//!   syscall but to wake sleepers; knows nothing of processes and locks. Death is told
//!   to it through [`Liveness`](crate::peer::Liveness).
//! * [`SharedRing`]: a ring in a segment, its process attached as a participant, with
//!   blocking calls, repair and fork handled. `Send + Sync + Clone`; what queues are
//!   built on.
//!
//! # Commit points
//!
//! A put is committed by its FULL store, a get by its EMPTY store. Killed before, it
//! never happened: a claimed position becomes a TOMB that getters skip; a claimed
//! message is marked REDELIVER and goes to another getter, once.
//!
//! # The interface in short
//!
//! ```text
//! SharedRing::create(Place, &Options, signature) -> Result<SharedRing>
//! SharedRing::open(Segment, signature)           -> Result<SharedRing>
//! ring.share()                                   -> Result<OwnedFd>      to hand on
//! ring.try_put(&[u8])                            -> Result<(), PutError>
//! ring.put(&[u8], &mut Spinner, Deadline)        -> Result<(), PutError>
//! ring.try_get(&mut [u8])                        -> Result<usize, GetError>
//! ring.get(&mut [u8], &mut Spinner, Deadline)    -> Result<usize, GetError>
//! ring.try_put_many(&Batch, from)                -> Result<usize, PutError>
//! ring.put_many(&Batch, from, &mut Spinner, Deadline)
//! ring.try_get_many(max, &mut Batch, tasks)      -> Result<usize, GetError>
//! ring.get_many(max, &mut Batch, tasks, &mut Spinner, Deadline)
//! ring.try_reserve(len)                          -> Result<WriteGrant, PutError>   try_commit, commit
//! ring.reserve(len, &mut Spinner, Deadline)
//! ring.try_get_ref()                             -> Result<ReadGrant, GetError>    read_at, release
//! ring.get_ref(&mut Spinner, Deadline)
//! Incoming::receive(&mut Vec<u8>, &mut Spinner, Deadline, pace) -> Result<bool, GetError>
//! ring.capacity(), payload_size(), max_message(), len(), is_empty(), is_full()
//! ring.shutdown(immediate)
//! ring.watch_mode(), stats(), set_guarded(bool), repair()
//! PutError: Full | NoMemory | WouldStream | Contended | Interrupted | ShutDown | TooLong | Corrupted
//!           | Poisoned | Attach(Error)
//! GetError: Empty | Long | Stream | Streamed | Contended | Interrupted | ShutDown | Corrupted
//!           | Poisoned | Attach(Error)
//! ```
//!
//! A get copies at most `buffer.len()` bytes of a message in a slot and returns the length
//! of the message, which is consumed; with a buffer of `payload_size()` bytes nothing is
//! ever cut. A longer message is in [blocks](crate::blocks): it comes whole, or as a
//! [`ReadGrant`] if the buffer does not hold it.
//!
//! One that is longer than the pool is a [stream](Incoming): its put returns when a getter
//! has it.
//!
//! Nothing that can allocate, panic or run a caller's code stands between claim and
//! commit: encode before a put, decode after a get.

mod attachment;
mod batch;
mod blocking;
mod blocking_many;
mod contents;
mod cover;
mod feed;
mod get;
mod grants;
mod keeper;
mod kept;
pub(crate) mod layout;
mod leases;
mod lend;
mod long;
mod many;
mod own_actors;
mod position;
mod put;
mod quick;
mod quick_many;
mod read_grant;
mod readiness;
mod recover;
mod ring;
mod shared;
mod slot;
mod spans;
mod stream;
mod stream_get;
mod stream_put;
mod streaming;
mod sweep_blocks;
mod tasks;
mod word;

pub use batch::Batch;
pub use blocking::{GetError, PutError};
pub use get::TryGet;
pub use grants::WriteGrant;
pub use keeper::Stats;
pub use layout::{Geometry, Options};
pub use long::Place;
pub use position::{MAX_SLOTS, Positions};
pub use put::TryPut;
pub use quick::QuickGet;
pub use read_grant::ReadGrant;
pub use recover::Recovery;
pub use ring::Ring;
pub use shared::SharedRing;
pub use stream::LONGEST_STREAM;
#[doc(hidden)]
pub use stream_get::{Got, Taking};
#[doc(hidden)]
pub use stream_put::{Outgoing, Wrote};
pub use streaming::Incoming;
pub use tasks::TaskError;
pub use word::{Announcement, MAX_PARTICIPANTS, Meta, Phase, State};

#[cfg(all(test, not(loom)))]
mod tests;
