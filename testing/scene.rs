//! The frame of a test: it runs alone, ends in time, and leaves nothing behind.

use super::{child, tasks};
use ringway_core::segment::Name;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One test of this binary at a time: a child forked by one would inherit, and so
/// hold, the pipe ends of the others.
static ALONE: Mutex<()> = Mutex::new(());
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Keep it until the end of the test.
pub(crate) struct Scene {
    prefix: String,
    /// Dropping it calls the watchdog off.
    _done: Sender<()>,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    pub(crate) fn begin() -> Self {
        Self::lasting(Duration::from_secs(50))
    }

    /// A test that may take `limit`. After it the whole test program ends.
    pub(crate) fn lasting(limit: Duration) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Relaxed);
        let prefix = format!("test-{}-{number}-", std::process::id());
        let (done, news) = channel::<()>();
        let names = prefix.clone();
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            if news.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                let doing = tasks::all_doing(&child::alive());
                child::say(&format!("{test}: not over after {limit:?}\n{doing}"));
                child::kill_all();
                remove_names(&names);
                child::exit(101);
            }
        });
        Self { prefix, _done: done, _alone: alone }
    }

    /// A name that no other test has. Removed with the scene.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        remove_names(&self.prefix);
    }
}

fn remove_names(prefix: &str) {
    for path in names(prefix) {
        let _ = std::fs::remove_file(path);
    }
}

/// The files of all names that begin with `prefix`.
pub(crate) fn names(prefix: &str) -> Vec<std::path::PathBuf> {
    let example = Name::new(prefix).unwrap();
    let dir = example.path().parent().unwrap();
    let ours = example.path().file_name().unwrap().to_str().unwrap();
    let entries = std::fs::read_dir(dir).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    entries
        .filter(|p| p.file_name().is_some_and(|f| f.to_string_lossy().starts_with(ours)))
        .collect()
}

/// Lets one process wait for another, without any code under test.
pub(crate) struct Gate(UnixStream, UnixStream);

impl Gate {
    pub(crate) fn new() -> Self {
        let (a, b) = UnixStream::pair().unwrap();
        b.set_read_timeout(Some(super::LONG)).unwrap();
        Self(a, b)
    }

    /// Lets one pass.
    pub(crate) fn open(&self) {
        (&self.0).write_all(&[1]).unwrap();
    }

    /// Waits for it.
    pub(crate) fn pass(&self) {
        (&self.1).read_exact(&mut [0]).expect("the other process never came to its gate");
    }
}
