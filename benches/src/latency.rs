//! How long single messages take, and how that is spread.
//!
//! Two processes, a *leader* and its *follower*; the benchmark itself starts the leaders
//! and sleeps. The leader starts its follower itself, so that any number of pairs can run
//! at once.
//!
//! * [`Mode::Closed`]: 8 bytes there and back, the next after the last has returned. One
//!   clock reading a round trip is part of each figure.
//! * [`Mode::Open`]: messages leave at fixed times, whether or not the one before has
//!   arrived. Each carries the time at which it was *meant* to leave, and the follower
//!   takes the time from that. A stall therefore counts for every message that should
//!   have been sent during it; a loop that waits for answers would leave those out.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use crate::payload;
use crate::subject::Duplex;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

const LEADER: &str = "latency_leader";
const FOLLOWER: &str = "latency_follower";
/// Bytes of a round trip's message.
const CLOSED: usize = 8;
/// Bytes of a one-way message: its number, and when it was meant to leave.
const OPEN: usize = 16;
/// The number that ends a stretch. Real ones begin with 1.
const STOP: u64 = 0;
/// How long before its time a message is waited for awake.
const AWAKE: u64 = 100_000;
/// A stretch that falls behind is ended after this many times its length.
const PATIENCE: u32 = 3;
/// Decimal digits that a histogram keeps.
const DIGITS: u8 = 2;

/// What the two do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// There and back, one after the other.
    Closed,
    /// One way, so many a second.
    Open(u64),
}

/// Where the two run.
#[derive(Debug, Clone, Copy)]
pub enum Cpus {
    /// Leader and follower on these.
    Pinned(usize, usize),
    /// Wherever the system puts them.
    Free,
}

/// What one stretch, or several together, gave.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Nanoseconds.
    pub times: Histogram<u64>,
    /// From the first message to the last, over all stretches.
    pub lasted: Duration,
}

impl Measured {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// Never: the histogram's bounds are sound.
    pub fn new() -> Fallible<Self> {
        Ok(Self { times: Histogram::new(DIGITS)?, lasted: Duration::ZERO })
    }

    /// Adds another stretch.
    ///
    /// # Errors
    ///
    /// Never: all histograms have the same bounds.
    pub fn add(&mut self, other: &Self) -> Fallible {
        self.times.add(&other.times)?;
        self.lasted += other.lasted;
        Ok(())
    }

    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.lasted.as_secs_f64()
    }

    /// The time that this part of the messages took at most, in nanoseconds. `None` when
    /// fewer than ten messages took longer: that would be luck.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let above = (1.0 - part) * self.times.len() as f64;
        (above >= 9.999).then(|| self.times.value_at_quantile(part))
    }

    fn into_parcel(self) -> Parcel {
        let mut words = vec![u64::try_from(self.lasted.as_nanos()).unwrap_or(u64::MAX)];
        for step in self.times.iter_recorded() {
            words.extend([step.value_iterated_to(), step.count_since_last_iteration()]);
        }
        let bytes = words.into_iter().flat_map(u64::to_le_bytes).collect();
        Parcel { bytes, descriptors: Vec::new() }
    }

    fn from_parcel(parcel: &Parcel) -> Fallible<Self> {
        let mut words =
            parcel.bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut measured = Self::new()?;
        measured.lasted = Duration::from_nanos(words.next().ok_or("no figures came")?);
        while let (Some(value), Some(count)) = (words.next(), words.next()) {
            measured.times.record_n(value, count)?;
        }
        Ok(measured)
    }
}

/// A leader and its follower, ready.
#[derive(Debug)]
pub struct Pair {
    leader: Partner,
}

impl Pair {
    /// Starts the two processes.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn start<S: Duplex>(cpus: Cpus) -> Fallible<Self> {
        let (own, other) = match cpus {
            Cpus::Pinned(own, other) => (Some(own), other + 1),
            Cpus::Free => (None, 0),
        };
        let leader = Partner::start_on(own, LEADER, S::NAME, other, Parcel::default())?;
        leader.control()?.expect(1)?;
        Ok(Self { leader })
    }

    /// Begins a stretch of about `time`.
    ///
    /// # Errors
    ///
    /// The leader is gone.
    pub fn begin(&self, mode: Mode, time: Duration) -> Fallible {
        let control = self.leader.control()?;
        control.send(match mode {
            Mode::Closed => 0,
            Mode::Open(rate) => rate,
        })?;
        control.send(u64::try_from(time.as_nanos())?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// One of the two found something wrong or is gone.
    pub fn end(&self) -> Fallible<Measured> {
        let _armed = self.leader.watch();
        Measured::from_parcel(&self.leader.control()?.recv_parcel()?)
    }

    /// Ends the two processes.
    ///
    /// # Errors
    ///
    /// One of them found something wrong.
    pub fn finish(self) -> Fallible {
        self.leader.finish()
    }
}

/// The roles of a subject's leader and follower.
pub const fn roles<S: Duplex>() -> [Role; 2] {
    [
        Role { workload: LEADER, subject: S::NAME, play: lead::<S> },
        Role { workload: FOLLOWER, subject: S::NAME, play: follow::<S> },
    ]
}

/// The time that all processes agree on, in nanoseconds.
#[inline]
fn now() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec.unsigned_abs() * 1_000_000_000 + tv_nsec.unsigned_abs()
}

