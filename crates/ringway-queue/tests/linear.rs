//! Small histories of real processes, checked for linearizability: is there an order of
//! the operations, within the times they took, that a bounded first-in first-out queue
//! would allow?

mod common;

use common::{Random, Scene, Words, fork};
use ringway_queue::{Builder, GetError, Pod, PutReason, Queue};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const PROCESSES: usize = 3;
const OPERATIONS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    Put(u64),
    Full(u64),
    Got(u64),
    Empty,
}

#[derive(Debug, Clone, Copy)]
struct Operation {
    did: Did,
    start: u64,
    end: u64,
}

/// Nanoseconds of the monotonic clock, which all processes share.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// How long a call waits before it says Empty or Full.
const SOON: Duration = Duration::from_micros(300);

/// The histories without what was said for somebody who was half-way all the time: a
/// process that is taken off its processor between claim and commit, for longer than
/// others wait, holds up what was put or taken behind it (`docs/crash-behaviour.md`). The
/// other one's call then began before theirs and ended after they gave up.
fn without_held_up(histories: &[Vec<Operation>]) -> Vec<Vec<Operation>> {
    let soon = u64::try_from(SOON.as_nanos()).unwrap();
    let held_up = |gave_up: &Operation| {
        histories.iter().flatten().any(|other| {
            let half_way = match gave_up.did {
                Did::Empty => matches!(other.did, Did::Put(_)),
                Did::Full(_) => matches!(other.did, Did::Got(_)),
                Did::Put(_) | Did::Got(_) => false,
            };
            half_way && other.start <= gave_up.start && other.end >= gave_up.start + soon
        })
    };
    let keep =
        |history: &Vec<Operation>| history.iter().filter(|op| !held_up(op)).copied().collect();
    histories.iter().map(keep).collect()
}

/// Whether the histories, one per process in its order, have a linearization.
fn is_linearizable(histories: &[Vec<Operation>], capacity: usize) -> bool {
    let next = vec![0; histories.len()];
    search(histories, capacity, &next, &VecDeque::new(), &mut HashSet::new())
}

type Seen = HashSet<(Vec<usize>, VecDeque<u64>)>;

/// Whether the rest of the histories can follow on a queue of `items`.
fn search(
    histories: &[Vec<Operation>],
    capacity: usize,
    next: &[usize],
    items: &VecDeque<u64>,
    seen: &mut Seen,
) -> bool {
    let heads = || histories.iter().zip(next).filter_map(|(history, at)| history.get(*at));
    let Some(first_end) = heads().map(|operation| operation.end).min() else { return true };
    if !seen.insert((next.to_vec(), items.clone())) {
        return false;
    }
    (0..histories.len()).any(|process| {
        let Some(operation) = histories[process].get(next[process]) else { return false };
        // It may come first only if no other has ended before it began.
        if operation.start > first_end {
            return false;
        }
        let mut items = items.clone();
        let fits = match operation.did {
            Did::Put(value) => {
                items.push_back(value);
                items.len() <= capacity
            }
            Did::Full(_) => items.len() == capacity,
            Did::Got(value) => items.pop_front() == Some(value),
            Did::Empty => items.is_empty(),
        };
        let mut next = next.to_vec();
        next[process] += 1;
        fits && search(histories, capacity, &next, &items, seen)
    })
}

#[test]
fn the_checker_can_say_no() {
    let at = |did, start, end| Operation { did, start, end };
    let good = [
        vec![at(Did::Put(1), 0, 10), at(Did::Put(2), 11, 20)],
        vec![at(Did::Empty, 0, 5), at(Did::Got(1), 6, 30), at(Did::Got(2), 31, 40)],
    ];
    assert!(is_linearizable(&good, 1) || is_linearizable(&good, 2));
    let swapped = [
        vec![at(Did::Put(1), 0, 10), at(Did::Put(2), 11, 20)],
        vec![at(Did::Got(2), 6, 30), at(Did::Got(1), 31, 40)],
    ];
    assert!(!is_linearizable(&swapped, 2));
    let missed = [vec![at(Did::Put(1), 0, 10)], vec![at(Did::Empty, 11, 20)]];
    assert!(!is_linearizable(&missed, 2));
    let twice =
        [vec![at(Did::Put(1), 0, 10)], vec![at(Did::Got(1), 5, 20)], vec![at(Did::Got(1), 5, 20)]];
    assert!(!is_linearizable(&twice, 2));
    let too_many = [vec![at(Did::Put(1), 0, 10), at(Did::Put(2), 11, 20)]];
    assert!(!is_linearizable(&too_many, 1));
    let not_full = [vec![at(Did::Put(1), 0, 10), at(Did::Full(2), 11, 20)]];
    assert!(is_linearizable(&not_full, 1) && !is_linearizable(&not_full, 2));
}

