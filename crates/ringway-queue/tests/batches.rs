//! Batches: every item once and in order, whatever stands in their way.

mod common;

use common::{Gate, LONG, SHORT, SOON, Scene, eventually, fork, timed};
use ringway_queue::{
    Builder, Codec, DecodeError, EncodeError, GetError, Pod, Postcard, PutReason, Queue, Raw,
};
use std::thread;
use std::time::Duration;

fn numbers(slots: usize) -> Queue<u64, Pod> {
    Builder::new().bounded(slots).unwrap()
}

#[test]
fn batches_come_back_in_order_between_single_items() {
    let _scene = Scene::begin();
    let queue = Queue::<String>::bounded(10).unwrap();
    queue.put("a".into()).unwrap();
    queue.put_many(["b", "c", "d"].map(String::from)).unwrap();
    queue.put("e".into()).unwrap();
    assert_eq!(queue.len(), 5);
    let mut got = vec!["before".to_owned()];
    assert_eq!(queue.get_many(&mut got, 2).unwrap(), 2);
    assert_eq!(queue.get().unwrap(), "c");
    assert_eq!(queue.try_get_many(&mut got, 10).unwrap(), 2);
    assert_eq!(got, ["before", "a", "b", "d", "e"]);
    assert!(matches!(queue.try_get_many(&mut got, 10), Err(GetError::Empty)));
    assert_eq!(queue.get_many(&mut got, 0).unwrap(), 0);
    queue.put_many([]).unwrap();
    assert!(queue.is_empty());
}

#[test]
fn what_does_not_fit_comes_back() {
    let _scene = Scene::begin();
    let queue = numbers(5);
    queue.put(100).unwrap();
    let error = queue.try_put_many(0..9).unwrap_err();
    assert!(matches!(error.reason, PutReason::Full) && error.put == 4, "{error}");
    assert_eq!(error.rest, [4, 5, 6, 7, 8]);
    assert_eq!(error.to_string(), "4 of 9 items were put; then: the queue is full");
    assert!(queue.is_full());
    let (error, took) = timed(|| queue.put_many_timeout(error.rest, SHORT).unwrap_err());
    assert!(matches!(error.reason, PutReason::Full) && error.put == 0 && took >= SHORT);
    let mut got = Vec::new();
    assert_eq!(queue.get_many(&mut got, 2).unwrap(), 2);
    let (error, took) = timed(|| queue.put_many_timeout(error.rest, SHORT).unwrap_err());
    assert!(matches!(error.reason, PutReason::Full) && error.put == 2 && took >= SHORT);
    assert_eq!(error.rest, [6, 7, 8]);
    assert_eq!(queue.get_many_timeout(&mut got, 99, LONG).unwrap(), 5);
    assert_eq!(got, [100, 0, 1, 2, 3, 4, 5]);
    let (empty, took) = timed(|| queue.get_many_timeout(&mut got, 9, SHORT).unwrap_err());
    assert!(matches!(empty, GetError::Empty) && took >= SHORT);
    queue.shutdown(false).unwrap();
    let error = queue.put_many(error.rest).unwrap_err();
    assert!(matches!(error.reason, PutReason::ShutDown) && error.rest.len() == 3);
    assert!(matches!(queue.get_many(&mut got, 9), Err(GetError::ShutDown)));
    queue.close();
    assert!(matches!(queue.get_many(&mut got, 9), Err(GetError::Closed)));
    let error = queue.put_many([1]).unwrap_err();
    assert!(matches!(error.reason, PutReason::Closed) && error.rest == [1]);
}

#[test]
fn a_batch_longer_than_the_queue_passes_in_parts() {
    let _scene = Scene::begin();
    for slots in [1, 3, 64] {
        let queue = numbers(slots);
        let putting = queue.clone();
        let child = fork(move || putting.put_many(0..5000).unwrap());
        let mut got = Vec::new();
        while got.len() < 5000 {
            let before = got.len();
            let many = queue.get_many_timeout(&mut got, 50, LONG).unwrap();
            assert!(many <= 50.min(slots) && got.len() - before == many);
        }
        assert!(got == (0..5000).collect::<Vec<u64>>());
        child.join();
    }
}

