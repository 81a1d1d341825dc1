//! A long item costs its length once on each side, and the pool; also for programs that
//! lock all their memory.
#![allow(unsafe_code, reason = "mlockall")]

mod common;

use common::streams::{bytes, is_whole};
use common::{Gate, Scene, fork};
use ringway_queue::{Builder, Queue, Raw};

const ITEM: usize = 24 << 20;
const POOL: usize = 32 << 20;
/// Thread stacks, allocator, page tables' worth of noise.
const SLACK: usize = 6 << 20;

/// A number of bytes from `/proc/self/status`.
fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kib: usize =
        line.trim_matches([':', '\t', ' ']).split(' ').next().unwrap().parse().unwrap();
    kib << 10
}

/// How far this process's own memory, that of segments not counted, rises at most while
/// `body` runs.
fn peak(body: impl FnOnce()) -> usize {
    // Takes the high-water mark back to what is there now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = (status("VmRSS"), status("RssShmem"));
    body();
    // Pages of the segment come as they are touched, and stay.
    let shared = status("RssShmem").saturating_sub(before.1);
    status("VmHWM").saturating_sub(before.0 + shared)
}

fn lock_all_memory() {
    // SAFETY: a plain system call.
    let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
    assert_eq!(locked, 0, "mlockall: {}", std::io::Error::last_os_error());
}

/// Whether this process may lock so much.
fn may_lock() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    // SAFETY: a plain system call.
    unsafe { libc::geteuid() == 0 || limit.rlim_cur == libc::RLIM_INFINITY }
}

fn one_item_on_each_side(locked: bool) {
    let queue: Queue<Vec<u8>, Raw> = Builder::new().pool_size(POOL as u64).bounded(4).unwrap();
    let ready = Gate::new();
    let (gate, ours) = (&ready, &queue);
    let putting = fork(move || {
        if locked {
            lock_all_memory();
        }
        let rise = peak(|| {
            let item = vec![7; ITEM];
            gate.pass();
            ours.put(item).unwrap();
        });
        assert!((ITEM / 2..ITEM + SLACK).contains(&rise), "the putter rose by {rise} bytes");
    });
    let getting = fork(move || {
        if locked {
            lock_all_memory();
        }
        let rise = peak(|| {
            gate.open();
            let item = ours.get().unwrap();
            assert!(item.len() == ITEM && item.iter().all(|byte| *byte == 7));
        });
        assert!((ITEM / 2..ITEM + SLACK).contains(&rise), "the getter rose by {rise} bytes");
        let shared = status("RssShmem");
        assert!(shared < POOL + SLACK, "{shared} bytes of shared memory");
    });
    putting.join();
    getting.join();
}

/// In place there is no other copy than the one in the queue.
fn none_in_place(locked: bool) {
    let queue: Queue<Vec<u8>, Raw> = Builder::new().pool_size(POOL as u64).bounded(4).unwrap();
    let ours = &queue;
    let piece = [9; 4096];
    fork(move || {
        if locked {
            lock_all_memory();
        }
        let rise = peak(|| {
            let mut grant = ours.reserve(ITEM).unwrap();
            for at in (0..ITEM).step_by(piece.len()) {
                grant.write_at(at, &piece).unwrap();
            }
            grant.commit().unwrap();
            let grant = ours.get_ref().unwrap();
            let mut last = [0; 1];
            grant.read_at(ITEM - 1, &mut last).unwrap();
            assert_eq!((grant.len(), last), (ITEM, [9]));
            grant.release();
        });
        assert!(rise < SLACK, "rose by {rise} bytes");
    })
    .join();
}

/// An item of `len` bytes through a pool of one MiB: no more than that of it is in the segment.
fn streamed(len: usize, locked: bool) {
    const POOL: usize = 1 << 20;
    let queue: Queue<Vec<u8>, Raw> = Builder::new().pool_size(POOL as u64).bounded(4).unwrap();
    let (ours, gate) = (&queue, &Gate::new());
    let putting = fork(move || {
        if locked {
            lock_all_memory();
        }
        let item = bytes(1, len);
        let rise = peak(|| {
            gate.pass();
            ours.put_bytes(&item).unwrap();
        });
        assert!(rise < SLACK, "the putter rose by {rise} bytes beside its item");
    });
    let getting = fork(move || {
        if locked {
            lock_all_memory();
        }
        let rise = peak(|| {
            gate.open();
            assert!(is_whole(&ours.get().unwrap(), 1, len));
        });
        println!("{len} bytes: the getter rose by {rise}");
        assert!((len / 2..len + SLACK).contains(&rise), "the getter rose by {rise} bytes");
        let shared = status("RssShmem");
        assert!(shared < POOL + SLACK, "{shared} bytes of shared memory");
    });
    getting.join();
    putting.join();
}

#[test]
fn a_streamed_item_costs_its_length_on_each_side_and_a_part_of_the_pool() {
    let _scene = Scene::begin();
    streamed(64 << 20, false);
    if may_lock() {
        streamed(64 << 20, true);
    }
}

#[test]
#[ignore = "takes half a minute in a debug build"]
fn and_so_does_one_of_a_gib() {
    let _scene = Scene::begin();
    streamed(1 << 30, false);
}

#[test]
fn a_long_item_costs_its_length_on_each_side() {
    let _scene = Scene::begin();
    one_item_on_each_side(false);
    none_in_place(false);
}

#[test]
fn and_no_more_where_all_memory_is_locked() {
    let _scene = Scene::begin();
    if !may_lock() {
        println!("this user may not lock memory: nothing was tested");
        return;
    }
    one_item_on_each_side(true);
    none_in_place(true);
}
