//! The byte ring over heap memory: framing, wrap-around, streaming, hostile positions.
//! One thread plays both sides, so that every interleaving is chosen by the test.
#![cfg(not(loom))]

use ringway_core::memory::{Heap, Memory};
use ringway_core::spsc::{CONTROL_LEN, Consumer, Direction, Piece, Producer, PushError};
use ringway_core::sync::Ordering::SeqCst;

fn memory(capacity: u64) -> (Memory, Direction) {
    let len = CONTROL_LEN + capacity;
    let memory = Memory::new(Heap::new(usize::try_from(len).unwrap()));
    let ring = Direction::new(&memory, 0, CONTROL_LEN, capacity).unwrap();
    (memory, ring)
}

fn sides(capacity: u64) -> (Producer, Consumer) {
    let (_, ring) = memory(capacity);
    (Producer::new(ring.clone()).unwrap(), Consumer::new(ring).unwrap())
}

fn take(consumer: &mut Consumer) -> Option<Vec<u8>> {
    let head = consumer.head().unwrap()?;
    let mut bytes = vec![0; head.len];
    consumer.take(head, &mut bytes);
    Some(bytes)
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + seed * 7) % 251).unwrap()).collect()
}

#[test]
fn messages_of_every_length_come_out_as_they_went_in() {
    // Lengths that are no multiples of 8 make the wrap fall at every place.
    let (mut producer, mut consumer) = sides(256);
    for round in 0..2000 {
        let message = pattern(round % (producer.try_limit() + 1), round);
        producer.try_push(&message).unwrap();
        assert_eq!(take(&mut consumer).unwrap(), message, "round {round}");
        assert_eq!(take(&mut consumer), None);
    }
}

#[test]
fn a_full_ring_refuses_and_keeps_what_it_has() {
    let (mut producer, mut consumer) = sides(128);
    let mut sent = 0_u64;
    while producer.try_push(&sent.to_ne_bytes()).is_ok() {
        sent += 1;
    }
    // 128 bytes hold 7 chunks of 16 and the reserve of 16.
    assert_eq!(sent, 7);
    assert_eq!(producer.try_push(&[0; 8]), Err(PushError::Full));
    assert!(!producer.has_room(8).unwrap());
    for i in 0..sent {
        assert_eq!(take(&mut consumer).unwrap(), i.to_ne_bytes());
    }
    assert!(producer.has_room(8).unwrap());
    assert_eq!(producer.try_push(&[0; 200]), Err(PushError::TooLong));
}

#[test]
fn a_long_message_streams_through_a_small_ring() {
    for capacity in [64, 128, 4096] {
        for len in [1, 63, 64, 65, 1000, 10_007] {
            let (mut producer, mut consumer) = sides(capacity);
            let message = pattern(len, 1);
            producer.begin(len as u64);
            let (mut sent, mut got, mut ended) = (0, Vec::new(), false);
            while !ended {
                if producer.streaming() {
                    sent += producer.push_part(&message[sent..], len as u64).unwrap();
                }
                while let Some(head) = consumer.head().unwrap() {
                    if let Piece::First { total } = head.piece {
                        assert_eq!(total, len as u64);
                    }
                    ended = matches!(head.piece, Piece::Whole | Piece::Last);
                    let at = got.len();
                    got.resize(at + head.len, 0);
                    consumer.take(head, &mut got[at..]);
                }
            }
            assert!(!producer.streaming());
            assert_eq!(got, message, "{len} bytes through {capacity}");
        }
    }
}

#[test]
fn an_abort_finds_room_in_a_ring_that_is_full() {
    let (mut producer, mut consumer) = sides(64);
    let message = pattern(1000, 2);
    producer.begin(1000);
    let mut sent = 0;
    loop {
        match producer.push_part(&message[sent..], 1000).unwrap() {
            0 => break,
            n => sent += n,
        }
    }
    producer.abort();
    let mut last = None;
    while let Some(head) = consumer.head().unwrap() {
        last = Some(head.piece);
        consumer.release(head);
    }
    assert_eq!(last, Some(Piece::Abort));
    producer.try_push(b"after").unwrap();
    assert_eq!(take(&mut consumer).unwrap(), b"after");
}

