//! The in-process ceiling: crossbeam's bounded channel between threads, in the same
//! shapes. It has no process boundary to cross and nothing to survive.

use crate::Fallible;
use crate::machine;
use crate::session::Session;
use crate::shape::{CAPACITY, Taken, item, share};
use std::thread;
use std::time::{Duration, Instant};

/// `putters` and `getters` threads, started anew for each batch.
#[derive(Debug)]
pub struct Threads<const W: usize> {
    putters: usize,
    getters: usize,
}

impl<const W: usize> Threads<W> {
    /// The name in the tables.
    pub const NAME: &'static str = "crossbeam_channel";

    /// So many threads on each side.
    pub fn new(putters: usize, getters: usize) -> Self {
        Self { putters, getters }
    }
}

impl<const W: usize> Session for Threads<W> {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let (sender, receiver) = crossbeam_channel::bounded::<[u64; W]>(CAPACITY);
        let places = machine::places();
        let pin = |cpu: Option<usize>| cpu.map_or(Ok(()), machine::pin);
        let start = Instant::now();
        let count = thread::scope(|scope| -> Fallible<u64> {
            for index in 0..self.putters {
                let sender = sender.clone();
                let count = share(items, index, self.putters);
                scope.spawn(move || -> Fallible {
                    pin(places.map(|p| p.own))?;
                    for seq in 0..count {
                        sender.send(item(index, seq))?;
                    }
                    Ok(())
                });
            }
            drop(sender);
            let getters: Vec<_> = (0..self.getters)
                .map(|_| {
                    let receiver = receiver.clone();
                    scope.spawn(move || -> Fallible<u64> {
                        pin(places.map(|p| p.partner))?;
                        let (mut taken, mut count) = (Taken::default(), 0);
                        while let Ok(got) = receiver.recv() {
                            count += u64::from(taken.take(&got)?);
                        }
                        Ok(count)
                    })
                })
                .collect();
            getters.into_iter().try_fold(0, |sum, getter| {
                Ok(sum + getter.join().map_err(|_| "a getter panicked")??)
            })
        })?;
        let took = start.elapsed();
        if count == items { Ok(took) } else { Err(format!("{count} of {items} arrived").into()) }
    }

    fn finish(self) -> Fallible {
        Ok(())
    }
}
