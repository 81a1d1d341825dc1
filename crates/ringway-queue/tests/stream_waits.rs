//! What a get may wait for where the next item is a streamed one: no longer than its time, and
//! never in vain while there is another item.
#![allow(unsafe_code, reason = "setrlimit")]

mod common;

use common::streams::{LONGEST, MIB, bytes, is_whole, nothing_is_left, small, until};
use common::tasks::stop;
use common::{Scene, eventually, fork};
use ringway_queue::{Builder, GetError, JoinableQueue, PutReason, Raw};
use std::time::{Duration, Instant};

/// Each call takes much less time than the transfer, and none of it in vain.
#[test]
fn a_poll_shorter_than_the_transfer_takes_what_is_behind() {
    let _scene = Scene::begin();
    let queue = small(2);
    let long = 512 * MIB;
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(5, long)).unwrap()
    });
    until(|| !queue.is_empty());
    for n in 0..20 {
        queue.put(bytes(n, 30)).unwrap();
        // The second one may find the putter amidst its answer to the first.
        let got = queue.get_timeout(Duration::from_millis(5)).unwrap();
        assert!(got == bytes(n, 30), "{n}");
        assert!(matches!(queue.get_timeout(Duration::from_millis(5)), Err(GetError::Empty)));
    }
    // With time enough it is there still.
    assert!(is_whole(&queue.get_timeout(LONGEST).unwrap(), 5, long));
    putter.join();
    nothing_is_left(&queue);
}

/// Several in a row, of which none goes on.
#[test]
fn stopped_putters_hold_up_no_try() {
    let _scene = Scene::begin();
    let queue = small(5);
    let putters: Vec<_> = (0..3)
        .map(|n| {
            let putter = fork({
                let queue = queue.clone();
                move || queue.put(bytes(n, 8 * MIB)).unwrap()
            });
            until(|| queue.len() == n + 1);
            stop(&putter);
            putter
        })
        .collect();
    for n in 10..13 {
        queue.put(bytes(n, 30)).unwrap();
        assert!(queue.try_get().unwrap() == bytes(n, 30));
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        queue.put(bytes(n, 20_000)).unwrap();
        assert!(queue.get_timeout(Duration::from_millis(20)).unwrap() == bytes(n, 20_000));
        queue.put(bytes(n, 30)).unwrap();
        let mut into = Vec::new();
        queue.try_get_into(&mut into).unwrap();
        assert!(into == bytes(n, 30));
        assert_eq!(queue.len(), 3, "they are all there still");
    }
    for putter in &putters {
        putter.signal(libc::SIGCONT);
    }
    let mut got: Vec<_> = (0..3).map(|_| queue.get_timeout(LONGEST).unwrap()).collect();
    got.sort_by_key(|item| (0..3).position(|n| is_whole(item, n, 8 * MIB)));
    assert!((0..3).all(|n| is_whole(&got[n], n, 8 * MIB)));
    putters.into_iter().for_each(|putter| putter.join());
    nothing_is_left(&queue);
}

#[test]
fn a_stopped_putter_holds_up_no_task_and_no_type_of_one_length() {
    let _scene = Scene::begin();
    let tasks: JoinableQueue<Vec<u8>, Raw> =
        Builder::new().pool_size(64 << 10).joinable_bounded(3).unwrap();
    let fixed = Builder::new().slot_size(16).pool_size(1024);
    let fixed = fixed.bounded::<[u64; 1000], ringway_queue::Pod>(3).unwrap();
    let putter = fork({
        let (tasks, fixed) = (tasks.clone(), fixed.clone());
        move || {
            let other = std::thread::spawn(move || fixed.put([9; 1000]).unwrap());
            tasks.put(bytes(1, MIB)).unwrap();
            other.join().unwrap();
        }
    });
    until(|| !tasks.is_empty() && !fixed.is_empty());
    stop(&putter);
    tasks.put(bytes(2, 30)).unwrap();
    assert!(tasks.try_get().unwrap() == bytes(2, 30));
    assert_eq!(tasks.unfinished(), 2);
    tasks.task_done().unwrap();
    assert!(matches!(tasks.try_get(), Err(GetError::Empty)));
    assert!(tasks.task_done().is_err(), "nothing was taken");
    assert_eq!(tasks.unfinished(), 1);
    assert!(matches!(fixed.try_get(), Err(GetError::Empty)));
    assert!(matches!(fixed.get_timeout(Duration::from_millis(20)), Err(GetError::Empty)));
    putter.signal(libc::SIGCONT);
    assert!(tasks.get_timeout(LONGEST).unwrap() == bytes(1, MIB));
    tasks.task_done().unwrap();
    assert!(fixed.get_timeout(LONGEST).unwrap() == [9; 1000]);
    putter.join();
    tasks.join_timeout(LONGEST).unwrap();
}

#[test]
fn an_immediate_shutdown_ends_a_get_amidst_a_stream() {
    let _scene = Scene::begin();
    let queue = small(2);
    let putter = fork({
        let queue = queue.clone();
        move || {
            let refused = queue.put(bytes(5, 8 * MIB)).unwrap_err();
            assert!(matches!(refused.reason, PutReason::ShutDown), "{refused:?}");
        }
    });
    until(|| !queue.is_empty());
    stop(&putter);
    std::thread::scope(|scope| {
        let getter = scope.spawn(|| {
            let start = Instant::now();
            let got = queue.get_timeout(LONGEST);
            assert!(matches!(got, Err(GetError::ShutDown)), "{:?}", got.map(|v| v.len()));
            start.elapsed()
        });
        // It has the stream.
        eventually("the getter takes it", || queue.is_empty());
        std::thread::sleep(Duration::from_millis(20));
        queue.shutdown(true).unwrap();
        assert!(getter.join().unwrap() < LONGEST / 2);
    });
    putter.signal(libc::SIGCONT);
    putter.join();
}

/// What does not fit the memory of one process stays for another.
#[test]
fn an_item_larger_than_the_getters_memory_stays() {
    let _scene = Scene::begin();
    let queue = small(2);
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(5, 192 * MIB)).unwrap()
    });
    until(|| !queue.is_empty());
    let poor = fork({
        let queue = queue.clone();
        move || {
            let pages: libc::rlim_t = std::fs::read_to_string("/proc/self/statm")
                .unwrap()
                .split(' ')
                .next()
                .map(|pages| pages.parse().unwrap())
                .unwrap();
            let most = pages * 4096 + (64 << 20);
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            // SAFETY: `limit` is a valid structure.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
            for _ in 0..2 {
                let got = queue.get_timeout(LONGEST);
                let Err(GetError::Engine(error)) = got else {
                    panic!("{:?}", got.map(|v| v.len()))
                };
                assert!(error.to_string().contains("memory"), "{error}");
            }
            queue.put(vec![7]).unwrap();
        }
    });
    poor.join();
    assert!(is_whole(&queue.get_timeout(LONGEST).unwrap(), 5, 192 * MIB));
    putter.join();
    assert_eq!(queue.try_get().unwrap(), [7]);
    nothing_is_left(&queue);
}
