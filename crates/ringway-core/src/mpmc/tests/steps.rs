//! An actor stops after any of its steps and is dead. Survivors repair, and then
//! every message is there exactly once, in order, and the capacity is exact.

use super::{Fates, ring};
use crate::mpmc::word::{IMMEDIATE, SHUTDOWN, marks};
use crate::mpmc::{Announcement, Phase, Recovery, Ring, State, TryGet, TryPut};
use crate::peer::{Actor, Liveness};
use crate::sync::Ordering::SeqCst;

const VICTIM: u32 = 2;
/// What the victim puts.
const ITS: u64 = 999;

/// Everything a test run is made of.
struct Scene {
    ring: Ring,
    fates: Fates,
    survivor: Actor,
    victim: Actor,
    /// What is in the ring, oldest first.
    inside: Vec<u64>,
}

impl Scene {
    /// A ring after `laps` laps, with `prefill` messages inside.
    fn new(slots: u64, laps: u64, prefill: u64) -> Self {
        let ring = ring(slots);
        let mut survivor = ring.actors().claim(1, 0).unwrap();
        let victim = ring.actors().claim(VICTIM, 0).unwrap();
        for n in 0..laps * slots {
            ring.put_number(&mut survivor, n).unwrap();
            assert_eq!(ring.get_number(&mut survivor), Ok(n));
        }
        let inside: Vec<u64> = (100..100 + prefill).collect();
        for n in &inside {
            ring.put_number(&mut survivor, *n).unwrap();
        }
        Self { ring, fates: Fates::default(), survivor, victim, inside }
    }

    fn tail(&self) -> u64 {
        self.ring.enqueue_pos.load(SeqCst)
    }

    fn head(&self) -> u64 {
        self.ring.dequeue_pos.load(SeqCst)
    }

    /// Runs the first `steps` of the 5 steps of a put.
    fn put(&mut self, steps: u32) {
        let position = self.tail();
        for step in 0..steps {
            match step {
                0 => self.ring.announce(&mut self.victim, Announcement::put(position)),
                1 => self.ring.claim_put(position).unwrap(),
                2 => self.ring.write(position, &ITS.to_le_bytes()),
                3 => {
                    self.ring.publish(position);
                    self.inside.push(ITS);
                }
                _ => self.ring.not_empty.notify(),
            }
        }
    }

    /// Runs the first `steps` of the 5 steps of a get. Says whether the message waits
    /// for redelivery.
    fn get(&mut self, steps: u32) -> Option<u64> {
        let position = self.head();
        let mut redelivered = None;
        for step in 0..steps {
            match step {
                0 => self.ring.announce(&mut self.victim, Announcement::get(position)),
                1 => {
                    self.ring.claim_get(position).unwrap();
                    redelivered = Some(self.inside.remove(0));
                }
                2 => assert_eq!(self.ring.read(position, &mut [0; 8]), Some(8)),
                3 => {
                    self.ring.release(position);
                    redelivered = None;
                }
                _ => self.ring.not_full.notify(),
            }
        }
        redelivered
    }

    fn kill_and_recover(&mut self) {
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Alive);
        self.fates.kill(VICTIM);
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Done);
        // Idempotent.
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Nothing);
        assert_eq!(self.ring.actors().of(VICTIM).count(), 0);
    }

    /// The full check: contents, order, capacity, and a few more laps.
    fn check(&mut self, redelivered: Option<u64>) {
        let ring = &self.ring;
        let expected = self.inside.len() as u64 + u64::from(redelivered.is_some());
        assert_eq!((ring.len(), ring.is_empty()), (expected, expected == 0));
        for n in redelivered.iter().chain(&self.inside) {
            assert_eq!(ring.get_number(&mut self.survivor), Ok(*n));
        }
        assert_eq!(ring.get_number(&mut self.survivor), Err(TryGet::Empty));
        assert_eq!((ring.len(), ring.is_full()), (0, false));
        for lap in 0..3 {
            for n in 0..ring.capacity() {
                assert!(!ring.is_full());
                ring.put_number(&mut self.survivor, lap * 1000 + n).unwrap();
            }
            assert!(ring.is_full() && ring.put_number(&mut self.survivor, 0).is_err());
            assert_eq!(ring.len(), ring.capacity());
            for n in 0..ring.capacity() {
                assert_eq!(ring.get_number(&mut self.survivor), Ok(lap * 1000 + n));
            }
        }
    }
}

