//! What putters and getters did, in shared memory that outlives them.
//!
//! ```text
//! header page
//! line 0              what the parent asks for: GO, STOP_PUTTING, STOP
//! line 1 + p          putter p: the number it is about to put, the last one put
//! line 1 + P + g      getter g: messages taken, torn, doubled, late
//! bitmaps             one per getter and putter: the numbers taken
//! ```
//!
//! Each word has one writer at a time. A replaced process goes on in the log of the one
//! it replaces.

use ringway_core::memory::{Region, WordArray};
use ringway_core::segment::{BODY, Kind, NewSegment, PARAMS, Place, Segment, Spec};
use ringway_core::sync::Ordering::{Acquire, Relaxed, Release};
use ringway_core::{Error, Result};
use std::os::fd::OwnedFd;

/// How many putters, and how many getters.
pub(super) const PUTTERS: u64 = 2;
pub(super) const GETTERS: u64 = 2;

const SIGNATURE: u64 = 0x5354_4F52_4D4C_4F47;
const LINE: u64 = 128;
const LINES: u64 = 1 + PUTTERS + GETTERS;

/// What the parent asks for.
pub(super) const STOP_PUTTING: u64 = 1;
pub(super) const STOP: u64 = 2;

/// A count of a getter's, by its word.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Taken = 0,
    /// With wrong bytes.
    Torn = 1,
    /// Taken by the same getter before.
    Doubled = 2,
    /// Older than one that the same getter took before from the same putter.
    Late = 3,
}

/// The log of one round, mapped.
pub(super) struct Log {
    lines: WordArray,
    maps: Region,
    /// Numbers that fit a bitmap.
    numbers: u64,
    fd: OwnedFd,
}

impl Log {
    /// A log for messages with numbers up to about `numbers` from each putter.
    pub(super) fn create(numbers: u64) -> Result<Self> {
        let mut params = [0; PARAMS];
        params[0] = numbers.next_multiple_of(64);
        let body_len = LINES * LINE + PUTTERS * GETTERS * params[0] / 8;
        let spec = Spec { kind: Kind::Queue, signature: SIGNATURE, params, body_len };
        Self::map(NewSegment::create(Place::Anonymous("storm-log"), &spec)?.publish()?)
    }

    /// Maps the log that the parent made.
    pub(super) fn open(fd: OwnedFd) -> Result<Self> {
        let segment = Segment::from_fd(fd)?;
        segment.header().expect(segment.label(), Kind::Queue, SIGNATURE)?;
        Self::map(segment)
    }

    fn map(segment: Segment) -> Result<Self> {
        let numbers = segment.header().params[0];
        let wrong = |_| Error::corrupted(segment.label(), "its size");
        let len = PUTTERS * GETTERS * numbers / 8;
        // Words of one line stand 8 bytes apart.
        let lines = segment.memory().words64(BODY, LINES * LINE / 8, 8).map_err(wrong)?;
        let maps = segment.memory().region(BODY + LINES * LINE, len).map_err(wrong)?;
        Ok(Self { lines, maps, numbers, fd: segment.share()? })
    }

    /// To open it elsewhere.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The highest number there is a place for.
    pub(super) fn last_number(&self) -> u64 {
        self.numbers - 1
    }

    fn load(&self, line: u64, word: u64) -> u64 {
        let at = usize::try_from(line * LINE / 8 + word).unwrap_or(usize::MAX);
        // ORDERING storm-log (acquire): who reads a number reads the lines before it.
        self.lines.get(at).map_or(0, |word| word.load(Acquire))
    }

    fn store(&self, line: u64, word: u64, value: u64) {
        let at = usize::try_from(line * LINE / 8 + word).unwrap_or(usize::MAX);
        if let Some(word) = self.lines.get(at) {
            // ORDERING storm-log (release): pairs with `load`.
            word.store(value, Release);
        }
    }

    pub(super) fn ask(&self, what: u64) {
        self.store(0, 0, what);
    }

    pub(super) fn asked(&self) -> u64 {
        self.load(0, 0)
    }

    /// The number that putter `p` is about to put, or has put.
    pub(super) fn begun(&self, p: u64) -> u64 {
        self.load(1 + p, 0)
    }

    pub(super) fn begin(&self, p: u64, number: u64) {
        self.store(1 + p, 0, number);
    }

    /// The last number of which a put by `p` returned.
    pub(super) fn ended(&self, p: u64) -> u64 {
        self.load(1 + p, 1)
    }

    pub(super) fn end(&self, p: u64, number: u64) {
        self.store(1 + p, 1, number);
    }

    pub(super) fn count(&self, g: u64, what: Count) -> u64 {
        self.load(1 + PUTTERS + g, what as u64)
    }

    pub(super) fn count_one(&self, g: u64, what: Count) {
        self.store(1 + PUTTERS + g, what as u64, self.count(g, what) + 1);
    }

    fn place(&self, g: u64, p: u64, number: u64) -> Option<(usize, u64)> {
        let bit = (g * PUTTERS + p) * self.numbers + number;
        Some((usize::try_from(bit / 64 * 8).ok()?, 1 << (bit % 64)))
    }

    /// Whether getter `g` took message `number` of `p`.
    pub(super) fn has(&self, g: u64, p: u64, number: u64) -> bool {
        self.place(g, p, number).is_some_and(|(at, bit)| {
            self.maps.word(at).is_some_and(|word| word.load(Relaxed) & bit != 0)
        })
    }

    /// Notes that getter `g` has message `number` of `p`. A plain store: the map is its
    /// own.
    pub(super) fn take(&self, g: u64, p: u64, number: u64) {
        if let Some((at, bit)) = self.place(g, p, number)
            && let Some(word) = self.maps.word(at)
        {
            word.store(word.load(Relaxed) | bit, Relaxed);
        }
    }
}
