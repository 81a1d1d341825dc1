//! Items that are longer than all the queue's memory: streamed from the putter's memory to
//! the getter's, through a part of the pool.

mod common;

use common::tasks::{stop, until_asleep};
use common::{Random, Scene, Words, eventually, fork};
use ringway_queue::{Builder, GetError, JoinableQueue, Pod, Postcard, PutReason, Queue, Raw};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

/// Bytes that tell which message and which byte of it they are, and whether one is missing.
fn bytes(n: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pages(n, bytes.chunks_mut(PAGE), |part, page| part.copy_from_slice(page));
    bytes
}

/// Whether these are the bytes, without a second copy of them.
fn is_whole(got: &[u8], n: usize, len: usize) -> bool {
    let mut whole = got.len() == len;
    pages(n, got.chunks(PAGE), |part, page| whole &= part == page);
    whole
}

const PAGE: usize = 4096;

/// Calls `body` with each part and what belongs there.
fn pages<P: AsRef<[u8]>>(n: usize, parts: impl Iterator<Item = P>, mut body: impl FnMut(P, &[u8])) {
    let word = |i: usize| ((i ^ n << 20).wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes();
    let mut page: Vec<u8> = (0..PAGE / 8).flat_map(word).collect();
    for (number, part) in parts.enumerate() {
        page[..8].copy_from_slice(&word(number + PAGE));
        let len = part.as_ref().len();
        body(part, &page[..len]);
    }
}

/// A queue whose pool of 64 KiB lets 8 KiB of a stream pass at a time.
fn small(capacity: usize) -> Queue<Vec<u8>, Raw> {
    Builder::new().pool_size(64 << 10).bounded(capacity).unwrap()
}

/// No block and no place is lost: as much fits as at first.
fn nothing_is_left(queue: &Queue<Vec<u8>, Raw>) {
    assert_eq!(queue.len(), 0);
    for _ in 0..2 {
        for n in 0..queue.capacity().unwrap() {
            queue.try_put(vec![u8::try_from(n % 256).unwrap(); 10]).unwrap();
        }
        assert!(queue.is_full());
        for n in 0..queue.capacity().unwrap() {
            assert_eq!(queue.try_get().unwrap(), [u8::try_from(n % 256).unwrap(); 10]);
        }
    }
    queue.try_put(vec![1; 64 << 10]).unwrap();
    assert_eq!(queue.try_get().unwrap(), vec![1; 64 << 10]);
}

/// As `eventually`, without a pause between looks.
fn until(found: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !found() {
        assert!(Instant::now() < deadline);
    }
}

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
fn a_try_says_that_it_would_stream() {
    let _scene = Scene::begin();
    let queue = small(2);
    let refused = queue.try_put(bytes(1, 100_000)).unwrap_err();
    assert!(matches!(refused.reason, PutReason::WouldStream), "{refused:?}");
    assert!(refused.value == bytes(1, 100_000), "the value comes back");
    let refused = queue.put_timeout(bytes(1, 100_000), Duration::ZERO).unwrap_err();
    assert!(matches!(refused.reason, PutReason::WouldStream));
    assert!(matches!(queue.try_put_bytes(&bytes(1, 100_000)), Err(PutReason::WouldStream)));
    let reserved = queue.try_reserve(100_000);
    assert!(matches!(reserved, Err(PutReason::TooLarge { limit: 65_536, .. })), "{reserved:?}");
    nothing_is_left(&queue);
}

#[test]
fn a_limit_refuses_before_anything_happens() {
    let _scene = Scene::begin();
    let builder = Builder::new().pool_size(64 << 10).max_message(100_000);
    let queue = builder.bounded::<Vec<u8>, Raw>(2).unwrap();
    let refused = queue.put(bytes(1, 100_001)).unwrap_err();
    assert!(matches!(refused.reason, PutReason::TooLarge { len: 100_001, limit: 100_000 }));
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(1, 100_000)).unwrap()
    });
    assert!(queue.get_timeout(LONG).unwrap() == bytes(1, 100_000));
    putter.join();
    nothing_is_left(&queue);
}

