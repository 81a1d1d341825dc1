//! One ring, four processes, and a killer.

use super::log::{GETTERS, Log, PUTTERS, STOP, STOP_PUTTING};
use super::message::{LONGEST, LONGEST_SHORT};
use super::totals::Totals;
use super::{Cargo, Dice, Load, SIGNATURE, open, worker};
use crate::failure::{Failure, failed};
use crate::signals::Signals;
use ringway::{Child, Spawn};
use ringway_core::mpmc::{Options, PutError, SharedRing};
use ringway_core::segment::Place;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long the survivors have for a repair of their own accord, before a new process
/// comes and looks for itself.
const ALONE: Duration = Duration::from_millis(20);
/// Long past what anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages a second that a log has room for; a putter without room waits.
const RATE: u64 = 4_000_000;
/// The most numbers of a log: 16 MiB a map.
const MOST: u64 = 1 << 27;

/// Bytes for messages in blocks: few enough that putters wait for them.
const POOL: u64 = 64 << 10;
/// The same where the longest messages are longer.
const SMALL_POOL: u64 = 8 << 10;

/// Putters first.
const WORKERS: u64 = PUTTERS + GETTERS;

struct Round {
    /// Messages put or taken at a time, at most.
    batch: u64,
    /// They are taken as grants.
    grants: bool,
    ring: SharedRing,
    ring_fd: OwnedFd,
    log: Log,
    workers: Vec<Child>,
    doubts: HashSet<(u64, u64)>,
    totals: Totals,
}

/// Runs one ring with such messages for `time`.
pub(super) fn run(
    load: Load,
    time: Duration,
    dice: &mut Dice,
    signals: &mut Signals,
) -> Result<Totals, Failure> {
    let numbers = (RATE * time.as_secs().max(1)).min(MOST);
    let payload = u32::try_from(LONGEST_SHORT).unwrap_or(u32::MAX);
    let Load { slots, cargo, batch } = load;
    let options = match cargo {
        Cargo::Inline => Options::new(slots, payload),
        Cargo::Blocks | Cargo::Grants => {
            Options { pool: POOL, leases: 4, ..Options::new(slots, payload) }
        }
        Cargo::Streams => {
            Options { pool: SMALL_POOL, leases: 4, streams: 2, ..Options::new(slots, payload) }
        }
    };
    let ring = SharedRing::create(Place::Anonymous("storm"), &options, SIGNATURE);
    let ring = ring.map_err(|e| failed("cannot make a ring", &e))?;
    let ring_fd = ring.share().map_err(|e| failed("cannot share a ring", &e))?;
    let log = Log::create(numbers).map_err(|e| failed("cannot make a log", &e))?;
    let workers = Vec::new();
    let totals = Totals::default();
    let grants = cargo == Cargo::Grants;
    let doubts = HashSet::new();
    let mut round = Round { batch, grants, ring, ring_fd, log, workers, doubts, totals };
    for which in 0..WORKERS {
        let child = round.start(which)?;
        round.workers.push(child);
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        signals.check()?;
        std::thread::sleep(Duration::from_micros(200 + dice.below(8_000)));
        let which = dice.below(WORKERS);
        round.kill(which)?;
        if dice.below(8) == 0 {
            // Two at a time.
            round.kill((which + 1 + dice.below(WORKERS - 1)) % WORKERS)?;
        }
    }
    round.finish()
}

impl Round {
    fn start(&self, which: u64) -> Result<Child, Failure> {
        let (ring, log) = (open::path(&self.ring_fd), open::path(self.log.fd()));
        let spawned = if which < PUTTERS {
            let spawn = Spawn::new(worker::putter).name(format!("putter-{which}"));
            spawn
                .kill_on_drop(true)
                .die_with_parent(true)
                .spawn((ring, log, which, self.batch, false))
        } else {
            let which = which - PUTTERS;
            let spawn = Spawn::new(worker::getter).name(format!("getter-{which}"));
            let how = (ring, log, which, self.batch, self.grants);
            spawn.kill_on_drop(true).die_with_parent(true).spawn(how)
        };
        spawned.map_err(|e| failed("cannot start a process", &e))
    }

