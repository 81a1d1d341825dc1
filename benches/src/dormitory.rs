//! Many blocked receivers, in as many processes or in one, and what they cost while
//! nothing comes.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::costs::{self, Thread};
use crate::partner::{Partner, Role};
use crate::payload;
use crate::subject::Duplex;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

const SLEEPER: &str = "sleeper";
const SIZE: usize = 8;
/// Without a switch of any sleeper for so long, all sleep.
const STILL: Duration = Duration::from_millis(500);
/// How long they may take to fall asleep.
const SETTLE: Duration = Duration::from_secs(30);
/// Enough for a thread that only receives.
const STACK: usize = 128 << 10;

/// What was seen.
#[derive(Debug)]
pub struct Night {
    /// How long nothing was sent.
    pub lasted: Duration,
    /// How often blocked threads ran.
    pub blocked: u64,
    /// How often all other threads of their processes ran.
    pub others: u64,
    /// How many other threads there are.
    pub other_threads: usize,
    /// What all threads together used of processors.
    pub ran: Duration,
}

/// Blocks `threads` receivers in each of `processes` for `time`, each on a connection of
/// its own; then sends each a message, to show that it was really waiting for one.
///
/// # Errors
///
/// Something could not be made, or a receiver does not sleep.
pub fn observe<S: Duplex>(processes: usize, threads: usize, time: Duration) -> Fallible<Night> {
    let start = |_| Partner::start_on(None, SLEEPER, S::NAME, threads, Parcel::default());
    let partners = (0..processes).map(start).collect::<Fallible<Vec<Partner>>>()?;
    let mut sleepers = Vec::new();
    for partner in &partners {
        let _armed = partner.watch();
        for _ in 0..threads {
            sleepers.push(partner.control()?.recv()?.ok_or("a sleeper ended early")?);
        }
    }
    let ids: Vec<u64> = partners
        .iter()
        .map(|partner| u64::from(partner.pid().as_raw_pid().unsigned_abs()))
        .collect();
    settle(&ids, &sleepers)?;
    let before = costs::threads(&ids)?;
    let start = Instant::now();
    thread::sleep(time);
    let lasted = start.elapsed();
    let after = costs::threads(&ids)?;
    for partner in &partners {
        let _armed = partner.watch();
        partner.control()?.send(1)?;
        partner.control()?.expect(1)?;
    }
    partners.into_iter().try_for_each(Partner::finish)?;
    let (all, ran) = costs::spent(&before, &after);
    let blocked = switches(&after, &sleepers) - switches(&before, &sleepers);
    let other_threads = after.len() - sleepers.len();
    Ok(Night { lasted, blocked, others: all - blocked, other_threads, ran })
}

/// The role of a process that sleeps.
pub const fn role<S: Duplex>() -> Role {
    Role { workload: SLEEPER, subject: S::NAME, play: sleep::<S> }
}

fn switches(all: &BTreeMap<u64, Thread>, of: &[u64]) -> u64 {
    of.iter().filter_map(|id| all.get(id)).map(|thread| thread.switches).sum()
}

/// Waits until no sleeper runs any more.
fn settle(processes: &[u64], sleepers: &[u64]) -> Fallible {
    let until = Instant::now() + SETTLE;
    let mut last = None;
    while Instant::now() < until {
        let now = Some(switches(&costs::threads(processes)?, sleepers));
        if now == last {
            return Ok(());
        }
        last = now;
        thread::sleep(STILL);
    }
    Err("the receivers do not go to sleep".into())
}

fn sleep<S: Duplex>(control: &Control, _parcel: Parcel, count: usize) -> Fallible {
    let mut senders = Vec::new();
    let mut sleepers = Vec::new();
    for _ in 0..count {
        let (sender, parcel) = S::create()?;
        senders.push(sender);
        let (told, tell) = std::sync::mpsc::channel();
        let builder = thread::Builder::new().stack_size(STACK);
        sleepers.push(builder.spawn(move || -> Fallible {
            told.send(u64::from(rustix::thread::gettid().as_raw_pid().unsigned_abs()))?;
            let mut message = [0; SIZE];
            // The end is made here because not all subjects may change threads.
            S::attach(parcel)?.recv(&mut message)?;
            payload::check(&message, 1)
        })?);
        control.send(tell.recv()?)?;
    }
    if control.recv()?.is_none() {
        return Ok(());
    }
    let mut message = payload::blank(SIZE);
    payload::stamp(&mut message, 1);
    for sender in &mut senders {
        sender.send(&message)?;
    }
    for sleeper in sleepers {
        sleeper.join().map_err(|_| "a sleeper panicked")??;
    }
    control.send(1)
}
