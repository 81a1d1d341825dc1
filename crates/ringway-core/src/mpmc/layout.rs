//! What lies where in the segment of a ring.
//!
//! ```text
//! offset              size        what
//! 0                   4096        header page; params: LAYOUT below
//! 4096                128         enqueue_pos u64: SHUTDOWN | IMMEDIATE | position       putters CAS
//! 4224                128         dequeue_pos u64: position, marks u64                   getters CAS
//! 4352                128         not_empty u32: event word getters sleep on
//! 4480                128         not_full u32: event word putters sleep on;
//!                              at 4544 how long getters' copies take (`ReadTimes`)
//! 4608                128         tombs u64: positions ever given up;
//!                              freed u32 at 4672: event word putters sleep on that found no blocks
//! 4736                128         tasks_done u32: event word joiners of a joinable queue sleep on
//!                              changes u32 at 4800: times that anybody joined or left, watched
//! 4864                M × 128     participant records, 1 to M (see `at::participant`)
//! ..                  A × 128     actor records (see `at::actor`)
//! ..                  N × slot    slots: state u64, meta u64, payload; or, where every message
//!                              has one length of up to 8 bytes: state u64, message u64
//! ..                  L × lease   lease records: a slot each, and where it came from (`leases`)
//! ..                  S × 384     stream records (`stream`)
//! ..                  B × 16      owner word and link of each block (`crate::blocks`)
//! page + 128                      the blocks: large, medium, quad, small
//! ```
//!
//! Hot words have 128-byte lines of their own. A participant is a process's
//! attachment, the unit of death; an actor is one thread's use of it at a time, the
//! unit of announcing.

use super::position::Positions;
use super::stream::RECORD;
use super::word::MAX_PARTICIPANTS;
use crate::blocks::PoolGeometry;
use crate::error::{Error, Result};
use crate::memory::ReadTimes;
use crate::segment::{BODY, PARAMS};

/// A line: what one hot word has to itself, in bytes.
pub(crate) const LINE: u64 = 128;

/// Offsets in bytes.
pub(crate) mod at {
    use super::{BODY, LINE, ReadTimes};

    /// A line as a length in a region.
    pub(crate) const RECORD: usize = 128;
    const _: () = assert!(RECORD as u64 == LINE);

    pub(crate) const ENQUEUE_POS: u64 = BODY;
    pub(crate) const DEQUEUE_POS: u64 = BODY + LINE;
    pub(crate) const MARKS: u64 = DEQUEUE_POS + 8;
    pub(crate) const NOT_EMPTY: u64 = BODY + 2 * LINE;
    pub(crate) const NOT_FULL: u64 = BODY + 3 * LINE;
    pub(crate) const READ_TIMES: u64 = NOT_FULL + 64;
    pub(crate) const TOMBS: u64 = BODY + 4 * LINE;
    pub(crate) const FREED: u64 = TOMBS + 64;
    pub(crate) const TASKS_DONE: u64 = BODY + 5 * LINE;
    pub(crate) const CHANGES: u64 = TASKS_DONE + 64;
    pub(crate) const PARTICIPANTS: u64 = BODY + 6 * LINE;

    /// Offsets in a participant record.
    pub(crate) mod participant {
        /// u32: id of the thread that stands for the process, for the kernel to mark
        /// at its death; see `peer::guardian`.
        pub(crate) const LIVE: u64 = 0;
        /// FREE, LIVE or DEAD.
        pub(crate) const STATE: usize = 8;
        /// How often the record was used.
        pub(crate) const INCARNATION: usize = 16;
        /// For people and messages; never a proof of anything.
        pub(crate) const PID: usize = 24;
        /// Inode of the pid namespace that PID is meant in.
        pub(crate) const PID_NAMESPACE: usize = 32;
        /// Start of the process in clock ticks since boot; tells a re-used PID.
        pub(crate) const START_TIME: usize = 40;
        /// Accepted items that wait in the process's own memory, and whether one is being
        /// moved. One process writes it. See `OverflowCount`.
        pub(crate) const OVERFLOW: usize = 48;
        /// Of a joinable queue: tasks done, and taken and not done. See `tasks`.
        pub(crate) const TASKS: usize = 56;
        /// Tasks lost with processes that had this record, and whose count is in it.
        pub(crate) const LOST: usize = 64;
        // From 72 on: zero.
        const _: () = assert!(LOST + 8 <= super::RECORD && LIVE + 8 <= STATE as u64);
    }

