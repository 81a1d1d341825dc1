//! A short storm by the real command.

use std::process::{Command, Stdio};

#[test]
fn a_short_storm_ends_well() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["storm", "--seconds", "11", "--seed", "7"]).stdin(Stdio::null());
    let output = command.output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().last(), Some("storm: ok"), "{text}");
    let inline = ["N=1: ", "N=2: ", "N=3: ", "N=64: ", "N=3, batches: ", "N=64, batches: "];
    let blocks = ["N=1, blocks: ", "N=2, blocks: ", "N=3, blocks: ", "N=64, blocks: "];
    let last = ["N=64, blocks, batches: ", "total: "];
    for size in inline.into_iter().chain(blocks).chain(last) {
        let line = text.lines().find_map(|line| line.strip_prefix(size)).expect(size);
        assert!(line.contains(" 0 lost, 0 doubled, 0 torn,"), "{line}");
        assert!(!line.contains(", 0 kills survived"), "{line}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let output = command.args(["storm", "--seconds", "0"]).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(2));
}
