//! The end of a queue for all processes.

mod common;

use common::tasks::until_asleep;
use common::{Gate, LONG, Scene, fork};
use ringway_queue::{Builder, GetError, Pod, PutReason, Queue, WaitPolicy};
use std::sync::Arc;

fn blocking(capacity: usize) -> Queue<u32, Pod> {
    Builder::new().policy(WaitPolicy::Block).bounded(capacity).unwrap()
}

#[test]
fn blocked_getters_wake() {
    let _scene = Scene::begin();
    for immediate in [false, true] {
        let queue = blocking(2);
        let children: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                fork(move || assert!(matches!(queue.get(), Err(GetError::ShutDown))))
            })
            .collect();
        children.iter().for_each(|child| until_asleep(child.pid()));
        queue.shutdown(immediate).unwrap();
        assert!(queue.is_shut_down());
        children.into_iter().for_each(common::child::Child::join);
    }
}

#[test]
fn blocked_putters_wake_with_their_items() {
    let _scene = Scene::begin();
    for immediate in [false, true] {
        let queue = blocking(1);
        queue.put(1).unwrap();
        let children: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                fork(move || {
                    let refused = queue.put(7).unwrap_err();
                    assert!(matches!(refused.reason, PutReason::ShutDown) && refused.value == 7);
                })
            })
            .collect();
        children.iter().for_each(|child| until_asleep(child.pid()));
        queue.shutdown(immediate).unwrap();
        children.into_iter().for_each(common::child::Child::join);
        let rest: Vec<u32> = queue.iter().map(Result::unwrap).collect();
        assert_eq!(rest, if immediate { vec![] } else { vec![1] });
        assert!(matches!(queue.get_timeout(LONG), Err(GetError::ShutDown)));
        assert!(matches!(queue.try_put(2).unwrap_err().reason, PutReason::ShutDown));
    }
}

#[test]
fn an_orderly_shutdown_can_become_immediate_and_not_the_reverse() {
    let _scene = Scene::begin();
    let queue = blocking(4);
    (0..4).for_each(|n| queue.put(n).unwrap());
    queue.shutdown(false).unwrap();
    assert_eq!(queue.get().unwrap(), 0);
    queue.shutdown(true).unwrap();
    assert!(matches!(queue.get(), Err(GetError::ShutDown)) && queue.is_empty());
    queue.shutdown(false).unwrap();
    assert!(matches!(queue.get(), Err(GetError::ShutDown)));
}

#[test]
fn nothing_is_lost_between_putters_and_a_shutdown() {
    let _scene = Scene::begin();
    for round in 0..40_u32 {
        let queue = blocking(3);
        let (counts, results) = (common::Words::new(2), Arc::new(common::Words::new(2)));
        let putters: Vec<_> = (0..2)
            .map(|_| {
                let (queue, results) = (queue.clone(), Arc::clone(&results));
                fork(move || {
                    loop {
                        match queue.put(round) {
                            Ok(()) => _ = results.count(0),
                            Err(error) => {
                                assert!(matches!(error.reason, PutReason::ShutDown), "{error}");
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        let started = Arc::new(Gate::new());
        let getter = {
            let (queue, results, started) =
                (queue.clone(), Arc::clone(&results), Arc::clone(&started));
            fork(move || {
                for (n, got) in queue.iter().enumerate() {
                    assert_eq!(got.unwrap(), round);
                    results.count(1);
                    if n == 20 {
                        started.open();
                    }
                }
            })
        };
        started.pass();
        queue.shutdown(false).unwrap();
        putters.into_iter().for_each(common::child::Child::join);
        getter.join();
        assert_eq!(results.get(0), results.get(1), "put and got");
        assert!(queue.is_empty());
        drop(counts);
    }
}

#[test]
fn a_getter_waits_for_the_overflow_of_another_process() {
    let _scene = Scene::begin();
    for _ in 0..20 {
        let queue = Builder::new().ring_len(1).unbounded::<u32, Pod>().unwrap();
        let put = Arc::new(Gate::new());
        let producer = {
            let (queue, put) = (queue.clone(), Arc::clone(&put));
            fork(move || {
                (0..30).for_each(|n| queue.put(n).unwrap());
                queue.shutdown(false).unwrap();
                put.open();
                queue.close();
                queue.join_thread().unwrap();
            })
        };
        put.pass();
        let got: Vec<u32> = queue.iter().map(Result::unwrap).collect();
        assert_eq!(got, (0..30).collect::<Vec<_>>());
        producer.join();
    }
}
