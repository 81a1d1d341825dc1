//! The byte ring over any bytes.

use crate::{Input, bounded};
use ringway_core::memory::{Heap, Memory};
use ringway_core::spsc::{CONTROL_LEN, Consumer, Direction, Producer};

/// A ring of `capacity` bytes on the heap.
pub fn memory(capacity: u64) -> Memory {
    Memory::new(Heap::new((CONTROL_LEN + capacity) as usize))
}

/// Whether the code under test uses the words at `at` in halves: the events and
/// departure counts of a control block at 0.
pub fn is_narrow(at: u64) -> bool {
    (256..512).contains(&at)
}

/// A ring and the handles of both sides, as long as they are of use.
pub struct Sides {
    ring: Direction,
    producer: Option<Producer>,
    consumer: Option<Consumer>,
}

impl Sides {
    /// The ring in `memory`, with nobody at either side.
    pub fn new(memory: &Memory, capacity: u64) -> Self {
        let ring = Direction::new(memory, 0, CONTROL_LEN, capacity).expect("it fits");
        Self { ring, producer: None, consumer: None }
    }

    /// One operation of either side.
    pub fn step(&mut self, input: &mut Input) {
        let Self { ring, producer, consumer } = self;
        let what = input.byte();
        if what >= 0xF0 || producer.is_none() && consumer.is_none() {
            // A handle that saw nonsense is of no further use, but of no harm either.
            *producer = bounded(|| Producer::new(ring.clone())).ok().or(producer.take());
            *consumer = bounded(|| Consumer::new(ring.clone())).ok().or(consumer.take());
            return;
        }
        if let (true, Some(producer)) = (what & 1 == 0, &mut *producer) {
            bounded(|| send(producer, what >> 1, input));
        } else if let Some(consumer) = consumer {
            bounded(|| receive(consumer, what >> 1));
        }
    }
}

fn send(producer: &mut Producer, what: u8, input: &mut Input) {
    const MESSAGE: [u8; 700] = [0xA5; 700];
    let message = &MESSAGE[..input.below(MESSAGE.len())];
    match what % 10 {
        8 if !producer.streaming() => {
            let mut batch = producer.writing();
            while batch.push(message) {}
        }
        9 if !producer.streaming() => {
            if producer.reserve(message.len()).is_ok() {
                let place = producer.reserved(message.len());
                place.write_at(0, message).expect("it was reserved");
                assert!(place.write_at(1, message).is_err() || message.is_empty());
                producer.commit(message.len() / 2);
            }
        }
        0 => drop(producer.push_whole(message)),
        1 | 2 => drop(producer.try_push(message)),
        3 => drop(producer.has_room(message.len())),
        _ if message.is_empty() || producer.streaming() => producer.abort(),
        kind => {
            let total = message.len() as u64;
            producer.begin(total);
            let mut rest = message;
            while let Ok(sent @ 1..) = producer.push_part(rest, total) {
                rest = &rest[sent..];
                if rest.is_empty() {
                    break;
                }
            }
            if kind != 7 || !rest.is_empty() {
                producer.abort();
            }
        }
    }
    producer.ring().readable.notify();
}

fn receive(consumer: &mut Consumer, what: u8) {
    let capacity = consumer.ring().capacity() as usize;
    let mut buffer = vec![0; capacity];
    match what % 6 {
        4 => {
            let mut batch = consumer.reading();
            // A peer that writes all the time must not keep us here.
            for _ in 0..capacity {
                if batch.take_exact(&mut buffer[..8]) || batch.take_exact(&mut buffer[..40]) {
                    continue;
                }
                let Some(len) = batch.whole() else { break };
                batch.take(&mut buffer[..len]);
            }
        }
        5 => {
            if let Ok(Some(head)) = consumer.head() {
                let place = consumer.payload(head);
                place.read_at(0, &mut buffer[..head.len]).expect("it lies in the ring");
                assert!(place.read_at(head.len, &mut [0; 1]).is_err());
                consumer.release(head);
            }
        }
        0 => {
            if let Some(len) = consumer.whole() {
                assert!(len <= capacity, "a message longer than the ring");
                consumer.take_whole(&mut buffer[..len]);
            }
        }
        1 | 2 => {
            if let Ok(Some(head)) = consumer.head() {
                assert!(head.len <= capacity, "a chunk longer than the ring");
                consumer.take(head, &mut buffer[..head.len]);
            }
        }
        _ => {
            if let Ok(Some(head)) = consumer.head() {
                consumer.release(head);
            }
        }
    }
    consumer.ring().writable.notify();
}
