//! Processes that count processes, or time, differently.
#![allow(unsafe_code, reason = "unshare")]

use crate::common::{LONG, SHORT, SOON, Scene, fork, timed};
use crate::{POLICIES, number_pipe, numbers, skipped};
use ringway::WaitPolicy;
use ringway::pipe::RecvError;
use ringway::queue::GetError;

/// Whether this process's next children live in a namespace of their own.
fn unshare(flags: libc::c_int) -> bool {
    // SAFETY: concerns the namespaces of this process's children, no more.
    unsafe { libc::unshare(flags) == 0 }
}

#[test]
fn two_pid_namespaces_share_a_segment() {
    let _scene = Scene::begin();
    let queue = numbers(2, WaitPolicy::Adaptive);
    let (mut receiver, mut sender) = number_pipe(WaitPolicy::Adaptive);
    let outer = {
        let queue = queue.clone();
        fork(move || {
            if !unshare(libc::CLONE_NEWPID) {
                skipped("no right to make a pid namespace");
                queue.put(u64::MAX).unwrap();
                return;
            }
            let first = fork(|| {
                assert_eq!(std::process::id(), 1, "the first there");
                for n in 0..100 {
                    sender.send_timeout(&n, LONG).unwrap();
                    assert_eq!(queue.get_timeout(LONG).unwrap(), n);
                }
                // It is killed amidst this.
                loop {
                    queue.put_timeout(7, LONG).unwrap();
                    queue.get_timeout(LONG).unwrap();
                }
            });
            drop(sender);
            // It has the pid 1 there and another here: the pid says nothing.
            std::thread::sleep(4 * SHORT);
            first.kill_and_reap();
        })
    };
    for n in 0..100 {
        match receiver.recv_timeout(LONG) {
            Ok(got) => assert_eq!(got, n),
            Err(RecvError::Eof) => break,
            Err(error) => panic!("{error}"),
        }
        queue.put_timeout(n, LONG).unwrap();
    }
    outer.join();
    // Nobody holds the sender any more, and what the dead left is repaired.
    assert!(matches!(receiver.recv_timeout(LONG), Err(RecvError::Eof)));
    while queue.get_timeout(SHORT).is_ok() {}
    (0..2).for_each(|n| queue.put_timeout(n, LONG).unwrap());
    assert!(queue.is_full());
    (0..2).for_each(|n| assert_eq!(queue.get_timeout(LONG).unwrap(), n));
}

/// Makes a namespace for this process's children in which the monotonic clock is ahead
/// by `seconds`.
fn ahead_of_time(seconds: u32) -> bool {
    unshare(libc::CLONE_NEWTIME)
        && std::fs::write("/proc/self/timens_offsets", format!("monotonic {seconds} 0")).is_ok()
}

fn uptime() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec
}

#[test]
fn two_time_namespaces_share_a_segment() {
    let _scene = Scene::begin();
    const AHEAD: u32 = 100_000;
    for policy in POLICIES {
        let (queue, back) = (numbers(1, policy), numbers(1, policy));
        let (mut receiver, mut sender) = number_pipe(policy);
        let (other_queue, other_back) = (queue.clone(), back.clone());
        let here = uptime();
        let outer = fork(move || {
            if !ahead_of_time(AHEAD) {
                skipped("no right to make a time namespace");
                return;
            }
            fork(|| {
                assert!(uptime() >= here + i64::from(AHEAD), "not ahead of time");
                // A wait here is as long as one there.
                let (got, took) = timed(|| other_queue.get_timeout(SHORT));
                assert!(matches!(got, Err(GetError::Empty)) && took >= SHORT && took < SOON);
                for n in 0..20 {
                    sender.send_timeout(&n, LONG).unwrap();
                    assert_eq!(other_queue.get_timeout(LONG).unwrap(), n);
                    other_back.put_timeout(n, LONG).unwrap();
                }
            })
            .join();
        });
        for n in 0..20 {
            match receiver.recv_timeout(LONG) {
                Ok(got) => assert_eq!(got, n),
                Err(RecvError::Eof) if n == 0 => break,
                Err(error) => panic!("{error}"),
            }
            queue.put_timeout(n, LONG).unwrap();
            assert_eq!(back.get_timeout(LONG).unwrap(), n);
        }
        outer.join();
    }
}
