//! What a peer wrote makes no call take longer than in proportion to the ring: large rings
//! full of words that each ask for a walk through all the others.

use super::blocks::{bytes, pooled};
use super::{Fates, ring};
use crate::mpmc::word::{IMMEDIATE, SHUTDOWN, marks};
use crate::mpmc::{Phase, Recovery, State, TryGet};
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
    let what = ring.pool.describe(&chain, 2);
    let last = chain.blocks.last().unwrap();
    ring.pool.link_of(last.number).store(what.first.0, SeqCst);
    for index in 0..slots {
        ring.write_descriptor(index, what);
        ring.publish(index);
    }
    let fates = Fates::default();
    fates.kill(2);
    assert_eq!(in_time(|| ring.recover(2, &fates)), Recovery::Done);
    assert_eq!(ring.blocks_used(), chain.blocks.len() as u64, "they are in use");
}

#[test]
fn a_chain_is_no_longer_than_the_pool() {
    let ring = pooled(1, 1 << 20, 0);
    let chain = ring.pool.take(300, 2).unwrap();
    let small = chain.blocks[0];
    ring.pool.write(&chain, 0, &bytes(1, 300)).unwrap();
    let mut what = ring.pool.describe(&chain, 2);
    what.len = ring.max_message() as u64;
    let last = chain.blocks.last().unwrap();
    ring.pool.link_of(last.number).store(what.first.0, SeqCst);
    assert_eq!(ring.pool.walk(what).next(), Some(small));
    assert!(ring.pool.walk(what).count() as u64 <= ring.geometry().pool().blocks());
}
