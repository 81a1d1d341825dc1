//! One process's attachment to one ring: its participant, its locks, its actors.
//!
//! # Locks on the segment's file
//!
//! Byte `i` is participant `i`'s life: locked as long as the process lives and free
//! after its last store. Byte `4096 + i` keeps those who repair `i`, or join as `i`,
//! from each other. Threads of one process share a description, and with it its
//! locks; a private mutex keeps them apart.

use super::Recovery;
use super::layout::{Geometry, at};
use super::ring::Ring;
use super::word::Announcement;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::peer::{Actor, Identity, Liveness, Standing};
use crate::process::global::{self, SegmentKey};
use crate::process::{LockFile, generation, reopen};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicBool, AtomicU64};
use crate::wait::Event;
use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

/// Distance from a participant's life byte to its repair byte. Both lie in the
/// header page; locks care for numbers only.
const REPAIR: u64 = 4096;
/// How often a join is tried while records are being repaired.
const JOIN_ATTEMPTS: u32 = 200;
/// How long a claim must be pending before its claimant is suspected, and the least
/// time between two suspicions.
const PATIENCE: Duration = Duration::from_millis(1);

/// How often a process with a blocked thread looks after its peers: the net under
/// wake-ups that a stopped sleeper swallowed and deaths that nobody met.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// A process's attachment. Alive as long as a handle is; leaves when dropped.
pub(super) struct Attachment {
    pub(super) ring: Ring,
    tasks_done: Event,
    memory: Memory,
    geometry: Geometry,
    locks: LockFile,
    participant: u32,
    label: String,
    key: SegmentKey,
    /// The fork generation it was made in.
    generation: u64,
    /// The same, or 0 once the memory was found corrupted: one load tells a handle
    /// whether it can go on.
    usable: AtomicU64,
    repair: Mutex<()>,
    /// For threads that have no actor of their own.
    spare: Mutex<Actor>,
    started: Instant,
    /// What was pending last, and since when in microseconds after `started`.
    pending: AtomicU64,
    pending_since: AtomicU64,
    /// When all peers were asked about last, in the same measure.
    looked: AtomicU64,
    /// Whether a sleeping thread of this process looks after the peers.
    ticking: AtomicBool,
}

impl Attachment {
    /// This process's attachment to the ring in `memory`: the one there is, or a new
    /// one that keeps its locks on the file behind `fd`.
    pub(super) fn obtain(
        memory: &Memory,
        geometry: Geometry,
        key: SegmentKey,
        fd: BorrowedFd<'_>,
        label: &str,
    ) -> Result<Arc<Self>> {
        if let Some(found) = Self::find(key) {
            return Ok(found);
        }
        let made = Arc::new(Self::join(memory, geometry, key, fd, label)?);
        if let Some(other) = Self::find(key) {
            // Another thread was quicker. Ours leaves.
            return Ok(other);
        }
        // One that is still quicker makes a second attachment: a record more, no harm.
        let entry: Weak<dyn Any + Send + Sync> = Arc::downgrade(&(Arc::clone(&made) as _));
        global::lock().attachments.insert(key, entry);
        made.bury_the_dead();
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
        fd: BorrowedFd<'_>,
        label: &str,
    ) -> Result<Self> {
        let short = |_| Error::corrupted(label, "its ring does not fit its length");
        let ring = Ring::new(memory, geometry).map_err(short)?;
        let tasks_done = Event::new(memory.word32(at::TASKS_DONE).map_err(short)?);
        let locks = LockFile::open(fd)?;
        let participant = take_record(&ring, &locks, label)?;
        // Dropping `locks` on the way out gives the record up like a death, and it is
        // repaired like one.
        let claim = || ring.actors().claim(participant, hint(participant));
        let spare = claim()
            .or_else(|| {
                // The dead may still have theirs.
                let joiner = Joiner(&locks);
                for id in (1..=geometry.participants).filter(|id| *id != participant) {
                    ring.recover(id, &joiner);
                }
                claim()
            })
            .ok_or_else(|| Error::TooManyActors { object: label.into(), limit: geometry.actors })?;
        let generation = generation();
        Ok(Self {
            ring,
            tasks_done,
            memory: memory.clone(),
            geometry,
            locks,
            participant,
            label: label.into(),
            key,
            generation,
            usable: AtomicU64::new(generation),
            repair: Mutex::new(()),
            spare: Mutex::new(spare),
            started: Instant::now(),
            pending: AtomicU64::new(0),
            pending_since: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            ticking: AtomicBool::new(false),
        })
    }

    /// The attachment of a forked child that inherited this one.
    pub(super) fn again(&self) -> Result<Arc<Self>> {
        Self::obtain(&self.memory, self.geometry, self.key, self.locks.as_fd(), &self.label)
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

    /// What joiners of a joinable queue sleep on.
    pub(super) fn tasks_done(&self) -> &Event {
        &self.tasks_done
    }

    /// A fresh description of the segment, to hand on.
    pub(super) fn share(&self) -> Result<OwnedFd> {
        reopen(self.locks.as_fd()).map_err(|e| Error::os("share", &self.label, e))
    }

    /// An actor for a thread that keeps it.
    pub(super) fn new_actor(&self) -> Option<Actor> {
        self.ring.actors().claim(self.participant, hint(self.participant))
    }

    /// The actor that threads without one of their own take turns with. Held for one
    /// operation, which does not wait.
    pub(super) fn spare(&self) -> MutexGuard<'_, Actor> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- The dead -------------------------------------------------------------

    /// Asks about every participant, and repairs the dead. 0.6 us each.
    pub(super) fn bury_the_dead(&self) {
        for id in 1..=self.ring.participants().count() {
            self.bury(id);
        }
    }

    fn bury(&self, id: u32) -> bool {
        id != self.participant
            && self.ring.participants().standing(id) != Standing::Free
            && self.proven_dead(id)
            && self.ring.recover(id, self) == Recovery::Done
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
            for id in self.claimants(what) {
                self.bury(id);
            }
        }
    }

