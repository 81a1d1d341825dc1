//! Messages in blocks, in one process: lengths, room, grants, wrong words.

use crate::blocks::{Chain, Walk};
use crate::memory::{Heap, Memory, Way};
use crate::mpmc::contents::Contents;
use crate::mpmc::long::Place;
use crate::mpmc::{
    Geometry, GetError, Meta, Options, PutError, Ring, SharedRing, TryGet, TryPut, WriteGrant,
};
use crate::peer::{Actor, Identity};
use crate::segment::Place as Where;
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::wait::{Deadline, Spinner, WaitPolicy};
use std::time::Duration;

/// A ring on the heap with participants 1 to 4 joined.
pub(super) fn pooled(slots: u64, pool: u64, leases: u32) -> Ring {
    let options = Options { participants: 4, actors: 8, leases, pool, ..Options::new(slots, 8) };
    let geometry = Geometry::new(&options).unwrap();
    let memory = Memory::new(Heap::new(usize::try_from(geometry.total_len()).unwrap()));
    let ring = Ring::new(&memory, geometry).unwrap();
    for id in 1..=4 {
        ring.participants().join(id, Identity::default());
    }
    ring
}

/// The bytes of message `n`, of which each tells where it belongs.
pub(super) fn bytes(n: u64, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + n * 7).to_le_bytes()[0]).collect();
    let head = len.min(8);
    bytes[..head].copy_from_slice(&n.to_le_bytes()[..head]);
    bytes
}

pub(super) fn put(ring: &Ring, actor: &mut Actor, n: u64, len: usize) -> Result<(), TryPut> {
    ring.try_put_long(actor, &bytes(n, len))
}

/// Takes a message, checks every byte, and gives its number.
pub(super) fn get(ring: &Ring, actor: &mut Actor) -> Result<u64, TryGet> {
    let mut buffer = vec![0; ring.max_kept()];
    let len = ring.try_get(actor, &mut buffer)?;
    let n = u64::from_le_bytes(buffer[..8].try_into().unwrap());
    assert_eq!(buffer[..len], bytes(n, len), "torn");
    Ok(n)
}

fn shared(slots: u64, pool: u64) -> SharedRing {
    let options = Options { participants: 4, actors: 8, leases: 2, pool, ..Options::new(slots, 8) };
    SharedRing::create(Where::Anonymous("test"), &options, 7).unwrap()
}

fn spinner() -> Spinner {
    Spinner::new(WaitPolicy::Block)
}

fn in_time() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

#[test]
fn every_length_up_to_the_whole_pool_comes_back() {
    for pool in [300, 5000, 64 << 10, 100_000] {
        let ring = pooled(2, pool, 0);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let most = ring.max_kept();
        assert!(most as u64 >= pool);
        let near = |n: usize| n.saturating_sub(2)..n + 3;
        let lengths = [17, 256, 512, 2048, 4096, 16_384, 32_768, most].map(near);
        for len in lengths.into_iter().flatten().filter(|len| (17..=most).contains(len)) {
            put(&ring, &mut actor, len as u64, len).unwrap();
            assert_eq!(get(&ring, &mut actor), Ok(len as u64));
        }
        assert!(ring.pool.take(most + 1, 1).is_none());
        assert_eq!(ring.blocks_used(), 0);
    }
}

/// No hole is lost: whatever lengths lie in the pool, what is free can be used to the
/// last block.
#[test]
fn a_message_fits_if_the_free_blocks_hold_it_together() {
    let ring = pooled(1, 128 << 10, 0);
    let mut held = Vec::new();
    let mut random = 1_u64;
    for _ in 0..200 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if random >> 63 == 0 || held.is_empty() {
            held.extend(ring.pool.take(usize::try_from(random >> 50).unwrap(), 1));
        } else {
            let chain: crate::blocks::Chain =
                held.swap_remove(usize::try_from(random >> 33).unwrap() % held.len());
            ring.pool.free_all(&chain.blocks, chain.owner);
        }
        let free = ring.pool.free_bytes();
        let used: usize = held.iter().map(|chain| chain.len).sum();
        assert!(free <= ring.pool.bytes() - used);
        let rest = ring.pool.take(free, 1).expect("all that is free");
        assert_eq!(ring.pool.free_bytes(), 0);
        assert!(ring.pool.take(1, 1).is_none());
        ring.pool.free_all(&rest.blocks, rest.owner);
        assert_eq!(ring.pool.free_bytes(), free);
    }
}

