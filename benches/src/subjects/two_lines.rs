//! Floor: what a round trip costs when nothing but two cache lines moves.
//!
//! Each side stores a number on its own line and looks at the other's until that
//! changes. No ring, no length, no payload: no protocol between two processors can do
//! with less. It carries numbers below 2^32 and one message at a time.

use super::lines::{Lines, Side};
use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use ringway_core::sync::{Ordering, spin_hint};

/// One side of the ping-pong.
#[derive(Debug)]
pub struct TwoLines {
    lines: Lines,
    own: Side,
    seen: u32,
}

impl Duplex for TwoLines {
    const NAME: &'static str = "two_line_floor";

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
        let number = super::number(message)?;
        // ORDERING floor-turn (release): what a real protocol would publish with.
        self.lines.word(self.own).store(number, Ordering::Release);
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
            spin_hint();
        }
    }
}
