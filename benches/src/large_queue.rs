//! Large items through a queue whose pool holds several of them: by copy and in place.
//!
//! A program that puts by copy has the item in private memory. Either it lies there anyway, or
//! the program makes it there; who writes in place makes it where it will lie. So there are two
//! rows by copy: of an item that is there, of which little is new, and of one that is made anew,
//! by the same copy that an item in place is made by.

use crate::Fallible;
use crate::control::{CHECKED, Control, Parcel};
use crate::message::Message;
use crate::partner::{Partner, Role};
use crate::payload;
use crate::session::Session;
use ringway_core::handover;
use ringway_core::wait::WaitPolicy;
use ringway_queue::{Builder, Queue, Raw};
use std::hint::black_box;
use std::time::{Duration, Instant};

const WORKLOAD: &str = "large_queue";
/// How many items wait at a time; of those longer than [`LONG`] half as many.
const INSIDE: usize = 4;
/// Bytes that wait at a time, at least, where items have [`MANY_PAGES`] and more: together with
/// the blocks in hand more than the caches that two processors have of their own.
const LEAST: usize = 4 << 20;
const MANY_PAGES: usize = 64 << 10;
const LONG: usize = 16 << 20;
/// The most bytes of a pool by copy. Longer items are streamed through it.
const MOST: usize = 8 << 20;

/// The item is there; little of it changes.
pub const THERE: u8 = 0;
/// The item is made anew in private memory.
pub const MADE: u8 = 1;
/// The item is made in its grant, and checked where it lies.
pub const IN_PLACE: u8 = 2;

/// A queue for items of `size` bytes.
pub(crate) fn queue(
    size: usize,
    in_place: bool,
    policy: WaitPolicy,
) -> Fallible<Queue<Vec<u8>, Raw>> {
    let places = match size {
        ..MANY_PAGES => INSIDE,
        MANY_PAGES..=LONG => INSIDE.max(LEAST / size),
        _ => INSIDE / 2,
    };
    // Twice as much: one that has just taken an item still has its blocks while the next
    // is put in its place.
    let whole = 2 * places * size;
    let pool = if in_place { whole } else { whole.min(MOST) };
    Ok(Builder::new().policy(policy).pool_size(pool as u64).bounded(places)?)
}

/// Items of one length from one process to another, put as `HOW` says.
pub struct LargeItems<const HOW: u8> {
    queue: Queue<Vec<u8>, Raw>,
    partner: Partner,
    message: Message,
    /// Where an item is made; empty if none is.
    made: Message,
    seq: u64,
}

impl<const HOW: u8> LargeItems<HOW> {
    /// The name in the tables.
    pub const NAME: &str = match HOW {
        THERE => "ringway_queue",
        MADE => "ringway_queue_made",
        _ => "ringway_queue_grant",
    };

    /// The partner's role.
    pub const ROLE: Role = Role { workload: WORKLOAD, subject: Self::NAME, play: receive::<HOW> };

    /// Starts a partner for items of `size` bytes.
    ///
    /// # Errors
    ///
    /// The queue or the partner could not be made.
    pub fn start(size: usize) -> Fallible<Self> {
        let queue = queue(size, HOW == IN_PLACE, WaitPolicy::Adaptive)?;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&queue));
        let parcel = Parcel { bytes: bytes?, descriptors };
        let partner = Partner::start(WORKLOAD, Self::NAME, size, parcel)?;
        let made = Message::zeroed(if HOW == MADE { size } else { 0 });
        Ok(Self { queue, partner, message: payload::blank(size), made, seq: 0 })
    }
}

impl<const HOW: u8> Session for LargeItems<HOW> {
    fn batch(&mut self, count: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(count)?;
        control.expect(self.seq)?;
        let start = Instant::now();
        for _ in 0..count {
            payload::stamp(&mut self.message, self.seq);
            match HOW {
                THERE => self.queue.put_bytes(&self.message)?,
                MADE => {
                    black_box(&mut *self.made).copy_from_slice(&self.message);
                    self.queue.put_bytes(black_box(&self.made))?;
                }
                _ => {
                    let mut grant = self.queue.reserve(self.message.len())?;
                    grant.write_at(0, &self.message)?;
                    grant.commit()?;
                }
            }
            self.seq += 1;
        }
        control.expect(self.seq)?;
        let took = start.elapsed();
        control.expect(CHECKED)?;
        Ok(took)
    }

    fn finish(self) -> Fallible {
        self.partner.finish()
    }
}

fn receive<const HOW: u8>(control: &Control, parcel: Parcel, size: usize) -> Fallible {
    let Parcel { bytes, descriptors } = parcel;
    let queue: Queue<Vec<u8>, Raw> =
        handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
    let mut seq = 0;
    let mut buffer = Vec::with_capacity(size);
    while let Some(count) = control.recv()? {
        control.send(seq)?;
        let mut last = None;
        for n in 0..count {
            if HOW == IN_PLACE {
                let grant = queue.get_ref()?;
                if grant.len() != size {
                    return Err(format!("an item of {} bytes came", grant.len()).into());
                }
                payload::check_at(size, seq, |at| Ok(grant.load(at)?))?;
                if n + 1 == count {
                    last = Some(grant);
                } else {
                    grant.release();
                }
            } else {
                queue.get_into(&mut buffer)?;
                payload::check(&buffer, seq)?;
            }
            seq += 1;
        }
        control.send(seq)?;
        // Not counted: a copy of this size, to memory that the system has to find first.
        if let Some(grant) = last {
            payload::check_whole(&grant.to_vec(), seq - 1)?;
            grant.release();
        } else if count > 0 {
            payload::check_whole(&buffer, seq - 1)?;
        }
        control.send(CHECKED)?;
    }
    Ok(())
}
