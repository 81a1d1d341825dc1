//! Queues without a limit: what waits in the putter's memory, and who waits for it.

mod common;

use common::child::{exit, exit_normally};
use common::tasks::{threads_named, until_asleep};
use common::{Gate, LONG, SHORT, Scene, eventually, fork, timed};
use ringway_queue::{Builder, GetError, JoinThreadError, Pod, PutReason, Queue};
use std::sync::Arc;
use std::time::Duration;

fn tiny() -> Queue<u64, Pod> {
    Builder::new().ring_len(2).unbounded().unwrap()
}

/// A child that attaches, says so, waits for a word, takes `count` in order, and leaves.
fn consumer(queue: &Queue<u64, Pod>, count: u64) -> (common::child::Child, Arc<Gate>) {
    let (ready, go) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let child = {
        let (queue, ready, go) = (queue.clone(), Arc::clone(&ready), Arc::clone(&go));
        fork(move || {
            assert!(matches!(queue.try_get(), Err(GetError::Empty)));
            ready.open();
            go.pass();
            (0..count).for_each(|n| assert_eq!(queue.get_timeout(LONG).unwrap(), n));
        })
    };
    ready.pass();
    (child, go)
}

#[test]
fn putting_never_waits_and_order_is_kept_in_and_out_of_overflow() {
    let _scene = Scene::begin();
    let queue = tiny();
    let mut next = 0;
    let mut expected = 0;
    for round in [1, 5, 100, 2, 1000, 3, 3, 3] {
        for _ in 0..round {
            queue.try_put(next).unwrap();
            next += 1;
        }
        // An item that is just moved to the ring may count twice for a moment.
        eventually("the length is exact", || queue.len() as u64 == next - expected);
        assert!(!queue.is_full());
        // Leave something behind every other time: the switch happens under way.
        let leave = if round % 2 == 0 { 3.min(next - expected) } else { 0 };
        while expected + leave < next {
            assert_eq!(queue.get_timeout(LONG).unwrap(), expected);
            expected += 1;
        }
    }
    eventually("the feeder ends", || threads_named("ringway-feeder") == 0);
    assert!(queue.is_empty());
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
}

#[test]
fn a_feeder_exists_only_while_something_waits() {
    let _scene = Scene::begin();
    let queue = tiny();
    queue.put(0).unwrap();
    queue.put(1).unwrap();
    assert_eq!(threads_named("ringway-feeder"), 0);
    queue.put(2).unwrap();
    eventually("the feeder starts", || threads_named("ringway-feeder") == 1);
    assert_eq!(queue.get_timeout(LONG).unwrap(), 0);
    eventually("the feeder ends", || threads_named("ringway-feeder") == 0);
    assert_eq!(queue.len(), 2);
}

#[test]
fn every_process_counts_what_waits_anywhere() {
    let _scene = Scene::begin();
    let queue = tiny();
    let (put, go) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let child = {
        let (queue, put, go) = (queue.clone(), Arc::clone(&put), Arc::clone(&go));
        fork(move || {
            (0..7).for_each(|n| queue.put(n).unwrap());
            put.open();
            go.pass();
        })
    };
    put.pass();
    assert_eq!((queue.len(), queue.is_full(), queue.capacity()), (7, false, None));
    // Killed, it takes with it what was accepted and not committed.
    child.kill_and_reap();
    assert_eq!(queue.get_timeout(LONG).unwrap(), 0);
    let rest: Vec<u64> =
        std::iter::from_fn(|| queue.get_timeout(Duration::from_secs(1)).ok()).collect();
    assert!((1..7).take(rest.len()).eq(rest.iter().copied()), "{rest:?}");
    eventually("the dead do not count", || queue.is_empty());
    go.open();
}

#[test]
fn join_thread_waits_for_the_flush() {
    let _scene = Scene::begin();
    let queue = tiny();
    let (child, go) = consumer(&queue, 50);
    (0..50).for_each(|n| queue.put(n).unwrap());
    queue.close();
    assert_eq!(queue.len(), 50);
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| queue.join_thread());
        std::thread::sleep(SHORT);
        assert!(!joining.is_finished(), "nobody has taken anything");
        go.open();
        assert_eq!(joining.join().unwrap(), Ok(()));
    });
    child.join();
    assert!(queue.is_empty());
    assert_eq!(queue.join_thread(), Ok(()));
}

#[test]
fn dropping_the_last_handle_flushes() {
    let _scene = Scene::begin();
    let queue = tiny();
    let (child, go) = consumer(&queue, 50);
    (0..50).for_each(|n| queue.put(n).unwrap());
    drop(queue.clone());
    std::thread::scope(|scope| {
        let dropping = scope.spawn(move || drop(queue));
        std::thread::sleep(SHORT);
        assert!(!dropping.is_finished());
        go.open();
    });
    child.join();
}

