//! Both rings while a second thread keeps changing the bytes.
//!
//! The second thread's writes depend on time, so a finding may need several tries of
//! the same input. What it writes is what the input says, over and over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_core::memory::Memory;
use ringway_core::segment::BODY;
use ringway_core::sync::AtomicBool;
use ringway_core::sync::Ordering::Relaxed;
use ringway_fuzz::{Input, Random, Stop, bytes, overwrite, slots};

/// A run of steps beside a writer costs a thread; so each input is run a few times over.
const ROUNDS: usize = 4;

fn beside_a_writer(
    memory: &Memory,
    first: u64,
    is_narrow: impl Fn(u64) -> bool + Send,
    writes: &[u8],
    body: impl FnOnce(),
) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let words = (memory.len() - first) / 8;
            let mut random = Random(writes.len() as u64);
            while !done.load(Relaxed) {
                let mut input = Input::new(writes);
                loop {
                    let at = first + 8 * ((u64::from(input.short()) + random.next()) % words);
                    overwrite(memory, at, is_narrow(at), |old| input.nonsense(old));
                    if input.is_empty() {
                        break;
                    }
                }
            }
        });
        let _stop = Stop(done);
        body();
    });
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (kind, size) = (input.flag(), input.below(6));
    let len = input.below(64);
    let writes = input.bytes(len);
    let steps = input.bytes(usize::MAX);
    if kind {
        let (memory, geometry) = slots::memory(1 + size as u64, 3000);
        let mut user = slots::User::new(&memory, geometry);
        let narrow = |at| slots::is_narrow(&geometry, at);
        beside_a_writer(&memory, BODY, narrow, writes, || {
            for _ in 0..ROUNDS {
                let mut input = Input::new(steps);
                while !input.is_empty() {
                    user.step(&mut input);
                }
            }
        });
    } else {
        let capacity = 64 << size;
        let memory = bytes::memory(capacity);
        let mut sides = bytes::Sides::new(&memory, capacity);
        beside_a_writer(&memory, 0, bytes::is_narrow, writes, || {
            for _ in 0..ROUNDS {
                let mut input = Input::new(steps);
                while !input.is_empty() {
                    sides.step(&mut input);
                }
            }
        });
    }
});
