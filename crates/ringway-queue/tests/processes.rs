//! Many processes on one queue: each item exactly once, in order, never more than fit.

mod common;

use common::{Gate, LONG, SHORT, Scene, Words, eventually, fork};
use ringway_queue::{Builder, GetError, Pod, Postcard, Queue, WaitPolicy};
use std::sync::Arc;
use std::time::Duration;

/// Runs `producers` and `consumers` over `queue`; checks that every item arrives exactly
/// once and each consumer sees each producer's items in order.
fn everything_arrives_once(queue: &Queue<(u32, u32), Postcard>, producers: u32, consumers: u32) {
    const EACH: u32 = 2000;
    let total = (producers * EACH) as usize;
    let taken = Arc::new(Words::new(total + 1));
    let mut children = Vec::new();
    for producer in 0..producers {
        let queue = queue.clone();
        children.push(fork(move || {
            for n in 0..EACH {
                queue.put_timeout((producer, n), LONG).unwrap();
            }
            // A copy of a handle that fork made does not wait for what it leaves behind.
            queue.close();
            queue.join_thread().unwrap();
        }));
    }
    for _ in 0..consumers {
        let (queue, taken) = (queue.clone(), Arc::clone(&taken));
        children.push(fork(move || {
            let mut last = vec![None; producers as usize];
            loop {
                let (producer, n) = match queue.get_timeout(LONG) {
                    Ok(item) => item,
                    Err(GetError::ShutDown) => break,
                    Err(other) => panic!("{other}"),
                };
                let before = last[producer as usize].replace(n);
                assert!(before.is_none_or(|before| before < n), "{before:?}, then {n}");
                assert_eq!(taken.count((producer * EACH + n) as usize), 0, "taken twice");
                taken.count(total);
            }
        }));
    }
    eventually("all items arrive", || taken.get(total) == total as u64);
    assert!((0..total).all(|item| taken.get(item) == 1));
    assert!(queue.is_empty());
    queue.shutdown(false).unwrap();
    children.into_iter().for_each(common::child::Child::join);
}

#[test]
fn each_item_arrives_exactly_once() {
    let _scene = Scene::lasting(Duration::from_secs(120));
    for (producers, consumers) in [(1, 1), (1, 4), (4, 1), (2, 2), (8, 8)] {
        for capacity in [1, 3, 64] {
            let queue = Queue::bounded(capacity).unwrap();
            everything_arrives_once(&queue, producers, consumers);
        }
    }
}

#[test]
fn each_item_arrives_exactly_once_through_overflow() {
    let _scene = Scene::lasting(Duration::from_secs(120));
    for (producers, consumers) in [(1, 1), (4, 1), (2, 2), (8, 8)] {
        for slots in [1, 16] {
            let queue = Builder::new().ring_len(slots).unbounded().unwrap();
            everything_arrives_once(&queue, producers, consumers);
        }
    }
}

#[test]
fn every_policy_delivers() {
    let _scene = Scene::begin();
    for policy in [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block] {
        let queue = Builder::new().policy(policy).bounded(2).unwrap();
        everything_arrives_once(&queue, 2, 2);
    }
}

#[test]
fn never_more_than_fit() {
    let _scene = Scene::begin();
    for capacity in [1_u64, 2, 3, 10] {
        let queue = Builder::new().bounded::<u64, Pod>(usize::try_from(capacity).unwrap()).unwrap();
        // Items whose put has surely begun less those whose get has surely ended bound
        // nothing; those put for sure and not yet begun to be taken must all be in the
        // queue. Word 0: puts that returned. Word 1: gets begun.
        let words = Arc::new(Words::new(3));
        let mut children = Vec::new();
        let (original, shared) = (&queue, &words);
        for _ in 0..3 {
            let (queue, words) = (original.clone(), Arc::clone(shared));
            children.push(fork(move || {
                for n in 0..3000 {
                    queue.put_timeout(n, LONG).unwrap();
                    words.count(0);
                }
            }));
            let (queue, words) = (original.clone(), Arc::clone(shared));
            children.push(fork(move || {
                for _ in 0..3000 {
                    words.count(1);
                    queue.get_timeout(LONG).unwrap();
                }
            }));
        }
        while words.get(0) < 9000 {
            // In this order: the difference errs on the low side.
            let put = words.get(0);
            let taking = words.get(1);
            assert!(put.saturating_sub(taking) <= capacity, "{put} put, {taking} being taken");
            assert!(queue.len() as u64 <= capacity);
        }
        children.into_iter().for_each(common::child::Child::join);
        assert!(queue.is_empty() && !queue.is_full());
        (0..capacity).for_each(|n| queue.try_put(n).unwrap());
        assert!(queue.is_full() && queue.try_put(0).unwrap_err().is_full());
    }
}

