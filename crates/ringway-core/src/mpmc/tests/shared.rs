//! Handles in one process: attaching, leaving, limits, waiting.

use crate::error::Error;
use crate::mpmc::ring::Ring;
use crate::mpmc::{Announcement, Geometry, GetError, Options, PutError, SharedRing};
use crate::segment::{Place, Segment};
use crate::sync::Ordering::SeqCst;
use crate::wait::{Deadline, Event, Spinner, Ticket, WaitPolicy, Waitable, Woken, wait_any};
use std::time::Duration;

fn create(slots: u64) -> SharedRing {
    let options = Options { participants: 2, actors: 3, ..Options::new(slots, 8) };
    SharedRing::create(Place::Anonymous("test"), &options, 7).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(20))
}

fn in_time() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// A wait for blocks that there are none of would never end.
#[test]
fn short_slots_refuse_other_lengths_at_once() {
    let options = Options { participants: 2, actors: 3, exact: true, ..Options::new(3, 8) };
    let ring = SharedRing::create(Place::Anonymous("test"), &options, 7).unwrap();
    for wrong in [&b""[..], b"seven b", b"nine byte"] {
        let refused = ring.put(wrong, &mut Spinner::new(WaitPolicy::Block), in_time());
        assert!(matches!(refused, Err(PutError::TooLong { limit: 8, .. })), "{refused:?}");
        assert!(matches!(ring.try_put(wrong), Err(PutError::TooLong { .. })));
    }
    ring.try_put(b"eight by").unwrap();
}

#[test]
fn a_process_attaches_once_and_leaves_with_its_last_handle() {
    let ring = create(3);
    let fd = ring.share().unwrap();
    let again = SharedRing::open(Segment::from_fd(ring.share().unwrap()).unwrap(), 7).unwrap();
    assert_eq!(again.participants().len(), 1);
    ring.try_put(b"one").unwrap();
    drop(ring);
    let mut buffer = [0; 16];
    assert_eq!(again.try_get(&mut buffer).unwrap(), 3);
    drop(again);
    // Everybody left; whoever comes finds room for a whole new company.
    for _ in 0..5 {
        let fd = fd.try_clone().unwrap();
        let ring = SharedRing::open(Segment::from_fd(fd).unwrap(), 7).unwrap();
        assert_eq!(ring.participants().len(), 1);
        assert_eq!(ring.participants()[0].pid, u64::from(std::process::id()));
        ring.try_put(b"two").unwrap();
        assert_eq!(ring.try_get(&mut buffer).unwrap(), 3);
    }
    let wrong = SharedRing::open(Segment::from_fd(fd).unwrap(), 8);
    assert!(matches!(wrong.err(), Some(Error::Incompatible { .. })));
}

/// Also those of threads that go on, and those that a thread gave back and another has.
#[test]
fn who_leaves_gives_back_every_actor_it_has() {
    let ring = create(3);
    let segment = Segment::from_fd(ring.share().unwrap()).unwrap();
    let header = segment.header();
    let geometry = Geometry::from_params(&header.params, header.total_len, "test").unwrap();
    let looked_at = Ring::new(segment.memory(), geometry).unwrap();
    let whose = || [0, 1, 2].map(|index| looked_at.actors().participant(index));
    let id = ring.attachment().map_err(Error::from).unwrap().participant();
    let used = || ring.try_put(b"one").unwrap();
    std::thread::scope(|scope| scope.spawn(used).join().unwrap());
    used();
    let another = || {
        used();
        assert_eq!(whose(), [id; 3], "the spare one, and those of two threads");
    };
    // Joined, for a scope does not wait for what a thread does at its end.
    std::thread::scope(|scope| scope.spawn(another).join().unwrap());
    let other = SharedRing::open(Segment::from_fd(segment.share().unwrap()).unwrap(), 7).unwrap();
    drop(ring);
    assert_eq!(whose().iter().filter(|of| **of == id).count(), 2, "another handle is there");
    drop(other);
    assert_eq!(whose(), [0; 3]);
}

#[test]
fn more_threads_than_actors_take_turns() {
    let ring = create(4);
    // Three actors: the spare one, and those of two threads.
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let ring = &ring;
            scope.spawn(move || {
                let mut spinner = Spinner::new(WaitPolicy::Block);
                for n in 0..500_u64 {
                    if thread % 2 == 0 {
                        ring.put(&n.to_le_bytes(), &mut spinner, in_time()).unwrap();
                    } else {
                        ring.get(&mut [0; 8], &mut spinner, in_time()).unwrap();
                    }
                }
            });
        }
    });
    assert!(ring.is_empty());
}

#[test]
fn deadlines_end_waits() {
    let ring = create(1);
    for policy in [WaitPolicy::Spin, WaitPolicy::Adaptive, WaitPolicy::Block] {
        let mut spinner = Spinner::new(policy);
        let mut buffer = [0; 16];
        assert!(matches!(ring.get(&mut buffer, &mut spinner, soon()), Err(GetError::Empty)));
        ring.put(b"x", &mut spinner, soon()).unwrap();
        assert!(matches!(ring.put(b"y", &mut spinner, soon()), Err(PutError::Full)));
        assert!(matches!(ring.try_put(b"y"), Err(PutError::Full)));
        assert_eq!(ring.get(&mut buffer, &mut spinner, soon()).unwrap(), 1);
        assert!(matches!(ring.try_get(&mut buffer), Err(GetError::Empty)));
    }
    let long = [0; 100];
    assert!(matches!(ring.try_put(&long), Err(PutError::TooLong { len: 100, limit: 16 })));
}

