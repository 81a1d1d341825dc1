//! A queue, so many processes that put and so many that get.
//!
//! A batch is shared out among the putters; every getter takes what it can, until a stop
//! item comes. Items carry their putter and number: each getter checks that every putter's
//! numbers rise, and together they must have taken each once (count and sum).

use super::cpus::Cpus;
use super::crew::{self, Answer, Worker};
use super::rounds::Session;
use super::wire::Fd;
use crate::failure::{Failure, failed};
use ringway::queue::{Builder, Pod, Queue};
use serde::{Deserialize, Serialize};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Items that the queue holds at most.
const CAPACITY: usize = 1024;
/// Ends a getter's batch.
const STOP: u64 = u64::MAX;
/// Bits of an item below the putter's number.
const SEQ_BITS: u32 = 48;
/// The most putters.
const PUTTERS: usize = 16;

/// Carries items of 8 bytes; waits where it must.
trait Items {
    fn put(&mut self, item: u64) -> Result<(), Failure>;
    fn get(&mut self) -> Result<u64, Failure>;
}

impl Items for Queue<u64, Pod> {
    #[inline]
    fn put(&mut self, item: u64) -> Result<(), Failure> {
        Self::put(self, item).map_err(|e| failed("cannot put", &e.reason))
    }
    #[inline]
    fn get(&mut self) -> Result<u64, Failure> {
        Self::get(self).map_err(|e| failed("cannot get", &e))
    }
}