/// The leader's part. `other` is one more than the follower's processor; 0: any.
fn lead<S: Duplex>(control: &Control, _parcel: Parcel, other: usize) -> Fallible {
    let (mut end, parcel) = S::create()?;
    let follower = Partner::start_on(other.checked_sub(1), FOLLOWER, S::NAME, OPEN, parcel)?;
    let theirs = follower.control()?;
    theirs.expect(1)?;
    control.send(1)?;
    while let Some(rate) = control.recv()? {
        let time = Duration::from_nanos(control.recv()?.ok_or("the order is cut short")?);
        theirs.send(rate)?;
        let measured = if rate == 0 {
            let measured = there_and_back(&mut end, time)?;
            // A subject may hold one message only: the next stretch must not begin before
            // the end of this one was seen.
            theirs.expect(1)?;
            measured
        } else {
            send_on_time(&mut end, rate, time)?;
            Measured::from_parcel(&theirs.recv_parcel()?)?
        };
        control.send_parcel(measured.into_parcel())?;
    }
    drop(end);
    follower.finish()
}

fn there_and_back<S: Duplex>(end: &mut S, time: Duration) -> Fallible<Measured> {
    let mut measured = Measured::new()?;
    let mut message = [0; CLOSED];
    let start = now();
    let until = start + u64::try_from(time.as_nanos())?;
    let (mut seq, mut before) = (STOP, start);
    while before < until {
        seq += 1;
        payload::stamp(&mut message, seq);
        end.send(&message)?;
        end.recv(&mut message)?;
        payload::check(&message, seq)?;
        let after = now();
        measured.times.record(after - before)?;
        before = after;
    }
    payload::stamp(&mut message, STOP);
    end.send(&message)?;
    measured.lasted = Duration::from_nanos(before - start);
    Ok(measured)
}

fn send_on_time<S: Duplex>(end: &mut S, rate: u64, time: Duration) -> Fallible {
    let mut message = [0; OPEN];
    let mut send = |seq: u64, meant: u64| {
        message[..8].copy_from_slice(&seq.to_le_bytes());
        message[8..].copy_from_slice(&meant.to_le_bytes());
        end.send(&message)
    };
    // Both sides awake and in place.
    let start = now() + 1_000_000;
    let count = rate * u64::try_from(time.as_nanos())? / 1_000_000_000;
    let late = start + u64::try_from((PATIENCE * time).as_nanos())?;
    for seq in 1..=count {
        let meant = start + seq * 1_000_000_000 / rate;
        let mut at = now();
        if at > late {
            break;
        }
        if meant > at + AWAKE {
            std::thread::sleep(Duration::from_nanos(meant - at - AWAKE));
            at = now();
        }
        while at < meant {
            std::hint::spin_loop();
            at = now();
        }
        send(seq, meant)?;
    }
    send(STOP, 0)
}

fn follow<S: Duplex>(control: &Control, parcel: Parcel, _size: usize) -> Fallible {
    let mut end = S::attach(parcel)?;
    control.send(1)?;
    while let Some(rate) = control.recv()? {
        if rate == 0 {
            send_back(&mut end)?;
            control.send(1)?;
        } else {
            control.send_parcel(receive(&mut end)?.into_parcel())?;
        }
    }
    Ok(())
}

fn send_back<S: Duplex>(end: &mut S) -> Fallible {
    let mut message = [0; CLOSED];
    let mut seq = STOP;
    loop {
        end.recv(&mut message)?;
        if u64::from_le_bytes(message) == STOP {
            return Ok(());
        }
        seq += 1;
        payload::check(&message, seq)?;
        end.send(&message)?;
    }
}

fn receive<S: Duplex>(end: &mut S) -> Fallible<Measured> {
    let mut measured = Measured::new()?;
    let mut message = [0; OPEN];
    let (mut expected, mut first, mut last) = (STOP, None, 0);
    loop {
        end.recv(&mut message)?;
        let [seq, meant] = [0, 8]
            .map(|at| message[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
        if seq == STOP {
            break;
        }
        last = now();
        expected += 1;
        if seq != expected {
            return Err(format!("message {seq} came instead of {expected}").into());
        }
        first.get_or_insert(meant);
        measured.times.record(last.saturating_sub(meant))?;
    }
    let lasted = last.saturating_sub(first.unwrap_or(last));
    measured.lasted = Duration::from_nanos(lasted);
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let mut measured = Measured::new().unwrap();
        measured.times.record_n(100, 990).unwrap();
        measured.times.record_n(100_000, 10).unwrap();
        measured.lasted = Duration::from_millis(10);
        measured
    }

    #[test]
    fn figures_survive_the_way_between_processes() {
        let there = measured();
        let here = Measured::from_parcel(&there.clone().into_parcel()).unwrap();
        assert_eq!(here.times, there.times);
        assert_eq!((here.lasted, here.rate()), (there.lasted, 100_000.0));
        let mut both = here.clone();
        both.add(&there).unwrap();
        assert_eq!((both.times.len(), both.rate()), (2000, 100_000.0));
    }

    #[test]
    fn a_quantile_needs_messages_beyond_it() {
        assert_eq!(measured().quantile(0.5), Some(100));
        assert!(measured().quantile(0.99).is_some());
        assert_eq!(measured().quantile(0.999), None);
    }
}
