//! Items that are longer than all the queue's memory: streamed from the putter's memory to
//! the getter's, through a part of the pool.

mod common;

use common::streams::{LONGEST as LONG, MIB, bytes, is_whole, nothing_is_left, small, until};
use common::tasks::{stop, until_asleep};
use common::{Scene, eventually, fork};
use ringway_queue::{Builder, GetError, JoinableQueue, Pod, Postcard, PutReason, Raw};
use std::time::Duration;

fn pass(len: usize) {
    let _scene = Scene::begin();
    let queue = Builder::new().pool_size(880 << 10).bounded::<Vec<u8>, Raw>(100).unwrap();
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(1, len)).unwrap()
    });
    let got = queue.get_timeout(LONG * 5).unwrap();
    // Not assert_eq: nobody wants to read that.
    assert!(is_whole(&got, 1, len));
    putter.join();
}

#[test]
fn an_item_of_64_mib_passes_through_a_queue_of_one_mib() {
    pass(64 * MIB);
}

#[test]
#[ignore = "takes half a minute in a debug build"]
fn an_item_of_a_gib_passes_through_a_queue_of_one_mib() {
    pass(1024 * MIB);
}

#[test]
fn every_length_around_the_limits_passes() {
    let _scene = Scene::begin();
    let queue = small(4);
    let lengths: Vec<usize> =
        [65_536, 65_537, 65_540, 67_583, 67_584, 73_728, 73_729, 131_072, 200_003].into();
    let putter = fork({
        let (queue, lengths) = (queue.clone(), lengths.clone());
        move || {
            for (n, len) in lengths.into_iter().enumerate() {
                queue.put(bytes(n, len)).unwrap();
            }
        }
    });
    for (n, len) in lengths.into_iter().enumerate() {
        assert!(queue.get_timeout(LONG).unwrap() == bytes(n, len), "{len}");
    }
    putter.join();
    nothing_is_left(&queue);
}

#[test]
fn every_kind_of_queue_codec_and_call_takes_them() {
    let _scene = Scene::begin();
    let serde = Builder::new().pool_size(4096).bounded::<(u32, String), Postcard>(2).unwrap();
    let text = "ringway".repeat(10_000);
    let fixed = Builder::new().slot_size(16).pool_size(1024);
    let fixed = fixed.bounded::<[u64; 1000], Pod>(2).unwrap();
    let simple = Builder::new().pool_size(4096).simple::<Vec<u8>, Raw>().unwrap();
    let tasks: JoinableQueue<Vec<u8>, Raw> =
        Builder::new().pool_size(4096).joinable_bounded(2).unwrap();
    let raw = small(2);
    let putter = fork({
        let (serde, fixed, simple) = (serde.clone(), fixed.clone(), simple.clone());
        let (tasks, raw, text) = (tasks.clone(), raw.clone(), text.clone());
        move || {
            serde.put((7, text)).unwrap();
            fixed.put([9; 1000]).unwrap();
            simple.put(bytes(1, 30_000)).unwrap();
            tasks.put(bytes(2, 30_000)).unwrap();
            raw.put_bytes(&bytes(3, 100_000)).unwrap();
            raw.put_many([bytes(4, 10), bytes(5, 100_000), bytes(6, 10)]).unwrap();
        }
    });
    assert!(serde.get_timeout(LONG).unwrap() == (7, text));
    assert!(fixed.get_timeout(LONG).unwrap() == [9; 1000]);
    assert!(simple.get().unwrap() == bytes(1, 30_000));
    assert!(tasks.get_timeout(LONG).unwrap() == bytes(2, 30_000));
    assert_eq!(tasks.unfinished(), 1);
    tasks.task_done().unwrap();
    tasks.join_timeout(LONG).unwrap();
    let mut buffer = Vec::new();
    raw.get_into_timeout(&mut buffer, LONG).unwrap();
    assert!(buffer == bytes(3, 100_000));
    let mut all = Vec::new();
    while all.len() < 3 {
        raw.get_many_timeout(&mut all, 3, LONG).unwrap();
    }
    assert!(all == [bytes(4, 10), bytes(5, 100_000), bytes(6, 10)]);
    putter.join();
    nothing_is_left(&raw);
}