    /// Offsets in an actor record.
    pub(crate) mod actor {
        /// What it is about to claim.
        pub(crate) const ANNOUNCEMENT: usize = 0;
        /// For batches: how many positions from the announced one on.
        pub(crate) const COUNT: usize = 8;
        /// The participant it acts for; 0 for none.
        pub(crate) const PARTICIPANT: usize = 16;
        /// Puts and gets committed. One writer; after a kill one too low.
        pub(crate) const PUTS: usize = 24;
        /// See PUTS.
        pub(crate) const GETS: usize = 32;
        /// Tasks taken. See `peer::takes` for this and the next three.
        pub(crate) const TAKEN: usize = 40;
        /// The take that is being committed, if it is not counted in TAKEN yet.
        pub(crate) const TAKE: usize = 48;
        /// Where its message is.
        pub(crate) const TAKE_AT: usize = 56;
        /// What is written there before the commit.
        pub(crate) const TAKE_STATE: usize = 64;
        const _: () = assert!(TAKE_STATE + 8 <= super::RECORD && COUNT + 8 <= PARTICIPANT);
    }

    /// Offsets in a slot.
    pub(crate) mod slot {
        pub(crate) const STATE: usize = 0;
        pub(crate) const META: usize = 8;
        pub(crate) const PAYLOAD: usize = 16;
        const _: () = assert!(STATE + 8 == META && META + 8 == PAYLOAD);
    }

    // One hot word per line, and everything aligned.
    const _: () = assert!(BODY.is_multiple_of(LINE) && MARKS / LINE == DEQUEUE_POS / LINE);
    const _: () = assert!(ENQUEUE_POS / LINE != DEQUEUE_POS / LINE);
    const _: () = assert!(DEQUEUE_POS / LINE != NOT_EMPTY / LINE);
    const _: () = assert!(NOT_EMPTY / LINE != NOT_FULL / LINE);
    const _: () = assert!(FREED + 4 <= TOMBS + LINE);
    const _: () = assert!(READ_TIMES + ReadTimes::LEN <= TOMBS);
    const _: () = assert!(TOMBS + LINE <= TASKS_DONE && TASKS_DONE + LINE <= PARTICIPANTS);
    const _: () = assert!(CHANGES + 4 <= TASKS_DONE + LINE);
    // No record straddles a page.
    const _: () = assert!(PARTICIPANTS.is_multiple_of(LINE) && 4096 % LINE == 0);
}

/// Indexes into the header's params.
mod param {
    pub(super) const SLOTS: usize = 0;
    pub(super) const SLOT_SIZE: usize = 1;
    pub(super) const PARTICIPANTS: usize = 2;
    pub(super) const ACTORS: usize = 3;
    pub(super) const LEASES: usize = 4;
    /// The pool's from here on.
    pub(super) const POOL: usize = 5;
    /// Bytes of every message in short slots; else 0.
    pub(super) const EVERY: usize = POOL + super::PoolGeometry::PARAMS;
    pub(super) const STREAMS: usize = EVERY + 1;
    const USED: usize = STREAMS + 1;
    const _: () = assert!(USED <= super::PARAMS);
}

