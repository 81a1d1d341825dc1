//! Models of the MPMC ring: every interleaving and every stale read that the memory
//! model allows, on rings small enough to explore.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ringway-core --test loom_mpmc`
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use ringway_core::memory::Memory;
use ringway_core::mpmc::{Announcement, Batch, Geometry, Options, Recovery, Ring, TryGet, TryPut};
use ringway_core::peer::{Actor, Identity, Liveness};
use ringway_core::wait::{Deadline, barrier};

/// Participant 2 is dead; nobody else is.
struct SecondIsDead;

impl Liveness for SecondIsDead {
    fn proven_dead(&self, participant: u32) -> bool {
        participant == 2
    }
    fn alone(&self, _: u32, body: &mut dyn FnMut()) -> bool {
        body();
        true
    }
}

/// Runs `body` in every interleaving with up to three preemptions.
fn explore(body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(body);
}

/// A ring with both participants joined, and an actor for the main thread.
fn ring_in(memory: fn(usize) -> Memory, slots: u64) -> (Arc<Ring>, Actor) {
    let options = Options { participants: 2, actors: 3, ..Options::new(slots, 8) };
    let geometry = Geometry::new(&options).unwrap();
    let len = usize::try_from(geometry.total_len()).unwrap();
    let ring = Ring::new(&memory(len), geometry).unwrap();
    ring.participants().join(1, Identity::default());
    ring.participants().join(2, Identity::default());
    let actor = ring.actors().claim(1, 0).unwrap();
    (Arc::new(ring), actor)
}

fn ring(slots: u64) -> (Arc<Ring>, Actor) {
    ring_in(Memory::interleaved, slots)
}

fn put(ring: &Ring, actor: &mut Actor, n: u64) -> Result<(), TryPut> {
    ring.try_put(actor, &n.to_le_bytes())
}

fn get(ring: &Ring, actor: &mut Actor) -> Result<u64, TryGet> {
    let mut bytes = [0; 8];
    assert_eq!(ring.try_get(actor, &mut bytes)?, 8);
    Ok(u64::from_le_bytes(bytes))
}

fn in_passing(why: TryGet) -> bool {
    matches!(why, TryGet::Empty | TryGet::Pending(_) | TryGet::Busy)
}

/// Takes what is left, and checks that the ring works and has its exact capacity.
fn drain(ring: &Ring, actor: &mut Actor) -> Vec<u64> {
    let mut rest = Vec::new();
    loop {
        match get(ring, actor) {
            Ok(n) => rest.push(n),
            Err(TryGet::Empty) => break,
            Err(why) => panic!("{why:?}"),
        }
    }
    for n in 0..ring.capacity() {
        assert_eq!(put(ring, actor, n), Ok(()));
    }
    assert_eq!(put(ring, actor, 0), Err(TryPut::Full));
    rest
}

#[test]
fn a_put_and_a_get() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || {
                assert_eq!(put(&ring, &mut actor, 7), Ok(()));
                let second = put(&ring, &mut actor, 8);
                assert!(matches!(second, Ok(()) | Err(TryPut::Full | TryPut::Pending(_))));
                second.is_ok()
            })
        };
        let mut seen = Vec::new();
        match get(&ring, &mut actor) {
            Ok(n) => seen.push(n),
            Err(why) => assert!(in_passing(why), "{why:?}"),
        }
        let both = putter.join().unwrap();
        seen.extend(drain(&ring, &mut actor));
        assert_eq!(seen, if both { vec![7, 8] } else { vec![7] });
    });
}

#[test]
fn two_putters_claim_different_positions() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || put(&ring, &mut actor, 1).is_ok())
        };
        let mine = put(&ring, &mut actor, 2).is_ok();
        let its = putter.join().unwrap();
        assert!(mine != its, "one slot, one winner");
        assert_eq!(drain(&ring, &mut actor), [if mine { 2 } else { 1 }]);
    });
}

#[test]
fn two_getters_take_one_message_once() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        put(&ring, &mut actor, 5).unwrap();
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || get(&ring, &mut actor))
        };
        let mine = get(&ring, &mut actor);
        let its = getter.join().unwrap();
        assert!(mine == Ok(5) && its.is_err() || mine.is_err() && its == Ok(5), "{mine:?} {its:?}");
        assert_eq!(drain(&ring, &mut actor), []);
    });
}

