//! Children of tests: arguments and handles arrive, ends are told, nothing is left.

mod common;

use common::{Handle, PATIENCE, join, open_descriptors, state, until};
use ringway::{Spawn, SpawnError, init_test, spawn};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Barrier;
use std::time::Duration;

const SIGKILL: i32 = 9;

fn describe((text, numbers, mut back): (String, Vec<u64>, Handle)) {
    back.say(&format!("{text} {numbers:?}"));
}

#[test]
fn arguments_and_a_handle_arrive() {
    init_test!(describe);
    let (mut mine, theirs) = Handle::pair();
    let child = spawn(describe, ("hello".to_string(), vec![1, u64::MAX], theirs)).unwrap();
    assert_ne!(child.id(), std::process::id());
    assert_eq!(mine.listen(), "hello [1, 18446744073709551615]");
    assert!(join(child).success());
}

fn chain(handles: Vec<Option<Handle>>) {
    for (i, handle) in handles.into_iter().enumerate() {
        if let Some(mut handle) = handle {
            handle.say(&format!("handle {i}"));
        }
    }
}

#[test]
fn many_handles_arrive_each_in_its_place() {
    init_test!(chain);
    let (mine, theirs): (Vec<_>, Vec<_>) = (0..20).map(|_| Handle::pair()).unzip();
    let theirs = theirs.into_iter().enumerate().map(|(i, h)| (i % 3 != 0).then_some(h)).collect();
    let child = spawn(chain, theirs).unwrap();
    for (i, mut mine) in mine.into_iter().enumerate() {
        let expected = if i % 3 == 0 { String::new() } else { format!("handle {i}") };
        assert_eq!(mine.listen(), expected);
    }
    assert!(join(child).success());
}

fn sum((bytes, mut back): (Vec<u8>, Handle)) {
    back.say(&bytes.iter().map(|b| u64::from(*b)).sum::<u64>().to_string());
}

#[test]
fn arguments_may_be_larger_than_an_argument_list() {
    init_test!(sum);
    let (mut mine, theirs) = Handle::pair();
    let child = spawn(sum, (vec![3_u8; 4 << 20], theirs)).unwrap();
    assert_eq!(mine.listen(), (3 * (4 << 20)).to_string());
    assert!(join(child).success());
}

fn nothing(_: ()) {}
fn code(n: u8) -> ExitCode {
    ExitCode::from(n)
}
fn result(good: bool) -> Result<(), String> {
    if good { Ok(()) } else { Err("not good".to_string()) }
}
fn panics(_: ()) {
    panic!("on purpose");
}

#[test]
fn the_status_tells_how_the_function_ended() {
    init_test!(nothing, code, result, panics);
    assert_eq!(join(spawn(nothing, ()).unwrap()).code(), Some(0));
    for n in [0, 1, 7, 255] {
        assert_eq!(join(spawn(code, n).unwrap()).code(), Some(i32::from(n)));
    }
    assert_eq!(join(spawn(result, true).unwrap()).code(), Some(0));

    let told = |mut child: ringway::Child| {
        let mut text = String::new();
        child.take_stderr().unwrap().read_to_string(&mut text).unwrap();
        (join(child).code(), text)
    };
    let (status, text) = told(Spawn::new(result).stderr(Stdio::piped()).spawn(false).unwrap());
    assert_eq!(status, Some(1));
    assert_eq!(text, "Error: \"not good\"\n");
    let (status, text) = told(Spawn::new(panics).stderr(Stdio::piped()).spawn(()).unwrap());
    assert_eq!(status, Some(101));
    assert!(text.contains("panicked at") && text.contains("on purpose"), "{text}");
}

fn stranger(_: ()) {}

#[test]
fn a_function_that_is_no_entry_is_refused() {
    init_test!(nothing);
    let refused = spawn(stranger, ()).unwrap_err();
    let SpawnError::NotRegistered { name, registered } = &refused else { panic!("{refused}") };
    assert_eq!(*name, "spawn::stranger");
    assert!(registered.contains(&"spawn::nothing"), "{registered:?}");
    assert!(refused.to_string().contains("spawn::stranger"), "{refused}");
}

/// Says that it lives, and runs until the other side lets go of its handle; which it may
/// have done already.
fn linger(mut held: Handle) {
    let _ = held.0.write_all(b"!");
    let _ = held.0.read(&mut [0]);
}

#[test]
fn a_killed_child_tells_the_signal() {
    init_test!(linger);
    let (_mine, theirs) = Handle::pair();
    let mut child = spawn(linger, theirs).unwrap();
    child.kill().unwrap();
    assert_eq!(join(child).signal(), Some(SIGKILL));
}

