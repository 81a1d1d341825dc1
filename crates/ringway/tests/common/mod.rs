//! What several tests need: a handle to hand over, a deadline for waits.
#![allow(dead_code, reason = "each test uses its part")]

use ringway::Child;
use ringway_core::handover;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// Long past what any of this takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A socket that is handed over the way queues and pipes are. Its reader sees the end
/// when nobody holds the other socket any more.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) UnixStream);

impl Handle {
    pub(crate) fn pair() -> (Self, Self) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_read_timeout(Some(PATIENCE)).unwrap();
        b.set_read_timeout(Some(PATIENCE)).unwrap();
        (Self(a), Self(b))
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Everything up to the end.
    pub(crate) fn listen(&mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
    }

    /// One byte, or `None` at the end.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        (self.0.read(&mut byte).unwrap() == 1).then_some(byte[0])
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hold = self.0.try_clone().map_err(ser::Error::custom)?;
        handover::give(hold.into()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = u32::deserialize(deserializer)?;
        let fd: OwnedFd = handover::take(place).map_err(de::Error::custom)?;
        Ok(Self(fd.into()))
    }
}

/// Joins a child that should end by itself; kills it if it does not.
pub(crate) fn join(mut child: Child) -> ExitStatus {
    match child.join_timeout(PATIENCE).unwrap() {
        Some(status) => status,
        None => {
            child.kill().unwrap();
            panic!("the child did not end: {}", child.join().unwrap());
        }
    }
}

/// Waits until `what` is true.
pub(crate) fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < deadline, "it did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The letter in `/proc/<pid>/stat` that says what the process does; `None`: there is
/// none.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A harness for tests whose programs have a `main` of their own. Knows what `cargo
/// test` and `cargo nextest` ask for: `--list`, a filter, `--exact`.
pub(crate) fn run_tests(tests: &[(&str, fn())]) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| {
        let exact = has("--exact");
        let fits = |f: &&&String| if exact { name == **f } else { name.contains(f.as_str()) };
        // A list is of everything: the word after `--format` is no filter.
        let all = filters.is_empty() || has("--list");
        !has("--ignored") && (all || filters.iter().any(|f| fits(&f)))
    };
    let chosen: Vec<_> = tests.iter().filter(|(name, _)| wanted(name)).collect();
    for (name, test) in chosen {
        if has("--list") {
            println!("{name}: test");
            continue;
        }
        test();
        println!("test {name} ... ok");
    }
}
