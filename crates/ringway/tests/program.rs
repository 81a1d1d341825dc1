//! Programs with a `main` of their own: what happens if `init` is late, missing or
//! different, and who counts as a child.
//!
//! Each test starts this binary again with `ROLE` set, and `main` is then the role's.
//! Children inherit the variable, and so have the same `main` as their parent.

mod common;

use common::{join, run_tests};
use ringway::{ChildError, SpawnError, entries, spawn};
use serde::{Deserialize, Deserializer, Serialize};
use std::process::{Command, Output, Stdio};

fn main() {
    match std::env::var("ROLE").as_deref() {
        Ok("well_made") => well_made(),
        Ok("without_init") => without_init(),
        Ok("recursion") => recursion(),
        Ok("never_reaches_init") => never_reaches_init(),
        Ok("other_entries") => other_entries(),
        Ok("undecodable") => undecodable(),
        Ok("same_name") => same_name(),
        Ok("grandchild") => grandchild(),
        Ok("hasty") => hasty(),
        Ok("replaced") => replaced(),
        Ok(other) => panic!("no role {other:?}"),
        Err(_) => run_tests(&[
            ("a_program_starts_its_functions", a_program_starts_its_functions),
            ("spawn_without_init_is_refused", spawn_without_init_is_refused),
            ("a_main_without_init_does_not_recurse", a_main_without_init_does_not_recurse),
            ("a_child_that_did_nothing_did_not_succeed", a_child_that_did_nothing_did_not_succeed),
            ("a_function_that_the_child_lacks", a_function_that_the_child_lacks),
            ("arguments_that_cannot_be_decoded", arguments_that_cannot_be_decoded),
            ("functions_of_one_name_are_refused", functions_of_one_name_are_refused),
            ("a_program_started_by_a_child_is_no_child", a_program_started_by_a_child_is_no_child),
            (
                "a_program_started_before_init_takes_nothing",
                a_program_started_before_init_takes_nothing,
            ),
            (
                "a_program_whose_file_is_gone_still_spawns",
                a_program_whose_file_is_gone_still_spawns,
            ),
            ("a_made_up_variable_makes_no_child", a_made_up_variable_makes_no_child),
        ]),
    }
}

/// Runs this program in a role; `(exit code, stdout, stderr)`.
fn play(role: &str) -> (Option<i32>, String, String) {
    told(Command::new("/proc/self/exe").env("ROLE", role).output().unwrap())
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Whether this process is a child, told without Ringway's help.
fn was_spawned() -> bool {
    std::env::var_os("RINGWAY_CHILD").is_some()
}

fn greet(name: String) {
    println!("hello {name} from {}", std::env::args().count());
}

fn well_made() {
    ringway::init(entries![greet]);
    assert!(join(spawn(greet, "world".to_string()).unwrap()).success());
    println!("main end");
}

fn a_program_starts_its_functions() {
    let (code, out, err) = play("well_made");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "hello world from 1\nmain end\n");
}

fn without_init() {
    let refused = spawn(greet, String::new()).unwrap_err();
    assert!(matches!(refused, SpawnError::NotInitialised { .. }), "{refused}");
    println!("{refused}");
}

fn spawn_without_init_is_refused() {
    let (code, out, _) = play("without_init");
    assert_eq!(code, Some(0));
    assert!(out.contains("program::greet") && out.contains("ringway::init"), "{out}");
}

/// `init` is there, but not for children.
fn recursion() {
    if !was_spawned() {
        ringway::init(entries![greet]);
    }
    let child = spawn(greet, String::new()).unwrap();
    println!("child: {:?}", join(child).code());
}

fn a_main_without_init_does_not_recurse() {
    let (code, out, err) = play("recursion");
    assert_eq!((code, out.as_str()), (Some(0), "child: Some(70)\n"));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("ringway::init must be the first line of main"), "{err}");
}

fn never_reaches_init() {
    if was_spawned() {
        return;
    }
    ringway::init(entries![greet]);
    let child = spawn(greet, String::new()).unwrap();
    let error = child.join().unwrap_err();
    assert!(matches!(error, ChildError::DidNotRun { .. }), "{error}");
}

fn a_child_that_did_nothing_did_not_succeed() {
    assert_eq!(play("never_reaches_init").0, Some(0));
}

