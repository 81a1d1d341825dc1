//! Who is woken, and how many, where no tick would make up for it.

use super::stream_steps::{LEN, streaming};
use super::{Fates, ring};
use crate::mpmc::{Options, Recovery, Ring, SharedRing, TryPut};
use crate::peer::guardian::{Guarded, Round};
use crate::segment::Place;
use crate::wait::Deadline;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// A killed waker wakes nobody, and a killed sleeper swallows a wake-up.
#[test]
fn a_repair_wakes_every_sleeper_whatever_the_dead_left() {
    let ring = ring(2);
    let events = [ring.not_empty(), ring.not_full(), ring.pool.freed()];
    let tickets = events.map(|event| event.announce());
    let fates = Fates::default();
    assert_eq!(ring.recover(2, &fates), Recovery::Alive);
    let woken = || [0, 1, 2].map(|n| events[n].moved_since(tickets[n]));
    assert_eq!(woken(), [false; 3], "nobody died");
    fates.kill(2);
    assert_eq!(ring.recover(2, &fates), Recovery::Done);
    assert_eq!(woken(), [true; 3], "getters, putters, those who wait for blocks");
}

/// A wake-up went to one that was stopped, whatever it was for: all who may sleep for long beside
/// what they wait for are woken by the next look at everybody, and only by that.
#[test]
fn a_look_at_everybody_makes_up_for_lost_wake_ups() {
    let options = Options { pool: 4096, streams: 2, ..Options::new(2, 16) };
    let ring = SharedRing::create(Place::Anonymous("test"), &options, 7).unwrap();
    ring.set_guarded(false).unwrap();
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let inner = &attachment.ring;
    let streams = inner.streams.iter().flat_map(|record| [&record.more, &record.room]);
    let others = [inner.not_full(), inner.pool.freed()];
    let events: Vec<_> = others.into_iter().chain(streams).collect();
    let look = |everyone| {
        let tickets: Vec<_> = events.iter().map(|event| event.announce()).collect();
        let getter = inner.not_empty().announce();
        attachment.keeper.look(&mut Round::new(everyone, false));
        let woken = events.iter().zip(tickets).map(|(event, ticket)| event.moved_since(ticket));
        (woken.collect::<Vec<_>>(), inner.not_empty().moved_since(getter))
    };
    assert_eq!(look(false), (vec![false; 6], false));
    assert_eq!(look(true), (vec![true; 6], false), "putters, for blocks, both sides of streams");
    ring.try_put(b"x").unwrap();
    assert_eq!(look(true), (vec![true; 6], true), "getters, beside a message");
    ring.try_get(&mut [0; 16]).unwrap();
    assert!(!look(true).1);
    ring.shutdown(false).unwrap();
    assert!(look(true).1, "getters, beside the end");
}

/// Putters that sleep until there is room.
#[derive(Default)]
struct Putters {
    /// How often one went to sleep.
    naps: AtomicU32,
    done: AtomicU32,
}

impl Putters {
    fn put(&self, ring: &Ring) {
        let mut actor = ring.actors().claim(3, 0).unwrap();
        loop {
            let ticket = ring.not_full().announce();
            match ring.put_number(&mut actor, 7) {
                Ok(()) => break,
                Err(TryPut::Full) => _ = self.naps.fetch_add(1, SeqCst),
                Err(other) => panic!("{other:?}"),
            }
            ring.not_full().sleep(ticket, Deadline::after(Duration::from_secs(20)));
        }
        self.done.fetch_add(1, SeqCst);
    }

    /// Waits until so many have gone to sleep since the beginning.
    fn until_asleep(&self, naps: u32) {
        self.until("they sleep", || self.naps.load(SeqCst) >= naps);
        std::thread::sleep(Duration::from_millis(30));
    }

    fn until_done(&self, done: u32) {
        self.until("one sleeps on beside room", || self.done.load(SeqCst) == done);
    }

    fn until(&self, what: &str, found: impl Fn() -> bool) {
        let end = Deadline::after(Duration::from_secs(10));
        while !found() {
            let now = (self.naps.load(SeqCst), self.done.load(SeqCst));
            assert!(!end.passed(), "{what}: {now:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Who is woken for room behind a slot that is held sleeps again: the wake-ups for all of it
/// come with the release.
#[test]
fn a_held_slot_that_is_released_wakes_a_putter_for_all_the_room_behind_it() {
    // Which are held: each of the others wakes one in vain.
    for held in [&[0][..], &[0, 1], &[0, 2]] {
        let ring = ring(4);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        (0..4).for_each(|n| ring.put_number(&mut actor, n).unwrap());
        let putters = Putters::default();
        std::thread::scope(|scope| {
            (0..4).for_each(|_| _ = scope.spawn(|| putters.put(&ring)));
            putters.until_asleep(4);
            let (mut naps, mut places) = (4, Vec::new());
            for n in 0..4 {
                if held.contains(&n) {
                    places.push(ring.try_take(&mut actor).unwrap());
                } else {
                    ring.get_number(&mut actor).unwrap();
                    naps += 1;
                    putters.until_asleep(naps);
                }
            }
            // The oldest last.
            for (left, place) in places.into_iter().enumerate().rev() {
                ring.release_taken(&mut actor, place);
                if left > 0 {
                    putters.until("they were woken", || putters.naps.load(SeqCst) > naps);
                }
            }
            putters.until_done(4);
        });
        assert_eq!(ring.len(), 4);
    }
}

/// The held slot is one that the first putter frees itself.
#[test]
fn a_name_of_nothing_that_is_dropped_wakes_a_putter_for_all_the_room_behind_it() {
    let ring = streaming(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    let mut out = ring.open_stream(LEN, 1).unwrap();
    ring.offer_stream(&mut actor, &mut out).unwrap();
    (0..2).for_each(|n| ring.put_number(&mut actor, n).unwrap());
    let putters = Putters::default();
    std::thread::scope(|scope| {
        (0..3).for_each(|_| _ = scope.spawn(|| putters.put(&ring)));
        putters.until_asleep(3);
        let stream = ring.take_in_place(&mut actor, &mut ring.given_back_places()).unwrap();
        for n in 0..2 {
            assert_eq!(ring.get_number(&mut actor), Ok(n));
            putters.until_asleep(4 + u32::try_from(n).unwrap());
        }
        ring.hand_back_stream(stream);
        // It wakes one, which drops the name.
        assert!(!ring.close_stream(out));
        putters.until_done(3);
    });
    assert_eq!(ring.len(), 3);
}
