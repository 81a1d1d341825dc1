//! Two processes and a pipe: messages one way, and there and back.
//!
//! This process is one side, the partner the other. The time of a one-way batch ends when
//! the partner has answered that all of it came and was right.

use super::cpus::pin;
use super::crew::{self, Answer, Worker};
use super::lines::{Lines, Sleeping, Spinning};
use super::message::Message;
use super::rounds::Session;
use super::wire::{Fd, OsPipe, Pipe, Wire};
use crate::failure::{Failure, failed};
use ringway::WaitPolicy;
use ringway::pipe::Builder;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the two do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Work {
    /// As fast as they go, in one direction.
    OneWay,
    /// There and back, one at a time.
    RoundTrip,
}

/// Over what they do it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Means {
    /// Ringway's pipe, with this policy.
    Ringway(WaitPolicy),
    /// The system's.
    OsPipe,
    /// Two cache lines, both sides spinning.
    TwoLines,
    /// Two words, both sides sleeping.
    Futex,
}

/// The partner's end.
#[derive(Serialize, Deserialize)]
pub(super) enum End {
    Ringway(Box<Pipe>),
    OsPipe([Fd; 2]),
    TwoLines(Fd),
    Futex(Fd),
}

/// What the partner is told at its start.
pub(super) type Arguments = (Work, usize, Option<usize>, End);

struct Pair<W> {
    // Before the partner: the wire closes first, then the partner is ended.
    wire: W,
    partner: Worker,
    work: Work,
    message: Message,
    seq: u64,
    own: Option<usize>,
    what: String,
}

/// Starts a partner for messages of `size` bytes, on the second of `places`.
pub(super) fn start(
    what: &str,
    work: Work,
    means: Means,
    size: usize,
    places: Option<(usize, usize)>,
) -> Result<Box<dyn Session>, Failure> {
    let (own, other) = (places.map(|p| p.0), places.map(|p| p.1));
    let partner = |end| Worker::start("bench-partner", play, (work, size, other, end));
    let message = Message::new(size);
    let what = what.to_owned();
    Ok(match means {
        Means::Ringway(policy) => {
            let made = Builder::new().policy(policy).duplex();
            let (wire, theirs): (Pipe, Pipe) =
                made.map_err(|e| failed("cannot make a pipe", &e))?;
            let partner = partner(End::Ringway(Box::new(theirs)))?;
            Box::new(Pair { wire, partner, work, message, seq: 0, own, what })
        }
        Means::OsPipe => {
            let (wire, theirs) = OsPipe::create()?;
            let partner = partner(End::OsPipe(theirs))?;
            Box::new(Pair { wire, partner, work, message, seq: 0, own, what })
        }
        Means::TwoLines => {
            let (wire, theirs) = Lines::<Spinning>::create()?;
            let partner = partner(End::TwoLines(theirs))?;
            Box::new(Pair { wire, partner, work, message, seq: 0, own, what })
        }
        Means::Futex => {
            let (wire, theirs) = Lines::<Sleeping>::create()?;
            let partner = partner(End::Futex(theirs))?;
            Box::new(Pair { wire, partner, work, message, seq: 0, own, what })
        }
    })
}

impl<W: Wire> Session for Pair<W> {
    fn batch(&mut self, count: u64) -> Result<Duration, Failure> {
        pin(self.own)?;
        let _armed = crew::watch(&self.what, std::iter::once(&self.partner));
        self.partner.orders.send(count)?;
        self.partner.orders.next()?;
        let start = Instant::now();
        for _ in 0..count {
            // Numbers begin with 1: an untouched word of a floor reads 0.
            self.seq += 1;
            self.message.stamp(self.seq);
            self.wire.send(&self.message)?;
            if self.work == Work::RoundTrip {
                self.wire.recv(&mut self.message)?;
                self.message.check(self.seq)?;
            }
        }
        if self.partner.orders.next()? != self.seq {
            return Err(Failure::Failed(format!("{}: not all messages came", self.what)));
        }
        Ok(start.elapsed())
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        drop(self.wire);
        self.partner.finish()
    }
}

/// What the partner process runs.
pub(super) fn play((work, size, cpu, end): Arguments) -> ExitCode {
    crew::play(cpu, |next, answer| match end {
        End::Ringway(pipe) => serve(*pipe, work, size, next, answer),
        End::OsPipe(ends) => serve(OsPipe::open(ends), work, size, next, answer),
        End::TwoLines(fd) => serve(Lines::<Spinning>::open(fd)?, work, size, next, answer),
        End::Futex(fd) => serve(Lines::<Sleeping>::open(fd)?, work, size, next, answer),
    })
}

fn serve(
    mut wire: impl Wire,
    work: Work,
    size: usize,
    next: &mut dyn FnMut() -> Option<u64>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let mut message = Message::new(size);
    let mut seq = 0;
    while let Some(count) = next() {
        answer.give(seq)?;
        for _ in 0..count {
            seq += 1;
            wire.recv(&mut message)?;
            message.check(seq)?;
            if work == Work::RoundTrip {
                wire.send(&message)?;
            }
        }
        answer.give(seq)?;
    }
    Ok(())
}
