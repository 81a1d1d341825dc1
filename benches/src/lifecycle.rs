//! Making a thing, handing it to another process, and dropping it on both sides.
//!
//! One item is the whole of it: this process makes it and sends the other end over the
//! control socket; the partner attaches, uses it once, drops its end and says so; then this
//! process drops the other. The time includes the way over the socket, alike for all.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use crate::payload;
use crate::session::Session;
use crate::shape::Queued;
use crate::subject::Duplex;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

const PIPE: &str = "life_pipe";
const QUEUE: &str = "life_queue";
const SIZE: usize = 8;

/// What is made and dropped.
pub trait Life: Sized {
    /// The name in the tables.
    const NAME: &'static str;
    /// The partner's role.
    const ROLE: Role;

    /// Makes it, and what the partner needs.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn make() -> Fallible<(Self, Parcel)>;

    /// Sends the one message.
    ///
    /// # Errors
    ///
    /// The partner is gone.
    fn greet(&mut self) -> Fallible;
}

/// A pipe.
#[derive(Debug)]
pub struct Pipe<S>(S);

impl<S: Duplex> Life for Pipe<S> {
    const NAME: &'static str = S::NAME;
    const ROLE: Role = Role { workload: PIPE, subject: S::NAME, play: live_pipe::<S> };

    fn make() -> Fallible<(Self, Parcel)> {
        S::create().map(|(end, parcel)| (Self(end), parcel))
    }

    fn greet(&mut self) -> Fallible {
        let mut message = [0; SIZE];
        payload::stamp(&mut message, 1);
        self.0.send(&message)
    }
}

/// A queue.
#[derive(Debug)]
pub struct Queue<Q>(Q);

impl<Q: Queued<1>> Life for Queue<Q> {
    const NAME: &'static str = Q::NAME;
    const ROLE: Role = Role { workload: QUEUE, subject: Q::NAME, play: live_queue::<Q> };

    fn make() -> Fallible<(Self, Parcel)> {
        let queue = Q::create()?;
        let parcel = queue.parcel(0)?;
        Ok((Self(queue), parcel))
    }

    fn greet(&mut self) -> Fallible {
        self.0.put(&[1])
    }
}

fn live_pipe<S: Duplex>(control: &Control, _parcel: Parcel, _size: usize) -> Fallible {
    live(control, |parcel| {
        let mut message = [0; SIZE];
        S::attach(parcel)?.recv(&mut message)?;
        payload::check(&message, 1)
    })
}

fn live_queue<Q: Queued<1>>(control: &Control, _parcel: Parcel, _size: usize) -> Fallible {
    live(control, |parcel| match Q::attach(parcel)?.get()? {
        [1] => Ok(()),
        [other] => Err(format!("{other} came").into()),
    })
}

fn live(control: &Control, once: impl Fn(Parcel) -> Fallible) -> Fallible {
    while let Some(more) = control.recv()? {
        for _ in 0..more {
            once(control.recv_parcel()?)?;
            control.send(1)?;
        }
    }
    Ok(())
}

/// Two processes that make and drop.
#[derive(Debug)]
pub struct Lives<L> {
    partner: Partner,
    kind: PhantomData<L>,
}

impl<L: Life> Lives<L> {
    /// Starts the partner.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn start() -> Fallible<Self> {
        let Role { workload, subject, .. } = L::ROLE;
        let partner = Partner::start(workload, subject, SIZE, Parcel::default())?;
        Ok(Self { partner, kind: PhantomData })
    }
}

impl<L: Life> Session for Lives<L> {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(items)?;
        let start = Instant::now();
        for _ in 0..items {
            let (mut own, parcel) = L::make()?;
            own.greet()?;
            control.send_parcel(parcel)?;
            control.expect(1)?;
        }
        Ok(start.elapsed())
    }

    fn finish(self) -> Fallible {
        self.partner.finish()
    }
}
