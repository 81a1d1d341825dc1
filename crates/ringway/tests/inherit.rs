//! Handles handed to programs that `std::process::Command` starts.
//!
//! Each test starts this binary again with `ROLE` set; what it then does in `main` is
//! what any other program could do.

mod common;

use command_fds::{CommandFdExt, FdMapping};
use common::{Handle, PATIENCE, open_descriptors, run_tests};
use ringway::{HandOver, HandOverError, InheritError, inherited};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};

fn main() {
    match std::env::var("ROLE").as_deref() {
        Ok("take_one") => take_one(),
        Ok("take_twice") => take_twice(),
        Ok("take_three") => take_three(),
        Ok("take_wrong") => take_wrong(),
        Ok("take_nothing") => take_nothing(),
        Ok("pass_variable_on") => pass_variable_on(),
        Ok("too_late") => too_late(),
        Ok("two_takers") => two_takers(),
        Ok("count") => count(),
        Ok(other) => panic!("no role {other:?}"),
        Err(_) => run_tests(&[
            ("a_handle_arrives", a_handle_arrives),
            ("a_handle_is_taken_once", a_handle_is_taken_once),
            ("several_handles_arrive_beside_other_descriptors", several_handles_arrive),
            ("another_type_is_an_error", another_type_is_an_error),
            ("nothing_handed_over_nothing_taken", nothing_handed_over),
            ("grandchildren_inherit_nothing", grandchildren_inherit_nothing),
            ("of_two_programs_one_gets_it", of_two_programs_one_gets_it),
            ("the_command_holds_the_handle", the_command_holds_the_handle),
            ("there_is_no_early_end", there_is_no_early_end),
            ("keys_are_checked", keys_are_checked),
            ("no_descriptor_is_left", no_descriptor_is_left),
            ("a_failed_start_is_reported", a_failed_start_is_reported),
        ]),
    }
}

fn program(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env("ROLE", role).stdin(Stdio::null());
    command
}

fn take_one() {
    let mut handle: Handle = inherited("job").unwrap();
    let flags = rustix::io::fcntl_getfd(&handle.0).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "it goes no further");
    handle.say("taken");
}

fn a_handle_arrives() {
    let (mut mine, theirs) = Handle::pair();
    let mut command = program("take_one");
    let mut child = command.hand_over("job", theirs).unwrap().spawn().unwrap();
    drop(command);
    assert_eq!(mine.listen(), "taken");
    assert!(child.wait().unwrap().success());
}

fn take_twice() {
    // Case does not matter, nor does who asks.
    let handle: Handle = inherited("JOB").unwrap();
    let again = inherited::<Handle>("job").unwrap_err();
    assert!(matches!(again, InheritError::AlreadyTaken { .. }), "{again}");
    drop(handle);
    let again = inherited::<Handle>("job").unwrap_err();
    assert!(matches!(again, InheritError::AlreadyTaken { .. }), "{again}");
}

fn a_handle_is_taken_once() {
    let (_mine, theirs) = Handle::pair();
    let mut command = program("take_twice");
    assert!(command.hand_over("job", theirs).unwrap().status().unwrap().success());
}

fn take_three() {
    let (mut c, number): (Handle, u32) = inherited("c").unwrap();
    let mut a: Handle = inherited("a").unwrap();
    let mut b: Handle = inherited("b").unwrap();
    a.say("a");
    b.say("b");
    c.say(&format!("c {number}"));
}

fn several_handles_arrive() {
    let (mut a, their_a) = Handle::pair();
    let (mut b, their_b) = Handle::pair();
    let (mut c, their_c) = Handle::pair();
    let (mut other, their_other) = Handle::pair();
    let mut command = program("take_three");
    // A program may be given descriptors in other ways too, at numbers that are free.
    let free = 500;
    let mapping = FdMapping { parent_fd: their_other.0.into(), child_fd: free };
    command.fd_mappings(vec![mapping]).unwrap();
    command.hand_over("a", their_a).unwrap();
    command.hand_over("b", their_b).unwrap().hand_over("c", (their_c, 7_u32)).unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    assert_eq!(a.listen(), "a");
    assert_eq!(b.listen(), "b");
    assert_eq!(c.listen(), "c 7");
    assert_eq!(other.listen(), "");
    assert!(child.wait().unwrap().success());
}

fn take_wrong() {
    let error = inherited::<(String, u64)>("job").unwrap_err();
    assert!(matches!(error, InheritError::Decode { .. }), "{error}");
    let error = inherited::<Handle>("job").unwrap_err();
    assert!(matches!(error, InheritError::AlreadyTaken { .. }), "{error}");
    // Lives on, so that it is not its end that closes the handle.
    inherited::<Handle>("gate").unwrap().byte();
    println!("alive");
}

fn another_type_is_an_error() {
    let (mut mine, theirs) = Handle::pair();
    let (gate, their_gate) = Handle::pair();
    mine.0.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    let mut command = program("take_wrong");
    command.hand_over("job", theirs).unwrap().hand_over("gate", their_gate).unwrap();
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    assert_eq!(mine.listen(), "", "it was closed");
    drop(gate);
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "alive\n");
    assert!(child.wait().unwrap().success());
}

