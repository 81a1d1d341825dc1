//! Handles on their way to other processes.

mod common;

use common::post::{office, pack, receive, send, unpack};
use common::{LONG, SHORT, Scene, eventually, fork};
use ringway_queue::{
    Builder, JoinableQueue, OpenError, Pod, Postcard, Queue, Raw, SimpleQueue, WaitPolicy,
};
use std::time::Duration;

#[test]
fn the_receiver_and_the_giver_both_have_it() {
    let scene = Scene::begin();
    let plain = Builder::new();
    let named = Builder::new().name(&scene.name("handed"));
    let tagged = Builder::new().type_tag("numbers");
    for builder in [plain.policy(WaitPolicy::Block), named, tagged] {
        let (ours, theirs) = office();
        // Forked before the queue exists: the child has it from the post only.
        let child = fork(move || {
            let queue: Queue<u32> = unpack(receive(&theirs)).unwrap();
            assert_eq!(queue.get_timeout(LONG).unwrap(), 1);
            queue.put(queue.policy() as u32 + 10).unwrap();
        });
        let queue = builder.bounded::<u32, Postcard>(4).unwrap();
        queue.put(1).unwrap();
        send(&ours, pack(&queue).unwrap());
        child.join();
        assert_eq!(queue.get_timeout(LONG).unwrap(), queue.policy() as u32 + 10);
        let _ = builder.remove();
    }
}

#[test]
fn all_kinds_go_and_only_as_what_they_are() {
    let _scene = Scene::begin();
    let queue = Builder::new().unbounded::<u32, Pod>().unwrap();
    let again: Queue<u32, Pod> = unpack(pack(&queue).unwrap()).unwrap();
    queue.put(3).unwrap();
    assert_eq!((again.get().unwrap(), again.capacity()), (3, None));
    assert!(unpack::<Queue<i32, Pod>>(pack(&queue).unwrap()).is_err());
    assert!(unpack::<Queue<u32, Postcard>>(pack(&queue).unwrap()).is_err());
    assert!(unpack::<JoinableQueue<u32, Pod>>(pack(&queue).unwrap()).is_err());
    assert!(unpack::<SimpleQueue<u32, Pod>>(pack(&queue).unwrap()).is_err());
    let tasks = Builder::new().joinable_bounded::<Vec<u8>, Raw>(2).unwrap();
    let again: JoinableQueue<Vec<u8>, Raw> = unpack(pack(&tasks).unwrap()).unwrap();
    tasks.put(vec![1]).unwrap();
    again.get().unwrap();
    tasks.task_done().unwrap();
    again.join().unwrap();
    let simple = SimpleQueue::<String>::create().unwrap();
    let again: SimpleQueue<String> = unpack(pack(&simple).unwrap()).unwrap();
    simple.put("x".into()).unwrap();
    assert_eq!(again.get().unwrap(), "x");
}

#[test]
fn outside_a_hand_over_and_when_closed_nothing_goes() {
    let _scene = Scene::begin();
    let queue = Queue::<u32>::bounded(2).unwrap();
    assert!(postcard::to_stdvec(&queue).is_err());
    queue.close();
    assert!(pack(&queue).is_err());
    assert_eq!(OpenError::Closed.to_string(), "the queue is closed here");
    let (bytes, descriptors) = pack(&Queue::<u32>::bounded(2).unwrap()).unwrap();
    drop(descriptors);
    assert!(postcard::from_bytes::<Queue<u32>>(&bytes).is_err());
    assert!(unpack::<Queue<u32>>((bytes, Vec::new())).is_err());
}

#[test]
fn a_queue_cannot_be_an_item() {
    // Handles need descriptors beside their bytes: as an item one is refused, and the
    // queue is as it was.
    let _scene = Scene::begin();
    let queues = Queue::<Queue<u32>>::bounded(2).unwrap();
    let refused = queues.put(Queue::bounded(1).unwrap()).unwrap_err();
    assert!(matches!(refused.reason, ringway_queue::PutReason::Encode(_)));
    refused.into_inner().put(1).unwrap();
    assert!(queues.is_empty());
}

#[test]
fn a_giver_waits_for_the_receiver_on_its_way() {
    let _scene = Scene::begin();
    let (ours, theirs) = office();
    let child = fork(move || {
        std::thread::sleep(Duration::from_millis(300));
        let queue: Queue<u64, Pod> = unpack(receive(&theirs)).unwrap();
        (0..50).for_each(|n| assert_eq!(queue.get_timeout(LONG).unwrap(), n));
    });
    let queue = Builder::new().ring_len(2).unbounded::<u64, Pod>().unwrap();
    (0..50).for_each(|n| queue.put(n).unwrap());
    send(&ours, pack(&queue).unwrap());
    // Nobody is attached yet.
    drop(queue);
    child.join();
}

#[test]
fn what_never_arrives_leaves_nothing() {
    let _scene = Scene::begin();
    let before = (common::tasks::open_descriptors(), common::tasks::segment_mappings());
    for _ in 0..200 {
        let queue = Queue::<u32>::bounded(1).unwrap();
        let (ours, theirs) = office();
        send(&ours, pack(&queue).unwrap());
        drop((ours, theirs));
        drop(pack(&queue).unwrap());
    }
    eventually("all is gone", || {
        common::tasks::open_descriptors() <= before.0
            && common::tasks::segment_mappings() <= before.1
    });
    std::thread::sleep(SHORT);
}
