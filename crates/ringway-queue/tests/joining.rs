//! Tasks, and who is done with them.

mod common;

use common::child::{Child, exit_normally};
use common::tasks::until_asleep;
use common::{Gate, LONG, SHORT, SOON, Scene, eventually, fork, timed};
use ringway_queue::{Builder, JoinError, JoinableQueue, Pod, TaskDoneError};
use std::sync::Arc;
use std::time::Duration;

type Tasks = JoinableQueue<u32, Pod>;

fn bounded(capacity: usize) -> Tasks {
    Builder::new().joinable_bounded(capacity).unwrap()
}

#[test]
fn tasks_are_counted() {
    let _scene = Scene::begin();
    for queue in [bounded(3), Builder::new().ring_len(1).joinable().unwrap()] {
        assert!(matches!(queue.task_done(), Err(TaskDoneError::TooMany)));
        queue.join().unwrap();
        (0..3).for_each(|n| queue.put(n).unwrap());
        assert_eq!(queue.unfinished(), 3);
        // Nothing is taken yet.
        assert!(matches!(queue.task_done(), Err(TaskDoneError::TooMany)));
        assert!(matches!(queue.join_timeout(Duration::ZERO), Err(JoinError::Timeout)));
        let (late, took) = timed(|| queue.join_timeout(SHORT));
        assert!(matches!(late, Err(JoinError::Timeout)) && took >= SHORT && took < SOON);
        for left in (0..3).rev() {
            queue.get_timeout(LONG).unwrap();
            // The feeder's next one may count twice for a moment, and never not at all.
            assert!(queue.unfinished() > left);
            eventually("it counts", || queue.unfinished() == left + 1);
            queue.task_done().unwrap();
            assert!(queue.unfinished() >= left);
            eventually("it no longer counts", || queue.unfinished() == left);
        }
        queue.join_timeout(LONG).unwrap();
        let many = queue.task_done().unwrap_err();
        assert!(many.to_string().contains("too many times"), "{many}");
        assert!(queue.try_get().is_err() && queue.get_timeout(SHORT).is_err());
        assert_eq!(queue.unfinished(), 0);
    }
}

fn worker(queue: &Tasks, body: impl FnOnce(Tasks)) -> Child {
    let queue = queue.clone();
    fork(move || body(queue))
}

#[test]
fn join_waits_for_the_last_task_of_all_processes() {
    let _scene = Scene::begin();
    for capacity in [1, 4, 100] {
        let queue = bounded(capacity);
        let done = Arc::new(common::Words::new(1));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let done = Arc::clone(&done);
                worker(&queue, move |queue| {
                    for task in queue.iter() {
                        task.unwrap();
                        done.count(0);
                        queue.task_done().unwrap();
                    }
                })
            })
            .collect();
        for round in 1..=20 {
            (0..50).for_each(|n| queue.put_timeout(n, LONG).unwrap());
            queue.join_timeout(LONG).unwrap();
            assert_eq!(done.get(0), round * 50);
            // A worker that is just about to take counts as one, until it finds nothing.
            eventually("nothing is unfinished", || queue.unfinished() == 0);
        }
        queue.shutdown(false).unwrap();
        workers.into_iter().for_each(Child::join);
    }
}

#[test]
fn a_blocked_join_wakes() {
    let _scene = Scene::begin();
    let queue = bounded(2);
    queue.put(1).unwrap();
    let joiner = worker(&queue, |queue| queue.join().unwrap());
    until_asleep(joiner.pid());
    queue.get().unwrap();
    queue.task_done().unwrap();
    joiner.join();
}

