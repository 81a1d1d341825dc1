//! fork and exec while others put and get.
#![allow(unsafe_code, reason = "exec")]

use crate::common::{Gate, LONG, Scene, eventually, fork};
use crate::{number_pipe, numbers};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use ringway::WaitPolicy;
use ringway::pipe::RecvError;
use ringway::queue::{self, Pod, Queue};

const CHILDREN: u32 = 40;

#[test]
fn forks_while_threads_put_and_get() {
    let _scene = Scene::begin();
    for policy in [WaitPolicy::Block, WaitPolicy::Adaptive] {
        // Two threads of this process never stop putting and getting; forks happen at any
        // of their instructions.
        let (busy, quiet) = (numbers(2, policy), numbers(CHILDREN as usize, policy));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0;
                while !done.load(Relaxed) {
                    busy.put_timeout(n, LONG).unwrap();
                    n += 1;
                }
                busy.shutdown(false).unwrap();
            });
            let taker = scope.spawn(|| (0..).zip(busy.iter()).all(|(n, got)| got.unwrap() == n));
            let children: Vec<_> = (0..CHILDREN)
                .map(|n| {
                    let (busy, quiet) = (busy.clone(), quiet.clone());
                    let child = fork(move || {
                        // Both are used: looked at, and put to.
                        assert!(busy.len() <= 2);
                        quiet.put_timeout(n.into(), LONG).unwrap();
                    });
                    std::thread::sleep(std::time::Duration::from_micros(u64::from(n * 37 % 900)));
                    child
                })
                .collect();
            children.into_iter().for_each(crate::common::child::Child::join);
            done.store(true, Relaxed);
            assert!(taker.join().unwrap(), "the parent's own traffic");
        });
        let mut got: Vec<u64> = quiet.try_iter().map(Result::unwrap).collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..CHILDREN.into()), "each child's item, once");
    }
}

/// Sets it when dropped, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn forks_while_threads_begin_and_end() {
    let _scene = Scene::begin();
    // A lock that a starting thread of the parent holds at the fork stays locked in the
    // child, where that thread is not: nothing that the child needs may take one.
    let queue = numbers(1, WaitPolicy::Adaptive);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    std::thread::spawn(|| ()).join().unwrap();
                }
            });
        }
        let _ends = Ends(&done);
        for n in 0..200 {
            let child = fork(|| queue.put_timeout(n, LONG).unwrap());
            assert_eq!(queue.get_timeout(LONG).unwrap(), n);
            child.join();
        }
    });
}

#[test]
fn forks_while_a_thread_receives() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = number_pipe(WaitPolicy::Adaptive);
    std::thread::scope(|scope| {
        let taker = scope.spawn(move || {
            let mut next = 0;
            while let Ok(n) = receiver.recv() {
                assert_eq!(n, next);
                next += 1;
            }
            next
        });
        // The children hold copies of both ends that they never use, and exit.
        let mut n = 0;
        let children: Vec<_> = (0..20)
            .map(|_| {
                (0..200).for_each(|_| {
                    sender.send_timeout(&n, LONG).unwrap();
                    n += 1;
                });
                fork(|| std::thread::sleep(std::time::Duration::from_millis(2)))
            })
            .collect();
        drop(sender);
        children.into_iter().for_each(crate::common::child::Child::join);
        assert_eq!(taker.join().unwrap(), n, "all, and then the end");
    });
}

/// Becomes another program, which does nothing for a while.
fn exec() {
    let (sleep, time) = (c"sleep", c"30");
    let arguments = [sleep.as_ptr(), time.as_ptr(), std::ptr::null()];
    // SAFETY: strings and a list that end as they should.
    unsafe { libc::execvp(sleep.as_ptr(), arguments.as_ptr()) };
    panic!("exec: {}", std::io::Error::last_os_error());
}

#[test]
fn exec_lets_go_of_pipes() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = number_pipe(WaitPolicy::Adaptive);
    let mut child = fork(move || {
        sender.send(&1).unwrap();
        exec();
    });
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), 1);
    assert!(matches!(receiver.recv_timeout(LONG), Err(RecvError::Eof)));
    assert!(!child.ended(), "the other program still runs");
    child.kill_and_reap();
}

#[test]
fn exec_is_a_death_in_a_queue() {
    let _scene = Scene::begin();
    let queue: Queue<u64, Pod> = queue::Builder::new().max_processes(2).bounded(4).unwrap();
    for round in 0..3 {
        let (gate, go) = (Gate::new(), Gate::new());
        let child = {
            let queue = queue.clone();
            fork(|| {
                queue.put(round).unwrap();
                gate.open();
                go.pass();
                exec();
            })
        };
        gate.pass();
        // There is room for two.
        fork(|| assert!(queue.try_put(9).is_err())).join();
        go.open();
        assert_eq!(queue.get_timeout(LONG).unwrap(), round);
        let comm = format!("/proc/{}/comm", child.pid());
        let is_another = || std::fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n");
        eventually("it runs another program", is_another);
        // Its place becomes free while it lives on: the kernel closes its descriptors when
        // the new program begins.
        fork(|| eventually("a place is free", || queue.try_put(100 + round).is_ok())).join();
        assert_eq!(queue.get_timeout(LONG).unwrap(), 100 + round);
        child.kill_and_reap();
    }
}
