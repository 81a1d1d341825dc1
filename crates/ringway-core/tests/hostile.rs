//! Any byte of the memory may be wrong at any time: every operation of both rings ends,
//! within bounds, without a panic. What it answers does not matter.
//!
//! Arithmetic is checked in this build, so a position that overflows shows as a panic.
//! The heap's exact size lets AddressSanitizer see an access past it.
#![cfg(not(loom))]

use ringway_core::memory::{Heap, Memory};
use ringway_core::mpmc::{Batch, Geometry, Options, Outgoing, Place, Ring, TryGet};
use ringway_core::peer::{Actor, Identity, Liveness};
use ringway_core::segment::BODY;
use ringway_core::spsc::{CONTROL_LEN, Consumer, Direction, Producer};
use ringway_core::sync::AtomicBool;
use ringway_core::sync::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long each test goes on, at most.
const SPAN: Duration = Duration::from_millis(1500);
const ROUNDS: u64 = 200_000;
/// So many slots are short ones.
const SHORT: u64 = 5;

/// Numbers that look random and are the same every time (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn length(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    /// Something that may get past a careless check, made from what is there.
    fn word(&mut self, old: u64) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => self.below(16),
            2 => u64::MAX - self.below(64),
            3 => 1 << self.below(64),
            4 => old ^ (1 << self.below(64)),
            5 => old.wrapping_add(8 * self.below(64)),
            6 => old.wrapping_sub(8 * self.below(64)),
            _ => (u64::MAX << self.below(64)) & !7,
        }
    }
}

/// Overwrites one word, in the size that the rings use it in.
fn scribble(memory: &Memory, is_narrow: impl Fn(u64) -> bool, random: &mut Random) {
    let at = random.below(memory.len() / 8) * 8;
    if is_narrow(at) {
        let word = memory.word32(at + 4 * random.below(2)).unwrap();
        let new = random.word(word.load(Relaxed).into());
        word.store(u32::try_from(new & u64::from(u32::MAX)).unwrap(), Relaxed);
    } else {
        let word = memory.word64(at).unwrap();
        word.store(random.word(word.load(Relaxed)), Relaxed);
    }
}

/// Runs `round` many times, but not for long.
fn rounds(mut round: impl FnMut(u64)) {
    let end = Instant::now() + SPAN;
    for i in 1..=ROUNDS {
        round(i);
        if i.is_multiple_of(64) && Instant::now() > end {
            break;
        }
    }
}

/// Runs `body` while another thread scribbles.
fn with_scribbler(
    memory: &Memory,
    is_narrow: impl Fn(u64) -> bool + Copy + Sync,
    body: impl FnOnce(),
) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(0xBAD);
            while !done.load(Relaxed) {
                scribble(memory, is_narrow, &mut random);
            }
        });
        // Also when the body panics: the scope waits for the scribbler.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let _stop = Stop(&done);
        body();
    });
}

// ---- The byte ring ----------------------------------------------------------------

/// The events and departure counts of a control block at 0.
fn narrow_in_bytes(at: u64) -> bool {
    (256..512).contains(&at)
}

fn bytes_memory(capacity: u64) -> Memory {
    Memory::new(Heap::new(usize::try_from(CONTROL_LEN + capacity).unwrap()))
}

fn send_something(producer: &mut Producer, random: &mut Random) {
    let message = [0xA5; 700];
    let message = &message[..random.length(message.len())];
    match random.below(6) {
        4 => {
            let mut batch = producer.writing();
            while batch.push(message) && !random.next().is_multiple_of(4) {}
        }
        5 => {
            if producer.reserve(message.len()).is_ok() {
                let place = producer.reserved(message.len());
                let at = random.length(message.len() + 1);
                place.write_at(at, &message[at..]).unwrap();
                assert!(place.write_at(at, &[0; 701]).is_err());
                if random.next().is_multiple_of(2) {
                    producer.commit(at);
                }
            }
        }
        0 => drop(producer.push_whole(message)),
        1 => drop(producer.try_push(message)),
        2 => drop(producer.has_room(message.len())),
        _ if message.is_empty() => {}
        _ => {
            let total = message.len() as u64;
            producer.begin(total);
            let mut rest = message;
            while let Ok(sent @ 1..) = producer.push_part(rest, total) {
                rest = &rest[sent..];
                if rest.is_empty() {
                    break;
                }
            }
            producer.abort();
        }
    }
    producer.ring().readable.notify();
}

