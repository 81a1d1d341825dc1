//! Bad arguments, bad segments, and a system that has run out of things: a typed error
//! that names the object, and nothing left behind.

mod common;

use common::scene::names;
use common::tasks::open_descriptors;
use common::{SOON, Scene, fork, pattern};
use ringway_core::segment::{Name, Segment};
use ringway_pipe::{
    Builder, Error, OpenError, Postcard, Raw, Receiver, RecvError, SendError, Sender,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

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

/// A pipe under a name, its file, and what opening its other end says.
struct Named {
    name: String,
    path: PathBuf,
    _receiver: Receiver<u32>,
}

impl Named {
    fn new(scene: &Scene) -> Self {
        let name = scene.name("pipe");
        let path = Name::new(&name).unwrap().path().to_owned();
        let _receiver = new().create_receiver(&name).unwrap();
        Self { name, path, _receiver }
    }

    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }

    fn open(&self) -> Result<Sender<u32>, OpenError> {
        new().open_sender(&self.name)
    }
}

#[test]
fn headers_that_are_not_ours() {
    let scene = Scene::begin();
    let pipe = Named::new(&scene);
    // Offsets as the layout documents them.
    for (at, what) in [(0, "magic"), (8, "layout version"), (12, "byte order"), (20, "word size")] {
        let mut byte = [0];
        pipe.file().read_exact_at(&mut byte, at).unwrap();
        pipe.file().write_all_at(&[byte[0] ^ 0x40], at).unwrap();
        match pipe.open() {
            Err(OpenError::Engine(Error::Incompatible { object, what: is, .. })) => {
                assert!(is.contains(what), "{is} for {what}");
                assert_eq!(object, pipe.path.display().to_string());
            }
            other => panic!("{what}: {other:?}"),
        }
        pipe.file().write_all_at(&byte, at).unwrap();
    }
    // Kind, length, ring capacity, number of rings, reach, creator, completeness.
    for at in [16, 24, 48, 56, 64, 72, 176] {
        let mut byte = [0];
        pipe.file().read_exact_at(&mut byte, at).unwrap();
        pipe.file().write_all_at(&[byte[0] ^ 0x46], at).unwrap();
        match pipe.open() {
            Err(OpenError::Engine(
                error @ (Error::Corrupted { .. } | Error::Incompatible { .. }),
            )) => {
                assert!(error.to_string().contains(&pipe.name), "{error}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        pipe.file().write_all_at(&byte, at).unwrap();
    }
    pipe.open().unwrap().send(&1).unwrap();
}

#[test]
fn any_byte_of_the_header_may_be_wrong() {
    let scene = Scene::begin();
    let before = open_descriptors();
    let mut whole = Vec::new();
    for at in 0..184 {
        for flip in [0x01, 0x80, 0xFF] {
            let pipe = Named::new(&scene);
            let mut byte = [0];
            pipe.file().read_exact_at(&mut byte, at).unwrap();
            pipe.file().write_all_at(&[byte[0] ^ flip], at).unwrap();
            match pipe.open() {
                // The nonce and unused parameters may be anything.
                Ok(mut sender) => {
                    sender.send(&1).unwrap();
                    whole.push(at);
                }
                Err(OpenError::Engine(error)) => {
                    assert!(error.to_string().contains(&pipe.name), "{error}");
                }
                Err(OpenError::WrongDirection { .. }) => {}
                Err(error) => panic!("byte {at}: {error}"),
            }
            let _ = std::fs::remove_file(&pipe.path);
        }
    }
    assert!(whole.iter().all(|at| (32..40).contains(at) || (80..176).contains(at)), "{whole:?}");
    common::eventually("descriptors are closed", || open_descriptors() <= before + 2);
}

#[test]
fn files_of_the_wrong_length() {
    let scene = Scene::begin();
    for len in [0, 1, 4095, 4096, 8192, 12_287, 73_000, 1 << 20] {
        let pipe = Named::new(&scene);
        // A copy: the pipe's own file must not be truncated under its creator.
        let copy = scene.name("copy");
        let path = Name::new(&copy).unwrap().path().to_owned();
        std::fs::copy(&pipe.path, &path).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
        match new().open_sender::<u32, Postcard>(&copy) {
            Err(OpenError::Engine(error @ Error::Corrupted { .. })) => {
                assert!(error.to_string().contains(&copy), "{error}");
            }
            other => panic!("{len} bytes: {other:?}"),
        }
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(&pipe.path).unwrap();
    }
}

#[test]
fn what_is_no_file_under_a_name() {
    let scene = Scene::begin();
    let name = scene.name("directory");
    let path = Name::new(&name).unwrap().path().to_owned();
    std::fs::create_dir(&path).unwrap();
    let opened = new().open_sender::<u32, Postcard>(&name);
    std::fs::remove_dir(&path).unwrap();
    assert!(matches!(opened, Err(OpenError::Engine(Error::Os { .. }))), "{opened:?}");
    // A symbolic link is not followed: someone else may have put it there.
    let target = Named::new(&scene);
    let link = scene.name("link");
    std::os::unix::fs::symlink(&target.path, Name::new(&link).unwrap().path()).unwrap();
    let opened = new().open_sender::<u32, Postcard>(&link);
    assert!(matches!(opened, Err(OpenError::Engine(Error::Os { .. }))), "{opened:?}");
    let taken = new().create_sender::<u32, Postcard>(&link);
    assert!(matches!(taken, Err(OpenError::Engine(Error::NameTaken { .. }))), "{taken:?}");
}

#[test]
fn descriptors_that_are_no_segments() {
    let scene = Scene::begin();
    let refused = |fd: OwnedFd| match Segment::from_fd(fd) {
        Ok(_) => panic!("opened"),
        Err(error) => {
            assert!(error.to_string().contains("segment at descriptor"), "{error}");
            error
        }
    };
    let incompatible = |error| matches!(error, Error::Incompatible { .. });
    // A whole segment, but one that a peer could shrink under us.
    let pipe = Named::new(&scene);
    let unsealed = memfd_create("unsealed", MemfdFlags::ALLOW_SEALING).unwrap();
    let bytes = std::fs::read(&pipe.path).unwrap();
    File::from(unsealed.try_clone().unwrap()).write_all_at(&bytes, 0).unwrap();
    assert!(incompatible(refused(unsealed.try_clone().unwrap())));
    fcntl_add_seals(&unsealed, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    assert!(incompatible(refused(unsealed.try_clone().unwrap())), "half sealed");
    fcntl_add_seals(&unsealed, SealFlags::SEAL).unwrap();
    assert!(Segment::from_fd(unsealed).is_ok());
    assert!(incompatible(refused(File::open("/dev/null").unwrap().into())));
    let empty = memfd_create("empty", MemfdFlags::ALLOW_SEALING).unwrap();
    fcntl_add_seals(&empty, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    assert!(matches!(refused(empty), Error::Corrupted { .. }));
}

/// Words of the one ring of a one-way pipe, as the layouts document them.
const WRITE_POS: u64 = 4096 + 256;
const READ_POS: u64 = WRITE_POS + 128;
const DATA: u64 = 4096 + 4096;

/// A one-way pipe of 4 KiB whose bytes the test can change.
fn open_hearted(scene: &Scene) -> (Receiver<Vec<u8>, Raw>, Sender<Vec<u8>, Raw>, File) {
    let name = scene.name("pipe");
    let receiver = new().capacity(4096).create_receiver(&name).unwrap();
    let path = Name::new(&name).unwrap().path().to_owned();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    (receiver, new().open_sender(&name).unwrap(), file)
}

#[test]
fn corrupted_rings_are_errors_for_both_ends_every_time() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let corrupted = |error: &Error| {
        matches!(error, Error::Corrupted { .. }) && error.to_string().contains(&name)
    };
    for bad in [1_u64 << 63, 3, 1 << 20] {
        let (mut receiver, mut sender, file) = open_hearted(&scene);
        sender.send(&vec![1]).unwrap();
        assert_eq!(receiver.recv().unwrap(), [1]);
        file.write_all_at(&bad.to_ne_bytes(), WRITE_POS).unwrap();
        for _ in 0..3 {
            let error = receiver.try_recv().unwrap_err();
            assert!(matches!(&error, RecvError::Engine(e) if corrupted(e)), "{error}");
        }
        file.write_all_at(&bad.to_ne_bytes(), READ_POS).unwrap();
        for _ in 0..3 {
            // Longer than the ring: it must look at the position, in mid-stream.
            let error = sender.send_timeout(&pattern(20_000, 1), SOON).unwrap_err();
            assert!(matches!(&error, SendError::Engine(e) if corrupted(e)), "{error}");
        }
    }
    let (mut receiver, mut sender, file) = open_hearted(&scene);
    sender.send(&vec![1; 100]).unwrap();
    file.write_all_at(&[0xFF; 8], DATA).unwrap();
    let error = receiver.try_recv().unwrap_err();
    assert!(matches!(&error, RecvError::Engine(e) if corrupted(e)), "{error}");
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
            // The watcher, once started, keeps its two.
            assert!(open_descriptors() <= before + 2, "{spare} spare: {}", open_descriptors());
        }
        assert!(refused_to_make > 0 && refused_to_use > 0, "{refused_to_make} {refused_to_use}");
    });
}

#[test]
#[allow(unsafe_code, reason = "changes to the environment and the user of a child")]
fn a_directory_without_permission() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let dir = std::env::temp_dir().join(scene.name("closed"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0)).unwrap();
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
