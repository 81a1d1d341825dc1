//! What a peer wrote makes no call take longer than in proportion to the ring: large rings
//! full of words that each ask for a walk through all the others.

use super::blocks::{bytes, pooled};
use super::{Fates, ring};
use crate::blocks::Chain;
use crate::memory::{Heap, Memory};
use crate::mpmc::word::{IMMEDIATE, SHUTDOWN, marks};
use crate::mpmc::{Announcement, Geometry, Options, Phase, Recovery, Ring, State, TryGet};
use crate::peer::{Identity, Liveness};
use crate::sync::Ordering::SeqCst;
use rustix::time::{ClockId, clock_gettime};

/// Processor seconds that a call gets here: hundreds of times what it takes, and less than
/// the square of the ring's size would.
const MOST: i64 = 20;

fn in_time<R>(call: impl FnOnce() -> R) -> R {
    let seconds = || clock_gettime(ClockId::ThreadCPUTime).tv_sec;
    let start = seconds();
    let result = call();
    let took = seconds() - start;
    assert!(took < MOST, "{took} s of the processor");
    result
}

#[test]
fn throwing_away_takes_one_walk_whatever_was_given_back() {
    let slots = 1 << 15;
    let ring = ring(slots);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    for index in 0..slots {
        ring.state_word(index).unwrap().store(State::of(Phase::Redeliver, 0).0, SeqCst);
    }
    ring.marks.store(marks::DISCARD | marks::REDELIVER, SeqCst);
    ring.enqueue_pos.store(SHUTDOWN | IMMEDIATE, SeqCst);
    assert_eq!(in_time(|| ring.get_number(&mut actor)), Err(TryGet::ShutDown));
    for index in 0..slots {
        assert_eq!(ring.state(index).and_then(State::phase), Some(Phase::Empty));
    }
}

#[test]
fn a_sweep_follows_each_block_once_whoever_names_it() {
    let slots = 1 << 15;
    let ring = pooled(slots, 8 << 20, 0);
    let chain = ring.pool.take(8 << 20, 2).unwrap();
    // The last block goes on with the first.
    let what = ring.pool.describe(&chain);
    let last = chain.blocks.last().unwrap();
    ring.pool.link_of(*last).store(what.first.0, SeqCst);
    for index in 0..slots {
        ring.write_descriptor(index, what);
        ring.publish(index);
    }
    let fates = Fates::default();
    fates.kill(2);
    assert_eq!(in_time(|| ring.recover(2, &fates)), Recovery::Done);
    assert_eq!(ring.blocks_used(), chain.blocks.len() as u64, "they are in use");
}

/// Who reads or writes a message where it lies does so in many small pieces.
#[test]
fn a_piece_of_a_message_is_found_without_a_walk_through_its_blocks() {
    let ring = pooled(1 << 16, 128 << 20, 0);
    // What is left is small blocks: as many as a chain can have.
    let others = ring.pool.take(96 << 20, 1).unwrap();
    let mut chain = ring.pool.take(32 << 20, 1).unwrap();
    let whole = chain.blocks.clone();
    assert_eq!(whole.len(), chain.len / 256, "a block for each piece");
    // Every block that a piece is past is none of the pool's: a walk ends there at once,
    // and has found nothing.
    let mut pieces = |piece: &mut dyn FnMut(&Chain, usize)| {
        chain.blocks.clone_from(&whole);
        for index in 0..whole.len() {
            piece(&chain, 256 * index);
            chain.blocks[index] = whole[index].nowhere();
        }
    };
    pieces(&mut |chain, at| ring.pool.write(chain, at, &at.to_le_bytes()).unwrap());
    pieces(&mut |chain, at| {
        let mut word = [0; 8];
        ring.pool.read(chain, at, &mut word).unwrap();
        assert_eq!(usize::from_le_bytes(word), at);
    });
    // Nor does who asks for what lies together walk through all that follows.
    chain.blocks.clone_from(&whole);
    in_time(|| {
        for at in (0..chain.len).step_by(8 * 256) {
            assert!(ring.pool.run(&chain, at + 13).is_some());
        }
    });
    assert!(ring.pool.run(&chain, chain.len).is_none());
    ring.pool.free_all(&whole, chain.owner);
    ring.pool.free_all(&others.blocks, others.owner);
}

#[test]
fn a_chain_is_no_longer_than_the_pool() {
    let ring = pooled(1, 1 << 20, 0);
    let chain = ring.pool.take(300, 2).unwrap();
    let small = chain.blocks[0];
    ring.pool.write(&chain, 0, &bytes(1, 300)).unwrap();
    let mut what = ring.pool.describe(&chain);
    what.len = ring.max_message() as u64;
    let last = chain.blocks.last().unwrap();
    ring.pool.link_of(*last).store(what.first.0, SeqCst);
    assert_eq!(ring.pool.walk(what).next(), Some(small));
    assert!(ring.pool.walk(what).count() as u64 <= ring.geometry().pool().blocks());
    assert!(ring.pool.follow(what).is_none(), "it has not the room");
    what.len = 513;
    ring.pool.link_of(*last).store(0, SeqCst);
    assert!(ring.pool.follow(what).is_none(), "nor has one that ends");
    what.len = 512;
    assert_eq!(ring.pool.follow(what).unwrap().blocks, chain.blocks);
}

/// A peer that lives announces everything, and has the dead announce everything, too: in
/// all records there are. Each position waits for it, and repair must not wait at each.
#[test]
fn repair_takes_one_look_at_each_actor_whatever_they_announce() {
    let (slots, actors) = (1 << 14, 512);
    let options = Options { participants: 2, actors, ..Options::new(slots, 8) };
    let geometry = Geometry::new(&options).unwrap();
    let memory = Memory::new(Heap::new(usize::try_from(geometry.total_len()).unwrap()));
    let ring = Ring::new(&memory, geometry).unwrap();
    for id in 1..=2 {
        ring.participants().join(id, Identity::default());
    }
    let mut taken = Vec::new();
    for index in 0..actors {
        let mut actor = ring.actors().claim(1 + index % 2, 0).unwrap();
        ring.actors().announce_many(&mut actor, Announcement::put(0), slots);
        taken.push(actor);
    }
    // Who asks after a claim asks after each participant once.
    assert!(ring.claimants(Announcement::put(7)).into_iter().eq([1, 2]));
    assert!(ring.claimants(Announcement::get(7)).is_empty());
    // Everything is claimed, and nothing is written.
    ring.enqueue_pos.store(ring.positions.advance(0, slots), SeqCst);
    let asked = std::cell::Cell::new(0);
    let fates = Counting(&asked);
    assert_eq!(in_time(|| ring.recover(2, &fates)), Recovery::Retry);
    assert!(asked.get() <= 3, "the kernel was asked {} times", asked.get());
    // It lets go: now all of it is the dead's.
    for actor in taken.iter_mut().filter(|actor| actor.participant() == 1) {
        ring.actors().withdraw_many(actor);
    }
    assert_eq!(in_time(|| ring.recover(2, &fates)), Recovery::Done);
    for index in 0..slots {
        assert_eq!(ring.state(index).and_then(State::phase), Some(Phase::Tomb));
    }
}

/// The second is dead. Counts the questions.
struct Counting<'a>(&'a std::cell::Cell<u32>);

impl Liveness for Counting<'_> {
    fn proven_dead(&self, participant: u32) -> bool {
        self.0.set(self.0.get() + 1);
        participant == 2
    }

    fn alone(&self, _: u32, body: &mut dyn FnMut()) -> bool {
        body();
        true
    }
}
