//! An actor stops after any of its steps with a message in blocks and is dead. Survivors
//! repair, and then every message is there exactly once, in order and whole, every block
//! is free, and so is every lease record.

use super::Fates;
use super::blocks::{bytes, get, pooled, put};
use crate::blocks::Chain;
use crate::mpmc::contents::Contents;
use crate::mpmc::long::Place;
use crate::mpmc::{Announcement, Phase, Recovery, Ring, TryGet};
use crate::peer::Actor;
use crate::sync::Ordering::SeqCst;

const VICTIM: u32 = 2;
/// What the victim puts.
const ITS: u64 = 999;
/// One block, a chain of small ones, and chains of several classes. The room of a slot
/// is 16 bytes.
const LENGTHS: [usize; 3] = [17, 450, 5400];
const POOL: u64 = 40 << 10;

struct Scene {
    ring: Ring,
    fates: Fates,
    survivor: Actor,
    victim: Actor,
    /// What is in the ring, oldest first.
    inside: Vec<u64>,
    len: usize,
}

impl Scene {
    /// A ring after `laps` laps with `prefill` messages inside, each the putter's of
    /// its turn: survivor's, victim's.
    fn new(slots: u64, laps: u64, prefill: u64, len: usize) -> Self {
        let ring = pooled(slots, POOL, 2);
        let mut survivor = ring.actors().claim(1, 0).unwrap();
        let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
        for n in 0..laps * slots {
            put(&ring, &mut survivor, n, len).unwrap();
            assert_eq!(get(&ring, &mut survivor), Ok(n));
        }
        let inside: Vec<u64> = (100..100 + prefill).collect();
        for n in &inside {
            let putter = if n % 2 == 0 { &mut victim } else { &mut survivor };
            put(&ring, putter, *n, len).unwrap();
        }
        Self { ring, fates: Fates::default(), survivor, victim, inside, len }
    }

    /// Runs the first `steps` of a put; says whether there are no more.
    fn put(&mut self, steps: usize) -> bool {
        let Self { ring, victim, .. } = self;
        let position = ring.enqueue_pos.load(SeqCst);
        let whole = ring.pool.take(self.len, VICTIM).unwrap();
        // Before: a step per block.
        if steps < whole.blocks.len() {
            whole.blocks[steps..].iter().for_each(|block| assert!(ring.pool.free(*block, VICTIM)));
            return false;
        }
        let steps = steps - whole.blocks.len();
        for step in 0..steps.min(6) {
            match step {
                0 => ring.pool.write(&whole, 0, &bytes(ITS, self.len)).unwrap(),
                1 => ring.announce(victim, Announcement::put(position)),
                2 => ring.claim_put(position).unwrap(),
                3 => ring.write_descriptor(position, ring.pool.describe(&whole)),
                4 => {
                    ring.publish(position);
                    self.inside.push(ITS);
                }
                _ => ring.not_empty.notify(),
            }
        }
        steps >= 6
    }

    /// Runs the first `steps` of a get. Says what waits for redelivery, and whether there
    /// are no more steps.
    fn get(&mut self, steps: usize) -> (Option<u64>, bool) {
        let position = self.ring.dequeue_pos.load(SeqCst);
        let place = Place::slot(position);
        let mut taken = Victim { place, redelivered: None, done: 0, steps };
        self.claim(&mut taken, position);
        self.free(&mut taken);
        (taken.redelivered, taken.done < taken.steps)
    }

    fn claim(&mut self, taken: &mut Victim, position: u64) {
        let Self { ring, victim, .. } = self;
        taken.step(|_| ring.announce(victim, Announcement::get(position)));
        taken.step(|taken| {
            ring.claim_get(position).unwrap();
            taken.redelivered = Some(self.inside.remove(0));
        });
        taken.step(|_| ring.mark_taken(position, VICTIM));
    }

    /// Gives blocks and place free.
    fn free(&self, taken: &mut Victim) {
        let (ring, place) = (&self.ring, taken.place);
        taken.step(|taken| {
            ring.mark_freeing(place, VICTIM);
            taken.redelivered = None;
        });
        let what = ring.cell(place).descriptor();
        let blocks = ring.pool.walk(what).collect::<Vec<_>>();
        for block in blocks.iter().rev() {
            taken.step(|_| assert!(ring.pool.free(*block, what.owner)));
        }
        taken.step(|_| ring.vacate(place));
    }

    /// Runs the first `steps` of taking a grant and releasing it, in the usual way.
    fn straight_grant(&mut self, steps: usize) -> (Option<u64>, bool) {
        let position = self.ring.dequeue_pos.load(SeqCst);
        let place = Place::slot(position);
        let mut taken = Victim { place, redelivered: None, done: 0, steps };
        let Self { ring, victim, .. } = self;
        taken.step(|_| ring.announce(victim, Announcement::get(position)));
        taken.step(|taken| {
            ring.claim_get(position).unwrap();
            taken.redelivered = Some(self.inside.remove(0));
        });
        taken.step(|taken| taken.place = ring.reserve_lease(VICTIM).unwrap());
        let lease = taken.place;
        taken.step(|_| ring.fill_lease(lease, position));
        taken.step(|_| ring.hold_lease(lease, VICTIM));
        let next = ring.positions.next_lap(position);
        taken.step(|_| ring.slot(position).unwrap().release(next));
        taken.step(|_| ring.notify_room());
        self.free(&mut taken);
        (taken.redelivered, taken.done < taken.steps)
    }

