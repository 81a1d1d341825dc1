//! Bad arguments, and a system that has run out of things: a typed error that names the
//! object, and nothing left behind.

mod common;

use common::scene::names;
use common::tasks::open_descriptors;
use common::{Scene, eventually, fork};
use ringway_pipe::{
    Builder, Error, OpenError, Postcard, Raw, Receiver, RecvError, SendError, Sender,
};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

fn new() -> Builder {
    Builder::new()
}

#[test]
fn capacities_out_of_range() {
    let _scene = Scene::begin();
    let before = open_descriptors();
    for capacity in [0, 1, 2048, (1 << 40) + 1, 1 << 63, (1 << 63) + 1, u64::MAX] {
        let error = new().capacity(capacity).simplex::<u8, Postcard>().unwrap_err();
        let Error::OutOfRange { what, value, .. } = error else { panic!("{error}") };
        assert_eq!((what, value), ("a ring capacity", capacity.to_string()));
    }
    assert_eq!(open_descriptors(), before);
    assert!(new().capacity(4096).simplex::<u8, Postcard>().is_ok());
    assert!(new().capacity(4097).simplex::<u8, Postcard>().is_ok(), "rounded up");
}

/// Runs `body` in a child that may spoil its own limits and mounts.
fn alone(body: impl FnOnce()) {
    fork(body).join();
}

#[test]
#[allow(unsafe_code, reason = "setrlimit")]
fn out_of_descriptors() {
    let _scene = Scene::begin();
    alone(|| {
        // SAFETY: a rlimit is a plain C structure; all zeros is a value of it.
        let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
        // SAFETY: `limit` is a valid place.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        let before = open_descriptors();
        let set = |soft: usize| {
            let limit = libc::rlimit { rlim_cur: soft as u64, rlim_max: limit.rlim_max };
            // SAFETY: `limit` is valid; lowering the soft limit is always allowed.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        };
        // Every number of free descriptors, up to enough.
        let (mut refused_to_make, mut refused_to_use) = (0, 0);
        for spare in 0..20 {
            let limit = before - 1 + spare;
            set(limit);
            let made = new().simplex::<u32, Postcard>();
            let used = made.map(|(mut receiver, mut sender)| {
                let sent = sender.send(&1);
                let got = receiver.try_recv();
                if sent.is_err() || got.is_err() {
                    refused_to_use += 1;
                }
                set(limit + 30);
                // What failed for want of descriptors works once there are some.
                if let Err(error) = sent {
                    assert!(matches!(&error, SendError::Engine(e) if e.errno() == Some(libc::EMFILE)));
                    sender.send(&1).unwrap();
                }
                match got {
                    Ok(got) => assert_eq!(got, 1),
                    Err(RecvError::Empty) => assert_eq!(receiver.recv().unwrap(), 1),
                    Err(error) => {
                        assert!(
                            matches!(&error, RecvError::Engine(e) if e.errno() == Some(libc::EMFILE))
                        );
                        assert_eq!(receiver.recv().unwrap(), 1);
                    }
                }
            });
            set(limit + 30);
            if let Err(error) = used {
                assert_eq!(error.errno(), Some(libc::EMFILE), "{error}");
                refused_to_make += 1;
            }
            // The watcher, once started, keeps its two, and may be looking at this pipe.
            let what = format!("no more descriptors than before, with {spare} spare");
            eventually(&what, || open_descriptors() <= before + 2);
        }
        assert!(refused_to_make > 0 && refused_to_use > 0, "{refused_to_make} {refused_to_use}");
    });
}

/// Who locked an end and then could not watch its peer does not keep others from it.
#[test]
#[allow(unsafe_code, reason = "setrlimit")]
fn an_end_that_a_process_has_no_descriptors_to_use_is_free_for_others() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = new().simplex::<u32, Postcard>().unwrap();
    let (tried, mut tells) = std::io::pipe().unwrap();
    let child = fork(|| {
        // One more, the lowest: enough for the lock, too few for a watcher.
        let free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        let soft = u64::try_from(free).unwrap() + 1;
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: soft };
        // SAFETY: `limit` is valid; lowering limits is always allowed.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        let error = sender.send(&1).unwrap_err();
        assert!(matches!(&error, SendError::Engine(e) if e.errno() == Some(libc::EMFILE)));
        tells.write_all(&[1]).unwrap();
        std::thread::sleep(common::LONG);
    });
    drop(tells);
    (&tried).read_exact(&mut [0]).unwrap();
    // The child lives, and has its copy of the end.
    sender.send(&2).unwrap();
    assert_eq!(receiver.recv().unwrap(), 2);
    child.kill_and_reap();
}