#[test]
fn who_is_half_way_all_the_time_excuses_those_behind() {
    let soon = u64::try_from(SOON.as_nanos()).unwrap();
    let at = |did, start, end| Operation { did, start, end };
    for (end, is_excused) in [(soon + 20, true), (soon, false)] {
        let histories = [
            vec![at(Did::Put(1), 0, end)],
            vec![at(Did::Put(2), 1, 10), at(Did::Empty, 15, soon + 30)],
        ];
        assert!(!is_linearizable(&histories, 3));
        assert_eq!(is_linearizable(&without_held_up(&histories), 3), is_excused);
    }
}

const PUT: u64 = 1;
const FULL: u64 = 2;
const GOT: u64 = 3;
const EMPTY: u64 = 4;

/// One process's part of a round. A try that met another's operation half-way may say
/// Full or Empty for it; forms that wait do so only if it stays half-way for as long.
fn act(queue: &Queue<u64, Pod>, log: &Words, base: usize, process: usize, random: &mut Random) {
    for n in 0..OPERATIONS {
        let value = (process * OPERATIONS + n) as u64;
        let puts = random.below(2) == 0;
        let start = now();
        let (kind, value) = if puts {
            match queue.put_timeout(value, SOON) {
                Ok(()) => (PUT, value),
                Err(error) if matches!(error.reason, PutReason::Full) => (FULL, value),
                Err(error) => panic!("{error}"),
            }
        } else {
            match queue.get_timeout(SOON) {
                Ok(value) => (GOT, value),
                Err(GetError::Empty) => (EMPTY, 0),
                Err(error) => panic!("{error}"),
            }
        };
        let end = now();
        let at = base + n * 4;
        log.set(at, kind);
        log.set(at + 1, value);
        log.set(at + 2, start);
        log.set(at + 3, end);
        for _ in 0..random.below(200) {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn small_histories_are_linearizable() {
    const ROUNDS: usize = 400;
    let _scene = Scene::lasting(Duration::from_secs(120));
    let mut kinds = [0; 5];
    for capacity in [1, 2, 3] {
        let each = OPERATIONS * 4;
        let log = Arc::new(Words::new(ROUNDS * PROCESSES * each));
        let arrived = Arc::new(Words::new(ROUNDS));
        let queues: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let builder = Builder::new().max_processes(8).max_threads(8);
                builder.bounded::<u64, Pod>(capacity).unwrap()
            })
            .collect();
        let queues = Arc::new(queues);
        let children: Vec<_> = (0..PROCESSES)
            .map(|process| {
                let (queues, log) = (Arc::clone(&queues), Arc::clone(&log));
                let arrived = Arc::clone(&arrived);
                fork(move || {
                    let mut random = Random(0x5EED + process as u64);
                    for (round, queue) in queues.iter().enumerate() {
                        // Attach first: that takes long.
                        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
                        arrived.count(round);
                        while arrived.get(round) < PROCESSES as u64 {
                            std::thread::yield_now();
                        }
                        let base = (round * PROCESSES + process) * each;
                        act(queue, &log, base, process, &mut random);
                    }
                })
            })
            .collect();
        children.into_iter().for_each(common::child::Child::join);
        for round in 0..ROUNDS {
            let history = |process: usize| -> Vec<Operation> {
                (0..OPERATIONS)
                    .map(|n| {
                        let at = (round * PROCESSES + process) * each + n * 4;
                        let value = log.get(at + 1);
                        let did = match log.get(at) {
                            PUT => Did::Put(value),
                            FULL => Did::Full(value),
                            GOT => Did::Got(value),
                            _ => Did::Empty,
                        };
                        Operation { did, start: log.get(at + 2), end: log.get(at + 3) }
                    })
                    .collect()
            };
            let histories: Vec<_> = (0..PROCESSES).map(history).collect();
            for operation in histories.iter().flatten() {
                kinds[match operation.did {
                    Did::Put(_) => 1,
                    Did::Full(_) => 2,
                    Did::Got(_) => 3,
                    Did::Empty => 4,
                }] += 1;
            }
            assert!(
                is_linearizable(&without_held_up(&histories), capacity),
                "capacity {capacity}, round {round}: {histories:#?}"
            );
        }
    }
    println!("puts {}, full {}, gets {}, empty {}", kinds[1], kinds[2], kinds[3], kinds[4]);
    assert!(kinds[1..].iter().all(|count| *count > 20), "one-sided histories: {kinds:?}");
}
