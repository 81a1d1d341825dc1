//! Where a ring's words and bytes lie.
//!
//! ```text
//! control block, 512 bytes: one line of 128 bytes for each writer of words, but for the last
//!      0  write_pos   u64   producer        bytes published, ever, or one chunk less
//!    128  read_pos    u64   consumer        bytes released, ever
//!    256  readable    u32   event           the consumer sleeps here
//!    260  departures  u32   counter         times a holder of the consumer's end closed
//!    384  writable    u32   event           the producer sleeps here
//!    388  departures  u32   counter         times a holder of the producer's end closed
//!    448  read_times  3 u64 both            how long the consumer's copies take (`ReadTimes`)
//!
//! data, `capacity` bytes elsewhere in the segment: chunks
//! ```
//!
//! Each side looks at the other's event and departure count after every message. They
//! share a line that changes only when someone sleeps, wakes or leaves: the look is a
//! cache hit.

use crate::memory::{Circle, Memory, OutOfBounds, ReadTimes, Word32, Word64};
use crate::wait::Event;

/// Bytes of a ring's control block.
pub const CONTROL_LEN: u64 = 512;
/// The least ring that works: room for a few chunks of a streamed message.
pub const SMALLEST_CAPACITY: u64 = 64;
/// The largest ring.
pub const LARGEST_CAPACITY: u64 = 1 << 40;

const WRITE_POS: u64 = 0;
const READ_POS: u64 = 128;
const READABLE: u64 = 256;
const READER_DEPARTURES: u64 = 260;
const WRITABLE: u64 = 384;
const WRITER_DEPARTURES: u64 = 388;
/// Not on the 64 bytes that are looked at after every message.
const READ_TIMES: u64 = 448;

const _: () = assert!(
    READ_POS - WRITE_POS >= 128
        && READABLE - READ_POS >= 128
        && WRITABLE - READABLE >= 128
        && CONTROL_LEN - WRITABLE >= 128
        && CONTROL_LEN - READ_TIMES >= ReadTimes::LEN
);

/// Whether a ring may have `capacity` bytes: a power of two between the limits.
pub fn check_capacity(capacity: u64) -> bool {
    capacity.is_power_of_two() && (SMALLEST_CAPACITY..=LARGEST_CAPACITY).contains(&capacity)
}

/// One ring in a segment: everything that its two sides share.
#[derive(Clone)]
pub struct Direction {
    pub(super) write_pos: Word64,
    pub(super) read_pos: Word64,
    pub(super) data: Circle,
    /// The consumer sleeps here until something is readable.
    pub readable: Event,
    /// The producer sleeps here until there is room.
    pub writable: Event,
    /// Goes up when a holder of the consumer's end closes it.
    pub reader_departures: Word32,
    /// Goes up when a holder of the producer's end closes it.
    pub writer_departures: Word32,
    /// How long the consumer takes for long messages.
    pub read_times: ReadTimes,
}

impl Direction {
    /// The ring whose control block is at `control` and whose `capacity` bytes are at
    /// `data`. Zeroed memory is an empty ring.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if it does not fit the memory, or [`check_capacity`] says no.
    pub fn new(
        memory: &Memory,
        control: u64,
        data: u64,
        capacity: u64,
    ) -> Result<Self, OutOfBounds> {
        let whole = OutOfBounds { at: control, len: CONTROL_LEN };
        if !check_capacity(capacity) {
            return Err(OutOfBounds { at: data, len: capacity });
        }
        let at = |offset: u64| control.checked_add(offset).ok_or(whole);
        Ok(Self {
            write_pos: memory.word64(at(WRITE_POS)?)?,
            read_pos: memory.word64(at(READ_POS)?)?,
            data: Circle::new(memory.region(data, capacity)?)
                .ok_or(OutOfBounds { at: data, len: capacity })?,
            read_times: ReadTimes::new(memory, at(READ_TIMES)?)?,
            readable: Event::new(memory.word32(at(READABLE)?)?),
            writable: Event::new(memory.word32(at(WRITABLE)?)?),
            reader_departures: memory.word32(at(READER_DEPARTURES)?)?,
            writer_departures: memory.word32(at(WRITER_DEPARTURES)?)?,
        })
    }

    /// Bytes of the ring.
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.data.len()
    }
}