    /// The same in the other way.
    fn grant(&mut self, steps: usize) -> (Option<u64>, bool) {
        let position = self.ring.dequeue_pos.load(SeqCst);
        let place = Place::slot(position);
        let mut taken = Victim { place, redelivered: None, done: 0, steps };
        self.claim(&mut taken, position);
        let ring = &self.ring;
        taken.step(|taken| taken.place = ring.reserve_lease(VICTIM).unwrap());
        let lease = taken.place;
        taken.step(|_| ring.fill_lease(lease, position));
        taken.step(|_| ring.hold_lease(lease, VICTIM));
        taken.step(|_| ring.vacate(place));
        self.free(&mut taken);
        (taken.redelivered, taken.done < taken.steps)
    }

    fn kill_and_recover(&mut self) {
        self.fates.kill(VICTIM);
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Done);
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Nothing);
    }

    /// The full check: contents, order, capacity, blocks, lease records.
    fn check(mut self, redelivered: Option<u64>) {
        let ring = &self.ring;
        let expected = self.inside.len() as u64 + u64::from(redelivered.is_some());
        assert_eq!(ring.len(), expected);
        for n in redelivered.iter().chain(&self.inside) {
            assert_eq!(get(ring, &mut self.survivor), Ok(*n));
        }
        assert_eq!(get(ring, &mut self.survivor), Err(TryGet::Empty));
        assert_eq!((ring.len(), ring.is_full()), (0, false));
        self.nothing_is_left();
        for lap in 0..2 {
            for n in 0..self.ring.capacity() {
                put(&self.ring, &mut self.survivor, lap * 1000 + n, self.len).unwrap();
            }
            assert!(self.ring.is_full());
            for n in 0..self.ring.capacity() {
                assert_eq!(get(&self.ring, &mut self.survivor), Ok(lap * 1000 + n));
            }
        }
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        let ring = &self.ring;
        assert_eq!(ring.blocks_used(), 0, "leaked blocks");
        let state = |lease| ring.cell(Place::lease(lease)).state().unwrap().load(SeqCst);
        for lease in 0..ring.geometry().leases {
            let phase = crate::mpmc::State(state(lease)).phase();
            assert_eq!(phase, Some(Phase::Empty), "lease record {lease}");
        }
        // All at once: the pool holds as much as ever.
        let all: Chain = ring.pool.take(ring.pool.bytes(), 1).expect("the whole pool");
        ring.pool.free_all(&all.blocks, all.owner);
    }
}

/// A getter on its way.
struct Victim {
    place: Place,
    /// The message, once it is claimed and until it is committed.
    redelivered: Option<u64>,
    done: usize,
    steps: usize,
}

impl Victim {
    fn step(&mut self, step: impl FnOnce(&mut Self)) {
        if self.done < self.steps {
            self.done += 1;
            step(self);
        }
    }
}