#[test]
fn joining_with_a_limit_does_not_wait_for_a_running_child() {
    init_test!(linger);
    let (mine, theirs) = Handle::pair();
    let mut child = spawn(linger, theirs).unwrap();
    assert_eq!(child.try_join().unwrap(), None);
    assert_eq!(child.join_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(child.join_timeout(Duration::from_millis(20)).unwrap(), None);
    drop(mine);
    let status = child.join_timeout(Duration::MAX).unwrap().unwrap();
    assert!(status.success());
    assert_eq!(child.try_join().unwrap(), Some(status), "asking again gives the same");
    assert_eq!(child.join().unwrap(), status);
}

#[test]
fn kill_on_drop_leaves_no_process() {
    init_test!(linger);
    let (mut mine, theirs) = Handle::pair();
    let child = Spawn::new(linger).kill_on_drop(true).spawn(theirs).unwrap();
    let pid = child.id();
    drop(child);
    assert_eq!(state(pid), None);
    while mine.byte().is_some() {}
}

#[test]
fn a_dropped_child_goes_on_and_is_reaped() {
    init_test!(linger, nothing);
    let (mut mine, theirs) = Handle::pair();
    let child = spawn(linger, theirs).unwrap();
    let pid = child.id();
    drop(child);
    assert_eq!(mine.byte(), Some(b'!'), "it runs after the drop");
    drop(mine);
    until(|| matches!(state(pid), Some('Z') | None));
    assert!(join(spawn(nothing, ()).unwrap()).success());
    assert_eq!(state(pid), None, "reaped when the next was started");
}

fn until_stdin_ends((): ()) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

#[test]
fn a_dropped_child_sees_the_end_of_its_input() {
    init_test!(until_stdin_ends);
    let child = Spawn::new(until_stdin_ends).stdin(Stdio::piped()).spawn(()).unwrap();
    let pid = child.id();
    drop(child);
    until(|| matches!(state(pid), Some('Z') | None));
}

fn slow((mut gate, mut out): (Handle, Handle)) {
    gate.byte();
    out.say("late");
}

#[test]
fn a_handle_lives_on_when_the_parent_drops_its_own_at_once() {
    init_test!(slow);
    let (mut gate, their_gate) = Handle::pair();
    let (mut mine, theirs) = Handle::pair();
    let child = spawn(slow, (their_gate, theirs)).unwrap();
    // Only the child holds the other end now: it must hold it already.
    mine.0.set_nonblocking(true).unwrap();
    let early = mine.0.read(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    mine.0.set_nonblocking(false).unwrap();
    gate.say("go");
    assert_eq!(mine.listen(), "late");
    assert!(join(child).success());
}

fn parent_of_two((depth, mut back): (u32, Handle)) -> ExitCode {
    back.say(&depth.to_string());
    if depth == 0 {
        return ExitCode::from(3);
    }
    let child = spawn(parent_of_two, (depth - 1, back)).unwrap();
    ExitCode::from(u8::try_from(join(child).code().unwrap()).unwrap() + 1)
}

#[test]
fn children_spawn_children() {
    init_test!(parent_of_two);
    let (mut mine, theirs) = Handle::pair();
    let child = spawn(parent_of_two, (3, theirs)).unwrap();
    assert_eq!(mine.listen(), "3210");
    assert_eq!(join(child).code(), Some(6));
}

/// In a process of its own, because tests beside this one open descriptors too.
fn start_many(times: u32) -> Result<(), String> {
    join(spawn(nothing, ()).unwrap());
    let before = open_descriptors();
    let mut pids = Vec::new();
    for i in 0..times {
        let (mut mine, theirs) = Handle::pair();
        let child = spawn(describe, (i.to_string(), vec![], theirs)).unwrap();
        pids.push(child.id());
        mine.listen();
        // Every other one is left to itself.
        if i % 2 == 0 {
            join(child);
        }
    }
    until(|| pids.iter().all(|pid| matches!(state(*pid), Some('Z') | None)));
    join(spawn(nothing, ()).unwrap());
    let left: Vec<_> = pids.into_iter().filter(|pid| state(*pid).is_some()).collect();
    let after = open_descriptors();
    if left.is_empty() && before == after {
        Ok(())
    } else {
        Err(format!("zombies: {left:?}; descriptors: {before} before, {after} after"))
    }
}

#[test]
fn many_children_leave_no_descriptor_and_no_zombie() {
    init_test!(start_many, describe, nothing);
    assert!(join(spawn(start_many, 60).unwrap()).success());
}

fn count_descriptors(mut back: Handle) {
    back.say(&open_descriptors().to_string());
}

#[test]
fn a_child_has_only_what_it_was_given() {
    init_test!(count_descriptors);
    let _others: Vec<_> = (0..50).map(|_| Handle::pair()).collect();
    let (mut mine, theirs) = Handle::pair();
    let child = Spawn::new(count_descriptors).stdin(Stdio::null()).spawn(theirs).unwrap();
    // The standard streams, the handle, and the directory that is being read. What the
    // test runner itself lets be inherited (a jobserver) comes on top.
    let open: usize = mine.listen().parse().unwrap();
    assert!(open < 20, "{open}");
    assert!(join(child).success());
}

#[test]
fn threads_spawn_at_the_same_time() {
    init_test!(describe);
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for round in 0..4 {
                    let (mut mine, theirs) = Handle::pair();
                    let text = format!("{thread}.{round}");
                    let child = spawn(describe, (text.clone(), vec![], theirs)).unwrap();
                    assert_eq!(mine.listen(), format!("{text} []"));
                    assert!(join(child).success());
                }
            });
        }
    });
}

