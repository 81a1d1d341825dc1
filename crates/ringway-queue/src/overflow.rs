//! What a process has accepted and the ring had no room for.
//!
//! A put to an unbounded queue never waits. It goes to the ring if there is room and if
//! nothing of this process waits already; else behind what waits. A thread, the feeder,
//! moves it to the ring in order, and ends when nothing waits any more.
//!
//! What waits here is *accepted*, not committed: no other process can take it, and it
//! dies with this one. `len` counts it all the same, through this process's record in
//! the segment.

use crate::error::{PutReason, put_reason};
use crate::parking::Parking;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use ringway_core::Error;
use ringway_core::mpmc::{self, SharedRing};
use ringway_core::peer::spawn_quiet;
use ringway_core::process::generation;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a hand-over the receiver counts as about to attach.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Whether there will be room later.
fn is_no_room(why: &mpmc::PutError) -> bool {
    use mpmc::PutError::{Contended, Full, NoMemory, WouldStream};
    matches!(why, Full | Contended | NoMemory | WouldStream)
}

/// The overflow of one process for one queue, shared by all its handles.
pub(crate) struct Overflow {
    pub(crate) ring: SharedRing,
    generation: u64,
    items: Mutex<Items>,
    /// How many items wait; changed under the lock.
    waiting: AtomicUsize,
    /// Handles that were not made from each other.
    handles: AtomicUsize,
    /// Those who wait for all to be published, and do not want to when nobody is left
    /// to take it.
    in_vain: AtomicU32,
    cancelled: AtomicBool,
    progress: Parking,
    started: Instant,
    /// Milliseconds after `started` of the last hand-over, and one; 0 for none.
    handed_over: AtomicU64,
}

#[derive(Default)]
struct Items {
    /// The first one is empty while the feeder has it in its hands.
    queue: VecDeque<Box<[u8]>>,
    /// Whether there is a feeder.
    feeding: bool,
    /// Whether the first one is offered as a stream: it does not wait here any more, though
    /// its bytes do.
    offered: bool,
    /// Items ever accepted here, those of them that came to an end, and those lost.
    accepted: u64,
    settled: u64,
    lost: usize,
}

impl Items {
    /// How many are in no slot.
    fn waiting(&self) -> usize {
        self.queue.len() - usize::from(self.offered)
    }
}

impl Overflow {
    pub(crate) fn new(ring: SharedRing) -> Self {
        Self {
            ring,
            generation: generation(),
            items: Mutex::default(),
            waiting: AtomicUsize::new(0),
            handles: AtomicUsize::new(0),
            in_vain: AtomicU32::new(0),
            cancelled: AtomicBool::new(false),
            progress: Parking::default(),
            started: Instant::now(),
            handed_over: AtomicU64::new(0),
        }
    }

    /// Whether a fork copied it: then its lock may be held by a thread that is not
    /// there, and its items are the parent's.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- Putting ----------------------------------------------------------------

    /// Puts one message, or accepts it. Never waits for room.
    #[inline]
    pub(crate) fn put(self: &Arc<Self>, message: &[u8]) -> Result<(), PutReason> {
        // ORDERING overflow-waiting (acquire): zero means that all that waited before is in the ring. A put that
        // returned before this one began was counted before it returned.
        if self.waiting.load(Acquire) == 0 {
            if self.ring.put_quick(message, || 1) {
                return Ok(());
            }
            match self.ring.try_put(message) {
                Ok(()) => return Ok(()),
                Err(why) if is_no_room(&why) => {}
                Err(error) => return Err(put_reason(error, self.ring.label())),
            }
        }
        self.accept(message)
    }

