//! What a program does with long messages: it makes each for the occasion, and the receiver
//! reads all of it, or answers before there is another.
//!
//! Where one process only copies as fast as another looks, a copy at either end is hidden by
//! the other's, for each has a processor of its own. It is not where the receiver has work to
//! do with what it received, nor where the sender waits for the answer.

use crate::Fallible;
use crate::control::{CHECKED, Control, Parcel};
use crate::message::Message;
use crate::partner::{Partner, Role};
use crate::payload;
use crate::session::Session;
use crate::ways::{PIECE, Taken, Way};
use ringway_codec::Pod;
use ringway_core::handover;
use ringway_core::wait::WaitPolicy;
use ringway_pipe::{Builder, Receiver, Sender};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Messages follow one another; the receiver reads every byte.
pub const USED: u8 = 0;
/// The receiver answers each message, with its number, before the next; nobody sleeps.
pub const SINGLE: u8 = 1;

/// Messages of one length that go one way, used as `HOW` says.
pub struct Uses<W: Way, const HOW: u8> {
    sender: W::Sender,
    answers: Receiver<u64, Pod>,
    partner: Partner,
    message: Message,
    /// Where a message is made that is sent by copy.
    made: Message,
    seq: u64,
}

impl<W: Way, const HOW: u8> Uses<W, HOW> {
    /// The workload's name in the tables.
    pub const WORKLOAD: &str = if HOW == USED { "large_used" } else { "large_single" };

    /// The partner's role.
    pub const ROLE: Role =
        Role { workload: Self::WORKLOAD, subject: W::NAME, play: receive::<W, HOW> };

    /// Starts a partner for messages of `size` bytes.
    ///
    /// # Errors
    ///
    /// The way or the partner could not be made.
    pub fn start(size: usize) -> Fallible<Self> {
        let policy = if HOW == USED { WaitPolicy::Adaptive } else { WaitPolicy::Spin };
        let (sender, receiver) = W::create(size, policy)?;
        let (answers, answerer) = Builder::new().policy(policy).simplex::<u64, Pod>()?;
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&(receiver, answerer)));
        let parcel = Parcel { bytes: bytes?, descriptors };
        let partner = Partner::start(Self::WORKLOAD, W::NAME, size, parcel)?;
        let (message, made) = (payload::blank(size), Message::zeroed(size));
        Ok(Self { sender, answers, partner, message, made, seq: 0 })
    }
}

impl<W: Way, const HOW: u8> Session for Uses<W, HOW> {
    fn batch(&mut self, count: u64) -> Fallible<Duration> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        control.send(count)?;
        control.expect(self.seq)?;
        let start = Instant::now();
        for _ in 0..count {
            payload::stamp(&mut self.message, self.seq);
            W::send(&mut self.sender, &self.message, &mut self.made)?;
            if HOW == SINGLE {
                let answer = self.answers.recv()?;
                if answer != self.seq {
                    return Err(format!("the answer {answer} to message {}", self.seq).into());
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
        drop((self.sender, self.answers));
        self.partner.finish()
    }
}

fn receive<W: Way, const HOW: u8>(control: &Control, parcel: Parcel, size: usize) -> Fallible {
    let Parcel { bytes, descriptors } = parcel;
    let (mut receiver, mut answerer): (W::Receiver, Sender<u64, Pod>) =
        handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
    let (mut room, mut piece) = (W::room(size), Message::zeroed(PIECE));
    let mut seq = 0;
    while let Some(count) = control.recv()? {
        control.send(seq)?;
        if count == 0 {
            control.send(seq)?;
            control.send(CHECKED)?;
        }
        for left in (0..count).rev() {
            let taken = W::take(&mut receiver, &mut room)?;
            if taken.size() != size {
                return Err(format!("a message of {} bytes came", taken.size()).into());
            }
            if HOW == USED {
                black_box(taken.sum(&mut piece, seq)?);
            } else {
                payload::check_at(size, seq, |at| taken.word(at))?;
            }
            // The last one stays until it is checked, and that is not counted.
            let last = if left > 0 {
                taken.release();
                None
            } else {
                Some(taken)
            };
            if HOW == SINGLE {
                answerer.send(&seq)?;
            }
            seq += 1;
            if let Some(taken) = last {
                control.send(seq)?;
                payload::check_whole(&taken.whole(), seq - 1)?;
                taken.release();
                control.send(CHECKED)?;
            }
        }
    }
    Ok(())
}
