//! Threads against each other over one heap ring: every message exactly once, and
//! each putter's in its order.

use super::ring;
use crate::mpmc::{Batch, TryGet, TryPut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[test]
fn every_message_is_taken_once_and_in_its_putters_order() {
    const EACH: u64 = 20_000;
    for (slots, putters, getters) in [(1, 2, 2), (2, 1, 2), (3, 3, 1), (10, 2, 2), (64, 4, 4)] {
        let ring = ring(slots);
        let taken = AtomicU64::new(0);
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            for putter in 0..putters {
                let ring = &ring;
                scope.spawn(move || {
                    let mut actor = ring.actors().claim(1, 0).unwrap();
                    for n in 0..EACH {
                        while let Err(why) = ring.put_number(&mut actor, putter << 32 | n) {
                            let passing =
                                matches!(why, TryPut::Full | TryPut::Pending(_) | TryPut::Busy);
                            assert!(passing, "{why:?}");
                            std::thread::yield_now();
                        }
                    }
                    ring.actors().release(actor);
                });
            }
            let getter = || {
                let mut actor = ring.actors().claim(2, 0).unwrap();
                let mut mine = Vec::new();
                while taken.load(Relaxed) < putters * EACH {
                    match ring.get_number(&mut actor) {
                        Ok(n) => {
                            mine.push(n);
                            taken.fetch_add(1, Relaxed);
                        }
                        Err(TryGet::Empty | TryGet::Pending(_) | TryGet::Busy) => {
                            std::thread::yield_now();
                        }
                        Err(why) => panic!("{why:?}"),
                    }
                }
                ring.actors().release(actor);
                for putter in 0..putters {
                    let of_one: Vec<_> = mine.iter().filter(|n| **n >> 32 == putter).collect();
                    assert!(of_one.is_sorted(), "order of putter {putter}");
                }
                mine
            };
            let getters: Vec<_> = (0..getters).map(|_| scope.spawn(getter)).collect();
            getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect()
        });
        all.sort_unstable();
        let expected: Vec<u64> =
            (0..putters).flat_map(|p| (0..EACH).map(move |n| p << 32 | n)).collect();
        assert!(all == expected, "{slots} slots: {} messages", all.len());
        assert_eq!((ring.len(), ring.actors().totals()), (0, (putters * EACH, putters * EACH)));
    }
}

/// Odd putters and getters work in batches, the others do not.
#[test]
fn batches_among_single_messages_lose_and_double_nothing() {
    const EACH: u64 = 20_000;
    for (slots, putters, getters) in [(1, 2, 2), (3, 2, 2), (5, 3, 3), (10, 2, 2), (64, 3, 3)] {
        let ring = ring(slots);
        let taken = AtomicU64::new(0);
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            for putter in 0..putters {
                let ring = &ring;
                scope.spawn(move || {
                    let mut actor = ring.actors().claim(1, 0).unwrap();
                    let mut next = 0;
                    while next < EACH {
                        let many = if putter % 2 == 1 { 1 + next % 9 } else { 1 };
                        let mut batch = Batch::new();
                        for n in next..EACH.min(next + many) {
                            batch.push(&(putter << 32 | n).to_le_bytes());
                        }
                        match ring.try_put_many(&mut actor, &batch, 0) {
                            Ok(put) => next += put as u64,
                            Err(TryPut::Full | TryPut::Pending(_) | TryPut::Busy) => {
                                std::thread::yield_now();
                            }
                            Err(why) => panic!("{why:?}"),
                        }
                    }
                    ring.actors().release(actor);
                });
            }
            let getter = |index: usize| {
                let (ring, taken) = (&ring, &taken);
                move || {
                    let mut actor = ring.actors().claim(2, 0).unwrap();
                    let (mut mine, mut batch) = (Vec::new(), Batch::new());
                    while taken.load(Relaxed) < putters * EACH {
                        batch.clear();
                        let max = if index % 2 == 1 { 1 + mine.len() % 7 } else { 1 };
                        match ring.try_get_many(&mut actor, max, &mut batch) {
                            Ok(many) => {
                                let number =
                                    |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
                                mine.extend(batch.iter().map(number));
                                taken.fetch_add(many as u64, Relaxed);
                            }
                            Err(TryGet::Empty | TryGet::Pending(_) | TryGet::Busy) => {
                                std::thread::yield_now();
                            }
                            Err(why) => panic!("{why:?}"),
                        }
                    }
                    ring.actors().release(actor);
                    for putter in 0..putters {
                        let of_one: Vec<_> = mine.iter().filter(|n| **n >> 32 == putter).collect();
                        assert!(of_one.is_sorted(), "order of putter {putter}");
                    }
                    mine
                }
            };
            let getters: Vec<_> = (0..getters).map(|index| scope.spawn(getter(index))).collect();
            getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect()
        });
        all.sort_unstable();
        let expected: Vec<u64> =
            (0..putters).flat_map(|p| (0..EACH).map(move |n| p << 32 | n)).collect();
        assert!(all == expected, "{slots} slots: {} messages", all.len());
        assert_eq!((ring.len(), ring.actors().totals()), (0, (putters * EACH, putters * EACH)));
    }
}

#[test]
fn a_ring_with_room_never_looks_full() {
    const LOOKS: usize = 300_000;
    let ring = ring(4);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut actor = ring.actors().claim(1, 0).unwrap();
            while !done.load(Relaxed) {
                // Never more than one message.
                ring.put_number(&mut actor, 0).unwrap();
                ring.get_number(&mut actor).unwrap();
            }
        });
        let wrong = (0..LOOKS).filter(|_| ring.is_full()).count();
        done.store(true, Relaxed);
        assert_eq!(wrong, 0, "of {LOOKS} looks");
    });
}