/// Each of three sleepers gets one item of one batch, and each of three putters a place
/// of one.
#[test]
fn one_batch_wakes_as_many_as_it_serves() {
    let _scene = Scene::begin();
    let queue = numbers(3);
    let sleepers: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || timed(|| queue.get_timeout(LONG).unwrap()))
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    queue.put_many(0..3).unwrap();
    let mut got: Vec<u64> = sleepers
        .into_iter()
        .map(|sleeper| {
            let (n, took) = sleeper.join().unwrap();
            assert!(took < Duration::from_millis(300) + SOON);
            n
        })
        .collect();
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2]);
    queue.put_many(0..3).unwrap();
    let sleepers: Vec<_> = (0..3)
        .map(|n| {
            let queue = queue.clone();
            thread::spawn(move || timed(|| queue.put_timeout(10 + n, LONG).unwrap()).1)
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(queue.get_many(&mut got, 3).unwrap(), 3);
    for sleeper in sleepers {
        assert!(sleeper.join().unwrap() < Duration::from_millis(300) + SOON);
    }
    assert_eq!(queue.len(), 3);
}

#[test]
fn processes_with_batches_and_without_share_the_items() {
    let _scene = Scene::begin();
    const EACH: u64 = 20_000;
    let queue = numbers(32);
    let results = Builder::new().bounded::<(u64, u64, u64), Postcard>(4).unwrap();
    let mut children = Vec::new();
    for putter in 0..2_u64 {
        let queue = queue.clone();
        children.push(fork(move || {
            let mine: Vec<u64> = (0..EACH).map(|n| n * 2 + putter).collect();
            for part in mine.chunks(if putter == 0 { 1 } else { 25 }) {
                queue.put_many(part.iter().copied()).unwrap();
            }
        }));
    }
    for getter in 0..2_u64 {
        let (queue, results) = (queue.clone(), results.clone());
        children.push(fork(move || {
            let (mut all, mut part, mut last) = (Vec::new(), Vec::new(), [None; 2]);
            loop {
                let max = if getter == 0 { 1 } else { 30 };
                match queue.get_many(&mut part, max) {
                    Ok(_) => all.append(&mut part),
                    Err(GetError::ShutDown) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            for n in &all {
                let putter = usize::try_from(n % 2).unwrap();
                assert!(last[putter] < Some(*n), "out of order");
                last[putter] = Some(*n);
            }
            let sum = all.iter().fold(0, |sum: u64, n| sum.wrapping_add(n.wrapping_mul(*n)));
            results.put((all.len() as u64, all.iter().sum(), sum)).unwrap();
        }));
    }
    let getters = children.split_off(2);
    children.into_iter().for_each(common::child::Child::join);
    queue.shutdown(false).unwrap();
    let mut total = (0, 0, 0_u64);
    for getter in getters {
        let (count, sum, squares) = results.get_timeout(LONG).unwrap();
        total = (total.0 + count, total.1 + sum, total.2.wrapping_add(squares));
        getter.join();
    }
    let squares = (0..2 * EACH).fold(0, |sum: u64, n| sum.wrapping_add(n.wrapping_mul(n)));
    assert_eq!(total, (2 * EACH, EACH * (2 * EACH - 1), squares));
}

#[test]
fn an_unbounded_queue_accepts_the_whole_batch() {
    let _scene = Scene::begin();
    let queue = Builder::new().ring_len(4).unbounded::<u64, Pod>().unwrap();
    queue.put_many(0..3).unwrap();
    queue.put_many(3..100).unwrap();
    queue.put(100).unwrap();
    let mut got = Vec::new();
    while got.len() < 101 {
        queue.get_many_timeout(&mut got, 1000, LONG).unwrap();
    }
    assert_eq!(got, (0..101).collect::<Vec<u64>>());
    eventually("nothing waits", || queue.is_empty());
    queue.put_many(0..4).unwrap();
    assert_eq!(queue.try_get_many(&mut got, 9).unwrap(), 4);
}

#[test]
fn tasks_of_a_batch_count_one_by_one() {
    let _scene = Scene::begin();
    let queue = Builder::new().joinable::<u64, Pod>().unwrap();
    queue.put_many(0..5).unwrap();
    assert_eq!(queue.unfinished(), 5);
    let mut got = Vec::new();
    assert_eq!(queue.get_many(&mut got, 3).unwrap(), 3);
    assert_eq!(queue.unfinished(), 5);
    for _ in 0..3 {
        queue.task_done().unwrap();
    }
    assert!(queue.task_done().is_err(), "called too many times");
    assert_eq!(queue.unfinished(), 2);
    assert_eq!(queue.get_many(&mut got, 300).unwrap(), 2);
    assert!(queue.try_get_many(&mut got, 300).is_err());
    assert_eq!(queue.unfinished(), 2);
    queue.task_done().unwrap();
    queue.task_done().unwrap();
    queue.join_timeout(LONG).unwrap();
}

#[test]
fn messages_too_long_for_a_slot_end_a_batch() {
    let _scene = Scene::begin();
    let queue = Builder::new().max_message(10).bounded::<Vec<u8>, Raw>(8).unwrap();
    let error = queue.put_many([vec![1; 10], vec![], vec![3; 11], vec![4]]).unwrap_err();
    assert!(matches!(error.reason, PutReason::TooLarge { len: 11, limit: 10 }), "{error}");
    assert_eq!((error.put, error.rest), (2, vec![vec![3; 11], vec![4]]));
    let mut got = Vec::new();
    assert_eq!(queue.get_many(&mut got, 9).unwrap(), 2);
    assert_eq!(got, [vec![1; 10], vec![]]);
}

/// Every third item lies in blocks, in a pool that holds few of them.
#[test]
fn short_and_long_items_share_a_batch() {
    let _scene = Scene::begin();
    let item = |n: usize| vec![n.to_le_bytes()[0]; if n % 3 == 1 { 3000 + n } else { n % 60 }];
    let small = || Builder::new().slot_size(64).pool_size(16 << 10);
    let queues = [
        small().bounded::<Vec<u8>, Raw>(7).unwrap(),
        small().ring_len(4).unbounded::<Vec<u8>, Raw>().unwrap(),
    ];
    for queue in queues {
        let putting = queue.clone();
        let child = fork(move || {
            for first in (0..400).step_by(40) {
                putting.put_many((first..first + 40).map(item)).unwrap();
            }
            putting.close();
            putting.join_thread().unwrap();
        });
        let mut got = Vec::new();
        while got.len() < 400 {
            queue.get_many_timeout(&mut got, 50, LONG).unwrap();
        }
        assert!(got.into_iter().eq((0..400).map(item)));
        child.join();
    }
    let tasks = small().joinable::<Vec<u8>, Raw>().unwrap();
    tasks.put_many((0..4).map(item)).unwrap();
    let mut got = Vec::new();
    while got.len() < 4 {
        tasks.get_many_timeout(&mut got, 9, LONG).unwrap();
    }
    assert_eq!(tasks.unfinished(), 4);
    (0..4).for_each(|_| tasks.task_done().unwrap());
    assert!(tasks.task_done().is_err(), "called too many times");
}

/// Refuses 13 both ways.
struct Superstitious;

impl Codec<u64> for Superstitious {
    const NAME: &'static str = "superstitious";

    fn encode<R>(
        value: &u64,
        scratch: &mut Vec<u8>,
        sink: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, EncodeError> {
        if *value == 13 {
            return Err(EncodeError("13".into()));
        }
        <Postcard as Codec<u64>>::encode(value, scratch, sink)
    }

    fn decode(bytes: &[u8]) -> Result<u64, DecodeError> {
        match <Postcard as Codec<u64>>::decode(bytes)? {
            14 => Err(DecodeError("14".into())),
            n => Ok(n),
        }
    }
}

#[test]
fn what_cannot_be_encoded_or_decoded_keeps_to_itself() {
    let _scene = Scene::begin();
    let queue = Builder::new().bounded::<u64, Superstitious>(8).unwrap();
    let error = queue.put_many([1, 2, 13, 3]).unwrap_err();
    assert!(matches!(error.reason, PutReason::Encode(_)) && error.put == 2);
    assert_eq!(error.rest, [13, 3]);
    queue.put_many([14, 4]).unwrap();
    let mut got = Vec::new();
    assert!(matches!(queue.get_many(&mut got, 9), Err(GetError::Decode(_))));
    assert_eq!(got, [1, 2, 4]);
    assert!(queue.is_empty());
}

/// A getter that is killed with a batch in hand had it; what it had not claimed goes on.
#[test]
fn a_killed_process_takes_its_batch_along_and_no_more() {
    let _scene = Scene::begin();
    let queue = numbers(10);
    queue.put_many(0..10).unwrap();
    let (took, gate) = (Gate::new(), Gate::new());
    let theirs = queue.clone();
    let child = fork(|| {
        let mut got = Vec::new();
        assert_eq!(theirs.get_many(&mut got, 4).unwrap(), 4);
        took.open();
        gate.pass();
    });
    took.pass();
    child.kill_and_reap();
    let mut got = Vec::new();
    assert_eq!(queue.get_many(&mut got, 99).unwrap(), 6);
    assert_eq!(got, (4..10).collect::<Vec<u64>>());
    queue.put_many(0..10).unwrap();
    assert!(queue.is_full());
}
