//! What a blocked receiver costs while nothing comes.
//!
//! The partner blocks in `recv`. The benchmark then reads, from outside, how often
//! each thread of the partner was switched in. A thread that was not switched in has
//! executed no instruction, so it made no system call and woke nothing.

use crate::Fallible;
use crate::control::{Control, Parcel};
use crate::partner::{Partner, Role};
use crate::payload;
use crate::subject::Duplex;
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const WORKLOAD: &str = "idle";
const SIZE: usize = 8;
/// How long a receiver may take to go to sleep, which includes its spinning.
const SETTLE: Duration = Duration::from_secs(10);
/// Without a switch for so long, it sleeps.
const STILL: Duration = Duration::from_millis(250);

/// What was seen while nothing happened.
#[derive(Debug)]
pub struct Idle {
    /// How long nothing was sent.
    pub lasted: Duration,
    /// The system call that the receiver slept in.
    pub asleep_in: String,
    /// How often the receiver's thread was switched in. 0: it executed nothing.
    pub blocked_thread: u64,
    /// The same for all other threads of its process together.
    pub other_threads: u64,
    /// How many other threads there were.
    pub others: usize,
}

/// Blocks a partner in `recv` for `time` and looks at it; then sends a message, to
/// show that the sleeper was really waiting for one.
///
/// # Errors
///
/// The partner is gone, or does not sleep.
pub fn observe<S: Duplex>(time: Duration) -> Fallible<Idle> {
    let (mut end, parcel) = S::create()?;
    let partner = Partner::start(WORKLOAD, S::NAME, SIZE, parcel)?;
    let _armed = partner.watch();
    let control = partner.control()?;
    let thread = control.recv()?.ok_or("the partner ended early")?;
    settle(partner.pid(), thread)?;
    let before = switches(partner.pid())?;
    let start = Instant::now();
    std::thread::sleep(time);
    let after = switches(partner.pid())?;
    let lasted = start.elapsed();
    let asleep_in = sleeping_in(partner.pid(), thread);
    let mut message = payload::blank(SIZE);
    payload::stamp(&mut message, 1);
    end.send(&message)?;
    control.expect(1)?;
    drop(end);
    drop(_armed);
    partner.finish()?;
    // A thread that began meanwhile counts in full.
    let delta = |(id, count): (&u64, &u64)| count - before.get(id).unwrap_or(&0);
    let blocked = after.get_key_value(&thread).ok_or("the receiver's thread is gone")?;
    let all: u64 = after.iter().map(delta).sum();
    Ok(Idle {
        lasted,
        asleep_in,
        blocked_thread: delta(blocked),
        other_threads: all - delta(blocked),
        others: after.len() - 1,
    })
}

/// The partner's role for a subject.
pub const fn role<S: Duplex>() -> Role {
    Role { workload: WORKLOAD, subject: S::NAME, play: block::<S> }
}

fn block<S: Duplex>(control: &Control, parcel: Parcel, _size: usize) -> Fallible {
    let mut end = S::attach(parcel)?;
    let mut message = [0; SIZE];
    control.send(u64::from(rustix::thread::gettid().as_raw_pid().unsigned_abs()))?;
    end.recv(&mut message)?;
    payload::check(&message, 1)?;
    control.send(1)
}

/// Waits until a thread is not switched in any more.
fn settle(process: Pid, thread: u64) -> Fallible {
    let until = Instant::now() + SETTLE;
    let mut last = None;
    while Instant::now() < until {
        let now = (switches(process)?.get(&thread).copied(), state(process, thread)?);
        if last.as_ref() == Some(&now) && now.1 == 'S' {
            return Ok(());
        }
        last = Some(now);
        std::thread::sleep(STILL);
    }
    Err("the receiver does not go to sleep".into())
}

/// How often each thread of a process was switched out so far, by thread id.
fn switches(process: Pid) -> Fallible<BTreeMap<u64, u64>> {
    let mut counts = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", process.as_raw_pid()))? {
        let task = task?;
        let id = task.file_name().to_string_lossy().parse()?;
        // A thread may end between the listing and the reading.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        let both = status.lines().filter(|line| line.contains("ctxt_switches"));
        let count: u64 =
            both.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
        counts.insert(id, count);
    }
    Ok(counts)
}

/// The thread's state letter: `S` sleeps, `R` runs.
fn state(process: Pid, thread: u64) -> Fallible<char> {
    let path = format!("/proc/{}/task/{thread}/stat", process.as_raw_pid());
    let stat = std::fs::read_to_string(path)?;
    // The name before it is in parentheses and may contain anything.
    let (_, rest) = stat.rsplit_once(") ").ok_or("unreadable state")?;
    Ok(rest.chars().next().ok_or("unreadable state")?)
}

/// The name of the system call that a thread sleeps in.
fn sleeping_in(process: Pid, thread: u64) -> String {
    let path = format!("/proc/{}/task/{thread}/syscall", process.as_raw_pid());
    let Ok(line) = std::fs::read_to_string(path) else { return "unreadable".into() };
    let number: Option<i64> = line.split(' ').next().and_then(|word| word.trim().parse().ok());
    match number {
        Some(libc::SYS_futex) => "futex".into(),
        Some(libc::SYS_futex_waitv) => "futex_waitv".into(),
        Some(libc::SYS_read) => "read".into(),
        Some(libc::SYS_recvfrom) => "recvfrom".into(),
        Some(other) => format!("system call {other}"),
        None => line.trim().into(),
    }
}
