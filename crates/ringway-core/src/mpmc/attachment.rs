//! One process's attachment to one ring: its participant, its locks, its actors.
//!
//! # Locks on the segment's file
//!
//! Byte `i` is participant `i`'s life: locked as long as the process lives and free
//! after its last store. Byte `4096 + i` keeps those who repair `i`, or join as `i`,
//! from each other. Threads of one process share a description, and with it its
//! locks; a private mutex keeps them apart.

use super::Recovery;
use super::keeper::{Keeper, REPAIR, Stats};
use super::layout::{Geometry, at};
use super::own_actors::{OwnActors, first_actor};
use super::ring::Ring;
use super::word::Announcement;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::peer::guardian::{self, Enrolment, Guarded, NodePage, WatchMode};
use crate::peer::{Actor, Liveness, Standing};
use crate::process::global::{self, SegmentKey};
use crate::process::{LockFile, generation, own_identity, reopen};
use crate::sync::Ordering::Relaxed;
use crate::sync::{AtomicBool, AtomicU64};
use crate::wait::Event;
use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often a join is tried while records are being repaired, a millisecond apart.
pub(super) const JOIN_ATTEMPTS: u32 = 200;
/// How long a claim must be pending before its claimant is suspected, and the least
/// time between two suspicions.
const PATIENCE: Duration = Duration::from_millis(1);

/// How often a process without a guardian looks after its peers while a thread of it is
/// blocked: the net under wake-ups that a stopped sleeper swallowed and deaths that
/// nobody met.
const TICK: Duration = Duration::from_millis(250);

/// Pauses of one who joins and finds a death that cannot be repaired yet.
pub(super) const PAUSES: [Duration; 5] = {
    const fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }
    [micros(50), micros(100), micros(200), micros(400), micros(800)]
};

/// A process's attachment. Alive as long as a handle is; leaves when dropped.
pub(super) struct Attachment {
    pub(super) ring: Ring,
    tasks_done: Event,
    memory: Memory,
    geometry: Geometry,
    pub(super) keeper: Arc<Keeper>,
    participant: u32,
    label: String,
    key: SegmentKey,
    /// The fork generation it was made in.
    generation: u64,
    /// The same, or 0 once the memory was found corrupted: one load tells a handle
    /// whether it can go on.
    usable: AtomicU64,
    enrolment: Mutex<Option<Enrolment>>,
    /// Whether the guardian looks after the peers, so that sleepers need not.
    guarded: AtomicBool,
    actors: OwnActors,
    started: Instant,
    /// What was pending last, and since when in microseconds after `started`.
    pending: AtomicU64,
    pending_since: AtomicU64,
    /// When all peers were asked about last, in the same measure.
    looked: AtomicU64,
    /// How long after that to ask again, because a death could not be repaired to the end;
    /// 0 if there is no such. See [`settled`](Self::settled).
    again: AtomicU64,
    /// Whether a sleeping thread of this process looks after the peers.
    ticking: AtomicBool,
}

impl Attachment {
    /// This process's attachment to the ring in `memory`: the one there is, or a new
    /// one that keeps its locks on the file behind `fd`, which is no description with locks.
    pub(super) fn obtain(
        memory: &Memory,
        geometry: Geometry,
        key: SegmentKey,
        fd: BorrowedFd<'_>,
        label: &str,
    ) -> Result<Arc<Self>> {
        Self::obtain_by(memory, geometry, key, (fd, Some(fd)), label)
    }

    /// As [`obtain`](Self::obtain), by a file for the locks, which may be a description with
    /// locks, and one without, if there is one.
    fn obtain_by(
        memory: &Memory,
        geometry: Geometry,
        key: SegmentKey,
        by: (BorrowedFd<'_>, Option<BorrowedFd<'_>>),
        label: &str,
    ) -> Result<Arc<Self>> {
        if let Some(found) = Self::find(key) {
            return Ok(found);
        }
        let made = Arc::new(Self::join(memory, geometry, key, by, label)?);
        if let Some(other) = Self::find(key) {
            // Another thread was quicker. Ours leaves.
            return Ok(other);
        }
        // One that is still quicker makes a second attachment: a record more, no harm.
        let entry: Weak<dyn Any + Send + Sync> = Arc::downgrade(&(Arc::clone(&made) as _));
        global::lock().attachments.insert(key, entry);
        let mut settled = made.keeper.bury_the_dead();
        for pause in PAUSES {
            if settled || made.is_guarded() {
                break;
            }
            std::thread::sleep(pause);
            settled = made.keeper.bury_the_dead();
        }
        made.settled(settled);
        Ok(made)
    }

