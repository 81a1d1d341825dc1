//! The floors of a round trip: two words on two cache lines, and nothing else.

use super::wire::{Fd, Wire};
use crate::failure::{Failure, failed};
use ringway_core::memory::Word32;
use ringway_core::segment::{BODY, Kind, NewSegment, PARAMS, Place, Segment, Spec};
use ringway_core::sync::{AtomicU32, Ordering, spin_hint};
use rustix::io::Errno;
use rustix::thread::futex;

const SIGNATURE: u64 = 0x4245_4E43_484C_494E;
/// Distance of the words: two lines, because processors fetch lines in pairs.
const APART: u64 = 128;

/// How a side waits for the other's word.
pub(super) trait Wait {
    /// Returns when the word may have changed.
    fn wait(word: &AtomicU32, seen: u32) -> Result<(), Failure>;
    /// Tells the other side that a word changed.
    fn wake(word: &AtomicU32) -> Result<(), Failure>;
}

/// Looks again and again.
#[derive(Debug)]
pub(super) struct Spinning;

impl Wait for Spinning {
    #[inline]
    fn wait(_: &AtomicU32, _: u32) -> Result<(), Failure> {
        spin_hint();
        Ok(())
    }
    #[inline]
    fn wake(_: &AtomicU32) -> Result<(), Failure> {
        Ok(())
    }
}

/// Sleeps in the kernel. The calls are made directly, not through Ringway's waiting,
/// because this is what that is measured against.
#[derive(Debug)]
pub(super) struct Sleeping;

impl Wait for Sleeping {
    #[inline]
    fn wait(word: &AtomicU32, seen: u32) -> Result<(), Failure> {
        // No flags: the word is shared between processes.
        match futex::wait(word, futex::Flags::empty(), seen, None) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(e) => Err(failed("cannot wait", &e)),
        }
    }
    #[inline]
    fn wake(word: &AtomicU32) -> Result<(), Failure> {
        futex::wake(word, futex::Flags::empty(), 1).map_err(|e| failed("cannot wake", &e))?;
        Ok(())
    }
}

/// One side: it writes its own word and reads the other's.
pub(super) struct Lines<W> {
    own: Word32,
    other: Word32,
    seen: u32,
    wait: std::marker::PhantomData<W>,
}

impl<W> Lines<W> {
    /// One side, and what the other is made of.
    pub(super) fn create() -> Result<(Self, Fd), Failure> {
        let spec =
            Spec { kind: Kind::Queue, signature: SIGNATURE, params: [0; PARAMS], body_len: 4096 };
        let made = NewSegment::create(Place::Anonymous("bench-lines"), &spec);
        let segment = made.and_then(NewSegment::publish);
        let segment = segment.map_err(|e| failed("cannot make shared memory", &e))?;
        let fd = segment.share().map_err(|e| failed("cannot share memory", &e))?;
        Ok((Self::over(&segment, 0, APART)?, Fd(fd)))
    }

    /// The other side.
    pub(super) fn open(fd: Fd) -> Result<Self, Failure> {
        let segment = Segment::from_fd(fd.0).map_err(|e| failed("cannot map memory", &e))?;
        Self::over(&segment, APART, 0)
    }

    fn over(segment: &Segment, own: u64, other: u64) -> Result<Self, Failure> {
        let word = |at| segment.memory().word32(BODY + at).map_err(|e| failed("no such word", &e));
        let (own, other) = (word(own)?, word(other)?);
        Ok(Self { own, other, seen: 0, wait: std::marker::PhantomData })
    }
}

impl<W: Wait> Wire for Lines<W> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        let number = message.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        // ORDERING bench-turn (release): what a real protocol would publish with.
        self.own.store(number, Ordering::Release);
        W::wake(&self.own)
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Result<(), Failure> {
        loop {
            // ORDERING bench-turn (acquire)
            let number = self.other.load(Ordering::Acquire);
            if number != self.seen {
                self.seen = number;
                message.copy_from_slice(&u64::from(number).to_le_bytes());
                return Ok(());
            }
            W::wait(&self.other, number)?;
        }
    }
}