/// Who waits for room looks at a few blocks at a time, and finds it in one round or two.
#[test]
fn a_walk_round_the_blocks_meets_room_wherever_it_comes_up() {
    let ring = pooled(1 << 16, 1 << 20, 0);
    let all = ring.pool.take(ring.pool.bytes(), 1).unwrap();
    let walk = Walk::default();
    let rounds = 2 * all.blocks.len();
    let looks = || (0..rounds).position(|_| ring.pool.seems_to_have_room(1000, &walk));
    assert_eq!(looks(), None, "nothing is free");
    // 1000 bytes: in one block of any longer class, in four small ones.
    let few = all.blocks.chunks(4).filter(|four| four.len() == 4);
    for four in few {
        four.iter().for_each(|block| assert!(ring.pool.free(*block, all.owner)));
        assert!(looks().is_some());
        assert!(looks().is_some(), "and again");
        for block in four {
            assert!(ring.pool.claim(block.number(), 1).is_some());
        }
    }
    // What the walk met before.
    looks();
    assert_eq!(looks(), None, "all is taken again");
}

#[test]
fn a_message_takes_at_most_twice_its_length_or_a_small_block() {
    let ring = pooled(1, 1 << 20, 0);
    for len in (1..300).chain((300..200_000).step_by(97)) {
        let before = ring.pool.free_bytes();
        let chain = ring.pool.take(len, 1).unwrap();
        let took = before - ring.pool.free_bytes();
        assert!(took >= len && took <= (2 * len).max(256), "{took} for {len}");
        ring.pool.free_all(&chain.blocks, chain.owner);
    }
}

#[test]
fn the_same_few_blocks_are_used_again() {
    let ring = pooled(4, 4 << 20, 0);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    for len in [100, 3000, 20_000, 300_000] {
        let mut seen = std::collections::BTreeSet::new();
        let mut most = 0;
        for n in 0..100 {
            ring.pool.stores().settle(Way::Past);
            let chain = ring.pool.take(len, 1).unwrap();
            most = chain.blocks.len();
            seen.extend(chain.blocks.iter().map(|block| block.number()));
            ring.pool.free_all(&chain.blocks, chain.owner);
            put(&ring, &mut actor, n, len).unwrap();
            assert_eq!(get(&ring, &mut actor), Ok(n));
        }
        assert_eq!(seen.len(), most, "{len} bytes");
    }
}

#[test]
fn through_the_cache_long_messages_take_blocks_in_turn() {
    let ring = pooled(4, 4 << 20, 0);
    ring.pool.stores().settle(Way::Through);
    let mut last = std::collections::BTreeSet::new();
    for _ in 0..8 {
        // Whole ones of the largest.
        let chain = ring.pool.take(8 << 15, 1).unwrap();
        let blocks: std::collections::BTreeSet<_> =
            chain.blocks.iter().map(|b| b.number()).collect();
        ring.pool.free_all(&chain.blocks, chain.owner);
        assert!(blocks.is_disjoint(&last), "again those that were just read");
        last = blocks;
    }
    // But what many bytes pass through has the same ones.
    let again = || {
        let chain = ring.pool.take_buffer(1 << 20, 1).unwrap();
        ring.pool.free_all(&chain.blocks, chain.owner);
        chain.blocks.iter().map(|block| block.number()).collect::<Vec<_>>()
    };
    assert_eq!(again(), again());
}