    fn find(key: SegmentKey) -> Option<Arc<Self>> {
        // The lock is free again before anything can be dropped: that takes it, too.
        let entry = global::lock().attachments.get(&key).and_then(Weak::upgrade);
        let found = entry?.downcast::<Self>().ok()?;
        found.is_usable().then_some(found)
    }

    /// Becomes a participant.
    fn join(
        memory: &Memory,
        geometry: Geometry,
        key: SegmentKey,
        (file, segment): (BorrowedFd<'_>, Option<BorrowedFd<'_>>),
        label: &str,
    ) -> Result<Self> {
        let short = |_| Error::corrupted(label, "its ring does not fit its length");
        let ring = Ring::new(memory, geometry).map_err(short)?;
        let tasks_done = Event::new(memory.word32(at::TASKS_DONE).map_err(short)?);
        let locks = LockFile::open(file)?;
        let participant = reserve_record(&ring, &locks, label)?;
        let identity = own_identity();
        let keeper = Arc::new(Keeper::new(memory, geometry, locks, participant, label)?);
        // Our death can be heard before we are there.
        let enrolment = guardian::settings().guardian.then(|| enrol(&keeper, &ring, segment));
        let enrolment = enrolment.flatten();
        // Also without a guardian: who reserved the record before us may have died with it.
        keeper.set_live(enrolment.as_ref().map_or(0, Enrolment::live));
        ring.participants().join(participant, identity);
        let _ = keeper.locks.unlock(REPAIR + u64::from(participant));
        if let Some(enrolment) = &enrolment {
            enrolment.begin();
        }
        let Some(spare) = first_actor(&ring, &keeper) else {
            keeper.leave(|| {
                ring.leave_with(participant, &[]);
                let _ = keeper.locks.unlock(participant.into());
            });
            if let Some(enrolment) = enrolment {
                enrolment.end();
            }
            return Err(Error::TooManyActors { object: label.into(), limit: geometry.actors });
        };
        let generation = generation();
        Ok(Self {
            ring,
            tasks_done,
            memory: memory.clone(),
            geometry,
            keeper,
            participant,
            label: label.into(),
            key,
            generation,
            usable: AtomicU64::new(generation),
            guarded: AtomicBool::new(enrolment.is_some()),
            enrolment: Mutex::new(enrolment),
            actors: OwnActors::new(spare),
            started: Instant::now(),
            pending: AtomicU64::new(0),
            pending_since: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            again: AtomicU64::new(0),
            ticking: AtomicBool::new(false),
        })
    }

    /// The attachment of a forked child that inherited this one.
    pub(super) fn again(&self) -> Result<Arc<Self>> {
        let obtain = |file: BorrowedFd<'_>, segment: Option<BorrowedFd<'_>>| {
            Self::obtain_by(&self.memory, self.geometry, self.key, (file, segment), &self.label)
        };
        let shared = self.share().and_then(|fd| obtain(fd.as_fd(), Some(fd.as_fd())));
        match shared {
            // Perhaps there is one descriptor left, and not two: then without being heard.
            Err(Error::Os { .. }) => obtain(self.keeper.locks.as_fd(), None),
            other => other,
        }
    }

    /// Whether this is this process's own and its memory is sound.
    #[inline]
    pub(super) fn is_usable(&self) -> bool {
        // Relaxed: stands for itself.
        self.usable.load(Relaxed) == generation()
    }

    /// Whether it was inherited by fork: then it belongs to a forebear.
    pub(super) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    /// The memory makes no sense: no handle of this process uses it any more.
    #[cold]
    pub(super) fn poison(&self) {
        // Relaxed: stands for itself.
        self.usable.store(0, Relaxed);
    }

    pub(super) fn participant(&self) -> u32 {
        self.participant
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// So many accepted items wait in this process's memory.
    pub(super) fn overflow_has_changed(&self, items: u64) {
        if items == 0 {
            // Getters of a ring that is shut down wait for this.
            self.ring.not_empty().broadcast();
        }
    }

    /// What joiners of a joinable queue sleep on.
    pub(super) fn tasks_done(&self) -> &Event {
        &self.tasks_done
    }

    /// A fresh description of the segment, to hand on.
    pub(super) fn share(&self) -> Result<OwnedFd> {
        reopen(self.keeper.locks.as_fd()).map_err(|e| Error::os("share", &self.label, e))
    }

    /// An actor for a thread that keeps it.
    pub(super) fn new_actor(&self) -> Option<Actor> {
        self.actors.another(&self.ring)
    }

    /// The thread ends that had `actor`.
    pub(super) fn put_back(&self, actor: Actor) {
        self.actors.put_back(&self.ring, actor);
    }

    /// The actor that threads without one of their own take turns with. Held for one
    /// operation, which does not wait.
    pub(super) fn spare(&self) -> MutexGuard<'_, Actor> {
        self.actors.spare()
    }

