//! Proof of death where a process has several handles of one queue, or several queues.
//!
//! A task that a process has taken shows what the others believe: while it counts as
//! unfinished, its taker counts as alive; once its taker is proven dead, it is lost, and
//! `join` says so.

mod common;

use common::{Gate, LONG, SHORT, Scene, fork};
use ringway_queue::{Builder, JoinError, JoinableQueue, Pod};
use std::sync::Arc;

type Tasks = JoinableQueue<u32, Pod>;

/// A process comes anew: it asks the kernel about everybody, and repairs the dead.
fn somebody_joins(queue: &Tasks) {
    let queue = queue.clone();
    fork(move || {
        assert!(queue.task_done().is_err(), "it has taken nothing");
    })
    .join();
}

fn counts_as_alive(queue: &Tasks, tasks: u64) {
    somebody_joins(queue);
    assert_eq!(queue.unfinished(), tasks);
    assert!(matches!(queue.join_timeout(SHORT), Err(JoinError::Timeout)));
}

fn is_dead(queue: &Tasks) {
    let told = queue.join_timeout(LONG);
    assert!(matches!(told, Err(JoinError::PeerDied { lost: 1 })), "{told:?}");
    queue.join_timeout(LONG).unwrap();
}

#[test]
fn a_closed_handle_of_several_is_no_death() {
    let scene = Scene::begin();
    let named = Builder::new().name(&scene.name("handles"));
    let queue = named.joinable_bounded::<u32, Pod>(4).unwrap();
    queue.put(1).unwrap();
    // Its end of the other two gates closes with it.
    let (closed, two_more) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
    let victim = {
        let (closed, two_more, named) = (Arc::clone(&closed), Arc::clone(&two_more), named.clone());
        let inherited = queue.clone();
        fork(move || {
            let open = || named.open_joinable::<u32, Pod>().unwrap();
            let (first, second) = (open(), open());
            let third = second.clone();
            first.get().unwrap();
            // Each had descriptors of the same file, and none of them has the lock.
            drop(inherited);
            drop(first);
            drop(third);
            closed.open();
            two_more.pass();
            drop((open(), open()));
            closed.open();
            // It can use what is left, and has its task still.
            assert_eq!(second.unfinished(), 1);
            std::thread::sleep(LONG);
        })
    };
    closed.pass();
    counts_as_alive(&queue, 1);
    two_more.open();
    closed.pass();
    counts_as_alive(&queue, 1);
    victim.kill_and_reap();
    is_dead(&queue);
}

#[test]
fn a_death_is_proven_in_each_of_several_segments() {
    let _scene = Scene::begin();
    let queues: Vec<Tasks> = (0..3).map(|_| Builder::new().joinable_bounded(4).unwrap()).collect();
    for queue in &queues {
        (0..2).for_each(|n| queue.put(n).unwrap());
    }
    let taken = Arc::new(Gate::new());
    let worker = || {
        let (its, mut queues) = (Arc::clone(&taken), queues.clone());
        let leave = Arc::new(Gate::new());
        let left = Arc::clone(&leave);
        let child = fork(move || {
            for queue in &queues {
                queue.get().unwrap();
            }
            its.open();
            left.pass();
            // In order, from one of them.
            queues.remove(1).task_done().unwrap();
            its.open();
            std::thread::sleep(LONG);
        });
        taken.pass();
        (child, leave)
    };
    let ((victim, first), (bystander, second)) = (worker(), worker());
    queues.iter().for_each(|queue| counts_as_alive(queue, 2));
    first.open();
    taken.pass();
    for (queue, tasks) in queues.iter().zip([2, 1, 2]) {
        counts_as_alive(queue, tasks);
    }
    victim.kill_and_reap();
    // Proven in two of them; and whoever was there with it is alive in all three.
    for (queue, tasks) in queues.iter().zip([1, 1, 1]) {
        counts_as_alive(queue, tasks);
    }
    second.open();
    taken.pass();
    queues[1].join_timeout(LONG).unwrap();
    bystander.kill_and_reap();
    for queue in [&queues[0], &queues[2]] {
        let told = queue.join_timeout(LONG);
        assert!(matches!(told, Err(JoinError::PeerDied { lost: 2 })), "{told:?}");
    }
    queues[1].join_timeout(LONG).unwrap();
}
