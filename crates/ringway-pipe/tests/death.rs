//! SIGKILL of the peer at every kind of moment. The survivor gets the complete messages,
//! never a part of one, and then the end, soon.

mod common;

use common::child::Child;
use common::tasks::until_asleep;
use common::{Gate, Random, SOON, Scene, fork, pattern, report, timed};
use ringway_pipe::{Builder, Pod, Raw, Receiver, RecvError, SendError, Sender, WaitPolicy, duplex};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const POLICIES: [WaitPolicy; 3] = [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block];
const MOMENT: Duration = Duration::from_millis(30);

type Bytes = Vec<u8>;

fn raw(capacity: u64, policy: WaitPolicy) -> (Receiver<Bytes, Raw>, Sender<Bytes, Raw>) {
    Builder::new().capacity(capacity).policy(policy).simplex().unwrap()
}

/// Kills `victim` once `blocked` has been in its call for a while; says how long after the
/// kill the call returned.
fn kill_under<R: Send>(victim: Child, what: &str, blocked: impl FnOnce() -> R + Send) -> R {
    let (done, news) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let result = blocked();
            let _ = done.send((result, Instant::now()));
        });
        thread::sleep(MOMENT);
        assert!(news.try_recv().is_err(), "{what}: it was to block");
        let killed = Instant::now();
        victim.kill();
        let (result, returned) = news.recv_timeout(SOON).expect("not within the deadline");
        report(what, returned - killed);
        victim.kill_and_reap();
        result
    })
}

#[test]
fn while_we_wait_for_a_message() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, mut sender) = raw(4096, policy);
        let victim = fork(move || {
            sender.send(&vec![1]).unwrap();
            thread::sleep(common::LONG);
        });
        assert_eq!(receiver.recv().unwrap(), [1]);
        let what = format!("recv, {policy:?}, after SIGKILL");
        let result = kill_under(victim, &what, || receiver.recv());
        assert!(matches!(result, Err(RecvError::Eof)), "{result:?}");
        assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)));
    }
}

#[test]
fn while_we_wait_for_room() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        for (size, kind) in [(500, "send"), (100_000, "streaming send")] {
            let (mut receiver, mut sender) = raw(4096, policy);
            let victim = fork(move || {
                let _ = receiver.poll(common::LONG);
                thread::sleep(common::LONG);
            });
            let what = format!("{kind}, {policy:?}, after SIGKILL");
            let error = kill_under(victim, &what, || {
                loop {
                    if let Err(error) = sender.send(&pattern(size, 1)) {
                        return error;
                    }
                }
            });
            assert!(matches!(error, SendError::BrokenPipe), "{error}");
            let (again, took) = timed(|| sender.send(&vec![1]));
            assert!(matches!(again, Err(SendError::BrokenPipe)) && took < SOON);
            assert!(matches!(sender.try_send(&vec![1]), Err(SendError::BrokenPipe)));
        }
    }
}

#[test]
fn in_the_middle_of_a_message_that_we_receive() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let (mut receiver, mut sender) = raw(4096, policy);
        let first = pattern(20_000, 1);
        let sent_first = first.clone();
        let half = Gate::new();
        let victim = fork(|| {
            sender.send(&sent_first).unwrap();
            half.open();
            // Stops for ever with the ring full of it: nobody takes a piece.
            sender.send(&pattern(100_000, 2)).unwrap();
        });
        drop(sender);
        assert!(receiver.recv().unwrap() == first);
        half.pass();
        // Stopped, it cannot go on while we take in what has come.
        thread::sleep(MOMENT);
        common::tasks::stop(&victim);
        assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
        let what = format!("recv in mid-stream, {policy:?}, after SIGKILL");
        let result = kill_under(victim, &what, || receiver.recv());
        assert!(matches!(result, Err(RecvError::Truncated)), "{result:?}");
        for _ in 0..3 {
            assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
        }
    }
}

#[test]
fn complete_messages_come_first_then_truncated_once_then_the_end() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(64 << 10, WaitPolicy::Adaptive);
    let victim = fork(|| {
        (0..10).for_each(|i| sender.send(&pattern(2000, i)).unwrap());
        sender.send(&pattern(1 << 20, 99)).unwrap();
    });
    drop(sender);
    until_asleep(victim.pid());
    victim.kill_and_reap();
    assert!((0..10).all(|i| receiver.recv().unwrap() == pattern(2000, i)));
    assert!(receiver.poll(SOON).unwrap(), "an error counts as ready");
    assert!(matches!(receiver.recv(), Err(RecvError::Truncated)));
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
}

#[test]
fn the_part_kept_by_a_time_out_is_dropped_with_its_sender() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096, WaitPolicy::Adaptive);
    let victim = fork(|| sender.send(&pattern(100_000, 1)).unwrap());
    drop(sender);
    until_asleep(victim.pid());
    common::tasks::stop(&victim);
    let result = receiver.recv_timeout(common::SHORT);
    assert!(matches!(result, Err(RecvError::Timeout)));
    victim.kill_and_reap();
    assert!(receiver.poll(SOON).unwrap());
    assert!(matches!(receiver.recv(), Err(RecvError::Truncated)));
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
}