/// What to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most messages at a time, exactly: 1 to 2^30.
    pub slots: u64,
    /// Bytes of the largest message that fits a slot, 0 to 65,520. Slots of up to
    /// 64 bytes are rounded up to a power of two, larger ones to lines of 64.
    pub payload: u32,
    /// The most processes at a time, 1 to 4095. Each takes 128 bytes.
    pub participants: u32,
    /// The most threads that use the ring at a time, over all processes; each process
    /// holds one more for itself. Each takes 128 bytes.
    pub actors: u32,
    /// Grants that can be held at a time without holding up a slot, 0 to 4096. Each takes
    /// a slot's bytes and up to 120 more.
    pub leases: u32,
    /// Bytes for messages that are longer than a slot, rounded up to whole blocks; 0 for
    /// none. With 16 bytes more per block.
    pub pool: u64,
    /// How many messages that are longer than the pool are on their way at a time, 0 to 64;
    /// more wait. With 0, or without a pool, there can be none. Each takes 384 bytes.
    pub streams: u32,
    /// Every message has just `payload` bytes. Where that is 1 to 8 and there is no pool,
    /// slots take 16 bytes in all.
    pub exact: bool,
}

impl Options {
    /// `slots` slots of `payload` bytes, for 64 processes and 256 threads, without a pool,
    /// lease records and streams.
    pub fn new(slots: u64, payload: u32) -> Self {
        Self {
            slots,
            payload,
            participants: 64,
            actors: 256,
            leases: 0,
            pool: 0,
            streams: 0,
            exact: false,
        }
    }
}

/// The most actors.
const MAX_ACTORS: u64 = 1 << 20;
/// The most streams at a time: each has a part of the pool.
const MAX_STREAMS: u64 = 64;
/// The most lease records.
const MAX_LEASES: u64 = 4096;
/// The smallest slot: 16 bytes of words and 16 of payload.
const MIN_SLOT: u64 = 32;
/// One whose message is the word after its state.
const SHORT_SLOT: u64 = 16;
const MAX_SLOT: u64 = 1 << 16;
const SLOT_WORDS: u64 = at::slot::PAYLOAD as u64;

/// A validated layout. Kept in private memory; the segment's copy is never read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub(crate) positions: Positions,
    pub(crate) slot_size: u64,
    /// Bytes of every message, if slots are short; else 0.
    every: u64,
    pub(crate) participants: u32,
    pub(crate) actors: u32,
    pub(crate) actors_at: u64,
    pub(crate) slots_at: u64,
    pub(crate) leases: u64,
    pub(crate) leases_at: u64,
    pub(crate) streams: u64,
    pub(crate) pool: PoolGeometry,
}

impl Geometry {
    /// The layout for `options`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`].
    pub fn new(options: &Options) -> Result<Self> {
        let limit = MAX_SLOT - SLOT_WORDS;
        if u64::from(options.payload) > limit {
            let range = format!("at most {limit} bytes");
            return Err(Error::out_of_range("a slot payload", options.payload, range));
        }
        let bytes = SLOT_WORDS + u64::from(options.payload);
        let short = options.exact && options.pool == 0 && (1..=8).contains(&options.payload);
        let slot_size = match bytes {
            _ if short => SHORT_SLOT,
            // A small slot never straddles two cache lines.
            ..=64 => bytes.next_power_of_two().max(MIN_SLOT),
            _ => bytes.next_multiple_of(64),
        };
        let actors = options.actors.into();
        let ring = Self::checked(options.slots, slot_size, options.participants.into(), actors)?;
        let every = if short { options.payload.into() } else { 0 };
        let ring = Self { every, ..ring.with_leases(options.leases.into())? };
        // A stream passes through the pool.
        let streams = if options.pool == 0 { 0 } else { options.streams.into() };
        let ring = ring.with_streams(streams)?;
        let (inline, at) = (ring.payload_size(), ring.streams_end());
        let (places, granted) = (options.slots, options.leases.into());
        let pool = PoolGeometry::of_size(options.pool, inline, places, granted, at);
        let range = "at most 2^44 bytes, in less than 2^24 blocks";
        let too_large = || Error::out_of_range("a pool", options.pool, range);
        Ok(Self { pool: pool.ok_or_else(too_large)?, ..ring })
    }

