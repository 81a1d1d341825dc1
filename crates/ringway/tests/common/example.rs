//! Runs an example program.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Long past what any of them takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the example printed to its standard output, and how it ended. It and its
/// children are dead when this returns, also by a panic.
pub(crate) fn run(name: &str) -> (String, ExitStatus) {
    let mut command = Command::new(program(name));
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut group = Group(command.spawn().unwrap());
    let mut stdout = group.0.stdout.take().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = group.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the example {name} does not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    // Before the rest of the output is read: a child left behind would keep it open.
    drop(group);
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    (text, status)
}

struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // An error means that all of it has ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// `cargo test` builds the examples beside the tests; `cargo test --test` does not, and
/// may leave an old one there.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    let source = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    let time = |file: &std::path::Path| file.metadata().and_then(|m| m.modified()).ok();
    if time(&program) < time(source.as_ref()) {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", name]);
        build.args((!cfg!(debug_assertions)).then_some("--release"));
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(built.success(), "cannot build the example {name}");
    }
    program
}
