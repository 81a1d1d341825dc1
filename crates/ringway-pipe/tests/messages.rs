//! Messages between processes arrive whole, in order and unchanged, whatever their size
//! and type.

mod common;

use common::{Random, Scene, fork, pattern};
use ringway_pipe::{
    Builder, Pod, Postcard, Raw, Receiver, RecvError, SendError, Sender, WaitPolicy,
};
use serde::{Deserialize, Serialize};

type Bytes = Vec<u8>;

fn raw(capacity: u64) -> (Receiver<Bytes, Raw>, Sender<Bytes, Raw>) {
    Builder::new().capacity(capacity).simplex().unwrap()
}

/// Sends patterns of these sizes from a child and checks them here.
fn pass(capacity: u64, sizes: &[usize]) {
    let (mut receiver, mut sender) = raw(capacity);
    let child = fork(move || {
        for (seed, size) in (1..).zip(sizes) {
            sender.send_bytes(&pattern(*size, seed)).unwrap();
        }
    });
    for (seed, size) in (1..).zip(sizes) {
        let got = receiver.recv_bytes(None).unwrap();
        assert!(got == pattern(*size, seed), "message {seed} of {size} bytes, got {}", got.len());
    }
    assert!(matches!(receiver.recv_bytes(None), Err(RecvError::Eof)));
    child.join();
}

#[test]
fn one_byte_to_64_mib_through_the_default_ring() {
    let _scene = Scene::begin();
    let mut sizes: Vec<usize> = (0..=26).map(|power| 1 << power).collect();
    sizes.extend((10..20).flat_map(|power| [(1 << power) - 1, (1 << power) + 1]));
    pass(64 << 10, &sizes);
}

#[test]
fn the_empty_message_is_a_message() {
    let _scene = Scene::begin();
    pass(4096, &[0, 0, 1, 0, 5000, 0]);
}

#[test]
fn sizes_around_every_threshold() {
    let _scene = Scene::begin();
    for capacity in [4096_usize, 64 << 10] {
        // Whole and streamed part at a quarter of the ring, pieces are an eighth, the
        // largest that `try_send` takes is the ring less two headers.
        let mut sizes = Vec::new();
        for edge in [capacity / 16, capacity / 8, capacity / 4, capacity, 2 * capacity] {
            sizes.extend(edge - 26..edge + 26);
        }
        pass(capacity as u64, &sizes);
    }
}

#[test]
fn random_sizes_put_the_wrap_everywhere() {
    let _scene = Scene::begin();
    let mut random = Random(42);
    let small: Vec<usize> = (0..20_000).map(|_| random.below(1500)).collect();
    pass(4096, &small);
    let mut mixed = || 1 << random.below(18);
    let limits: Vec<usize> = (0..2000).map(|_| mixed()).collect();
    let mixed: Vec<usize> = limits.iter().map(|limit| random.below(*limit)).collect();
    pass(4096, &mixed);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Job {
    Stop,
    Work { id: u64, name: String, parts: Vec<(i16, Option<f64>)> },
}

fn job(id: u64) -> Job {
    let parts = (0..id % 50).map(|i| (i16::try_from(i).unwrap() - 20, (i % 2 == 0).then_some(0.5)));
    Job::Work {
        id,
        name: "x".repeat(usize::try_from(id * 7 % 3000).unwrap()),
        parts: parts.collect(),
    }
}

#[test]
fn serde_types() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = ringway_pipe::simplex::<Job>().unwrap();
    let child = fork(move || {
        (0..3000).for_each(|id| sender.send(&job(id)).unwrap());
        sender.send(&Job::Stop).unwrap();
    });
    for id in 0..3000 {
        assert_eq!(receiver.recv().unwrap(), job(id));
    }
    assert_eq!(receiver.recv().unwrap(), Job::Stop);
    child.join();
}

#[test]
fn plain_old_data() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = Builder::new().simplex::<[u32; 5], Pod>().unwrap();
    let child = fork(move || (0..100_000).for_each(|i| sender.send(&[i; 5]).unwrap()));
    assert!((0..100_000).all(|i| receiver.recv().unwrap() == [i; 5]));
    child.join();
    // Larger than the ring: streamed.
    let (mut receiver, mut sender) =
        Builder::new().capacity(4096).simplex::<[u64; 4000], Pod>().unwrap();
    let child = fork(move || (0..20).for_each(|i| sender.send(&[i; 4000]).unwrap()));
    assert!((0..20).all(|i| receiver.recv().unwrap() == [i; 4000]));
    child.join();
}

#[test]
fn the_unit_type_counts() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = ringway_pipe::simplex::<()>().unwrap();
    let child = fork(move || (0..1000).for_each(|_| sender.send(&()).unwrap()));
    assert_eq!(receiver.iter().map(Result::unwrap).count(), 1000);
    child.join();
}

#[test]
fn both_types_of_a_two_way_pipe() {
    let _scene = Scene::begin();
    let (mut ask, mut answer) = Builder::new().duplex::<String, usize, Postcard>().unwrap();
    let child = fork(move || {
        while let Ok(text) = answer.recv() {
            answer.send(&text.len()).unwrap();
        }
    });
    for text in ["", "how many?", &"x".repeat(200_000)] {
        ask.send(&text.into()).unwrap();
        assert_eq!(ask.recv().unwrap(), text.len());
    }
    drop(ask);
    child.join();
}

