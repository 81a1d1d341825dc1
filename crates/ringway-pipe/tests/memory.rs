//! A long message costs its length once on each side, and the ring; also for programs that
//! lock all their memory.
#![allow(unsafe_code, reason = "mlockall")]

mod common;

use common::{Gate, Scene, fork, pattern};
use ringway_pipe::{Builder, Raw};

const CAPACITY: u64 = 64 << 10;
const MESSAGE: usize = 48 << 20;
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

/// How far the resident memory of this process rises at most while `body` runs.
fn peak(body: impl FnOnce()) -> usize {
    // Takes the high-water mark back to what is there now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    body();
    status("VmHWM").saturating_sub(before)
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

fn one_message_on_each_side(locked: bool) {
    let (mut receiver, mut sender) =
        Builder::new().capacity(CAPACITY).simplex::<Vec<u8>, Raw>().unwrap();
    let ready = Gate::new();
    let gate = &ready;
    let sending = fork(move || {
        if locked {
            lock_all_memory();
        }
        let rise = peak(|| {
            let message = pattern(MESSAGE, 1);
            gate.pass();
            sender.send(&message).unwrap();
        });
        assert!((MESSAGE / 2..MESSAGE + SLACK).contains(&rise), "the sender rose by {rise} bytes");
        let shared = status("RssShmem");
        assert!(shared < SLACK, "{shared} bytes of shared memory");
    });
    let receiving = fork(move || {
        if locked {
            lock_all_memory();
        }
        let last = pattern(MESSAGE, 1).pop();
        let rise = peak(|| {
            gate.open();
            let message = receiver.recv().unwrap();
            assert_eq!((message.len(), message.last()), (MESSAGE, last.as_ref()));
        });
        assert!(
            (MESSAGE / 2..MESSAGE + SLACK).contains(&rise),
            "the receiver rose by {rise} bytes"
        );
    });
    sending.join();
    receiving.join();
}

#[test]
fn a_long_message_costs_its_length_on_each_side() {
    let _scene = Scene::begin();
    one_message_on_each_side(false);
}

#[test]
fn and_no_more_where_all_memory_is_locked() {
    let _scene = Scene::begin();
    if !may_lock() {
        println!("this user may not lock memory: nothing was tested");
        return;
    }
    one_message_on_each_side(true);
}
