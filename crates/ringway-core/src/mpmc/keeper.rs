//! Looks after the peers of one attachment: asks who is dead, repairs, counts.
//!
//! Apart from the [`Attachment`](super::attachment::Attachment), so that the guardian's
//! thread can hold it for a moment without keeping the process attached.

use super::layout::Geometry;
use super::recover::Recovery;
use super::ring::Ring;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::peer::guardian::{self, DeathEvent, Guarded, Proof, Round};
use crate::peer::{Identity, Liveness, Standing};
use crate::process::{LockFile, exiting};
use crate::sync::AtomicU64;
use crate::sync::Ordering::Relaxed;
use crate::wait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Distance from a participant's life byte to its repair byte. Both lie in the
/// header page; locks care for numbers only.
pub(super) const REPAIR: u64 = 4096;

/// How long one that has joined and cannot be heard yet is asked after: its guardian is
/// about to start, and its death before that is told to nobody.
const NEWCOMER: Duration = Duration::from_millis(200);

/// One attachment's eyes on its peers.
pub(super) struct Keeper {
    ring: Ring,
    pub(super) locks: LockFile,
    pub(super) participant: u32,
    label: String,
    /// Keeps the threads of this process from each other: they share their locks.
    repair: Mutex<()>,
    /// Held while the guardian looks.
    watch: Mutex<Watch>,
    /// What the `live` word is to hold; 0 if the kernel was not told.
    live: AtomicU64,
    deaths: AtomicU64,
    repairs: AtomicU64,
    started: Instant,
    /// Microseconds after `started`, plus one; 0 for never.
    last_repair: AtomicU64,
}

/// What the guardian remembers from look to look.
#[derive(Default)]
struct Watch {
    /// Whether the process has left, and there is nothing to look at any more.
    left: bool,
    /// Peers whose mark was passed on. Once each: guardians that woke one another at
    /// every look would never sleep while a proof takes its time.
    marked: BTreeSet<u32>,
    /// Peers that could not be heard, or were not there yet, when they were first seen, and
    /// when that was. Those that stay so have no guardian, and are left to the tick.
    unheard: BTreeMap<u32, (Identity, Instant)>,
}

impl Watch {
    /// Whether `id`, which is on the way, may be about to be there, or to have a guardian.
    fn is_new(&mut self, id: u32, identity: Identity, on_the_way: bool) -> bool {
        if !on_the_way {
            self.unheard.remove(&id);
            return false;
        }
        let now = Instant::now();
        let seen = self.unheard.entry(id).or_insert((identity, now));
        if seen.0 != identity {
            *seen = (identity, now);
        }
        now.duration_since(seen.1) < NEWCOMER
    }
}

/// What this process has seen and done in one ring since it attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How this process hears of deaths, and others of its own.
    pub mode: guardian::WatchMode,
    /// Whether every peer and every joiner is heard of at once, or some only by the
    /// tick, because there are more than a thread can sleep on.
    pub hears_all: bool,
    /// Deaths that this process has proven.
    pub deaths: u64,
    /// Repairs that this process has completed.
    pub repairs: u64,
    /// Positions it has given up for dead putters.
    pub tombs: u64,
    /// Messages of dead getters it has given back.
    pub redelivered: u64,
    /// When it last completed a repair.
    pub last_repair: Option<Instant>,
}