    /// Microseconds since the attachment was made.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// As [`bury_the_dead`](Self::bury_the_dead), but at most twice a second.
    pub(super) fn tick(&self) {
        let (now, last) = (self.now(), self.looked.load(Relaxed));
        let due = u128::from(now.saturating_sub(last)) >= TICK.as_micros();
        // Relaxed: whoever moves the time on is the one that looks.
        if due && self.looked.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            self.bury_the_dead();
        }
    }

    /// The participants that may have claimed `what`.
    pub(super) fn claimants(&self, what: Announcement) -> Vec<u32> {
        let actors = self.ring.actors();
        let announces = |actor: &usize| actors.announcement(*actor) == what;
        let of = |actor| actors.participant(actor);
        (0..actors.count()).filter(announces).map(of).filter(|id| *id != 0).collect()
    }

    /// Whether the caller is to look after the peers while it sleeps. One thread of
    /// the process at a time is.
    pub(super) fn start_ticking(&self) -> bool {
        // Acquire and Release (below): none is needed, this guards no data; they cost
        // nothing here.
        !self.ticking.swap(true, Acquire)
    }

    pub(super) fn stop_ticking(&self) {
        self.ticking.store(false, Release);
    }
}

impl Liveness for Attachment {
    fn proven_dead(&self, participant: u32) -> bool {
        // Our own lock never stands in our way, and would say that we are dead. An
        // error is no proof.
        participant != self.participant
            && (1..=self.ring.participants().count()).contains(&participant)
            && matches!(self.locks.locked_by_another(participant.into()), Ok(false))
    }

    fn alone(&self, participant: u32, body: &mut dyn FnMut()) -> bool {
        let _threads = match self.repair.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let byte = REPAIR + u64::from(participant);
        if !matches!(self.locks.try_lock(byte), Ok(true)) {
            return false;
        }
        body();
        // Refused only for a descriptor that is gone, and its locks with it.
        let _ = self.locks.unlock(byte);
        true
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.is_inherited() {
            // The parent is a participant still; this is a copy.
            return;
        }
        // No handle is left, so no operation is in flight. Killed anywhere here, the
        // record is not free and its lock is: survivors repair it.
        for actor in self.ring.actors().of(self.participant) {
            self.ring.actors().clear(actor);
        }
        self.ring.participants().free(self.participant);
        let _ = self.locks.unlock(self.participant.into());
        let mut global = global::lock();
        if global.attachments.get(&self.key).is_some_and(|entry| entry.strong_count() == 0) {
            global.attachments.remove(&self.key);
        }
    }
}

/// Where to look for a free actor first: participants start at different places.
fn hint(participant: u32) -> usize {
    (participant as usize).wrapping_mul(4)
}

/// Liveness as seen by one who is about to join.
struct Joiner<'a>(&'a LockFile);

impl Liveness for Joiner<'_> {
    fn proven_dead(&self, participant: u32) -> bool {
        // Also of the record being taken: its life byte is locked by us, not another.
        matches!(self.0.locked_by_another(participant.into()), Ok(false))
    }

    fn alone(&self, participant: u32, body: &mut dyn FnMut()) -> bool {
        let byte = REPAIR + u64::from(participant);
        let free = matches!(self.0.try_lock(byte), Ok(true));
        if free {
            body();
            let _ = self.0.unlock(byte);
        }
        free
    }
}

/// Takes a participant record: its life byte for ever, its repair byte meanwhile.
fn take_record(ring: &Ring, locks: &LockFile, label: &str) -> Result<u32> {
    let count = ring.participants().count();
    // Spread joiners over the records. Any start is right.
    let start = std::process::id() % count;
    let joiner = Joiner(locks);
    let identity = identity();
    for _ in 0..JOIN_ATTEMPTS {
        let mut all_alive = true;
        for id in (start..count).chain(0..start).map(|index| index + 1) {
            let mine = locks.try_lock(id.into()).map_err(|e| Error::os("lock", label, e))?;
            if !mine {
                continue;
            }
            let mut joined = false;
            joiner.alone(id, &mut || {
                // Whoever had the record died without leaving: repair comes first.
                let ready =
                    matches!(ring.recover_alone(id, &joiner), Recovery::Nothing | Recovery::Done);
                if ready {
                    ring.participants().join(id, identity);
                    joined = true;
                }
            });
            if joined {
                return Ok(id);
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

/// Who this process is, as far as `/proc` tells.
fn identity() -> Identity {
    let pid_namespace = rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino);
    // Field 22; the second field may contain spaces and ends in the last ')'.
    let start_time = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok());
    Identity { pid: std::process::id().into(), pid_namespace, start_time: start_time.unwrap_or(0) }
}
