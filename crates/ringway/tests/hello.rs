//! The program on the first screen of the README works.

#[path = "common/example.rs"]
mod example;

#[test]
fn the_shortest_program_says_hello() {
    let (text, status) = example::run("hello");
    assert_eq!(text, "HELLO\n");
    assert!(status.success(), "{status}");
}
