//! A time-out bounds the whole call, keeps what has come and withdraws what was half sent.

mod common;

use common::tasks::stop;
use common::{Gate, LONG, SHORT, SOON, Scene, fork, pattern, timed};
use ringway_pipe::simplex;
use ringway_pipe::{Builder, Postcard, Raw, Receiver, RecvError, SendError, Sender, WaitPolicy};
use std::time::{Duration, Instant};

const POLICIES: [WaitPolicy; 3] = [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block];

fn raw(policy: WaitPolicy) -> (Receiver<Vec<u8>, Raw>, Sender<Vec<u8>, Raw>) {
    Builder::new().capacity(4096).policy(policy).simplex().unwrap()
}

/// The time-out was kept: not less, and not much more.
fn kept(took: Duration) {
    assert!(took >= SHORT && took < SHORT + SOON, "took {took:?} instead of {SHORT:?}");
}

/// Fills the ring to the last byte that data may have.
fn fill(sender: &mut Sender<Vec<u8>, Raw>) -> usize {
    let mut sent = 0;
    while sender.try_send_bytes(&[0xEE; 8]).is_ok() {
        sent += 1;
    }
    sent
}

#[test]
fn recv_on_an_empty_pipe() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, _sender) = raw(policy);
        let (result, took) = timed(|| receiver.recv_timeout(SHORT));
        assert!(matches!(result, Err(RecvError::Timeout)), "{policy:?}");
        kept(took);
        let (result, took) = timed(|| receiver.recv_deadline(Instant::now() + SHORT));
        assert!(matches!(result, Err(RecvError::Timeout)));
        kept(took);
        assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(RecvError::Timeout)));
        assert!(matches!(receiver.recv_bytes_timeout(None, SHORT), Err(RecvError::Timeout)));
        let past = Instant::now().checked_sub(LONG).unwrap_or_else(Instant::now);
        assert!(matches!(receiver.recv_deadline(past), Err(RecvError::Timeout)));
        assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    }
}

#[test]
fn a_message_that_is_there_beats_a_deadline_that_has_passed() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(WaitPolicy::Adaptive);
    sender.send_timeout(&vec![1], Duration::ZERO).unwrap();
    assert_eq!(receiver.recv_timeout(Duration::ZERO).unwrap(), [1]);
}

#[test]
fn send_into_a_full_ring() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, mut sender) = raw(policy);
        let sent = fill(&mut sender);
        assert_eq!(sent, (4096 - 8) / 16, "data leaves 8 bytes for an abort");
        assert!(matches!(sender.try_send_bytes(&[1; 8]), Err(SendError::Full)));
        let (result, took) = timed(|| sender.send_timeout(&vec![1; 8], SHORT));
        assert!(matches!(result, Err(SendError::Timeout)), "{policy:?}");
        kept(took);
        let (result, took) = timed(|| sender.send_deadline(&vec![1; 8], Instant::now() + SHORT));
        assert!(matches!(result, Err(SendError::Timeout)));
        kept(took);
        let result = sender.send_bytes_timeout(&[1; 8], Duration::ZERO);
        assert!(matches!(result, Err(SendError::Timeout)));
        for _ in 0..sent {
            assert_eq!(receiver.recv().unwrap(), [0xEE; 8]);
        }
        sender.send_timeout(&vec![2], SHORT).unwrap();
        assert_eq!(receiver.recv().unwrap(), [2]);
    }
}

#[test]
fn the_longest_time_outs_never_run_out() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(WaitPolicy::Adaptive);
    let child = fork(move || {
        std::thread::sleep(SHORT);
        sender.send_timeout(&pattern(100_000, 1), Duration::MAX).unwrap();
        sender.send_bytes_timeout(&[1], Duration::MAX).unwrap();
    });
    assert!(receiver.recv_timeout(Duration::MAX).unwrap() == pattern(100_000, 1));
    assert!(receiver.poll(Duration::MAX).unwrap());
    assert_eq!(receiver.recv_bytes_timeout(None, Duration::MAX).unwrap(), [1]);
    child.join();
}

#[test]
fn try_send_says_what_can_only_be_streamed() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(WaitPolicy::Adaptive);
    match sender.try_send_bytes(&[0; 4096]) {
        Err(SendError::WouldStream { len: 4096, limit }) => {
            // The limit is exact: one byte more is refused, this much goes.
            assert!(matches!(
                sender.try_send_bytes(&vec![0; limit + 1]),
                Err(SendError::WouldStream { .. })
            ));
            sender.try_send_bytes(&pattern(limit, 1)).unwrap();
            assert!(receiver.try_recv().unwrap() == pattern(limit, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_that_stalls_is_kept_and_completed_later() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, mut sender) = raw(policy);
        let message = pattern(1 << 20, 7);
        let begun = Gate::new();
        let child = fork(|| {
            begun.open();
            sender.send(&message).unwrap();
            sender.send(&vec![1]).unwrap();
        });
        drop(sender);
        begun.pass();
        // The ring is full of its beginning; stop the sender there.
        std::thread::sleep(Duration::from_millis(20));
        stop(&child);
        assert!(receiver.poll(Duration::ZERO).unwrap());
        assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)), "a part is taken in");
        assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(RecvError::Timeout)));
        let (result, took) = timed(|| receiver.recv_timeout(SHORT));
        assert!(matches!(result, Err(RecvError::Timeout)), "{policy:?}");
        kept(took);
        child.signal(libc::SIGCONT);
        assert!(receiver.recv().unwrap() == message, "{policy:?}");
        assert_eq!(receiver.recv().unwrap(), [1]);
        child.join();
    }
}

