//! Batches: whole and in order at the other end, in one piece where there is room, and
//! a prefix of them where something comes in between.

mod common;

use common::{Gate, LONG, Random, SHORT, Scene, fork, pattern};
use ringway_pipe::{
    Builder, Codec, DecodeError, EncodeError, Pod, Postcard, Raw, Receiver, RecvError, SendError,
    Sender,
};
use std::thread;
use std::time::{Duration, Instant};

fn numbers(capacity: u64) -> (Receiver<u64, Pod>, Sender<u64, Pod>) {
    Builder::new().capacity(capacity).simplex().unwrap()
}

#[test]
fn batches_of_any_length_arrive_whole_and_in_order() {
    let _scene = Scene::begin();
    // 4 KiB hold 255 numbers: shorter and longer batches than the ring.
    let (mut receiver, mut sender) = numbers(4096);
    let mut random = Random(7);
    let lengths: Vec<usize> = (0..3000).map(|_| random.below(700)).collect();
    let total: u64 = lengths.iter().map(|len| *len as u64).sum();
    let child = fork(move || {
        let mut next = 0;
        for len in lengths {
            let batch: Vec<u64> = (next..).take(len).collect();
            sender.send_many(&batch).unwrap();
            next += len as u64;
        }
    });
    let mut random = Random(9);
    let mut all = Vec::new();
    loop {
        let (before, max) = (all.len(), random.below(400));
        match receiver.recv_many(&mut all, max) {
            Ok(got) => {
                assert!(got <= max && (got > 0 || max == 0));
                assert_eq!(all.len() - before, got);
            }
            Err(RecvError::Eof) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(all.len() as u64, total);
    assert!((0..).zip(&all).all(|(n, got)| n == *got));
    child.join();
}

#[test]
fn long_messages_stream_amidst_a_batch() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) =
        Builder::new().capacity(4096).simplex::<Vec<u8>, Raw>().unwrap();
    let sizes = [0, 10, 1000, 1016, 1017, 9000, 1, 1, 100_000, 8];
    let batch: Vec<Vec<u8>> = (0..).zip(sizes).map(|(seed, len)| pattern(len, seed)).collect();
    let child = fork(move || {
        let batch: Vec<Vec<u8>> = (0..).zip(sizes).map(|(seed, len)| pattern(len, seed)).collect();
        sender.send_many(&batch).unwrap();
        sender.send_bytes_many(&batch).unwrap();
    });
    let mut got = Vec::new();
    while got.len() < sizes.len() {
        let max = sizes.len() - got.len();
        receiver.recv_many(&mut got, max).unwrap();
    }
    while got.len() < 2 * sizes.len() {
        let max = 2 * sizes.len() - got.len();
        receiver.recv_bytes_many(&mut got, max, None).unwrap();
    }
    assert!(got[..sizes.len()] == batch && got[sizes.len()..] == batch);
    child.join();
}

#[test]
fn a_batch_is_there_at_once() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = numbers(4096);
    let (filled, gate) = (Gate::new(), Gate::new());
    let child = fork(|| {
        sender.send(&0).unwrap();
        sender.send_many(&[1, 2, 3]).unwrap();
        filled.open();
        gate.pass();
    });
    filled.pass();
    let mut got = Vec::new();
    assert_eq!(receiver.recv_many(&mut got, 3).unwrap(), 3);
    assert_eq!(receiver.try_recv_many(&mut got, 3).unwrap(), 1);
    assert_eq!(got, [0, 1, 2, 3]);
    assert!(matches!(receiver.try_recv_many(&mut got, 3), Err(RecvError::Empty)));
    assert_eq!(receiver.try_recv_many(&mut got, 0).unwrap(), 0);
    gate.open();
    child.join();
}