#[test]
fn what_was_put_is_visible_to_every_process() {
    let _scene = Scene::begin();
    for unbounded in [false, true] {
        let queue: Queue<u64, Pod> = match unbounded {
            true => Builder::new().unbounded().unwrap(),
            false => Builder::new().bounded(4).unwrap(),
        };
        let (go, done) = (Gate::new(), Gate::new());
        let (go, done) = (Arc::new(go), Arc::new(done));
        let child = {
            let (queue, go, done) = (queue.clone(), Arc::clone(&go), Arc::clone(&done));
            fork(move || {
                for n in 0..2000 {
                    go.pass();
                    // The put has returned: a try is enough.
                    assert_eq!(queue.len(), 1);
                    assert_eq!(queue.try_get().unwrap(), n);
                    assert!(queue.is_empty());
                    done.open();
                }
            })
        };
        for n in 0..2000 {
            queue.put(n).unwrap();
            go.open();
            done.pass();
            assert!(queue.is_empty());
        }
        child.join();
    }
}

#[test]
fn a_put_that_returned_before_another_began_is_taken_first() {
    let _scene = Scene::begin();
    let queue = Builder::new().bounded::<u64, Pod>(100).unwrap();
    let (to_a, to_b) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let putter = |own: &Arc<Gate>, other: &Arc<Gate>, first: u64| {
        let (queue, own, other) = (queue.clone(), Arc::clone(own), Arc::clone(other));
        fork(move || {
            for n in 0..500 {
                own.pass();
                queue.put_timeout(2 * n + first, LONG).unwrap();
                other.open();
            }
        })
    };
    let children = [putter(&to_a, &to_b, 0), putter(&to_b, &to_a, 1)];
    to_a.open();
    for n in 0..1000 {
        assert_eq!(queue.get_timeout(LONG).unwrap(), n);
    }
    children.into_iter().for_each(common::child::Child::join);
}

#[test]
fn blocked_processes_sleep_and_wake() {
    let _scene = Scene::begin();
    let queue = Builder::new().policy(WaitPolicy::Block).bounded::<u32, Pod>(1).unwrap();
    let getter = {
        let queue = queue.clone();
        fork(move || assert_eq!(queue.get().unwrap(), 5))
    };
    common::tasks::until_asleep(getter.pid());
    queue.put(5).unwrap();
    getter.join();
    queue.put(6).unwrap();
    let putter = {
        let queue = queue.clone();
        fork(move || queue.put(7).unwrap())
    };
    common::tasks::until_asleep(putter.pid());
    assert_eq!(queue.get().unwrap(), 6);
    putter.join();
    assert_eq!(queue.get().unwrap(), 7);
}

#[test]
fn fork_gives_the_child_a_handle_of_its_own() {
    let _scene = Scene::begin();
    let queue = Queue::<String>::bounded(10).unwrap();
    queue.put("from before".into()).unwrap();
    let child = {
        let queue = queue.clone();
        fork(move || {
            assert_eq!(queue.get_timeout(LONG).unwrap(), "from before");
            let grandchild = {
                let queue = queue.clone();
                fork(move || queue.put("from the grandchild".into()).unwrap())
            };
            grandchild.join();
            queue.put("from the child".into()).unwrap();
            queue.close();
            assert!(queue.put(String::new()).is_err());
        })
    };
    child.join();
    assert_eq!(queue.get_timeout(LONG).unwrap(), "from the grandchild");
    assert_eq!(queue.get_timeout(LONG).unwrap(), "from the child");
    assert!(!queue.is_closed());
    assert!(matches!(queue.get_timeout(SHORT), Err(GetError::Empty)));
}

#[test]
fn fork_does_not_double_what_waits_in_the_parent() {
    let _scene = Scene::begin();
    let queue = Builder::new().ring_len(2).unbounded::<u32, Pod>().unwrap();
    // Ten are accepted; eight of them wait in this process.
    (0..10).for_each(|n| queue.put(n).unwrap());
    let looked = Arc::new(Gate::new());
    let child = {
        let (queue, looked) = (queue.clone(), Arc::clone(&looked));
        fork(move || {
            assert_eq!(queue.len(), 10);
            looked.open();
            // Its own go behind its own: none.
            (100..110).for_each(|n| queue.put(n).unwrap());
            queue.close();
            queue.join_thread().unwrap();
        })
    };
    looked.pass();
    let mut got: Vec<u32> = (0..20).map(|_| queue.get_timeout(LONG).unwrap()).collect();
    child.join();
    assert!(queue.is_empty(), "{got:?}");
    let (mine, theirs): (Vec<u32>, Vec<u32>) = got.iter().partition(|n| **n < 100);
    assert_eq!(mine, (0..10).collect::<Vec<_>>());
    assert_eq!(theirs, (100..110).collect::<Vec<_>>());
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), 20);
}
