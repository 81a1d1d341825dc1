//! The floor of a large message: stamped, copied once within one process, and checked.

use ringway_benches::message::Message;
use ringway_benches::session::Session;
use ringway_benches::{Fallible, payload};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Two buffers.
pub struct Copies {
    from: Message,
    to: Message,
    seq: u64,
}

impl Copies {
    /// For messages of `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self { from: payload::blank(bytes), to: payload::blank(bytes), seq: 0 }
    }
}

impl Session for Copies {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let start = Instant::now();
        for _ in 0..items {
            self.seq += 1;
            payload::stamp(&mut self.from, self.seq);
            black_box(&mut *self.to).copy_from_slice(black_box(&self.from));
            payload::check(&self.to, self.seq)?;
        }
        Ok(start.elapsed())
    }

    fn finish(self) -> Fallible {
        Ok(())
    }
}