#[test]
fn what_was_not_sent_is_counted() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = numbers(4096);
    let batch: Vec<u64> = (0..1000).collect();
    let error = sender.try_send_many(&batch).unwrap_err();
    // 255 messages of 16 bytes and the reserve of 16.
    assert!(matches!(error.reason, SendError::Full) && error.sent == 255, "{error}");
    let start = Instant::now();
    let error = sender.send_many_timeout(&batch[255..], SHORT).unwrap_err();
    assert!(matches!(error.reason, SendError::Timeout) && error.sent == 0, "{error}");
    assert!(start.elapsed() >= SHORT);
    let mut got = Vec::new();
    assert_eq!(receiver.recv_many_timeout(&mut got, 2000, LONG).unwrap(), 255);
    let error = sender.send_many_timeout(&batch[255..], SHORT).unwrap_err();
    assert!(matches!(error.reason, SendError::Timeout) && error.sent == 255, "{error}");
    assert_eq!(receiver.recv_many(&mut got, 2000).unwrap(), 255);
    assert_eq!(got, batch[..510]);
    let start = Instant::now();
    assert!(matches!(receiver.recv_many_timeout(&mut got, 5, SHORT), Err(RecvError::Timeout)));
    assert!(start.elapsed() >= SHORT);
    drop(receiver);
    let error = loop {
        match sender.send_many(&batch[..10]) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error.reason, SendError::BrokenPipe), "{error}");
}

#[test]
fn a_limit_ends_a_batch_and_loses_nothing() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = Builder::new().simplex::<Vec<u8>, Raw>().unwrap();
    sender.send_bytes_many(&[&[1][..], &[2, 2], &[3, 3, 3], &[4]]).unwrap();
    let mut got = Vec::new();
    assert_eq!(receiver.recv_bytes_many(&mut got, 9, Some(2)).unwrap(), 2);
    let refused = receiver.try_recv_bytes_many(&mut got, 9, Some(2));
    assert!(matches!(refused, Err(RecvError::TooLarge { len: 3, limit: 2 })));
    assert_eq!(receiver.recv_bytes_many(&mut got, 9, None).unwrap(), 2);
    assert_eq!(got, [vec![1], vec![2, 2], vec![3, 3, 3], vec![4]]);
}

/// Refuses 13 both ways, and panics on 666.
struct Superstitious;

impl Codec<u64> for Superstitious {
    const NAME: &'static str = "superstitious";

    fn encode<R>(
        value: &u64,
        scratch: &mut Vec<u8>,
        sink: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, EncodeError> {
        assert_ne!(*value, 666);
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
    let (mut receiver, mut sender) = Builder::new().simplex::<u64, Superstitious>().unwrap();
    sender.send(&0).unwrap();
    let error = sender.send_many(&[1, 2, 13, 3]).unwrap_err();
    assert!(matches!(error.reason, SendError::Encode(_)) && error.sent == 2, "{error}");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        sender.send_many(&[4, 666, 5]).unwrap();
    }));
    assert!(panic.is_err());
    sender.send_many(&[6, 14, 7]).unwrap();
    let mut got = Vec::new();
    let decoded = receiver.recv_many(&mut got, 100);
    assert!(matches!(decoded, Err(RecvError::Decode(_))));
    assert_eq!(got, [0, 1, 2, 4, 6]);
    assert_eq!(receiver.recv_many(&mut got, 100).unwrap(), 1);
    assert_eq!(got.last(), Some(&7));
}

#[test]
fn a_killed_receiver_takes_its_batch_along_and_no_more() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = numbers(1 << 16);
    sender.send_many(&(0..100).collect::<Vec<u64>>()).unwrap();
    let (took, gate) = (Gate::new(), Gate::new());
    let mut copy = Some(receiver);
    let child = fork(|| {
        let mut mine = copy.take().unwrap();
        let mut got = Vec::new();
        assert_eq!(mine.recv_many(&mut got, 40).unwrap(), 40);
        took.open();
        gate.pass();
    });
    receiver = copy.take().unwrap();
    took.pass();
    child.kill_and_reap();
    let mut got = Vec::new();
    assert_eq!(receiver.recv_many(&mut got, 100).unwrap(), 60);
    assert_eq!(got, (40..100).collect::<Vec<u64>>());
}

#[test]
fn a_two_way_end_has_batches_both_ways() {
    let _scene = Scene::begin();
    let (mut a, mut b) = ringway_pipe::duplex::<String>().unwrap();
    a.send_many(&["x".into(), "y".into()]).unwrap();
    let mut got = Vec::new();
    assert_eq!(b.recv_many(&mut got, 8).unwrap(), 2);
    b.send_many(&got).unwrap();
    let mut back = Vec::new();
    assert_eq!(a.recv_many(&mut back, 1).unwrap(), 1);
    assert_eq!(a.recv_many(&mut back, 8).unwrap(), 1);
    assert_eq!(back, ["x", "y"]);
}