/// Values are found by a shorter way than other bytes, in the blocks that have one size.
#[test]
fn values_are_where_the_bytes_are() {
    let ring = shared(4, 200 << 10);
    // In one block, in two small ones, in blocks of several sizes.
    for len in [100, 450, 1300, 40_000, 70_001] {
        let mut grant = ring.reserve(len, &mut spinner(), in_time()).unwrap();
        let want = bytes(1, len);
        let mut at = 0;
        for size in [1, 2, 4, 8, 16, 64, 3, 24, 65].into_iter().cycle() {
            let size = size.min(len - at);
            grant.write_at(at, &want[at..at + size]).unwrap();
            at += size;
            if at == len {
                break;
            }
        }
        assert!(grant.write_at(len - 4, &[0; 8]).is_err() && grant.write_at(len, &[0]).is_err());
        grant.commit(&mut spinner(), in_time()).unwrap();
        let got = ring.get_ref(&mut spinner(), in_time()).unwrap();
        for size in [1, 2, 4, 8, 16, 24, 64] {
            let mut value = [0; 64];
            for at in (0..=len - size).step_by(if len > 1000 { 509 } else { 1 }) {
                got.read_at(at, &mut value[..size]).unwrap();
                assert_eq!(value[..size], want[at..at + size], "{size} bytes at {at} of {len}");
            }
            assert!(got.read_at(len - size + 1, &mut value[..size]).is_err());
        }
        got.release();
    }
}

/// Else the putter would choose its way by its own time alone.
#[test]
fn every_way_to_copy_a_long_message_tells_how_long_it_took() {
    const LEN: usize = 10_000;
    let ring = shared(2, 64 << 10);
    let times = ring.any_attachment().ring.pool.read_times();
    times.want(true, Way::Past);
    let told = || times.told().1;
    let put = |n| ring.put(&bytes(n, LEN), &mut spinner(), in_time()).unwrap();
    put(1);
    assert_eq!(ring.get(&mut [0; LEN], &mut spinner(), in_time()).unwrap(), LEN);
    assert_eq!(told(), LEN as u64, "to a buffer that is long enough");
    put(2);
    let Err(GetError::Long(grant)) = ring.get(&mut [0; 8], &mut spinner(), in_time()) else {
        panic!("it does not fit")
    };
    grant.read_at(0, &mut [0; LEN]).unwrap();
    grant.release();
    assert_eq!(told(), 2 * LEN as u64, "to one that is too short at first");
    put(3);
    ring.get_ref(&mut spinner(), in_time()).unwrap().release();
    assert_eq!(told(), 3 * LEN as u64, "in place");
    times.want(false, Way::Past);
    put(4);
    assert_eq!(ring.get(&mut [0; LEN], &mut spinner(), in_time()).unwrap(), LEN);
    assert_eq!(told(), 3 * LEN as u64, "when nobody wants to know");
}

#[test]
fn messages_in_slots_and_in_blocks_keep_their_order() {
    let ring = shared(10, 64 << 10);
    for round in 0..5_u64 {
        for n in 0..10 {
            let len = if n % 3 == 0 { 10 } else { 1000 * usize::try_from(n).unwrap() };
            ring.try_put(&bytes(round + n, len)).unwrap();
        }
        let mut buffer = vec![0; ring.max_kept()];
        for n in 0..10 {
            let len = ring.try_get(&mut buffer).unwrap();
            assert_eq!(buffer[..len], bytes(round + n, len));
        }
    }
    assert_eq!(ring.blocks_used(), 0);
}

#[test]
fn a_full_pool_is_no_memory_and_a_full_ring_is_full() {
    let ring = shared(2, 1024);
    let most = ring.max_kept();
    let long = vec![1; most];
    ring.try_put(&long).unwrap();
    assert!(matches!(ring.try_put(&[2; 17]), Err(PutError::NoMemory)));
    let soon = Deadline::after(Duration::from_millis(20));
    assert!(matches!(ring.put(&[2; 17], &mut spinner(), soon), Err(PutError::NoMemory)));
    ring.try_put(b"short").unwrap();
    // Both are true: the ring comes first.
    assert!(matches!(ring.try_put(&[2; 17]), Err(PutError::Full)));
    let too_long = vec![1; most + 1];
    assert!(
        matches!(ring.try_put(&too_long), Err(PutError::TooLong { limit, .. }) if limit == most)
    );
    let mut buffer = vec![0; most];
    assert_eq!(ring.try_get(&mut buffer).unwrap(), most);
    ring.try_put(&[2; 17]).unwrap();
}

