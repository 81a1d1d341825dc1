//! Streamed items amid everything else: as tasks whose takers die, amid signals, amid a
//! shutdown.
#![allow(unsafe_code, reason = "setitimer and sigaction")]

mod common;

use common::streams::{LONGEST, MIB, bytes, nothing_is_left, small, until};
use common::tasks::stop;
use common::{Scene, fork};
use ringway_queue::{Builder, GetError, JoinError, JoinableQueue, PutReason, Raw};
use std::time::{Duration, Instant};

/// A worker is killed after any time with whatever it took. What is lost and what others get
/// are all that was put.
#[test]
fn a_killed_worker_loses_just_what_it_took() {
    const TASKS: usize = 4;
    let _scene = Scene::begin();
    let len = |n: usize| if n == 2 { 10 } else { 150_000 + 70_000 * n };
    let mut losses = [0_u32; TASKS + 1];
    for round in 0..25 {
        let queue: JoinableQueue<Vec<u8>, Raw> =
            Builder::new().pool_size(64 << 10).joinable_bounded(3).unwrap();
        let mut putter = fork({
            let queue = queue.clone();
            move || (0..TASKS).for_each(|n| queue.put(bytes(n, len(n))).unwrap())
        });
        let worker = fork({
            let queue = queue.clone();
            move || {
                while let Ok(task) = queue.get() {
                    assert!(!task.is_empty());
                }
            }
        });
        std::thread::sleep(Duration::from_micros(100 * round * round));
        worker.kill_and_reap();
        let (mut taken, mut all_put) = (0, false);
        let deadline = Instant::now() + LONGEST;
        while !(all_put && queue.unfinished() == 0) {
            assert!(Instant::now() < deadline, "{taken} taken, {} left", queue.unfinished());
            all_put |= putter.ended();
            match queue.get_timeout(Duration::from_millis(5)) {
                Ok(task) => {
                    let n = (0..TASKS).find(|n| task.len() == len(*n)).expect("a whole one");
                    assert!(task == bytes(n, len(n)), "torn");
                    taken += 1;
                    queue.task_done().unwrap();
                }
                Err(GetError::Empty) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        putter.join();
        let lost = match queue.join_timeout(LONGEST) {
            Ok(()) => 0,
            Err(JoinError::PeerDied { lost }) => usize::try_from(lost).unwrap(),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(lost + taken, TASKS, "in round {round}");
        assert_eq!((queue.unfinished(), queue.len()), (0, 0));
        losses[lost] += 1;
    }
    println!("rounds by tasks lost: {losses:?}");
    assert!(losses[0] > 0 && losses[1..].iter().sum::<u32>() > 0, "{losses:?}");
}

/// Signals that come a thousand times a second, to both sides, neither tear a stream nor make
/// it begin anew.
#[test]
fn signals_do_not_end_a_stream() {
    extern "C" fn nothing(_: libc::c_int) {}
    fn alarms() {
        let handler = libc::sigaction {
            sa_sigaction: nothing as *const () as usize,
            // SAFETY: a plain structure, of which all zeros are a value: no flags, so that
            // calls of the system end with EINTR.
            ..unsafe { core::mem::zeroed() }
        };
        let often = libc::timeval { tv_sec: 0, tv_usec: 1000 };
        let timer = libc::itimerval { it_interval: often, it_value: often };
        let none = core::ptr::null_mut();
        // SAFETY: a valid structure; the handler does nothing.
        let handled = unsafe { libc::sigaction(libc::SIGALRM, &raw const handler, none) };
        let none = core::ptr::null_mut();
        // SAFETY: a valid structure.
        let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, none) };
        assert_eq!((handled, set), (0, 0));
    }
    let _scene = Scene::begin();
    let queue = small(2);
    let putter = fork({
        let queue = queue.clone();
        move || {
            alarms();
            queue.put(bytes(1, 16 * MIB)).unwrap();
        }
    });
    until(|| !queue.is_empty());
    // It waits for a getter, amid signals.
    std::thread::sleep(Duration::from_millis(50));
    let getter = fork({
        let queue = queue.clone();
        move || {
            alarms();
            assert!(queue.get().unwrap() == bytes(1, 16 * MIB));
        }
    });
    getter.join();
    putter.join();
    nothing_is_left(&queue);
}

/// One stream after the other is withdrawn while a getter has it: one call goes past them all.
#[test]
fn one_get_passes_many_streams_that_come_to_nothing() {
    let _scene = Scene::begin();
    let queue = small(2);
    let getter = fork({
        let queue = queue.clone();
        move || {
            let mut buffer = Vec::new();
            queue.get_into_timeout(&mut buffer, LONGEST).unwrap();
            assert!(buffer == [7]);
        }
    });
    // Longer than can pass in that time.
    let mut item = vec![1; 256 * MIB];
    for _ in 0..100 {
        let refused = queue.put_timeout(item, Duration::from_millis(2)).unwrap_err();
        assert!(matches!(refused.reason, PutReason::Full | PutReason::NoMemory), "{refused:?}");
        item = refused.value;
    }
    queue.put(vec![7]).unwrap();
    getter.join();
    nothing_is_left(&queue);
}

/// The queue is shut down while a getter is amidst a stream. In order: it, or after its death
/// another, gets the whole item. At once: nobody does.
#[test]
fn a_shutdown_amidst_a_stream() {
    let _scene = Scene::begin();
    for (at_once, dies) in [(false, false), (false, true), (true, false), (true, true)] {
        let queue = small(2);
        let len = 64 * MIB;
        let mut putter = fork({
            let queue = queue.clone();
            move || match queue.put(bytes(1, len)) {
                Ok(()) => assert!(!at_once),
                Err(error) => {
                    assert!(at_once && matches!(error.reason, PutReason::ShutDown), "{error:?}");
                }
            }
        });
        until(|| !queue.is_empty());
        let getter = fork({
            let queue = queue.clone();
            move || {
                if !at_once {
                    assert!(queue.get().unwrap() == bytes(1, len));
                }
                assert!(matches!(queue.get(), Err(GetError::ShutDown)));
            }
        });
        until(|| queue.is_empty());
        std::thread::sleep(Duration::from_millis(2));
        stop(&getter);
        assert!(!putter.ended(), "the item is on its way");
        queue.shutdown(at_once).unwrap();
        if dies {
            getter.kill_and_reap();
            if !at_once {
                assert!(queue.get_timeout(LONGEST).unwrap() == bytes(1, len));
            }
        } else {
            if at_once {
                // Nobody takes bytes: the putter learns of it.
                putter.join();
                putter = fork(|| {});
            }
            getter.signal(libc::SIGCONT);
            getter.join();
        }
        putter.join();
        assert!(matches!(queue.get_timeout(LONGEST), Err(GetError::ShutDown)), "{at_once} {dies}");
        assert_eq!(queue.len(), 0);
    }
}
