//! A blocked thread makes no system call and is not woken, nor is the watcher.

mod common;

use common::child::Child;
use common::tasks::{Task, tasks, until_asleep};
use common::{Scene, fork};
use ringway_pipe::{Builder, Raw, WaitPolicy};
use std::collections::BTreeMap;
use std::time::Duration;

/// Looks at blocked children, waits, looks again: nothing has moved.
fn stay_asleep(children: &[Child], span: Duration) {
    children.iter().for_each(|child| until_asleep(child.pid()));
    let look = || children.iter().map(|child| tasks(child.pid())).collect::<Vec<_>>();
    let before = look();
    std::thread::sleep(span);
    let after = look();
    println!("after {span:?}: {after:#?}");
    assert_eq!(before, after, "no thread ran");
    for (child, tasks) in children.iter().zip(&after) {
        assert_eq!(tasks.len(), 2, "the blocked thread and the watcher");
        assert_eq!(tasks[&child.pid()].syscall, Some(libc::SYS_futex));
        let watcher = tasks.values().find(|task| task.name == "ringway-watch").unwrap();
        let waits = [Some(libc::SYS_epoll_pwait), EPOLL_WAIT];
        assert!(watcher.syscall.is_some() && waits.contains(&watcher.syscall), "{watcher:?}");
    }
}

#[cfg(target_arch = "x86_64")]
const EPOLL_WAIT: Option<i64> = Some(libc::SYS_epoll_wait);
/// Younger systems have the other call only.
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_WAIT: Option<i64> = None;

fn idle(span: Duration) {
    let (mut receivers, mut senders, mut children) = (Vec::new(), Vec::new(), Vec::new());
    for policy in [WaitPolicy::Adaptive, WaitPolicy::Block] {
        let build = || Builder::new().capacity(4096).policy(policy).simplex::<Vec<u8>, Raw>();
        let (mut receiver, sender) = build().unwrap();
        children.push(fork(move || assert_eq!(receiver.recv().unwrap(), [1])));
        senders.push(sender);
        let (receiver, mut sender) = build().unwrap();
        children.push(fork(move || sender.send(&vec![1; 10_000]).unwrap()));
        receivers.push(receiver);
    }
    stay_asleep(&children, span);
    senders.iter_mut().for_each(|sender| sender.send(&vec![1]).unwrap());
    for receiver in &mut receivers {
        assert_eq!(receiver.recv().unwrap(), [1; 10_000]);
    }
    children.into_iter().for_each(Child::join);
}

#[test]
fn blocked_calls_make_no_system_call() {
    let _scene = Scene::begin();
    idle(Duration::from_secs(3));
}

#[test]
#[ignore = "takes 10 seconds"]
fn blocked_calls_make_no_system_call_for_ten_seconds() {
    let _scene = Scene::begin();
    idle(Duration::from_secs(10));
}

#[test]
fn a_blocked_receiver_of_a_named_pipe_makes_none_either() {
    let scene = Scene::begin();
    let name = scene.name("pipe");
    let mut sender = Builder::new().create_sender::<Vec<u8>, Raw>(&name).unwrap();
    let child = fork(|| {
        let mut receiver = Builder::new().open_receiver::<Vec<u8>, Raw>(&name).unwrap();
        assert_eq!(receiver.recv().unwrap(), [1]);
    });
    until_asleep(child.pid());
    let before = tasks(child.pid());
    std::thread::sleep(Duration::from_millis(600));
    let after = tasks(child.pid());
    assert_eq!(before[&child.pid()], after[&child.pid()], "the blocked thread did not run");
    // The watcher asks for the peer's life lock, about every 50 ms and no more often.
    let watcher = |tasks: &BTreeMap<i32, Task>| {
        tasks.values().find(|task| task.name == "ringway-watch").unwrap().sleeps
    };
    let looks = watcher(&after) - watcher(&before);
    assert!((1..=14).contains(&looks), "{looks} looks in 600 ms");
    sender.send(&vec![1]).unwrap();
    child.join();
}
