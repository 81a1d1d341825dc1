//! The floor: the same memory, and nothing else.
//!
//! A file in memory of as many bytes, reserved page by page as the library's are, mapped in two
//! processes, one word written and read, and given back. Whoever promises that memory does not
//! run out later has to pay for this.

use super::{Life, Pipe, PooledQueue, Queue, RingwayOneWay};
use crate::Fallible;
use crate::control::Parcel;
use crate::queues::RingwayQueue;
use crate::subjects::Ringway;
use crate::subjects::lines::{Lines, Side};
use crate::subjects::ringway::Adaptive;
use rustix::fs::fstat;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

/// What has a floor.
pub trait Floor: Life {
    /// The bytes of its segment.
    const LEN: u64;
}

/// Two rings of 64 KiB and two pages.
impl Floor for Pipe<Ringway<Adaptive>> {
    const LEN: u64 = 2 * (64 << 10) + 8192;
}

impl Floor for RingwayOneWay {
    const LEN: u64 = (64 << 10) + 8192;
}

impl Floor for Queue<RingwayQueue<Adaptive, 1>> {
    const LEN: u64 = 70_400;
}

impl Floor for PooledQueue {
    const LEN: u64 = 594_048;
}

/// A mapping of as many bytes as `L` has.
#[derive(Debug)]
pub struct MemoryFloor<L> {
    lines: Lines,
    whose: PhantomData<L>,
}

impl<L: Floor> Life for MemoryFloor<L> {
    const WHAT: &'static str = L::WHAT;
    const NAME: &'static str = "memory_floor";
    type Theirs = Self;

    fn make() -> Fallible<(Self, Parcel)> {
        let (lines, memory) = Lines::reserve(L::LEN)?;
        Ok((Self { lines, whose: PhantomData }, Parcel::of([memory])))
    }

    fn greet(&mut self) -> Fallible {
        self.lines.word(Side::Maker).store(1, Ordering::Relaxed);
        Ok(())
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [memory] = parcel.take()?;
        Ok(Self { lines: Lines::open(&memory)?, whose: PhantomData })
    }

    fn receive(theirs: &mut Self) -> Fallible {
        match theirs.lines.word(Side::Maker).load(Ordering::Relaxed) {
            1 => Ok(()),
            other => Err(format!("{other} came").into()),
        }
    }
}

/// The bytes of the segment that a subject hands over.
///
/// # Errors
///
/// It cannot be made, or hands none over.
pub fn segment_len<L: Life>() -> Fallible<u64> {
    let (_own, parcel) = L::make()?;
    let segment = parcel.descriptors.first().ok_or("nothing is handed over")?;
    Ok(fstat(segment)?.st_size.try_into()?)
}
