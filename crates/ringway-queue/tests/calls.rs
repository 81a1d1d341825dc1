//! What single calls promise, within one process.

mod common;

use common::{LONG, SHORT, SOON, Scene, eventually, timed};
use ringway_queue::{
    Builder, Error, GetError, JoinThreadError, OpenError, Pod, Postcard, PutReason, Queue, Raw,
    SimpleQueue, WaitPolicy,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

const POLICIES: [WaitPolicy; 3] = [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Job {
    Nothing,
    Add { a: i64, b: i64 },
    Say(String),
    Table(BTreeMap<u8, Option<bool>>),
}

#[test]
fn values_come_back_in_order() {
    let _scene = Scene::begin();
    let queue = Queue::<Job>::bounded(4).unwrap();
    let jobs = [
        Job::Nothing,
        Job::Add { a: i64::MIN, b: -1 },
        Job::Say("päckchen".into()),
        Job::Table([(1, None), (200, Some(true))].into()),
    ];
    for round in 0..10 {
        for job in &jobs {
            queue.put(job.clone()).unwrap();
        }
        assert_eq!((queue.len(), queue.is_full(), queue.is_empty()), (4, true, false), "{round}");
        let got: Vec<Job> = queue.try_iter().map(Result::unwrap).collect();
        assert_eq!(got, jobs);
        assert_eq!((queue.len(), queue.is_full(), queue.is_empty()), (0, false, true));
    }
}

#[test]
fn nothing_at_all_is_an_item() {
    let _scene = Scene::begin();
    let unit = Builder::new().bounded::<(), Postcard>(2).unwrap();
    unit.put(()).unwrap();
    assert_eq!(unit.len(), 1);
    unit.get().unwrap();
    let bytes = Builder::new().bounded::<Vec<u8>, Raw>(2).unwrap();
    bytes.put(Vec::new()).unwrap();
    assert_eq!(bytes.get().unwrap(), Vec::<u8>::new());
}

#[test]
fn the_capacity_is_exact_whatever_it_is() {
    let _scene = Scene::begin();
    for n in [1, 2, 3, 5, 7, 10, 63, 64, 65, 1000] {
        let queue = Builder::new().bounded::<u64, Pod>(n).unwrap();
        assert_eq!(queue.capacity(), Some(n));
        for lap in 0..3 {
            for i in 0..n as u64 {
                assert!(!queue.is_full(), "{i} of {n}");
                queue.try_put(lap * 10_000 + i).unwrap();
            }
            assert!(queue.is_full() && queue.len() == n);
            let refused = queue.try_put(77).unwrap_err();
            assert!(refused.is_full() && refused.into_inner() == 77);
            for i in 0..n as u64 {
                assert_eq!(queue.try_get().unwrap(), lap * 10_000 + i);
            }
            assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        }
    }
}

#[test]
fn time_outs_bound_the_whole_call_and_give_the_value_back() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let queue = Builder::new().policy(policy).bounded::<String, Postcard>(1).unwrap();
        let (none, took) = timed(|| queue.get_timeout(SHORT));
        assert!(matches!(none, Err(GetError::Empty)) && took >= SHORT && took < SOON, "{took:?}");
        let (none, took) = timed(|| queue.get_deadline(Instant::now() + SHORT));
        assert!(matches!(none, Err(GetError::Empty)) && took >= SHORT && took < SOON, "{took:?}");
        queue.put("first".into()).unwrap();
        let (full, took) = timed(|| queue.put_timeout("second".into(), SHORT));
        let full = full.unwrap_err();
        assert!(matches!(full.reason, PutReason::Full) && took >= SHORT && took < SOON);
        assert_eq!(full.into_inner(), "second");
        let full = queue.put_deadline("third".into(), Instant::now() + SHORT).unwrap_err();
        assert_eq!((full.is_full(), full.value.as_str()), (true, "third"));
        // No time, and time that is over, are a try; endless time is endless.
        assert!(queue.put_timeout("no".into(), Duration::ZERO).unwrap_err().is_full());
        let past = Instant::now().checked_sub(SHORT).unwrap_or_else(Instant::now);
        assert!(queue.put_deadline("no".into(), past).unwrap_err().is_full());
        assert_eq!(queue.get_deadline(past).unwrap(), "first");
        queue.put_timeout("last".into(), Duration::MAX).unwrap();
        assert_eq!(queue.get_timeout(Duration::MAX).unwrap(), "last");
        assert!(matches!(queue.get_timeout(Duration::ZERO), Err(GetError::Empty)));
    }
}