#[test]
fn sleepers_on_both_sides_always_wake() {
    for (slots, policy) in
        [(1, WaitPolicy::Block), (1, WaitPolicy::Adaptive), (3, WaitPolicy::Block)]
    {
        let ring = create(slots);
        let all: Vec<u64> = std::thread::scope(|scope| {
            for putter in 0..2_u64 {
                let ring = &ring;
                scope.spawn(move || {
                    let mut spinner = Spinner::new(policy);
                    for n in 0..2000_u64 {
                        let message = (putter << 32 | n).to_le_bytes();
                        // Long enough for a tick to hide a lost wake-up 100 times, not 4000.
                        ring.put(&message, &mut spinner, in_time()).unwrap();
                    }
                });
            }
            let getter = || {
                let mut spinner = Spinner::new(policy);
                let next = || {
                    let mut bytes = [0; 8];
                    ring.get(&mut bytes, &mut spinner, in_time()).unwrap();
                    Some(u64::from_le_bytes(bytes))
                };
                std::iter::from_fn(next).take(2000).collect::<Vec<_>>()
            };
            let getters = [scope.spawn(getter), scope.spawn(getter)];
            getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect()
        });
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!((sorted.len(), ring.len()), (4000, 0));
    }
}

#[test]
fn shutdown_wakes_sleepers() {
    for immediate in [false, true] {
        let empty = create(1);
        let full = create(1);
        full.try_put(b"x").unwrap();
        let sleep = || Spinner::new(WaitPolicy::Block);
        std::thread::scope(|scope| {
            let get = scope.spawn(|| empty.get(&mut [0; 8], &mut sleep(), in_time()));
            let put = scope.spawn(|| full.put(b"y", &mut sleep(), in_time()));
            std::thread::sleep(Duration::from_millis(20));
            empty.shutdown(immediate).unwrap();
            full.shutdown(immediate).unwrap();
            assert!(matches!(get.join().unwrap(), Err(GetError::ShutDown)));
            assert!(matches!(put.join().unwrap(), Err(PutError::ShutDown)));
        });
        assert_eq!(full.try_get(&mut [0; 8]).is_ok(), !immediate);
        assert!(matches!(full.try_get(&mut [0; 8]), Err(GetError::ShutDown)));
    }
}

#[test]
fn threads_that_end_give_their_actors_back() {
    let ring = create(1);
    for _ in 0..20 {
        std::thread::scope(|scope| {
            scope.spawn(|| ring.try_put(b"x").unwrap()).join().unwrap();
            scope.spawn(|| ring.try_get(&mut [0; 8]).unwrap()).join().unwrap();
        });
    }
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    // The spare one is left.
    assert_eq!(attachment.ring.actors().of(attachment.participant()).count(), 1);
}

/// Lets `first` fall asleep on the ring, then another on the same event; runs `wake`.
/// Says how the other's sleep ended.
fn behind_another_sleeper(
    ring: &SharedRing,
    first: impl FnOnce() + Send,
    wake: impl FnOnce(),
) -> Woken {
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let event = attachment.ring.not_empty();
    std::thread::scope(|scope| {
        scope.spawn(first);
        std::thread::sleep(Duration::from_millis(100));
        let sleeper = scope.spawn(|| {
            let end = Deadline::after(Duration::from_secs(10));
            event.sleep(event.announce(), end)
        });
        std::thread::sleep(Duration::from_millis(100));
        wake();
        sleeper.join().unwrap()
    })
}

#[test]
fn a_getter_that_gives_up_before_a_pending_message_wakes_another() {
    let ring = create(3);
    let attachment = ring.attachment().unwrap_or_else(|_| panic!("attached"));
    let give_up = || {
        let end = Deadline::after(Duration::from_millis(400));
        let got = ring.get(&mut [0; 8], &mut Spinner::new(WaitPolicy::Block), end);
        assert!(matches!(got, Err(GetError::Empty)));
    };
    let woken = behind_another_sleeper(&ring, give_up, || {
        // The first message stays in the making; the one behind it is there.
        let tail = attachment.ring.enqueue_pos.load(SeqCst);
        let actor = &mut *attachment.spare();
        attachment.ring.announce(actor, Announcement::put(tail));
        attachment.ring.claim_put(tail).unwrap();
        ring.try_put(b"second").unwrap();
    });
    assert_eq!(woken, Woken::Notified, "the wake-up for the second message is passed on");
}

#[test]
fn a_wait_for_several_passes_its_wake_up_on() {
    struct Source<'a>(&'a SharedRing);
    impl Waitable for Source<'_> {
        fn announce(&mut self) -> Option<(Event, Ticket)> {
            self.0.announce_getter()
        }
    }
    let ring = create(3);
    let look = || assert_eq!(wait_any(&mut [&mut Source(&ring)], in_time()), [0]);
    let woken = behind_another_sleeper(&ring, look, || ring.try_put(b"x").unwrap());
    assert_eq!(woken, Woken::Notified);
}
