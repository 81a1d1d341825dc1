//! Items written and read in place: committed, cancelled, released, given back, and
//! redelivered when their holder dies.

mod common;

use common::tasks::until_asleep;
use common::{LONG, SHORT, Scene, Words, eventually, fork};
use ringway_queue::{
    Builder, GetError, JoinError, Pod, PutReason, Queue, Raw, ReadGrant, WaitPolicy,
};
use std::sync::Arc;
use std::time::Duration;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const LENGTHS: [usize; 5] = [0, 40, 112, 113, 50_000];

fn raw(capacity: usize) -> Queue<Vec<u8>, Raw> {
    Builder::new().bounded(capacity).unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Frame {
    number: u64,
    pixels: [u16; 4000],
}

#[test]
fn what_is_written_in_place_is_read_in_place() {
    let _scene = Scene::begin();
    let queue = raw(2);
    for len in LENGTHS {
        let mut grant = queue.reserve(len).unwrap();
        assert_eq!((grant.len(), queue.len()), (len, 0));
        // From the back, in odd pieces.
        for (i, piece) in bytes(len).chunks(77).enumerate().rev() {
            grant.write_at(i * 77, piece).unwrap();
        }
        assert!(grant.write_at(len, &[1]).is_err());
        assert!(grant.write_at(usize::MAX, &[1]).is_err());
        grant.commit().unwrap();
        let read = queue.get_ref().unwrap();
        assert_eq!((read.len(), queue.len()), (len, 0));
        assert_eq!(read.to_vec(), bytes(len));
        let wrong = read.read_at(len, &mut [0]).unwrap_err();
        assert_eq!((wrong.offset, wrong.size, wrong.len), (len, 1, len));
        read.release();
    }
    assert!(matches!(queue.try_get_ref(), Err(GetError::Empty)));
}

#[test]
fn plain_old_data_is_stored_and_loaded_by_field() {
    let _scene = Scene::begin();
    let queue = Builder::new().bounded::<Frame, Pod>(2).unwrap();
    let mut grant = queue.reserve().unwrap();
    grant.store(0, &Frame { number: 1, pixels: [3; 4000] }).unwrap();
    grant.store(8 + 2 * 1999, &7_u16).unwrap();
    assert!(grant.store(size_of::<Frame>() - 1, &7_u16).is_err());
    grant.commit().unwrap();
    let read = queue.get_ref_timeout(LONG).unwrap();
    assert_eq!(read.load::<u64>(0).unwrap(), 1);
    assert_eq!(read.load::<[u16; 3]>(8 + 2 * 1998).unwrap(), [3, 7, 3]);
    assert_eq!(read.values::<u64>().next(), Some(1));
    assert!(read.load::<u64>(size_of::<Frame>() - 7).is_err());
    let whole: Frame = read.load(0).unwrap();
    assert_eq!((whole.number, whole.pixels[1999]), (1, 7));
    read.release();
    // The same items by value.
    queue.put(whole).unwrap();
    assert_eq!(queue.try_get_ref().unwrap().load::<Frame>(0).unwrap(), whole);
    assert_eq!(queue.get().unwrap(), whole, "it was not released");
}

/// Wherever a block ends, and whatever their size is.
#[test]
fn values_are_the_bytes_in_order() {
    fn check<const N: usize>(read: &ReadGrant, bytes: &[u8]) {
        let expected = bytes.as_chunks::<N>().0;
        assert!(read.values::<[u8; N]>().eq(expected.iter().copied()), "{N} of {}", bytes.len());
        let folded =
            read.values::<[u8; N]>().fold(0, |n, value| n + usize::from(value == expected[n]));
        assert_eq!(folded, expected.len(), "{N} of {}, folded", bytes.len());
    }
    fn may_be_sent(_: impl Send) {}
    let _scene = Scene::begin();
    // Small, so that a long item lies in blocks of all sizes.
    let queue = Builder::new().pool_size(64 << 10).bounded::<Vec<u8>, Raw>(4).unwrap();
    for len in [0, 5, 8, 40, 41, 100, 128, 1000, 1031, 5000, 20_000, 50_003] {
        queue.put(bytes(len)).unwrap();
        let read = queue.get_ref().unwrap();
        check::<1>(&read, &bytes(len));
        check::<4>(&read, &bytes(len));
        check::<8>(&read, &bytes(len));
        check::<12>(&read, &bytes(len));
        check::<64>(&read, &bytes(len));
        check::<72>(&read, &bytes(len));
        may_be_sent(read.values::<u64>());
        read.release();
    }
}

#[test]
fn a_dropped_reservation_never_was() {
    let _scene = Scene::begin();
    let queue = Builder::new().pool_size(64 << 10).bounded::<Vec<u8>, Raw>(2).unwrap();
    for _ in 0..1000 {
        drop(queue.try_reserve(60_000).unwrap());
    }
    let held = queue.reserve(60_000).unwrap();
    assert!(matches!(queue.try_reserve(60_000), Err(PutReason::NoMemory)));
    let soon = Duration::from_millis(20);
    assert!(matches!(queue.reserve_timeout(60_000, soon), Err(PutReason::NoMemory)));
    assert_eq!(queue.len(), 0);
    drop(held);
    queue.put(vec![1; 60_000]).unwrap();
    let too_large = queue.reserve(queue.max_message() + 1);
    assert!(matches!(too_large, Err(PutReason::TooLarge { .. })));
}

#[test]
fn a_grant_comes_back_from_a_full_queue() {
    let _scene = Scene::begin();
    for len in [10, 5000] {
        let queue = raw(1);
        queue.put(vec![1]).unwrap();
        let mut grant = queue.reserve(len).unwrap();
        grant.write_at(0, &bytes(len)).unwrap();
        let refused = grant.try_commit().unwrap_err();
        assert!(refused.is_full());
        let refused = refused.into_inner().commit_timeout(Duration::from_millis(20)).unwrap_err();
        assert!(refused.is_full());
        queue.get().unwrap();
        refused.into_inner().commit().unwrap();
        assert_eq!(queue.get().unwrap(), bytes(len));
        let late = queue.reserve(len).unwrap();
        queue.shutdown(false).unwrap();
        assert!(matches!(late.commit(), Err(PutReason::ShutDown)));
        assert!(matches!(queue.reserve(5000), Err(PutReason::ShutDown)));
    }
}

#[test]
fn commits_of_an_unbounded_queue_keep_their_order() {
    let _scene = Scene::begin();
    let queue = Builder::new().ring_len(2).pool_size(50_000).unbounded::<Vec<u8>, Raw>().unwrap();
    for n in 0..20 {
        let mut grant = queue.reserve_timeout(if n < 10 { 3000 } else { 10 }, LONG).unwrap();
        grant.write_at(0, &[n]).unwrap();
        grant.commit().unwrap();
    }
    assert_eq!(queue.len(), 20);
    for n in 0..20 {
        assert_eq!(queue.get().unwrap()[0], n);
    }
}

#[test]
fn a_grant_that_is_held_stops_nobody() {
    let _scene = Scene::begin();
    for len in [40, 5000] {
        let queue = raw(1);
        queue.put(bytes(len)).unwrap();
        let held = queue.get_ref().unwrap();
        for n in 0..1000_u32 {
            queue.try_put(n.to_le_bytes().to_vec()).unwrap();
            assert_eq!(queue.try_get().unwrap(), n.to_le_bytes());
        }
        assert_eq!(held.to_vec(), bytes(len));
        held.release();
        assert!(queue.is_empty());
    }
}

/// What is held has left its place, and keeps its memory.
#[test]
fn as_many_grants_can_be_held_as_promised() {
    let _scene = Scene::begin();
    for (capacity, len) in [(1, 300), (1, 1000), (4, 2000), (10, 1000)] {
        let queue = raw(capacity);
        let mut held = Vec::new();
        for _ in 0..64 {
            queue.put_timeout(bytes(len), LONG).unwrap();
            held.push(queue.get_ref_timeout(LONG).unwrap());
        }
        queue.put_timeout(bytes(len), LONG).unwrap();
        assert_eq!((held.len(), queue.len()), (64, 1), "{capacity} places, {len} bytes");
    }
}

#[test]
fn a_dropped_grant_gives_its_item_to_another() {
    let _scene = Scene::begin();
    let queue = raw(3);
    for len in LENGTHS {
        queue.put(bytes(len)).unwrap();
        queue.put(vec![1, 2, 3]).unwrap();
        drop(queue.get_ref().unwrap());
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.get().unwrap(), bytes(len));
        assert_eq!(queue.get().unwrap(), [1, 2, 3]);
    }
}

