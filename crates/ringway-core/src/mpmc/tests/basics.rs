//! One thread: exact capacity, order, lengths, shutdown, wrap-around.

use super::ring;
use crate::memory::{Heap, Memory};
use crate::mpmc::word::marks;
use crate::mpmc::{Batch, Geometry, Options, Ring, TryGet, TryPut};
use crate::peer::Identity;
use crate::sync::Ordering::SeqCst;

#[test]
fn capacity_is_exact_for_any_number_of_slots() {
    for slots in [1, 2, 3, 10, 1000, 1 << 20] {
        let ring = ring(slots);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        for lap in 0..3 {
            assert!(ring.is_empty() && !ring.is_full());
            assert_eq!(ring.get_number(&mut actor), Err(TryGet::Empty));
            for n in 0..slots {
                assert!(!ring.is_full(), "{slots} slots, {n} in");
                ring.put_number(&mut actor, lap * slots + n).unwrap();
                assert_eq!(ring.len(), n + 1);
            }
            assert!(ring.is_full());
            assert_eq!(ring.put_number(&mut actor, 0), Err(TryPut::Full));
            for n in 0..slots {
                assert_eq!(ring.get_number(&mut actor), Ok(lap * slots + n));
            }
        }
    }
}

#[test]
fn positions_may_wrap_round() {
    for slots in [1, 2, 3, 10, 1000] {
        let ring = ring(slots);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        // A lap and a half before the end, with the slots in that lap's state.
        let mut start = ring.positions.last();
        for _ in 0..slots + slots / 2 {
            start =
                start.checked_sub(1).filter(|p| ring.positions.is_valid(*p)).unwrap_or_else(|| {
                    ring.positions.at((start >> (64 - (slots - 1).leading_zeros())) - 1, slots - 1)
                });
        }
        let mut position = start;
        for _ in 0..slots {
            let state =
                super::super::State::of(super::super::Phase::Empty, ring.positions.lap(position));
            ring.state_word(position).unwrap().store(state.0, SeqCst);
            position = ring.positions.next(position);
        }
        ring.enqueue_pos.store(start, SeqCst);
        ring.dequeue_pos.store(start, SeqCst);
        for n in 0..4 * slots {
            ring.put_number(&mut actor, n).unwrap();
            if n % 2 == 0 || ring.is_full() {
                while ring.get_number(&mut actor).is_ok() {}
            }
        }
        while ring.get_number(&mut actor).is_ok() {}
        for n in 0..slots {
            ring.put_number(&mut actor, n).unwrap();
        }
        assert!(ring.is_full());
        assert!(ring.dequeue_pos.load(SeqCst) < start, "it wrapped");
    }
}

#[test]
fn every_length_comes_back_and_longer_ones_are_refused() {
    let ring = ring(4);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    let largest = ring.payload_size();
    let bytes: Vec<u8> = (1..=255).cycle().take(largest + 1).collect();
    for len in 0..=largest {
        ring.try_put(&mut actor, &bytes[..len]).unwrap();
        let mut buffer = vec![0; largest];
        assert_eq!(ring.try_get(&mut actor, &mut buffer), Ok(len));
        assert_eq!(buffer[..len], bytes[..len]);
    }
    assert_eq!(ring.try_put(&mut actor, &bytes), Err(TryPut::TooLong));
    // A short buffer takes what fits and learns the length.
    ring.try_put(&mut actor, &bytes[..largest]).unwrap();
    let mut short = [0; 3];
    assert_eq!(ring.try_get(&mut actor, &mut short), Ok(largest));
    assert_eq!((short, ring.len()), ([1, 2, 3], 0));
}