/// Repairs until it is done, once the rivals have moved on.
fn finish(ring: &Ring, outcome: Recovery) {
    if outcome == Recovery::Retry {
        assert_eq!(ring.recover(2, &SecondIsDead), Recovery::Done);
    } else {
        assert_eq!(outcome, Recovery::Done);
    }
}

/// The dead announced a position and did not claim it; a live putter announces the
/// same, claims and commits while repair looks. Its claim must not become a tomb.
#[test]
fn repair_spares_the_claim_of_a_live_putter() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::put(0));
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || {
                assert_eq!(put(&ring, &mut actor, 7), Ok(()));
                // The announcement changes to a later one.
                ring.announce(&mut actor, Announcement::IDLE);
            })
        };
        let outcome = ring.recover(2, &SecondIsDead);
        putter.join().unwrap();
        finish(&ring, outcome);
        assert_eq!(drain(&ring, &mut actor), [7]);
    });
}

/// The same for a live getter: its message must not be delivered again.
#[test]
fn repair_spares_the_claim_of_a_live_getter() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        put(&ring, &mut actor, 7).unwrap();
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::get(0));
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || {
                assert_eq!(get(&ring, &mut actor), Ok(7));
                ring.announce(&mut actor, Announcement::IDLE);
            })
        };
        let outcome = ring.recover(2, &SecondIsDead);
        getter.join().unwrap();
        finish(&ring, outcome);
        assert_eq!(drain(&ring, &mut actor), []);
    });
}

/// The dead claimed a put. Repair and a getter meet at the hole.
#[test]
fn a_getter_meets_a_hole_being_buried() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::put(0));
        ring.claim_put(0).unwrap();
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || get(&ring, &mut actor).unwrap_err())
        };
        let outcome = ring.recover(2, &SecondIsDead);
        assert!(in_passing(getter.join().unwrap()));
        finish(&ring, outcome);
        assert_eq!(drain(&ring, &mut actor), []);
    });
}

/// The dead claimed a get. Repair and another getter, who may take what repair gives
/// back, meet.
#[test]
fn a_getter_meets_a_message_being_given_back() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        put(&ring, &mut actor, 7).unwrap();
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::get(0));
        ring.claim_get(0).unwrap();
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || get(&ring, &mut actor).ok())
        };
        let outcome = ring.recover(2, &SecondIsDead);
        let mut seen: Vec<u64> = getter.join().unwrap().into_iter().collect();
        finish(&ring, outcome);
        seen.extend(drain(&ring, &mut actor));
        assert_eq!(seen, [7]);
    });
}

/// A mark that is left over from an earlier repair is taken down by a getter that finds
/// nothing, while repair marks the next message.
#[test]
fn taking_down_an_old_mark_leaves_a_new_one() {
    explore(|| {
        let (ring, mut actor) = ring(1);
        let die_getting = |n, actor: &mut Actor| {
            put(&ring, actor, n).unwrap();
            let mut dead = ring.actors().claim(2, 0).unwrap();
            // One slot: position and lap are the same.
            ring.announce(&mut dead, Announcement::get(n));
            ring.claim_get(n).unwrap();
        };
        die_getting(0, &mut actor);
        assert_eq!(ring.recover(2, &SecondIsDead), Recovery::Done);
        assert_eq!(get(&ring, &mut actor), Ok(0));
        ring.participants().join(2, Identity::default());
        die_getting(1, &mut actor);
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || get(&ring, &mut actor).ok())
        };
        let outcome = ring.recover(2, &SecondIsDead);
        let mut seen: Vec<u64> = getter.join().unwrap().into_iter().collect();
        finish(&ring, outcome);
        seen.extend(drain(&ring, &mut actor));
        assert_eq!(seen, [1]);
    });
}

