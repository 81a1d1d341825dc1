//! Refused system calls: what takes their place, or the error that says so.

use crate::common::{LONG, Scene, child, fork};
use crate::refuse::{refuse, refusing};
use crate::{POLICIES, exchange, first_of, number_pipe, numbers, two_fit};
use libc::{ENOSYS, EPERM};
use ringway::WaitPolicy;
use ringway::liveness::WatchMode;
use ringway::pipe::{self, Postcard};
use ringway::queue::{self, OpenError, Pod, Queue};

/// How a sandbox says no, and how an old kernel does.
const NO: [i32; 2] = [EPERM, ENOSYS];

#[test]
fn membarrier_refused_to_the_peer() {
    let _scene = Scene::begin();
    for errno in NO {
        exchange(200, WaitPolicy::Block, || refuse(&[refusing(libc::SYS_membarrier, errno)]));
    }
}

#[test]
fn membarrier_refused_to_both() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        fork(|| {
            refuse(&[refusing(libc::SYS_membarrier, EPERM)]);
            exchange(200, policy, || {});
        })
        .join();
    }
}

#[test]
fn set_robust_list_refused() {
    let _scene = Scene::begin();
    fork(|| {
        refuse(&[refusing(libc::SYS_set_robust_list, EPERM)]);
        let queue = numbers(2, WaitPolicy::Adaptive);
        assert_eq!(queue.stats().mode, WatchMode::Polling);
        for _ in 0..5 {
            let victim = {
                let queue = queue.clone();
                fork(move || {
                    loop {
                        queue.put_timeout(1, LONG).unwrap();
                        queue.get_timeout(LONG).unwrap();
                    }
                })
            };
            std::thread::sleep(std::time::Duration::from_millis(5));
            victim.kill_and_reap();
            // Nobody is told of the death; whoever is in the way of it asks, or the tick.
            two_fit(&queue);
        }
    })
    .join();
}

#[test]
fn futex_waitv_refused() {
    let _scene = Scene::begin();
    for errno in NO {
        let (queue, mut quiet) =
            (numbers(1, WaitPolicy::Adaptive), numbers(1, WaitPolicy::Adaptive));
        let (mut receiver, mut sender) = number_pipe(WaitPolicy::Adaptive);
        let waiter = {
            let mut queue = queue.clone();
            fork(move || {
                refuse(&[refusing(libc::SYS_futex_waitv, errno)]);
                assert_eq!(first_of(&mut [&mut quiet, &mut queue, &mut receiver]), [1]);
                assert_eq!(queue.try_get().unwrap(), 7);
                assert_eq!(first_of(&mut [&mut quiet, &mut queue, &mut receiver]), [2]);
                assert_eq!(receiver.try_recv().unwrap(), 8);
                // Whoever holds the other end is gone.
                assert_eq!(first_of(&mut [&mut quiet, &mut queue, &mut receiver]), [2]);
            })
        };
        let pause = || std::thread::sleep(crate::common::SHORT / 2);
        pause();
        queue.put(7).unwrap();
        pause();
        sender.send(&8).unwrap();
        pause();
        drop(sender);
        waiter.join();
    }
}

#[test]
fn memfd_create_refused() {
    let scene = Scene::begin();
    let name = scene.name("instead");
    for errno in NO {
        fork(|| {
            refuse(&[refusing(libc::SYS_memfd_create, errno)]);
            let before = crate::common::tasks::open_descriptors();
            let error = Queue::<u64>::bounded(1).unwrap_err();
            let shown = error.to_string();
            assert!(matches!(&error, OpenError::Engine(e) if e.errno() == Some(errno)), "{shown}");
            assert!(shown.contains("memfd"), "{shown}");
            let error = pipe::duplex::<u64>().unwrap_err();
            assert_eq!(error.errno(), Some(errno), "{error}");
            assert!(error.to_string().contains("memfd"), "{error}");
            assert_eq!(crate::common::tasks::open_descriptors(), before);
            // Without sealed memory there is no anonymous segment. What has a name needs
            // none.
            let named = queue::Builder::new().name(&name);
            let made = named.bounded::<u64, Pod>(1).unwrap();
            made.put(5).unwrap();
            assert_eq!(named.open::<u64, Pod>().unwrap().get_timeout(LONG).unwrap(), 5);
            named.remove().unwrap();
            let end = pipe::Builder::new().create_receiver::<u64, Postcard>(&name);
            let mut sender = pipe::Builder::new().open_sender::<u64, Postcard>(&name).unwrap();
            sender.send(&6).unwrap();
            assert_eq!(end.unwrap().recv_timeout(LONG).unwrap(), 6);
        })
        .join();
    }
}

#[test]
fn threads_refused() {
    let _scene = Scene::begin();
    // Neither guardian nor watcher. A new thread is `clone3`, or else `clone`, which is
    // also fork: children are made before.
    let queue = numbers(1, WaitPolicy::Adaptive);
    let getter = {
        let queue = queue.clone();
        fork(move || {
            refuse(&[refusing(libc::SYS_clone3, EPERM), refusing(libc::SYS_clone, EPERM)]);
            assert_eq!(queue.get_timeout(LONG).unwrap(), 3);
            assert_eq!(queue.stats().mode, WatchMode::Calls);
            // A pipe needs its watcher, and says so.
            if let Ok((mut receiver, _sender)) = pipe::simplex::<u64>() {
                let error = receiver.recv_timeout(crate::common::SHORT).unwrap_err();
                child::say(&format!("a pipe without a watcher: {error}\n"));
            }
        })
    };
    queue.put_timeout(3, LONG).unwrap();
    getter.join();
}