#[test]
fn a_put_withdraws_at_its_deadline_and_getters_go_on() {
    let _scene = Scene::begin();
    for capacity in [1, 3] {
        let queue = small(capacity);
        let start = Instant::now();
        let refused = queue.put_timeout(bytes(1, 100_000), SOON).unwrap_err();
        assert!(start.elapsed() >= SOON);
        assert!(matches!(refused.reason, PutReason::Full), "{refused:?}");
        assert!(refused.value == bytes(1, 100_000));
        assert_eq!(queue.len(), 0, "what was withdrawn is not there");
        queue.try_put(vec![2]).unwrap();
        assert_eq!(queue.try_get().unwrap(), [2]);
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        nothing_is_left(&queue);
    }
}

/// The getter is stopped in mid-stream while the put withdraws.
#[test]
fn a_put_withdraws_in_mid_stream() {
    let _scene = Scene::begin();
    let queue = small(2);
    let getter = fork({
        let queue = queue.clone();
        move || assert_eq!(queue.get().unwrap(), [7])
    });
    until_asleep(getter.pid());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SOON);
            stop(&getter);
        });
        // Longer than a getter can take in that time.
        let refused = queue.put_timeout(vec![1; 1024 * MIB], SOON * 4).unwrap_err();
        assert!(matches!(refused.reason, PutReason::Full), "{refused:?}");
    });
    queue.put(vec![7]).unwrap();
    getter.signal(libc::SIGCONT);
    getter.join();
    nothing_is_left(&queue);
}

#[test]
fn a_get_hands_back_at_its_deadline_and_the_next_begins_anew() {
    let _scene = Scene::begin();
    let queue = small(2);
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(5, 8 * MIB)).unwrap()
    });
    until(|| !queue.is_empty());
    stop(&putter);
    let start = Instant::now();
    for _ in 0..3 {
        assert!(matches!(queue.get_timeout(SOON), Err(GetError::Empty)));
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        assert_eq!(queue.len(), 1, "it is there still");
    }
    assert!(start.elapsed() >= SOON * 3);
    putter.signal(libc::SIGCONT);
    assert!(queue.get_timeout(LONG).unwrap() == bytes(5, 8 * MIB));
    putter.join();
    nothing_is_left(&queue);
}

#[test]
fn a_stream_cannot_be_lent_and_stays() {
    let _scene = Scene::begin();
    let queue = small(2);
    let putter = fork({
        let queue = queue.clone();
        move || queue.put(bytes(5, 100_000)).unwrap()
    });
    for _ in 0..3 {
        let refused = queue.get_ref_timeout(LONG);
        assert!(matches!(refused, Err(GetError::Streamed { len: 100_000 })), "{refused:?}");
    }
    assert!(queue.get_timeout(LONG).unwrap() == bytes(5, 100_000));
    putter.join();
    nothing_is_left(&queue);
}

/// However far it came: the next item is there at once and nothing of the broken one is.
#[test]
fn a_stream_is_dropped_with_its_putter() {
    let _scene = Scene::begin();
    for pause in [0, 1, 3, 10, 30] {
        let queue = small(3);
        let putter = fork({
            let queue = queue.clone();
            move || queue.put(vec![1; 1024 * MIB]).unwrap()
        });
        let getter = fork({
            let queue = queue.clone();
            move || assert!(queue.get().unwrap() == bytes(9, 100_000))
        });
        std::thread::sleep(Duration::from_millis(pause));
        putter.kill_and_reap();
        queue.put_timeout(bytes(9, 100_000), LONG).unwrap();
        getter.join();
        nothing_is_left(&queue);
    }
}