#[test]
fn a_message_that_does_not_decode_is_consumed_and_the_pipe_goes_on() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) =
        Builder::new().capacity(4096).simplex::<String, Postcard>().unwrap();
    let child = fork(move || {
        sender.send(&"before".into()).unwrap();
        sender.send_bytes(&[5, 0xFF, 0xFF]).unwrap();
        sender.send_bytes(&[0xFF; 20_000]).unwrap();
        sender.send(&"after".into()).unwrap();
    });
    assert_eq!(receiver.recv().unwrap(), "before");
    for _ in 0..2 {
        assert!(matches!(receiver.recv(), Err(RecvError::Decode(_))));
    }
    assert_eq!(receiver.recv().unwrap(), "after");
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    child.join();

    let (mut receiver, mut sender) = Builder::new().simplex::<u64, Pod>().unwrap();
    sender.send_bytes(b"seven b").unwrap();
    sender.send(&9).unwrap();
    assert!(matches!(receiver.recv(), Err(RecvError::Decode(_))));
    assert_eq!(receiver.recv().unwrap(), 9);
}

/// Has no encoding when it is `No`.
#[derive(Deserialize)]
enum Picky {
    Yes,
    No,
}

impl Serialize for Picky {
    fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        match self {
            Self::Yes => serializer.serialize_unit_variant("Picky", 0, "Yes"),
            Self::No => Err(serde::ser::Error::custom("not this one")),
        }
    }
}

#[test]
fn a_value_without_an_encoding_is_an_error_and_nothing_is_sent() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = ringway_pipe::simplex::<Picky>().unwrap();
    assert!(matches!(sender.send(&Picky::No), Err(SendError::Encode(_))));
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    sender.send(&Picky::Yes).unwrap();
    assert!(matches!(receiver.recv(), Ok(Picky::Yes)));
}

#[test]
fn a_message_beyond_the_limit_stays() {
    let _scene = Scene::begin();
    // 900 bytes go whole, 50 000 are streamed.
    for len in [900, 50_000] {
        let (mut receiver, mut sender) = raw(4096);
        let child = fork(move || {
            sender.send_bytes(&pattern(len, 1)).unwrap();
            sender.send_bytes(b"next").unwrap();
        });
        assert!(receiver.poll(common::LONG).unwrap());
        let too_large = |error| match error {
            RecvError::TooLarge { len: is, limit } => (is, limit) == (len as u64, len - 1),
            _ => false,
        };
        for _ in 0..2 {
            assert!(too_large(receiver.recv_bytes(Some(len - 1)).unwrap_err()));
            assert!(too_large(receiver.try_recv_bytes(Some(len - 1)).unwrap_err()));
            let mut short = vec![7; len - 1];
            assert!(too_large(receiver.recv_bytes_into(&mut short).unwrap_err()));
            assert!(short.iter().all(|byte| *byte == 7), "nothing was written");
        }
        let mut buffer = vec![7; len + 5];
        assert_eq!(receiver.recv_bytes_into_at(&mut buffer, 5).unwrap(), len);
        assert_eq!((&buffer[..5], &buffer[5..]), (&[7_u8; 5][..], &pattern(len, 1)[..]));
        assert_eq!(receiver.recv_bytes(Some(4)).unwrap(), b"next");
        child.join();
    }
}

#[test]
fn a_limit_after_half_of_a_streamed_message_loses_nothing() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    let sent = pattern(50_000, 3);
    let stop = common::Gate::new();
    let child = fork(|| {
        stop.open();
        sender.send_bytes(&sent).unwrap();
    });
    drop(sender);
    stop.pass();
    common::tasks::until_asleep(child.pid());
    common::tasks::stop(&child);
    // A part is taken in and kept; the limit is still judged by the whole length.
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    child.signal(libc::SIGCONT);
    let mut short = [0; 100];
    assert!(matches!(receiver.recv_bytes_into(&mut short), Err(RecvError::TooLarge { .. })));
    assert!(matches!(receiver.recv_bytes(Some(100)), Err(RecvError::TooLarge { .. })));
    let mut buffer = vec![0; 50_000];
    assert_eq!(receiver.recv_bytes_into(&mut buffer).unwrap(), 50_000);
    assert!(buffer == sent);
    child.join();
}

#[test]
fn ranges_are_checked_before_anything_moves() {
    let _scene = Scene::begin();
    let (mut receiver, mut sender) = raw(4096);
    let buffer = b"0123456789";
    for (offset, size) in [(11, None), (0, Some(11)), (5, Some(6)), (usize::MAX, Some(2))] {
        let refused = sender.send_bytes_range(buffer, offset, size);
        assert!(matches!(refused, Err(SendError::InvalidRange { .. })), "{offset} {size:?}");
    }
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    for (offset, size) in [(0, None), (4, None), (4, Some(2)), (10, None), (10, Some(0))] {
        sender.send_bytes_range(buffer, offset, size).unwrap();
    }
    for expected in [&buffer[..], b"456789", b"45", b"", b""] {
        assert_eq!(receiver.recv_bytes(None).unwrap(), expected);
    }
    sender.send_bytes(b"stays").unwrap();
    let refused = receiver.recv_bytes_into_at(&mut [0; 4], 5);
    assert!(matches!(refused, Err(RecvError::InvalidRange { offset: 5, len: 4 })));
    assert_eq!(receiver.recv_bytes(None).unwrap(), b"stays");
}

#[test]
fn every_policy_passes_every_size() {
    let _scene = Scene::begin();
    for policy in [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block] {
        let (mut receiver, mut sender) =
            Builder::new().capacity(4096).policy(policy).simplex::<Bytes, Raw>().unwrap();
        let child = fork(move || {
            (0..200).for_each(|i| sender.send(&pattern(i * 97, i as u64)).unwrap());
        });
        for i in 0..200 {
            assert!(receiver.recv().unwrap() == pattern(i * 97, i as u64), "{policy:?} {i}");
        }
        child.join();
    }
}
