//! Polling one end and waiting for the first of several.

mod common;

use common::tasks::until_asleep;
use common::{LONG, SHORT, SOON, Scene, fork, pattern, timed};
use ringway_core::wait::{Deadline, Waitable, wait_any};
use ringway_pipe::{Builder, Raw, Receiver, RecvError, SendError, Sender, duplex, simplex};
use std::time::Duration;

#[test]
fn poll_tells_of_messages_and_the_end_and_consumes_nothing() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = Builder::new().capacity(4096).simplex::<_, Raw>().unwrap();
    assert!(!receiver.poll(Duration::ZERO).unwrap());
    let (found, took) = timed(|| receiver.poll(SHORT).unwrap());
    assert!(!found && took >= SHORT && took < SHORT + SOON);
    let child = fork(move || {
        std::thread::sleep(SHORT);
        sender.send(&vec![]).unwrap();
        sender.send(&pattern(20_000, 1)).unwrap();
    });
    for _ in 0..3 {
        assert!(receiver.poll(LONG).unwrap(), "the empty message counts");
    }
    assert_eq!(receiver.recv().unwrap(), []);
    for _ in 0..3 {
        assert!(receiver.poll(LONG).unwrap(), "so does the beginning of a streamed one");
    }
    assert!(receiver.recv().unwrap() == pattern(20_000, 1));
    for _ in 0..3 {
        assert!(receiver.poll(LONG).unwrap(), "so does the end");
    }
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    child.join();
}

#[test]
fn poll_does_not_see_what_was_withdrawn() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) =
        Builder::new().capacity(4096).simplex::<Vec<u8>, Raw>().unwrap();
    let child = fork(|| {
        let late = sender.send_timeout(&pattern(50_000, 1), 4 * SHORT);
        assert!(matches!(late, Err(SendError::Timeout)));
    });
    until_asleep(child.pid());
    assert!(receiver.poll(Duration::ZERO).unwrap(), "the beginning is there");
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    child.join();
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    assert!(!receiver.poll(SHORT).unwrap());
    sender.send(&vec![1]).unwrap();
    assert!(receiver.poll(Duration::ZERO).unwrap());
    assert_eq!(receiver.try_recv().unwrap(), [1]);
}

fn pipes(count: usize) -> (Vec<Receiver<u32>>, Vec<Sender<u32>>) {
    (0..count).map(|_| simplex().unwrap()).unzip()
}

fn wait(receivers: &mut [Receiver<u32>], timeout: Duration) -> Vec<usize> {
    let mut sources: Vec<&mut dyn Waitable> =
        receivers.iter_mut().map(|r| r as &mut dyn Waitable).collect();
    wait_any(&mut sources, Deadline::after(timeout))
}

#[test]
fn the_first_of_several() {
    let _scene = Scene::begin();
    // 128 is the most that one system call can wait for.
    for count in [1, 5, 128, 150] {
        let (mut receivers, mut senders) = pipes(count);
        assert_eq!(wait(&mut receivers, Duration::ZERO), []);
        let (none, took) = timed(|| wait(&mut receivers, SHORT));
        assert!(none.is_empty() && took >= SHORT && took < SHORT + SOON, "{count}");
        let child = fork(|| {
            std::thread::sleep(SHORT);
            senders[count - 1].send(&1).unwrap();
            senders[0].send(&2).unwrap();
        });
        let first = wait(&mut receivers, LONG);
        assert!(first == [count - 1] || first == [0, count - 1], "{first:?} of {count}");
        child.join();
        let both: &[usize] = if count == 1 { &[0] } else { &[0, count - 1] };
        assert_eq!(wait(&mut receivers, LONG), both);
        assert_eq!(wait(&mut receivers, Duration::ZERO), both, "it consumes nothing");
        assert_eq!(receivers[count - 1].recv().unwrap(), 1);
        assert_eq!(receivers[0].recv().unwrap(), 2);
        assert_eq!(wait(&mut receivers, Duration::ZERO), []);
    }
}

#[test]
fn an_end_counts_as_ready() {
    let _scene = Scene::begin();
    for count in [3, 150] {
        let (mut receivers, mut senders) = pipes(count);
        // Closed in order, and killed.
        let second = senders.remove(1);
        let closer = fork(move || {
            std::thread::sleep(SHORT);
            drop(second);
        });
        assert_eq!(wait(&mut receivers, LONG), [1]);
        closer.join();
        assert!(matches!(receivers[1].recv(), Err(RecvError::Eof)));
        assert_eq!(wait(&mut receivers, Duration::ZERO), [1]);
        receivers.remove(1);
        let last = senders.pop().unwrap();
        let victim = fork(move || {
            let _held = last;
            std::thread::sleep(LONG);
        });
        assert_eq!(wait(&mut receivers, SHORT), []);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            victim.kill_and_reap();
        });
        let (ready, took) = timed(|| wait(&mut receivers, LONG));
        assert_eq!(ready, [count - 2]);
        assert!(took < SHORT + SOON);
        killer.join().unwrap();
    }
}

#[test]
fn errors_count_as_ready_too() {
    let _scene = Scene::begin();
    let (mut receivers, _senders) = pipes(3);
    receivers[2].close();
    assert_eq!(wait(&mut receivers, LONG), [2]);
    assert!(matches!(receivers[2].recv(), Err(RecvError::Closed)));
}

#[test]
fn different_kinds_together() {
    let _scene = Scene::begin();
    let (mut one_way, mut sender) = simplex::<String>().unwrap();
    let (mut two_way, mut peer) = duplex::<u32>().unwrap();
    let mut both = |timeout| wait_any(&mut [&mut one_way, &mut two_way], Deadline::after(timeout));
    assert_eq!(both(SHORT), []);
    peer.send(&1).unwrap();
    assert_eq!(both(LONG), [1]);
    sender.send(&"x".into()).unwrap();
    assert_eq!(both(LONG), [0, 1]);
    assert_eq!(wait_any(&mut [], Deadline::NEVER), [], "nothing to wait for");
}
