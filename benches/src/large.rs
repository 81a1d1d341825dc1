//! Large messages in place, and what they are compared with: the same bytes copied once.

use crate::Fallible;
use crate::control::{CHECKED, Control, Parcel};
use crate::message::Message;
use crate::partner::{Partner, Role};
use crate::payload;
use crate::session::Session;
use crate::subjects::ringway::{Policy, Roomy};
use ringway_core::handover;
use ringway_pipe::{Builder, Raw, ReadGrant, Receiver, Sender};
use std::hint::black_box;
use std::time::{Duration, Instant};

const WORKLOAD: &str = "grants";
/// The name in the tables.
pub const NAME: &str = "ringway_grant";

/// The smallest ring: the default one; for messages of [`MANY_PAGES`] and more that of
/// [`Roomy`].
const RING: u64 = 64 << 10;
const MANY_PAGES: usize = 64 << 10;
/// How many messages a ring has room for, at least; of those longer than [`LONG`] two.
const INSIDE: u64 = 4;
const LONG: usize = 16 << 20;

/// Bytes of a ring for messages of `size` bytes in place.
pub(crate) fn capacity(size: usize) -> u64 {
    let inside = if size > LONG { INSIDE / 2 } else { INSIDE };
    let least = if size < MANY_PAGES { RING } else { Roomy::CAPACITY };
    (inside * size as u64).next_power_of_two().max(least)
}

/// Messages of one length, written where the receiver reads them.
///
/// The sender copies each message from private memory into its grant, as a program does
/// whose data come from elsewhere; the receiver checks it where it lies. One copy, where
/// sending and receiving by copy are two.
pub struct Grants {
    sender: Sender<Vec<u8>, Raw>,
    partner: Partner,
    message: Message,
    seq: u64,
}

impl Grants {
    /// Starts a partner for messages of `size` bytes.
    ///
    /// # Errors
    ///
    /// The pipe or the partner could not be made.
    pub fn start(size: usize) -> Fallible<Self> {
        let capacity = capacity(size);
        let (receiver, sender) = Builder::new().capacity(capacity).simplex::<Vec<u8>, Raw>()?;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&receiver));
        let parcel = Parcel { bytes: bytes?, descriptors };
        let partner = Partner::start(WORKLOAD, NAME, size, parcel)?;
        Ok(Self { sender, partner, message: payload::blank(size), seq: 0 })
    }
}

impl Session for Grants {
    fn batch(&mut self, count: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(count)?;
        control.expect(self.seq)?;
        let start = Instant::now();
        for _ in 0..count {
            payload::stamp(&mut self.message, self.seq);
            let mut grant = self.sender.reserve(self.message.len())?;
            grant.write_at(0, &self.message)?;
            grant.commit()?;
            self.seq += 1;
        }
        control.expect(self.seq)?;
        let took = start.elapsed();
        control.expect(CHECKED)?;
        Ok(took)
    }

    fn finish(self) -> Fallible {
        drop(self.sender);
        self.partner.finish()
    }
}

/// The partner's role.
pub const fn role() -> Role {
    Role { workload: WORKLOAD, subject: NAME, play: receive }
}

fn receive(control: &Control, parcel: Parcel, size: usize) -> Fallible {
    let Parcel { bytes, descriptors } = parcel;
    let mut receiver: Receiver<Vec<u8>, Raw> =
        handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
    let mut seq = 0;
    while let Some(count) = control.recv()? {
        control.send(seq)?;
        let Some(others) = count.checked_sub(1) else {
            control.send(seq)?;
            control.send(CHECKED)?;
            continue;
        };
        for _ in 0..others {
            checked(&mut receiver, size, seq)?.release();
            seq += 1;
        }
        let last = checked(&mut receiver, size, seq)?;
        seq += 1;
        control.send(seq)?;
        // Not counted: a copy of this size, to memory that the system has to find first.
        payload::check_whole(&last.to_vec(), seq - 1)?;
        last.release();
        control.send(CHECKED)?;
    }
    Ok(())
}

/// The next message, looked at where it lies.
fn checked(
    receiver: &mut Receiver<Vec<u8>, Raw>,
    size: usize,
    seq: u64,
) -> Fallible<ReadGrant<'_>> {
    let grant = receiver.recv_ref()?;
    if grant.len() != size {
        return Err(format!("a message of {} bytes came", grant.len()).into());
    }
    payload::check_at(size, seq, |at| Ok(grant.load(at)?))?;
    Ok(grant)
}

/// One `memcpy` of a message within one process: the work that any transport does at
/// least once.
pub struct Memcpy {
    from: Message,
    to: Message,
    bytes: usize,
    seq: u64,
}

/// Memory to copy within so that no cache holds it.
const UNCACHED: usize = 64 << 20;

impl Memcpy {
    /// The name in the tables.
    pub const NAME: &str = "memcpy";
    /// That of [`uncached`](Self::uncached).
    pub const UNCACHED: &str = "memcpy_uncached";

    /// For messages of `size` bytes: the same two buffers every time.
    pub fn start(size: usize) -> Self {
        Self::within(size, size)
    }

    /// For messages of `size` bytes, from all over 64 MiB to all over others: the cache of
    /// no processor has them, as it does not have what another one has just written.
    pub fn uncached(size: usize) -> Self {
        Self::within(size, UNCACHED.max(size))
    }

    fn within(bytes: usize, room: usize) -> Self {
        Self { from: payload::blank(room), to: payload::blank(room), bytes, seq: 0 }
    }
}

impl Session for Memcpy {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let start = Instant::now();
        for _ in 0..items {
            let places = (self.from.len() / self.bytes) as u64;
            let at = usize::try_from(self.seq % places)? * self.bytes;
            let (from, to) = (&mut self.from[at..][..self.bytes], &mut self.to[at..][..self.bytes]);
            payload::stamp(from, self.seq);
            black_box(&mut *to).copy_from_slice(black_box(from));
            payload::check(to, self.seq)?;
            self.seq += 1;
        }
        Ok(start.elapsed())
    }

    fn finish(self) -> Fallible {
        Ok(())
    }
}
