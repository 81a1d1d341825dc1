//! The floor of a large message: it is copied once, in one process, from one buffer to
//! another, and nothing else. Stamped and checked like all others.

use super::cpus::pin;
use super::message::Message;
use super::rounds::Session;
use crate::failure::Failure;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Two buffers.
pub(super) struct Copies {
    from: Message,
    to: Message,
    seq: u64,
    own: Option<usize>,
}

impl Copies {
    /// For messages of `size` bytes.
    pub(super) fn new(size: usize, own: Option<usize>) -> Self {
        Self { from: Message::new(size), to: Message::new(size), seq: 0, own }
    }
}

impl Session for Copies {
    fn batch(&mut self, count: u64) -> Result<Duration, Failure> {
        pin(self.own)?;
        let start = Instant::now();
        for _ in 0..count {
            self.seq += 1;
            self.from.stamp(self.seq);
            black_box(&mut *self.to).copy_from_slice(black_box(&self.from));
            self.to.check(self.seq)?;
        }
        Ok(start.elapsed())
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