#[test]
fn blocked_calls_go_on_when_they_can() {
    let _scene = Scene::begin();
    for policy in POLICIES {
        let queue = Builder::new().policy(policy).bounded::<u32, Pod>(1).unwrap();
        thread::scope(|scope| {
            let getter = scope.spawn(|| queue.get());
            thread::sleep(SHORT);
            queue.put(1).unwrap();
            assert_eq!(getter.join().unwrap().unwrap(), 1);
            queue.put(2).unwrap();
            let putter = scope.spawn(|| queue.put(3));
            thread::sleep(SHORT);
            assert_eq!(queue.get().unwrap(), 2);
            putter.join().unwrap().unwrap();
            assert_eq!(queue.get().unwrap(), 3);
        });
    }
}

#[test]
fn a_closed_handle_refuses_and_the_others_go_on() {
    let _scene = Scene::begin();
    let queue = Queue::<u8>::bounded(3).unwrap();
    let other = queue.clone();
    queue.put(1).unwrap();
    assert_eq!(queue.join_thread(), Err(JoinThreadError::NotClosed));
    queue.close();
    queue.close();
    assert!(queue.is_closed() && !other.is_closed());
    let refused = queue.put(9).unwrap_err();
    assert!(matches!(refused.reason, PutReason::Closed) && refused.value == 9);
    assert!(matches!(queue.try_put(9).unwrap_err().reason, PutReason::Closed));
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    assert!(matches!(queue.get_timeout(LONG), Err(GetError::Closed)));
    assert!(queue.iter().next().is_none());
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (1, false, false));
    assert!(queue.clone().is_closed());
    queue.join_thread().unwrap();
    other.put(2).unwrap();
    assert_eq!((other.get().unwrap(), other.get().unwrap()), (1, 2));
}

#[test]
fn a_bad_encoding_consumes_its_item_only() {
    let scene = Scene::begin();
    let named = Builder::new().name(&scene.name("mixed")).type_tag("mixed");
    let bytes = named.bounded::<Vec<u8>, Raw>(4).unwrap();
    let texts = named.open::<String, Postcard>().unwrap();
    let numbers = named.open::<u32, Pod>().unwrap();
    texts.put("good".into()).unwrap();
    bytes.put(vec![200, 1, 2]).unwrap();
    bytes.put(vec![1, b'x', 0]).unwrap();
    texts.put("better".into()).unwrap();
    assert_eq!(texts.get().unwrap(), "good");
    assert!(matches!(texts.get(), Err(GetError::Decode(_))));
    assert!(matches!(texts.get(), Err(GetError::Decode(_))));
    assert_eq!(texts.get().unwrap(), "better");
    for wrong in [vec![1, 2, 3], vec![1; 5], vec![0; 100], vec![]] {
        bytes.put(wrong).unwrap();
        numbers.put(5).unwrap();
        assert!(matches!(numbers.get(), Err(GetError::Decode(_))));
        assert_eq!(numbers.get().unwrap(), 5);
    }
    assert!(texts.is_empty());
}

/// Says no to an encoding, and to being decoded.
#[derive(Debug)]
struct Moody(u8);

impl Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => Err(serde::ser::Error::custom("not today")),
            n => n.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            13 => panic!("on purpose"),
            n => Ok(Self(n)),
        }
    }
}

#[test]
fn what_the_callers_code_does_harms_nobody() {
    let _scene = Scene::begin();
    let queue = Queue::<Moody>::bounded(2).unwrap();
    let refused = queue.put(Moody(0)).unwrap_err();
    assert!(matches!(refused.reason, PutReason::Encode(_)) && refused.value.0 == 0);
    assert!(queue.is_empty());
    queue.put(Moody(13)).unwrap();
    queue.put(Moody(14)).unwrap();
    let get = std::panic::AssertUnwindSafe(|| queue.get());
    assert!(std::panic::catch_unwind(get).is_err());
    // Consumed, and its slot is free.
    assert_eq!(queue.len(), 1);
    queue.put(Moody(15)).unwrap();
    assert_eq!((queue.get().unwrap().0, queue.get().unwrap().0), (14, 15));
}

