//! Both ends send at once; several threads share one end.

mod common;

use common::{Scene, fork, pattern};
use ringway_pipe::{Builder, Connection, Raw, RecvError, SendError, duplex, simplex};
use std::thread;
use std::time::Duration;

type Bytes = Vec<u8>;

/// Sends `count` big messages while another thread receives as many.
fn exchange(end: Connection<Bytes, Bytes, Raw>, count: u64) {
    let (mut sender, mut receiver) = end.split();
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..count).for_each(|i| sender.send(&pattern(1_000_000, i)).unwrap());
        });
        scope.spawn(move || {
            (0..count).for_each(|i| assert!(receiver.recv().unwrap() == pattern(1_000_000, i)));
        });
    });
}

#[test]
fn big_messages_both_ways_at_once() {
    let _scene = Scene::begin();
    for capacity in [4096, 64 << 10] {
        let (a, b) = Builder::new().capacity(capacity).duplex::<Bytes, Bytes, Raw>().unwrap();
        let child = fork(move || exchange(b, 20));
        exchange(a, 20);
        child.join();
    }
}

#[test]
fn small_messages_both_ways_without_a_second_thread() {
    let _scene = Scene::begin();
    // What fits the rings needs no reader.
    let run = |mut end: Connection<u32>| {
        (0..1000).for_each(|i| end.send(&i).unwrap());
        assert!((0..1000).all(|i| end.recv().unwrap() == i));
    };
    let (a, b) = duplex::<u32>().unwrap();
    let child = fork(move || run(b));
    run(a);
    child.join();
}

#[test]
fn ping_pong() {
    let _scene = Scene::begin();
    let (mut a, mut b) = duplex::<u64>().unwrap();
    let child = fork(move || {
        while let Ok(i) = b.recv() {
            b.send(&(i + 1)).unwrap();
        }
    });
    for i in 0..5000 {
        a.send(&i).unwrap();
        assert_eq!(a.recv().unwrap(), i + 1);
    }
    drop(a);
    child.join();
}

#[test]
fn four_threads_on_one_sender_keep_frames_whole_and_their_own_order() {
    let _scene = Scene::begin();
    let (mut receiver, sender) = Builder::new().capacity(4096).simplex::<Bytes, Raw>().unwrap();
    // Sizes on both sides of the threshold between whole and streamed.
    let size = |i: u64| usize::try_from(i * 389 % 6000).unwrap() + 2;
    let message = move |thread: u8, i: u64| {
        let mut bytes = pattern(size(i), i * 4 + u64::from(thread));
        bytes[0] = thread;
        bytes
    };
    let child = fork(move || {
        let sender = sender.into_shared();
        thread::scope(|scope| {
            for thread in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    (0..300).for_each(|i| sender.send(&message(thread, i)).unwrap());
                });
            }
        });
    });
    let mut next = [0; 4];
    while let Ok(got) = receiver.recv() {
        let thread = got[0];
        let i = next[usize::from(thread)];
        assert!(got == message(thread, i), "thread {thread}, message {i}");
        next[usize::from(thread)] += 1;
    }
    assert_eq!(next, [300; 4]);
    child.join();
}

#[test]
fn four_threads_on_one_receiver_take_each_message_once() {
    let _scene = Scene::begin();
    let (receiver, mut sender) = simplex::<u64>().unwrap();
    let child = fork(move || (0..20_000).for_each(|i| sender.send(&i).unwrap()));
    let receiver = receiver.into_shared();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || {
                let mut got = Vec::new();
                while let Ok(i) = receiver.recv() {
                    got.push(i);
                }
                got
            })
        })
        .collect();
    let each: Vec<Vec<u64>> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(each.iter().all(|got| got.is_sorted()));
    let mut all = each.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..20_000));
    child.join();
}

#[test]
fn waiting_for_ones_turn_counts_towards_the_time_out() {
    let _scene = Scene::begin();
    let (a, mut b) = duplex::<u32>().unwrap();
    let a = a.into_shared();
    let other = a.clone();
    let blocked = thread::spawn(move || other.recv());
    thread::sleep(Duration::from_millis(30));
    let receiver = a.receiver();
    assert!(matches!(receiver.recv_timeout(common::SHORT), Err(RecvError::Timeout)));
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    // A blocked receiver does not hinder the other direction.
    a.send(&5).unwrap();
    assert_eq!(b.recv().unwrap(), 5);
    b.send(&6).unwrap();
    assert_eq!(blocked.join().unwrap().unwrap(), 6);

    let (_receiver, sender) = Builder::new().capacity(4096).simplex::<Bytes, Raw>().unwrap();
    let sender = sender.into_shared();
    let other = sender.clone();
    let blocked = thread::spawn(move || other.send(&vec![0; 10_000]));
    thread::sleep(Duration::from_millis(30));
    assert!(matches!(sender.try_send(&vec![1]), Err(SendError::Full)));
    let late = sender.send_timeout(&vec![1], common::SHORT);
    assert!(matches!(late, Err(SendError::Timeout)));
    sender.close();
    assert!(matches!(blocked.join().unwrap(), Err(SendError::Closed)));
}

#[test]
fn handles_go_to_other_threads_whatever_their_types() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    // Such a type cannot itself be sent or shared between threads.
    type Local = std::rc::Rc<u8>;
    is_send::<ringway_pipe::Sender<Local>>();
    is_send::<ringway_pipe::Receiver<Local>>();
    is_send::<Connection<Local>>();
    is_sync::<ringway_pipe::SharedSender<Local>>();
    is_sync::<ringway_pipe::SharedReceiver<Local>>();
    is_sync::<ringway_pipe::SharedConnection<Local>>();
}