#[test]
fn a_put_waits_for_the_pool() {
    let ring = shared(10, 2048);
    let most = ring.max_kept();
    std::thread::scope(|scope| {
        for putter in 0..3_u64 {
            let ring = &ring;
            scope.spawn(move || {
                for n in 0..300 {
                    // Each alone fills most of the pool.
                    let message = bytes(putter << 32 | n, most - usize::try_from(n).unwrap());
                    ring.put(&message, &mut spinner(), in_time()).unwrap();
                }
            });
        }
        let mut last = [None; 3];
        let mut buffer = vec![0; most];
        for _ in 0..900 {
            let len = ring.get(&mut buffer, &mut spinner(), in_time()).unwrap();
            let n = u64::from_le_bytes(buffer[..8].try_into().unwrap());
            assert_eq!(buffer[..len], bytes(n, len));
            let last = &mut last[usize::try_from(n >> 32).unwrap()];
            assert!(last.is_none_or(|last| last < n));
            *last = Some(n);
        }
    });
    assert_eq!((ring.blocks_used(), ring.len()), (0, 0));
}

#[test]
fn a_shutdown_ends_a_wait_for_the_pool() {
    let ring = shared(10, 1024);
    ring.try_put(&vec![1; ring.max_kept()]).unwrap();
    std::thread::scope(|scope| {
        let put = scope.spawn(|| ring.put(&[2; 100], &mut spinner(), in_time()));
        std::thread::sleep(Duration::from_millis(20));
        ring.shutdown(true).unwrap();
        assert!(matches!(put.join().unwrap(), Err(PutError::ShutDown)));
    });
    assert_eq!(ring.blocks_used(), 0, "what was thrown away gave its blocks back");
}

#[test]
fn a_buffer_that_is_too_short_gets_a_grant() {
    let ring = shared(2, 64 << 10);
    ring.try_put(&bytes(5, 3000)).unwrap();
    let Err(GetError::Long(grant)) = ring.try_get(&mut [0; 100]) else { panic!("no grant") };
    assert_eq!((grant.len(), ring.len()), (3000, 0));
    let mut part = [0; 77];
    grant.read_at(1001, &mut part).unwrap();
    assert_eq!(part, bytes(5, 3000)[1001..1078]);
    assert!(grant.read_at(2990, &mut part).is_err());
    // Dropped, it comes back.
    drop(grant);
    assert_eq!(ring.len(), 1);
    let mut whole = vec![0; 3000];
    assert_eq!(ring.try_get(&mut whole).unwrap(), 3000);
    assert_eq!((whole, ring.blocks_used()), (bytes(5, 3000), 0));
}

#[test]
fn grants_do_not_hold_up_the_ring() {
    let ring = shared(1, 64 << 10);
    let mut held = Vec::new();
    // Two lease records; the third stays in its slot.
    for n in 0..3_u64 {
        ring.try_put(&bytes(n, if n == 1 { 12 } else { 5000 })).unwrap();
        held.push(ring.try_get_ref().unwrap());
        assert_eq!(ring.len(), 0);
    }
    assert!(matches!(ring.try_put(b"x"), Err(PutError::Full)));
    for (n, grant) in held.into_iter().enumerate() {
        let mut all = vec![0; grant.len()];
        grant.read_at(0, &mut all).unwrap();
        assert_eq!(all, bytes(n as u64, all.len()));
        grant.release();
    }
    ring.try_put(b"x").unwrap();
    assert_eq!((ring.blocks_used(), ring.len()), (0, 1));
}

/// What a call of the same process has taken and not copied yet may come back; what a caller
/// has may not, to those of the same process.
#[test]
fn after_a_shutdown_a_call_is_waited_for_and_a_grant_is_not() {
    let ring = shared(2, 64 << 10);
    // Two lease records; the third keeps its slot.
    let mut held: Vec<_> = (0..3_u64)
        .map(|n| {
            ring.try_put(&bytes(n, 5000)).unwrap();
            ring.try_get_ref().unwrap()
        })
        .collect();
    ring.try_put(&bytes(3, 5000)).unwrap();
    ring.shutdown(false).unwrap();
    // Amidst a call, which finds its buffer too short.
    let Err(GetError::Long(amidst)) = ring.try_get(&mut [0; 100]) else { panic!("no grant") };
    assert!(matches!(ring.try_get(&mut [0; 100]), Err(GetError::Empty)));
    drop(amidst);
    let mut buffer = vec![0; 5000];
    assert_eq!(ring.try_get(&mut buffer).unwrap(), 5000);
    assert!(matches!(ring.try_get(&mut buffer), Err(GetError::ShutDown)));
    // It comes back after all.
    drop(held.pop());
    assert_eq!(ring.try_get(&mut buffer).unwrap(), 5000);
    assert_eq!(buffer, bytes(2, 5000));
    assert!(matches!(ring.try_get(&mut buffer), Err(GetError::ShutDown)));
}

