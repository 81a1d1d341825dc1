//! Floor: what a round trip costs when both sides sleep.
//!
//! Each side stores a number in its own word, wakes the other and sleeps until the
//! other's word changes: two system calls a side and nothing else. The calls are
//! made directly, not through Ringway's waiting, because this is what that is
//! measured against.

use super::lines::{Lines, Side};
use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use ringway_core::sync::Ordering;
use rustix::io::Errno;
use rustix::thread::futex;

/// One side of the ping-pong.
#[derive(Debug)]
pub struct FutexWords {
    lines: Lines,
    own: Side,
    seen: u32,
}

impl Duplex for FutexWords {
    const NAME: &'static str = "futex_floor";

    fn create() -> Fallible<(Self, Parcel)> {
        let (lines, memory) = Lines::create()?;
        Ok((Self { lines, own: Side::Maker, seen: 0 }, Parcel::of([memory])))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [memory] = parcel.take()?;
        Ok(Self { lines: Lines::open(&memory)?, own: Side::Other, seen: 0 })
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        let word = self.lines.word(self.own);
        // ORDERING floor-turn (release): what a real protocol would publish with.
        word.store(super::number(message)?, Ordering::Release);
        // No flags: the word is shared between processes.
        futex::wake(word, futex::Flags::empty(), 1)?;
        Ok(())
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        let word = self.lines.word(self.own.opposite());
        loop {
            // ORDERING floor-turn (acquire)
            let number = word.load(Ordering::Acquire);
            if number != self.seen {
                self.seen = number;
                return super::put_number(message, number);
            }
            match futex::wait(word, futex::Flags::empty(), self.seen, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
