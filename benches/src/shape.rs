//! A queue between so many putting and so many getting processes.
//!
//! The benchmark starts all of them and sleeps while they work. A batch is shared out
//! among the putters; every getter takes what it can, until a stop item comes. Items
//! carry their putter and number: each getter checks that every putter's numbers rise,
//! and together they must have taken each item once (count and sum).

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::machine;
use crate::partner::{Partner, Role};
use crate::session::Session;
use std::time::{Duration, Instant};

/// Items that every rival queue holds at most.
pub const CAPACITY: usize = 1024;

const PUT: &str = "put";
const GET: &str = "get";
/// The first word of an item that ends a getter's batch.
const STOP: u64 = u64::MAX;
/// Bits of the first word below the putter's number.
const SEQ_BITS: u32 = 48;
const PUTTERS: usize = 16;

/// A way to move items of `W` words between processes.
pub trait Queued<const W: usize>: Sized {
    /// The name in the tables.
    const NAME: &'static str;

    /// Makes a queue.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn create() -> Fallible<Self>;

    /// What process number `place` needs to attach.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn parcel(&self, place: usize) -> Fallible<Parcel>;

    /// Attaches to the queue behind a parcel.
    ///
    /// # Errors
    ///
    /// The system refused.
    fn attach(parcel: Parcel) -> Fallible<Self>;

    /// Puts one item; waits for room.
    ///
    /// # Errors
    ///
    /// The queue is broken.
    fn put(&mut self, item: &[u64; W]) -> Fallible;

    /// Puts what [`put`](Self::put) has kept back.
    ///
    /// # Errors
    ///
    /// The queue is broken.
    fn flush(&mut self) -> Fallible {
        Ok(())
    }

    /// Takes one item; waits for it.
    ///
    /// # Errors
    ///
    /// The queue is broken.
    fn get(&mut self) -> Fallible<[u64; W]>;
}

/// Item `seq` of a putter: every word depends on both.
#[inline]
pub fn item<const W: usize>(putter: usize, seq: u64) -> [u64; W] {
    let first = (putter as u64) << SEQ_BITS | seq;
    let mut word = first;
    std::array::from_fn(|_| {
        let this = word;
        word = word.rotate_left(8);
        this
    })
}

/// What getters know of the putters.
#[derive(Debug, Default)]
pub struct Taken {
    next: [u64; PUTTERS],
}

impl Taken {
    /// Checks one item; `false` for a stop. The caller counts, in registers: counts in here
    /// would cost a getter a store and a load that waits for it for each item.
    ///
    /// # Errors
    ///
    /// It is torn, or comes twice or out of turn.
    #[inline]
    pub fn take<const W: usize>(&mut self, got: &[u64; W]) -> Fallible<bool> {
        if got[0] == STOP {
            return Ok(false);
        }
        let (putter, seq) = ((got[0] >> SEQ_BITS) as usize, got[0] & ((1 << SEQ_BITS) - 1));
        if putter >= PUTTERS || *got != item::<W>(putter, seq) || seq < self.next[putter] {
            return Err(format!("item {:#x} is torn, doubled or out of order", got[0]).into());
        }
        self.next[putter] = seq + 1;
        Ok(true)
    }
}

/// How many of `items` putter number `index` of `of` puts.
pub fn share(items: u64, index: usize, of: usize) -> u64 {
    items / of as u64 + u64::from((index as u64) < items % of as u64)
}

/// A running queue with its processes.
pub struct Shape<Q, const W: usize> {
    queue: Q,
    putters: Vec<Partner>,
    getters: Vec<Partner>,
    sent: Vec<u64>,
}

