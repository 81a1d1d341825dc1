//! Descriptors, space, address space and locked memory that run out.
#![allow(unsafe_code, reason = "limits, capabilities and mounts of children")]

use crate::common::tasks::open_descriptors;
use crate::common::{LONG, Scene, child, eventually, fork};
use crate::{number_pipe, numbers, skipped};
use ringway::WaitPolicy;
use ringway::pipe;
use ringway::queue::{self, OpenError, Pod, PutReason, Queue};
use std::fs::File;

type Resource = libc::__rlimit_resource_t;

/// Sets the soft limit of this process.
fn limit(resource: Resource, soft: u64) {
    // SAFETY: a rlimit is a plain C structure; all zeros is a value of it.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: `limit` is a valid place.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: `limit` is valid; a soft limit may be set to anything up to the hard one.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// A number of a line of `/proc/self/status`, in KiB.
fn status(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

fn errno(error: &OpenError) -> Option<i32> {
    match error {
        OpenError::Engine(error) => error.errno(),
        _ => None,
    }
}

/// Takes every descriptor that this process, which is a child, may still have.
fn take_all_descriptors() -> Vec<File> {
    let highest = std::fs::read_dir("/proc/self/fd").unwrap();
    let highest = highest.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let highest: u64 = highest.map(|number| number.parse().unwrap()).max().unwrap();
    limit(libc::RLIMIT_NOFILE, highest + 20);
    let null = File::open("/dev/null").unwrap();
    let mut taken = Vec::new();
    loop {
        match null.try_clone() {
            Ok(one) => taken.push(one),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                taken.push(null);
                return taken;
            }
        }
    }
}

#[test]
fn no_descriptors_for_a_queue() {
    let _scene = Scene::begin();
    fork(|| {
        let mut refused = 0;
        for spare in 0..8 {
            let mut taken = take_all_descriptors();
            let all = taken.len();
            taken.truncate(all - spare);
            match queue::Builder::new().bounded::<u64, Pod>(2) {
                Ok(queue) => {
                    queue.put(1).unwrap();
                    assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
                }
                Err(error) => {
                    assert_eq!(errno(&error), Some(libc::EMFILE), "{error}");
                    refused += 1;
                }
            }
            // As many as before can be had again, once the guardian has looked away from
            // a queue that was dropped under its eyes.
            eventually(&format!("with {spare} spare, one is gone"), || {
                let again: Vec<_> = (0..spare).map(|_| taken[0].try_clone()).collect();
                again.iter().all(Result::is_ok)
            });
        }
        assert!((1..8).contains(&refused), "{refused} refused");
    })
    .join();
}

#[test]
fn no_descriptors_for_a_forked_child() {
    let _scene = Scene::begin();
    let queue = numbers(3, WaitPolicy::Adaptive);
    queue.put(1).unwrap();
    fork(|| {
        // A child attaches anew at its first use, and needs a descriptor for that.
        let taken = take_all_descriptors();
        let error = queue.try_put(2).unwrap_err();
        let told = matches!(&error.reason, PutReason::Engine(e) if e.errno() == Some(libc::EMFILE));
        assert!(told, "{error}");
        assert_eq!(error.value, 2, "it comes back");
        drop(taken);
        queue.put(2).unwrap();
    })
    .join();
    assert_eq!((queue.try_get().unwrap(), queue.try_get().unwrap()), (1, 2));
}

#[test]
fn no_space_for_a_named_queue() {
    let scene = Scene::begin();
    let name = scene.name("queue");
    let dir = std::env::temp_dir().join(scene.name("tiny"));
    std::fs::create_dir(&dir).unwrap();
    let child = fork(|| {
        if !tiny_tmpfs(&dir) {
            return skipped("no right to mount a tmpfs");
        }
        // SAFETY: a child of fork has one thread.
        unsafe { std::env::set_var("RINGWAY_DIR", &dir) };
        let (named, before) = (queue::Builder::new().name(&name), open_descriptors());
        for _ in 0..3 {
            let error = named.bounded::<u64, Pod>(1 << 16).unwrap_err();
            assert_eq!(errno(&error), Some(libc::ENOSPC), "{error}");
            assert!(error.to_string().contains(&name), "{error}");
        }
        assert_eq!(open_descriptors(), before);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "no file is left");
        // And no page: what fits fits again and again, and never runs out later.
        for _ in 0..20 {
            let queue = named.bounded::<u64, Pod>(2000).unwrap();
            (0..2000).for_each(|n| queue.put(n).unwrap());
            assert!(queue.is_full());
            named.remove().unwrap();
        }
    });
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child.join()));
    std::fs::remove_dir(&dir).unwrap();
    ended.unwrap();
}

