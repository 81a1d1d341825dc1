//! Channels between threads of one process: they have no process boundary to cross and
//! nothing to survive, so they show what could be had at best.

use crossbeam_queue::ArrayQueue;
use ringway_benches::session::Session;
use ringway_benches::shape::{CAPACITY, Taken, item, share};
use ringway_benches::{Fallible, machine};
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Looks at a queue that cannot wait, before the processor goes to somebody else.
const LOOKS: u32 = 64;

/// The putting and the getting ends of a channel.
pub type Ends<C> = (Vec<<C as Channel>::Put>, Vec<<C as Channel>::Get>);

/// A bounded channel between threads.
pub trait Channel: Sized {
    /// The name in the tables.
    const NAME: &'static str;
    /// The putting end.
    type Put: Send;
    /// The getting end.
    type Get: Send;
    /// So many ends on each side; `None` if it cannot have as many.
    fn ends(putters: usize, getters: usize) -> Option<Ends<Self>>;
    /// Puts one; waits for room.
    ///
    /// # Errors
    ///
    /// The others are gone.
    fn put(end: &mut Self::Put, item: u64) -> Fallible;
    /// Takes one; `None` when all putters are gone.
    fn get(end: &mut Self::Get) -> Option<u64>;
}

macro_rules! cloned {
    ($type:ident, $name:literal, $crate_:ident) => {
        /// As the crate gives it.
        pub struct $type;

        impl Channel for $type {
            const NAME: &'static str = $name;
            type Put = $crate_::Sender<u64>;
            type Get = $crate_::Receiver<u64>;

            fn ends(putters: usize, getters: usize) -> Option<Ends<Self>> {
                let (put, get) = $crate_::bounded(CAPACITY);
                Some((vec![put; putters], vec![get; getters]))
            }

            #[inline]
            fn put(end: &mut Self::Put, item: u64) -> Fallible {
                Ok(end.send(item)?)
            }

            #[inline]
            fn get(end: &mut Self::Get) -> Option<u64> {
                end.recv().ok()
            }
        }
    };
}

cloned!(Crossbeam, "crossbeam_channel*", crossbeam_channel);
cloned!(Kanal, "kanal*", kanal);
cloned!(Flume, "flume*", flume);

/// Tries until it works.
fn until<R>(mut once: impl FnMut() -> Option<R>) -> R {
    loop {
        for _ in 0..LOOKS {
            if let Some(done) = once() {
                return done;
            }
            std::hint::spin_loop();
        }
        thread::yield_now();
    }
}

/// It cannot wait, so both sides try again. A putter that is done says so by its end's
/// going away.
pub struct Array;

impl Channel for Array {
    const NAME: &'static str = "array_queue*";
    type Put = (Arc<ArrayQueue<u64>>, Arc<()>);
    type Get = (Arc<ArrayQueue<u64>>, std::sync::Weak<()>);

    fn ends(putters: usize, getters: usize) -> Option<Ends<Self>> {
        let (queue, alive) = (Arc::new(ArrayQueue::new(CAPACITY)), Arc::new(()));
        let get = vec![(Arc::clone(&queue), Arc::downgrade(&alive)); getters];
        Some((vec![(queue, alive); putters], get))
    }

    #[inline]
    fn put(end: &mut Self::Put, item: u64) -> Fallible {
        until(|| end.0.push(item).ok());
        Ok(())
    }

    #[inline]
    fn get(end: &mut Self::Get) -> Option<u64> {
        until(|| match end.0.pop() {
            Some(item) => Some(Some(item)),
            // What was put before the last putter went away is there now.
            None if end.1.strong_count() == 0 => Some(end.0.pop()),
            None => None,
        })
    }
}

/// One putter and one getter; it cannot wait either.
pub struct Rtrb;

impl Channel for Rtrb {
    const NAME: &'static str = "rtrb*";
    type Put = rtrb::Producer<u64>;
    type Get = rtrb::Consumer<u64>;

    fn ends(putters: usize, getters: usize) -> Option<Ends<Self>> {
        let (put, get) = rtrb::RingBuffer::new(CAPACITY);
        ((putters, getters) == (1, 1)).then(|| (vec![put], vec![get]))
    }

    #[inline]
    fn put(end: &mut Self::Put, item: u64) -> Fallible {
        until(|| end.push(item).ok());
        Ok(())
    }

    #[inline]
    fn get(end: &mut Self::Get) -> Option<u64> {
        until(|| match end.pop() {
            Ok(item) => Some(Some(item)),
            Err(_) if end.is_abandoned() => Some(end.pop().ok()),
            Err(_) => None,
        })
    }
}

/// Threads over a channel, started anew for each batch: there is no other way to tell the
/// getters that it is over.
pub struct Threads<C> {
    putters: usize,
    getters: usize,
    channel: PhantomData<C>,
}

impl<C: Channel> Threads<C> {
    /// So many on each side.
    ///
    /// # Errors
    ///
    /// The channel cannot have as many.
    pub fn start(putters: usize, getters: usize) -> Fallible<Self> {
        C::ends(putters, getters).ok_or("only one putter and one getter")?;
        Ok(Self { putters, getters, channel: PhantomData })
    }
}

impl<C: Channel> Session for Threads<C> {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let (put, get) = C::ends(self.putters, self.getters).ok_or("too many ends")?;
        let places = machine::places();
        let pin = |cpu: Option<usize>| cpu.map_or(Ok(()), machine::pin);
        let (own, other) = (places.map(|p| p.own), places.map(|p| p.partner));
        let of = self.putters;
        let start = Instant::now();
        let count = thread::scope(|scope| -> Fallible<u64> {
            let mut putters = Vec::new();
            for (index, mut end) in put.into_iter().enumerate() {
                putters.push(scope.spawn(move || -> Fallible {
                    pin(own)?;
                    (0..share(items, index, of))
                        .try_for_each(|seq| C::put(&mut end, item::<1>(index, seq)[0]))
                }));
            }
            let mut getters = Vec::new();
            for mut end in get {
                getters.push(scope.spawn(move || -> Fallible<u64> {
                    pin(other)?;
                    let (mut taken, mut count) = (Taken::default(), 0);
                    while let Some(got) = C::get(&mut end) {
                        count += u64::from(taken.take(&[got])?);
                    }
                    Ok(count)
                }));
            }
            for putter in putters {
                putter.join().map_err(|_| "a putter panicked")??;
            }
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