/// All sizes, laps and fillings that the claims are made for.
fn everywhere(room: u64, contents: u64, mut body: impl FnMut(Scene)) {
    for slots in [1, 2, 3, 10] {
        for laps in 0..3 {
            for prefill in contents..=slots - room {
                body(Scene::new(slots, laps, prefill));
            }
        }
    }
}

#[test]
fn a_putter_dies_after_any_step() {
    for steps in 0..=5 {
        everywhere(1, 0, |mut scene| {
            scene.put(steps);
            scene.kill_and_recover();
            scene.check(None);
        });
    }
}

#[test]
fn a_getter_dies_after_any_step() {
    for steps in 0..=5 {
        everywhere(0, 1, |mut scene| {
            let redelivered = scene.get(steps);
            scene.kill_and_recover();
            scene.check(redelivered);
        });
    }
}

#[test]
fn a_loser_dies_after_the_winner_has_committed() {
    everywhere(1, 0, |mut scene| {
        scene.put(1);
        scene.ring.put_number(&mut scene.survivor, 5).unwrap();
        scene.inside.push(5);
        scene.kill_and_recover();
        scene.check(None);
    });
    everywhere(0, 1, |mut scene| {
        scene.get(1);
        let first = scene.inside.remove(0);
        assert_eq!(scene.ring.get_number(&mut scene.survivor), Ok(first));
        scene.kill_and_recover();
        scene.check(None);
    });
}

#[test]
fn a_loser_dies_while_the_winner_is_amidst() {
    everywhere(1, 0, |mut scene| {
        scene.put(1);
        let position = scene.tail();
        scene.ring.announce(&mut scene.survivor, Announcement::put(position));
        scene.ring.claim_put(position).unwrap();
        // The winner lives: its claim must not be touched.
        scene.fates.kill(VICTIM);
        assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Retry);
        scene.ring.write(position, &7_u64.to_le_bytes());
        scene.ring.publish(position);
        scene.inside.push(7);
        assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
        scene.check(None);
    });
}

#[test]
fn the_winner_dies_while_a_loser_still_announces() {
    everywhere(0, 1, |mut scene| {
        let redelivered = scene.get(2);
        // A live actor that announced the same position and has not looked again yet.
        let mut rival = scene.ring.actors().claim(3, 0).unwrap();
        let position = scene.ring.actors().announcement(scene.victim.index());
        scene.ring.announce(&mut rival, position);
        scene.fates.kill(VICTIM);
        assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Retry);
        scene.ring.announce(&mut rival, Announcement::IDLE);
        assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
        scene.ring.actors().release(rival);
        scene.check(redelivered);
    });
}

#[test]
fn both_rivals_die() {
    everywhere(1, 0, |mut scene| {
        scene.put(2);
        let mut rival = scene.ring.actors().claim(3, 0).unwrap();
        let position = scene.ring.actors().announcement(scene.victim.index());
        scene.ring.announce(&mut rival, position);
        scene.fates.kill(VICTIM);
        scene.fates.kill(3);
        // The loser's repair settles the winner's claim: nobody alive can.
        assert_eq!(scene.ring.recover(3, &scene.fates), Recovery::Done);
        assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
        scene.check(None);
    });
}

#[test]
fn a_getter_dies_with_a_redelivered_message() {
    everywhere(0, 1, |mut scene| {
        let redelivered = scene.get(3);
        scene.kill_and_recover();
        // Its next getter dies in TAKEN.
        let index = (0..scene.ring.capacity())
            .find(|i| scene.ring.state(*i).unwrap().phase() == Some(Phase::Redeliver))
            .unwrap();
        let state = scene.ring.state(index).unwrap();
        let taken = State::owned(Phase::Taken, state.lap(), 3);
        scene.ring.state_word(index).unwrap().store(taken.0, SeqCst);
        // Nobody else sees it meanwhile.
        assert_eq!(scene.ring.len(), scene.inside.len() as u64);
        scene.fates.kill(3);
        assert_eq!(scene.ring.recover(3, &scene.fates), Recovery::Done);
        scene.check(redelivered);
    });
}