impl<Q: Queued<W>, const W: usize> Shape<Q, W> {
    /// Starts `putters` and `getters` processes; the former share the first processor
    /// and the latter the second.
    ///
    /// # Errors
    ///
    /// The queue or a process could not be made.
    pub fn start(putters: usize, getters: usize) -> Fallible<Self> {
        let queue = Q::create()?;
        let places = machine::places();
        let start = |workload, cpu, index, place| {
            Partner::start_on(cpu, workload, Q::NAME, index, queue.parcel(place)?)
        };
        let (own, other) = (places.map(|p| p.own), places.map(|p| p.partner));
        let all_putters =
            (0..putters).map(|i| start(name::<W>(PUT), own, i, i)).collect::<Fallible<_>>()?;
        let all_getters = (0..getters)
            .map(|i| start(name::<W>(GET), other, i, putters + i))
            .collect::<Fallible<_>>()?;
        Ok(Self { queue, putters: all_putters, getters: all_getters, sent: vec![0; putters] })
    }
}

/// The workload's name also tells how wide items are.
const fn name<const W: usize>(workload: &'static str) -> &'static str {
    match (workload.as_bytes()[0], W) {
        (b'p', 1) => "put8",
        (b'p', _) => "put64",
        (_, 1) => "get8",
        (_, _) => "get64",
    }
}

impl<Q: Queued<W>, const W: usize> Session for Shape<Q, W> {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let _armed: Vec<_> = self.putters.iter().chain(&self.getters).map(Partner::watch).collect();
        for getter in &self.getters {
            getter.control()?.send(1)?;
            getter.control()?.expect(1)?;
        }
        let of = self.putters.len();
        let start = Instant::now();
        for (index, putter) in self.putters.iter().enumerate() {
            putter.control()?.send(share(items, index, of))?;
        }
        for putter in &self.putters {
            putter.control()?.expect(0)?;
        }
        for _ in &self.getters {
            self.queue.put(&[STOP; W])?;
        }
        self.queue.flush()?;
        let (mut count, mut sum) = (0_u64, 0_u64);
        for getter in &self.getters {
            let control = getter.control()?;
            count += control.recv()?.ok_or("a getter ended early")?;
            sum = sum.wrapping_add(control.recv()?.ok_or("a getter ended early")?);
        }
        let took = start.elapsed();
        let mut expected = 0_u64;
        for (index, sent) in self.sent.iter_mut().enumerate() {
            let from = *sent;
            *sent += share(items, index, of);
            expected =
                (from..*sent).fold(expected, |sum, seq| sum.wrapping_add(item::<1>(index, seq)[0]));
        }
        if (count, sum) != (items, expected) {
            return Err(format!("{count} of {items} items arrived, or not the right ones").into());
        }
        Ok(took)
    }

    fn finish(self) -> Fallible {
        let Self { queue, putters, getters, .. } = self;
        for partner in putters.into_iter().chain(getters) {
            partner.finish()?;
        }
        drop(queue);
        Ok(())
    }
}

/// The roles of a subject's processes.
pub fn roles<Q: Queued<W>, const W: usize>() -> [Role; 2] {
    [
        Role { workload: name::<W>(PUT), subject: Q::NAME, play: put::<Q, W> },
        Role { workload: name::<W>(GET), subject: Q::NAME, play: get::<Q, W> },
    ]
}

fn put<Q: Queued<W>, const W: usize>(control: &Control, parcel: Parcel, index: usize) -> Fallible {
    let mut queue = Q::attach(parcel)?;
    let mut seq = 0;
    while let Some(count) = control.recv()? {
        for _ in 0..count {
            queue.put(&item(index, seq))?;
            seq += 1;
        }
        queue.flush()?;
        control.send(0)?;
    }
    Ok(())
}

fn get<Q: Queued<W>, const W: usize>(control: &Control, parcel: Parcel, _index: usize) -> Fallible {
    let mut queue = Q::attach(parcel)?;
    let mut taken = Taken::default();
    while let Some(ready) = control.recv()? {
        control.send(ready)?;
        let (mut count, mut sum) = (0, 0_u64);
        loop {
            let got = queue.get()?;
            if !taken.take(&got)? {
                break;
            }
            count += 1;
            sum = sum.wrapping_add(got[0]);
        }
        control.send(count)?;
        control.send(sum)?;
    }
    Ok(())
}
