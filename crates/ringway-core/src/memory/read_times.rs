//! How long readers take for long messages, as they tell writers.

use super::{LONG_COPY, Memory, OutOfBounds, Way, Word64, caches};
use crate::sync::Ordering::Relaxed;
use std::time::Instant;

/// Somebody wants to know.
const WANTED: u64 = 1;
/// A writer's copies go through the cache, where the reader's are quicker another way.
const THROUGH: u64 = 2;
/// From so many bytes on a copy out is made in the way that the writer's go: whoever reads a long
/// message in place takes it piece by piece.
const PIECE: usize = 1024;
/// The shortest copy that needs nothing fetched before it: it takes long enough for the processor
/// to guess what comes.
const LONG_PIECE: usize = 16 << 10;

/// How a copy out of shared memory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// Of bytes that were written through the cache.
    Through,
    /// Of such, as a part of a message that is longer than caches: the copy goes past them. Else each
    /// of its lines would be fetched before it is overwritten, and the sender's and the ring's driven
    /// out. Two Zen 5 processors that share a cache of 32 MiB, messages of 16 MiB: 0.66 ms through a
    /// pipe and not 1.0, 0.74 and not 1.1 through a queue; made anew and added up, too, 1.7 and not 2.1.
    /// Of 8 MiB it is the other way round.
    Away,
    /// Of bytes that were written past the cache.
    Past,
}

/// What readers tell of their copies, in shared memory: 24 bytes on a line of 64 of their own,
/// which changes only while a writer tries. Guesses: whatever is there chooses between two ways
/// that are both right.
///
/// A copy counts, and so does looking at a message where it lies, from its beginning to its
/// release. If a writer dies while it tries, readers go on timing, some 50 ns a copy, until another
/// writer has tried.
#[derive(Clone)]
pub struct ReadTimes {
    /// [`WANTED`] and [`THROUGH`].
    wishes: Word64,
    nanos: Word64,
    bytes: Word64,
}

impl ReadTimes {
    /// Bytes of the words.
    pub const LEN: u64 = 24;

    /// The words at byte `at`, a multiple of 8.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if the memory ends before.
    pub fn new(memory: &Memory, at: u64) -> Result<Self, OutOfBounds> {
        let word = |offset| match at.checked_add(offset) {
            Some(at) => memory.word64(at),
            None => Err(OutOfBounds { at, len: Self::LEN }),
        };
        Ok(Self { wishes: word(0)?, nanos: word(8)?, bytes: word(16)? })
    }

    /// A message of `len` bytes is about to be copied, or looked at where it lies. `None` if
    /// nobody wants to know.
    #[inline]
    pub fn begin(&self, len: usize) -> Option<Instant> {
        // Relaxed, as all here: guesses, which guard no data.
        (len > LONG_COPY && self.wanted()).then(Instant::now)
    }

    /// That was done.
    #[inline]
    pub fn end(&self, begun: Option<Instant>, len: usize) {
        if let Some(begun) = begun {
            self.tell(begun, len as u64);
        }
    }

    #[cold]
    fn tell(&self, begun: Instant, len: u64) {
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Slower than any memory: the reader did something else, too, or had no processor.
        self.add(nanos.min(len), len);
    }

    pub(super) fn add(&self, nanos: u64, bytes: u64) {
        self.nanos.fetch_add(nanos, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    #[inline]
    pub(super) fn wanted(&self) -> bool {
        self.wishes.load(Relaxed) & WANTED != 0
    }

    /// How to copy out `len` bytes of a message of `message`: as the writer's long copies go, or as one
    /// of several writers' do.
    #[inline]
    pub fn out(&self, len: usize, message: u64) -> Out {
        if len < PIECE || self.wishes.load(Relaxed) & THROUGH == 0 {
            Out::Past
        } else if caches::overflow(message) {
            Out::Away
        } else {
            Out::Through
        }
    }

    /// How many bytes to fetch behind a piece of `len` bytes that is read in place, with `rest` bytes
    /// of the message behind it: whoever reads so mostly goes on there, and what he does with the
    /// piece is time to fetch in. 64 KiB from memory in pieces of 4 KiB, made and added up: 3.1 us,
    /// 5.7 without, on two Zen 5 processors that share no cache.
    #[inline]
    pub fn ahead(len: usize, rest: usize) -> usize {
        if (PIECE..LONG_PIECE).contains(&len) { len.min(rest) } else { 0 }
    }

    /// How to copy out a piece of `len` bytes behind which `ahead` bytes are fetched: so it was itself,
    /// and lies in the cache whichever way it came.
    #[inline]
    pub fn out_of_piece(&self, len: usize, ahead: usize) -> Out {
        if ahead > 0 { Out::Through } else { self.out(len, len as u64) }
    }

    pub(crate) fn want(&self, wanted: bool, way: Way) {
        let through = if way == Way::Through { THROUGH } else { 0 };
        self.wishes.store((u64::from(wanted) * WANTED) | through, Relaxed);
    }

    /// What was told so far: nanoseconds and bytes.
    pub(crate) fn told(&self) -> (u64, u64) {
        (self.nanos.load(Relaxed), self.bytes.load(Relaxed))
    }
}