#[test]
fn a_batch_of_one_of_many_threads_stays_together() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 300;
    let _scene = Scene::begin();
    // Shorter and longer than the ring: 4 KiB hold 255 numbers.
    let length = |round: u64| [7, 40, 300][usize::try_from(round % 3).unwrap()];
    let batch = move |thread: u64, round: u64| -> Vec<u64> {
        (0..length(round)).map(|i| (thread << 48) | (round << 24) | i).collect()
    };
    let (receiver, sender) = numbers(4096);
    let child = fork(move || {
        let sender = sender.into_shared();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let sender = sender.clone();
                scope.spawn(move || {
                    (0..ROUNDS).for_each(|round| sender.send_many(&batch(thread, round)).unwrap());
                });
            }
        });
    });
    // Each of these gets what follows each other; together they get all, once.
    let receiver = receiver.into_shared();
    let takers: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || {
                let mut taken: Vec<Vec<u64>> = Vec::new();
                loop {
                    let mut got = Vec::new();
                    match receiver.recv_many(&mut got, 64) {
                        Ok(count) => assert_eq!(count, got.len()),
                        Err(RecvError::Eof) => return taken,
                        Err(error) => panic!("{error}"),
                    }
                    taken.push(got);
                }
            })
        })
        .collect();
    let taken: Vec<Vec<u64>> = takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect();
    for got in &taken {
        for pair in got.windows(2) {
            let (thread, round, i) =
                (pair[0] >> 48, pair[0] >> 24 & 0xFF_FFFF, pair[0] & 0xFF_FFFF);
            let last = i + 1 == length(round);
            let follows = if last { pair[1] & 0xFF_FFFF == 0 } else { pair[1] == pair[0] + 1 };
            assert!(follows, "{:x} after item {i} of batch {round} of thread {thread}", pair[1]);
        }
    }
    let mut all = taken.concat();
    all.sort_unstable();
    let batches = (0..THREADS).flat_map(|thread| (0..ROUNDS).map(move |round| (thread, round)));
    assert!(all.into_iter().eq(batches.flat_map(|(thread, round)| batch(thread, round))));
    child.join();
}

#[test]
fn waiting_for_ones_turn_counts_towards_the_time_out_of_a_batch() {
    let _scene = Scene::begin();
    let (receiver, mut sender) = numbers(4096);
    let receiver = receiver.into_shared();
    let other = receiver.clone();
    let blocked = thread::spawn(move || {
        let mut got = Vec::new();
        other.recv_many(&mut got, 10).map(|_| got)
    });
    thread::sleep(Duration::from_millis(30));
    let mut got = Vec::new();
    assert!(matches!(receiver.try_recv_many(&mut got, 10), Err(RecvError::Empty)));
    let late = receiver.recv_many_timeout(&mut got, 10, SHORT);
    assert!(matches!(late, Err(RecvError::Timeout)) && got.is_empty());
    sender.send_many(&[1, 2, 3]).unwrap();
    assert_eq!(blocked.join().unwrap().unwrap(), [1, 2, 3]);

    let sender = sender.into_shared();
    let other = sender.clone();
    let blocked = thread::spawn(move || other.send_many(&[4; 1000]));
    thread::sleep(Duration::from_millis(30));
    let error = sender.try_send_many(&[5]).unwrap_err();
    assert!(matches!(error.reason, SendError::Full) && error.sent == 0, "{error}");
    let error = sender.send_many_timeout(&[5], SHORT).unwrap_err();
    assert!(matches!(error.reason, SendError::Timeout) && error.sent == 0, "{error}");
    // Wakes the one that is amidst its batch; what it has sent stays.
    sender.close();
    let error = blocked.join().unwrap().unwrap_err();
    assert!(matches!(error.reason, SendError::Closed) && error.sent == 255, "{error}");
    let error = sender.send_bytes_many(&[[0; 8]]).unwrap_err();
    assert!(matches!(error.reason, SendError::Closed) && error.sent == 0, "{error}");
    assert_eq!(receiver.recv_many(&mut got, 1000).unwrap(), 255);
    assert_eq!(got, [4; 255]);
}