fn take_nothing() {
    let error = inherited::<Handle>("job").unwrap_err();
    assert!(matches!(error, InheritError::NotHandedOver { .. }), "{error}");
    let error = inherited::<Handle>("").unwrap_err();
    assert!(matches!(error, InheritError::BadKey { .. }), "{error}");
}

fn nothing_handed_over() {
    assert!(program("take_nothing").status().unwrap().success());
}

fn pass_variable_on() {
    let mut handle: Handle = inherited("job").unwrap();
    handle.say("first");
    assert!(program("too_late").status().unwrap().success());
}

fn too_late() {
    // The number is in use here, by something else.
    let _own: Vec<_> = (0..50).map(|_| Handle::pair()).collect();
    let before = open_descriptors();
    let error = inherited::<Handle>("job").unwrap_err();
    assert!(matches!(error, InheritError::NotForThisProcess { .. }), "{error}");
    assert_eq!(open_descriptors(), before, "nothing was closed");
}

fn grandchildren_inherit_nothing() {
    let (mut mine, theirs) = Handle::pair();
    let mut command = program("pass_variable_on");
    let mut child = command.hand_over("job", theirs).unwrap().spawn().unwrap();
    drop(command);
    assert_eq!(mine.listen(), "first");
    assert!(child.wait().unwrap().success());
}

fn two_takers() {
    match inherited::<Handle>("job") {
        Ok(mut handle) => handle.say("one"),
        Err(InheritError::AlreadyTaken { .. }) => std::process::exit(3),
        Err(other) => panic!("{other}"),
    }
}

fn of_two_programs_one_gets_it() {
    let (mut mine, theirs) = Handle::pair();
    let mut command = program("two_takers");
    command.hand_over("job", theirs).unwrap();
    let mut codes: Vec<_> = (0..2).map(|_| command.status().unwrap().code()).collect();
    drop(command);
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(3)]);
    assert_eq!(mine.listen(), "one");
}

fn the_command_holds_the_handle() {
    let (mut mine, theirs) = Handle::pair();
    let mut command = program("take_one");
    command.hand_over("job", theirs).unwrap();
    assert!(command.status().unwrap().success());
    for byte in *b"taken" {
        assert_eq!(mine.byte(), Some(byte));
    }
    mine.0.set_nonblocking(true).unwrap();
    assert!(mine.0.read(&mut [0]).is_err(), "no end while the command has its hold");
    mine.0.set_nonblocking(false).unwrap();
    drop(command);
    assert_eq!(mine.byte(), None);

    let (mut mine, theirs) = Handle::pair();
    let mut command = program("take_one");
    command.hand_over("job", theirs).unwrap();
    drop(command);
    assert_eq!(mine.byte(), None, "never started: closed");
}

fn there_is_no_early_end() {
    for _ in 0..10 {
        let (mut mine, theirs) = Handle::pair();
        let mut command = program("take_one");
        let mut child = command.hand_over("job", theirs).unwrap().spawn().unwrap();
        drop(command);
        assert_eq!(mine.byte(), Some(b't'), "the first thing to come is no end");
        assert!(child.wait().unwrap().success());
    }
}

fn keys_are_checked() {
    let mut command = program("take_one");
    for bad in ["", "a b", "a=b", "a\0", "ä", "a-b"] {
        let (mut mine, theirs) = Handle::pair();
        let error = command.hand_over(bad, theirs).unwrap_err();
        assert!(matches!(error, HandOverError::BadKey { .. }), "{error}");
        assert_eq!(mine.byte(), None, "refused, it is closed");
    }
    let (mut mine, theirs) = Handle::pair();
    command.hand_over("job", Handle::pair().0).unwrap();
    let error = command.hand_over("Job", theirs).unwrap_err();
    assert!(matches!(error, HandOverError::KeyTaken { .. }), "{error}");
    assert_eq!(mine.byte(), None);
}

fn count() {
    let before = open_descriptors();
    let handle: Handle = inherited("job").unwrap();
    // The letter is closed, the handle's descriptor is left.
    assert_eq!(open_descriptors(), before - 1);
    drop(handle);
    assert_eq!(open_descriptors(), before - 2);
}

fn no_descriptor_is_left() {
    let before = open_descriptors();
    for _ in 0..10 {
        let (_mine, theirs) = Handle::pair();
        let mut command = program("count");
        assert!(command.hand_over("job", theirs).unwrap().status().unwrap().success());
    }
    assert_eq!(open_descriptors(), before);
}

/// The pipe through which `Command` learns of a failed exec is not overwritten.
fn a_failed_start_is_reported() {
    let mut command = Command::new("/there/is/no/such/program");
    let mut ours = Vec::new();
    for key in 0..8 {
        let (mine, theirs) = Handle::pair();
        assert!(theirs.0.as_fd().as_raw_fd() > 2);
        command.hand_over(&key.to_string(), theirs).unwrap();
        ours.push(mine);
    }
    let error = command.spawn().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    drop(command);
    for mut mine in ours {
        assert_eq!(mine.byte(), None);
    }
}
