//! A process pinned to one processor still looks before it sleeps: its peer may be
//! pinned to another. In a process of its own, because the answer is asked for once.

#![cfg(not(loom))]

use ringway_core::wait::{Deadline, Spinner, WaitPolicy};
use rustix::thread::CpuSet;

/// More looks than the first ones, which every policy but `Block` takes.
const LATE: u32 = 40;

#[test]
fn a_pinned_process_looks_before_it_sleeps() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).unwrap());
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    for policy in [WaitPolicy::Adaptive, WaitPolicy::Spin] {
        let mut looks = 0;
        let found = Spinner::new(policy).spin(Deadline::NEVER, || {
            looks += 1;
            (looks == LATE).then_some(looks)
        });
        assert_eq!(found, Some(LATE), "{policy:?}");
    }
}