#[test]
fn several_pass_at_once_and_small_items_flow_beside_them() {
    let _scene = Scene::begin();
    let queue = small(8);
    // More than there are records.
    let putters: Vec<_> = (0..6)
        .map(|n| {
            let queue = queue.clone();
            fork(move || {
                for turn in 0..3 {
                    queue.put(bytes(n * 10 + turn, 500_000 + n)).unwrap();
                }
            })
        })
        .collect();
    let small_ones = fork({
        let queue = queue.clone();
        move || {
            for n in 0..2000 {
                queue.put(bytes(n, 30)).unwrap();
            }
        }
    });
    let getters: Vec<_> = (0..2)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                let (mut long, mut short) = (Vec::new(), Vec::new());
                while let Ok(item) = queue.get() {
                    if item.len() == 30 { short.push(item) } else { long.push(item) }
                }
                (long, short)
            })
        })
        .collect();
    putters.into_iter().for_each(|putter| putter.join());
    small_ones.join();
    queue.shutdown(false).unwrap();
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for getter in getters {
        let (some, others) = getter.join().unwrap();
        long.extend(some);
        short.extend(others);
    }
    let mut expected: Vec<_> =
        (0..6).flat_map(|n| (0..3).map(move |turn| bytes(n * 10 + turn, 500_000 + n))).collect();
    expected.sort();
    long.sort();
    assert!(long == expected);
    short.sort();
    let mut expected: Vec<_> = (0..2000).map(|n| bytes(n, 30)).collect();
    expected.sort();
    assert!(short == expected);
}

/// A getter that is amidst a stream holds up nobody: the ring comes round many times.
#[test]
fn a_stopped_getter_of_a_stream_holds_up_no_small_item() {
    let _scene = Scene::begin();
    let queue = small(2);
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(1, 64 * MIB)).unwrap()
    });
    until(|| !queue.is_empty());
    let getter = fork({
        let queue = queue.clone();
        move || assert!(queue.get().unwrap() == bytes(1, 64 * MIB))
    });
    // The stream has left its slot for a lease record.
    until(|| queue.is_empty());
    // A few instructions later.
    std::thread::sleep(Duration::from_millis(2));
    stop(&getter);
    for n in 0..1000 {
        queue.put_timeout(bytes(n, 20), LONG).unwrap();
        assert!(queue.get_timeout(LONG).unwrap() == bytes(n, 20));
    }
    getter.signal(libc::SIGCONT);
    getter.join();
    putter.join();
    nothing_is_left(&queue);
}

#[test]
fn an_unbounded_queue_accepts_them_and_feeds_them() {
    let _scene = Scene::begin();
    let queue = Builder::new().pool_size(64 << 10).unbounded::<Vec<u8>, Raw>().unwrap();
    for n in 0..3 {
        // No put waits.
        queue.put(bytes(n, 300_000)).unwrap();
        queue.put(bytes(10 + n, 30)).unwrap();
    }
    eventually("each item counts once", || queue.len() == 6);
    let getter = fork({
        let queue = queue.clone();
        move || {
            for n in 0..3 {
                assert!(queue.get().unwrap() == bytes(n, 300_000));
                assert!(queue.get().unwrap() == bytes(10 + n, 30));
            }
        }
    });
    // Nobody waits for a flush with nobody there to take it.
    eventually("the getter attaches", || queue.len() < 6);
    queue.close();
    queue.join_thread().unwrap();
    getter.join();
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_shutdown_lets_accepted_streams_pass_and_an_immediate_one_drops_them() {
    let _scene = Scene::begin();
    let queue = small(3);
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(1, 300_000)).unwrap()
    });
    until(|| !queue.is_empty());
    queue.shutdown(false).unwrap();
    let refused = queue.put(bytes(2, 300_000)).unwrap_err();
    assert!(matches!(refused.reason, PutReason::ShutDown));
    assert!(queue.get_timeout(LONG).unwrap() == bytes(1, 300_000));
    assert!(matches!(queue.get(), Err(GetError::ShutDown)));
    putter.join();

    let queue = small(3);
    let putter = fork({
        let queue = queue.clone();
        move || {
            let refused = queue.put(bytes(1, 300_000)).unwrap_err();
            assert!(matches!(refused.reason, PutReason::ShutDown), "{refused:?}");
        }
    });
    until_asleep(putter.pid());
    queue.shutdown(true).unwrap();
    putter.join();
    assert!(matches!(queue.get(), Err(GetError::ShutDown)));
}