    // ---- The dead -------------------------------------------------------------

    /// Asks about every participant, and repairs the dead. 0.6 us each.
    pub(super) fn bury_the_dead(&self) {
        self.settled(self.keeper.bury_the_dead());
    }

    /// Whoever finds a death that a live process stands in the way of, for some thirty
    /// instructions, sees to it that it is tried again: the guardian in its own time, or
    /// else the next blocked call, after a millisecond and then less and less often.
    fn settled(&self, settled: bool) {
        if settled || self.is_guarded() {
            // Relaxed: a hint when to look.
            self.again.store(0, Relaxed);
        } else {
            let next = Duration::from_micros(self.again.load(Relaxed) * 2).clamp(PATIENCE, TICK);
            self.again.store(u64::try_from(next.as_micros()).unwrap_or(0), Relaxed);
        }
        if !settled {
            let enrolment = self.enrolment.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(enrolment) = &*enrolment {
                enrolment.begin();
            }
        }
    }

    /// How long after a look at the peers the next is due: where nobody has a guardian.
    pub(super) fn pause(&self) -> Duration {
        match self.again.load(Relaxed) {
            0 => TICK,
            micros => Duration::from_micros(micros),
        }
    }

    /// An operation met a claim that was not committed. Once the same has been pending
    /// for a millisecond, asks after whoever may have made it, at most once per
    /// millisecond. Twice a second asks after everybody: not each slot that holds
    /// others up can tell whose it is.
    #[cold]
    pub(super) fn note_pending(&self, what: Announcement) {
        self.tick();
        let now = self.now();
        // Relaxed: a mix of two threads' notes delays a question or asks it early.
        if self.pending.load(Relaxed) != what.0 {
            self.pending.store(what.0, Relaxed);
            self.pending_since.store(now, Relaxed);
            return;
        }
        let waited = now.saturating_sub(self.pending_since.load(Relaxed));
        if u128::from(waited) >= PATIENCE.as_micros() {
            self.pending_since.store(now, Relaxed);
            for id in self.ring.claimants(what) {
                if self.keeper.bury(id) == Recovery::Retry {
                    self.settled(false);
                }
            }
        }
    }

    /// Microseconds since the attachment was made.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// As [`bury_the_dead`](Self::bury_the_dead), but at most four times a second unless
    /// there is something to be tried again.
    pub(super) fn tick(&self) {
        let (now, last) = (self.now(), self.looked.load(Relaxed));
        let due = u128::from(now.saturating_sub(last)) >= self.pause().as_micros();
        // Relaxed: whoever moves the time on is the one that looks.
        if due && self.looked.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            self.bury_the_dead();
        }
    }

    /// Whether the caller is to look after the peers while it sleeps. One thread of
    /// the process at a time is, or whoever knows of something to be tried again.
    pub(super) fn start_ticking(&self) -> bool {
        // Relaxed, here and below: the flag guards no data.
        !self.ticking.swap(true, Relaxed) || self.again.load(Relaxed) > 0
    }

    pub(super) fn stop_ticking(&self) {
        self.ticking.store(false, Relaxed);
    }

    // ---- The guardian ---------------------------------------------------------

    /// Starts or ends the guardian's watch over this ring. Without one, or if there can
    /// be none, blocked calls look after the peers.
    pub(super) fn set_guarded(&self, on: bool) {
        if on {
            self.begin_guard();
        } else {
            self.end_guard();
            // Our sleepers begin to look after the peers themselves.
            self.ring.not_empty().broadcast();
            self.ring.not_full().broadcast();
            self.ring.pool.freed().broadcast();
            self.ring.streams.broadcast();
        }
    }

    fn begin_guard(&self) {
        let _no_fork = global::no_fork();
        let mut enrolment = self.enrolment.lock().unwrap_or_else(PoisonError::into_inner);
        if enrolment.is_some() {
            return;
        }
        *enrolment = enrol(&self.keeper, &self.ring, None);
        let Some(new) = &*enrolment else { return };
        self.keeper.set_live(new.live());
        new.begin();
        self.ring.participants().changed();
        // Relaxed, here and below: it guards no data, and the sleepers who are to see it
        // down are woken by an RMW.
        self.guarded.store(true, Relaxed);
    }

    fn end_guard(&self) {
        let _no_fork = global::no_fork();
        let mut enrolment = self.enrolment.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = enrolment.take() {
            self.guarded.store(false, Relaxed);
            self.keeper.set_live(0);
            old.end();
        }
    }

    /// Whether sleepers may leave the peers to the guardian.
    pub(super) fn is_guarded(&self) -> bool {
        self.guarded.load(Relaxed)
    }

    /// What this process has seen and done.
    pub(super) fn stats(&self) -> Stats {
        if self.is_inherited() {
            // Its lock may have been copied while somebody held it.
            return self.keeper.stats(WatchMode::Calls, false);
        }
        let enrolment = self.enrolment.lock().unwrap_or_else(PoisonError::into_inner);
        match &*enrolment {
            Some(enrolment) => self.keeper.stats(enrolment.mode(), enrolment.hears_all()),
            None => self.keeper.stats(WatchMode::Calls, false),
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.is_inherited() {
            // The parent is a participant still; this is a copy.
            return;
        }
        // No handle is left, so no operation is in flight. Killed anywhere here, the
        // record is not free and its lock is: survivors repair it. They hear of the death
        // as of any other, as long as the record is not free.
        self.keeper.leave(|| {
            self.actors.leave(&self.ring);
            let _ = self.keeper.locks.unlock(self.participant.into());
        });
        {
            let _no_fork = global::no_fork();
            let enrolment = self.enrolment.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Some(old) = enrolment.take() {
                old.end();
            }
        }
        let mut global = global::lock();
        if global.attachments.get(&self.key).is_some_and(|entry| entry.strong_count() == 0) {
            global.attachments.remove(&self.key);
        }
    }
}