#[test]
fn the_item_of_a_killed_holder_is_redelivered() {
    let _scene = Scene::begin();
    for (grants, len) in [(0, 5000), (0, 40), (4, 5000), (4, 40)] {
        let queue = Builder::new().max_grants(grants).bounded::<Vec<u8>, Raw>(2).unwrap();
        queue.put(bytes(len)).unwrap();
        let page = Arc::new(Words::new(1));
        let holder = fork({
            let (queue, page) = (queue.clone(), Arc::clone(&page));
            move || {
                let held = queue.get_ref().unwrap();
                assert_eq!(held.to_vec(), bytes(len));
                page.set(0, 1);
                std::thread::sleep(LONG);
                held.release();
            }
        });
        eventually("the child holds it", || page.get(0) == 1);
        assert!(queue.is_empty());
        queue.put(vec![9]).unwrap();
        holder.kill_and_reap();
        let mut got = [queue.get_timeout(LONG).unwrap(), queue.get_timeout(LONG).unwrap()];
        got.sort_by_key(Vec::len);
        assert_eq!(got, [vec![9], bytes(len)], "{grants} {len}");
        assert!(queue.is_empty());
    }
}

#[test]
fn the_memory_of_a_killed_writer_is_free_again() {
    let _scene = Scene::begin();
    let queue = Builder::new().pool_size(64 << 10).bounded::<Vec<u8>, Raw>(2).unwrap();
    let page = Arc::new(Words::new(1));
    let writer = fork({
        let (queue, page) = (queue.clone(), Arc::clone(&page));
        move || {
            let mut grant = queue.reserve(60_000).unwrap();
            grant.write_at(0, &[1; 50_000]).unwrap();
            page.set(0, 1);
            std::thread::sleep(LONG);
        }
    });
    eventually("the child writes", || page.get(0) == 1);
    assert!(matches!(queue.try_reserve(60_000), Err(PutReason::NoMemory)));
    writer.kill_and_reap();
    queue.reserve_timeout(60_000, LONG).unwrap().commit().unwrap();
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_forked_copy_of_a_grant_is_the_parents() {
    let _scene = Scene::begin();
    let queue = raw(2);
    queue.put(bytes(5000)).unwrap();
    let held = queue.get_ref().unwrap();
    let reserved = queue.reserve(5000).unwrap();
    // The child drops its copies of both, and the parent its own.
    fork(|| {
        drop(held);
        assert!(reserved.commit().is_err());
    })
    .join();
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.get().unwrap(), bytes(5000));
    assert!(queue.is_empty());
}

