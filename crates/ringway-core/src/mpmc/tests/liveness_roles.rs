//! What the processes of the `liveness` tests do.
#![allow(unsafe_code, reason = "fork, namespaces, system call filters")]

use super::processes::{PATIENCE, ROLE, SEGMENTS};
use crate::mpmc::{Announcement, SharedRing};
use crate::peer::guardian;
use crate::segment::Segment;
use crate::sync::Ordering::SeqCst;
use crate::wait::{Deadline, Spinner, WaitPolicy};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Nanoseconds of the clock that all processes share.
pub(super) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// Each thread's name, and how often it has gone to sleep.
pub(super) fn switches(pid: u32) -> HashMap<String, (String, u64)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |entry: std::fs::DirEntry| {
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let count = field("voluntary_ctxt_switches:")?.trim().parse().ok()?;
        let tid = entry.file_name().into_string().ok()?;
        Some((tid, (field("Name:")?.trim().to_owned(), count)))
    };
    threads.filter_map(|entry| read(entry.unwrap())).collect()
}

fn file(path: &str) -> OwnedFd {
    std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap().into()
}

fn open(path: &str) -> SharedRing {
    SharedRing::open(Segment::from_fd(file(path)).unwrap(), 7).unwrap()
}

/// Claims the oldest message of `ring` and stops there.
fn claim_get(ring: &SharedRing) {
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let actor = &mut *attachment.spare();
    let head = attachment.ring.dequeue_pos.load(SeqCst);
    attachment.ring.announce(actor, Announcement::get(head));
    attachment.ring.claim_get(head).unwrap();
}

/// Stops before claiming the oldest message, and lets it be when told to.
fn announce_get(ring: &SharedRing) {
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let actor = &mut *attachment.spare();
    let head = attachment.ring.dequeue_pos.load(SeqCst);
    attachment.ring.announce(actor, Announcement::get(head));
    ready();
    wait_for_go();
    attachment.ring.announce(actor, Announcement::IDLE);
    wait_for_go();
}

fn ready() {
    println!("\nready");
}

/// Until somebody says `go`, or is gone.
fn wait_for_go() -> bool {
    std::io::stdin().read_line(&mut String::new()).is_ok_and(|read| read > 0)
}

#[test]
fn peer() {
    let Ok(segments) = std::env::var(SEGMENTS) else { return };
    let role = std::env::var(ROLE).unwrap();
    let paths: Vec<&str> = segments.split(' ').collect();
    match std::env::var("RINGWAY_TEST_REFUSE").as_deref() {
        Ok("robust") => refuse(libc::SYS_set_robust_list),
        Ok("waitv") => refuse(libc::SYS_futex_waitv),
        _ => {}
    }
    if std::env::var_os("RINGWAY_TEST_EARLY").is_some() {
        guardian::configure(guardian::Settings { early_proof: false, ..guardian::settings() });
    }
    let _memory;
    match role.as_str() {
        "survives" => return survive(&open(paths[0])),
        "comes and goes" => return come_and_go(paths[0]),
        "claims a get in a namespace" => return in_a_namespace(&segments),
        "idles" => return idle(&open(paths[0])),
        "announces a get" => return announce_get(&open(paths[0])),
        "claims a put" => return put_slowly(&open(paths[0])),
        "claims a get after fork" => return fork_first(&open(paths[0])),
        "child claims a get" => return child_claims(&open(paths[0])),
        "claims a get and reads" => return read_on(&open(paths[0]), &file(paths[1])),
        "claims a get" | "claims a get and execs" => {}
        "claims a get with threads" => {
            for _ in 0..63 {
                std::thread::spawn(|| std::thread::sleep(PATIENCE));
            }
        }
        "claims a get with 6144 MiB" => _memory = vec![1_u8; 6144 << 20],
        "claims a get with 1536 MiB" => _memory = vec![1_u8; 1536 << 20],
        other => panic!("no role {other}"),
    }
    let rings: Vec<SharedRing> = paths.iter().map(|path| open(path)).collect();
    rings.iter().for_each(claim_get);
    ready();
    if wait_for_go() && role == "claims a get and execs" {
        let error = Command::new("sleep").arg("60").exec();
        panic!("{error}");
    }
}

