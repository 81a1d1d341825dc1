//! However `ringway demo` is ended, it leaves nothing behind.

mod common;

use common::{Outcome, Running, Scratch, children, pid, ringway, until};
use rustix::process::{Signal, WaitOptions, kill_process, kill_process_group, waitpid};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

const WORKERS: usize = 3;

/// Both phases that have workers: what these are called, and the memory they share.
#[derive(Debug, Clone, Copy)]
struct Phase {
    workers: &'static str,
    memory: &'static str,
}

const PIPES: Phase = Phase { workers: "ringway-worker", memory: "/memfd:ringway-pipe" };
const QUEUES: Phase = Phase { workers: "ringway-taker", memory: "/memfd:ringway-queue" };

/// More than workers: none ends because another was quicker.
const FILES: u64 = 4 * WORKERS as u64;

/// Enough for the workers to be busy for a while: counting takes 50 times longer
/// without optimisation.
const BYTES: u64 = if cfg!(debug_assertions) { 24 << 20 } else { 1 << 30 };

/// Starts the demo on files of nothing but holes and waits until the workers of this
/// phase work.
fn start(directory: &Path, phase: Phase) -> (Running, Vec<u32>) {
    for n in 0..FILES {
        let file = File::create(directory.join(n.to_string())).unwrap();
        file.set_len(BYTES / FILES).unwrap();
    }
    // Those it leaves behind become our children.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut command = ringway();
    command.args(["demo", "--workers", &WORKERS.to_string(), "--files"]).arg(directory);
    let running = Running::start(&mut command);
    let mut workers = Vec::new();
    until(|| {
        workers = children(running.id(), phase.workers);
        workers.len() == WORKERS && workers.iter().all(|worker| is_at_work(*worker))
    });
    (running, workers)
}

/// It has used its processor for a hundredth of a second or more.
fn is_at_work(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let fields: Vec<&str> = fields.split(' ').collect();
    fields.get(11..13).is_some_and(|times| times.iter().any(|time| *time != "0"))
}

/// All memory they share is without a name: there is nothing to be left in `/dev/shm`.
fn assert_no_named_memory(processes: impl IntoIterator<Item = u32>, phase: Phase) {
    for id in processes {
        let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
        assert!(maps.contains(phase.memory), "no {phase:?} in process {id}:\n{maps}");
        assert!(!maps.contains("/dev/shm"), "named memory in process {id}:\n{maps}");
    }
}

/// In the table of processes, if only as a dead one that its parent has not asked for.
fn exists(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

/// Whether a process left to us has ended; takes its status.
fn reap(id: u32) -> bool {
    waitpid(Some(pid(id)), WaitOptions::NOHANG).unwrap().is_some()
}

fn assert_ends_by(phase: Phase, send: impl FnOnce(&Running), signal: i32) {
    let scratch = Scratch::new(&format!("signal-{signal}-{:?}", std::thread::current().id()));
    let (running, workers) = start(scratch.path(), phase);
    assert_no_named_memory(workers.iter().copied().chain([running.id()]), phase);
    send(&running);
    let outcome = running.finish();
    // Had they not ended before it, and had it not asked for their status, they would
    // be our children now, dead or alive.
    let left: Vec<_> = workers.into_iter().filter(|worker| exists(*worker)).collect();
    assert!(left.is_empty(), "it did not wait for {left:?}");
    assert_eq!(outcome.status.signal(), Some(signal), "{outcome:?}");
    let said: Vec<&str> = outcome.stderr.lines().filter(|line| !line.contains(" of ")).collect();
    assert_eq!(said, ["ringway: interrupted"], "{outcome:?}");
    assert!(!outcome.stdout.contains("demo: ok"), "{outcome:?}");
}

#[test]
fn an_interrupted_demo_ends_its_workers_first() {
    for phase in [PIPES, QUEUES] {
        assert_ends_by(phase, |running| running.signal(Signal::INT), 2);
    }
}

#[test]
fn ctrl_c_which_reaches_all_processes_is_left_to_the_parent() {
    for phase in [PIPES, QUEUES] {
        let all = |running: &Running| kill_process_group(pid(running.id()), Signal::INT).unwrap();
        assert_ends_by(phase, all, 2);
    }
}

#[test]
fn a_terminated_demo_ends_its_workers_first() {
    assert_ends_by(PIPES, |running| running.signal(Signal::TERM), 15);
    assert_ends_by(QUEUES, |running| running.signal(Signal::TERM), 15);
}

#[test]
fn the_workers_of_a_killed_demo_end_too() {
    for phase in [PIPES, QUEUES] {
        let scratch = Scratch::new("killed");
        let (running, workers) = start(scratch.path(), phase);
        running.signal(Signal::KILL);
        let outcome = running.finish();
        for worker in workers {
            until(|| reap(worker));
        }
        assert_eq!(outcome.status.signal(), Some(9), "{outcome:?}");
        let said: Vec<&str> =
            outcome.stderr.lines().filter(|line| !line.contains(" of ")).collect();
        assert!(said.is_empty(), "{outcome:?}");
    }
}

/// Kills one worker and gives what the demo said of it.
fn kill_one(phase: Phase) -> Outcome {
    let scratch = Scratch::new(phase.workers);
    let (running, workers) = start(scratch.path(), phase);
    kill_process(pid(workers[1]), Signal::KILL).unwrap();
    let outcome = running.finish();
    assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
    let said = format!("worker process {} ended early", workers[1]);
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
    assert!(!outcome.stdout.contains("demo: ok"), "{outcome:?}");
    assert!(!workers.into_iter().any(exists));
    outcome
}

#[test]
fn a_killed_worker_fails_the_demo() {
    kill_one(PIPES);
}

#[test]
fn a_worker_killed_at_a_queue_costs_its_file_and_no_other() {
    let outcome = kill_one(QUEUES);
    let lost = format!("lost with it: the counts of 1 of {FILES} files");
    assert!(outcome.stderr.contains(&lost), "{outcome:?}");
    // Quoted on a line of its own.
    let named = outcome.stderr.lines().filter(|line| line.starts_with("  \"")).count();
    assert_eq!(named, 1, "{outcome:?}");
}
