//! The classic pipe program ends by itself and prints what it should.

#[path = "common/example.rs"]
mod example;

#[test]
fn the_seed_program_prints_five_messages_and_ends() {
    let (text, status) = example::run("seed_pipe");
    let mut expected = "你好，我是fun2\n".repeat(5);
    expected += "end of file: nobody holds the other end\nmain end\n";
    assert_eq!(text, expected);
    assert!(status.success(), "{status}");
}