#[test]
fn a_handle_goes_to_its_child_only() {
    init_test!(linger, describe);
    // This one lives on, and must not hold what the next is given.
    let (keeper, theirs) = Handle::pair();
    let (mut mine, next) = Handle::pair();
    let first = spawn(linger, theirs).unwrap();
    let second = spawn(describe, ("x".to_string(), vec![], next)).unwrap();
    assert_eq!(mine.listen(), "x []");
    assert!(join(second).success());
    drop(keeper);
    assert!(join(first).success());
}

fn leave_a_child_behind((die, handle): (bool, Handle)) {
    let mut child = Spawn::new(linger).die_with_parent(die).spawn(handle).unwrap();
    assert_eq!(child.try_join().unwrap(), None);
}

#[test]
fn a_child_dies_with_its_parent_if_asked_to() {
    init_test!(leave_a_child_behind, linger);
    let (mut mine, theirs) = Handle::pair();
    // Less than what makes the child give up by itself.
    mine.0.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    let child = spawn(leave_a_child_behind, (true, theirs)).unwrap();
    assert!(join(child).success());
    // The end comes though this side keeps its handle. The child may or may not have
    // come to say that it lives.
    while mine.byte().is_some() {}

    let (mut mine, theirs) = Handle::pair();
    let child = spawn(leave_a_child_behind, (false, theirs)).unwrap();
    assert!(join(child).success());
    assert_eq!(mine.byte(), Some(b'!'));
    mine.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(mine.0.read(&mut [0]).is_err(), "not asked to, it lives on");
}

#[test]
fn the_end_of_the_spawning_thread_is_not_the_end_of_the_parent() {
    init_test!(linger);
    let (mut mine, theirs) = Handle::pair();
    let spawning = move || Spawn::new(linger).die_with_parent(true).spawn(theirs).unwrap();
    let mut child = std::thread::spawn(spawning).join().unwrap();
    assert_eq!(mine.byte(), Some(b'!'));
    assert_eq!(child.join_timeout(Duration::from_millis(100)).unwrap(), None);
    drop(mine);
    assert!(join(child).success());
}

fn tell_name(mut back: Handle) {
    back.say(std::fs::read_to_string("/proc/self/comm").unwrap().trim_end());
}

#[test]
fn the_process_is_called_as_its_parent_or_as_asked() {
    init_test!(tell_name);
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    let (mut mine, theirs) = Handle::pair();
    let child = spawn(tell_name, theirs).unwrap();
    assert_eq!(mine.listen(), own.trim_end());
    join(child);
    let (mut mine, theirs) = Handle::pair();
    let child = Spawn::new(tell_name).name("a-name-longer-than-15").spawn(theirs).unwrap();
    assert_eq!(mine.listen(), "a-name-longer-t");
    join(child);
}

fn print(text: String) {
    println!("{text}");
}

/// Run by the test below, with its output read.
#[test]
#[ignore = "a part of the next one"]
fn prints_through_a_child() {
    init_test!(print);
    assert!(join(spawn(print, "from the child".to_string()).unwrap()).success());
}

#[test]
fn the_harness_in_the_child_is_not_heard() {
    let output = Command::new("/proc/self/exe")
        .args(["prints_through_a_child", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("from the child\n").count(), 1, "{text}");
    assert_eq!(text.matches("running 1 test").count(), 1, "{text}");
}

mod deeper {
    use super::*;

    /// The test's path has a module in it.
    #[test]
    fn in_a_module() {
        init_test!(nothing);
        assert!(join(spawn(nothing, ()).unwrap()).success());
    }

    #[test]
    fn in_a_closure() {
        let run = || {
            init_test!(code);
            assert_eq!(join(spawn(code, 5).unwrap()).code(), Some(5));
        };
        run();
    }
}