fn receive_something(consumer: &mut Consumer, random: &mut Random) {
    let capacity = usize::try_from(consumer.ring().capacity()).unwrap();
    let mut buffer = vec![0; capacity];
    match random.below(5) {
        3 => {
            let mut batch = consumer.reading();
            loop {
                let exact = [0, 4, 8, 16, 48][random.length(5)];
                if !batch.take_exact(&mut buffer[..exact]) {
                    let Some(len) = batch.whole() else { break };
                    batch.take(&mut buffer[..len]);
                }
                if random.next().is_multiple_of(4) {
                    break;
                }
            }
        }
        4 => {
            if let Ok(Some(head)) = consumer.head() {
                let place = consumer.payload(head);
                let at = random.length(head.len + 1);
                place.read_at(at, &mut buffer[at..head.len]).unwrap();
                assert_eq!(place.parts().map(|part| part.len()).iter().sum::<usize>(), head.len);
                consumer.release(head);
            }
        }
        0 => {
            if let Some(len) = consumer.whole() {
                consumer.take_whole(&mut buffer[..len]);
            }
        }
        1 => {
            if let Ok(Some(head)) = consumer.head() {
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

fn use_bytes(memory: &Memory, capacity: u64, mut between: impl FnMut(&mut Random)) {
    let ring = Direction::new(memory, 0, CONTROL_LEN, capacity).unwrap();
    let mut random = Random(capacity);
    let (mut producer, mut consumer) = (None, None);
    rounds(|round| {
        between(&mut random);
        // A handle that saw nonsense is of no further use, but of no harm either.
        if round.is_multiple_of(8) {
            producer = Producer::new(ring.clone()).ok().or(producer.take());
            consumer = Consumer::new(ring.clone()).ok().or(consumer.take());
        }
        if let Some(producer) = &mut producer {
            send_something(producer, &mut random);
        }
        if let Some(consumer) = &mut consumer {
            receive_something(consumer, &mut random);
        }
    });
}

#[test]
fn the_byte_ring_bears_any_words() {
    for capacity in [64, 256, 4096] {
        let memory = bytes_memory(capacity);
        use_bytes(&memory, capacity, |random| scribble(&memory, narrow_in_bytes, random));
    }
}

#[test]
fn the_byte_ring_bears_words_that_change_meanwhile() {
    let memory = bytes_memory(256);
    with_scribbler(&memory, narrow_in_bytes, || use_bytes(&memory, 256, |_| {}));
}

// ---- The ring of slots -------------------------------------------------------------

/// The event words of the ring of slots, and of its streams.
fn narrow_in_slots(geometry: Geometry) -> impl Fn(u64) -> bool + Copy + Send + Sync {
    move |at| {
        [2, 3, 5].into_iter().any(|line| at == BODY + 128 * line)
            || at == BODY + 128 * 4 + 64
            || geometry.is_event_of_stream(at)
    }
}

/// Whoever has an odd number may be dead at any time.
struct Odd;

impl Liveness for Odd {
    fn proven_dead(&self, participant: u32) -> bool {
        participant % 2 == 1
    }

    fn alone(&self, _participant: u32, body: &mut dyn FnMut()) -> bool {
        body();
        true
    }
}

fn slots_memory(slots: u64) -> (Memory, Geometry) {
    let of =
        |payload| Options { participants: 3, actors: 4, leases: 2, ..Options::new(slots, payload) };
    // Blocks, or short slots.
    let options = match slots {
        SHORT => Options { exact: true, ..of(8) },
        _ => Options { pool: 3000, streams: 2, ..of(24) },
    };
    let geometry = Geometry::new(&options).unwrap();
    (Memory::new(Heap::new(usize::try_from(geometry.total_len()).unwrap())), geometry)
}

/// A ring with an actor, made while the memory is still sound.
fn joined(memory: &Memory, geometry: Geometry) -> (Ring, Actor) {
    let ring = Ring::new(memory, geometry).unwrap();
    ring.participants().join(2, Identity::default());
    let actor = ring.actors().claim(2, 0).unwrap();
    (ring, actor)
}

/// Copies, or does not, and gives free, or leaves it to the repair of a death.
fn finish(ring: &Ring, actor: &mut Actor, place: Place, buffer: &mut [u8]) {
    let copied = ring.copy_taken(place, buffer);
    if let Ok(len) = copied {
        assert!(len <= ring.max_message(), "no buffer of such a length is ever needed");
    }
    if !buffer.len().is_multiple_of(3) {
        ring.release_taken(actor, place);
    }
}

/// Takes a stream so far, and commits, gives it back, or leaves it to the repair of a death.
fn receive(
    ring: &Ring,
    actor: &mut Actor,
    place: Place,
    reads: u64,
    out: &mut Option<Outgoing>,
    message: &[u8],
) {
    let mut got = Vec::new();
    if let Ok(mut stream) = ring.join_stream(place) {
        for _ in 0..reads {
            ring.read_stream(&mut stream, &mut got);
            assert!(got.capacity() <= 256 << 10, "never more than came");
            if let Some(out) = out {
                ring.write_stream(out, message);
            }
        }
        match reads % 3 {
            0 => drop(ring.take_stream(actor, &stream)),
            1 => ring.hand_back_stream(place),
            _ => {}
        }
    }
}

fn use_slots(
    memory: &Memory,
    geometry: Geometry,
    (ring, mut actor): (Ring, Actor),
    mut between: impl FnMut(&mut Random),
) {
    let mut random = Random(memory.len());
    let mut out = None;
    rounds(|round| {
        between(&mut random);
        let message = [0x5A; 32];
        let message = match ring.geometry().payload_size() {
            8 => &message[..8],
            _ => &message[..random.length(message.len())],
        };
        let long = [0x5B; 3500];
        let long = &long[..random.length(long.len())];
        // Mostly too short for what is in blocks.
        let mut buffer = [0; 3500];
        let most = if random.below(4) == 0 { 3500 } else { 32 };
        let buffer = &mut buffer[..random.length(most)];
        match random.below(16) {
            14 => {
                // The one before is withdrawn, wherever it is.
                if let Some(old) = out.take() {
                    ring.close_stream(old);
                }
                out = ring.open_stream(long.len(), 2);
                if let Some(stream) = &mut out {
                    let _ = ring.offer_stream(&mut actor, stream);
                }
            }
            15 => drop(out.as_mut().map(|stream| ring.write_stream(stream, long))),
            12 => {
                let mut batch = Batch::new();
                (0..random.below(12)).for_each(|_| batch.push(message));
                let _ = ring.try_put_many(&mut actor, &batch, random.length(3));
            }
            13 => {
                let mut batch = Batch::new();
                let got = ring.try_get_many(&mut actor, random.length(12), &mut batch);
                assert!(got.is_err() || got == Ok(batch.len()));
            }
            0 | 1 => drop(ring.try_put(&mut actor, message)),
            2 | 3 => match ring.try_get(&mut actor, buffer) {
                Err(TryGet::Long(place)) => finish(&ring, &mut actor, place, buffer),
                Err(TryGet::Stream(place)) => {
                    receive(&ring, &mut actor, place, random.below(9), &mut out, long);
                }
                _ => {}
            },
            8 | 9 => drop(ring.try_put_long(&mut actor, long)),
            10 | 11 => {
                if let Ok(place) = ring.try_take(&mut actor) {
                    finish(&ring, &mut actor, place, buffer);
                }
            }
            4 => drop(ring.try_put_accepted(&mut actor, message)),
            5 => drop((ring.recover(1, &Odd), ring.recover(3, &Odd))),
            6 => drop((ring.len(), ring.is_full(), ring.may_have_room(), ring.may_have_message())),
            _ => drop((ring.participants().overflow(), ring.actors().totals())),
        }
        if round.is_multiple_of(64) {
            ring.shutdown(&mut actor, round.is_multiple_of(128));
            // Anew, from nothing or from anything.
            let fresh = random.below(2) == 0;
            for at in (BODY..memory.len()).step_by(8).filter(|at| !narrow_in_slots(geometry)(*at)) {
                let word = if fresh { 0 } else { random.word(0) };
                memory.word64(at).unwrap().store(word, Relaxed);
            }
        }
    });
}

#[test]
fn the_ring_of_slots_bears_any_words() {
    for slots in [1, 3, SHORT, 8] {
        let (memory, geometry) = slots_memory(slots);
        use_slots(&memory, geometry, joined(&memory, geometry), |random| {
            scribble(&memory, narrow_in_slots(geometry), random)
        });
    }
}

#[test]
fn the_ring_of_slots_bears_words_that_change_meanwhile() {
    let (memory, geometry) = slots_memory(3);
    let joined = joined(&memory, geometry);
    let narrow = narrow_in_slots(geometry);
    with_scribbler(&memory, narrow, || use_slots(&memory, geometry, joined, |_| {}));
}
