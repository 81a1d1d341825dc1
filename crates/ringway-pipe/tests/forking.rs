//! Who holds an end when processes fork. A forked copy holds its end as it would an OS
//! pipe's, but for one exception: a process that inherited both ends and uses one lets go
//! of its untouched copy of the other.

mod common;

use common::{Gate, SHORT, Scene, fork, pattern, report, timed};
use ringway_pipe::{Builder, Pod, Raw, Receiver, RecvError, SendError, duplex, simplex};
use std::time::Duration;

/// The parent makes both ends, one child reads, one writes five messages, the parent
/// joins both. With an OS pipe it hangs for ever: the reader inherited the writing end.
fn five_messages(writer_waits: Duration, parent_closes: bool) {
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    let reader = fork(|| {
        let got: Vec<u32> = receiver.iter().map(Result::unwrap).collect();
        assert_eq!(got, [0, 1, 2, 3, 4]);
    });
    let writer = fork(|| {
        std::thread::sleep(writer_waits);
        (0..5).for_each(|i| sender.send(&i).unwrap());
        sender.close();
    });
    if parent_closes {
        drop((receiver, sender));
        reader.join();
        writer.join();
    } else {
        writer.join();
        sender.close();
        reader.join();
    }
}

#[test]
fn the_reader_sees_the_end_though_it_inherited_the_writing_end() {
    let _scene = Scene::begin();
    five_messages(Duration::ZERO, true);
    five_messages(Duration::ZERO, false);
}

#[test]
fn the_writer_may_come_late() {
    let _scene = Scene::begin();
    five_messages(Duration::from_secs(1), true);
}

#[test]
fn a_child_that_uses_neither_end_holds_both_until_it_exits() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    let gate = Gate::new();
    let bystander = fork(|| gate.pass());
    let writer = fork(|| sender.send(&1).unwrap());
    drop(sender);
    writer.join();
    assert_eq!(receiver.recv().unwrap(), 1);
    // As for an OS pipe: the bystander could still write.
    assert!(matches!(receiver.recv_timeout(SHORT), Err(RecvError::Timeout)));
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    gate.open();
    let (end, took) = timed(|| receiver.recv());
    report("end of file after a bystander's exit", took);
    assert!(matches!(end, Err(RecvError::Eof)));
    bystander.join();
}

#[test]
fn a_forked_copy_goes_on_when_the_parent_closes() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    sender.send(&1).unwrap();
    let (closed, seen) = (Gate::new(), Gate::new());
    let child = fork(|| {
        closed.pass();
        sender.send(&2).unwrap();
        seen.pass();
        sender.send(&3).unwrap();
    });
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(matches!(receiver.recv_timeout(SHORT), Err(RecvError::Timeout)), "no early end");
    closed.open();
    assert_eq!(receiver.recv().unwrap(), 2);
    assert!(matches!(receiver.recv_timeout(SHORT), Err(RecvError::Timeout)), "no early end");
    seen.open();
    assert_eq!(receiver.recv().unwrap(), 3);
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    child.join();
}

#[test]
fn the_first_use_drops_the_untouched_copy_of_the_other_end() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    let (used, done) = (Gate::new(), Gate::new());
    let child = fork(|| {
        sender.send(&1).unwrap();
        used.open();
        done.pass();
        // Its own copy of the receiver is gone: so it notices when the parent's goes.
        assert!(matches!(receiver.try_recv(), Err(RecvError::Closed)));
        let error = common::eventually_broken(|| sender.send(&2));
        assert!(matches!(error, SendError::BrokenPipe), "{error}");
    });
    used.pass();
    assert_eq!(receiver.recv().unwrap(), 1);
    drop(receiver);
    done.open();
    child.join();
    // The parent's own copy of the sender is not affected.
    assert!(matches!(sender.send(&3), Err(SendError::BrokenPipe)));
}