    /// Puts a filled grant, or accepts a copy of what is in it. Never waits.
    pub(crate) fn commit(
        self: &Arc<Self>,
        grant: &mut mpmc::WriteGrant<'_>,
    ) -> Result<(), PutReason> {
        grant.check_owner().map_err(|error| put_reason(error, self.ring.label()))?;
        // ORDERING overflow-waiting (acquire): as in `put`.
        if self.waiting.load(Acquire) == 0 {
            match grant.try_commit() {
                Ok(()) => return Ok(()),
                Err(why) if is_no_room(&why) => {}
                Err(error) => return Err(put_reason(error, self.ring.label())),
            }
        }
        let mut message = vec![0; grant.len()];
        let copied = grant.read_at(0, &mut message);
        copied.map_err(|_| Error::corrupted(self.ring.label(), "the length of a grant"))?;
        self.accept(&message)
    }

    /// Puts messages of `batch` from number `from` on that the ring has room for, or
    /// accepts that one; says how many. Never waits for room.
    pub(crate) fn put_many(
        self: &Arc<Self>,
        batch: &mpmc::Batch,
        from: usize,
    ) -> Result<usize, PutReason> {
        // ORDERING overflow-waiting (acquire): as in `put`.
        if self.waiting.load(Acquire) == 0 {
            match self.ring.try_put_many(batch, from) {
                Ok(many) => return Ok(many),
                Err(why) if is_no_room(&why) => {}
                Err(error) => return Err(put_reason(error, self.ring.label())),
            }
        }
        self.accept(batch.get(from).unwrap_or_default()).map(|()| 1)
    }

    #[cold]
    fn accept(self: &Arc<Self>, message: &[u8]) -> Result<(), PutReason> {
        crate::exit::flush_at_exit();
        let mut items = self.items();
        items.queue.push_back(message.into());
        // Counted first: a getter that finds the queue shut down sees it, or we see the
        // shutdown here.
        let refused = match self.publish_count(&items) {
            Ok(()) if self.ring.accepts() => self.start_feeding(&mut items).err(),
            Ok(()) => Some(PutReason::ShutDown),
            Err(error) => Some(put_reason(error, self.ring.label())),
        };
        if let Some(reason) = refused {
            items.queue.pop_back();
            // Refused before: so this may be, and nobody is told a wrong number.
            let _ = self.publish_count(&items);
            return Err(reason);
        }
        items.accepted += 1;
        Ok(())
    }

    /// Says how many wait, here and to the other processes.
    fn publish_count(&self, items: &Items) -> Result<(), mpmc::PutError> {
        let waiting = items.waiting();
        // ORDERING overflow-waiting (release): pairs with `put`.
        self.waiting.store(waiting, Release);
        self.ring.set_overflow(waiting as u64)
    }

    fn start_feeding(self: &Arc<Self>, items: &mut Items) -> Result<(), PutReason> {
        if !items.feeding {
            let this = Arc::clone(self);
            spawn_quiet(move || this.feed())
                .map_err(|e| Error::os("start", "the feeder thread of a queue", e))?;
            items.feeding = true;
        }
        Ok(())
    }

    // ---- The feeder -------------------------------------------------------------

    /// The thread.
    fn feed(&self) {
        // A name for people; whether it can be set does not matter.
        let _ = rustix::thread::set_name(c"ringway-feeder");
        while let Some(message) = self.next() {
            let put = loop {
                let (stop, offered) = (|| self.is_in_vain(), || self.offered());
                match self.ring.put_accepted(&message, &stop, &offered) {
                    Err(mpmc::PutError::Interrupted) => {}
                    other => break other,
                }
            };
            let mut items = self.items();
            items.offered = false;
            // After the put: who sees the lower number finds the item. A ring that
            // refuses to be told is corrupted.
            let _ = match put {
                Ok(()) => {
                    items.queue.pop_front();
                    items.settled += 1;
                    // ORDERING overflow-waiting (release): pairs with `put`.
                    self.waiting.store(items.queue.len(), Release);
                    self.ring.moved_overflow(items.queue.len() as u64)
                }
                // Nothing that waits will ever be published.
                Err(_) => {
                    items.lost += items.queue.len();
                    items.settled += items.queue.len() as u64;
                    items.queue.clear();
                    self.publish_count(&items)
                }
            };
            let empty = items.queue.is_empty();
            drop(items);
            if empty {
                // Joiners of a joinable queue count the overflow.
                self.ring.recount_tasks();
            }
            self.progress.changed();
        }
        self.progress.changed();
    }