impl Keeper {
    /// For `participant` of the ring in `memory`, whose life byte is locked by `locks`.
    pub(super) fn new(
        memory: &Memory,
        geometry: Geometry,
        locks: LockFile,
        participant: u32,
        label: &str,
    ) -> Result<Self> {
        let ring = Ring::new(memory, geometry)
            .map_err(|_| Error::corrupted(label, "its ring does not fit its length"))?;
        Ok(Self {
            ring,
            locks,
            participant,
            label: label.into(),
            repair: Mutex::new(()),
            watch: Mutex::default(),
            live: AtomicU64::new(0),
            deaths: AtomicU64::new(0),
            repairs: AtomicU64::new(0),
            started: Instant::now(),
            last_repair: AtomicU64::new(0),
        })
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes our `live` word: the thread that the kernel knows it by, or 0.
    pub(super) fn set_live(&self, value: u32) {
        let _watch = self.watch();
        // Relaxed: written and read under the lock just taken.
        self.live.store(value.into(), Relaxed);
        self.ring.participants().set_live(self.participant, value);
    }

    /// Runs `leave` while the guardian does not look, and never lets it look again.
    pub(super) fn leave(&self, leave: impl FnOnce()) {
        let mut watch = self.watch();
        watch.left = true;
        leave();
    }

    /// Asks about every participant, and repairs the dead. 0.6 us each. `false` if one has
    /// to be tried again: see [`Recovery::Retry`].
    pub(super) fn bury_the_dead(&self) -> bool {
        let ids = 1..=self.ring.participants().count();
        ids.fold(true, |settled, id| settled & (self.bury(id) != Recovery::Retry))
    }

    /// Repairs what `id` left, if it is proven dead.
    pub(super) fn bury(&self, id: u32) -> Recovery {
        let table = self.ring.participants();
        if id == self.participant || table.standing(id) == Standing::Free {
            return Recovery::Nothing;
        }
        let identity = table.identity(id);
        let first = table.standing(id) == Standing::Live;
        let proof = match self.proof(id) {
            None => return Recovery::Alive,
            Some(proof) => proof,
        };
        let before = self.ring.given_up();
        let outcome = self.ring.recover(id, self);
        // Relaxed: counts for people.
        if first && matches!(outcome, Recovery::Done | Recovery::Retry) {
            self.deaths.fetch_add(1, Relaxed);
        }
        if outcome == Recovery::Done {
            self.repairs.fetch_add(1, Relaxed);
            let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
            self.last_repair.store(now + 1, Relaxed);
            let after = self.ring.given_up();
            guardian::tell(&DeathEvent {
                label: &self.label,
                participant: id,
                identity,
                proof,
                // Of two that are repaired at a time, one may be told the other's share.
                tombs: after.0 - before.0,
                redelivered: after.1 - before.1,
            });
        }
        outcome
    }

    /// The proof that `id` is dead, if there is one.
    fn proof(&self, id: u32) -> Option<Proof> {
        let table = self.ring.participants();
        // Our own lock never stands in our way, and would say that we are dead.
        if id == self.participant || !(1..=table.count()).contains(&id) {
            return None;
        }
        // An error is no proof.
        if matches!(self.locks.locked_by_another(id.into()), Ok(false)) {
            return Some(Proof::Lock);
        }
        let marked = table.live(id).is_some_and(|live| live.says_dead());
        let early = marked && guardian::settings().early_proof && exiting(&table.identity(id));
        early.then_some(Proof::Early)
    }

    /// Whether a thread may sleep for long although something waits for it: its wake-up
    /// went to one that was stopped. Wakes the sleepers then.
    fn make_up_for_lost_wakeups(&self) {
        // Or waits for the end.
        if self.ring.may_have_message() || self.ring.is_shut_down() {
            self.ring.not_empty().notify_all();
        }
        if !self.ring.is_full() {
            self.ring.not_full().notify_all();
        }
        self.ring.pool.freed().notify_all();
        self.ring.streams.notify_all();
    }

    /// Restores our own word, should somebody have overwritten it.
    fn renew_live(&self) {
        let Some(live) = self.ring.participants().live(self.participant) else { return };
        // Relaxed: as in `set_live`.
        let ours = self.live.load(Relaxed);
        if u64::from(live.value) != ours
            && let Ok(ours) = u32::try_from(ours)
        {
            self.ring.participants().set_live(self.participant, ours);
        }
    }

    /// The counts; `mode` and `hears_all` are the caller's to say.
    pub(super) fn stats(&self, mode: guardian::WatchMode, hears_all: bool) -> Stats {
        let (tombs, redelivered) = self.ring.given_up();
        let last = self.last_repair.load(Relaxed).checked_sub(1);
        Stats {
            mode,
            hears_all,
            // Relaxed: counts for people.
            deaths: self.deaths.load(Relaxed),
            repairs: self.repairs.load(Relaxed),
            tombs,
            redelivered,
            last_repair: last.map(|micros| self.started + Duration::from_micros(micros)),
        }
    }
}

impl Guarded for Keeper {
    fn look(&self, round: &mut Round) {
        let mut watch = self.watch();
        if watch.left {
            return;
        }
        let table = self.ring.participants();
        // First, so that who joins while we look makes the sleep end at once.
        round.watch_table(table.changes());
        for id in 1..=table.count() {
            if id == self.participant {
                continue;
            }
            let standing = table.standing(id);
            let identity: Identity = table.identity(id);
            let Some(live) = table.live(id) else { continue };
            if standing == Standing::Free {
                // About to join: killed before it tells that it has, it is there unseen.
                if watch.is_new(id, identity, !live.is_silent() && !live.says_dead()) {
                    round.ask_again();
                }
                continue;
            }
            let marked = live.says_dead();
            let new = watch.is_new(id, identity, live.is_silent());
            if !marked {
                watch.marked.remove(&id);
            } else if watch.marked.insert(id) {
                // The kernel woke one. Others may know rings that we do not.
                wait::wake(&live.word, u32::MAX);
            }
            if marked || new || round.everyone || standing == Standing::Dead {
                match self.bury(id) {
                    Recovery::Done | Recovery::Nothing => continue,
                    Recovery::Alive if !marked && !new => {}
                    Recovery::Alive if !marked => round.ask_again(),
                    _ => round.look_again(),
                }
            }
            round.watch_peer(identity, live);
        }
        if round.everyone {
            self.renew_live();
            self.make_up_for_lost_wakeups();
        }
    }
}

impl Liveness for Keeper {
    fn proven_dead(&self, participant: u32) -> bool {
        self.proof(participant).is_some()
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