#[test]
fn a_message_given_up_in_the_middle_is_never_seen() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, mut sender) = raw(policy);
        let (given_up, go_on) = (Gate::new(), Gate::new());
        let child = fork(|| {
            sender.send(&vec![1]).unwrap();
            let (result, took) = timed(|| sender.send_timeout(&pattern(1 << 20, 1), SHORT));
            assert!(matches!(result, Err(SendError::Timeout)), "{result:?}");
            kept(took);
            given_up.open();
            sender.send(&vec![2]).unwrap();
            go_on.pass();
            let result = sender.send_timeout(&pattern(100_000, 2), SHORT);
            assert!(matches!(result, Err(SendError::Timeout)), "{result:?}");
            sender.send(&pattern(5000, 3)).unwrap();
        });
        drop(sender);
        assert_eq!(receiver.recv().unwrap(), [1]);
        // Half of what fits has come, by this call and the next.
        assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
        given_up.pass();
        assert_eq!(receiver.recv().unwrap(), [2], "{policy:?}");
        go_on.open();
        std::thread::sleep(2 * SHORT);
        assert!(receiver.recv().unwrap() == pattern(5000, 3), "{policy:?}");
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
        child.join();
    }
}

#[test]
fn given_up_again_and_again_on_a_full_ring() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(WaitPolicy::Block);
    let sent = fill(&mut sender);
    for _ in 0..10 {
        let result = sender.send_timeout(&pattern(5000, 1), Duration::from_millis(1));
        assert!(matches!(result, Err(SendError::Timeout)), "{result:?}");
    }
    for _ in 0..sent {
        assert_eq!(receiver.recv().unwrap(), [0xEE; 8]);
    }
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    // The same with something of it in the ring each time.
    for _ in 0..10 {
        let result = sender.send_timeout(&pattern(5000, 1), Duration::from_millis(1));
        assert!(matches!(result, Err(SendError::Timeout)), "{result:?}");
    }
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    sender.send(&vec![3]).unwrap();
    assert_eq!(receiver.recv().unwrap(), [3]);
}

#[test]
fn a_deadline_also_ends_a_stream_that_never_waits() {
    let _scene = Scene::begin();
    // The ring has room for all of it: only copying takes time, many milliseconds.
    let message = vec![9; 100 << 20];
    let (mut receiver, mut sender) =
        Builder::new().capacity(128 << 20).simplex::<Vec<u8>, Raw>().unwrap();
    let short = Duration::from_millis(1);
    let (result, took) = timed(|| sender.send_timeout(&message, short));
    assert!(matches!(result, Err(SendError::Timeout)), "sent in {took:?}");
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)), "it was withdrawn");
    sender.send(&message).unwrap();
    let (result, took) = timed(|| receiver.recv_timeout(short));
    assert!(matches!(result, Err(RecvError::Timeout)), "received in {took:?}");
    assert!(receiver.recv().unwrap() == message);
}

#[test]
fn polling_runs_out() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, sender) =
            Builder::new().policy(policy).simplex::<u8, Postcard>().unwrap();
        let (found, took) = timed(|| receiver.poll(SHORT).unwrap());
        assert!(!found);
        kept(took);
        assert!(!receiver.poll(Duration::ZERO).unwrap());
        drop(sender);
        assert!(receiver.poll(Duration::ZERO).unwrap());
    }
}

#[test]
fn signals_do_not_stretch_or_cut_a_wait() {
    let _scene = Scene::begin();
    let (mut receiver, _sender) = simplex::<u32>().unwrap();
    let ready = Gate::new();
    let child = fork(|| {
        common::child::handle_signals();
        ready.open();
        let (result, took) = timed(|| receiver.recv_timeout(Duration::from_millis(300)));
        assert!(matches!(result, Err(RecvError::Timeout)), "{result:?}");
        assert!(took >= Duration::from_millis(300), "cut to {took:?}");
        assert!(took < SOON, "stretched to {took:?}");
    });
    ready.pass();
    let mut child = child;
    while !child.ended() {
        child.signal(libc::SIGUSR1);
        std::thread::sleep(Duration::from_millis(2));
    }
    child.join();
}