    /// The first item is there for others now, and its bytes pass from here.
    fn offered(&self) {
        let mut items = self.items();
        items.offered = true;
        let waiting = items.waiting();
        // ORDERING overflow-waiting (release): pairs with `put`.
        self.waiting.store(waiting, Release);
        // A ring that refuses to be told is corrupted.
        let _ = self.ring.moved_overflow(waiting as u64);
    }

    /// The next message; `None` ends the feeder.
    fn next(&self) -> Option<Box<[u8]>> {
        let mut items = self.items();
        let next = items.queue.front_mut().map(std::mem::take);
        items.feeding = next.is_some();
        next
    }

    /// Whether to give up what waits.
    fn is_in_vain(&self) -> bool {
        // Relaxed throughout: whoever changes these makes the feeder look again.
        if self.handles.load(Relaxed) == 0 && self.cancelled.load(Relaxed) {
            return true;
        }
        self.in_vain.load(Relaxed) > 0 && self.ring.participants().len() <= 1 && !self.is_expected()
    }

    /// Whether someone to whom the queue was handed over may still be on the way.
    fn is_expected(&self) -> bool {
        let since = |at: u64| self.now().saturating_sub(at);
        let at = self.handed_over.load(Relaxed);
        at > 0 && u128::from(since(at)) < HAND_OVER.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    // ---- Handles ----------------------------------------------------------------

    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Relaxed);
    }

    /// Of the handles that were not made from each other, the caller has the only one.
    pub(crate) fn is_only_handle(&self) -> bool {
        self.handles.load(Relaxed) == 1
    }

    /// One handle less. The last one waits for what it leaves behind.
    pub(crate) fn remove_handle(&self) {
        // ORDERING queue-handles (acq-rel): the last one sees what the others accepted.
        if self.handles.fetch_sub(1, AcqRel) == 1 {
            self.flush(true);
        }
    }

    pub(crate) fn note_hand_over(&self) {
        self.handed_over.store(self.now(), Relaxed);
    }

    /// Waits until all that was accepted so far is published, and the feeder has no
    /// more to do; not if it was cancelled. With `unless_in_vain`, gives up when nobody
    /// is left to take it. Returns how many items were lost so far.
    pub(crate) fn flush(&self, unless_in_vain: bool) -> usize {
        let idle = |items: &Items| items.queue.is_empty() && !items.feeding;
        let target = {
            let items = self.items();
            if idle(&items) {
                return items.lost;
            }
            items.accepted
        };
        if unless_in_vain {
            // Relaxed: `look_up` below makes the feeder look, and orders it.
            self.in_vain.fetch_add(1, Relaxed);
            // Those who died and were not noticed do not count as company.
            let _ = self.ring.repair();
        }
        self.ring.look_up();
        self.progress.wait_until(|| {
            let items = self.items();
            // Later items do not count; without any, the feeder is about to end.
            let published = items.settled >= target && !items.queue.is_empty();
            // Relaxed: `changed` orders it.
            self.cancelled.load(Relaxed) || idle(&items) || published
        });
        if unless_in_vain {
            // Relaxed: a feeder that reads it late is as one that looked a little earlier.
            self.in_vain.fetch_sub(1, Relaxed);
        }
        self.items().lost
    }

    /// Nobody waits for what is left any more.
    pub(crate) fn cancel(&self) {
        // Relaxed: `changed` and `look_up` below order it.
        self.cancelled.store(true, Relaxed);
        self.progress.changed();
        self.ring.look_up();
    }
}