/// Puts the peers of `keeper` under the guardian's eyes, and our `live` word into the kernel's,
/// if the page can be mapped from which it is reached: through `segment`, a description without
/// locks, if there is one at hand.
fn enrol(keeper: &Arc<Keeper>, ring: &Ring, segment: Option<BorrowedFd<'_>>) -> Option<Enrolment> {
    let at = ring.participants().live_at(keeper.participant);
    let page = match segment {
        Some(segment) => NodePage::map(guardian::spare_pair(), segment, at).ok(),
        // The mapping of the lock's description would keep it open in a forked child.
        None => reopen(keeper.locks.as_fd())
            .ok()
            .and_then(|segment| NodePage::map(guardian::spare_pair(), segment.as_fd(), at).ok()),
    };
    guardian::enrol(Arc::downgrade(keeper) as Weak<dyn Guarded>, page)
}

/// Liveness as seen by one who is about to join.
struct Joiner<'a> {
    locks: &'a LockFile,
    /// The record being taken. Its life byte is locked by us: whoever had it is dead.
    mine: u32,
}

impl Liveness for Joiner<'_> {
    fn proven_dead(&self, participant: u32) -> bool {
        participant == self.mine
            || matches!(self.locks.locked_by_another(participant.into()), Ok(false))
    }

    fn alone(&self, _: u32, _: &mut dyn FnMut()) -> bool {
        // It repairs the record that it takes, whose exclusion it has already.
        false
    }
}

/// Reserves a participant record: it is free, its life byte is ours, and its repair byte: until
/// the caller has joined and unlocks that, whoever asks about the record asks about the one
/// before, whose mark and identity it may still bear.
pub(super) fn reserve_record(ring: &Ring, locks: &LockFile, label: &str) -> Result<u32> {
    let count = ring.participants().count();
    // Spread joiners over the records. Any start is right.
    let start = std::process::id() % count;
    for _ in 0..JOIN_ATTEMPTS {
        let mut all_alive = true;
        for id in (start..count).chain(0..start).map(|index| index + 1) {
            let mine = locks.try_lock(id.into()).map_err(|e| Error::os("lock", label, e))?;
            if !mine {
                // Free and locked: somebody joins or leaves just now, or died, was
                // repaired early, and its lock is still to follow.
                all_alive &= ring.participants().standing(id) != Standing::Free;
                continue;
            }
            let joiner = Joiner { locks, mine: id };
            let repair = REPAIR + u64::from(id);
            if matches!(locks.try_lock(repair), Ok(true)) {
                // Whoever had the record died without leaving: repair comes first.
                if matches!(ring.recover_alone(id, &joiner), Recovery::Nothing | Recovery::Done) {
                    return Ok(id);
                }
                let _ = locks.unlock(repair);
            }
            // Being repaired: it will be free in a moment.
            all_alive = false;
            let _ = locks.unlock(id.into());
        }
        if all_alive {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Error::TooManyParticipants { object: label.into(), limit: count })
}
