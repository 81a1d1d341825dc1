//! What the targets share: reading an input, writing nonsense, and measuring calls.
//!
//! A target reads its input as a program: which ring, what it holds at first, and then
//! one step after the other until the input ends. An input that is too short reads as
//! zeros, so every input is a valid program and every byte of it may matter.

pub mod bytes;
pub mod model;
pub mod slots;
pub mod stream;
pub mod world;

use ringway_core::memory::Memory;
use ringway_core::sync::Ordering::Relaxed;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// An input as a program.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads `data` from its beginning.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => 0,
        }
    }

    /// The next two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next eight bytes.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number below `end`, which is at most 2^16.
    pub fn below(&mut self, end: usize) -> usize {
        let number = if end <= 256 { self.byte().into() } else { usize::from(self.short()) };
        number % end.max(1)
    }

    /// True or false.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Up to `most` of the next bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(most.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// Something that may get past a careless check, made from what is there.
    pub fn nonsense(&mut self, old: u64) -> u64 {
        let kind = self.byte();
        let small = || 8 * u64::from(kind >> 3);
        match kind & 7 {
            0 => self.word(),
            1 => u64::from(kind >> 3),
            2 => u64::MAX - u64::from(kind >> 3),
            3 => 1 << (self.byte() & 63),
            4 => old ^ 1 << (self.byte() & 63),
            5 => old.wrapping_add(small()),
            6 => old.wrapping_sub(small()),
            _ => u64::MAX << (self.byte() & 63),
        }
    }
}

/// Numbers that look random and are the same every time (xorshift64).
pub struct Random(pub u64);

impl Random {
    /// The next.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Writes `new(old)` over the word at `at`, in the size in which the code under test uses
/// it: racing accesses of two sizes to one place are not defined.
pub fn overwrite(memory: &Memory, at: u64, is_narrow: bool, mut new: impl FnMut(u64) -> u64) {
    if !is_narrow {
        let word = memory.word64(at).expect("inside");
        word.store(new(word.load(Relaxed)), Relaxed);
        return;
    }
    for at in [at, at + 4] {
        let word = memory.word32(at).expect("inside");
        word.store(new(word.load(Relaxed).into()) as u32, Relaxed);
    }
}

/// The processor time that one call may take, here where everything is small. A hundred
/// times what the slowest takes under AddressSanitizer; a loop that a peer controls has
/// no bound at all. Of this thread, so that a machine that is busy or stopped does not
/// count.
const MOST: Duration = Duration::from_millis(500);

/// Runs `call` and fails if it takes unreasonably long.
#[track_caller]
pub fn bounded<R>(call: impl FnOnce() -> R) -> R {
    let start = processor_time();
    let result = call();
    let took = processor_time().saturating_sub(start);
    assert!(took < MOST, "a call took {took:?} of the processor");
    result
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Stops another thread also when this one fails.
pub struct Stop<'a>(pub &'a ringway_core::sync::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