fn other(_: ()) {}

fn other_entries() {
    if was_spawned() {
        ringway::init(entries![other]);
    }
    ringway::init(entries![greet]);
    println!("child: {:?}", join(spawn(greet, String::new()).unwrap()).code());
}

fn a_function_that_the_child_lacks() {
    let (code, out, err) = play("other_entries");
    assert_eq!((code, out.as_str()), (Some(0), "child: Some(70)\n"));
    assert!(err.contains("program::greet is not among the entries"), "{err}");
    assert!(err.contains("program::other"), "{err}");
}

/// Has an encoding that cannot be read.
#[derive(Serialize)]
struct OneWay(u8);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no way back"))
    }
}

fn take(_: OneWay) {
    println!("not reached");
}

fn undecodable() {
    ringway::init(entries![take]);
    println!("child: {:?}", join(spawn(take, OneWay(1)).unwrap()).code());
}

fn arguments_that_cannot_be_decoded() {
    let (code, out, err) = play("undecodable");
    assert_eq!((code, out.as_str()), (Some(0), "child: Some(70)\n"));
    assert!(err.contains("program::take: its arguments: cannot decode"), "{err}");
}

fn same_name() {
    ringway::init(entries![|_: u8| (), |_: u16| ()]);
}

fn functions_of_one_name_are_refused() {
    let (code, _, err) = play("same_name");
    assert_eq!(code, Some(101));
    assert!(err.contains("two entries are called"), "{err}");
}

/// A child that starts its own program in the ordinary way.
fn start_the_program_again(_: ()) {
    let status = Command::new("/proc/self/exe").env("AGAIN", "1").status().unwrap();
    println!("again: {:?}", status.code());
}

fn grandchild() {
    ringway::init(entries![start_the_program_again, greet]);
    if std::env::var_os("AGAIN").is_some() {
        // The variable is inherited, and means nothing here.
        assert!(was_spawned());
        assert!(join(spawn(greet, "again".to_string()).unwrap()).success());
        std::process::exit(9);
    }
    assert!(join(spawn(start_the_program_again, ()).unwrap()).success());
}

fn a_program_started_by_a_child_is_no_child() {
    let (code, out, err) = play("grandchild");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "hello again from 1\nagain: Some(9)\n");
}

/// A child that starts its own program before `init`: that one is there first, but one
/// letter starts one function.
fn hasty() {
    if was_spawned() && std::env::var_os("AGAIN").is_none() {
        let again = Command::new("/proc/self/exe").env("AGAIN", "1").status().unwrap();
        println!("again: {:?}", again.code());
    }
    ringway::init(entries![greet]);
    println!("child: {:?}", join(spawn(greet, "once".to_string()).unwrap()).code());
}

fn a_program_started_before_init_takes_nothing() {
    let (code, out, err) = play("hasty");
    assert_eq!(code, Some(0));
    assert_eq!(out, "hello once from 1\nagain: Some(0)\nchild: Some(70)\n");
    assert!(err.contains("another process has read the letter"), "{err}");
}

fn replaced() {
    ringway::init(entries![greet]);
    let path = std::env::current_exe().unwrap();
    // What now has the name is no program at all.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "not a program").unwrap();
    assert!(join(spawn(greet, "old".to_string()).unwrap()).success());
}

fn a_program_whose_file_is_gone_still_spawns() {
    let dir = std::env::temp_dir().join(format!("ringway-program-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let copy = dir.join("program");
    let ran = std::fs::copy("/proc/self/exe", &copy)
        .and_then(|_| Command::new(&copy).env("ROLE", "replaced").output());
    std::fs::remove_dir_all(&dir).unwrap();
    let (code, out, err) = told(ran.unwrap());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "hello old from 1\n");
}

fn a_made_up_variable_makes_no_child() {
    for value in ["", "x", "3", "0:0:0", "1:1:1", "-1:0:0", "3:1:2:3", "99999:1:1"] {
        let mut command = Command::new("/proc/self/exe");
        command.env("ROLE", "well_made").env("RINGWAY_CHILD", value).stdin(Stdio::null());
        let (code, out, _) = told(command.output().unwrap());
        assert_eq!(code, Some(0), "{value:?}");
        assert!(out.ends_with("main end\n"), "{value:?}: {out}");
    }
}