    /// The layout that a header's params describe, in a memory of `total_len` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupted`] about `label` if they make no sense.
    pub fn from_params(params: &[u64; PARAMS], total_len: u64, label: &str) -> Result<Self> {
        let wrong = |_| Error::corrupted(label, "its ring's dimensions are out of range");
        let [slots, slot_size] = [params[param::SLOTS], params[param::SLOT_SIZE]];
        let [participants, actors] = [params[param::PARTICIPANTS], params[param::ACTORS]];
        let ring = Self::checked(slots, slot_size, participants, actors).map_err(wrong)?;
        let ring = ring.with_leases(params[param::LEASES]).map_err(wrong)?;
        let ring = ring.with_streams(params[param::STREAMS]).map_err(wrong)?;
        let every = params[param::EVERY];
        if ring.is_short() != (1..=8).contains(&every) || !ring.is_short() && every != 0 {
            return Err(Error::corrupted(label, "the length of its messages is out of range"));
        }
        let ring = Self { every, ..ring };
        let of_pool = std::array::from_fn(|index| params[param::POOL + index]);
        let pool = PoolGeometry::checked(of_pool, ring.streams_end())
            .ok_or_else(|| Error::corrupted(label, "its pool's dimensions are out of range"))?;
        if ring.streams > 0 && pool.blocks() == 0 {
            return Err(Error::corrupted(label, "it has streams and no pool"));
        }
        if ring.is_short() && pool.bytes() > 0 {
            return Err(Error::corrupted(label, "its short slots cannot name blocks"));
        }
        if pool.end() > total_len {
            return Err(Error::corrupted(label, "its ring does not fit its length"));
        }
        Ok(Self { pool, ..ring })
    }

    fn checked(slots: u64, slot_size: u64, participants: u64, actors: u64) -> Result<Self> {
        let Some(positions) = Positions::new(slots) else {
            return Err(Error::out_of_range("a number of slots", slots, "1 to 2^30"));
        };
        let whole = (MIN_SLOT..=MAX_SLOT).contains(&slot_size) && slot_size.is_multiple_of(8);
        if !whole && slot_size != SHORT_SLOT {
            let range = "16, or 32 to 65536 bytes, in steps of 8";
            return Err(Error::out_of_range("a slot size", slot_size, range));
        }
        let participants = u32::try_from(participants)
            .ok()
            .filter(|n| (1..=MAX_PARTICIPANTS).contains(n))
            .ok_or_else(|| {
                Error::out_of_range("a number of participants", participants, "1 to 4095")
            })?;
        let actors = u32::try_from(actors)
            .ok()
            .filter(|n| (1..=MAX_ACTORS).contains(&u64::from(*n)))
            .ok_or_else(|| Error::out_of_range("a number of actors", actors, "1 to 2^20"))?;
        // Cannot overflow: each factor was bounded above; the sum is below 2^47.
        let actors_at = at::PARTICIPANTS + u64::from(participants) * LINE;
        let slots_at = actors_at + u64::from(actors) * LINE;
        let leases_at = (slots_at + slots * slot_size).next_multiple_of(64);
        let pool = PoolGeometry::none(leases_at);
        let (leases, streams) = (0, 0);
        Ok(Self {
            positions,
            slot_size,
            every: 0,
            participants,
            actors,
            actors_at,
            slots_at,
            leases,
            leases_at,
            streams,
            pool,
        })
    }

    fn with_leases(self, leases: u64) -> Result<Self> {
        if leases > MAX_LEASES {
            return Err(Error::out_of_range("a number of lease records", leases, "at most 4096"));
        }
        Ok(Self { leases, ..self })
    }

    fn with_streams(self, streams: u64) -> Result<Self> {
        if streams > MAX_STREAMS {
            return Err(Error::out_of_range("a number of streams", streams, "at most 64"));
        }
        Ok(Self { streams, ..self })
    }

    /// Where the stream records begin: on a line, if there are any.
    pub(crate) fn streams_at(&self) -> u64 {
        match self.streams {
            0 => self.leases_end(),
            _ => self.leases_end().next_multiple_of(LINE),
        }
    }

