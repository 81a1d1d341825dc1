//! Items that are longer than a slot: any type, any length up to the pool; and what
//! happens when the pool is used up, or somebody does not keep to the limit.

mod common;

use common::tasks::until_asleep;
use common::{Scene, fork};
use ringway_core::mpmc::SharedRing;
use ringway_core::segment::{Name, Segment};
use ringway_queue::{Builder, GetError, Pod, Postcard, PutReason, Queue, Raw};
use std::time::{Duration, Instant};

fn text(n: usize, len: usize) -> String {
    (0..len).map(|i| char::from(b'a' + u8::try_from((i * 7 + n) % 26).unwrap())).collect()
}

#[test]
fn items_of_any_length_pass_between_processes() {
    let _scene = Scene::begin();
    let queue = Queue::<(usize, String)>::bounded(3).unwrap();
    let lengths = [0, 100, 110, 111, 300, 4000, 5000, 70_000, 300_000];
    let child = fork({
        let queue = queue.clone();
        move || {
            for round in 0..5 {
                for len in lengths {
                    queue.put((len, text(round, len))).unwrap();
                }
            }
        }
    });
    for round in 0..5 {
        for len in lengths {
            assert_eq!(queue.get().unwrap(), (len, text(round, len)));
        }
    }
    child.join();
}

#[test]
fn every_kind_of_queue_and_codec_takes_them() {
    let _scene = Scene::begin();
    let raw = Builder::new().unbounded::<Vec<u8>, Raw>().unwrap();
    let simple = Builder::new().simple::<Vec<u8>, Postcard>().unwrap();
    let tasks = Builder::new().joinable::<Vec<u8>, Raw>().unwrap();
    let item = vec![7; 200_000];
    raw.put(item.clone()).unwrap();
    simple.put(item.clone()).unwrap();
    tasks.put(item.clone()).unwrap();
    assert_eq!((raw.get().unwrap(), simple.get().unwrap()), (item.clone(), item.clone()));
    assert_eq!((tasks.get().unwrap(), tasks.unfinished()), (item, 1));
    tasks.task_done().unwrap();
    tasks.join().unwrap();
}

#[test]
fn a_small_slot_takes_plain_old_data_of_any_size() {
    let _scene = Scene::begin();
    // Values of this size stand on the stack many times over in a debug build.
    let roomy = std::thread::Builder::new().stack_size(64 << 20);
    roomy.spawn(large_plain_old_data).unwrap().join().unwrap();
}

fn large_plain_old_data() {
    // Fits the slots of no queue.
    let huge = Builder::new().bounded::<[u8; 100_000], Pod>(10).unwrap();
    for n in 0..4 {
        huge.put([n; 100_000]).unwrap();
    }
    let full = huge.try_put([4; 100_000]).unwrap_err();
    assert!(matches!(full.reason, PutReason::NoMemory), "a place, and no memory: {full}");
    for n in 0..4 {
        assert!(huge.get().unwrap().iter().all(|byte| *byte == n));
    }
}

#[test]
fn default_queues_stay_below_a_mebibyte() {
    let scene = Scene::begin();
    let name = scene.name("size");
    let queue = Builder::new().name(&name).unbounded::<String, Postcard>().unwrap();
    let path = Name::new(&name).unwrap();
    let size = std::fs::metadata(path.path()).unwrap().len();
    assert!((900 << 10..=1 << 20).contains(&size), "{size}");
    drop(queue);
    Builder::new().name(&name).remove().unwrap();
}

#[test]
fn a_used_up_pool_makes_puts_wait_and_tries_fail() {
    let _scene = Scene::begin();
    let queue = Builder::new().pool_size(64 << 10).bounded::<Vec<u8>, Raw>(100).unwrap();
    let most = 64 << 10;
    queue.put(vec![1; most]).unwrap();
    let refused = queue.try_put(vec![2; 1000]).unwrap_err();
    assert!(matches!(refused.reason, PutReason::NoMemory) && refused.value == vec![2; 1000]);
    let start = Instant::now();
    let refused = queue.put_timeout(vec![2; 1000], Duration::from_millis(50)).unwrap_err();
    assert!(matches!(refused.reason, PutReason::NoMemory));
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert!(!queue.is_full());
    queue.put(vec![3; 100]).unwrap();
    let too_large = queue.try_put(vec![4; most + 1]).unwrap_err();
    assert!(matches!(too_large.reason, PutReason::WouldStream));
    let child = fork({
        let queue = queue.clone();
        move || queue.put(vec![5; 30_000]).unwrap()
    });
    until_asleep(child.pid());
    assert_eq!(queue.get().unwrap(), vec![1; most]);
    assert_eq!(queue.get().unwrap(), vec![3; 100]);
    assert_eq!(queue.get().unwrap(), vec![5; 30_000]);
    child.join();
}

