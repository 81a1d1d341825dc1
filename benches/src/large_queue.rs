//! Large items through a queue whose pool holds several of them: by copy and in place.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::message::Message;
use crate::partner::{Partner, Role};
use crate::payload;
use crate::session::Session;
use ringway_core::handover;
use ringway_queue::{Builder, Queue, Raw};
use std::time::{Duration, Instant};

const WORKLOAD: &str = "large_queue";
/// How many items the pool has room for.
const INSIDE: usize = 4;

/// Items of one length from one process to another. In place, the putter copies each one
/// from private memory into its grant and the getter checks it where it lies.
pub struct LargeItems<const IN_PLACE: bool> {
    queue: Queue<Vec<u8>, Raw>,
    partner: Partner,
    message: Message,
    seq: u64,
}

impl<const IN_PLACE: bool> LargeItems<IN_PLACE> {
    /// The name in the tables.
    pub const NAME: &str = if IN_PLACE { "ringway_queue_grant" } else { "ringway_queue" };

    /// The partner's role.
    pub const ROLE: Role =
        Role { workload: WORKLOAD, subject: Self::NAME, play: receive::<IN_PLACE> };

    /// Starts a partner for items of `size` bytes.
    ///
    /// # Errors
    ///
    /// The queue or the partner could not be made.
    pub fn start(size: usize) -> Fallible<Self> {
        // A block more than the bytes need, for each.
        let pool = (INSIDE * size.next_power_of_two()) as u64;
        let queue: Queue<Vec<u8>, Raw> = Builder::new().pool_size(pool).bounded(INSIDE)?;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&queue));
        let parcel = Parcel { bytes: bytes?, descriptors };
        let partner = Partner::start(WORKLOAD, Self::NAME, size, parcel)?;
        Ok(Self { queue, partner, message: payload::blank(size), seq: 0 })
    }
}

impl<const IN_PLACE: bool> Session for LargeItems<IN_PLACE> {
    fn batch(&mut self, count: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(count)?;
        control.expect(self.seq)?;
        let start = Instant::now();
        for _ in 0..count {
            payload::stamp(&mut self.message, self.seq);
            if IN_PLACE {
                let mut grant = self.queue.reserve(self.message.len())?;
                grant.write_at(0, &self.message)?;
                grant.commit()?;
            } else {
                self.queue.put_bytes(&self.message)?;
            }
            self.seq += 1;
        }
        control.expect(self.seq)?;
        Ok(start.elapsed())
    }

    fn finish(self) -> Fallible {
        self.partner.finish()
    }
}

fn receive<const IN_PLACE: bool>(control: &Control, parcel: Parcel, size: usize) -> Fallible {
    let Parcel { bytes, descriptors } = parcel;
    let queue: Queue<Vec<u8>, Raw> =
        handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
    let mut seq = 0;
    let mut buffer = Vec::with_capacity(size);
    while let Some(count) = control.recv()? {
        control.send(seq)?;
        for n in 0..count {
            if IN_PLACE {
                let grant = queue.get_ref()?;
                if grant.len() != size {
                    return Err(format!("an item of {} bytes came", grant.len()).into());
                }
                payload::check_at(size, seq, |at| Ok(grant.load(at)?))?;
                if n + 1 == count {
                    buffer = grant.to_vec();
                }
                grant.release();
            } else {
                queue.get_into(&mut buffer)?;
                payload::check(&buffer, seq)?;
            }
            seq += 1;
        }
        control.send(seq)?;
        if count > 0 {
            payload::check_whole(&buffer, seq - 1)?;
        }
    }
    Ok(())
}