#[test]
fn a_getter_of_a_tomb_dies_after_any_step() {
    for steps in 0..=4 {
        everywhere(1, 0, |mut scene| {
            scene.put(3);
            scene.kill_and_recover();
            let before = std::mem::take(&mut scene.inside);
            for n in before {
                assert_eq!(scene.ring.get_number(&mut scene.survivor), Ok(n));
            }
            let position = scene.head();
            let mut other = scene.ring.actors().claim(3, 0).unwrap();
            for step in 0..steps {
                match step {
                    0 => scene.ring.announce(&mut other, Announcement::get(position)),
                    1 => scene.ring.claim_get(position).unwrap(),
                    2 => scene.ring.release(position),
                    _ => scene.ring.not_full.notify(),
                }
            }
            scene.fates.kill(3);
            assert_eq!(scene.ring.recover(3, &scene.fates), Recovery::Done);
            scene.check(None);
        });
    }
}

#[test]
fn two_survivors_recover_at_once() {
    for _ in 0..200 {
        let mut scene = Scene::new(3, 1, 2);
        let redelivered = scene.get(2);
        scene.fates.kill(VICTIM);
        let done = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| scene.ring.recover(VICTIM, &scene.fates)));
            both.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        let count = done.iter().filter(|outcome| **outcome == Recovery::Done).count();
        assert_eq!(count, 1, "{done:?}");
        scene.check(redelivered);
    }
}

/// A repairer that dies leaves the dead participant in the state it had reached, and
/// another starts over.
#[test]
fn a_repairer_dies_half_way() {
    struct DiesAtProof;
    impl Liveness for DiesAtProof {
        fn proven_dead(&self, participant: u32) -> bool {
            // The first question is about the dead; the next comes from the middle of
            // the repair, about a rival: a good place to fall.
            assert_eq!(participant, VICTIM, "fallen on purpose");
            true
        }
        fn alone(&self, _: u32, body: &mut dyn FnMut()) -> bool {
            body();
            true
        }
    }
    everywhere(0, 1, |mut scene| {
        let redelivered = scene.get(2);
        let mut rival = scene.ring.actors().claim(3, 0).unwrap();
        let position = scene.ring.actors().announcement(scene.victim.index());
        scene.ring.announce(&mut rival, position);
        let fallen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            scene.ring.recover(VICTIM, &DiesAtProof)
        }));
        assert!(fallen.is_err());
        scene.ring.actors().release(rival);
        scene.fates.kill(VICTIM);
        assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
        scene.check(redelivered);
    });
}

/// Only claims that were never committed may make a ring look full, and a tomb that
/// comes to the head does not.
#[test]
fn a_put_takes_the_place_of_a_tomb_at_the_head() {
    for slots in [1, 2, 3, 10] {
        let mut scene = Scene::new(slots, 1, 0);
        scene.put(3);
        scene.kill_and_recover();
        for n in 0..slots {
            assert!(!scene.ring.is_full(), "{slots} slots, {n} in");
            scene.ring.put_number(&mut scene.survivor, n).unwrap();
            scene.inside.push(n);
        }
        assert!(scene.ring.is_full());
        assert!(scene.ring.put_number(&mut scene.survivor, 0).is_err());
        scene.check(None);
    }
}

/// Whoever comes back with nothing announces nothing: it may wait or repair next, and
/// others' repairs wait for its announcement to change.
#[test]
fn no_call_returns_with_a_live_announcement() {
    let quiet = |scene: &Scene| {
        let announced = scene.ring.actors().announcement(scene.survivor.index());
        assert_eq!(announced, Announcement::IDLE);
    };
    for prefill in [0, 3] {
        let mut scene = Scene::new(3, 1, prefill);
        // As after a race that was lost.
        scene.ring.announce(&mut scene.survivor, Announcement::put(0));
        if prefill == 0 {
            assert_eq!(scene.ring.get_number(&mut scene.survivor), Err(TryGet::Empty));
        } else {
            assert_eq!(scene.ring.put_number(&mut scene.survivor, 0), Err(TryPut::Full));
        }
        quiet(&scene);
        scene.ring.announce(&mut scene.survivor, Announcement::put(0));
        if prefill == 0 {
            scene.put(2);
            let pending = scene.ring.get_number(&mut scene.survivor);
            assert!(matches!(pending, Err(TryGet::Pending(_))), "{pending:?}");
        } else {
            scene.get(2);
            let pending = scene.ring.put_number(&mut scene.survivor, 0);
            assert!(matches!(pending, Err(TryPut::Pending(_))), "{pending:?}");
        }
        quiet(&scene);
        scene.ring.shutdown(&mut scene.survivor, false);
        scene.ring.announce(&mut scene.survivor, Announcement::put(0));
        assert_eq!(scene.ring.put_number(&mut scene.survivor, 0), Err(TryPut::ShutDown));
        quiet(&scene);
    }
}