/// Puts to another queue while it is encoded.
struct Nested(Queue<u8>);

impl Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.put(7).map_err(serde::ser::Error::custom)?;
        1_u8.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[test]
fn an_encoder_may_use_a_queue() {
    let _scene = Scene::begin();
    let inner = Queue::<u8>::bounded(2).unwrap();
    let outer = Queue::<Nested>::bounded(2).unwrap();
    outer.put(Nested(inner.clone())).unwrap();
    assert_eq!((inner.get().unwrap(), outer.len()), (7, 1));
}

#[test]
fn what_is_too_large_comes_back() {
    let _scene = Scene::begin();
    let small = Builder::new().pool_size(0).bounded::<Vec<u8>, Raw>(2).unwrap();
    assert_eq!(small.max_message(), 112);
    small.put(vec![1; 112]).unwrap();
    let refused = small.put(vec![2; 113]).unwrap_err();
    assert!(matches!(refused.reason, PutReason::TooLarge { len: 113, limit: 112 }));
    assert_eq!(refused.into_inner(), vec![2; 113]);
    assert_eq!(small.get().unwrap(), vec![1; 112]);
    let large = Builder::new().slot_size(65_520).bounded::<Vec<u8>, Raw>(2).unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(65_520).collect();
    large.put(bytes.clone()).unwrap();
    assert_eq!(large.get().unwrap(), bytes);
    let limited = Builder::new().max_message(10).unbounded::<Vec<u8>, Raw>().unwrap();
    limited.put(vec![1; 10]).unwrap();
    let refused = limited.put(vec![1; 11]).unwrap_err();
    assert!(matches!(refused.reason, PutReason::TooLarge { len: 11, limit: 10 }));
}

#[test]
fn bad_options_make_nothing() {
    let scene = Scene::begin();
    let refused = |made: Result<Queue<u8>, OpenError>| {
        assert!(matches!(made, Err(OpenError::Engine(Error::OutOfRange { .. }))), "{made:?}");
    };
    refused(Queue::bounded(0));
    refused(Queue::bounded(usize::MAX));
    refused(Queue::bounded((1 << 30) + 1));
    refused(Builder::new().ring_len(0).unbounded());
    refused(Builder::new().slot_size(65_521).bounded(1));
    refused(Builder::new().max_processes(0).bounded(1));
    refused(Builder::new().max_threads(0).bounded(1));
    refused(Builder::new().name("a/b").bounded(1));
    refused(Builder::new().name(&scene.name("n")).bounded(0));
    refused(Builder::new().pool_size(u64::MAX).bounded(1));
    refused(Builder::new().max_grants(4097).bounded(1));
    assert!(matches!(Builder::new().open::<u8, Pod>(), Err(OpenError::NoName)));
    assert!(matches!(Builder::new().remove(), Err(OpenError::NoName)));
    assert!(common::scene::names(&scene.name("")).is_empty());
}

#[test]
fn names_are_unique_typed_and_stay() {
    let scene = Scene::begin();
    let named = Builder::new().name(&scene.name("q"));
    let absent = named.open::<u64, Pod>();
    assert!(matches!(absent, Err(OpenError::Engine(Error::NotFound { .. }))));
    let queue = named.bounded::<u64, Pod>(3).unwrap();
    let taken = named.bounded::<u64, Pod>(3);
    assert!(matches!(taken, Err(OpenError::Engine(Error::NameTaken { .. }))), "{taken:?}");
    queue.put(1).unwrap();
    let incompatible = |error| matches!(error, OpenError::Engine(Error::Incompatible { .. }));
    assert!(incompatible(named.open::<i64, Pod>().unwrap_err()));
    assert!(incompatible(named.open::<u64, Postcard>().unwrap_err()));
    assert!(incompatible(named.open_joinable::<u64, Pod>().unwrap_err()));
    assert!(incompatible(named.open_simple::<u64, Pod>().unwrap_err()));
    assert!(incompatible(named.clone().type_tag("t").open::<u64, Pod>().unwrap_err()));
    drop(queue);
    // Nobody has it open: name and items stay.
    let again = named.open::<u64, Pod>().unwrap();
    assert_eq!((again.capacity(), again.get().unwrap()), (Some(3), 1));
    named.remove().unwrap();
    assert!(matches!(named.remove(), Err(OpenError::Engine(Error::NotFound { .. }))));
    again.put(2).unwrap();
    assert_eq!(again.get().unwrap(), 2);
    let tagged = named.type_tag("jobs-1").unbounded::<u32, Postcard>().unwrap();
    assert_eq!(tagged.capacity(), None);
}