/// A getter that goes to sleep while a putter puts is woken, or does not sleep. A lost
/// wake-up is a deadlock of the model.
#[test]
fn a_sleeper_hears_of_the_put() {
    loom::model(|| {
        let (ring, mut actor) = ring_in(Memory::modelled, 1);
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || put(&ring, &mut actor, 7).unwrap())
        };
        let n = loop {
            let ticket = ring.not_empty().announce();
            // Loom knows no SeqCst accesses, but SeqCst fences.
            barrier::heavy();
            match get(&ring, &mut actor) {
                Ok(n) => break n,
                Err(TryGet::Empty) => drop(ring.not_empty().sleep(ticket, Deadline::NEVER)),
                // A nap.
                Err(TryGet::Pending(_)) => thread::yield_now(),
                Err(why) => panic!("{why:?}"),
            }
        };
        assert_eq!(n, 7);
        putter.join().unwrap();
    });
}

/// As [`explore`], with up to two preemptions: batches have many steps.
fn explore_batches(body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(body);
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.iter().map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// A batch of two, if there is room for two.
fn put_two(ring: &Ring, actor: &mut Actor, n: u64) -> usize {
    let mut batch = Batch::new();
    batch.push(&n.to_le_bytes());
    batch.push(&(n + 1).to_le_bytes());
    ring.try_put_many(actor, &batch, 0).unwrap_or(0)
}

fn get_two(ring: &Ring, actor: &mut Actor) -> Vec<u64> {
    let mut batch = Batch::new();
    if let Err(why) = ring.try_get_many(actor, 2, &mut batch) {
        assert!(in_passing(why), "{why:?}");
    }
    numbers(&batch)
}

#[test]
fn a_batch_put_and_a_batch_got() {
    explore_batches(|| {
        let (ring, mut actor) = ring(2);
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || assert_eq!(put_two(&ring, &mut actor, 7), 2))
        };
        let mut seen = get_two(&ring, &mut actor);
        putter.join().unwrap();
        seen.extend(drain(&ring, &mut actor));
        assert_eq!(seen, [7, 8]);
    });
}

#[test]
fn two_batches_take_two_messages_once() {
    explore_batches(|| {
        let (ring, mut actor) = ring(2);
        assert_eq!(put_two(&ring, &mut actor, 7), 2);
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || get_two(&ring, &mut actor))
        };
        let mut seen = get_two(&ring, &mut actor);
        seen.extend(getter.join().unwrap());
        seen.sort_unstable();
        assert_eq!(seen, [7, 8]);
        assert_eq!(drain(&ring, &mut actor), []);
    });
}

/// The dead announced the second position of what a live batch puts.
#[test]
fn repair_spares_the_claim_of_a_live_batch_of_puts() {
    explore_batches(|| {
        let (ring, mut actor) = ring(2);
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::put(1));
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || assert_eq!(put_two(&ring, &mut actor, 7), 2))
        };
        let outcome = ring.recover(2, &SecondIsDead);
        putter.join().unwrap();
        finish(&ring, outcome);
        assert_eq!(drain(&ring, &mut actor), [7, 8]);
    });
}

/// The same for gets: what the batch took must not be delivered again.
#[test]
fn repair_spares_the_claim_of_a_live_batch_of_gets() {
    explore_batches(|| {
        let (ring, mut actor) = ring(2);
        assert_eq!(put_two(&ring, &mut actor, 7), 2);
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::get(1));
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || assert_eq!(get_two(&ring, &mut actor), [7, 8]))
        };
        let outcome = ring.recover(2, &SecondIsDead);
        getter.join().unwrap();
        finish(&ring, outcome);
        assert_eq!(drain(&ring, &mut actor), []);
    });
}

/// The dead had committed a batch and released its first slot, which is in use again
/// while repair releases the second.
#[test]
fn a_putter_meets_a_batch_being_finished() {
    explore_batches(|| {
        let (ring, mut actor) = ring(2);
        assert_eq!(put_two(&ring, &mut actor, 7), 2);
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.actors().announce_many(&mut dead, Announcement::get(0), 2);
        ring.claim_get_many(0, 2).unwrap();
        ring.commit_get_many(&mut dead, 0);
        ring.release(0);
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || put_two(&ring, &mut actor, 20))
        };
        let outcome = ring.recover(2, &SecondIsDead);
        let put = putter.join().unwrap();
        finish(&ring, outcome);
        assert!(put >= 1);
        assert_eq!(drain(&ring, &mut actor), [20, 21][..put]);
    });
}
