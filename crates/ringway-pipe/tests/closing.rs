//! Closing and dropping: what the other end gets, what waits on the same end gets.

mod common;

use common::tasks::tasks;
use common::{SOON, Scene, fork, pattern, report, timed};
use ringway_pipe::{Builder, Raw, RecvError, SendError, WaitPolicy, duplex, simplex};
use std::thread;
use std::time::Duration;

const POLICIES: [WaitPolicy; 3] = [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block];
const MOMENT: Duration = Duration::from_millis(30);

#[test]
fn in_one_process_the_end_is_known_at_once() {
    let _scene = Scene::begin();
    for _ in 0..2000 {
        let (mut receiver, mut sender) = simplex::<u32>().unwrap();
        sender.send(&1).unwrap();
        drop(sender);
        assert_eq!(receiver.try_recv().unwrap(), 1);
        for _ in 0..3 {
            assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)));
        }
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
        let (receiver, mut sender) = simplex::<u32>().unwrap();
        sender.send(&1).unwrap();
        drop(receiver);
        for _ in 0..3 {
            assert!(matches!(sender.try_send(&1), Err(SendError::BrokenPipe)));
        }
    }
}

#[test]
fn an_end_that_was_never_used_closes_too() {
    let _scene = Scene::begin();
    let (mut receiver, sender) = simplex::<u32>().unwrap();
    drop(sender);
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    let (receiver, mut sender) = simplex::<u32>().unwrap();
    drop(receiver);
    assert!(matches!(sender.send(&1), Err(SendError::BrokenPipe)));
    let (mut a, b) = duplex::<u32>().unwrap();
    drop(b);
    assert!(matches!(a.recv(), Err(RecvError::Eof)));
    assert!(matches!(a.send(&1), Err(SendError::BrokenPipe)));
}

#[test]
fn all_messages_then_the_end_for_ever() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    let child = fork(move || (0..1000).for_each(|i| sender.send(&i).unwrap()));
    child.join();
    assert!((0..1000).all(|i| receiver.recv().unwrap() == i));
    for _ in 0..100 {
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
        assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)));
        assert!(matches!(receiver.recv_timeout(SOON), Err(RecvError::Eof)));
        assert!(receiver.poll(Duration::ZERO).unwrap());
    }
}

#[test]
fn a_blocked_receiver_gets_the_end() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, mut sender) =
            Builder::new().policy(policy).simplex::<Vec<u8>, Raw>().unwrap();
        let child = fork(|| {
            assert_eq!(receiver.recv().unwrap(), [1]);
            assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
        });
        sender.send(&vec![1]).unwrap();
        thread::sleep(MOMENT);
        drop(sender);
        let ((), took) = timed(|| child.join());
        report(&format!("end of file to a blocked receiver, {policy:?}"), took);
        assert!(took < SOON);
    }
}

#[test]
fn a_blocked_sender_gets_a_broken_pipe() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        for size in [1, 100_000] {
            let (receiver, mut sender) =
                Builder::new().capacity(4096).policy(policy).simplex::<Vec<u8>, Raw>().unwrap();
            let child = fork(|| {
                while sender.send(&pattern(size, 1)).is_ok() {}
                let (again, took) = timed(|| sender.send(&vec![1]));
                assert!(matches!(again, Err(SendError::BrokenPipe)), "{again:?}");
                assert!(took < SOON);
            });
            drop(sender);
            thread::sleep(MOMENT);
            drop(receiver);
            let ((), took) = timed(|| child.join());
            report(&format!("broken pipe to a blocked sender, {policy:?}, {size} bytes"), took);
            assert!(took < SOON);
        }
    }
}

#[test]
fn a_sender_that_closes_in_the_middle_truncates() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) =
        Builder::new().capacity(4096).simplex::<Vec<u8>, Raw>().unwrap();
    sender.send(&vec![1]).unwrap();
    let sender = sender.into_shared();
    let other = sender.clone();
    let thread = thread::spawn(move || other.send(&pattern(100_000, 1)));
    thread::sleep(MOMENT);
    assert_eq!(receiver.recv().unwrap(), [1]);
    thread::sleep(MOMENT);
    sender.close();
    let sent = thread.join().unwrap();
    assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
    // It withdrew the message, or was too late for that; either way no part of it is seen.
    match receiver.recv() {
        Err(RecvError::Truncated) => assert!(matches!(receiver.recv(), Err(RecvError::Eof))),
        Err(RecvError::Eof) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
}