fn come_and_go(path: &str) {
    ready();
    // However slowly it is watched.
    let told = std::thread::spawn(wait_for_go);
    while !told.is_finished() {
        drop(open(path));
    }
}

fn survive(ring: &SharedRing) {
    if std::env::var_os("RINGWAY_TEST_REFUSE").is_some() {
        // The guardian has tried by then.
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("\nmode {:?}", ring.watch_mode());
    let mut spinner = Spinner::new(WaitPolicy::Block);
    ring.get(&mut [0; 8], &mut spinner, Deadline::after(PATIENCE)).unwrap();
    println!("got {}", monotonic());
    wait_for_go();
}

fn idle(ring: &SharedRing) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let sleep = || {
                let mut spinner = Spinner::new(WaitPolicy::Block);
                let _ = ring.get(&mut [0; 8], &mut spinner, Deadline::after(PATIENCE));
            };
            std::thread::Builder::new().name("blocked".into()).spawn_scoped(scope, sleep).unwrap();
        }
        ready();
        wait_for_go();
        std::process::exit(0);
    });
}

/// Stops in the middle of a put, and goes on when told to.
fn put_slowly(ring: &SharedRing) {
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let ring = &attachment.ring;
    {
        let actor = &mut *attachment.spare();
        let tail = ring.enqueue_pos.load(SeqCst);
        ring.announce(actor, Announcement::put(tail));
        ring.claim_put(tail).unwrap();
        ready();
        wait_for_go();
        ring.write(tail, &42_u64.to_le_bytes());
        ring.publish(tail);
        ring.not_empty().notify();
    }
    wait_for_go();
}

/// Forks; `child` runs there and must not return.
fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child uses system calls and the ring, which is made for that.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child();
        loop {
            // SAFETY: sleeps until a signal ends the process.
            unsafe { libc::pause() };
        }
    }
    pid
}

fn fork_first(ring: &SharedRing) {
    let child = fork(|| {});
    claim_get(ring);
    ready();
    println!("child {child}");
    wait_for_go();
}

fn child_claims(ring: &SharedRing) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let child = fork(|| {
        claim_get(ring);
        rustix::io::write(&write, b"x").unwrap();
    });
    rustix::io::read(&read, &mut [0; 1]).unwrap();
    ready();
    println!("child {child}");
    wait_for_go();
}

/// Claims, while another thread reads a gigabyte of zeros into shared memory.
fn read_on(ring: &SharedRing, target: &OwnedFd) {
    const LEN: usize = 1 << 30;
    let source = rustix::fs::memfd_create("source", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&source, LEN as u64).unwrap();
    let (access, flags) =
        (rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE, rustix::mm::MapFlags::SHARED);
    // SAFETY: a fresh mapping at a place of the kernel's choice.
    let at = unsafe { rustix::mm::mmap(std::ptr::null_mut(), LEN, access, flags, target, 0) };
    let at = at.unwrap().expose_provenance();
    claim_get(ring);
    std::thread::spawn(move || {
        use std::os::fd::AsRawFd;
        // SAFETY: `LEN` bytes are mapped there, and nothing else uses them.
        unsafe {
            libc::pread(source.as_raw_fd(), std::ptr::with_exposed_provenance_mut(at), LEN, 0)
        }
    });
    ready();
    wait_for_go();
}

/// The victim is the first process of a new pid namespace; this one kills it.
fn in_a_namespace(segments: &str) {
    // SAFETY: changes in which namespace this process's children will be, no more.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        println!("\nnamespace {}", std::io::Error::last_os_error());
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mpmc::tests::liveness_roles::peer", "--nocapture"])
        .env(SEGMENTS, segments)
        .env(ROLE, "claims a get")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    println!("\nnamespace new");
    wait_for_go();
    let _ = child.kill();
    let _ = child.wait();
}

/// From now on, this thread and those it starts get EPERM from a system call.
fn refuse(call: libc::c_long) {
    let step =
        |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let mut program = [
        // The number of the call; is it this one? EPERM; all others go on.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::try_from(call).unwrap()),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let (set, mode) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the program lives through the call.
    assert_eq!(unsafe { libc::syscall(set, mode, 0, &raw const program) }, 0);
}
