//! Waiting for the first of several queues.

mod common;

use common::tasks::until_asleep;
use common::{Gate, LONG, SHORT, SOON, Scene, fork, timed};
use ringway_core::wait::{Deadline, Waitable, wait_any};
use ringway_queue::{Builder, GetError, JoinableQueue, Pod, Queue, Raw, SimpleQueue};

fn queue() -> Queue<u32, Pod> {
    Builder::new().bounded(2).unwrap()
}

#[test]
fn those_with_items_are_ready() {
    let _scene = Scene::begin();
    let (mut a, mut b): (_, JoinableQueue<u32, Pod>) =
        (queue(), Builder::new().joinable_bounded(2).unwrap());
    let mut c = SimpleQueue::<u32>::create().unwrap();
    let wait = |a: &mut Queue<u32, Pod>, b: &mut JoinableQueue<_, _>, c: &mut SimpleQueue<_>| {
        wait_any(&mut [a, b, c], Deadline::after(SHORT))
    };
    let (none, took) = timed(|| wait(&mut a, &mut b, &mut c));
    assert!(none.is_empty() && took >= SHORT && took < SOON);
    b.put(1).unwrap();
    assert_eq!(wait(&mut a, &mut b, &mut c), [1]);
    a.put(1).unwrap();
    c.put(1).unwrap();
    assert_eq!(wait(&mut a, &mut b, &mut c), [0, 1, 2]);
    b.get().unwrap();
    assert_eq!(wait(&mut a, &mut b, &mut c), [0, 2]);
    a.get().unwrap();
    c.get().unwrap();
    // Ends are ready: the call will say so.
    a.shutdown(false).unwrap();
    c.close();
    assert_eq!(wait(&mut a, &mut b, &mut c), [0, 2]);
}

#[test]
fn a_put_in_another_process_wakes() {
    let _scene = Scene::begin();
    let queues: Vec<_> = (0..10).map(|_| queue()).collect();
    for (index, chosen) in queues.iter().enumerate() {
        let waiter = {
            let mut queues = queues.clone();
            fork(move || {
                let mut sources: Vec<&mut dyn Waitable> = Vec::new();
                sources.extend(queues.iter_mut().map(|queue| queue as &mut dyn Waitable));
                assert_eq!(wait_any(&mut sources, Deadline::after(LONG)), [index]);
            })
        };
        std::thread::sleep(SHORT / 4);
        chosen.put(1).unwrap();
        waiter.join();
        chosen.get().unwrap();
    }
}

#[test]
fn what_a_killed_getter_had_claimed_becomes_ready() {
    let _scene = Scene::begin();
    let queue = queue();
    for _ in 0..10 {
        let sleeper = {
            let queue = queue.clone();
            fork(move || assert_eq!(queue.get().unwrap(), 7))
        };
        until_asleep(sleeper.pid());
        sleeper.kill();
        queue.put(7).unwrap();
        let mut waiting = queue.clone();
        // Taken by the dead, or here.
        let ready = wait_any(&mut [&mut waiting], Deadline::after(SHORT));
        assert_eq!(!ready.is_empty(), queue.try_get().is_ok());
        sleeper.kill_and_reap();
    }
}

/// The end of a queue is not ready while what another process holds may come back.
#[test]
fn the_end_is_ready_when_nothing_can_come_back() {
    let _scene = Scene::begin();
    let queue = Builder::new().max_grants(1).bounded::<Vec<u8>, Raw>(2).unwrap();
    (0..2).for_each(|_| queue.put(vec![7; 5000]).unwrap());
    // One in a record, one that keeps its place.
    let held = [(); 2].map(|()| queue.get_ref().unwrap());
    queue.shutdown(false).unwrap();
    let (waits, next) = (Gate::new(), Gate::new());
    let other = {
        let mut queue = queue.clone();
        let (waits, next) = (&waits, &next);
        fork(move || {
            for _ in 0..2 {
                assert!(matches!(queue.try_get(), Err(GetError::Empty)));
                assert_eq!(wait_any(&mut [&mut queue], Deadline::after(SHORT)), []);
                waits.open();
                next.pass();
            }
            assert_eq!(wait_any(&mut [&mut queue], Deadline::after(LONG)), [0]);
            assert!(matches!(queue.try_get(), Err(GetError::ShutDown)));
        })
    };
    waits.pass();
    let [record, place] = held;
    record.release();
    next.open();
    waits.pass();
    next.open();
    until_asleep(other.pid());
    place.release();
    other.join();
}