#[test]
fn two_processes_on_one_end() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u64>().unwrap();
    sender.send(&0).unwrap();
    let parent = std::process::id();
    let (tried, closed) = (Gate::new(), Gate::new());
    let child = fork(|| {
        match sender.send(&100) {
            Err(SendError::EndInUse { pid }) => assert_eq!(pid, Some(parent)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(sender.try_send(&100), Err(SendError::EndInUse { .. })));
        tried.open();
        closed.pass();
        (10..20).for_each(|i| sender.send(&i).unwrap());
    });
    tried.pass();
    (1..10).for_each(|i| sender.send(&i).unwrap());
    drop(sender);
    closed.open();
    assert!(receiver.iter().map(Result::unwrap).eq(0..20));
    child.join();
}

#[test]
fn a_fork_while_a_thread_is_amidst_leaves_the_child_a_shared_end_of_its_own() {
    let _scene = Scene::begin();
    let (receiver, mut sender) = simplex::<u64>().unwrap();
    let receiver = receiver.into_shared();
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| receiver.recv().unwrap());
        std::thread::sleep(SHORT);
        let (tried, free) = (Gate::new(), Gate::new());
        let child = fork(|| {
            // Not "empty": the thread that waits in it is not here.
            let refused = receiver.recv_timeout(SHORT);
            assert!(matches!(refused, Err(RecvError::EndInUse { .. })), "{refused:?}");
            tried.open();
            free.pass();
            assert_eq!(receiver.recv().unwrap(), 2);
            assert_eq!(receiver.clone().recv().unwrap(), 3);
        });
        tried.pass();
        sender.send(&1).unwrap();
        assert_eq!(blocked.join().unwrap(), 1);
        receiver.close();
        free.open();
        sender.send(&2).unwrap();
        sender.send(&3).unwrap();
        child.join();
    });
}

#[test]
fn a_refused_use_leaves_the_other_end_alone() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = simplex::<u64>().unwrap();
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)), "the parent takes it");
    let child = fork(|| {
        assert!(matches!(receiver.try_recv(), Err(RecvError::EndInUse { .. })));
        sender.send(&7).unwrap();
    });
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 7);
    child.join();
}

#[test]
fn a_successor_takes_over_from_a_killed_receiver_without_loss_or_double() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = Builder::new().capacity(4096).simplex::<u64, Pod>().unwrap();
    let (mut log, mut write_log) = Builder::new().capacity(1 << 20).simplex::<u64, Pod>().unwrap();
    // The successor takes over: it inherits an end that is in use.
    let start = Gate::new();
    let victim = fork(|| {
        start.open();
        loop {
            // Killed between these two, one message is lost with its receiver.
            let Ok(got) = receiver.recv() else { return };
            write_log.send(&got).unwrap();
        }
    });
    start.pass();
    // Before the next fork: a copy of it would keep the log open.
    drop(write_log);
    let writer = fork(|| {
        for i in 0..200_000_u64 {
            sender.send(&i).unwrap();
        }
    });
    drop(sender);
    std::thread::sleep(Duration::from_millis(50));
    match receiver.try_recv() {
        Err(RecvError::EndInUse { pid }) => assert_eq!(pid, u32::try_from(victim.pid()).ok()),
        other => panic!("{other:?}"),
    }
    let mut next = 0;
    // The log has room for what the victim takes in the meantime.
    victim.kill_and_reap();
    for logged in log.iter() {
        assert_eq!(logged.unwrap(), next);
        next += 1;
    }
    let first = receiver.recv().unwrap();
    assert!(first == next || first == next + 1, "took over at {first}, logged before {next}");
    assert!(receiver.iter().map(Result::unwrap).eq(first + 1..200_000));
    writer.join();
}

#[test]
fn a_fork_in_the_middle_of_the_watchers_look_leaves_the_child_able_to_close() {
    let scene = Scene::begin();
    // Each new named end makes the watcher look at all of them.
    let mut ends = Vec::new();
    for i in 0..200 {
        let end: Receiver<u32> =
            Builder::new().create_receiver(&scene.name(&format!("end{i}"))).unwrap();
        ends.push(end);
        if i >= 100 {
            std::thread::sleep(Duration::from_micros(i * 7 % 150));
            fork(|| ends.iter().for_each(Receiver::close)).join();
        }
    }
}