/// Runs `body` for every number of steps, in every scene; `body` says when it has run
/// all.
fn at_every_step(
    sizes: &[u64],
    room: u64,
    contents: u64,
    body: impl Fn(&mut Scene, usize) -> (Option<u64>, bool),
) {
    for &slots in sizes {
        for (lap, len) in LENGTHS.into_iter().enumerate() {
            for prefill in contents..=slots - room {
                for steps in 0.. {
                    let mut scene = Scene::new(slots, lap as u64 % 3, prefill, len);
                    let (redelivered, over) = body(&mut scene, steps);
                    scene.kill_and_recover();
                    scene.check(redelivered);
                    if over {
                        assert!(steps > 5, "{steps} steps only");
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn a_putter_of_blocks_dies_after_any_step() {
    at_every_step(&[1, 2, 3], 1, 0, |scene, steps| (None, scene.put(steps)));
}

#[test]
fn a_getter_of_blocks_dies_after_any_step() {
    at_every_step(&[1, 2, 3], 0, 1, Scene::get);
}

#[test]
fn a_holder_of_a_grant_dies_after_any_step() {
    at_every_step(&[1, 2, 3], 0, 1, Scene::grant);
    at_every_step(&[1, 2, 3], 0, 1, Scene::straight_grant);
}

/// Another one announces the same position, loses it, dies as well, and is repaired first: that
/// settles the claim of the first one, whose record may hold a copy.
#[test]
fn a_holder_of_a_grant_dies_beside_one_that_wanted_the_same() {
    const OTHER: u32 = 3;
    for announced_first in [true, false] {
        at_every_step(&[1, 2, 3], 0, 1, |scene, steps| {
            let position = scene.ring.dequeue_pos.load(SeqCst);
            let mut other = scene.ring.actors().claim(OTHER, 0).unwrap();
            if announced_first {
                scene.ring.announce(&mut other, Announcement::get(position));
            }
            let left = scene.straight_grant(steps);
            if !announced_first {
                scene.ring.announce(&mut other, Announcement::get(position));
            }
            scene.fates.kill(VICTIM);
            scene.fates.kill(OTHER);
            assert_eq!(scene.ring.recover(OTHER, &scene.fates), Recovery::Done);
            left
        });
    }
}

/// A live one is about to claim the same position: the first repair settles the record alone.
#[test]
fn a_holder_of_a_grant_dies_beside_one_that_still_wants_the_same() {
    at_every_step(&[1, 2, 3], 0, 1, |scene, steps| {
        let position = scene.ring.dequeue_pos.load(SeqCst);
        scene.ring.announce(&mut scene.survivor, Announcement::get(position));
        let left = scene.straight_grant(steps);
        scene.fates.kill(VICTIM);
        let first = scene.ring.recover(VICTIM, &scene.fates);
        scene.ring.announce(&mut scene.survivor, Announcement::IDLE);
        if first == Recovery::Done {
            // Nothing was claimed, or all of it settled: for the caller's own repair.
            scene.ring.participants().bury(VICTIM);
        }
        left
    });
}

/// A repairer dies between any two parts of its repair, or repeats one.
#[test]
fn repair_of_blocks_may_stop_anywhere_and_start_over() {
    let parts: [fn(&Ring, &Fates); 4] = [
        |ring, fates| ring.drop_copies(&ring.claims(VICTIM, fates)),
        |ring, _| ring.settle_leases(VICTIM),
        |ring, _| ring.sweep(VICTIM),
        |ring, _| ring.sweep_blocks(VICTIM),
    ];
    for done in 0..=parts.len() {
        for grant in [Scene::grant, Scene::straight_grant] {
            at_every_step(&[2], 0, 1, |scene, steps| {
                let left = grant(scene, steps);
                scene.fates.kill(VICTIM);
                parts[..done].iter().for_each(|part| part(&scene.ring, &scene.fates));
                left
            });
        }
        at_every_step(&[2], 1, 0, |scene, steps| {
            let over = scene.put(steps);
            scene.fates.kill(VICTIM);
            parts[..done].iter().for_each(|part| part(&scene.ring, &scene.fates));
            (None, over)
        });
    }
}

/// A getter frees some blocks and dies; the putter, alive, uses one of them anew before
/// the repair, which must leave it alone and free the others.
#[test]
fn blocks_that_were_freed_and_used_again_are_left_alone() {
    let mut scene = Scene::new(2, 0, 0, 1300);
    put(&scene.ring, &mut scene.survivor, 7, 1300).unwrap();
    scene.inside.push(7);
    // Announced, claimed, taken, committed, and the last of three blocks given back.
    scene.get(5);
    let again = scene.ring.pool.take(256, 1).unwrap();
    scene.kill_and_recover();
    assert_eq!(scene.ring.blocks_used(), 1);
    assert_eq!(
        scene.ring.pool.follow(scene.ring.pool.describe(&again)).unwrap().blocks,
        again.blocks
    );
    scene.ring.pool.free_all(&again.blocks, again.owner);
    scene.check(None);
}

/// What a dead putter had committed is not swept, in a slot, in a live getter's hands, or
/// in its lease record.
#[test]
fn committed_messages_outlive_their_putter() {
    for len in LENGTHS {
        let mut scene = Scene::new(3, 0, 0, len);
        for n in 0..3 {
            put(&scene.ring, &mut scene.victim, n, len).unwrap();
        }
        let leased = scene.ring.try_take(&mut scene.survivor).unwrap();
        assert_eq!(leased.position(), None, "in a lease record");
        let position = scene.ring.dequeue_pos.load(SeqCst);
        scene.ring.announce(&mut scene.survivor, Announcement::get(position));
        scene.ring.claim_get(position).unwrap();
        scene.ring.mark_taken(position, 1);
        scene.kill_and_recover();
        for (n, place) in [leased, Place::slot(position)].into_iter().enumerate() {
            let mut buffer = vec![0; len];
            assert_eq!(scene.ring.copy_taken(place, &mut buffer), Ok(len));
            assert_eq!(buffer, bytes(n as u64, len));
            scene.ring.release_taken(&mut scene.survivor, place);
        }
        scene.inside.push(2);
        scene.check(None);
    }
}

/// Redelivered grants are taken again, and their taker may die, too.
#[test]
fn a_grant_is_redelivered_from_hand_to_hand() {
    for steps in [3, 6, 7] {
        let mut scene = Scene::new(2, 1, 1, 5000);
        let (redelivered, _) = scene.grant(steps);
        scene.kill_and_recover();
        let other = &mut scene.ring.actors().claim(3, 0).unwrap();
        let place = scene.ring.try_take(other).unwrap();
        assert_eq!(scene.ring.len(), 0, "granted counts as taken");
        let mut contents = Contents::default();
        assert!(scene.ring.contents(place, &mut contents) && contents.len() == 5000);
        scene.fates.kill(3);
        assert_eq!(scene.ring.recover(3, &scene.fates), Recovery::Done);
        scene.check(redelivered);
    }
}
