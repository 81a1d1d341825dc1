//! One message there and one back, never two at a time: latency.
//!
//! Both sides check the number. A round trip crosses between the processors twice.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use crate::payload;
use crate::session::Session;
use crate::subject::Duplex;
use std::time::{Duration, Instant};

const WORKLOAD: &str = "round_trip";
/// Bytes in a message.
pub const SIZE: usize = 8;

/// One side and its running partner.
#[derive(Debug)]
pub struct RoundTrip<S> {
    end: S,
    partner: Partner,
    seq: u64,
}

impl<S: Duplex> RoundTrip<S> {
    /// Starts a partner.
    ///
    /// # Errors
    ///
    /// The subject or the partner could not be made.
    pub fn start() -> Fallible<Self> {
        let (end, parcel) = S::create()?;
        let partner = Partner::start(WORKLOAD, S::NAME, SIZE, parcel)?;
        Ok(Self { end, partner, seq: 0 })
    }
}

impl<S: Duplex> Session for RoundTrip<S> {
    fn batch(&mut self, count: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(count)?;
        control.expect(self.seq)?;
        let mut message = [0; SIZE];
        let start = Instant::now();
        for _ in 0..count {
            // Numbers begin with 1: a floor's empty line reads 0.
            self.seq += 1;
            payload::stamp(&mut message, self.seq);
            self.end.send(&message)?;
            self.end.recv(&mut message)?;
            payload::check(&message, self.seq)?;
        }
        Ok(start.elapsed())
    }

    fn finish(self) -> Fallible {
        drop(self.end);
        self.partner.finish()
    }
}

/// The partner's role for a subject.
pub const fn role<S: Duplex>() -> Role {
    Role { workload: WORKLOAD, subject: S::NAME, play: answer::<S> }
}

fn answer<S: Duplex>(control: &Control, parcel: Parcel, _size: usize) -> Fallible {
    let mut end = S::attach(parcel)?;
    let mut message = [0; SIZE];
    let mut seq = 0;
    while let Some(count) = control.recv()? {
        control.send(seq)?;
        for _ in 0..count {
            seq += 1;
            end.recv(&mut message)?;
            payload::check(&message, seq)?;
            end.send(&message)?;
        }
    }
    Ok(())
}
