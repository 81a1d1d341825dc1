//! Grants: messages written and read in place are messages like any other, whatever
//! becomes of the grant.
#![allow(unsafe_code, reason = "raw parts of a grant")]

mod common;

use common::{Gate, LONG, Random, SHORT, SOON, Scene, fork, pattern};
use ringway_pipe::{Builder, Pod, Raw, ReadGrant, Receiver, RecvError, SendError, Sender};
use std::io::{Read, Write};
use std::time::Instant;

type Bytes = Vec<u8>;

fn raw(capacity: u64) -> (Receiver<Bytes, Raw>, Sender<Bytes, Raw>) {
    Builder::new().capacity(capacity).simplex().unwrap()
}

#[test]
fn every_length_and_place_of_the_wrap() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    let mut random = Random(3);
    let sizes: Vec<usize> = (0..5000).map(|_| random.below(4073)).chain([0, 4072]).collect();
    let lens = sizes.clone();
    let child = fork(move || {
        let mut random = Random(4);
        for (seed, len) in (1..).zip(lens) {
            let message = pattern(len, seed);
            let mut grant = sender.reserve(len).unwrap();
            assert_eq!((grant.len(), grant.is_empty()), (len, len == 0));
            // In two pieces, the later one first.
            let (before, after) = message.split_at(random.below(len + 1));
            grant.write_at(before.len(), after).unwrap();
            grant.write_at(0, before).unwrap();
            grant.commit().unwrap();
        }
    });
    let mut random = Random(5);
    for (seed, len) in (1..).zip(sizes) {
        let expected = pattern(len, seed);
        let grant = receiver.recv_ref().unwrap();
        assert_eq!(grant.len(), len);
        assert!(grant.to_vec() == expected, "message {seed} of {len} bytes");
        let (from, mut part) = (random.below(len + 1), vec![0; len]);
        let part = &mut part[from..];
        grant.read_at(from, part).unwrap();
        assert!(*part == expected[from..]);
        grant.release();
    }
    assert!(matches!(receiver.recv_ref(), Err(RecvError::Eof)));
    child.join();
}

#[test]
fn grants_and_copies_go_together() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(1 << 16);
    let mut grant = sender.reserve(5).unwrap();
    grant.write_at(0, b"hello").unwrap();
    grant.commit().unwrap();
    sender.send_bytes(b"world").unwrap();
    assert_eq!(receiver.recv_bytes(None).unwrap(), b"hello");
    assert_eq!(receiver.recv_ref().unwrap().to_vec(), b"world");
    assert!(matches!(receiver.try_recv_ref(), Err(RecvError::Empty)));
}

#[test]
fn plain_old_data_is_stored_and_loaded() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = Builder::new().simplex::<[u32; 3], Pod>().unwrap();
    let mut grant = sender.reserve(12).unwrap();
    grant.store(0, &7_u32).unwrap();
    grant.store(4, &[8_u32, 9]).unwrap();
    assert!(grant.store(9, &1_u32).is_err() && grant.store(usize::MAX, &1_u8).is_err());
    grant.commit().unwrap();
    assert_eq!(receiver.recv().unwrap(), [7, 8, 9]);
    sender.send(&[1, 2, 3]).unwrap();
    let grant = receiver.recv_ref().unwrap();
    assert_eq!(grant.values::<u32>().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(grant.values::<u64>().count(), 1);
    assert_eq!(grant.load::<u16>(8).unwrap(), 3);
    assert_eq!(grant.load::<[u8; 5]>(3).unwrap(), [0, 2, 0, 0, 0]);
    let error = grant.load::<u32>(10).unwrap_err();
    assert_eq!(error.to_string(), "4 bytes from offset 10 are not inside a message of 12 bytes");
}

/// Wherever the ring comes round, and whatever their size is.
#[test]
fn values_are_the_bytes_in_order() {
    fn check<const N: usize>(grant: &ReadGrant<'_>, bytes: &[u8]) {
        let expected = bytes.as_chunks::<N>().0;
        assert!(grant.values::<[u8; N]>().eq(expected.iter().copied()), "{N} of {}", bytes.len());
        let folded =
            grant.values::<[u8; N]>().fold(0, |n, value| n + usize::from(value == expected[n]));
        assert_eq!(folded, expected.len(), "{N} of {}, folded", bytes.len());
    }
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    let bytes: Vec<u8> = (0..=250).cycle().take(1000).collect();
    for len in (0..200).chain(800..1000) {
        sender.send_bytes(&bytes[..len]).unwrap();
        let grant = receiver.recv_ref().unwrap();
        check::<1>(&grant, &bytes[..len]);
        check::<4>(&grant, &bytes[..len]);
        check::<8>(&grant, &bytes[..len]);
        check::<12>(&grant, &bytes[..len]);
        check::<64>(&grant, &bytes[..len]);
        check::<72>(&grant, &bytes[..len]);
    }
}

#[test]
fn readers_writers_and_a_shorter_message() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    for round in 0..200 {
        let mut grant = sender.reserve(100).unwrap();
        let mut writer = grant.writer();
        write!(writer, "round {round}").unwrap();
        let written = writer.written();
        assert!(writer.write_all(&[0; 101]).is_err(), "no more than was reserved");
        grant.commit_prefix(written).unwrap();
        let grant = receiver.recv_ref().unwrap();
        let mut text = String::new();
        grant.reader().read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("round {round}"));
    }
}

