//! Sequences of operations on sound memory, beside a model that is a deque.
//!
//! Slots: puts and gets, alone and in batches, of a user who lives, and of two victims who
//! stop after any step, go on, or die and are repaired. Bytes: messages whole, in pieces,
//! in batches and in place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_fuzz::{Input, stream, world};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    if input.flag() { world::run(&mut input) } else { stream::run(&mut input) }
});