    /// Kills one, sees how long its repair takes, and replaces it.
    fn kill(&mut self, which: u64) -> Result<(), Failure> {
        let index = usize::try_from(which).unwrap_or(0);
        let Some(child) = self.workers.get_mut(index) else { return Ok(()) };
        let pid = u64::from(child.id());
        if let Ok(Some(status)) = child.try_join() {
            self.totals.wrong.push(format!("a worker ended by itself: {status}"));
        }
        let attached = |ring: &SharedRing| ring.participants().iter().any(|peer| peer.pid == pid);
        let was_attached = attached(&self.ring);
        let start = Instant::now();
        child.kill().map_err(|e| failed("cannot kill a process", &e))?;
        while attached(&self.ring) && start.elapsed() < ALONE {
            std::thread::sleep(Duration::from_micros(20));
        }
        let mut in_time = was_attached && !attached(&self.ring);
        let mut repaired = start.elapsed();
        let ended = child.join_timeout(PATIENCE).map_err(|e| failed("cannot wait", &e))?;
        if was_attached && !in_time && !attached(&self.ring) {
            (in_time, repaired) = (true, start.elapsed());
        }
        if in_time {
            self.totals.repairs.push(repaired);
        }
        if ended.is_none() {
            return Err(Failure::Failed("a killed process does not end".into()));
        }
        if which < PUTTERS {
            self.totals.killed_putters += 1;
            self.doubt(which);
        } else {
            self.totals.killed_getters += 1;
            if self.grants {
                self.totals.under_grant += 1;
            } else {
                self.totals.in_hand += self.batch;
            }
        }
        let new = self.start(which)?;
        if let Some(child) = self.workers.get_mut(index) {
            *child = new;
        }
        if was_attached && !in_time {
            // The new one repairs when it attaches.
            while attached(&self.ring) && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_micros(100));
            }
            if attached(&self.ring) {
                self.totals.wrong.push("nobody repaired a death".into());
            }
            self.totals.repairs.push(start.elapsed());
        }
        Ok(())
    }

    /// What a putter has begun to put and not ended may come or not.
    fn doubt(&mut self, p: u64) {
        let (ended, begun) = (self.log.ended(p), self.log.begun(p));
        // One that took over goes on behind what the one before had begun.
        let from = (ended + 1).max((begun + 1).saturating_sub(self.batch));
        self.doubts.extend((from..=begun).map(|number| (p, number)));
    }

    /// Lets everybody end, and closes the books.
    fn finish(mut self) -> Result<Totals, Failure> {
        self.log.ask(STOP_PUTTING);
        self.join(0..PUTTERS)?;
        for p in 0..PUTTERS {
            // It gave up for want of room.
            self.doubt(p);
        }
        self.log.ask(STOP);
        self.join(PUTTERS..WORKERS)?;
        self.ring.repair().map_err(|e| failed("cannot repair", &e))?;
        // What the last getters left. Nobody uses the first one's log any more.
        let mut buffer = [0; LONGEST];
        let mut newest = worker::Newest::default();
        let longest = worker::longest(&self.ring);
        while let Ok(len) = self.ring.try_get(&mut buffer) {
            worker::note(&self.log, 0, buffer.get(..len), longest, &mut newest);
        }
        self.check_room();
        match self.ring.blocks_used() {
            0 => {}
            n => self.totals.wrong.push(format!("{n} blocks are left in use")),
        }
        let others = self.ring.participants().len().saturating_sub(1);
        if others > 0 {
            self.totals.wrong.push(format!("{others} records of the dead are left"));
        }
        self.totals.read(&self.log, &self.doubts);
        Ok(self.totals)
    }

    fn join(&mut self, workers: std::ops::Range<u64>) -> Result<(), Failure> {
        for which in workers {
            let Some(child) = usize::try_from(which).ok().and_then(|i| self.workers.get_mut(i))
            else {
                continue;
            };
            match child.join_timeout(PATIENCE).map_err(|e| failed("cannot wait", &e))? {
                Some(status) if status.success() => {}
                Some(status) => self.totals.wrong.push(format!("a worker ended with {status}")),
                None => self.totals.wrong.push(format!("worker {which} hangs")),
            }
        }
        Ok(())
    }

    /// An empty ring takes as many as ever and not one more, and gives them back.
    fn check_room(&mut self) {
        let capacity = self.ring.capacity();
        let put = |n: u64| self.ring.try_put(&n.to_le_bytes());
        let room = (0..=capacity).take_while(|n| put(*n).is_ok()).count() as u64;
        self.totals.leaked += capacity.saturating_sub(room);
        if room > capacity {
            self.totals.wrong.push(format!("room for {room} instead of {capacity}"));
        }
        if !matches!(put(0), Err(PutError::Full)) {
            self.totals.wrong.push("a full ring does not say so".into());
        }
        let mut buffer = [0; LONGEST];
        let back = (0..room).take_while(|n| {
            matches!(self.ring.try_get(&mut buffer), Ok(8)) && buffer[..8] == n.to_le_bytes()
        });
        let back = back.count() as u64;
        if back != room {
            self.totals.wrong.push(format!("{back} of {room} came back"));
        }
    }
}
