//! Segments that are not what they should be, or change while in use: a typed error that
//! names them, never a panic, and nothing left behind.

mod common;

use common::tasks::open_descriptors;
use common::{SOON, Scene, pattern};
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

/// Both ends and the file of a pipe.
type Open = (Receiver<Vec<u8>, Raw>, Sender<Vec<u8>, Raw>, File);

/// A one-way pipe of 4 KiB whose bytes the test can change.
fn open_hearted(scene: &Scene) -> Open {
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
        // Of the sender's position the receiver knows nothing; it looks where the next
        // header will be, behind that of the first message and its one byte.
        file.write_all_at(&bad.to_ne_bytes(), WRITE_POS).unwrap();
        assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
        file.write_all_at(&bad.to_ne_bytes(), DATA + 16).unwrap();
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
