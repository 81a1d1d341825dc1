//! A short storm by the real command.

use std::process::{Command, Stdio};

#[test]
fn a_short_storm_ends_well() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["storm", "--seconds", "12", "--seed", "7"]).stdin(Stdio::null());
    let output = command.output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().last(), Some("storm: ok"), "{text}");
    let kinds = ["", ", batches", ", blocks", ", grants", ", streams", ", blocks and batches"];
    let sizes = [1, 2, 3, 64];
    let all = kinds.iter().flat_map(|kind| sizes.map(|slots| format!("N={slots}{kind}: ")));
    for size in all.chain(["total: ".into()]) {
        let line = text.lines().find_map(|line| line.strip_prefix(&*size)).expect(&size);
        assert!(line.contains(" 0 lost, 0 doubled, 0 torn,"), "{line}");
        assert!(!line.contains(" 0 kills survived"), "{line}");
        // Written down before they are released: nothing can be taken by the dead.
        assert!(!size.contains("grants") || line.contains(" 0 taken by the dead (at most 0)"));
    }
    let covered = text.lines().find_map(|line| line.strip_prefix("covered: ")).expect("covered");
    for kind in
        ["inline (", "batches (", "blocks (", "grants (", "streams (", "blocks and batches ("]
    {
        assert!(covered.contains(kind), "{covered}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let output = command.args(["storm", "--seconds", "0"]).output().expect("the command runs");
    assert_eq!(output.status.code(), Some(2));
}
