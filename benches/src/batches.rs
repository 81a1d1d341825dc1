//! Small messages through a pipe, one at a time and many.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use crate::session::Session;
use ringway_codec::Pod;
use ringway_core::handover;
use ringway_pipe::{Builder, Receiver, Sender};
use std::time::{Duration, Instant};

/// Items of a batch.
pub const BATCH: usize = 32;
/// Bytes of an item.
pub const SIZE: usize = 8;

const WORKLOAD: &str = "numbers";
const SUBJECT: &str = "ringway";

/// Numbers that one process sends and another receives and checks, so many at a time.
pub struct Numbers {
    sender: Sender<u64, Pod>,
    partner: Partner,
    batch: Vec<u64>,
    many: usize,
    seq: u64,
}

impl Numbers {
    /// Starts a partner for `many` numbers at a time; 1 stands for the single calls.
    ///
    /// # Errors
    ///
    /// The pipe or the partner could not be made.
    pub fn start(many: usize) -> Fallible<Self> {
        let (receiver, sender) = Builder::new().simplex::<u64, Pod>()?;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&receiver));
        let parcel = Parcel { bytes: bytes?, descriptors };
        let partner = Partner::start(WORKLOAD, SUBJECT, many, parcel)?;
        Ok(Self { sender, partner, batch: Vec::with_capacity(many), many, seq: 0 })
    }
}

impl Session for Numbers {
    fn batch(&mut self, count: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(count)?;
        control.expect(self.seq)?;
        let (start, end) = (Instant::now(), self.seq + count);
        if self.many == 1 {
            while self.seq < end {
                self.sender.send(&self.seq)?;
                self.seq += 1;
            }
        }
        while self.seq < end {
            let next = end.min(self.seq + self.many as u64);
            self.batch.clear();
            self.batch.extend(self.seq..next);
            self.sender.send_many(&self.batch)?;
            self.seq = next;
        }
        control.expect(self.seq)?;
        Ok(start.elapsed())
    }

    fn finish(self) -> Fallible {
        drop(self.sender);
        self.partner.finish()
    }
}

/// The partner's role.
pub const fn role() -> Role {
    Role { workload: WORKLOAD, subject: SUBJECT, play: receive }
}

fn receive(control: &Control, parcel: Parcel, many: usize) -> Fallible {
    let Parcel { bytes, descriptors } = parcel;
    let mut receiver: Receiver<u64, Pod> =
        handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
    let (mut seq, mut batch) = (0, Vec::with_capacity(many));
    while let Some(count) = control.recv()? {
        control.send(seq)?;
        let end = seq + count;
        while seq < end {
            if many == 1 {
                batch.push(receiver.recv()?);
            } else {
                receiver.recv_many(&mut batch, many)?;
            }
            for number in batch.drain(..) {
                if number != seq {
                    return Err(format!("number {number} instead of {seq}").into());
                }
                seq += 1;
            }
        }
        control.send(seq)?;
    }
    Ok(())
}
