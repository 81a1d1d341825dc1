//! The ring of slots: every operation, repair and inspection over words that an input
//! makes up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_core::segment::BODY;
use ringway_fuzz::slots::{User, is_narrow, memory};
use ringway_fuzz::{Input, Random, overwrite};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (memory, geometry) = memory(1 + input.below(9) as u64, 3000 * input.below(8) as u64);
    let mut user = User::new(&memory, geometry);
    let words = ((memory.len() - BODY) / 8) as usize;
    if input.flag() {
        let mut random = Random(input.word());
        for at in (BODY..memory.len()).step_by(8) {
            // Small numbers now and then: they make likely phases, owners and laps.
            let mask = u64::MAX >> (random.next() & 63);
            overwrite(&memory, at, is_narrow(&geometry, at), |_| random.next() & mask);
        }
    }
    while !input.is_empty() {
        if input.flag() {
            let at = BODY + 8 * input.below(words) as u64;
            overwrite(&memory, at, is_narrow(&geometry, at), |old| input.nonsense(old));
        }
        user.step(&mut input);
    }
});