/// An OS pipe that all putters write to and all getters read from. A write of 8 bytes is
/// never split, so neither is an item.
struct OsQueue {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Items for OsQueue {
    #[inline]
    fn put(&mut self, item: u64) -> Result<(), Failure> {
        self.writer.write_all(&item.to_le_bytes()).map_err(|e| failed("cannot write", &e))
    }
    #[inline]
    fn get(&mut self) -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        self.reader.read_exact(&mut bytes).map_err(|e| failed("cannot read", &e))?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Means {
    Ringway,
    OsPipe,
}

/// What a process gets of it.
#[derive(Serialize, Deserialize)]
pub(super) enum Handle {
    Ringway(Queue<u64, Pod>),
    OsPipe([Fd; 2]),
}

/// What a process does with it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Part {
    /// Puts, as putter of this number.
    Put(usize),
    Get,
}

/// What a process is told at its start.
pub(super) type Arguments = (Part, Option<usize>, Handle);

struct Crowd<Q> {
    queue: Q,
    putters: Vec<Worker>,
    getters: Vec<Worker>,
    sent: Vec<u64>,
    cpus: std::rc::Rc<Cpus>,
    what: String,
}

/// Starts `each` putters and as many getters.
pub(super) fn start(
    what: &str,
    means: Means,
    each: usize,
    cpus: &std::rc::Rc<Cpus>,
) -> Result<Box<dyn Session>, Failure> {
    Ok(match means {
        Means::Ringway => {
            let queue = Builder::new().bounded(CAPACITY);
            let queue = queue.map_err(|e| failed("cannot make a queue", &e))?;
            let handle = |queue: &Queue<u64, Pod>| Ok(Handle::Ringway(queue.clone()));
            Box::new(Crowd::start(what, queue, handle, each, cpus)?)
        }
        Means::OsPipe => {
            let pipe = std::io::pipe().map_err(|e| failed("cannot make a pipe", &e))?;
            let handle = |queue: &OsQueue| {
                let reader = queue.reader.try_clone().map_err(|e| failed("no pipe", &e))?;
                let writer = queue.writer.try_clone().map_err(|e| failed("no pipe", &e))?;
                Ok(Handle::OsPipe([Fd(reader.into()), Fd(writer.into())]))
            };
            let queue = OsQueue { reader: pipe.0, writer: pipe.1 };
            Box::new(Crowd::start(what, queue, handle, each, cpus)?)
        }
    })
}

impl<Q> Crowd<Q> {
    fn start(
        what: &str,
        queue: Q,
        handle: impl Fn(&Q) -> Result<Handle, Failure>,
        each: usize,
        cpus: &std::rc::Rc<Cpus>,
    ) -> Result<Self, Failure> {
        let start = |name: &str, part, cpu| Worker::start(name, play, (part, cpu, handle(&queue)?));
        let putters = (0..each)
            .map(|index| start("bench-putter", Part::Put(index), cpus.putter(index)))
            .collect::<Result<_, _>>()?;
        let getters = (0..each)
            .map(|index| start("bench-getter", Part::Get, cpus.getter(index)))
            .collect::<Result<_, _>>()?;
        let (what, cpus) = (what.to_owned(), std::rc::Rc::clone(cpus));
        Ok(Self { queue, putters, getters, sent: vec![0; each], cpus, what })
    }
}

/// How many of `items` putter number `index` of `of` puts.
fn share(items: u64, index: usize, of: usize) -> u64 {
    items / of as u64 + u64::from((index as u64) < items % of as u64)
}

impl<Q: Items> Session for Crowd<Q> {
    fn batch(&mut self, items: u64) -> Result<Duration, Failure> {
        self.cpus.unpin()?;
        let _armed = crew::watch(&self.what, self.putters.iter().chain(&self.getters));
        for getter in &mut self.getters {
            getter.orders.send(1)?;
            getter.orders.next()?;
        }
        let of = self.putters.len();
        let start = Instant::now();
        for (index, putter) in self.putters.iter_mut().enumerate() {
            putter.orders.send(share(items, index, of))?;
        }
        for putter in &mut self.putters {
            putter.orders.next()?;
        }
        for _ in &self.getters {
            self.queue.put(STOP)?;
        }
        let (mut count, mut sum) = (0_u64, 0_u64);
        for getter in &mut self.getters {
            count += getter.orders.next()?;
            sum = sum.wrapping_add(getter.orders.next()?);
        }
        let took = start.elapsed();
        let mut expected = 0_u64;
        for (index, sent) in self.sent.iter_mut().enumerate() {
            let from = *sent;
            *sent += share(items, index, of);
            expected = (from..*sent).fold(expected, |sum, seq| sum.wrapping_add(item(index, seq)));
        }
        if (count, sum) != (items, expected) {
            let text = format!("{}: {count} of {items} items came, or wrong ones", self.what);
            return Err(Failure::Failed(text));
        }
        Ok(took)
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        self.putters.into_iter().chain(self.getters).try_for_each(Worker::finish)
    }
}

fn item(putter: usize, seq: u64) -> u64 {
    (putter as u64) << SEQ_BITS | seq
}

/// What the processes run.
pub(super) fn play((part, cpu, handle): Arguments) -> ExitCode {
    crew::play(cpu, |next, answer| match handle {
        Handle::Ringway(queue) => serve(queue, part, next, answer),
        Handle::OsPipe([reader, writer]) => {
            let queue = OsQueue { reader: reader.0.into(), writer: writer.0.into() };
            serve(queue, part, next, answer)
        }
    })
}

fn serve(
    mut queue: impl Items,
    part: Part,
    next: &mut dyn FnMut() -> Option<u64>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let mut seq = 0;
    let mut taken = Taken::default();
    while let Some(count) = next() {
        match part {
            Part::Put(putter) => {
                for _ in 0..count {
                    queue.put(item(putter, seq))?;
                    seq += 1;
                }
                answer.give(seq)?;
            }
            Part::Get => {
                answer.give(count)?;
                (taken.count, taken.sum) = (0, 0);
                while taken.take(queue.get()?)? {}
                answer.give(taken.count)?;
                answer.give(taken.sum)?;
            }
        }
    }
    Ok(())
}

/// What a getter knows of the putters.
#[derive(Debug, Default)]
struct Taken {
    next: [u64; PUTTERS],
    count: u64,
    sum: u64,
}

impl Taken {
    /// Checks and counts one; `false` for a stop.
    #[inline]
    fn take(&mut self, item: u64) -> Result<bool, Failure> {
        if item == STOP {
            return Ok(false);
        }
        let (putter, seq) = ((item >> SEQ_BITS) as usize, item & ((1 << SEQ_BITS) - 1));
        match self.next.get_mut(putter).filter(|next| seq >= **next) {
            Some(next) => *next = seq + 1,
            None => return Err(Failure::Failed(format!("item {item:#x} is torn or doubled"))),
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(item);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_shared_out_whole() {
        for items in [0, 1, 7, 1000] {
            for of in 1..5 {
                assert_eq!((0..of).map(|index| share(items, index, of)).sum::<u64>(), items);
            }
        }
    }

    #[test]
    fn doubled_reordered_and_torn_items_are_noticed() {
        let mut taken = Taken::default();
        assert!(taken.take(item(1, 0)).unwrap() && taken.take(item(1, 5)).unwrap());
        assert!(taken.take(item(0, 0)).unwrap());
        assert!(taken.take(item(1, 5)).is_err() && taken.take(item(1, 4)).is_err());
        assert!(taken.take(item(PUTTERS, 0)).is_err());
        assert!(!taken.take(STOP).unwrap());
        assert_eq!(taken.count, 3);
    }
}