#[test]
#[allow(unsafe_code, reason = "changes to the environment and the user of a child")]
fn a_directory_without_permission() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let dir = std::env::temp_dir().join(scene.name("closed"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let child = fork(|| {
        // SAFETY: a child of fork has one thread.
        unsafe { std::env::set_var("RINGWAY_DIR", &dir) };
        // The superuser may do anything; nobody may not. Refused: then we are not root.
        // SAFETY: a plain system call.
        unsafe { libc::setresuid(65_534, 65_534, 65_534) };
        let before = open_descriptors();
        let error = new().create_receiver::<u32, Postcard>(&name).unwrap_err();
        let shown = error.to_string();
        let OpenError::Engine(error) = error else { panic!("{shown}") };
        assert_eq!(error.errno(), Some(libc::EACCES), "{shown}");
        assert!(shown.contains(dir.to_str().unwrap()), "{shown}");
        assert!(new().open_sender::<u32, Postcard>(&name).is_err());
        assert_eq!(open_descriptors(), before);
    });
    let _ = std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child.join()));
    std::fs::remove_dir(&dir).unwrap();
    ended.unwrap();
}

#[test]
#[allow(unsafe_code, reason = "changes to the environment of a child")]
fn a_directory_that_is_not_there() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    alone(|| {
        // SAFETY: a child of fork has one thread.
        unsafe { std::env::set_var("RINGWAY_DIR", "/nowhere/at/all") };
        let error = new().create_receiver::<u32, Postcard>(&name).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
        let missing = new().open_sender::<u32, Postcard>(&name);
        assert!(matches!(missing, Err(OpenError::Engine(Error::NotFound { .. }))));
    });
}

#[test]
#[allow(unsafe_code, reason = "a mount namespace for a child")]
fn out_of_memory_for_a_named_pipe() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let dir = std::env::temp_dir().join(scene.name("small"));
    std::fs::create_dir(&dir).unwrap();
    let child = fork(|| {
        // SAFETY: plain system calls with valid strings; they concern this child alone.
        let mounted = unsafe { small_tmpfs(&dir) };
        if !mounted {
            common::child::say("skipped: no right to mount a small tmpfs here\n");
            return;
        }
        // SAFETY: a child of fork has one thread.
        unsafe { std::env::set_var("RINGWAY_DIR", &dir) };
        let before = open_descriptors();
        for _ in 0..3 {
            let error = new().capacity(1 << 20).create_receiver::<u32, Postcard>(&name);
            let shown = error.as_ref().unwrap_err().to_string();
            let Err(OpenError::Engine(error)) = error else { panic!("{shown}") };
            assert_eq!(error.errno(), Some(libc::ENOSPC), "{shown}");
            assert!(shown.contains(&name), "{shown}");
        }
        assert_eq!(open_descriptors(), before);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "no file is left");
        // And no page: what fits fits again and again.
        for _ in 0..20 {
            let mut receiver = new().capacity(64 << 10).create_receiver::<u32, _>(&name).unwrap();
            let mut sender: Sender<u32> = new().open_sender(&name).unwrap();
            sender.send(&1).unwrap();
            assert_eq!(Receiver::<u32, Postcard>::recv(&mut receiver).unwrap(), 1);
        }
    });
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child.join()));
    std::fs::remove_dir(&dir).unwrap();
    ended.unwrap();
}

/// Mounts a tmpfs of 256 KiB on `dir`, for this process alone.
///
/// # Safety
///
/// For a child that has one thread and ends soon.
#[allow(unsafe_code, reason = "unshare and mount")]
unsafe fn small_tmpfs(dir: &std::path::Path) -> bool {
    use std::ffi::CString;
    let dir = CString::new(dir.to_str().unwrap()).unwrap();
    // SAFETY: a plain system call.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return false;
    }
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: valid strings; null where the call allows it.
    unsafe {
        libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null())
    };
    let options = c"size=256k".as_ptr().cast();
    // SAFETY: valid strings that outlive the call.
    unsafe { libc::mount(c"tmpfs".as_ptr(), dir.as_ptr(), c"tmpfs".as_ptr(), 0, options) == 0 }
}

#[test]
#[allow(unsafe_code, reason = "an interval timer for a child")]
fn signals_in_the_middle_of_making_a_pipe() {
    let _scene = Scene::begin();
    alone(|| {
        common::child::handle_signals();
        common::child::tick_every_millisecond();
        for _ in 0..5 {
            let (mut receiver, mut sender) =
                new().capacity(64 << 20).simplex::<Vec<u8>, Raw>().unwrap();
            sender.send(&vec![1]).unwrap();
            assert_eq!(receiver.recv().unwrap(), [1]);
        }
    });
}

#[test]
fn nothing_is_left_under_the_names_of_refused_pipes() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    assert!(new().capacity(1).create_receiver::<u8, Postcard>(&name).is_err());
    assert!(names(&name).is_empty());
}