#[test]
fn tasks_of_the_dead_are_written_off_and_told() {
    let _scene = Scene::begin();
    let queue = bounded(10);
    (0..6).for_each(|n| queue.put(n).unwrap());
    let taken = Arc::new(Gate::new());
    let victim = {
        let taken = Arc::clone(&taken);
        worker(&queue, move |queue| {
            for _ in 0..4 {
                queue.get().unwrap();
            }
            queue.task_done().unwrap();
            taken.open();
            std::thread::sleep(LONG);
        })
    };
    taken.pass();
    assert_eq!((queue.len(), queue.unfinished()), (2, 5));
    let other = queue.clone();
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| queue.join_timeout(LONG));
        std::thread::sleep(SHORT);
        victim.kill_and_reap();
        // Two are left for us.
        for _ in 0..2 {
            other.get().unwrap();
            other.task_done().unwrap();
        }
        let told = joining.join().unwrap();
        assert!(matches!(told, Err(JoinError::PeerDied { lost: 3 })), "{told:?}");
    });
    assert_eq!(queue.unfinished(), 0);
    // Told once; then life goes on.
    other.join_timeout(LONG).unwrap();
    queue.put(9).unwrap();
    queue.get().unwrap();
    queue.task_done().unwrap();
    queue.join_timeout(LONG).unwrap();
}

#[test]
fn a_worker_that_leaves_with_tasks_loses_them() {
    let _scene = Scene::begin();
    let queue = bounded(10);
    (0..2).for_each(|n| queue.put(n).unwrap());
    worker(&queue, |queue| {
        queue.get().unwrap();
        queue.get().unwrap();
        exit_normally()
    })
    .join();
    let told = queue.join_timeout(LONG);
    assert!(matches!(told, Err(JoinError::PeerDied { lost: 2 })), "{told:?}");
}

#[test]
fn random_kills_never_leave_a_join_hanging() {
    let _scene = Scene::lasting(Duration::from_secs(120));
    let mut random = common::Random(7);
    for _ in 0..60 {
        let queue = bounded(4);
        let done = Arc::new(common::Words::new(1));
        let mut workers: Vec<_> = (0..2)
            .map(|_| {
                let done = Arc::clone(&done);
                worker(&queue, move |queue| {
                    for task in queue.iter() {
                        task.unwrap();
                        done.count(0);
                        queue.task_done().unwrap();
                    }
                })
            })
            .collect();
        let victim = workers.pop().unwrap();
        let mut put = 0;
        for n in 0..200 {
            queue.put_timeout(n, LONG).unwrap();
            put += 1;
            if n == 50 {
                std::thread::sleep(Duration::from_micros(random.next() % 500));
                victim.kill();
            }
        }
        let lost = match queue.join_timeout(LONG) {
            Ok(()) => 0,
            Err(JoinError::PeerDied { lost }) => lost,
            Err(other) => panic!("{other}"),
        };
        // Done before `task_done`, and so perhaps counted twice; taken and not returned.
        assert!(lost <= 1, "one thread was killed: {lost}");
        let done = done.get(0);
        assert!(done <= put && done + lost >= put, "{done} of {put} done, {lost} lost");
        victim.kill_and_reap();
        queue.shutdown(false).unwrap();
        workers.into_iter().for_each(Child::join);
    }
}

#[test]
fn what_threads_took_that_ended_counts_for_their_process() {
    let _scene = Scene::begin();
    let queue = bounded(10);
    (0..6).for_each(|n| queue.put(n).unwrap());
    let taken = Arc::new(Gate::new());
    let victim = {
        let taken = Arc::clone(&taken);
        worker(&queue, move |queue| {
            for _ in 0..4 {
                let queue = queue.clone();
                std::thread::spawn(move || queue.get().unwrap()).join().unwrap();
            }
            queue.task_done().unwrap();
            taken.open();
            std::thread::sleep(LONG);
        })
    };
    taken.pass();
    assert_eq!(queue.unfinished(), 5);
    victim.kill_and_reap();
    for _ in 0..2 {
        queue.get().unwrap();
        queue.task_done().unwrap();
    }
    let told = queue.join_timeout(LONG);
    assert!(matches!(told, Err(JoinError::PeerDied { lost: 3 })), "{told:?}");
}

#[test]
fn what_is_thrown_away_is_done() {
    let _scene = Scene::begin();
    let queue = bounded(5);
    (0..5).for_each(|n| queue.put(n).unwrap());
    queue.get().unwrap();
    let joiner = worker(&queue, |queue| queue.join().unwrap());
    until_asleep(joiner.pid());
    queue.shutdown(true).unwrap();
    assert_eq!(queue.unfinished(), 1);
    queue.task_done().unwrap();
    joiner.join();
}
