//! The block pool: room for messages that are longer than a slot.
//!
//! ```text
//! slot            owner words (one per block)       blocks
//! ┌──────────┐    ┌────────────┬──────┐             ┌──────┐
//! │ first  ──┼──→ │ gen, owner │ next ┼──┐          │ ...  │
//! │ len      │    ├────────────┼──────┤  │          ├──────┤
//! │ owner    │    │ gen, owner │  0   │ ←┘          │ ...  │
//! └──────────┘    └────────────┴──────┘             └──────┘
//! ```
//!
//! # The only truth
//!
//! Each block has one owner word, `generation:40 | owner:24`; owner 0 is free. Taking a
//! block is one CAS from a free word to one with the taker's participant number and the
//! next generation; giving it back is a CAS from that exact word. There is no instant at
//! which a block is neither free nor somebody's, and no list of free blocks that a death
//! could break. Where a search begins (`Pool::cursors`) is a private hint.
//!
//! A message in blocks is a chain: the slot names the first block, each block's link word
//! the next one, each with its generation. The blocks stay the putter's while the message
//! waits, so queueing costs no store per block. The getter gives them back, last first:
//! whoever finds a chain half given back, because the getter died, finds its head intact.
//!
//! # Repair
//!
//! At any instant a block is free, or somebody's and named by a slot or a lease record, or
//! somebody's and in that one's hands. Only a death orphans the last kind. Whoever repairs
//! the death of `d` marks what slots and then lease records name, and frees what is `d`'s
//! and not marked (`mpmc::sweep_blocks`): mark and sweep. The dead names nothing new and
//! the living only move a message from a slot to a lease record, never back, writing the
//! record first; hence the order. Every free is a CAS from an exact word: repair may be
//! killed anywhere, run beside live traffic and be started over.
//!
//! # Sizes and fragmentation
//!
//! Blocks come in four classes: small (a power of two just above a slot's room, at least
//! 256 bytes), quad (four small), medium (four quad) and large (eight medium). Half of the pool is
//! large blocks, an eighth medium, an eighth quad, the rest small. If there may be a medium block
//! or a longer one for each place of the ring, or two quad ones and four more, messages of such a
//! length are to be expected: the longest class of which that is so has what the shorter ones leave,
//! longer ones have none, and shorter ones no more than the ends of as many messages take as may wait
//! or be granted.
//!
//! A message takes large blocks first, then medium, quad, small, and the last one of a
//! class as soon as it would fill half of it. So
//!
//! * no hole is lost: blocks of a chain need not be neighbours, and where one class is
//!   used up others take its place. A message fits exactly if the free blocks together
//!   hold it; the largest is the whole pool ([`PoolGeometry::bytes`]);
//! * a message takes at most twice its length, or one small block, as long as the class
//!   that it asks for has a free block; beyond that at most one block more than it fills.
//!
//! A pool that holds only messages just longer than a slot is used worst: it has as many
//! places as it has blocks.
//!
//! # Recently used first
//!
//! A search looks at the first blocks of its class before it goes on where the last one
//! ended. As long as getters keep up, the same few blocks are used again and again, and
//! stay in the processors' caches. Longer messages that go through the cache are the exception
//! ([`Stores`](crate::memory::Stores)): what the last getter read lies in its own cache, from
//! where the putter would have to fetch it, so the larger blocks are taken in turn.
//!
//! # Hostile words
//!
//! Numbers of blocks are checked against the private geometry, a length against the size
//! of the pool; a chain is followed only as long as each owner word is the exact one that
//! its link promised, and no longer than its length needs. Anything else is `Corrupted`,
//! before a buffer is allocated.

mod chain;
mod copies;
mod layout;
mod pool;
mod word;

pub(crate) use chain::{Blocks, Chain};
pub use layout::PoolGeometry;
pub(crate) use pool::{Marks, Pool, Walk};
pub(crate) use word::Descriptor;
