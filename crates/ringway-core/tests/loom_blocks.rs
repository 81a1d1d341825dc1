//! Models of messages in blocks: every interleaving and every stale read that the memory
//! model allows, with a pool of one block.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ringway-core --test loom_blocks`
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;
use ringway_core::memory::Memory;
use ringway_core::mpmc::{Geometry, Options, Recovery, Ring, TryGet, TryPut};
use ringway_core::peer::{Actor, Identity, Liveness};
use ringway_core::wait::Deadline;

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
    explore_up_to(3, body);
}

/// As [`explore`]; fewer for `Memory::interleaved`, which tries a switch at every access.
fn explore_up_to(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(body);
}

/// A ring with both participants joined, whose slots are too short for the messages.
fn ring() -> Arc<Ring> {
    ring_in(Memory::modelled, 1)
}

fn ring_in(memory: fn(usize) -> Memory, slots: u64) -> Arc<Ring> {
    let small = Options::new(slots, 8);
    let options = Options { participants: 2, actors: 3, leases: 1, pool: 256, ..small };
    let geometry = Geometry::new(&options).unwrap();
    let len = usize::try_from(geometry.total_len()).unwrap();
    let ring = Ring::new(&memory(len), geometry).unwrap();
    ring.participants().join(1, Identity::default());
    ring.participants().join(2, Identity::default());
    Arc::new(ring)
}

/// A message of three words, one more than a slot has room for.
fn message(n: u8) -> [u8; 24] {
    [n; 24]
}

fn put(ring: &Ring, actor: &mut Actor, n: u8) -> Result<(), TryPut> {
    ring.try_put_long(actor, &message(n))
}

/// Takes a message, which must be whole.
fn get(ring: &Ring, actor: &mut Actor) -> Result<u8, TryGet> {
    let mut bytes = [0; 24];
    assert_eq!(ring.try_get(actor, &mut bytes)?, 24);
    assert_eq!(bytes, message(bytes[0]), "torn");
    Ok(bytes[0])
}

/// Edges mpmc-commit and block-owner: a message comes whole, and its block is written again
/// only after it was read.
#[test]
fn a_block_is_filled_read_and_filled_again() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || {
                put(&ring, &mut actor, 1).unwrap();
                // No room, or no block, until the getter is done.
                put(&ring, &mut actor, 2).is_ok()
            })
        };
        let mut seen: Vec<u8> = (0..2).filter_map(|_| get(&ring, &mut actor).ok()).collect();
        let both = putter.join().unwrap();
        seen.extend(get(&ring, &mut actor));
        assert_eq!(seen, if both { vec![1, 2] } else { vec![1] });
        assert_eq!(ring.blocks_used(), 0);
    });
}

/// Edge lease-record: the putter is dead and its blocks are swept while a getter moves its
/// message from the slot to a lease record. The message stays.
#[test]
fn a_sweep_spares_a_message_on_its_way_to_a_lease_record() {
    explore(|| swept_on_its_way(&ring()));
}

/// The same where something was given back before: then the slot says meanwhile who has taken it.
#[test]
fn a_sweep_spares_a_message_on_its_way_from_a_taken_slot() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        put(&ring, &mut actor, 1).unwrap();
        let place = ring.try_take(&mut actor).unwrap();
        ring.hand_back_stream(place);
        let again = ring.try_take(&mut actor).unwrap();
        ring.release_taken(&mut actor, again);
        swept_on_its_way(&ring);
    });
}

fn swept_on_its_way(ring: &Arc<Ring>) {
    let mut actor = ring.actors().claim(1, 0).unwrap();
    let mut dead = ring.actors().claim(2, 0).unwrap();
    put(ring, &mut dead, 7).unwrap();
    let repairer = {
        let ring = Arc::clone(ring);
        thread::spawn(move || ring.recover(2, &SecondIsDead))
    };
    let place = ring.try_take(&mut actor).unwrap();
    assert_eq!(repairer.join().unwrap(), Recovery::Done);
    let mut bytes = [0; 24];
    assert_eq!(ring.copy_taken(place, &mut bytes), Ok(24));
    assert_eq!((bytes, ring.blocks_used()), (message(7), 1));
    ring.release_taken(&mut actor, place);
    assert_eq!(ring.blocks_used(), 0);
}

/// Edge block-owner, seen by two putters: who takes the block that the other gave up finds
/// it as nobody else's.
#[test]
fn a_block_goes_from_hand_to_hand() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        put(&ring, &mut actor, 1).unwrap();
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            // Read and given back here, written again below.
            thread::spawn(move || get(&ring, &mut actor))
        };
        let again = put(&ring, &mut actor, 2).is_ok();
        assert_eq!(getter.join().unwrap(), Ok(1));
        assert_eq!(get(&ring, &mut actor).ok(), again.then_some(2));
    });
}