#[test]
fn a_normal_exit_flushes_and_others_do_not() {
    let _scene = Scene::begin();
    for normal in [true, false] {
        let queue = tiny();
        let put = Arc::new(Gate::new());
        let producer = {
            let (queue, put) = (queue.clone(), Arc::clone(&put));
            fork(move || {
                (0..50).for_each(|n| queue.put(n).unwrap());
                put.open();
                // The handle is not dropped.
                std::mem::forget(queue);
                if normal { exit_normally() } else { exit(0) }
            })
        };
        put.pass();
        let mut producer = Some(producer);
        if !normal {
            // Nothing is taken before it is gone.
            producer.take().unwrap().join();
        }
        let got: Vec<u64> =
            std::iter::from_fn(|| queue.get_timeout(Duration::from_secs(1)).ok()).collect();
        producer.into_iter().for_each(common::child::Child::join);
        assert!((0..50).take(got.len()).eq(got.iter().copied()), "{got:?}");
        assert_eq!(got.len() == 50, normal, "{}", got.len());
    }
}

#[test]
fn a_process_that_exits_waits_for_a_consumer() {
    let _scene = Scene::begin();
    let queue = tiny();
    let mut producer = {
        let queue = queue.clone();
        fork(move || {
            (0..50).for_each(|n| queue.put(n).unwrap());
            exit_normally()
        })
    };
    until_asleep(producer.pid());
    assert!(!producer.ended());
    (0..50).for_each(|n| assert_eq!(queue.get_timeout(LONG).unwrap(), n));
    producer.join();
}

#[test]
fn cancelled_nobody_waits() {
    let _scene = Scene::begin();
    let queue = tiny();
    let producer = {
        let queue = queue.clone();
        fork(move || {
            (0..50).for_each(|n| queue.put(n).unwrap());
            queue.cancel_join_thread();
            queue.close();
            queue.join_thread().unwrap();
            exit_normally()
        })
    };
    producer.join();
    assert!(queue.len() <= 50);
    let (waiting, _took) = timed(|| {
        let queue = tiny();
        (0..50).for_each(|n| queue.put(n).unwrap());
        let other = queue.clone();
        other.close();
        std::thread::scope(|scope| {
            let joining = scope.spawn(|| other.join_thread());
            std::thread::sleep(SHORT);
            let waited = !joining.is_finished();
            // Also one who waits already.
            queue.cancel_join_thread();
            joining.join().unwrap().unwrap();
            waited
        })
    });
    assert!(waiting);
    eventually("the feeder gives up", || threads_named("ringway-feeder") == 0);
}

#[test]
fn nobody_waits_for_nobody() {
    let _scene = Scene::begin();
    let queue = tiny();
    (0..50).for_each(|n| queue.put(n).unwrap());
    queue.close();
    // The two in the ring are committed.
    assert_eq!(queue.join_thread(), Err(JoinThreadError::Lost { items: 48 }));
    assert_eq!(queue.len(), 2);
    // A consumer that dies in the meantime leaves nobody, too.
    let queue = tiny();
    let (child, _go) = consumer(&queue, 50);
    (0..50).for_each(|n| queue.put(n).unwrap());
    std::thread::scope(|scope| {
        let dropping = scope.spawn(move || drop(queue));
        std::thread::sleep(SHORT);
        assert!(!dropping.is_finished());
        child.kill_and_reap();
    });
}

#[test]
fn a_full_ring_does_not_keep_a_consumer_of_the_own_process_waiting() {
    let _scene = Scene::begin();
    let queue = tiny();
    let other = queue.clone();
    (0..50).for_each(|n| queue.put(n).unwrap());
    queue.close();
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| queue.join_thread());
        (0..50).for_each(|n| assert_eq!(other.get_timeout(LONG).unwrap(), n));
        assert_eq!(joining.join().unwrap(), Ok(()));
    });
}

#[test]
fn what_was_accepted_survives_an_orderly_shutdown() {
    let _scene = Scene::begin();
    for _ in 0..30 {
        let queue = tiny();
        (0..20).for_each(|n| queue.put(n).unwrap());
        queue.shutdown(false).unwrap();
        let refused = queue.put(99).unwrap_err();
        assert!(matches!(refused.reason, PutReason::ShutDown) && refused.value == 99);
        let got: Vec<u64> = queue.iter().map(Result::unwrap).collect();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
        assert!(matches!(queue.get(), Err(GetError::ShutDown)));
        assert!(matches!(queue.try_get(), Err(GetError::ShutDown)));
    }
}

#[test]
fn an_immediate_shutdown_throws_all_away() {
    let _scene = Scene::begin();
    let queue = tiny();
    (0..20).for_each(|n| queue.put(n).unwrap());
    queue.shutdown(true).unwrap();
    assert!(matches!(queue.get(), Err(GetError::ShutDown)));
    eventually("nothing is left", || queue.is_empty());
    eventually("the feeder ends", || threads_named("ringway-feeder") == 0);
    queue.close();
    assert!(matches!(queue.join_thread(), Err(JoinThreadError::Lost { .. })));
}

#[test]
fn threads_overflow_together() {
    let _scene = Scene::begin();
    let queue = tiny();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let queue = queue.clone();
            scope.spawn(move || (0..2000).for_each(|n| queue.put(thread << 32 | n).unwrap()));
        }
        let mut last = [None; 4];
        for _ in 0..8000 {
            let item = queue.get_timeout(LONG).unwrap();
            let (thread, n) = ((item >> 32) as usize, item & 0xFFFF_FFFF);
            let before: Option<u64> = last[thread].replace(n);
            assert_eq!(before.map_or(0, |before| before + 1), n);
        }
    });
    assert!(queue.is_empty());
}