#[test]
fn aborts_of_what_was_never_begun_take_no_room() {
    let (mut producer, mut consumer) = sides(64);
    while producer.try_push(&[5; 8]).is_ok() {}
    for _ in 0..10 {
        producer.begin(1000);
        assert_eq!(producer.push_part(&[0; 1000], 1000).unwrap(), 0);
        producer.abort();
        assert!(!producer.streaming());
    }
    let mut pieces = Vec::new();
    while let Some(head) = consumer.head().unwrap() {
        pieces.push(head.piece);
        consumer.release(head);
    }
    assert_eq!(pieces, [Piece::Whole; 3]);
}

#[test]
fn a_successor_goes_on_where_the_last_one_stopped() {
    let (_, ring) = memory(256);
    Producer::new(ring.clone()).unwrap().try_push(b"one").unwrap();
    Producer::new(ring.clone()).unwrap().try_push(b"two").unwrap();
    assert_eq!(take(&mut Consumer::new(ring.clone()).unwrap()).unwrap(), b"one");
    assert_eq!(take(&mut Consumer::new(ring).unwrap()).unwrap(), b"two");
}

#[test]
fn a_chunk_that_was_published_but_not_noted_down_counts() {
    // Its writer was killed between the two stores.
    let (memory, ring) = memory(64);
    let mut consumer = Consumer::new(ring.clone()).unwrap();
    for i in 0..20_u64 {
        Producer::new(ring.clone()).unwrap().try_push(&i.to_ne_bytes()).unwrap();
        memory.word64(0).unwrap().store(16 * i, SeqCst);
        let mut taken = Vec::new();
        // The consumer may have it before or after the successor comes.
        if i % 2 == 0 {
            taken = take(&mut consumer).unwrap();
        }
        let mut producer = Producer::new(ring.clone()).unwrap();
        if i % 2 == 1 {
            taken = take(&mut consumer).unwrap();
        }
        assert_eq!(taken, i.to_ne_bytes());
        assert_eq!(take(&mut consumer), None);
        assert!(producer.has_room(producer.try_limit()).unwrap());
    }
}

#[test]
fn bytes_of_an_earlier_lap_are_never_taken_for_a_header() {
    // Every payload word looks like the header of a whole message at the place where it
    // lies one lap later.
    let (mut producer, mut consumer) = sides(256);
    let mut at = 0_u64;
    for round in 0..3000_u64 {
        let len = (round * 24) % 200 / 8 * 8;
        let words = (0..len / 8).map(|word| {
            let place = at + 8 + word * 8 + 256;
            8 | 3 << 32 | !(place >> 3) << 40
        });
        let message: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        producer.try_push(&message).unwrap();
        assert_eq!(take(&mut consumer).unwrap(), message);
        assert_eq!(take(&mut consumer), None, "round {round}");
        at += 8 + len;
    }
}

#[test]
fn positions_near_the_end_of_u64_wrap() {
    let (memory, ring) = memory(64);
    let start = 0_u64.wrapping_sub(128);
    memory.word64(0).unwrap().store(start, SeqCst);
    memory.word64(128).unwrap().store(start, SeqCst);
    let mut producer = Producer::new(ring.clone()).unwrap();
    let mut consumer = Consumer::new(ring).unwrap();
    for i in 0..64_u64 {
        producer.try_push(&i.to_ne_bytes()).unwrap();
        assert_eq!(take(&mut consumer).unwrap(), i.to_ne_bytes());
    }
}