#[test]
fn at_random_moments_what_comes_is_whole_and_in_order() {
    let _scene = Scene::begin();
    let mut random = Random(7);
    let (mut truncated, mut received) = (0, 0);
    for round in 0..150 {
        let sizes = |i: u64| usize::try_from((i * 7919 + round) % 9000).unwrap();
        let (mut receiver, mut sender) = raw(4096, POLICIES[usize::try_from(round % 3).unwrap()]);
        let go = Gate::new();
        let victim = fork(|| {
            go.open();
            for i in 0.. {
                sender.send(&pattern(sizes(i), i)).unwrap();
            }
        });
        drop(sender);
        go.pass();
        let delay = Duration::from_micros(random.below(3000) as u64);
        let killer = thread::spawn(move || {
            thread::sleep(delay);
            victim.kill_and_reap();
        });
        let mut next = 0;
        loop {
            match receiver.recv() {
                Ok(got) => assert!(got == pattern(sizes(next), next), "message {next}"),
                Err(RecvError::Truncated) => {
                    truncated += 1;
                    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
                    break;
                }
                Err(RecvError::Eof) => break,
                Err(error) => panic!("{error}"),
            }
            next += 1;
        }
        received += next;
        killer.join().unwrap();
    }
    println!("150 kills: {received} messages, {truncated} cut off");
    assert!(truncated > 0 && truncated < 150 && received > 0, "every outcome is seen");
}

#[test]
fn a_killed_receiver_at_random_moments() {
    let _scene = Scene::begin();
    let mut random = Random(11);
    for round in 0..100 {
        let (mut receiver, mut sender) = raw(4096, POLICIES[round % 3]);
        let victim = fork(|| {
            for i in 0.. {
                let got = receiver.recv().unwrap();
                assert!(got == pattern(usize::try_from(i * 613 % 6000).unwrap(), i));
            }
        });
        drop(receiver);
        let delay = Duration::from_micros(random.below(3000) as u64);
        let killer = thread::spawn(move || {
            thread::sleep(delay);
            victim.kill_and_reap();
        });
        let error = (0_u64..)
            .find_map(|i| sender.send(&pattern(usize::try_from(i * 613 % 6000).unwrap(), i)).err())
            .unwrap();
        assert!(matches!(error, SendError::BrokenPipe), "{error}");
        killer.join().unwrap();
    }
}

#[test]
fn both_directions_break() {
    let _scene = Scene::begin();
    let (mut a, mut b) = duplex::<u32>().unwrap();
    let victim = fork(move || {
        b.send(&1).unwrap();
        b.recv().unwrap();
        thread::sleep(common::LONG);
    });
    assert_eq!(a.recv().unwrap(), 1);
    a.send(&2).unwrap();
    let result = kill_under(victim, "two-way recv after SIGKILL", || a.recv());
    assert!(matches!(result, Err(RecvError::Eof)));
    assert!(matches!(a.send(&3), Err(SendError::BrokenPipe)));
}

#[test]
fn a_sender_learns_of_the_death_while_it_has_room() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) =
        Builder::new().capacity(1 << 20).simplex::<u64, Pod>().unwrap();
    let taken = Gate::new();
    let victim = fork(|| {
        receiver.recv().unwrap();
        taken.open();
        thread::sleep(common::LONG);
    });
    drop(receiver);
    sender.send(&1).unwrap();
    taken.pass();
    victim.kill();
    let (error, took) = timed(|| common::eventually_broken(|| sender.send(&2)));
    report("broken pipe after SIGKILL", took);
    assert!(matches!(error, SendError::BrokenPipe));
}

#[test]
fn a_stopped_peer_is_alive() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096, WaitPolicy::Adaptive);
    let child = fork(|| {
        sender.send(&vec![1]).unwrap();
        thread::sleep(MOMENT);
        sender.send(&vec![2]).unwrap();
    });
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), [1]);
    common::tasks::stop(&child);
    let result = receiver.recv_timeout(Duration::from_millis(300));
    assert!(matches!(result, Err(RecvError::Timeout)), "{result:?}");
    child.signal(libc::SIGCONT);
    assert_eq!(receiver.recv().unwrap(), [2]);
    child.join();
}

#[test]
fn a_killed_sleeper_leaves_no_wake_up_behind() {
    let _scene = Scene::begin();
    // The parent keeps a copy of the receiver, takes over, and must still be woken.
    let (mut receiver, mut sender) = raw(4096, WaitPolicy::Block);
    let victim = fork(|| {
        let _ = receiver.recv();
    });
    until_asleep(victim.pid());
    victim.kill_and_reap();
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)), "a reaped process holds nothing");
    let child = fork(|| {
        thread::sleep(MOMENT);
        sender.send(&vec![1]).unwrap();
    });
    drop(sender);
    assert_eq!(receiver.recv_timeout(SOON).unwrap(), [1]);
    child.join();
}