    /// Whether at `at` there is an event word of a stream record. For tests that write
    /// anywhere, and must not mix sizes of words.
    #[doc(hidden)]
    pub fn is_event_of_stream(&self, at: u64) -> bool {
        let (from, to) = (self.streams_at(), self.streams_end());
        (from..to).contains(&at) && [256, 320].contains(&((at - from) % RECORD))
    }

    /// Where they end. Cannot overflow: at most 64.
    fn streams_end(&self) -> u64 {
        self.streams_at() + self.streams * RECORD
    }

    /// Bytes of a lease record: a slot's, and a line that says where it came from.
    pub(crate) fn lease_size(&self) -> u64 {
        self.slot_size.next_multiple_of(64) + 64
    }

    /// Where the lease records end. Cannot overflow: at most 4096 of 64 KiB.
    fn leases_end(&self) -> u64 {
        self.leases_at + self.leases * self.lease_size()
    }

    /// The numbers to keep in the header.
    pub fn params(&self) -> [u64; PARAMS] {
        let mut params = [0; PARAMS];
        params[param::SLOTS] = self.positions.slots();
        params[param::SLOT_SIZE] = self.slot_size;
        params[param::PARTICIPANTS] = self.participants.into();
        params[param::ACTORS] = self.actors.into();
        params[param::LEASES] = self.leases;
        params[param::STREAMS] = self.streams;
        params[param::POOL..][..PoolGeometry::PARAMS].copy_from_slice(&self.pool.params());
        params[param::EVERY] = self.every;
        params
    }

    /// Bytes of the segment, header page included.
    pub fn total_len(&self) -> u64 {
        self.pool.end()
    }

    /// Bytes after the header page.
    pub fn body_len(&self) -> u64 {
        self.pool.end() - BODY
    }

    /// The pool for longer messages.
    pub fn pool(&self) -> &PoolGeometry {
        &self.pool
    }

    /// Bytes of the largest message that fits a slot.
    pub fn payload_size(&self) -> u64 {
        if self.is_short() { self.every } else { self.slot_size - SLOT_WORDS }
    }

