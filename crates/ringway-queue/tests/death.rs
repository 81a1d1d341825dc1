//! SIGKILL of users at any moment: the others go on, nothing is doubled, nothing is lost
//! but what a killed getter was just returning with.

mod common;

use common::child::Child;
use common::tasks::until_asleep;
use common::{LONG, Random, Scene, Words, eventually, fork};
use ringway_queue::{Builder, GetError, Pod, Queue, WaitPolicy};
use std::sync::Arc;
use std::time::Duration;

/// Producers that may live, and items that each may put.
const LIVES: u32 = 150;
const ITEMS: u32 = 20_000;

/// What became of every item, and how many puts of each life returned.
struct Account {
    taken: Words,
    returned: Words,
}

fn place(life: u32, n: u32) -> usize {
    (life * ITEMS + n) as usize
}

type Items = Queue<(u32, u32), ringway_queue::Postcard>;

fn producer(queue: &Items, account: &Arc<Account>, life: u32) -> Child {
    let (queue, account) = (queue.clone(), Arc::clone(account));
    fork(move || {
        for n in 0..ITEMS {
            match queue.put((life, n)) {
                Ok(()) => account.returned.set(life as usize, u64::from(n) + 1),
                Err(error) if matches!(error.reason, ringway_queue::PutReason::ShutDown) => break,
                Err(error) => panic!("{error}"),
            }
        }
        std::thread::sleep(LONG);
    })
}

fn consumer(queue: &Items, account: &Arc<Account>) -> Child {
    let (queue, account) = (queue.clone(), Arc::clone(account));
    fork(move || {
        for item in queue.iter() {
            let (life, n) = item.unwrap();
            assert_eq!(account.taken.count(place(life, n)), 0, "twice");
        }
    })
}

/// Kills a random one of two producers and two consumers `kills` times.
fn storm(capacity: usize, policy: WaitPolicy, kills: usize, seed: u64) {
    let queue: Items = Builder::new().policy(policy).bounded(capacity).unwrap();
    let account = Arc::new(Account {
        taken: Words::new(place(LIVES, 0)),
        returned: Words::new(LIVES as usize),
    });
    let mut random = Random(seed);
    let mut lives = 2;
    let mut producers = vec![producer(&queue, &account, 0), producer(&queue, &account, 1)];
    let mut consumers = vec![consumer(&queue, &account), consumer(&queue, &account)];
    let mut killed_consumers = 0;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_micros(random.next() % 4000));
        let which = random.below(2);
        if random.below(2) == 0 && lives < LIVES {
            producers.swap_remove(which).kill_and_reap();
            producers.push(producer(&queue, &account, lives));
            lives += 1;
        } else {
            consumers.swap_remove(which).kill_and_reap();
            consumers.push(consumer(&queue, &account));
            killed_consumers += 1;
        }
    }
    producers.into_iter().for_each(Child::kill_and_reap);
    // What they left is taken; what they had claimed is given up.
    eventually("the queue drains", || queue.is_empty());
    queue.shutdown(false).unwrap();
    consumers.into_iter().for_each(Child::join);
    let (mut put, mut missing) = (0, 0);
    for life in 0..lives {
        let returned = account.returned.get(life as usize);
        put += returned;
        for n in 0..ITEMS {
            let taken = account.taken.get(place(life, n));
            assert!(taken <= 1, "life {life}, item {n}: taken {taken} times");
            if taken == 0 && u64::from(n) < returned {
                missing += 1;
            }
            // Committed and not yet noted, at most.
            assert!(taken == 0 || u64::from(n) <= returned, "life {life} did not put {n}");
        }
    }
    println!(
        "capacity {capacity}, {policy:?}: {put} put, {kills} killed, taken by the dead {missing}"
    );
    assert!(put > 1000, "they hardly ran");
    assert!(missing <= killed_consumers, "{missing} lost, {killed_consumers} getters killed");
}

#[test]
fn a_storm_of_kills_loses_and_doubles_nothing() {
    let _scene = Scene::lasting(Duration::from_secs(180));
    for (capacity, policy, seed) in [
        (1, WaitPolicy::Block, 11),
        (1, WaitPolicy::Adaptive, 12),
        (2, WaitPolicy::Adaptive, 13),
        (3, WaitPolicy::Block, 14),
        (64, WaitPolicy::Adaptive, 15),
    ] {
        storm(capacity, policy, 120, seed);
    }
}

fn numbers(capacity: usize) -> Queue<u64, Pod> {
    Builder::new().policy(WaitPolicy::Block).bounded(capacity).unwrap()
}