#[test]
fn hostile_positions_are_corrupted_and_never_followed() {
    for bad in [8 + 64, 0_u64.wrapping_sub(8), 1 << 63, 3] {
        let (memory, ring) = memory(64);
        let mut producer = Producer::new(ring.clone()).unwrap();
        let consumer = Consumer::new(ring.clone()).unwrap();
        // The consumer does not look at it; a new producer does.
        memory.word64(0).unwrap().store(bad, SeqCst);
        assert_eq!(consumer.head(), Ok(None));
        assert!(Producer::new(ring.clone()).is_err(), "write_pos {bad:#x}");
        memory.word64(128).unwrap().store(bad, SeqCst);
        // Fill what the producer thinks is free; then it must look, and see.
        let seen = (0..8).find_map(|_| producer.try_push(&[0; 8]).err());
        assert!(matches!(seen, Some(PushError::Corrupted(_))), "read_pos {bad:#x}: {seen:?}");
    }
}

#[test]
fn hostile_headers_are_corrupted_and_never_followed() {
    let (memory, ring) = memory(64);
    let mut producer = Producer::new(ring.clone()).unwrap();
    let mut consumer = Consumer::new(ring).unwrap();
    producer.try_push(&[1; 8]).unwrap();
    let header = memory.word64(CONTROL_LEN).unwrap();
    let good = header.load(SeqCst);
    for bit in 0..64 {
        header.store(good ^ (1 << bit), SeqCst);
        // Some lengths and flags are possible; none may reach outside the ring.
        if let Ok(Some(head)) = consumer.head() {
            assert!(head.len <= 48, "bit {bit}");
        }
    }
    header.store(good, SeqCst);
    assert_eq!(take(&mut consumer).unwrap(), [1; 8]);
}

#[test]
fn a_batch_shows_when_it_ends_and_takes_its_room_back_when_it_ends() {
    let (mut producer, mut consumer) = sides(4096);
    let mut writing = producer.writing();
    for n in 0..10_u64 {
        assert!(writing.push(&n.to_ne_bytes()));
    }
    assert_eq!(consumer.whole(), None, "nothing was published");
    drop(writing);
    let mut reading = consumer.reading();
    for n in 0..10_u64 {
        let mut bytes = [0; 8];
        assert_eq!(reading.whole(), Some(8));
        reading.take(&mut bytes);
        assert_eq!(u64::from_ne_bytes(bytes), n);
    }
    assert_eq!(reading.whole(), None);
    // The writer finds no more room than the unreleased batch leaves.
    let mut writing = producer.writing();
    let mut more = 0;
    while writing.push(&[0; 8]) {
        more += 1;
    }
    assert_eq!(more, (4096 - 10 * 16 - 16) / 16);
    drop(reading);
    assert!(writing.push(&[0; 8]));
}

#[test]
fn a_batch_longer_than_a_quarter_of_the_ring_shows_in_parts() {
    let (mut producer, mut consumer) = sides(4096);
    let mut writing = producer.writing();
    let message = [0; 504];
    assert!(writing.push(&message) && consumer.whole().is_none());
    assert!(writing.push(&message) && consumer.whole() == Some(504));
    assert!(writing.push(&message));
    drop(writing);
    let mut reading = consumer.reading();
    for _ in 0..3 {
        reading.take(&mut [0; 504]);
    }
    assert_eq!(reading.whole(), None);
}

/// And not one message less or more: what is not read yet must not be overwritten.
#[test]
fn a_batch_gives_its_room_back_at_each_quarter_of_the_ring() {
    for exact in [false, true] {
        let (mut producer, mut consumer) = sides(4096);
        let message = [7; 504];
        while producer.try_push(&message).is_ok() {}
        let mut reading = consumer.reading();
        for quarter in 0..3 {
            for (n, room) in [(0, 0), (1, 2)] {
                let mut read = [0; 504];
                if exact {
                    assert!(reading.take_exact(&mut read));
                } else {
                    reading.take(&mut read);
                }
                let more = (0..5).take_while(|_| producer.try_push(&message).is_ok()).count();
                assert_eq!((read, more), (message, room), "message {n} of quarter {quarter}");
            }
        }
        drop(reading);
    }
}