#[test]
fn closing_is_idempotent_and_everything_after_it_is_closed() {
    let _scene = Scene::begin();
    let (mut a, mut b) = duplex::<u32>().unwrap();
    b.send(&1).unwrap();
    a.close();
    a.close();
    assert!(matches!(a.recv(), Err(RecvError::Closed)), "even with a message left");
    assert!(matches!(a.try_recv(), Err(RecvError::Closed)));
    assert!(matches!(a.poll(Duration::ZERO), Err(RecvError::Closed)));
    assert!(matches!(a.send(&1), Err(SendError::Closed)));
    assert!(matches!(a.send_bytes(&[0; 100_000]), Err(SendError::Closed)));
    assert!(matches!(b.recv(), Err(RecvError::Eof)));
    let (sender, mut receiver) = b.split();
    sender.close();
    assert!(matches!(receiver.recv(), Err(RecvError::Closed)), "one half closes the end");
}

#[test]
fn closing_wakes_the_threads_blocked_on_the_same_end() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let build = || Builder::new().capacity(4096).policy(policy);
        let (mut receiver, _sender) = build().simplex::<Vec<u8>, Raw>().unwrap();
        assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
        let receiver = receiver.into_shared();
        let (first, second) = (receiver.clone(), receiver.clone());
        // The second waits for its turn, not for a message.
        let threads = [thread::spawn(move || first.recv()), thread::spawn(move || second.recv())];
        thread::sleep(MOMENT);
        receiver.close();
        let ((), took) = timed(|| {
            for thread in threads {
                assert!(matches!(thread.join().unwrap(), Err(RecvError::Closed)));
            }
        });
        assert!(took < SOON);

        for size in [8, 100_000] {
            let (_receiver, sender) = build().simplex::<Vec<u8>, Raw>().unwrap();
            let sender = sender.into_shared();
            let other = sender.clone();
            let thread = thread::spawn(move || {
                loop {
                    if let Err(error) = other.send(&pattern(size, 1)) {
                        return error;
                    }
                }
            });
            thread::sleep(MOMENT);
            sender.close();
            assert!(matches!(thread.join().unwrap(), SendError::Closed), "{policy:?} {size}");
        }

        let (a, _b) = build().duplex::<Vec<u8>, Vec<u8>, Raw>().unwrap();
        let (sender, mut receiver) = a.split();
        let thread = thread::spawn(move || receiver.recv());
        thread::sleep(MOMENT);
        sender.close();
        assert!(matches!(thread.join().unwrap(), Err(RecvError::Closed)), "{policy:?}");
    }
}

#[test]
fn an_end_dropped_in_another_thread() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    sender.send(&1).unwrap();
    let thread = thread::spawn(move || {
        thread::sleep(MOMENT);
        drop(sender);
    });
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    thread.join().unwrap();
}

#[test]
fn the_end_closes_with_the_last_shared_handle() {
    let _scene = Scene::begin();
    let (mut receiver, sender) = simplex::<u32>().unwrap();
    let sender = sender.into_shared();
    let clone = sender.clone();
    drop(sender);
    clone.send(&1).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    drop(clone);
    assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)));
}

#[test]
fn a_child_that_closes_in_order_is_noticed_while_it_lives_on() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    let gate = common::Gate::new();
    let child = fork(|| {
        sender.send(&1).unwrap();
        sender.close();
        gate.pass();
    });
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 1);
    let (end, took) = timed(|| receiver.recv_timeout(SOON));
    assert!(matches!(end, Err(RecvError::Eof)), "{end:?}");
    report("end of file after close in a living child", took);
    assert!(!tasks(child.pid()).is_empty(), "it lives");
    gate.open();
    child.join();
}
