//! Messages in one direction, as fast as they go.
//!
//! The benchmark sends a batch, the partner receives and checks it and acknowledges
//! the whole batch on the control socket. The time runs from before the first send
//! until that acknowledgement: no message counts that did not arrive. Then the partner checks
//! every byte of the last one, and says so: whoever measures next has the processor to itself.

use crate::Fallible;
use crate::control::{CHECKED, Control, Parcel};
use crate::message::Message;
use crate::partner::{Partner, Role};
use crate::payload;
use crate::session::Session;
use crate::subject::Duplex;
use std::time::{Duration, Instant};

const WORKLOAD: &str = "oneway";

/// A sender and its running partner.
#[derive(Debug)]
pub struct OneWay<S> {
    // Before the partner: the subject closes first, then the partner is ended.
    end: S,
    partner: Partner,
    message: Message,
    seq: u64,
}

impl<S: Duplex> OneWay<S> {
    /// Starts a partner for messages of `size` bytes.
    ///
    /// # Errors
    ///
    /// The subject or the partner could not be made.
    pub fn start(size: usize) -> Fallible<Self> {
        let (end, parcel) = S::create()?;
        let partner = Partner::start(WORKLOAD, S::NAME, size, parcel)?;
        Ok(Self { end, partner, message: payload::blank(size), seq: 0 })
    }
}

impl<S: Duplex> Session for OneWay<S> {
    fn batch(&mut self, count: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(count)?;
        control.expect(self.seq)?;
        let start = Instant::now();
        for _ in 0..count {
            payload::stamp(&mut self.message, self.seq);
            self.end.send(&self.message)?;
            self.seq += 1;
        }
        control.expect(self.seq)?;
        let took = start.elapsed();
        control.expect(CHECKED)?;
        Ok(took)
    }

    fn finish(self) -> Fallible {
        drop(self.end);
        self.partner.finish()
    }
}

/// The partner's role for a subject.
pub const fn role<S: Duplex>() -> Role {
    Role { workload: WORKLOAD, subject: S::NAME, play: receive::<S> }
}

fn receive<S: Duplex>(control: &Control, parcel: Parcel, size: usize) -> Fallible {
    let mut end = S::attach(parcel)?;
    let mut message = Message::zeroed(size);
    let mut seq = 0;
    while let Some(count) = control.recv()? {
        control.send(seq)?;
        for _ in 0..count {
            end.recv(&mut message)?;
            payload::check(&message, seq)?;
            seq += 1;
        }
        control.send(seq)?;
        // After the acknowledgement: every byte of the batch's last message.
        if count > 0 {
            payload::check_whole(&message, seq - 1)?;
        }
        control.send(CHECKED)?;
    }
    Ok(())
}