#[test]
fn a_killed_sleeper_swallows_no_item_and_no_wake() {
    let _scene = Scene::begin();
    for _ in 0..20 {
        let queue = numbers(2);
        let getter = || {
            let queue = queue.clone();
            fork(move || assert_eq!(queue.get().unwrap(), 5))
        };
        let (first, second) = (getter(), getter());
        until_asleep(first.pid());
        until_asleep(second.pid());
        // Whichever is woken, or none yet.
        queue.put(5).unwrap();
        first.kill();
        queue.put(5).unwrap();
        second.join();
        drop(first);
        eventually("at most one is gone with the dead", || queue.len() <= 1);
    }
}

#[test]
fn the_capacity_survives_kills() {
    let _scene = Scene::begin();
    let queue = numbers(3);
    let mut random = Random(3);
    for _ in 0..100 {
        let busy = {
            let queue = queue.clone();
            fork(move || {
                loop {
                    queue.put_timeout(1, LONG).unwrap();
                    queue.get_timeout(LONG).unwrap();
                }
            })
        };
        std::thread::sleep(Duration::from_micros(300 + random.next() % 1500));
        busy.kill_and_reap();
    }
    // Whatever they left, it is at most the capacity, and then exactly that fits.
    let left = queue.len();
    assert!(left <= 3);
    eventually("all that was left is taken", || match queue.try_get() {
        Ok(_) => false,
        Err(GetError::Empty) => queue.is_empty(),
        Err(other) => panic!("{other}"),
    });
    for n in 0..3 {
        queue.put_timeout(n, LONG).unwrap();
    }
    assert!(queue.is_full() && queue.try_put(9).is_err());
    (0..3).for_each(|n| assert_eq!(queue.get().unwrap(), n));
}

#[test]
fn a_named_queue_outlives_all_its_users() {
    let scene = Scene::begin();
    let named = Builder::new().name(&scene.name("left"));
    for round in 0..20 {
        let child = {
            let named = named.clone();
            fork(move || {
                let queue = named.bounded::<u64, Pod>(1000).unwrap();
                for n in 0.. {
                    queue.put(n).unwrap();
                }
            })
        };
        eventually("it is there", || named.open::<u64, Pod>().is_ok_and(|queue| queue.len() > 10));
        child.kill_and_reap();
        let queue = named.open::<u64, Pod>().unwrap();
        let got: Vec<u64> = queue.try_iter().map(Result::unwrap).collect();
        assert!((0..).zip(&got).all(|(n, got)| n == *got) && got.len() > 10, "round {round}");
        named.remove().unwrap();
    }
}

#[test]
fn the_dead_make_room_for_new_users() {
    let _scene = Scene::begin();
    let queue = Builder::new().max_processes(3).max_threads(6).bounded::<u64, Pod>(4).unwrap();
    for n in 0..20 {
        let child = {
            let queue = queue.clone();
            fork(move || {
                queue.put(n).unwrap();
                std::thread::sleep(LONG);
            })
        };
        assert_eq!(queue.get_timeout(LONG).unwrap(), n);
        child.kill_and_reap();
    }
}

/// Records of processes and of threads are used again without end: a thousand come to a
/// queue that has room for four, and are killed wherever they are, the first while they
/// attach.
#[test]
fn a_thousand_come_and_die() {
    let _scene = Scene::begin();
    let queue = Builder::new().max_processes(4).max_threads(8).bounded::<u64, Pod>(3).unwrap();
    let mut random = Random(7);
    let work = |queue: Queue<u64, Pod>| {
        for n in 0.. {
            let _ = queue.try_put(n);
            let _ = queue.try_get();
        }
    };
    for _ in 0..1000 {
        let child = {
            let queue = queue.clone();
            fork(move || work(queue))
        };
        std::thread::sleep(Duration::from_micros(random.next() % 1500));
        child.kill_and_reap();
    }
    // Nothing of them is left: room for three items, and for three processes at a time.
    while queue.get_timeout(Duration::from_millis(600)).is_ok() {}
    for n in 0..3 {
        queue.try_put(n).unwrap();
    }
    assert!(queue.is_full() && queue.try_put(3).is_err());
    for n in 0..3 {
        assert_eq!(queue.try_get().unwrap(), n);
    }
    let three = [0; 3].map(|_| {
        let queue = queue.clone();
        fork(move || {
            queue.put(8).unwrap();
            std::thread::sleep(LONG);
        })
    });
    for _ in &three {
        assert_eq!(queue.get_timeout(LONG).unwrap(), 8);
    }
    three.into_iter().for_each(Child::kill_and_reap);
}