#[test]
fn an_end_closed_in_mid_stream_by_another_thread_goes_to_a_successor_unharmed() {
    let _scene = Scene::begin();
    for round in 0..60_u64 {
        let (mut receiver, mut sender) =
            Builder::new().capacity(4096).simplex::<Vec<u8>, Raw>().unwrap();
        sender.send(&vec![1]).unwrap();
        // Waits for its turn on a copy of the end.
        let successor = fork(|| {
            loop {
                match sender.send(&pattern(600, round)) {
                    Ok(()) => break,
                    Err(SendError::EndInUse { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            (1..20).for_each(|i| sender.send(&pattern(600, round + i)).unwrap());
        });
        assert_eq!(receiver.recv().unwrap(), [1]);
        let sender = sender.into_shared();
        let closer = sender.clone();
        let streaming = std::thread::spawn(move || sender.send(&vec![7; 10_000]));
        // It sleeps on a full ring. Closing lets the successor in and wakes it, in this
        // order: it must touch the ring no more.
        std::thread::sleep(Duration::from_millis(5));
        closer.close();
        std::thread::sleep(Duration::from_millis(5));
        let mut next = round;
        loop {
            match receiver.recv() {
                Ok(got) => {
                    assert!(got == pattern(600, next), "round {round}, message {next}");
                    next += 1;
                }
                Err(RecvError::Truncated) => assert_eq!(next, round, "once, before the successor"),
                Err(RecvError::Eof) => break,
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        assert_eq!(next, round + 20);
        assert!(matches!(streaming.join().unwrap(), Err(SendError::Closed)));
        successor.join();
    }
}

/// A long chunk is being copied into the ring when another thread closes the end. To the
/// receiver it is closed at once; a forked copy that waits for its turn gets it only when the
/// copying is over, and goes on behind it.
#[test]
fn an_end_closed_while_a_chunk_is_copied_goes_to_a_successor_unharmed() {
    let _scene = Scene::lasting(Duration::from_secs(120));
    const LONG: usize = 15 << 20;
    let mut amidst = 0;
    for round in 0..12_u64 {
        let (mut receiver, mut sender) =
            Builder::new().capacity(64 << 20).simplex::<Vec<u8>, Raw>().unwrap();
        sender.send(&vec![1]).unwrap();
        assert_eq!(receiver.recv().unwrap(), [1]);
        let successor = fork(|| {
            loop {
                match sender.send(&pattern(600, round)) {
                    Ok(()) => break,
                    Err(SendError::EndInUse { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            (1..20).for_each(|i| sender.send(&pattern(600, round + i)).unwrap());
        });
        let sender = sender.into_shared();
        let closer = sender.clone();
        let message = pattern(LONG, 99);
        let expected = message.clone();
        let begun = std::sync::Arc::new(std::sync::Barrier::new(2));
        let copying = {
            let begun = std::sync::Arc::clone(&begun);
            std::thread::spawn(move || {
                begun.wait();
                sender.send(&message)
            })
        };
        begun.wait();
        // Into the copy, which takes milliseconds, at another place each time.
        std::thread::sleep(Duration::from_micros(200 + 300 * round));
        closer.close();
        let sent = match copying.join().unwrap() {
            Ok(()) => true,
            Err(SendError::Closed) => false,
            Err(error) => panic!("{error}"),
        };
        amidst += u32::from(sent);
        if sent {
            assert!(receiver.recv().unwrap() == expected, "round {round}: the long message");
        }
        for i in 0..20 {
            let got = receiver.recv().unwrap();
            assert!(got == pattern(600, round + i), "round {round}, message {i}");
        }
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
        successor.join();
    }
    println!("closed after it had begun to copy: {amidst} of 12");
}

/// The same for an end that is closed by its other half.
#[test]
fn a_half_that_is_not_told_keeps_the_end_until_it_is() {
    let _scene = Scene::begin();
    let (mut peer, mine) = duplex::<u32>().unwrap();
    let (mut sender, mut receiver) = mine.split();
    sender.send(&1).unwrap();
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    assert_eq!(peer.recv().unwrap(), 1);
    let successor = fork(|| {
        let mut refused = 0_u32;
        loop {
            match sender.send(&2) {
                Ok(()) => break,
                Err(SendError::EndInUse { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(refused > 20, "the receiving half was not asked");
    });
    sender.close();
    std::thread::sleep(Duration::from_millis(200));
    assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
    assert_eq!(peer.recv().unwrap(), 2);
    successor.join();
}