#[test]
fn a_put_that_commits_after_an_immediate_shutdown_counts_as_thrown_away() {
    let mut scene = Scene::new(3, 0, 1);
    scene.put(3);
    scene.ring.shutdown(&mut scene.survivor, true);
    let position = scene.ring.positions.at(0, 1);
    scene.ring.publish(position);
    // Nobody need come by for it: those who wait for an empty queue do not get.
    assert_eq!(scene.ring.len(), 0);
    assert!(scene.ring.is_empty());
    assert_eq!(scene.ring.get_number(&mut scene.survivor), Err(TryGet::ShutDown));
    assert_eq!(scene.ring.state(position).unwrap().phase(), Some(Phase::Empty));
}

#[test]
fn who_loses_a_tomb_to_another_announces_it_no_more() {
    let mut scene = Scene::new(2, 0, 0);
    let head = scene.head();
    scene.put(2);
    scene.fates.kill(VICTIM);
    assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
    let mut other = scene.ring.actors().claim(3, 0).unwrap();
    assert!(scene.ring.retire(&mut other, head));
    assert!(!scene.ring.retire(&mut scene.survivor, head));
    let left = scene.ring.actors().announcement(scene.survivor.index());
    assert_eq!(left, Announcement::IDLE, "repair would wait for this actor");
}

#[test]
fn a_look_between_the_mark_and_the_tomb_does_not_hide_the_tomb() {
    let mut scene = Scene::new(2, 0, 0);
    scene.put(2);
    scene.fates.kill(VICTIM);
    // A repairer got as far as the tomb and was killed; a look at the length between its
    // mark and its tomb had found none and taken the mark down.
    let tomb = State::of(Phase::Tomb, 0);
    scene.ring.state_word(0).unwrap().store(tomb.0, SeqCst);
    assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
    assert_eq!(scene.ring.len(), 0, "a tomb is no message");
}

/// An immediate shutdown marks, sets the flag, and throws away. Killed before the flag,
/// nothing has happened; killed after it, nobody gets a message any more, with or without a
/// repair.
#[test]
fn an_immediate_shutdown_dies_after_any_step() {
    for (repaired, in_place) in [(false, false), (true, false), (false, true), (true, true)] {
        for steps in 0..=2 {
            let Scene { ring, fates, mut survivor, .. } = Scene::new(3, 1, 2);
            let get = |survivor: &mut Actor| {
                if !in_place {
                    return ring.get_number(survivor);
                }
                let mut bytes = [0; 8];
                let place = ring.try_take(survivor)?;
                assert_eq!(ring.copy_taken(place, &mut bytes)?, 8);
                ring.release_taken(survivor, place);
                Ok(u64::from_le_bytes(bytes))
            };
            if steps > 0 {
                ring.set_mark(marks::DISCARD);
            }
            if steps > 1 {
                ring.enqueue_pos.fetch_or(SHUTDOWN | IMMEDIATE, SeqCst);
            }
            fates.kill(VICTIM);
            if repaired {
                assert_eq!(ring.recover(VICTIM, &fates), Recovery::Done);
            }
            if repaired && steps < 2 {
                assert_eq!(ring.marks.load(SeqCst) & marks::DISCARD, 0);
            }
            if steps < 2 {
                assert_eq!(ring.len(), 2);
                assert_eq!(get(&mut survivor), Ok(100));
                assert_eq!(ring.put_number(&mut survivor, 102), Ok(()));
                // A grant means nothing by the mark alone, either.
                let mut bytes = [0; 8];
                let place = ring.try_take(&mut survivor).unwrap();
                assert_eq!(ring.copy_taken(place, &mut bytes), Ok(8));
                assert_eq!(u64::from_le_bytes(bytes), 101);
                ring.release_taken(&mut survivor, place);
                assert_eq!(get(&mut survivor), Ok(102));
                assert_eq!(get(&mut survivor), Err(TryGet::Empty));
                ring.put_number(&mut survivor, 103).unwrap();
                ring.shutdown(&mut survivor, true);
            }
            assert_eq!(get(&mut survivor), Err(TryGet::ShutDown));
            assert_eq!(ring.put_number(&mut survivor, 1), Err(TryPut::ShutDown));
            assert_eq!(ring.len(), 0);
        }
    }
}