/// Its reader may be gone before it has released them.
#[test]
fn what_a_forgotten_batch_did_not_release_comes_again() {
    let (mut producer, mut consumer) = sides(4096);
    for n in 0..200_u64 {
        producer.try_push(&n.to_ne_bytes()).unwrap();
    }
    let mut reading = consumer.reading();
    for _ in 0..125 {
        assert!(reading.take_exact(&mut [0; 8]));
    }
    std::mem::forget(reading);
    // 64 messages are a quarter of the ring.
    let (mut reading, mut bytes) = (consumer.reading(), [0; 8]);
    assert!(reading.take_exact(&mut bytes));
    assert_eq!(u64::from_ne_bytes(bytes), 64);
}

/// Batches of messages of any lengths come out as they went in, however often the ring comes
/// round, and no part of more than a quarter of it stays hidden.
#[test]
fn batches_of_all_lengths_come_round() {
    let (mut producer, mut consumer) = sides(1024);
    let (mut sent, mut taken) = (0_usize, 0_usize);
    let len = |n: usize| if n.is_multiple_of(5) { n % 100 } else { 8 };
    while taken < 5000 {
        let mut writing = producer.writing();
        let mut hidden = 0;
        while writing.push(&pattern(len(sent), sent)) {
            hidden += 8 + len(sent).next_multiple_of(8);
            sent += 1;
            if hidden >= 256 {
                assert!(consumer.whole().is_some(), "message {sent}");
            }
            if sent.is_multiple_of(41) {
                break;
            }
        }
        drop(writing);
        let mut reading = consumer.reading();
        while taken < sent {
            let expected = pattern(len(taken), taken);
            let (mut exact, mut wrong) = (vec![0; expected.len()], vec![0; expected.len() + 1]);
            assert!(!reading.take_exact(&mut wrong), "of another length");
            assert!(reading.take_exact(&mut exact), "message {taken}");
            assert_eq!(exact, expected, "message {taken}");
            taken += 1;
        }
        assert!(!reading.take_exact(&mut []) && reading.whole().is_none());
        drop(reading);
    }
}

#[test]
fn a_batch_that_was_published_but_not_noted_down_counts() {
    let (memory, ring) = memory(256);
    let mut consumer = Consumer::new(ring.clone()).unwrap();
    let (mut next, mut noted) = (0_u64, 0);
    for round in 0..50_u64 {
        let mut producer = Producer::new(ring.clone()).unwrap();
        let first = next;
        let mut writing = producer.writing();
        // Less than a quarter of the ring: one store.
        for _ in 0..1 + round % 3 {
            assert!(writing.push(&next.to_ne_bytes()));
            next += 1;
        }
        drop(writing);
        // Its writer was killed between the two stores.
        memory.word64(0).unwrap().store(noted, SeqCst);
        noted += 16 * (next - first);
        let mut take_all = || {
            for n in first..next {
                assert_eq!(take(&mut consumer).unwrap(), n.to_ne_bytes(), "round {round}");
            }
            assert_eq!(take(&mut consumer), None);
        };
        if round % 2 == 0 {
            take_all();
        }
        let mut producer = Producer::new(ring.clone()).unwrap();
        if round % 2 == 1 {
            take_all();
        }
        assert!(producer.has_room(producer.try_limit()).unwrap());
        memory.word64(0).unwrap().store(noted, SeqCst);
    }
}

/// A writer is killed amidst a batch: nothing of it is there, and what it left behind is
/// never taken for a message.
#[test]
fn a_batch_that_was_not_published_never_was() {
    let (_, ring) = memory(256);
    let mut consumer = Consumer::new(ring.clone()).unwrap();
    for round in 0..100_usize {
        let mut dead = Producer::new(ring.clone()).unwrap();
        let mut writing = dead.writing();
        assert!(writing.push(&[0xDD; 8]) && writing.push(&[0xDD; 8]) && writing.push(&[0xDD; 8]));
        std::mem::forget(writing);
        assert_eq!(take(&mut consumer), None);
        let message = pattern(round % 40, round);
        let mut producer = Producer::new(ring.clone()).unwrap();
        producer.try_push(&message).unwrap();
        assert_eq!(take(&mut consumer).unwrap(), message);
        assert_eq!(take(&mut consumer), None, "round {round}");
    }
}