    /// Whether a slot is a state and a message in one word.
    pub(crate) fn is_short(&self) -> bool {
        self.slot_size == SHORT_SLOT
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn params_describe_the_geometry() {
        for (slots, payload) in [(1, 0), (3, 8), (10, 48), (1000, 49), (1 << 24, 65_520)] {
            let options =
                Options { leases: 5, pool: 100_000, streams: 3, ..Options::new(slots, payload) };
            let made = Geometry::new(&options).unwrap();
            assert!(made.pool().bytes() >= 100_000);
            let read = Geometry::from_params(&made.params(), made.total_len(), "it").unwrap();
            assert_eq!(made, read);
            assert!(made.payload_size() >= payload.into());
            assert!(made.slots_at.is_multiple_of(LINE));
            let short = Geometry::from_params(&made.params(), made.total_len() - 1, "it");
            assert!(matches!(short, Err(Error::Corrupted { .. })));
        }
    }

    #[test]
    fn small_slots_keep_to_one_line() {
        for (payload, slot) in [(0, 32), (16, 32), (17, 64), (48, 64), (49, 128), (112, 128)] {
            assert_eq!(Geometry::new(&Options::new(1, payload)).unwrap().slot_size, slot);
        }
    }

    #[test]
    fn messages_of_one_short_length_have_short_slots() {
        for (payload, pool, slot) in [(8, 0, 16), (1, 0, 16), (0, 0, 32), (9, 0, 32), (8, 1, 32)] {
            let options = Options { exact: true, pool, ..Options::new(5, payload) };
            let made = Geometry::new(&options).unwrap();
            assert_eq!(made.slot_size, slot);
            let params = made.params();
            assert_eq!(Geometry::from_params(&params, made.total_len(), "it").unwrap(), made);
            let wrong = if slot == 16 { [0, 9] } else { [1, u64::MAX] };
            for every in wrong {
                let mut params = params;
                params[param::EVERY] = every;
                assert!(Geometry::from_params(&params, u64::MAX, "it").is_err());
            }
        }
        // Blocks that no slot can name.
        let with_pool = Geometry::new(&Options { pool: 1 << 16, ..Options::new(5, 8) }).unwrap();
        let mut params = with_pool.params();
        (params[param::SLOT_SIZE], params[param::EVERY]) = (16, 8);
        assert!(Geometry::from_params(&params, u64::MAX, "it").is_err());
    }

    #[test]
    fn every_dimension_is_checked() {
        let options = Options { leases: 3, pool: 1 << 16, ..Options::new(10, 8) };
        let good = Geometry::new(&options).unwrap().params();
        for (i, bad) in [
            (param::SLOTS, 0),
            (param::SLOTS, u64::MAX),
            (param::SLOT_SIZE, 31),
            (param::SLOT_SIZE, 0),
            (param::SLOT_SIZE, u64::MAX - 7),
            (param::PARTICIPANTS, 0),
            (param::PARTICIPANTS, 1 << 32 | 1),
            (param::ACTORS, 0),
            (param::ACTORS, u64::MAX),
            (param::LEASES, 4097),
            (param::LEASES, u64::MAX),
            (param::STREAMS, 65),
            (param::STREAMS, u64::MAX),
            (param::POOL, 1),
            (param::POOL, u64::MAX),
            (param::POOL + 1, u64::MAX),
            (param::POOL + 3, 1 << 24),
        ] {
            let mut params = good;
            params[i] = bad;
            let answer = Geometry::from_params(&params, u64::MAX, "it");
            assert!(matches!(answer, Err(Error::Corrupted { .. })), "param {i} = {bad}");
        }
    }

    proptest! {
        /// Whatever a header says, what is accepted lies in the memory, each part behind the
        /// one before.
        #[test]
        fn any_params_are_a_layout_in_the_memory_or_corrupted(
            (slots, payload, participants, actors) in (1_u64..5000, 0_u32..300, 1_u32..99, 1_u32..99),
            (leases, streams) in (0_u32..70, 0_u32..65),
            (pool, exact) in (0_u64..200_000, any::<bool>()),
            wrong in prop::collection::vec(
                (0..=param::EVERY, prop_oneof![0_u64..70, any::<u64>(), (0_u32..64).prop_map(|b| 1 << b)]),
                0..3,
            ),
            total in prop_oneof![any::<u64>(), Just(u64::MAX)],
            off in prop::option::of(-9_i64..9),
        ) {
            let options =
                Options { slots, payload, participants, actors, leases, streams, pool, exact };
            let made = Geometry::new(&options).unwrap();
            // Some of just the length, or nearly.
            let total = off.map_or(total, |off| made.total_len().saturating_add_signed(off));
            let mut params = made.params();
            for (index, value) in wrong {
                params[index] = value;
            }
            if let Ok(read) = Geometry::from_params(&params, total, "it") {
                prop_assert_eq!(read.params(), params);
                let slots = u128::from(read.positions.slots()) * u128::from(read.slot_size);
                let leases = u128::from(read.leases) * u128::from(read.lease_size());
                let parts: [(u64, u128); 6] = [
                    (at::PARTICIPANTS, u128::from(read.participants) * u128::from(LINE)),
                    (read.actors_at, u128::from(read.actors) * u128::from(LINE)),
                    (read.slots_at, slots),
                    (read.leases_at, leases),
                    (read.streams_at(), u128::from(read.streams) * u128::from(RECORD)),
                    (read.pool.table_at(), u128::from(read.pool.blocks()) * 8),
                ];
                let next = [read.actors_at, read.slots_at, read.leases_at, read.streams_at(),
                    read.pool.table_at(), read.pool.blocks_at()];
                for ((from, len), next) in parts.into_iter().zip(next) {
                    prop_assert!(from % 8 == 0 && u128::from(from) + len <= u128::from(next));
                }
                prop_assert!(read.pool.blocks_at() <= read.total_len());
                prop_assert!(read.total_len() <= total);
                prop_assert!(read.payload_size() <= read.slot_size);
            }
        }
    }
}