/// However far it came: the next getter gets all of it.
#[test]
fn a_stream_begins_anew_after_its_getters_death() {
    let _scene = Scene::begin();
    let queue = small(3);
    let len = 16 * MIB;
    let mut amidst = 0;
    for (n, pause) in [0, 1, 2, 5, 10, 20].into_iter().enumerate() {
        let mut putter = fork({
            let queue = queue.clone();
            move || queue.put(bytes(n, len)).unwrap()
        });
        until(|| !queue.is_empty());
        let getter = fork({
            let queue = queue.clone();
            move || drop(queue.get().unwrap())
        });
        until(|| queue.is_empty());
        std::thread::sleep(Duration::from_millis(pause));
        stop(&getter);
        // It has not committed if the put has not returned.
        let has_it = putter.ended();
        getter.kill_and_reap();
        if has_it {
            assert!(matches!(queue.get_timeout(SOON), Err(GetError::Empty)));
        } else if let Ok(got) = queue.get_timeout(SOON * 100) {
            assert!(got == bytes(n, len));
            amidst += 1;
            putter.join();
        } else {
            // Between the commit and the putter's return.
            putter.join();
        }
        nothing_is_left(&queue);
    }
    assert!(amidst > 0, "no getter was killed amidst a stream");
}

/// Putters and getters are killed at random moments and replaced, small items among the
/// streamed ones.
#[test]
fn streams_survive_random_kills() {
    const IDS: usize = 100_000;
    let _scene = Scene::begin();
    let queue = small(3);
    // A number for the next item; then for each whether its put has returned, and how often
    // it was taken; then how many were torn.
    let words = Words::new(2 + 2 * IDS);
    let torn = 1 + 2 * IDS;
    let length = |n: usize| if n % 4 == 3 { 50 } else { 70_000 + n % 7 * 20_000 };
    let item = |n: usize| {
        let mut item = bytes(n, length(n));
        item[..8].copy_from_slice(&n.to_le_bytes());
        item
    };
    let putter = || {
        fork(|| {
            loop {
                let n = usize::try_from(words.count(0)).unwrap();
                queue.put(item(n)).unwrap();
                words.set(1 + n, 1);
            }
        })
    };
    let getter = || {
        fork(|| {
            loop {
                let got = queue.get().unwrap();
                let n = usize::from_le_bytes(got[..8].try_into().unwrap());
                if n < IDS && got == item(n) {
                    words.count(1 + IDS + n);
                } else {
                    words.count(torn);
                }
            }
        })
    };
    let mut random = Random(0x5EED);
    let mut crew = [putter(), putter(), getter(), getter()];
    let mut kills = 0;
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_micros(200 + random.next() % 8000));
        let which = random.below(crew.len());
        crew[which].kill();
        kills += 1;
        let next = if which < 2 { putter() } else { getter() };
        std::mem::replace(&mut crew[which], next).kill_and_reap();
    }
    // They go on, all four.
    let before = words.get(0);
    eventually("items pass after the last kill", || words.get(0) > before + 20);
    crew.into_iter().for_each(common::child::Child::kill_and_reap);
    let last = usize::try_from(words.get(0)).unwrap();
    let mut missing = 0;
    while let Ok(got) = queue.get_timeout(SOON * 4) {
        let n = usize::from_le_bytes(got[..8].try_into().unwrap());
        assert!(got == item(n) && got.len() == 50, "no stream outlives its putter");
        words.count(1 + IDS + n);
    }
    for n in 0..last {
        let (returned, taken) = (words.get(1 + n), words.get(1 + IDS + n));
        assert!(taken <= 1, "item {n} was taken {taken} times");
        missing += u64::from(returned == 1 && taken == 0);
    }
    println!("{last} items, {kills} kills, {missing} taken by the dead");
    assert_eq!(words.get(torn), 0, "torn");
    assert!(missing <= kills && last > 100, "{missing} lost in {kills} kills, {last} items");
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
