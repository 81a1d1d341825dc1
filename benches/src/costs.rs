//! What work costs besides time: system calls, context switches and processor seconds, of
//! this process and of all it started, seen from outside in `/proc`.

use crate::Fallible;
use crate::session::Session;
use crate::syscalls::{self, Counter};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Counts of one thread so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Thread {
    /// How often it was switched out, by its own will or not.
    pub switches: u64,
    /// How long it ran.
    pub ran: Duration,
    /// Its process.
    pub process: u64,
}

/// The process ids of the children of this process.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn children() -> Fallible<Vec<u64>> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name before it is in parentheses and may contain anything.
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        if fields.nth(1) == Some(own.as_str()) {
            found.push(id);
        }
    }
    Ok(found)
}

/// All threads of some processes, by thread id.
///
/// # Errors
///
/// A process is gone, or the kernel does not tell.
pub fn threads(processes: &[u64]) -> Fallible<BTreeMap<u64, Thread>> {
    let mut all = BTreeMap::new();
    for process in processes {
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let task = task?;
            let id = task.file_name().to_string_lossy().parse()?;
            let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
            let Ok(times) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
            let switches =
                counts.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
            let ran = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
            let ran = Duration::from_nanos(ran.ok_or("the kernel does not say who ran how long")?);
            all.insert(id, Thread { switches, ran, process: *process });
        }
    }
    Ok(all)
}

/// What was spent between two looks. A thread that began meanwhile counts in full.
pub fn spent(before: &BTreeMap<u64, Thread>, after: &BTreeMap<u64, Thread>) -> (u64, Duration) {
    after.iter().fold((0, Duration::ZERO), |(switches, ran), (id, now)| {
        let then = before.get(id).copied().unwrap_or_default();
        (switches + (now.switches - then.switches), ran + now.ran.saturating_sub(then.ran))
    })
}

/// What a number of items cost together.
#[derive(Debug, Default, Clone)]
pub struct Cost {
    /// How many items.
    pub items: u64,
    /// How long they took.
    pub took: Duration,
    /// System calls; `None` where they cannot be counted.
    pub syscalls: Option<u64>,
    /// Context switches.
    pub switches: u64,
    /// Processor time.
    pub ran: Duration,
}

/// Runs a batch and counts what all processes spend on it.
///
/// # Errors
///
/// The batch failed, or `/proc` cannot be read.
pub fn of_batch<S: Session>(session: &mut S, items: u64) -> Fallible<Cost> {
    let mut processes = children()?;
    processes.push(u64::from(std::process::id()));
    let before = threads(&processes)?;
    // Why it cannot be counted is told once, at the start of the benchmark.
    let counters: Fallible<Vec<Counter>> = syscalls::tracepoint()
        .and_then(|id| before.keys().map(|thread| Counter::start(id, *thread)).collect());
    let took = session.batch(items)?;
    let calls = counters.and_then(|counters| {
        counters.into_iter().try_fold(0, |sum, mut counter| Ok(sum + counter.count()?))
    });
    let (switches, ran) = spent(&before, &threads(&processes)?);
    Ok(Cost { items, took, syscalls: calls.ok(), switches, ran })
}

/// How many items a batch of about `time` has.
///
/// # Errors
///
/// A batch failed.
pub fn calibrate<S: Session>(session: &mut S, time: Duration) -> Fallible<u64> {
    let start = Instant::now();
    let mut items = 1;
    loop {
        let took = session.batch(items)?;
        if took * 2 >= time || start.elapsed() > 10 * time {
            let wanted = items as f64 * time.as_secs_f64() / took.as_secs_f64().max(1e-9);
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            return Ok((wanted as u64).max(1));
        }
        items *= 2;
    }
}
