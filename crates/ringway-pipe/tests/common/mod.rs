//! What the tests share: real child processes, deadlines, names that do not stay.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

#[path = "../../../../testing/child.rs"]
pub(crate) mod child;
#[path = "../../../../testing/post.rs"]
pub(crate) mod post;
#[path = "../../../../testing/scene.rs"]
pub(crate) mod scene;
#[path = "../../../../testing/tasks.rs"]
pub(crate) mod tasks;

pub(crate) use child::fork;
pub(crate) use scene::{Gate, Scene};

use std::time::{Duration, Instant};

/// How long anything may take that should take a millisecond. Machines are noisy.
pub(crate) const SOON: Duration = Duration::from_secs(2);
/// A wait that is to run out.
pub(crate) const SHORT: Duration = Duration::from_millis(60);
/// For waits that must not run out.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// `len` bytes that tell where they belong: `seed` is the message.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    // Each word tells its place and its message: quick to make, and nothing repeats.
    let word = |i: usize| (seed << 40 ^ i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = vec![0; len.next_multiple_of(8)];
    for (i, place) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *place = word(i).to_ne_bytes();
    }
    bytes.truncate(len);
    bytes
}

/// Numbers that look random and are the same every time (xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// Waits until `found` is true; panics with `what` if that takes too long.
pub(crate) fn eventually(what: &str, mut found: impl FnMut() -> bool) {
    let start = Instant::now();
    while !found() {
        if start.elapsed() >= LONG {
            panic!("{what}: not within {LONG:?}\n{}", tasks::all_doing(&child::alive()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `body` and says how long it took.
pub(crate) fn timed<R>(body: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = body();
    (result, start.elapsed())
}

/// Prints a measured time, for whoever runs the tests with `--nocapture`.
pub(crate) fn report(what: &str, took: Duration) {
    println!("{what}: {took:?}");
}

/// Calls `send` until it fails, and returns why.
pub(crate) fn eventually_broken<E>(mut send: impl FnMut() -> Result<(), E>) -> E {
    let start = Instant::now();
    loop {
        if let Err(error) = send() {
            return error;
        }
        assert!(start.elapsed() < SOON, "sending still works after {SOON:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
