//! Batches: whole, in order, exact at the edges; and an actor that stops after any of
//! a batch's steps and is dead.

use super::{Fates, ring};
use crate::mpmc::{Announcement, Batch, Phase, Recovery, Ring, State, TryGet, TryPut};
use crate::peer::Actor;
use crate::sync::Ordering::SeqCst;

const VICTIM: u32 = 2;
const OTHER: u32 = 3;
/// What the victim puts: this and the next.
const ITS: u64 = 900;

fn batch(numbers: impl IntoIterator<Item = u64>) -> Batch {
    let mut batch = Batch::new();
    numbers.into_iter().for_each(|n| batch.push(&n.to_le_bytes()));
    batch
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.iter().map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn get_many(ring: &Ring, actor: &mut Actor, max: usize) -> Result<Vec<u64>, TryGet> {
    let mut into = Batch::new();
    let got = ring.try_get_many(actor, max, &mut into)?;
    assert_eq!(got, into.len());
    Ok(numbers(&into))
}

#[test]
fn batches_of_all_lengths_in_rings_of_all_sizes() {
    for slots in [1, 2, 3, 10] {
        let ring = ring(slots);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let (mut next, mut expected) = (0_u64, 0_u64);
        for round in 0..500_u64 {
            let all = batch(next..next + round % (slots + 3) + 1);
            match ring.try_put_many(&mut actor, &all, 0) {
                Ok(put) => next += put as u64,
                Err(TryPut::Full) => assert!(ring.is_full()),
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!(ring.len(), next - expected);
            let max = usize::try_from(round / 7 % (slots + 2)).unwrap();
            match get_many(&ring, &mut actor, max) {
                Ok(got) => {
                    assert_eq!(got.len() as u64, (max as u64).min(next - expected));
                    for n in got {
                        assert_eq!(n, expected);
                        expected += 1;
                    }
                }
                Err(TryGet::Empty) => assert_eq!(next, expected),
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!(ring.actors().covering(actor.index()), (Announcement::IDLE, 1));
        }
        assert!(next > 300);
    }
}

#[test]
fn batches_of_words_go_the_short_way_round_and_round() {
    for slots in [1, 3, 5, 7] {
        let ring = ring(slots);
        assert!(ring.has_words());
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let (mut next, mut expected) = (0_u64, 0_u64);
        for round in 0..500_u64 {
            let wanted = round % (slots + 3);
            let all: Vec<u8> = (next..next + wanted).flat_map(u64::to_le_bytes).collect();
            let put = ring.put_words_now(&mut actor, &all);
            assert_eq!(put, wanted.min(slots - (next - expected)));
            next += put;
            assert_eq!(ring.len(), next - expected);
            let max = round / 7 % (slots + 2);
            let mut into = vec![0xEE; usize::try_from(8 * max + 3).unwrap()];
            let got = ring.get_words_now(&mut actor, &mut into);
            assert_eq!(got, max.min(next - expected));
            let (words, rest) = into.split_at(usize::try_from(8 * got).unwrap());
            for word in words.chunks_exact(8) {
                assert_eq!(word, expected.to_le_bytes());
                expected += 1;
            }
            assert!(rest.iter().all(|byte| *byte == 0xEE), "beyond what was taken");
            assert_eq!(ring.actors().covering(actor.index()), (Announcement::IDLE, 1));
        }
        assert!(next > 200);
        assert_eq!(ring.actors().totals(), (next, expected));
        ring.shutdown(&mut actor, false);
        assert_eq!(ring.put_words_now(&mut actor, &[0; 8]), 0);
    }
    assert!(!ring(2).has_words());
}

#[test]
fn a_batch_puts_what_there_is_room_for_and_counts() {
    let ring = ring(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    ring.put_number(&mut actor, 7).unwrap();
    let all = batch(0..5);
    assert_eq!(ring.try_put_many(&mut actor, &all, 0), Ok(2));
    assert_eq!(ring.try_put_many(&mut actor, &all, 2), Err(TryPut::Full));
    assert_eq!(get_many(&ring, &mut actor, 2), Ok(vec![7, 0]));
    assert_eq!(ring.try_put_many(&mut actor, &all, 2), Ok(2));
    assert_eq!(ring.try_put_many(&mut actor, &all, 5), Err(TryPut::TooLong), "nothing to put");
    assert_eq!(get_many(&ring, &mut actor, 9), Ok(vec![1, 2, 3]));
    assert_eq!(get_many(&ring, &mut actor, 9), Err(TryGet::Empty));
    assert_eq!(get_many(&ring, &mut actor, 0), Ok(vec![]));
    assert_eq!(ring.actors().totals(), (5, 5));
    let mut long = batch(0..1);
    long.push(&[0; 100]);
    assert_eq!(ring.try_put_many(&mut actor, &long, 0), Ok(1));
    assert_eq!(ring.try_put_many(&mut actor, &long, 1), Err(TryPut::TooLong));
    ring.shutdown(&mut actor, false);
    assert_eq!(ring.try_put_many(&mut actor, &all, 0), Err(TryPut::ShutDown));
    assert_eq!(get_many(&ring, &mut actor, 9), Ok(vec![0]));
    assert_eq!(get_many(&ring, &mut actor, 9), Err(TryGet::ShutDown));
}

/// Everything a test run is made of.
struct Scene {
    ring: Ring,
    fates: Fates,
    survivor: Actor,
    victim: Actor,
    /// What is in the ring, oldest first.
    inside: Vec<u64>,
    /// What was given back, oldest first.
    redelivered: Vec<u64>,
}

impl Scene {
    /// A ring after `offset` messages, with `prefill` inside.
    fn new(slots: u64, offset: u64, prefill: u64) -> Self {
        let ring = ring(slots);
        let mut survivor = ring.actors().claim(1, 0).unwrap();
        let victim = ring.actors().claim(VICTIM, 0).unwrap();
        for n in 0..offset {
            ring.put_number(&mut survivor, n).unwrap();
            assert_eq!(ring.get_number(&mut survivor), Ok(n));
        }
        let inside: Vec<u64> = (100..100 + prefill).collect();
        for n in &inside {
            ring.put_number(&mut survivor, *n).unwrap();
        }
        Self { ring, fates: Fates::default(), survivor, victim, inside, redelivered: Vec::new() }
    }

    fn tail(&self) -> u64 {
        self.ring.enqueue_pos.load(SeqCst)
    }

    fn head(&self) -> u64 {
        self.ring.dequeue_pos.load(SeqCst)
    }

    /// The first `steps` of the steps of a put of `count`: 3, one write and one commit for each
    /// message, 3.
    fn put_many(&mut self, count: u64, steps: u64) {
        let (first, ring) = (self.tail(), &self.ring);
        let mut at = first;
        for step in 0..steps {
            match step {
                // The count alone, beside what was announced before.
                0 => {
                    let before = ring.actors.announcement(self.victim.index());
                    ring.actors.announce_many(&mut self.victim, before, count);
                }
                1 => ring.announce(&mut self.victim, Announcement::put(first)),
                2 => ring.claim_put_many(first, count).unwrap(),
                step if step < 3 + count => {
                    ring.write(at, &(ITS + step - 3).to_le_bytes());
                    at = ring.positions.next(at);
                    if step == 2 + count {
                        at = first;
                    }
                }
                step if step < 3 + 2 * count => {
                    ring.publish(at);
                    self.inside.push(ITS + step - 3 - count);
                    at = ring.positions.next(at);
                }
                step if step == 3 + 2 * count => {
                    ring.announce(&mut self.victim, Announcement::IDLE);
                }
                step if step == 4 + 2 * count => ring.actors.withdraw_many(&mut self.victim),
                _ => ring.not_empty.notify_many(count),
            }
        }
    }

    /// The first `steps` of the steps of a get of `count`: 3, one copy and one release for
    /// each message with the commit between, 3.
    fn get_many(&mut self, count: u64, steps: u64) {
        let (first, ring) = (self.head(), &self.ring);
        let mut at = first;
        for step in 0..steps {
            match step {
                0 => {
                    let before = ring.actors.announcement(self.victim.index());
                    ring.actors.announce_many(&mut self.victim, before, count);
                }
                1 => ring.announce(&mut self.victim, Announcement::get(first)),
                2 => {
                    ring.claim_get_many(first, count).unwrap();
                    let many = usize::try_from(count).unwrap();
                    self.redelivered = self.inside.drain(..many).collect();
                }
                step if step < 3 + count => {
                    assert_eq!(ring.read(at, &mut [0; 8]), Some(8));
                    at = ring.positions.next(at);
                }
                step if step == 3 + count => {
                    ring.commit_get_many(&mut self.victim, first);
                    self.redelivered.clear();
                    at = first;
                }
                step if step < 4 + 2 * count => {
                    ring.release(at);
                    at = ring.positions.next(at);
                }
                step if step == 4 + 2 * count => {
                    ring.announce(&mut self.victim, Announcement::IDLE);
                }
                step if step == 5 + 2 * count => ring.actors.withdraw_many(&mut self.victim),
                _ => ring.not_full.notify_many(count),
            }
        }
    }

    fn kill_and_recover(&mut self) {
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Alive);
        self.fates.kill(VICTIM);
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Done);
        assert_eq!(self.ring.recover(VICTIM, &self.fates), Recovery::Nothing);
        assert_eq!(self.ring.actors().of(VICTIM).count(), 0);
    }

    /// Contents, order, capacity, and that the record is as new.
    fn check(&mut self) {
        let Self { ring, survivor, inside, redelivered, .. } = self;
        assert_eq!(ring.len(), (inside.len() + redelivered.len()) as u64);
        for n in redelivered.iter().chain(inside.iter()) {
            assert_eq!(ring.get_number(survivor), Ok(*n));
        }
        assert_eq!(ring.get_number(survivor), Err(TryGet::Empty));
        for lap in 0..3 {
            let all = batch(lap * 1000..lap * 1000 + ring.capacity() + 1);
            let whole = usize::try_from(ring.capacity()).unwrap();
            assert_eq!(ring.try_put_many(survivor, &all, 0), Ok(whole));
            assert!(ring.is_full() && ring.put_number(survivor, 0).is_err());
            assert_eq!(get_many(ring, survivor, whole + 1), Ok(numbers(&all)[..whole].to_vec()));
        }
        for index in 0..ring.capacity() {
            assert_eq!(ring.state(index).and_then(State::phase), Some(Phase::Empty));
        }
        let fresh = ring.actors().claim(VICTIM, self.victim.index()).unwrap();
        assert_eq!(ring.actors().covering(fresh.index()), (Announcement::IDLE, 1));
    }
}

/// All sizes, places and fillings, and batches of every length that fits.
fn everywhere(puts: bool, mut body: impl FnMut(Scene, u64)) {
    for slots in [1, 2, 3, 5] {
        for offset in 0..2 * slots {
            for prefill in 0..=slots {
                let most = if puts { slots - prefill } else { prefill };
                for count in 1..=most {
                    body(Scene::new(slots, offset, prefill), count);
                }
            }
        }
    }
}

#[test]
fn a_putter_of_a_batch_dies_after_any_step() {
    everywhere(true, |probe, count| {
        let (slots, offset, prefill) =
            (probe.ring.capacity(), probe.ring.positions.count(probe.head()), probe.inside.len());
        for steps in 0..=6 + 2 * count {
            let mut scene = Scene::new(slots, offset, prefill as u64);
            scene.put_many(count, steps);
            scene.kill_and_recover();
            scene.check();
        }
    });
}

#[test]
fn a_getter_of_a_batch_dies_after_any_step() {
    everywhere(false, |probe, count| {
        let (slots, offset, prefill) =
            (probe.ring.capacity(), probe.ring.positions.count(probe.head()), probe.inside.len());
        for steps in 0..=7 + 2 * count {
            let mut scene = Scene::new(slots, offset, prefill as u64);
            scene.get_many(count, steps);
            scene.kill_and_recover();
            scene.check();
        }
    });
}

/// Slots that a dead getter released are in use again when repair finishes the others.
#[test]
fn others_work_on_between_the_death_and_its_repair() {
    everywhere(false, |probe, count| {
        let (slots, offset, prefill) =
            (probe.ring.capacity(), probe.ring.positions.count(probe.head()), probe.inside.len());
        for steps in 0..=7 + 2 * count {
            let mut scene = Scene::new(slots, offset, prefill as u64);
            scene.get_many(count, steps);
            let all = batch(500..500 + slots);
            if let Ok(put) = scene.ring.try_put_many(&mut scene.survivor, &all, 0) {
                scene.inside.extend(&numbers(&all)[..put]);
            }
            while let Some(first) = scene.inside.first().copied() {
                match scene.ring.get_number(&mut scene.survivor) {
                    Ok(got) => assert_eq!(got, first),
                    Err(why) => panic!("{why:?}"),
                }
                scene.inside.remove(0);
            }
            scene.kill_and_recover();
            scene.check();
        }
    });
}

/// A loser that announced a position of the batch dies, too, and is repaired first.
#[test]
fn a_dead_rival_of_a_dead_batch_is_repaired_first() {
    for steps in 3..=7 + 2 * 3 {
        for behind in 0..3 {
            let mut scene = Scene::new(5, 3, 4);
            let mut at = scene.head();
            for _ in 0..behind {
                at = scene.ring.positions.next(at);
            }
            let mut rival = scene.ring.actors().claim(OTHER, 0).unwrap();
            scene.ring.actors.announce_many(&mut rival, Announcement::get(at), 2);
            scene.get_many(3, steps);
            scene.fates.kill(OTHER);
            // Once the batch has released what the rival had announced, nothing is in doubt.
            let released = steps.saturating_sub(4 + 3);
            let over = released >= (behind + 2).min(3);
            let first = scene.ring.recover(OTHER, &scene.fates);
            let expected = if over { Recovery::Done } else { Recovery::Retry };
            // What the rival did not get within the batch it may not touch.
            assert_eq!(first, expected, "the batch lives: {steps} steps, {behind} behind");
            scene.fates.kill(VICTIM);
            if !over {
                assert_eq!(scene.ring.recover(OTHER, &scene.fates), Recovery::Done);
            }
            assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
            scene.check();
        }
    }
}

/// One process, two threads: one amidst a batch, the other had announced part of it.
#[test]
fn a_dead_thread_beside_a_dead_batch_gives_nothing_back_that_was_taken() {
    for steps in 3..=7 + 2 * 2 {
        let mut scene = Scene::new(3, 1, 3);
        let head = scene.head();
        // Its record comes before the batch's, so it is settled first.
        let mut first = scene.ring.actors().claim(4, 7).unwrap();
        let swapped = scene.ring.actors().claim(VICTIM, 2).unwrap();
        scene.ring.announce(&mut first, Announcement::get(head));
        let mut rival = std::mem::replace(&mut scene.victim, swapped);
        scene.ring.announce(&mut rival, Announcement::get(head));
        scene.ring.actors().release(first);
        assert!(rival.index() < scene.victim.index());
        scene.get_many(2, steps);
        scene.kill_and_recover();
        scene.check();
    }
}

#[test]
fn a_live_rival_within_the_batch_is_waited_for() {
    for put in [true, false] {
        for behind in 0..3 {
            let mut scene = Scene::new(5, 4, if put { 0 } else { 3 });
            let mut at = if put { scene.tail() } else { scene.head() };
            for _ in 0..behind {
                at = scene.ring.positions.next(at);
            }
            let mut rival = scene.ring.actors().claim(OTHER, 0).unwrap();
            let what = if put { Announcement::put(at) } else { Announcement::get(at) };
            scene.ring.announce(&mut rival, what);
            if put {
                scene.put_many(3, 4)
            } else {
                scene.get_many(3, 4)
            }
            scene.fates.kill(VICTIM);
            assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Retry);
            scene.ring.announce(&mut rival, Announcement::IDLE);
            assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
            scene.check();
        }
    }
}

#[test]
fn a_live_batch_is_waited_for_at_each_of_its_positions() {
    for put in [true, false] {
        for behind in 0..3 {
            for steps in 3..=7 {
                let mut scene = Scene::new(5, 4, if put { 0 } else { 3 });
                let mut at = if put { scene.tail() } else { scene.head() };
                for _ in 0..behind {
                    at = scene.ring.positions.next(at);
                }
                let mut rival = scene.ring.actors().claim(OTHER, 0).unwrap();
                let what = if put { Announcement::put(at) } else { Announcement::get(at) };
                scene.ring.announce(&mut rival, what);
                if put {
                    scene.put_many(3, steps)
                } else {
                    scene.get_many(3, steps)
                }
                scene.fates.kill(OTHER);
                let committed = put && behind == 0 && steps == 7;
                let expected = if committed { Recovery::Done } else { Recovery::Retry };
                assert_eq!(scene.ring.recover(OTHER, &scene.fates), expected);
            }
        }
    }
}

/// Whatever the words of a record say, repair ends and the ring works.
#[test]
fn wild_announcements_of_the_dead_do_no_harm_to_the_walls() {
    for kind in 0..4 {
        for position in [0, 3, 7, u64::MAX >> 2, 1 << 40] {
            for count in [0, 1, 2, 6, 1 << 40, u64::MAX] {
                let mut scene = Scene::new(5, 7, 3);
                let what = Announcement(position << 2 | kind);
                scene.ring.actors.announce_many(&mut scene.victim, what, count);
                scene.fates.kill(VICTIM);
                assert_eq!(scene.ring.recover(VICTIM, &scene.fates), Recovery::Done);
                while scene.ring.get_number(&mut scene.survivor).is_ok() {}
                for n in 0..5 {
                    scene.ring.put_number(&mut scene.survivor, n).unwrap();
                }
                assert_eq!(get_many(&scene.ring, &mut scene.survivor, 9), Ok(vec![0, 1, 2, 3, 4]));
            }
        }
    }
}

#[test]
fn tombs_and_given_back_messages_stand_between_batches() {
    let mut scene = Scene::new(5, 2, 1);
    scene.put_many(3, 7);
    scene.kill_and_recover();
    scene.ring.put_number(&mut scene.survivor, 1).unwrap();
    let Scene { ring, survivor, .. } = &mut scene;
    // 100, 900, two tombs, 1.
    assert_eq!(get_many(ring, survivor, 9), Ok(vec![100, ITS]));
    assert_eq!(get_many(ring, survivor, 9), Ok(vec![1]));
    let mut scene = Scene::new(5, 2, 3);
    scene.get_many(2, 4);
    scene.kill_and_recover();
    let Scene { ring, survivor, .. } = &mut scene;
    assert_eq!(get_many(ring, survivor, 9), Ok(vec![]), "a single call first");
    assert_eq!(ring.get_number(survivor), Ok(100));
    assert_eq!(ring.get_number(survivor), Ok(101));
    assert_eq!(get_many(ring, survivor, 9), Ok(vec![]), "which takes the mark down");
    assert_eq!(ring.get_number(survivor), Ok(102));
}
