//! Why the engine has futex calls of its own: the `atomic-wait` crate sets the flag that
//! keys a futex by address space, so its wake-up never leaves the process, not even for
//! a word in memory that both processes map. The engine's does.

mod common;

use common::tasks::{tasks, until_asleep};
use common::{SOON, Scene, eventually, fork};
use ringway_core::memory::Word32;
use ringway_core::segment::{Kind, NewSegment, PARAMS, Place, Spec};
use ringway_core::wait::{Deadline, Event};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// A word in a segment that forked children share.
fn shared_word() -> Word32 {
    let spec = Spec { kind: Kind::Pipe, signature: 0, params: [0; PARAMS], body_len: 4096 };
    let segment = NewSegment::create(Place::Anonymous("ringway-test"), &spec).unwrap();
    segment.memory().word32(ringway_core::segment::BODY).unwrap()
}

#[test]
fn atomic_waits_wake_up_does_not_cross_processes() {
    let _scene = Scene::begin();
    let word = shared_word();
    let mut sleeper = fork(|| {
        while word.load(SeqCst) == 0 {
            atomic_wait::wait(&*word, 0);
        }
    });
    until_asleep(sleeper.pid());
    let before = tasks(sleeper.pid());
    word.store(1, SeqCst);
    for _ in 0..3 {
        atomic_wait::wake_all(&*word);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!sleeper.ended(), "it was woken: the crate's README or this test is out of date");
    assert_eq!(before, tasks(sleeper.pid()), "it did not even run");
    sleeper.kill_and_reap();
}

#[test]
fn within_a_process_it_wakes_and_so_the_test_above_is_fair() {
    let _scene = Scene::begin();
    let word = shared_word();
    // In a child, so that a thread that is not woken goes with it.
    let mut child = fork(|| {
        let there = word.clone();
        let thread = std::thread::spawn(move || {
            while there.load(SeqCst) == 0 {
                atomic_wait::wait(&*there, 0);
            }
        });
        std::thread::sleep(Duration::from_millis(50));
        word.store(1, SeqCst);
        atomic_wait::wake_all(&*word);
        thread.join().unwrap();
    });
    eventually("the thread is woken", || child.ended());
    child.join();
}

#[test]
fn the_engines_wake_up_does() {
    let _scene = Scene::begin();
    let (word, flag) = (shared_word(), shared_word());
    let event = Event::new(word.clone());
    let sleeper = fork(|| {
        while flag.load(SeqCst) == 0 {
            let ticket = event.announce();
            if flag.load(SeqCst) == 0 {
                // Without the wake-up it would end with the deadline, too late.
                event.sleep(ticket, Deadline::after(common::LONG * 2));
            }
        }
    });
    until_asleep(sleeper.pid());
    flag.fetch_add(1, SeqCst);
    let ((), took) = common::timed(|| {
        event.notify();
        sleeper.join();
    });
    common::report("a wake-up across processes", took);
    assert!(took < SOON);
}
