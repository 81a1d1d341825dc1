//! Segments that are truncated, unsealed, or of another layout.

use crate::common::{LONG, Scene};
use crate::numbers;
use postcard::to_allocvec;
use ringway::WaitPolicy;
use ringway::queue::{self, OpenError, Pod, Queue};
use ringway_core::Error;
use ringway_core::handover::{collect, unpack};
use ringway_core::segment::{Name, Segment};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// A queue's bytes and descriptor, on their way to another process.
fn in_transit(queue: &Queue<u64, Pod>) -> (Vec<u8>, OwnedFd) {
    let (bytes, mut fds) = collect(|| to_allocvec(queue).unwrap());
    (bytes, fds.remove(0))
}

#[test]
fn a_queue_file_of_the_wrong_length() {
    let scene = Scene::begin();
    let (name, copy) = (scene.name("queue"), scene.name("copy"));
    let queue = queue::Builder::new().name(&name).bounded::<u64, Pod>(100).unwrap();
    let whole = std::fs::read(Name::new(&name).unwrap().path()).unwrap();
    let path = Name::new(&copy).unwrap().path().to_owned();
    for len in [0, 1, 4095, 4096, 4097, whole.len() - 1, whole.len() + 1, whole.len() + 4096] {
        // A copy: the file in use must not be truncated under its users.
        std::fs::write(&path, &whole).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len as u64).unwrap();
        let error = queue::Builder::new().name(&copy).open::<u64, Pod>().unwrap_err();
        let corrupted = matches!(&error, OpenError::Engine(Error::Corrupted { .. }));
        assert!(corrupted && error.to_string().contains(&copy), "{len} bytes: {error}");
    }
    queue.put(1).unwrap();
}

#[test]
fn a_queue_of_another_layout_version() {
    let scene = Scene::begin();
    let name = scene.name("queue");
    let named = queue::Builder::new().name(&name);
    let queue = named.bounded::<u64, Pod>(2).unwrap();
    queue.put(1).unwrap();
    let path = Name::new(&name).unwrap().path().to_owned();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut version = [0; 4];
    file.read_exact_at(&mut version, 8).unwrap();
    let next = (u32::from_ne_bytes(version) + 1).to_ne_bytes();
    for other in [next, [0; 4], [0xFF; 4]] {
        file.write_all_at(&other, 8).unwrap();
        match named.open::<u64, Pod>().unwrap_err() {
            OpenError::Engine(Error::Incompatible { object, what, expected, found }) => {
                assert_eq!(what, "layout version");
                assert!(object.contains(&name) && expected != found);
            }
            other => panic!("{other}"),
        }
    }
    file.write_all_at(&version, 8).unwrap();
    // Whoever was there goes on throughout; nothing was touched.
    assert_eq!(named.open::<u64, Pod>().unwrap().get_timeout(LONG).unwrap(), 1);
}

#[test]
fn an_unsealed_queue_is_refused() {
    let _scene = Scene::begin();
    let queue = numbers(2, WaitPolicy::Adaptive);
    let (parcel, fd) = in_transit(&queue);
    let whole = std::fs::read(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)));
    let whole = whole.unwrap();
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL] {
        let file = File::from(memfd_create("it", MemfdFlags::ALLOW_SEALING).unwrap());
        file.write_all_at(&whole, 0).unwrap();
        fcntl_add_seals(&file, all - missing).unwrap();
        let again = file.try_clone().unwrap();
        let error = Segment::from_fd(file.into()).err().expect("it is not sealed");
        assert!(matches!(&error, Error::Incompatible { what: "set of seals", .. }), "{error}");
        let taken: Result<Queue<u64, Pod>, _> =
            unpack(vec![again.into()], || postcard::from_bytes(&parcel));
        assert!(taken.is_err(), "without {missing:?}");
    }
}

#[test]
fn nobody_can_take_pages_away() {
    let _scene = Scene::begin();
    let queue = numbers(2, WaitPolicy::Adaptive);
    let taker = {
        let (parcel, fd) = in_transit(&queue);
        crate::common::fork(move || {
            for len in [0, 4096, 1 << 30] {
                assert_eq!(ftruncate(&fd, len).unwrap_err(), rustix::io::Errno::PERM);
            }
            assert!(fcntl_add_seals(&fd, SealFlags::WRITE).is_err(), "the seals are sealed");
            let queue: Queue<u64, Pod> =
                unpack(vec![fd], || postcard::from_bytes(&parcel)).unwrap();
            queue.put(9).unwrap();
        })
    };
    assert_eq!(queue.get_timeout(LONG).unwrap(), 9);
    taker.join();
}
