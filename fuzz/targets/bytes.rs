//! The byte ring: every operation of both sides over words that an input makes up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_core::spsc::CONTROL_LEN;
use ringway_fuzz::bytes::{Sides, is_narrow, memory};
use ringway_fuzz::{Input, Random, overwrite};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let capacity = 64 << input.below(7);
    let memory = memory(capacity);
    let words = (CONTROL_LEN + capacity) as usize / 8;
    if input.flag() {
        let mut random = Random(input.word());
        for at in 0..words as u64 {
            overwrite(&memory, 8 * at, is_narrow(8 * at), |_| random.next());
        }
    }
    let mut sides = Sides::new(&memory, capacity);
    while !input.is_empty() {
        if input.flag() {
            // Most of the time one of the words that decide.
            let at = if input.flag() { 16 * input.below(32) } else { input.below(words) } as u64;
            let at = if at < words as u64 { 8 * at } else { 0 };
            overwrite(&memory, at, is_narrow(at), |old| input.nonsense(old));
        }
        sides.step(&mut input);
    }
});