#[test]
fn a_write_grant_is_committed_or_never_was() {
    let ring = shared(1, 64 << 10);
    let grant: WriteGrant = ring.try_reserve(5000).unwrap();
    assert!(ring.blocks_used() > 0 && ring.is_empty());
    drop(grant);
    assert_eq!(ring.blocks_used(), 0);
    // Written in pieces, in any order, across blocks and words.
    let message = bytes(8, 70_00);
    let mut grant = ring.reserve(7000, &mut spinner(), in_time()).unwrap();
    let cuts = [0, 3, 8, 21, 255, 256, 257, 1000, 4095, 4100, 6999, 7000];
    for pair in cuts.windows(2).rev() {
        grant.write_at(pair[0], &message[pair[0]..pair[1]]).unwrap();
    }
    assert!(grant.write_at(6999, &[0; 2]).is_err());
    grant.try_commit().unwrap();
    drop(grant);
    let mut second = ring.try_reserve(20).unwrap();
    assert!(matches!(second.try_commit(), Err(PutError::Full)));
    let mut buffer = vec![0; 7000];
    assert_eq!(ring.try_get(&mut buffer).unwrap(), 7000);
    assert_eq!(buffer, message);
    second.write_at(0, &[9; 20]).unwrap();
    second.commit(&mut spinner(), in_time()).unwrap();
    assert!(second.write_at(0, &[7; 20]).is_err(), "it is a getter's");
    assert!(second.write_at(0, &[]).is_ok() && second.is_empty());
    assert_eq!(ring.try_get(&mut buffer).unwrap(), 20);
    drop(second);
    assert_eq!((ring.blocks_used(), &buffer[..20]), (0, &[9; 20][..]));
}

/// Each wrong word gives an error, and the memory of the pool is not lost by it.
#[test]
fn names_of_blocks_that_make_no_sense_are_an_error() {
    let garbage = [1, 2, 0xFF_FFFF, 2 << 24 | 1, u64::MAX, u64::MAX << 24, 0];
    for field in [16, 24] {
        for bad in garbage {
            let ring = pooled(1, 8192, 1);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            put(&ring, &mut actor, 3, 1000).unwrap();
            let cell = ring.cell(Place::slot(0));
            cell.word(field).unwrap().store(bad, SeqCst);
            assert_eq!(cell.meta(), Meta::blocks());
            let mut buffer = vec![0; ring.max_kept()];
            let got = ring.try_get(&mut actor, &mut buffer);
            match got {
                Err(TryGet::Corrupted(_)) => {}
                // Longer than any message: refused before anything of it is read.
                Err(TryGet::Long(place)) => {
                    assert!(!ring.contents(place, &mut Contents::default()), "{field} {bad:#x}");
                    ring.release_taken(&mut actor, place);
                }
                // A shorter one is one of a message.
                Ok(..1000) if field == 24 => {}
                other => panic!("{other:?} for {bad:#x} at {field}"),
            }
            assert_eq!(ring.state(0).unwrap().phase(), Some(crate::mpmc::Phase::Empty));
        }
    }
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let ring = pooled(1, 8192, 1);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    let chain = ring.pool.take(450, 1).unwrap();
    // The second goes on with the first.
    let first = ring.pool.describe(&chain).first;
    ring.pool.link_of(chain.blocks[1]).store(first.0, Relaxed);
    ring.try_put_chain(&mut actor, &chain).unwrap();
    let mut buffer = vec![0; 8192];
    let got = ring.try_get(&mut actor, &mut buffer);
    assert!(matches!(got, Ok(450) | Err(TryGet::Corrupted(_))), "{got:?}");
}