/// Edge lease-record: what a dead holder's record holds is redelivered whole.
#[test]
fn a_lease_record_is_redelivered_whole() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let mut dead = ring.actors().claim(2, 0).unwrap();
        put(&ring, &mut actor, 7).unwrap();
        ring.try_take(&mut dead).unwrap();
        let repairer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.recover(2, &SecondIsDead))
        };
        let early = get(&ring, &mut actor);
        assert_eq!(repairer.join().unwrap(), Recovery::Done);
        let got = early.or_else(|_| get(&ring, &mut actor));
        assert_eq!((got, ring.blocks_used()), (Ok(7), 0));
        assert_eq!(ring.len(), 0);
    });
}

/// Edge block-owner: who takes a block finds what its giver did before. After a shutdown, so
/// that nothing but the block tells of it: a put takes its blocks first, and then is refused
/// before it looks at a slot or for sleepers, which has a fence in models.
#[test]
fn who_takes_a_block_finds_it_done_with() {
    explore_up_to(2, || {
        let ring = ring_in(Memory::interleaved, 2);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        put(&ring, &mut actor, 1).unwrap();
        ring.shutdown(&mut actor, false);
        let data = Arc::new(AtomicU64::new(0));
        let getter = {
            let (ring, data) = (Arc::clone(&ring), Arc::clone(&data));
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || {
                data.store(1, Relaxed);
                get(&ring, &mut actor)
            })
        };
        match put(&ring, &mut actor, 2).unwrap_err() {
            TryPut::ShutDown => assert_eq!(data.load(Relaxed), 1),
            why => assert_eq!(why, TryPut::NoMemory),
        }
        assert_eq!(getter.join().unwrap(), Ok(1));
    });
}

/// Edge lease-record: who takes a record finds what its last holder did before.
#[test]
fn who_takes_a_lease_record_finds_it_done_with() {
    explore_up_to(2, || {
        let ring = ring_in(Memory::interleaved, 2);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        ring.try_put(&mut actor, &[1; 8]).unwrap();
        ring.try_put(&mut actor, &[2; 8]).unwrap();
        let first = ring.try_take(&mut actor).unwrap();
        let data = Arc::new(AtomicU64::new(0));
        let holder = {
            let (ring, data) = (Arc::clone(&ring), Arc::clone(&data));
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || {
                data.store(1, Relaxed);
                ring.release_taken(&mut actor, first);
            })
        };
        let second = ring.try_take(&mut actor).unwrap();
        if second == first {
            assert_eq!(data.load(Relaxed), 1);
        }
        holder.join().unwrap();
    });
}

/// Edge mpmc-shutdown: the mark of a shutdown is older than its flag, so who finds the ring shut down
/// and is done with a message wakes those who wait for that.
#[test]
fn who_finds_the_ring_shut_down_finds_the_mark() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let mut holder = ring.actors().claim(2, 0).unwrap();
        put(&ring, &mut actor, 7).unwrap();
        let place = ring.try_take(&mut holder).unwrap();
        let closer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.shutdown(&mut actor, false))
        };
        if ring.is_shut_down() {
            let sleeper = ring.not_empty().announce();
            ring.release_taken(&mut holder, place);
            assert!(ring.not_empty().moved_since(sleeper));
        }
        closer.join().unwrap();
    });
}

/// Edge mpmc-shutdown: who waits after a shutdown for a message that another participant
/// holds is woken when that one is done with it. A lost wake-up is a deadlock of the model.
#[test]
fn a_getter_hears_that_the_last_message_is_done_with() {
    explore_up_to(2, || {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let mut holder = ring.actors().claim(2, 0).unwrap();
        put(&ring, &mut actor, 7).unwrap();
        let place = ring.try_take(&mut holder).unwrap();
        ring.shutdown(&mut actor, false);
        // To the holder itself it is over.
        assert_eq!(get(&ring, &mut holder), Err(TryGet::ShutDown));
        let releaser = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.release_taken(&mut holder, place))
        };
        loop {
            let ticket = ring.not_empty().announce();
            match get(&ring, &mut actor) {
                Err(TryGet::ShutDown) => break,
                Err(TryGet::Empty) => drop(ring.not_empty().sleep(ticket, Deadline::NEVER)),
                other => panic!("{other:?}"),
            }
        }
        releaser.join().unwrap();
        assert_eq!(ring.blocks_used(), 0);
    });
}
