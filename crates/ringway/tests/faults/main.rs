//! What a system can do to a program: run out of things, refuse calls, stop it, signal
//! it, fork it. One row of docs/faults.md for each test.

#[path = "../../../ringway-pipe/tests/common/mod.rs"]
mod common;

mod clocks;
mod files;
mod filters;
mod forks;
mod limits;
mod namespaces;
mod refuse;
mod signals;
mod stops;

use common::LONG;
use ringway::pipe::{self, Receiver, Sender};
use ringway::queue::{self, Pod, Queue};
use ringway::{WaitPolicy, Waitable};

const POLICIES: [WaitPolicy; 3] = [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block];

fn numbers(capacity: usize, policy: WaitPolicy) -> Queue<u64, Pod> {
    queue::Builder::new().policy(policy).bounded(capacity).unwrap()
}

fn number_pipe(policy: WaitPolicy) -> (Receiver<u64, Pod>, Sender<u64, Pod>) {
    pipe::Builder::new().policy(policy).capacity(4096).simplex().unwrap()
}

/// The numbers `0..count` go through the queue and the pipe in turns, from a child in
/// which `first` ran, with a sleep here and there on both sides.
fn exchange(count: u64, policy: WaitPolicy, first: impl FnOnce()) {
    let (there, back) = (numbers(1, policy), number_pipe(policy));
    let (mut receiver, mut sender) = back;
    let child = {
        let there = there.clone();
        common::fork(move || {
            first();
            for _ in 0..count {
                let number = there.get_timeout(LONG).unwrap();
                sender.send_timeout(&number, LONG).unwrap();
            }
        })
    };
    for number in 0..count {
        there.put_timeout(number, LONG).unwrap();
        assert_eq!(receiver.recv_timeout(LONG).unwrap(), number, "{policy:?}");
        if number % 16 == 0 {
            // Long enough for the other side to fall asleep.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    child.join();
}

/// Waits for the first of `sources` with something in it.
fn first_of(sources: &mut [&mut dyn Waitable]) -> Vec<usize> {
    ringway::wait(sources, Some(LONG))
}

/// Says why a test could not be run here.
fn skipped(why: &str) {
    common::child::say(&format!("skipped: {why}: {}\n", std::io::Error::last_os_error()));
}