/// Blocks that lie side by side, some that do not, and what lies across: each range comes out as it
/// was written, whether or not it was found out where they lie.
#[test]
fn every_range_is_found_wherever_the_blocks_lie() {
    let ring = pooled(4096, 40 << 10, 0);
    let take = |len| ring.pool.take(len, 1).unwrap();
    let numbers =
        |chain: &Chain| chain.blocks.iter().map(|block| block.number()).collect::<Vec<_>>();
    let single: Vec<_> = (0..5).map(|_| take(256)).collect();
    // The second is in the way, then the fourth.
    ring.pool.free_all(&single[0].blocks, 1);
    ring.pool.free_all(&single[2].blocks, 1);
    let apart = take(450);
    ring.pool.free_all(&single[4].blocks, 1);
    let beside = take(450);
    // Of all sizes but the largest.
    let mixed = take(2 * 4096 + 1024 + 300);
    let [first, second] = numbers(&apart)[..] else { panic!("two blocks") };
    assert_eq!(second, first + 2);
    let [first, second] = numbers(&beside)[..] else { panic!("two blocks") };
    assert_eq!(second, first + 1);
    assert_eq!(mixed.blocks.len(), 8, "a medium one, quad ones, small ones");
    let lengths = [0, 1, 7, 8, 9, 64, 100, 194, 255, 256, 257, 440, 600, 4096, 5000];
    // What is beside them belongs to others.
    let others = [&single[1], &single[3]];
    for (n, other) in (100..).zip(others) {
        ring.pool.write(other, 0, &bytes(n, 256)).unwrap();
    }
    for chain in [apart, beside, mixed] {
        let mut known = ring.pool.follow(ring.pool.describe(&chain)).unwrap();
        ring.pool.locate(&mut known);
        let mut all = vec![0; chain.len];
        ring.pool.write(&chain, 0, &all).unwrap();
        let offsets = (0..64).chain((64..chain.len).step_by(61)).chain([chain.len - 1, chain.len]);
        for (n, at) in (0..).zip(offsets) {
            for len in lengths {
                let end = at + len;
                let src = bytes(n, len);
                let (writer, reader) = if n % 2 == 0 { (&known, &chain) } else { (&chain, &known) };
                let mut part = vec![0; len];
                if end > chain.len {
                    assert!(ring.pool.write(writer, at, &src).is_err(), "{len} at {at}");
                    assert!(ring.pool.read(reader, at, &mut part).is_err(), "{len} at {at}");
                    continue;
                }
                ring.pool.write(writer, at, &src).unwrap();
                all[at..end].copy_from_slice(&src);
                ring.pool.read(reader, at, &mut part).unwrap();
                assert_eq!(part, src, "{len} at {at}");
                if ring.pool.read_value(reader, at, &mut part) {
                    assert_eq!(part, src, "a value of {len} at {at}");
                }
            }
        }
        for chain in [&known, &chain] {
            let mut back = vec![0; chain.len];
            ring.pool.read(chain, 0, &mut back).unwrap();
            assert_eq!(back, all);
        }
    }
    for (n, other) in (100..).zip(others) {
        let mut back = [0; 256];
        ring.pool.read(other, 0, &mut back).unwrap();
        assert_eq!(back[..], bytes(n, 256), "a stranger's");
    }
}

/// What a grant knew of its message is kept for the thread's next one, and forgotten.
#[test]
fn a_grant_knows_nothing_of_the_message_before_it() {
    let ring = shared(4, 40 << 10);
    for (n, len) in (1..).zip([450, 5, 1300, 8, 17, 0, 3000, 6]) {
        let want = bytes(n, len);
        ring.put(&want, &mut spinner(), in_time()).unwrap();
        let got = ring.get_ref(&mut spinner(), in_time()).unwrap();
        let mut part = vec![0; len];
        got.read_at(0, &mut part).unwrap();
        assert_eq!(part, want);
        assert!(got.read_at(0, &mut vec![0; len + 1]).is_err(), "{len}");
        got.release();
    }
}
