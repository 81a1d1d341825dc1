//! SIGSTOP and SIGCONT at random, and a single processor for everybody.

use crate::common::child::Child;
use crate::common::{LONG, Random, Scene, eventually, fork};
use crate::{POLICIES, exchange, number_pipe, numbers};
use ringway::WaitPolicy;
use std::time::{Duration, Instant};

/// How long processes are stopped and continued.
const SPAN: Duration = Duration::from_millis(1500);

/// Stops a random one of `children` for a random time, again and again.
fn stop_at_random(children: &[&Child], seed: u64) -> u32 {
    let (start, mut random, mut stops) = (Instant::now(), Random(seed), 0);
    while start.elapsed() < SPAN {
        let child = children[random.below(children.len())];
        child.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_micros(random.next() % 4000));
        child.signal(libc::SIGCONT);
        std::thread::sleep(Duration::from_micros(random.next() % 2000));
        stops += 1;
    }
    stops
}

#[test]
fn stops_at_random_lose_nothing_in_a_queue() {
    let _scene = Scene::begin();
    for (capacity, policy, seed) in [(1, WaitPolicy::Block, 1), (3, WaitPolicy::Adaptive, 2)] {
        let (queue, taken) = (numbers(capacity, policy), numbers(4, policy));
        let producer = |who: u64| {
            let queue = queue.clone();
            fork(move || {
                for n in 0.. {
                    if queue.put(who << 32 | n).is_err() {
                        break;
                    }
                }
            })
        };
        let consumer = || {
            let (queue, taken) = (queue.clone(), taken.clone());
            fork(move || {
                // Of each producer the numbers grow, and how many there were is told.
                let mut next = [0; 2];
                for item in queue.iter() {
                    let item = item.unwrap();
                    let (who, n) = ((item >> 32) as usize, item & 0xFFFF_FFFF);
                    assert!(n >= next[who], "{n} of {who} after {}", next[who]);
                    next[who] = n + 1;
                    taken.put(item).unwrap();
                }
            })
        };
        let children = [producer(0), producer(1), consumer(), consumer()];
        let mut seen = [const { Vec::new() }; 2];
        let mut note = |item: u64| seen[(item >> 32) as usize].push(item & 0xFFFF_FFFF);
        let stops = std::thread::scope(|scope| {
            let drain = scope.spawn(|| {
                for item in taken.iter() {
                    note(item.unwrap());
                }
            });
            let all: Vec<&Child> = children.iter().collect();
            let stops = stop_at_random(&all, seed);
            queue.shutdown(false).unwrap();
            children.into_iter().for_each(Child::join);
            taken.shutdown(false).unwrap();
            drain.join().unwrap();
            stops
        });
        for numbers in &mut seen {
            numbers.sort_unstable();
            assert!((0..).zip(&*numbers).all(|(n, seen)| n == *seen), "one is lost or doubled");
        }
        let items = seen[0].len() + seen[1].len();
        println!("capacity {capacity}, {policy:?}: {stops} stops, {items} items");
        assert!(items > 100 && stops > 50, "{items} items, {stops} stops");
    }
}

#[test]
fn stops_at_random_lose_nothing_in_a_pipe() {
    let _scene = Scene::begin();
    for (policy, seed) in [(WaitPolicy::Block, 3), (WaitPolicy::Adaptive, 4)] {
        let (mut receiver, mut sender) = number_pipe(policy);
        let end = numbers(1, policy);
        let (over, sent) = (end.clone(), numbers(1, policy));
        let told = sent.clone();
        let producer = fork(move || {
            let mut n = 0;
            while over.is_empty() {
                sender.send(&n).unwrap();
                n += 1;
            }
            told.put(n).unwrap();
        });
        let consumer = fork(move || {
            let mut next = 0;
            while let Ok(n) = receiver.recv() {
                assert_eq!(n, next);
                next += 1;
            }
            assert_eq!(sent.get_timeout(LONG).unwrap(), next, "all that were sent");
            assert!(next > 100);
        });
        let stops = stop_at_random(&[&producer, &consumer], seed);
        assert!(stops > 50);
        end.put(1).unwrap();
        producer.join();
        consumer.join();
    }
}

#[test]
fn a_stopped_peer_does_not_hold_up_a_time_out() {
    let _scene = Scene::begin();
    let queue = numbers(2, WaitPolicy::Adaptive);
    let peer = {
        let queue = queue.clone();
        fork(move || {
            loop {
                queue.put(1).unwrap();
                queue.get_timeout(LONG).unwrap();
            }
        })
    };
    for round in 0..40 {
        std::thread::sleep(Duration::from_micros(200 * (round % 7)));
        crate::common::tasks::stop(&peer);
        // Wherever it stands, a call ends in time.
        let wait = Duration::from_millis(5);
        let start = Instant::now();
        drop((queue.get_timeout(wait), queue.put_timeout(2, wait)));
        drop((queue.try_get(), queue.try_put(3), queue.len(), queue.is_full()));
        assert!(start.elapsed() < crate::common::SOON, "{:?}", start.elapsed());
        peer.signal(libc::SIGCONT);
    }
    peer.kill_and_reap();
    eventually("what it left can be taken", || queue.try_get().is_err() && queue.is_empty());
}

/// Keeps this process, which is a child, and its children on one processor.
fn on_one_processor() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let mut one = rustix::thread::CpuSet::new();
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap();
    one.set(first);
    rustix::thread::sched_setaffinity(None, &one).unwrap();
}

#[test]
fn one_processor_for_all() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        // A spinning process goes on until the system takes the processor from it.
        let count = if policy == WaitPolicy::Spin { 30 } else { 1000 };
        fork(|| {
            on_one_processor();
            exchange(count, policy, || {});
        })
        .join();
    }
}