#[test]
fn a_short_slot_takes_messages_of_its_length_only() {
    for len in 1..=8 {
        let options = Options {
            participants: 1,
            actors: 2,
            leases: 1,
            exact: true,
            ..Options::new(3, u32::try_from(len).unwrap())
        };
        let geometry = Geometry::new(&options).unwrap();
        let memory = Memory::new(Heap::new(usize::try_from(geometry.total_len()).unwrap()));
        let ring = Ring::new(&memory, geometry).unwrap();
        ring.participants().join(1, Identity::default());
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let message = &[0xF1, 2, 3, 4, 5, 6, 7, 0xF8][..len];
        assert_eq!((ring.payload_size(), ring.max_message()), (len, len));
        for wrong in [0, len - 1, len + 1, 9, 100] {
            assert_eq!(ring.try_put(&mut actor, &vec![1; wrong]), Err(TryPut::TooLong));
        }
        for room in 0..10 {
            for _ in 0..3 {
                ring.try_put(&mut actor, message).unwrap();
            }
            let mut buffer = [0xEE; 10];
            assert_eq!(ring.try_get(&mut actor, &mut buffer[..room]), Ok(len));
            let fits = room.min(len);
            assert_eq!((&buffer[..fits], buffer[9]), (&message[..fits], 0xEE));
            let mut batch = Batch::new();
            assert_eq!(ring.try_get_many(&mut actor, 9, &mut batch), Ok(2));
            assert!(batch.iter().all(|bytes| bytes == message));
        }
    }
}

#[test]
fn shutdown_refuses_puts_and_lets_getters_drain() {
    let ring = ring(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    ring.put_number(&mut actor, 1).unwrap();
    ring.put_number(&mut actor, 2).unwrap();
    ring.shutdown(&mut actor, false);
    assert!(ring.is_shut_down() && !ring.is_full());
    assert_eq!(ring.put_number(&mut actor, 3), Err(TryPut::ShutDown));
    assert_eq!((ring.get_number(&mut actor), ring.len()), (Ok(1), 1));
    assert_eq!(ring.get_number(&mut actor), Ok(2));
    // What a feeder has accepted is still to come.
    ring.participants().set_overflow(2, 1);
    assert_eq!(ring.get_number(&mut actor), Err(TryGet::Empty));
    ring.participants().set_overflow(2, 0);
    assert_eq!(ring.get_number(&mut actor), Err(TryGet::ShutDown));
}

/// Whoever shuts the ring down may be killed between the mark and the flag.
#[test]
fn the_mark_of_a_shutdown_alone_means_nothing() {
    let ring = ring(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    ring.marks.fetch_or(marks::SHUTDOWN, SeqCst);
    ring.put_number(&mut actor, 1).unwrap();
    let place = ring.try_take(&mut actor).unwrap();
    ring.release_taken(&mut actor, place);
    assert_eq!(ring.get_number(&mut actor), Err(TryGet::Empty));
    let sleeper = ring.not_empty().announce();
    ring.note_end();
    assert!(!ring.not_empty().moved_since(sleeper));
    ring.shutdown(&mut actor, false);
    assert_eq!(ring.get_number(&mut actor), Err(TryGet::ShutDown));
    let sleeper = ring.not_empty().announce();
    ring.note_end();
    assert!(ring.not_empty().moved_since(sleeper));
}

#[test]
fn immediate_shutdown_throws_away() {
    let ring = ring(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    for n in 0..3 {
        ring.put_number(&mut actor, n).unwrap();
    }
    ring.shutdown(&mut actor, true);
    assert_eq!(ring.get_number(&mut actor), Err(TryGet::ShutDown));
    assert_eq!((ring.len(), ring.put_number(&mut actor, 3)), (0, Err(TryPut::ShutDown)));
}

#[test]
fn bytes_that_make_no_sense_are_an_error() {
    let beyond = [3, 5 << 2, (1 << 62) - 1];
    for bad in beyond {
        let ring = ring(3);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        ring.enqueue_pos.store(bad, SeqCst);
        let put = ring.put_number(&mut actor, 1);
        assert!(matches!(put, Err(TryPut::Corrupted(_))), "{put:?} for {bad:#x}");
        let get = ring.get_number(&mut actor);
        assert!(matches!(get, Err(TryGet::Corrupted(_))), "{get:?} for {bad:#x}");
        let _ = (ring.len(), ring.is_full());
    }
    let ring = ring(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    ring.put_number(&mut actor, 1).unwrap();
    ring.state_word(0).unwrap().store(0xF, SeqCst);
    assert!(matches!(ring.get_number(&mut actor), Err(TryGet::Corrupted(_))));
    ring.state_word(1).unwrap().store(u64::MAX, SeqCst);
    assert!(matches!(ring.put_number(&mut actor, 2), Err(TryPut::Corrupted(_))));
}
