//! What the kernel says of a process: what its threads do, what it has open.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What one thread does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) name: String,
    /// Number of the system call it sleeps in.
    pub(crate) syscall: Option<i64>,
    /// Times it went to sleep, ever.
    pub(crate) sleeps: u64,
    /// Times it was preempted, ever.
    pub(crate) preempted: u64,
}

/// The threads of process `pid`, by thread id.
pub(crate) fn tasks(pid: i32) -> BTreeMap<i32, Task> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return found };
    for entry in entries.flatten() {
        let read =
            |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let status = read("status");
        let count = |what: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(what));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        let syscall = read("syscall").split(' ').next().and_then(|number| number.parse().ok());
        let task = Task {
            name: read("comm").trim().into(),
            syscall,
            sleeps: count("voluntary_ctxt_switches:"),
            preempted: count("nonvoluntary_ctxt_switches:"),
        };
        found.insert(entry.file_name().to_string_lossy().parse().unwrap(), task);
    }
    found
}

/// What each thread of these processes and of this one does, a line each, so that a wait
/// that ran out explains itself: name, state, where it sleeps, and in which call of the
/// system with which arguments.
pub(crate) fn all_doing(pids: &[i32]) -> String {
    let own = i32::try_from(std::process::id()).unwrap();
    let mut text = String::new();
    for pid in pids.iter().chain([&own]) {
        text += &format!("process {pid}{}:\n", if *pid == own { ", this one" } else { "" });
        for thread in tasks(*pid).keys() {
            let read = |file: &str| {
                let path = format!("/proc/{pid}/task/{thread}/{file}");
                std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
            };
            let stat = read("stat");
            let state = stat.rsplit_once(") ").map_or("?", |(_, rest)| &rest[..1]);
            let (name, place, call) = (read("comm"), read("wchan"), read("syscall"));
            text += &format!("  {thread} {name}: {state}, {place}, syscall {call}\n");
        }
    }
    text
}

/// Whether the main thread of process `pid` sleeps in a futex, and has for a while: the
/// short first sleep of a wait is over.
pub(crate) fn asleep(pid: i32) -> bool {
    let sleeps = [Some(libc::SYS_futex), Some(libc::SYS_futex_waitv)];
    let look = || tasks(pid).remove(&pid).filter(|task| sleeps.contains(&task.syscall));
    let first = look();
    std::thread::sleep(std::time::Duration::from_millis(5));
    first.is_some() && first == look()
}

/// Waits until the main thread of process `pid` sleeps in a futex.
pub(crate) fn until_asleep(pid: i32) {
    super::eventually("the child goes to sleep", || asleep(pid));
}

/// Stops a child and waits until it stands still, if only because it has ended.
pub(crate) fn stop(child: &super::child::Child) {
    child.signal(libc::SIGSTOP);
    let path = format!("/proc/{}/stat", child.pid());
    super::eventually("the child stops", || {
        let stands = |stat: String| stat.contains(") T ") || stat.contains(") Z ");
        std::fs::read_to_string(&path).is_ok_and(stands)
    });
}

/// How many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many mappings of segments this process has.
pub(crate) fn segment_mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("ringway")).count()
}

/// The directory that `/proc` keeps of this process's descriptors.
pub(crate) fn descriptor_path(fd: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{fd}"))
}

/// How many threads of this process have a name that begins like this.
pub(crate) fn threads_named(prefix: &str) -> usize {
    let own = i32::try_from(std::process::id()).unwrap();
    tasks(own).values().filter(|task| task.name.starts_with(prefix)).count()
}