/// Also where the child has items of its own waiting before it.
#[test]
fn a_forked_copy_of_a_grant_does_not_wait_in_the_childs_memory() {
    let _scene = Scene::begin();
    let queue = Builder::new().ring_len(2).pool_size(50_000).unbounded::<Vec<u8>, Raw>().unwrap();
    let mut reserved = queue.reserve(5000).unwrap();
    reserved.write_at(0, &bytes(5000)).unwrap();
    let mut reserved = Some(reserved);
    fork(|| {
        (0..5).for_each(|n| queue.put(bytes(n)).unwrap());
        assert!(reserved.take().unwrap().commit().is_err());
        queue.cancel_join_thread();
    })
    .join();
    reserved.take().unwrap().commit().unwrap();
    let long = std::iter::from_fn(|| queue.get_timeout(SHORT).ok()).filter(|i| i.len() == 5000);
    assert_eq!(long.count(), 1, "not once in the child's name and once in ours");
}

#[test]
fn grants_of_tasks_count() {
    let _scene = Scene::begin();
    let queue = Builder::new().joinable_bounded::<Vec<u8>, Raw>(2).unwrap();
    queue.put(bytes(5000)).unwrap();
    drop(queue.get_ref().unwrap());
    assert_eq!(queue.unfinished(), 1);
    queue.get_ref().unwrap().release();
    assert_eq!(queue.unfinished(), 1);
    let soon = Duration::from_millis(10);
    assert!(matches!(queue.join_timeout(soon), Err(JoinError::Timeout)));
    queue.task_done().unwrap();
    queue.join().unwrap();
}