#[test]
fn an_unbounded_queue_accepts_more_than_its_pool_holds_in_order() {
    let _scene = Scene::begin();
    let queue = Builder::new().pool_size(100 << 10).unbounded::<Vec<u8>, Raw>().unwrap();
    for n in 0..100 {
        // Short ones between: they wait behind the long ones.
        queue.put(vec![n; if n % 3 == 0 { 50 } else { 20_000 }]).unwrap();
    }
    assert_eq!(queue.len(), 100);
    for n in 0..100 {
        assert_eq!(queue.get().unwrap(), vec![n; if n % 3 == 0 { 50 } else { 20_000 }]);
    }
    queue.close();
    queue.join_thread().unwrap();
}

/// Somebody who does not keep to the limit puts through another door.
#[test]
fn a_limit_is_kept_by_getters_too() {
    let scene = Scene::begin();
    let name = scene.name("limit");
    let builder = Builder::new().name(&name).max_message(1000);
    let queue = builder.bounded::<Vec<u8>, Raw>(5).unwrap();
    let segment = Segment::open_named(&Name::new(&name).unwrap()).unwrap();
    let signature = segment.header().signature;
    let back_door = SharedRing::open(segment, signature).unwrap();
    back_door.try_put(&[1; 1001]).unwrap();
    back_door.try_put(&[2; 1000]).unwrap();
    back_door.try_put(&[3; 1001]).unwrap();
    let refused = queue.get();
    assert!(matches!(refused, Err(GetError::TooLarge { len: 1001, limit: 1000 })), "{refused:?}");
    assert_eq!(queue.get().unwrap(), vec![2; 1000]);
    let mut buffer = vec![9; 7];
    let refused = queue.get_into(&mut buffer);
    assert!(matches!(refused, Err(GetError::TooLarge { .. })));
    assert!(buffer.capacity() < 1000 && queue.is_empty());
    assert_eq!(back_door.blocks_used(), 0);
    builder.remove().unwrap();
}

#[test]
fn what_cannot_be_decoded_is_consumed() {
    let scene = Scene::begin();
    let name = scene.name("bad");
    let builder = Builder::new().name(&name);
    let queue = builder.bounded::<(u32, String), Postcard>(5).unwrap();
    let segment = Segment::open_named(&Name::new(&name).unwrap()).unwrap();
    let signature = segment.header().signature;
    let back_door = SharedRing::open(segment, signature).unwrap();
    back_door.try_put(&[0xFF; 3000]).unwrap();
    assert!(matches!(queue.get(), Err(GetError::Decode(_))));
    queue.put((1, text(0, 3000))).unwrap();
    assert_eq!(queue.get().unwrap(), (1, text(0, 3000)));
    assert_eq!(back_door.blocks_used(), 0);
    builder.remove().unwrap();
}

#[test]
fn a_buffer_is_used_again() {
    let _scene = Scene::begin();
    let queue = Builder::new().bounded::<Vec<u8>, Raw>(5).unwrap();
    let mut buffer = Vec::new();
    for len in [5, 50_000, 0, 112, 113, 40_000] {
        queue.put_bytes(&vec![3; len]).unwrap();
        queue.get_into(&mut buffer).unwrap();
        assert_eq!(buffer, vec![3; len]);
    }
    assert!(matches!(queue.try_get_into(&mut buffer), Err(GetError::Empty)));
    queue.try_put_bytes(&[1; 200]).unwrap();
    queue.get_into_timeout(&mut buffer, Duration::from_secs(20)).unwrap();
    assert_eq!(buffer, [1; 200]);
}
