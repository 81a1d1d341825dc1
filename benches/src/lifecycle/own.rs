//! What making, attaching and dropping take themselves: each process times its own calls.
//!
//! The way of an item is that of the whole, between the same two processes. But the messages
//! over the control socket, and waiting for the other process to wake up, are in no part: an
//! OS pipe that is handed over needs them just the same. What threads of the library do while
//! nobody waits for them is not in the parts either; it is in the processor time, which is
//! that of both processes with all their threads, the messages included.

use super::{Life, PARTED};
use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::Partner;
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// The parts, in the order they come. Making includes packing and letting go of what was
/// handed over; attaching includes unpacking. The partner drops first: the last drop is the
/// one that gives the memory back.
pub const PARTS: [&str; 6] =
    ["make", "first send", "attach", "first recv", "drop there", "drop here"];
/// Those that are the partner's.
const THEIRS: std::ops::Range<usize> = 2..5;
/// Items of each partner that are not counted: the first starts threads.
const WARM_UP: u64 = 20;

/// What each item of a row took, in nanoseconds.
#[derive(Debug, Default, Clone)]
pub struct Samples {
    /// The parts of each item.
    pub items: Vec<[u64; PARTS.len()]>,
    /// Nanoseconds of processor time of both processes, and for how many items.
    processor: (u64, u64),
}

impl Samples {
    /// The median of one part, in nanoseconds.
    fn part(&self, part: usize) -> f64 {
        quantile(self.items.iter().map(|item| item[part]).collect(), 0.5)
    }

    /// A quantile of the sums of the parts, in nanoseconds.
    pub fn sum(&self, at: f64) -> f64 {
        quantile(self.items.iter().map(|item| item.iter().sum()).collect(), at)
    }

    /// Adds those of another batch.
    pub fn add(&mut self, other: &Self) {
        self.items.extend_from_slice(&other.items);
        self.processor.0 += other.processor.0;
        self.processor.1 += other.processor.1;
    }
}

fn quantile(mut all: Vec<u64>, at: f64) -> f64 {
    all.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at is 0 to 1")]
    let index = (all.len().saturating_sub(1) as f64 * at).round() as usize;
    all.get(index).map_or(f64::NAN, |nanos| *nanos as f64)
}

/// The partner's part.
pub(super) fn live<L: Life>(control: &Control) -> Fallible {
    while let Some(more) = control.recv()? {
        let begun = processor_time();
        for _ in 0..more {
            let parcel = control.recv_parcel()?;
            let (mut theirs, attach) = timed(|| L::attach(parcel))?;
            let ((), receive) = timed(|| L::receive(&mut theirs))?;
            let ((), dropped) = timed(|| {
                drop(theirs);
                Ok(())
            })?;
            for nanos in [attach, receive, dropped] {
                control.send(nanos)?;
            }
        }
        control.send(processor_time() - begun)?;
    }
    Ok(())
}

/// The nanoseconds of a call beside what it gives.
fn timed<T>(call: impl FnOnce() -> Fallible<T>) -> Fallible<(T, u64)> {
    let start = Instant::now();
    let made = call()?;
    Ok((made, u64::try_from(start.elapsed().as_nanos())?))
}

/// Nanoseconds that the threads of this process have run.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let time = Duration::new(time.tv_sec.unsigned_abs(), 0)
        + Duration::from_nanos(time.tv_nsec.unsigned_abs());
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Two processes that time themselves.
#[derive(Debug)]
pub struct Own<L> {
    partner: Partner,
    kind: PhantomData<L>,
}

/// An [`Own`] of any kind.
pub trait Parted {
    /// The parts of so many items.
    ///
    /// # Errors
    ///
    /// The partner is gone, or the message was not what was sent.
    fn batch(&mut self, items: u64) -> Fallible<Samples>;

    /// Ends the partner.
    ///
    /// # Errors
    ///
    /// It found something wrong.
    fn finish(self: Box<Self>) -> Fallible;
}

impl<L: Life> Own<L> {
    /// Starts the partner, and its threads.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn start() -> Fallible<Self> {
        let partner = Partner::start(L::WHAT, L::NAME, PARTED, Parcel::default())?;
        let mut own = Self { partner, kind: PhantomData };
        own.batch(WARM_UP)?;
        Ok(own)
    }
}

impl<L: Life> Parted for Own<L> {
    fn batch(&mut self, items: u64) -> Fallible<Samples> {
        let _armed = self.partner.watch();
        let control = self.partner.control()?;
        let said = || -> Fallible<u64> { Ok(control.recv()?.ok_or("the partner ended early")?) };
        let mut samples = Samples::default();
        control.send(items)?;
        let begun = processor_time();
        for _ in 0..items {
            let mut parts = [0; PARTS.len()];
            let ((mut own, parcel), make) = timed(L::make)?;
            let ((), greet) = timed(|| own.greet())?;
            control.lend_parcel(&parcel)?;
            let ((), let_go) = timed(|| {
                drop(parcel);
                Ok(())
            })?;
            for part in THEIRS {
                parts[part] = said()?;
            }
            let ((), dropped) = timed(|| {
                drop(own);
                Ok(())
            })?;
            (parts[0], parts[1], parts[5]) = (make + let_go, greet, dropped);
            samples.items.push(parts);
        }
        let ours = processor_time() - begun;
        samples.processor = (ours + said()?, items);
        Ok(samples)
    }

    fn finish(self: Box<Self>) -> Fallible {
        self.partner.finish()
    }
}

/// The table: medians in microseconds.
pub fn table(rows: &[(String, Samples)]) -> String {
    let mut text = String::from(
        "\nmaking, attaching, dropping: what each process's own calls took, medians in us\n",
    );
    let _ = write!(text, "  {:<42}", "");
    for part in PARTS {
        let _ = write!(text, " {part:>10}");
    }
    let _ = writeln!(text, " {:>8} {:>7} {:>7} {:>9}", "sum", "10 %", "90 %", "processor");
    for (id, samples) in rows {
        let _ = write!(text, "  {id:<42}");
        for part in 0..PARTS.len() {
            let _ = write!(text, " {:>10.1}", samples.part(part) / 1e3);
        }
        let [sum, low, high] = [0.5, 0.1, 0.9].map(|at| samples.sum(at) / 1e3);
        let (nanos, items) = samples.processor;
        let processor = nanos as f64 / items as f64 / 1e3;
        let _ = writeln!(text, " {sum:>8.1} {low:>7.1} {high:>7.1} {processor:>9.1}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_each_item() {
        let mut samples = Samples::default();
        // The parts' medians add up to 6, which no item took.
        for (first, second) in [(1, 10), (1, 20), (2, 5), (3, 5), (9, 5)] {
            let items = vec![[first, second, 0, 0, 0, 0]];
            samples.add(&Samples { items, processor: (7, 1) });
        }
        assert_eq!((samples.part(0), samples.part(1), samples.sum(0.5)), (2.0, 5.0, 11.0));
        let text = table(&[("row".into(), samples)]);
        assert!(text.lines().last().unwrap().trim_start().starts_with("row"), "{text}");
    }
}