/// Mounts a tmpfs of 256 KiB on `dir` for this process, which is a child, alone.
fn tiny_tmpfs(dir: &std::path::Path) -> bool {
    let dir = std::ffi::CString::new(dir.to_str().unwrap()).unwrap();
    // SAFETY: concerns this process alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let (none, private) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: valid strings; null where the call allows it.
    unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) };
    let options = c"size=256k".as_ptr().cast();
    // SAFETY: valid strings that outlive the call.
    unsafe { libc::mount(c"tmpfs".as_ptr(), dir.as_ptr(), c"tmpfs".as_ptr(), 0, options) == 0 }
}

#[test]
fn no_address_space() {
    let _scene = Scene::begin();
    fork(|| {
        let queue = numbers(2, WaitPolicy::Adaptive);
        let (mut receiver, mut sender) = number_pipe(WaitPolicy::Adaptive);
        let before = open_descriptors();
        // A few MiB more than there is.
        limit(libc::RLIMIT_AS, (status("VmSize:") << 10) + (4 << 20));
        let error = queue::Builder::new().bounded::<u64, Pod>(1 << 20).unwrap_err();
        assert_eq!(errno(&error), Some(libc::ENOMEM), "{error}");
        let error = pipe::Builder::new().capacity(64 << 20).simplex::<u64, Pod>().unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOMEM), "{error}");
        assert_eq!(open_descriptors(), before);
        // What is there goes on, and there is room for something small.
        queue.put(1).unwrap();
        assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
        sender.send(&2).unwrap();
        assert_eq!(receiver.recv_timeout(LONG).unwrap(), 2);
        drop(queue::Builder::new().bounded::<u64, Pod>(2).unwrap());
    })
    .join();
}

/// Gives up the right to lock any amount of memory. The superuser has it.
fn drop_ipc_lock() {
    // The kernel's version 3 of the call: a header, and two structures of three sets.
    let header = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: both are as long as version 3 says.
    unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    const IPC_LOCK: u32 = 1 << 14;
    (sets[0], sets[1]) = (sets[0] & !IPC_LOCK, sets[1] & !IPC_LOCK);
    // SAFETY: as above. Giving something up is always allowed.
    assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }, 0);
}

#[test]
fn no_memory_may_be_locked() {
    let _scene = Scene::begin();
    fork(|| {
        drop_ipc_lock();
        let queue = numbers(2, WaitPolicy::Adaptive);
        limit(libc::RLIMIT_MEMLOCK, 1 << 20);
        // SAFETY: a plain system call.
        if unsafe { libc::mlockall(libc::MCL_FUTURE) } != 0 {
            return skipped("mlockall");
        }
        let before = open_descriptors();
        let error = queue::Builder::new().bounded::<u64, Pod>(1 << 20).unwrap_err();
        let told = matches!(errno(&error), Some(libc::EAGAIN | libc::ENOMEM));
        assert!(told, "{error}");
        let error = pipe::Builder::new().capacity(64 << 20).simplex::<u64, Pod>().unwrap_err();
        assert!(matches!(error.errno(), Some(libc::EAGAIN | libc::ENOMEM)), "{error}");
        assert_eq!(open_descriptors(), before);
        queue.put(1).unwrap();
        assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
    })
    .join();
}

#[test]
fn all_memory_is_locked() {
    let _scene = Scene::begin();
    fork(|| {
        // SAFETY: a plain system call.
        if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
            return skipped("mlockall");
        }
        let before = status("VmLck:");
        let queue = Queue::<u64>::bounded(10).unwrap();
        let (mut a, mut b) = pipe::duplex::<u64>().unwrap();
        queue.put(1).unwrap();
        a.send(&2).unwrap();
        assert_eq!((queue.get_timeout(LONG).unwrap(), b.recv_timeout(LONG).unwrap()), (1, 2));
        let more = status("VmLck:") - before;
        // Two rings of 64 KiB, a small queue, and two threads with their stacks.
        child::say(&format!("mlockall: {more} KiB more for a queue and a pipe\n"));
        assert!(more < 4 << 10, "{more} KiB of address space became memory");
    })
    .join();
}
