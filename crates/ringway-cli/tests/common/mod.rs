//! Runs the command with deadlines, and leaves nothing behind.
#![allow(dead_code, reason = "each test uses its part")]

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Long past what any of this takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The command with arguments, its output caught.
pub(crate) fn ringway() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The words after `label` in all lines that begin with it.
    pub(crate) fn values(&self, label: &str) -> Vec<&str> {
        self.stdout
            .lines()
            .filter_map(|line| line.trim().strip_prefix(label))
            .map(str::trim)
            .collect()
    }

    /// The number in the first line that begins with `label`.
    pub(crate) fn number(&self, label: &str) -> u64 {
        let values = self.values(label);
        values.first().unwrap_or_else(|| panic!("no {label} in {self:?}")).parse().unwrap()
    }
}

/// A running command. Dropped, it and all its children are killed.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.process_group(0).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Some(reader(child.stdout.take().unwrap()));
        let stderr = Some(reader(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.id()), signal).unwrap();
    }

    /// Waits for the end of the command and of everything that holds its output: its
    /// children, if they outlive it.
    pub(crate) fn finish(mut self) -> Outcome {
        let mut status = None;
        until(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let text = |reader: Option<JoinHandle<String>>| {
            let reader = reader.unwrap();
            until(|| reader.is_finished());
            reader.join().unwrap()
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        Outcome { status: status.unwrap(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that there is nobody left.
        let _ = kill_process_group(pid(self.child.id()), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}

pub(crate) fn run(command: &mut Command) -> Outcome {
    Running::start(command).finish()
}

pub(crate) fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Waits until `what` is true.
pub(crate) fn until(mut what: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "it did not come about");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The living children of a process that go by this name.
pub(crate) fn children(parent: u32, name: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let mut fields = tail.split(' ');
        let (state, its_parent) = (fields.next()?, fields.next()?);
        let is = head.ends_with(&format!("({name}")) && its_parent == parent.to_string();
        (is && state != "Z").then_some(id)
    });
    processes.collect()
}

/// A directory, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