#[test]
fn parts_point_to_the_message() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    let mut wrapped = 0;
    for seed in 0..50 {
        let message = pattern(1500, seed);
        let mut grant = sender.reserve(1500).unwrap();
        let mut at = 0;
        for part in grant.parts() {
            // SAFETY: a part of the granted room, which nobody else writes in this test; the
            // lengths add up to that of the message.
            unsafe { part.cast::<u8>().copy_from(message[at..].as_ptr(), part.len()) };
            at += part.len();
        }
        assert_eq!(at, 1500);
        grant.commit().unwrap();
        let grant = receiver.recv_ref().unwrap();
        let mut got = Vec::new();
        for part in grant.parts() {
            wrapped += usize::from(part.len() < 1500 && !part.is_empty());
            let mut copy = vec![0; part.len()];
            // SAFETY: as above, the other way.
            unsafe { copy.as_mut_ptr().copy_from(part.cast(), part.len()) };
            got.append(&mut copy);
        }
        assert!(got == message, "message {seed}");
    }
    assert!(wrapped > 0, "no message went round the end");
}

#[test]
fn a_dropped_reservation_and_a_forgotten_message_change_nothing() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    for _ in 0..100 {
        let mut grant = sender.reserve(1000).unwrap();
        grant.write_at(0, &[0xEE; 1000]).unwrap();
        drop(grant);
        drop(sender.reserve(4000).unwrap());
    }
    assert!(matches!(receiver.try_recv_ref(), Err(RecvError::Empty)));
    sender.send_bytes(b"first").unwrap();
    sender.send_bytes(b"second").unwrap();
    std::mem::forget(receiver.recv_ref().unwrap());
    assert_eq!(receiver.recv_ref().unwrap().to_vec(), b"first");
    assert_eq!(receiver.recv_ref().unwrap().to_vec(), b"second");
}

#[test]
fn room_is_given_back_with_the_grant_and_not_before() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    sender.reserve(4000).unwrap().commit().unwrap();
    assert!(matches!(sender.try_reserve(1000), Err(SendError::Full)));
    let start = Instant::now();
    assert!(matches!(sender.reserve_timeout(1000, SHORT), Err(SendError::Timeout)));
    assert!(start.elapsed() >= SHORT);
    let grant = receiver.recv_ref_timeout(LONG).unwrap();
    assert!(matches!(sender.try_reserve(1000), Err(SendError::Full)));
    let waiting = std::thread::spawn(move || {
        let grant = sender.reserve_timeout(1000, LONG).map(drop);
        (grant.is_ok(), Instant::now())
    });
    std::thread::sleep(SHORT);
    let released = Instant::now();
    drop(grant);
    let (got, when) = waiting.join().unwrap();
    assert!(got && when >= released && when < released + SOON);
    let start = Instant::now();
    assert!(matches!(receiver.recv_ref_timeout(SHORT), Err(RecvError::Timeout | RecvError::Eof)));
    assert!(start.elapsed() < SOON);
}

#[test]
fn messages_longer_than_the_ring_are_refused_by_name() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    let refused = sender.reserve(4073).map(drop).unwrap_err();
    assert!(matches!(refused, SendError::WouldStream { len: 4073, limit: 4072 }), "{refused}");
    assert!(sender.reserve(usize::MAX).is_err());
    let sending = std::thread::spawn(move || sender.send_bytes(&pattern(9000, 1)).unwrap());
    let refused = receiver.recv_ref().map(drop).unwrap_err();
    assert!(matches!(refused, RecvError::Streamed { len: 9000 }), "{refused}");
    assert!(receiver.recv_bytes(None).unwrap() == pattern(9000, 1), "it stayed");
    sending.join().unwrap();
}

#[test]
fn a_killed_holder_of_a_message_leaves_it_to_its_successor() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    sender.send_bytes(b"first").unwrap();
    sender.send_bytes(b"second").unwrap();
    let (holds, gate) = (Gate::new(), Gate::new());
    let mut copy = Some(receiver);
    let child = fork(|| {
        let mut mine = copy.take().unwrap();
        mine.recv_ref().unwrap().release();
        let grant = mine.recv_ref().unwrap();
        assert_eq!(grant.to_vec(), b"second");
        holds.open();
        gate.pass();
        grant.release();
    });
    receiver = copy.take().unwrap();
    holds.pass();
    assert!(matches!(receiver.try_recv_ref(), Err(RecvError::EndInUse { .. })));
    child.kill_and_reap();
    assert_eq!(receiver.recv_ref().unwrap().to_vec(), b"second");
}

#[test]
fn a_forked_copy_of_a_grant_does_nothing() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    sender.send_bytes(b"first").unwrap();
    let mut writing = Some(sender.reserve(5).unwrap());
    let mut reading = Some(receiver.recv_ref().unwrap());
    fork(|| {
        let refused = writing.take().unwrap().commit().unwrap_err();
        assert!(matches!(refused, SendError::EndInUse { .. }), "{refused}");
        drop(reading.take());
    })
    .join();
    let grant = reading.unwrap();
    assert_eq!(grant.to_vec(), b"first");
    grant.release();
    let mut grant = writing.unwrap();
    grant.write_at(0, b"third").unwrap();
    grant.commit().unwrap();
    assert_eq!(receiver.recv_bytes(None).unwrap(), b"third");
}

#[test]
fn a_receiver_that_left_breaks_the_pipe_for_grants_too() {
    let _scene = Scene::begin();
    let (receiver, mut sender) = raw(4096);
    let grant = sender.reserve(5).unwrap();
    drop(receiver);
    // Sent, or known to be in vain.
    let committed = grant.commit();
    assert!(matches!(committed, Ok(()) | Err(SendError::BrokenPipe)));
    assert!(matches!(sender.reserve(5), Err(SendError::BrokenPipe)));
    let (mut receiver, sender) = raw(4096);
    drop(sender);
    assert!(matches!(receiver.recv_ref(), Err(RecvError::Eof)));
    receiver.close();
    assert!(matches!(receiver.recv_ref(), Err(RecvError::Closed)));
}
