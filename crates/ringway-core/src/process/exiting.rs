//! Early proof of death: every thread of a process is past its last store.
//!
//! The kernel tears down a dead process's memory before it closes its files, so the
//! lock of a process with gigabytes becomes free only after tenths of a second. Much
//! earlier, each of its threads has the flag PF_EXITING in `/proc/PID/task/*/stat`: it
//! runs the kernel's exit path and never returns to user mode, nor into a system call
//! that copies for it.
//!
//! # When this is a proof, and when it is not
//!
//! * Only after the kernel has marked the process's `live` word: its guardian thread
//!   has died, and that one dies in a group exit or an exec. From a group exit on,
//!   threads get fewer. In an exec a thread without the flag remains, and is seen.
//! * The listing of a directory that shrinks can skip an entry. So the number of
//!   threads is asked for *before* the listing, and as many must have been found: then
//!   none was skipped, and none was born.
//! * Only if `/proc` counts pids as we do and the process is in our pid namespace. A
//!   process that is not to be found, hidden or of another start time proves nothing.
//!
//! * Where stores become visible in program order, as on x86: the flag is set after the
//!   thread's last store. Elsewhere the exit path has barriers in between, but none that
//!   its documentation promises; so early proof is off there unless it is asked for.
//!
//! It rests on the order of the kernel's exit path, which is not a documented
//! interface; [`Settings::early_proof`](crate::peer::guardian::Settings) turns it off.
//! Helper processes that share memory (`CLONE_VM`) and input that a device writes into
//! the segment are outside it, as they are outside the lock's.

use super::{generation, global};
use crate::peer::Identity;
use std::io::ErrorKind;
use std::path::Path;

/// The bit of field 9 of `stat`.
const PF_EXITING: u64 = 0x4;

/// Fields of `/proc/.../stat`, counted from 0 after the name in parentheses, which may
/// contain spaces: `man proc` counts from 1 and has the name second.
mod field {
    pub(super) const FLAGS: usize = 9 - 3;
    pub(super) const THREADS: usize = 20 - 3;
    pub(super) const START_TIME: usize = 22 - 3;
}

/// A number of a `stat` line.
fn number(stat: &str, field: usize) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(field)?.parse().ok()
}

/// Who this process is, as far as `/proc` tells. Asked once per process.
pub fn own_identity() -> Identity {
    let known = global::lock().identity;
    if let Some((_, identity)) = known.filter(|(asked, _)| *asked == generation()) {
        return identity;
    }
    let identity = ask_identity();
    global::lock().identity = Some((generation(), identity));
    identity
}

fn ask_identity() -> Identity {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    Identity {
        pid: std::process::id().into(),
        pid_namespace: own_namespace(),
        start_time: number(&stat, field::START_TIME).unwrap_or(0),
    }
}

fn own_namespace() -> u64 {
    rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino)
}

/// Whether the pids in `/proc` are those of our own namespace: it shows a process's
/// pids from the one it was mounted in down to the process's own.
fn proc_is_ours() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.is_some_and(|pids| {
        pids.split_ascii_whitespace().eq([std::process::id().to_string().as_str()])
    })
}

/// Whether every thread of `identity`'s process is past its last store. The caller has
/// seen the kernel's mark on its `live` word. Takes about 20 us and some per thread.
pub(crate) fn exiting(identity: &Identity) -> bool {
    identity.pid != 0
        && identity.start_time != 0
        && identity.pid_namespace != 0
        && identity.pid_namespace == own_namespace()
        && proc_is_ours()
        && all_threads_exit(identity.pid, identity.start_time).unwrap_or(false)
}

/// `None`: there is no telling.
fn all_threads_exit(pid: u64, start_time: u64) -> Option<bool> {
    let process = format!("/proc/{pid}");
    let process = Path::new(&process);
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    if number(&stat, field::START_TIME)? != start_time {
        return None;
    }
    let threads = number(&stat, field::THREADS)?;
    let mut found = 0;
    for entry in std::fs::read_dir(process.join("task")).ok()? {
        let exits = match std::fs::read_to_string(entry.ok()?.path().join("stat")) {
            Ok(stat) => number(&stat, field::FLAGS)? & PF_EXITING != 0,
            // Listed, and gone since.
            Err(e) => e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH),
        };
        if !exits {
            return Some(false);
        }
        found += 1;
    }
    Some(threads > 0 && found == threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_not_exiting() {
        let own = own_identity();
        assert!(own.pid_namespace != 0 && own.start_time != 0, "{own:?}");
        assert!(proc_is_ours());
        assert_eq!(all_threads_exit(own.pid, own.start_time), Some(false));
        assert!(!exiting(&own));
    }

    #[test]
    fn an_unreaped_process_is_exiting_and_only_as_itself() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let start_time = number(&stat(), field::START_TIME).unwrap();
        let identity = Identity { pid: child.id().into(), start_time, ..own_identity() };
        assert!(!exiting(&identity), "it sleeps");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !exiting(&identity) {
            assert!(std::time::Instant::now() < until, "a zombie has all threads exiting");
            std::thread::yield_now();
        }
        for other in [
            Identity { start_time: start_time + 1, ..identity },
            Identity { pid_namespace: identity.pid_namespace + 1, ..identity },
            Identity { pid: 0, ..identity },
        ] {
            assert!(!exiting(&other), "{other:?}");
        }
        child.wait().unwrap();
        assert!(!exiting(&identity), "whoever is not there proves nothing");
    }
}
