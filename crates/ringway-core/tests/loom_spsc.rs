//! Every interleaving, and every value that weak memory allows, of one producer and one
//! consumer on the real ring. Run with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ringway-core --test loom_spsc`.
//!
//! Payload bytes are relaxed words here: a reader sees stale ones unless the ring's own
//! orderings forbid it.
#![cfg(loom)]

use loom::thread;
use ringway_core::memory::Memory;
use ringway_core::spsc::{CONTROL_LEN, Consumer, Direction, Producer, PushError};
use ringway_core::wait::{Deadline, Parked, Spinner, WaitPolicy, Waker, park};

const CAPACITY: u64 = 64;

fn ring() -> Direction {
    let len = usize::try_from(CONTROL_LEN + CAPACITY).unwrap();
    let memory = Memory::modelled(len);
    Direction::new(&memory, 0, CONTROL_LEN, CAPACITY).unwrap()
}

fn take(consumer: &mut Consumer) -> Option<u64> {
    let head = consumer.head().unwrap()?;
    let mut bytes = [0; 8];
    consumer.take(head, &mut bytes);
    Some(u64::from_ne_bytes(bytes))
}

/// ring-publish: whoever sees the header sees the chunk, and that nothing is after it yet.
#[test]
fn a_published_message_is_whole() {
    loom::model(|| {
        let ring = ring();
        let mut producer = Producer::new(ring.clone()).unwrap();
        let sender = thread::spawn(move || {
            producer.try_push(&7_u64.to_ne_bytes()).unwrap();
            producer.try_push(&8_u64.to_ne_bytes()).unwrap();
        });
        let mut consumer = Consumer::new(ring).unwrap();
        let seen: Vec<u64> = (0..2).filter_map(|_| take(&mut consumer)).collect();
        assert!([&[][..], &[7], &[7, 8]].contains(&&*seen), "{seen:?}");
        sender.join().unwrap();
    });
}

/// ring-release: a chunk is not overwritten before it was read. Loom runs loads in program
/// order, so this cannot show a weakened edge (it was tried); it shows the arithmetic.
#[test]
fn a_chunk_is_overwritten_only_after_it_was_read() {
    loom::model(|| {
        let ring = ring();
        let mut producer = Producer::new(ring.clone()).unwrap();
        // Three chunks of 16 bytes fill the 64 bytes less the reserve.
        for i in 0..3_u64 {
            producer.try_push(&i.to_ne_bytes()).unwrap();
        }
        let sender = thread::spawn(move || {
            // Lands where chunk 0 was, once that is released.
            for i in 3..5_u64 {
                if producer.try_push(&i.to_ne_bytes()) == Err(PushError::Full) {
                    return;
                }
            }
        });
        let mut consumer = Consumer::new(ring).unwrap();
        for i in 0..3 {
            assert_eq!(take(&mut consumer), Some(i));
        }
        sender.join().unwrap();
    });
}

/// ring-publish: the word after a chunk is emptied before the chunk is seen, whatever an
/// earlier lap left there. A stale word would be Corrupted, and `take` would panic.
#[test]
fn an_earlier_lap_is_never_taken_for_a_chunk() {
    loom::model(|| {
        let ring = ring();
        let mut producer = Producer::new(ring.clone()).unwrap();
        let mut consumer = Consumer::new(ring).unwrap();
        // Payload at the places of the headers that follow one lap later.
        for i in 0..2_u8 {
            producer.try_push(&[0xA0 + i; 24]).unwrap();
            let head = consumer.head().unwrap().unwrap();
            consumer.release(head);
        }
        let sender = thread::spawn(move || {
            producer.try_push(&7_u64.to_ne_bytes()).unwrap();
            producer.try_push(&8_u64.to_ne_bytes()).unwrap();
        });
        let seen: Vec<u64> = (0..2).filter_map(|_| take(&mut consumer)).collect();
        assert!([&[][..], &[7], &[7, 8]].contains(&&*seen), "{seen:?}");
        sender.join().unwrap();
    });
}

/// event-announce: a receiver that sleeps is woken, whatever the timing. Both barriers are
/// full fences here; litmus tests cover the real ones.
#[test]
fn a_sleeping_receiver_is_woken() {
    loom::model(|| {
        let ring = ring();
        let mut producer = Producer::new(ring.clone()).unwrap();
        let sender = thread::spawn(move || {
            producer.try_push(&7_u64.to_ne_bytes()).unwrap();
            producer.ring().readable.notify();
        });
        let mut consumer = Consumer::new(ring).unwrap();
        let event = consumer.ring().readable.clone();
        let mut spinner = Spinner::new(WaitPolicy::Block);
        let ready = || Ok::<_, ()>(consumer.is_ready());
        let waker = || Waker { reachable: true, death_is_heard: true };
        let parked = park(&event, &mut spinner, Deadline::NEVER, waker, ready);
        assert_eq!(parked, Ok(Parked::Ready));
        assert_eq!(take(&mut consumer), Some(7));
        sender.join().unwrap();
    });
}
