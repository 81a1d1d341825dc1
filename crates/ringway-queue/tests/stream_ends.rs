//! Streamed items that come to an end before they have passed: refused, withdrawn, handed back,
//! or with a process that is killed.

mod common;

use common::streams::{LONGEST as LONG, MIB, bytes, nothing_is_left, small, until};
use common::tasks::{stop, until_asleep};
use common::{Random, Scene, Words, eventually, fork};
use ringway_queue::{Builder, GetError, PutReason, Raw};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(50);

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
            move || {
                drop(queue.get().unwrap());
                // Also one that has it all is there to be stopped and killed.
                std::thread::sleep(LONG);
            }
        });
        until(|| queue.is_empty());
        std::thread::sleep(Duration::from_millis(pause));
        stop(&getter);
        // It has not committed if the put has not returned.
        let has_it = putter.ended();
        // Kills and reaps it, also if it was quicker than the pause and is about to end.
        drop(getter);
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