/// After a shutdown: the others learn of the end when nothing can come back any more.
#[test]
fn an_item_that_another_process_holds_keeps_getters_after_a_shutdown() {
    let _scene = Scene::begin();
    for killed in [true, false] {
        let queue = Builder::new().policy(WaitPolicy::Block).bounded::<Vec<u8>, Raw>(2).unwrap();
        queue.put(bytes(5000)).unwrap();
        let page = Arc::new(Words::new(3));
        let holder = fork({
            let (queue, page) = (queue.clone(), Arc::clone(&page));
            move || {
                let held = queue.get_ref().unwrap();
                page.set(0, 1);
                eventually("the parent says so", || page.get(1) == 1);
                // The holder itself does not wait for itself.
                assert!(matches!(queue.get(), Err(GetError::ShutDown)));
                held.release();
            }
        });
        eventually("the child holds it", || page.get(0) == 1);
        queue.shutdown(false).unwrap();
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        let getters = [(); 2].map(|()| {
            let (queue, page) = (queue.clone(), Arc::clone(&page));
            fork(move || {
                for item in queue.iter() {
                    assert_eq!(item.unwrap(), bytes(5000));
                    page.count(2);
                }
            })
        });
        getters.iter().for_each(|getter| until_asleep(getter.pid()));
        if killed {
            holder.kill_and_reap();
        } else {
            page.set(1, 1);
            holder.join();
        }
        getters.into_iter().for_each(common::child::Child::join);
        assert_eq!(page.get(2), u64::from(killed), "how often somebody got it");
        assert!(matches!(queue.get(), Err(GetError::ShutDown)));
    }
}

/// A getter that waited for what its own process holds might wait for itself.
#[test]
fn items_that_keep_their_places_keep_getters_of_other_processes_only() {
    let _scene = Scene::begin();
    let builder = Builder::new().policy(WaitPolicy::Block).max_grants(1);
    let queue = builder.bounded::<Vec<u8>, Raw>(3).unwrap();
    (0..3).for_each(|n| queue.put(bytes(5000 + n)).unwrap());
    // One beside the places.
    let mut held = [(); 3].map(|()| Some(queue.get_ref().unwrap()));
    queue.shutdown(false).unwrap();
    assert!(matches!(queue.get_timeout(LONG), Err(GetError::ShutDown)));
    let page = Arc::new(Words::new(1));
    let other = fork({
        let (queue, page) = (queue.clone(), Arc::clone(&page));
        move || {
            assert!(matches!(queue.try_get(), Err(GetError::Empty)));
            page.set(0, 1);
            assert_eq!(queue.get_timeout(LONG).unwrap(), bytes(5001));
            assert!(matches!(queue.get_timeout(LONG), Err(GetError::ShutDown)));
        }
    });
    eventually("the child was not told the end", || page.get(0) == 1);
    // Given back, released, and released out of the record.
    drop(held[1].take());
    [2, 0].into_iter().for_each(|n| held[n].take().unwrap().release());
    other.join();
    assert!(matches!(queue.get(), Err(GetError::ShutDown)));
}