#[test]
fn two_handles_of_one_process_are_one_queue() {
    let scene = Scene::begin();
    for unbounded in [false, true] {
        let named = Builder::new().ring_len(2).name(&scene.name("two"));
        let a = match unbounded {
            true => named.unbounded::<u32, Pod>(),
            false => named.bounded::<u32, Pod>(5),
        };
        let (a, b) = (a.unwrap(), named.open::<u32, Pod>().unwrap());
        named.remove().unwrap();
        for n in 0..5 {
            if n % 2 == 0 { &a } else { &b }.put(n).unwrap();
        }
        assert_eq!((a.len(), b.len(), b.is_full()), (5, 5, !unbounded));
        drop(a);
        for n in 0..5 {
            assert_eq!(b.get().unwrap(), n);
        }
    }
}

#[test]
fn a_simple_queue_is_simple() {
    let _scene = Scene::begin();
    let queue = SimpleQueue::<String>::create().unwrap();
    assert!(queue.is_empty());
    queue.put("a".into()).unwrap();
    let other = queue.clone();
    assert!(!other.is_empty());
    assert_eq!(other.get().unwrap(), "a");
    queue.close();
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    assert!(matches!(queue.put("b".into()).unwrap_err().reason, PutReason::Closed));
    other.put("c".into()).unwrap();
    assert_eq!(other.get().unwrap(), "c");
}

#[test]
fn thousands_of_queues_leave_nothing() {
    let _scene = Scene::begin();
    let (descriptors, mappings) =
        (common::tasks::open_descriptors(), common::tasks::segment_mappings());
    for n in 0..2000_u32 {
        let queue = Builder::new().ring_len(2).unbounded::<u32, Pod>().unwrap();
        let bounded = Builder::new().bounded::<u32, Pod>(1).unwrap();
        bounded.put(n).unwrap();
        // Two fit; the others wait in this process, and nobody will come for them.
        let overflowing = if n % 50 == 0 { 5 } else { 1 };
        (0..overflowing).for_each(|i| queue.put(i).unwrap());
    }
    eventually("descriptors are closed", || common::tasks::open_descriptors() <= descriptors);
    eventually("mappings are gone", || common::tasks::segment_mappings() <= mappings);
    eventually("feeders have ended", || common::tasks::threads_named("ringway-feeder") == 0);
}

#[test]
fn errors_read_well() {
    let _scene = Scene::begin();
    let queue = Queue::<u8>::bounded(1).unwrap();
    queue.put(1).unwrap();
    let full = queue.try_put(2).unwrap_err();
    assert_eq!(full.to_string(), "the queue is full");
    assert_eq!(std::io::Error::from(full).kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(
        queue.get().and_then(|_| queue.try_get()).unwrap_err().to_string(),
        "the queue is empty"
    );
    fn shareable<X: Send + Sync + Clone>(_: &X) {}
    shareable(&queue);
    shareable(&Builder::new().bounded::<std::rc::Rc<u8>, NotSend>(1).unwrap());
}

/// An encoding of something that is not `Send`.
struct NotSend;

impl ringway_queue::Codec<std::rc::Rc<u8>> for NotSend {
    const NAME: &'static str = "not-send";
    fn encode<R>(
        value: &std::rc::Rc<u8>,
        _: &mut Vec<u8>,
        sink: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, ringway_queue::EncodeError> {
        Ok(sink(&[**value]))
    }
    fn decode(bytes: &[u8]) -> Result<std::rc::Rc<u8>, ringway_queue::DecodeError> {
        Ok(bytes[0].into())
    }
}
