//! A thousand pipes leave nothing: no descriptor, no mapping, no name, no thread.

mod common;

use common::scene::names;
use common::tasks::{open_descriptors, segment_mappings, tasks};
use common::{Scene, eventually, fork, post};
use ringway_pipe::{Builder, Connection, Receiver, RecvError, Sender, duplex, simplex};

/// What this process has of pipes.
fn have() -> (usize, usize, usize) {
    let threads = tasks(std::process::id().cast_signed());
    let watchers = threads.values().filter(|task| task.name == "ringway-watch").count();
    (open_descriptors(), segment_mappings(), watchers)
}

/// Runs `once` a thousand times; the last must leave as much as the first did.
fn a_thousand_times(mut once: impl FnMut(usize)) {
    // The first starts the watcher, which stays.
    once(0);
    // It gives itself its name.
    eventually("one watcher", || have().2 == 1);
    let start = have();
    (1..1000).for_each(&mut once);
    // The watcher may be looking at the last one, which keeps it mapped for a moment.
    eventually("all is given back", || have() == start);
}

#[test]
fn anonymous_pipes() {
    let _scene = Scene::begin();
    a_thousand_times(|_| {
        let (mut receiver, mut sender) = simplex::<u32>().unwrap();
        sender.send(&1).unwrap();
        assert_eq!(receiver.recv().unwrap(), 1);
        drop(sender);
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    });
    a_thousand_times(|_| {
        let (mut a, mut b) = duplex::<u32>().unwrap();
        a.send(&1).unwrap();
        assert_eq!(b.recv().unwrap(), 1);
        a.close();
    });
    a_thousand_times(|_| drop((simplex::<u32>().unwrap(), one_used())));
}

fn one_used() -> Receiver<u32> {
    let (mut receiver, _) = simplex::<u32>().unwrap();
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    receiver
}

#[test]
fn named_pipes() {
    let scene = Scene::begin();
    a_thousand_times(|i| {
        let name = scene.name(&format!("pipe{i}"));
        let mut receiver: Receiver<u32> = Builder::new().create_receiver(&name).unwrap();
        let mut sender: Sender<u32> = Builder::new().open_sender(&name).unwrap();
        sender.send(&1).unwrap();
        assert_eq!(receiver.recv().unwrap(), 1);
    });
    assert_eq!(names(&scene.name("")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn handed_over_pipes() {
    let _scene = Scene::begin();
    a_thousand_times(|_| {
        let (a, mut b) = duplex::<u32>().unwrap();
        let mut a: Connection<u32> = post::unpack(post::pack(&a).unwrap()).unwrap();
        a.send(&1).unwrap();
        assert_eq!(b.recv().unwrap(), 1);
    });
}

#[test]
fn pipes_with_a_child_at_the_other_end() {
    let _scene = Scene::begin();
    let once = || {
        let (mut receiver, mut sender) = simplex::<u32>().unwrap();
        let child = fork(move || sender.send(&1).unwrap());
        assert_eq!(receiver.recv().unwrap(), 1);
        child.join();
    };
    once();
    let start = have();
    (0..50).for_each(|_| once());
    eventually("all is given back", || have() == start);
}

#[test]
fn a_pipe_is_two_descriptors_per_end() {
    let _scene = Scene::begin();
    drop(one_used());
    let before = open_descriptors();
    let (mut receiver, mut sender) = simplex::<u32>().unwrap();
    assert_eq!(open_descriptors() - before, 4);
    sender.send(&1).unwrap();
    receiver.recv().unwrap();
    assert_eq!(open_descriptors() - before, 4, "used or not");
}
