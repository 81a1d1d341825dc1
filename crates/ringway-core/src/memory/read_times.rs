//! How long readers take for long messages, as they tell writers.

#[cfg(all(target_arch = "x86_64", not(any(loom, miri, fuzzing))))]
use super::processor;
use super::{LONG_COPY, Memory, OutOfBounds, Way, Word64};
use crate::sync::Ordering::Relaxed;
use std::time::Instant;

/// The most bytes that are fetched behind a piece.
const AHEAD: usize = 4096;
/// Somebody wants to know.
const WANTED: u64 = 1;
/// A writer's copies go through the cache, where the reader's are quicker another way.
const THROUGH: u64 = 2;
/// From so many bytes on a copy out is made in the way that the writer's go, or as a piece: whoever reads
/// a long message in place takes it piece by piece.
const PIECE: usize = 1024;
/// The shortest copy that needs nothing fetched before it: it takes long enough for the processor
/// to guess what comes.
const LONG_PIECE: usize = 16 << 10;

/// How a copy out of shared memory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// Of bytes that were written through the cache.
    Through,
    /// Of such, as a part of a streamed message that fills caches, to memory that the receiver had
    /// before: the copy goes past them. Else each of its lines would be fetched before it is
    /// overwritten, and the sender's and the ring's driven out. Memory that was made for the message was
    /// filled with zeros and lies in the cache: it takes half as long again so. Two Zen 5 processors that share a cache of 32 MiB, messages of 16 MiB: 0.66 ms through a
    /// pipe and not 1.0, 0.74 and not 1.1 through a queue; made anew and added up, too, 1.7 and not 2.1.
    /// Of 8 MiB it is the other way round.
    Away,
    /// Of others: written past the cache, or a few.
    Past,
    /// As a piece of a message that is read in place, with so many bytes behind it that are fetched
    /// meanwhile: whoever reads so mostly goes on there. 64 KiB made, sent and added up in pieces of 4 KiB
    /// through a pipe, by two processors each of which has its second-level cache for itself:
    ///
    /// | | fetched | not | by `rep movsb` |
    /// | --- | --- | --- | --- |
    /// | Zen 5, no cache shared, past the cache | 2.9 us | 3.8 | 5.8 |
    /// | Emerald Rapids, past the cache | 5.1 | | 6.6 |
    /// | the same, through it | 3.9 | 6.0 | |
    ///
    /// Two threads of a core of the Zen 5 took as long either way.
    Piece(usize),
}

impl Out {
    /// How many bytes behind are fetched.
    #[inline]
    pub(crate) fn more(self) -> usize {
        if let Self::Piece(more) = self { more } else { 0 }
    }

    /// With as many of them as `there` says are there.
    #[inline]
    pub(crate) fn within(self, there: impl FnOnce(usize) -> usize) -> Self {
        match self {
            Self::Piece(more) => Self::Piece(more.min(there(more))),
            other => other,
        }
    }
}

/// Whether a message is so long that copies go past the caches.
#[inline]
fn fills_caches(len: u64) -> bool {
    #[cfg(all(target_arch = "x86_64", not(any(loom, miri, fuzzing))))]
    return processor::caches_overflow(len);
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, miri, fuzzing)))))]
    {
        // There is no such copy.
        let _ = len;
        false
    }
}

/// Whether `len` bytes are one of several short pieces of a message.
#[inline]
fn is_piece(len: usize, before: usize, behind: usize) -> bool {
    (PIECE..LONG_PIECE).contains(&len) && before.saturating_add(behind) > 0
}

/// What readers tell of their copies, in shared memory: 24 bytes on a line of 64 of their own,
/// which changes only while a writer tries. Guesses: whatever is there chooses between ways that
/// are all right.
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

    /// How to copy out `len` bytes: as the writer's long copies go, or as one of several writers' do. They
    /// are a part of a streamed message of `message` bytes, or that is 0.
    #[inline]
    pub fn out(&self, len: usize, message: u64) -> Out {
        if len < PIECE || self.wishes.load(Relaxed) & THROUGH == 0 {
            Out::Past
        } else if fills_caches(message) {
            Out::Away
        } else {
            Out::Through
        }
    }

    /// As [`out`](Self::out), of `len` bytes that are read in place, `before` bytes behind the beginning
    /// of a message and `behind` bytes before its end.
    #[inline]
    pub fn out_of_piece(&self, len: usize, before: usize, behind: usize) -> Out {
        if is_piece(len, before, behind) {
            return Out::Piece(behind.min(AHEAD));
        }
        self.out(len, 0)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::Heap;
    use super::*;

    #[test]
    fn copies_go_out_as_they_went_in_and_long_ones_away() {
        let times = ReadTimes::new(&Memory::new(Heap::new(24)), 0).unwrap();
        let away = if cfg!(all(target_arch = "x86_64", not(any(miri, fuzzing)))) {
            Out::Away
        } else {
            Out::Through
        };
        for (way, out, long) in
            [(Way::Past, Out::Past, Out::Past), (Way::Through, Out::Through, away)]
        {
            times.want(false, way);
            assert_eq!(times.out(PIECE, 0), out);
            assert_eq!(times.out(1 << 20, 1 << 20), out);
            assert_eq!(times.out(1 << 20, 1 << 40), long, "a part of a long one");
            assert_eq!(times.out(PIECE - 1, 1 << 40), Out::Past, "a short part");
            assert_eq!(times.out_of_piece(4096, 0, 0), out, "all of a message");
            assert_eq!(times.out_of_piece(1 << 40, 0, 0), out, "all of a long one");
            assert_eq!(times.out_of_piece(1 << 20, 0, 4096), out, "a long piece");
            assert_eq!(times.out_of_piece(PIECE - 1, 0, 4096), Out::Past, "a short piece");
        }
    }

    #[test]
    fn what_lies_behind_a_piece_is_fetched() {
        let times = ReadTimes::new(&Memory::new(Heap::new(24)), 0).unwrap();
        for (before, behind, more) in [(0, 1 << 20, AHEAD), (8192, 100, 100), (8192, 0, 0)] {
            for way in [Way::Past, Way::Through] {
                times.want(false, way);
                let piece = times.out_of_piece(4096, before, behind);
                assert_eq!(piece, Out::Piece(more));
                assert_eq!(piece.within(|_| 64), Out::Piece(more.min(64)));
            }
        }
    }
}
