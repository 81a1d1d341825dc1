//! Making a thing, handing it to another process, and dropping it on both sides.
//!
//! One item is the whole of it: this process makes it, uses it and sends the other end over
//! the control socket; the partner attaches, uses it once, drops its end and says so; then
//! this process drops the other. The time includes the way over the socket, alike for all.
//! What the calls themselves take, without that way, is in [`own`].

mod floor;
pub mod own;
mod subjects;

pub use floor::{Floor, MemoryFloor, segment_len};
pub use subjects::{OsPipeOneWay, Pipe, PooledQueue, Queue, RingwayOneWay};

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use crate::session::Session;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

const SIZE: usize = 8;
/// In place of a size: the partner times its own calls.
const PARTED: usize = 0;

/// What is made and dropped.
pub trait Life: Sized {
    /// What it is: the group of rows, and the partner's workload.
    const WHAT: &'static str;
    /// The name in the tables.
    const NAME: &'static str;
    /// The partner's end.
    type Theirs;

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

    /// The partner's end.
    ///
    /// # Errors
    ///
    /// The parcel is not of this subject.
    fn attach(parcel: Parcel) -> Fallible<Self::Theirs>;

    /// Takes the one message, which is there already.
    ///
    /// # Errors
    ///
    /// It is not what was sent.
    fn receive(theirs: &mut Self::Theirs) -> Fallible;

    /// The row of the whole, `lifecycle/WHAT/NAME`.
    fn id() -> String {
        format!("lifecycle/{}/{}", Self::WHAT, Self::NAME)
    }
}

/// The role of a subject's partner, for the start of `main`.
pub const fn role<L: Life>() -> Role {
    Role { workload: L::WHAT, subject: L::NAME, play: live::<L> }
}

fn live<L: Life>(control: &Control, _parcel: Parcel, size: usize) -> Fallible {
    if size == PARTED {
        return own::live::<L>(control);
    }
    while let Some(more) = control.recv()? {
        for _ in 0..more {
            let mut theirs = L::attach(control.recv_parcel()?)?;
            L::receive(&mut theirs)?;
            drop(theirs);
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
        let partner = Partner::start(L::WHAT, L::NAME, SIZE, Parcel::default())?;
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
