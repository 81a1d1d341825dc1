//! What streams may cost others, whatever the bytes say: time, wake-ups, counts, waits.

use super::blocks::{get, put};
use super::stream_steps::{LEN, bytes, streaming};
use crate::memory::{Heap, Memory};
use crate::mpmc::layout::at;
use crate::mpmc::long::Place;
use crate::mpmc::stream::LONGEST_STREAM;
use crate::mpmc::word::marks;
use crate::mpmc::{
    Geometry, GetError, Incoming, Options, Phase, PutError, Ring, SharedRing, State, TryGet, TryPut,
};
use crate::peer::{Actor, Identity};
use crate::segment::Place as Where;
use crate::sync::Ordering::SeqCst;
use crate::wait::{Deadline, Spinner, WaitPolicy};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

fn shared() -> SharedRing {
    let options = Options {
        participants: 2,
        actors: 4,
        leases: 2,
        pool: 4096,
        streams: 2,
        ..Options::new(3, 16)
    };
    SharedRing::create(Where::Anonymous("test"), &options, 7).unwrap()
}

fn in_time() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn spinner() -> Spinner {
    Spinner::new(WaitPolicy::Block)
}

/// Takes the next message, which must be a stream.
fn incoming(ring: &SharedRing) -> Box<Incoming> {
    match ring.get(&mut [0; 16], &mut spinner(), in_time()) {
        Err(GetError::Stream(stream)) => stream,
        other => panic!("{other:?}"),
    }
}

/// The length is loaded once: what was checked is what is used.
#[test]
fn the_length_that_was_checked_counts() {
    let ring = shared();
    let message = bytes(1, LEN);
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| ring.put(&message, &mut spinner(), in_time()));
        let stream = incoming(&ring);
        assert_eq!(stream.len(), LEN);
        let inner = &ring.attachment().ok().unwrap().ring;
        let name = inner.cell(Place::lease(0));
        let word = name.word(at::slot::PAYLOAD + 8).unwrap();
        word.store((LONGEST_STREAM as u64) << 16 | word.load(SeqCst) & 0xFFFF, SeqCst);
        let mut got = Vec::new();
        let soon = Deadline::after(Duration::from_secs(5));
        assert!(stream.receive(&mut got, &mut spinner(), soon, None).unwrap());
        assert!(got == message);
        putter.join().unwrap().unwrap();
    });
}

/// What a buffer held is overwritten, be it longer or shorter than the message.
#[test]
fn a_buffer_that_was_used_before_ends_with_the_message() {
    let ring = shared();
    let message = bytes(1, LEN);
    for used in [LEN + 1000, LEN, LEN / 2, 1] {
        std::thread::scope(|scope| {
            let putter = scope.spawn(|| ring.put(&message, &mut spinner(), in_time()));
            let mut got = vec![0xEE; used];
            let stream = incoming(&ring);
            assert!(stream.receive(&mut got, &mut spinner(), in_time(), None).unwrap());
            assert!(got == message, "one of {used} bytes");
            putter.join().unwrap().unwrap();
        });
    }
}

/// A putter that just keeps pace with every piece does not keep a try for ever.
#[test]
fn a_try_beside_a_slow_putter_ends() {
    let ring = shared();
    let message = bytes(1, 1 << 20);
    let attachment = ring.attachment().ok().unwrap();
    let inner = &attachment.ring;
    let mut out = inner.open_stream(message.len(), attachment.participant()).unwrap();
    attachment.with_actor(|ring, actor| ring.offer_stream(actor, &mut out)).unwrap();
    let stream = incoming(&ring);
    let pace = Duration::from_millis(50);
    let over = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Pieces of 256 bytes: eight seconds in all.
            while over.load(SeqCst) == 0 {
                inner.write_stream(&mut out, &message);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let start = Instant::now();
        let got = stream.receive(&mut Vec::new(), &mut spinner(), Deadline::NEVER, Some(pace));
        let took = start.elapsed();
        over.store(1, SeqCst);
        assert!(matches!(got, Err(GetError::Empty)), "{got:?}");
        assert!(took < 40 * pace, "{took:?}");
    });
    // It is there still, for one with time enough.
    drop(incoming(&ring));
    inner.close_stream(out);
}

/// However many names of nothing there are, all are passed in one walk.
#[test]
fn names_of_nothing_cost_a_walk_in_all() {
    const SLOTS: u64 = 1 << 13;
    let options = Options {
        participants: 4,
        actors: 8,
        leases: 2,
        pool: 4096,
        streams: 2,
        ..Options::new(SLOTS, 16)
    };
    let geometry = Geometry::new(&options).unwrap();
    let memory = Memory::new(Heap::new(usize::try_from(geometry.total_len()).unwrap()));
    let ring = Ring::new(&memory, geometry).unwrap();
    ring.participants().join(1, Identity::default());
    let mut actor = ring.actors().claim(1, 0).unwrap();
    type Take = fn(&Ring, &mut Actor) -> Result<(), TryGet>;
    let takes: [Take; 3] = [
        |ring, actor| ring.try_get(actor, &mut [0; 16]).map(drop),
        |ring, actor| ring.try_get_task(actor, &mut [0; 16]).map(drop),
        |ring, actor| ring.try_take(actor).map(drop),
    ];
    for take in takes {
        for _ in 0..SLOTS {
            let mut out = ring.open_stream(LEN, 1).unwrap();
            ring.offer_stream(&mut actor, &mut out).unwrap();
            ring.close_stream(out);
        }
        // A peer says that all were taken and given back.
        for index in 0..SLOTS {
            let word = ring.cell(Place::slot(index));
            let word = word.state().unwrap();
            let lap = State(word.load(SeqCst)).lap();
            word.store(State::of(Phase::Redeliver, lap).0, SeqCst);
        }
        ring.dequeue_pos.store(ring.enqueue_pos.load(SeqCst), SeqCst);
        ring.set_mark(marks::REDELIVER);
        let start = Instant::now();
        assert_eq!(take(&ring, &mut actor), Err(TryGet::Empty));
        let took = start.elapsed();
        // A walk for each of them takes a hundred times as long.
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(ring.len(), 0);
    }
}

/// A full ring in which a withdrawn stream is behind a message: taking that makes room for two.
#[test]
fn a_message_taken_before_a_name_of_nothing_makes_room_for_two() {
    let ring = streaming(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    put(&ring, &mut actor, 1, 100).unwrap();
    let mut out = ring.open_stream(LEN, 1).unwrap();
    ring.offer_stream(&mut actor, &mut out).unwrap();
    put(&ring, &mut actor, 2, 100).unwrap();
    let (asleep, done) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for n in 10..12 {
            let (ring, asleep, done) = (&ring, &asleep, &done);
            scope.spawn(move || {
                let mut actor = ring.actors().claim(3, 0).unwrap();
                let mut slept = false;
                loop {
                    let ticket = ring.not_full().announce();
                    match put(ring, &mut actor, n, 100) {
                        Ok(()) => break,
                        Err(TryPut::Full) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                    if !slept {
                        asleep.fetch_add(1, SeqCst);
                        slept = true;
                    }
                    ring.not_full().sleep(ticket, in_time());
                }
                done.fetch_add(1, SeqCst);
            });
        }
        let pause = || std::thread::sleep(Duration::from_millis(50));
        while asleep.load(SeqCst) < 2 {
            pause();
        }
        pause();
        assert!(!ring.close_stream(out));
        // It wakes one, which finds the older message still in its way.
        pause();
        assert_eq!(get(&ring, &mut actor), Ok(1));
        let deadline = in_time();
        while done.load(SeqCst) < 2 {
            assert!(deadline.remaining().unwrap() > Duration::from_secs(50), "one sleeps on");
            pause();
        }
    });
    assert_eq!((ring.len(), ring.is_full()), (3, true));
}

/// In a ring that was shut down one getter has the last stream: others may sleep until it is
/// taken, withdrawn or given back, and are told.
#[test]
fn the_end_of_the_last_stream_wakes_those_who_wait_for_any() {
    for withdrawn in [false, true] {
        let ring = shared();
        let message = bytes(1, LEN);
        std::thread::scope(|scope| {
            let deadline =
                if withdrawn { Deadline::after(Duration::from_millis(50)) } else { in_time() };
            let (ring, message) = (&ring, &message);
            let putter = scope.spawn(move || ring.put(message, &mut spinner(), deadline));
            let stream = incoming(ring);
            ring.shutdown(false).unwrap();
            let (event, ticket) = ring.announce_getter().expect("no get would say more");
            assert!(matches!(ring.try_get(&mut [0; 16]), Err(GetError::Empty)));
            if withdrawn {
                assert!(matches!(putter.join().unwrap(), Err(PutError::Full)));
                drop(stream);
            } else {
                stream.refuse();
                putter.join().unwrap().unwrap();
            }
            assert!(event.moved_since(ticket), "nobody was told");
            assert!(ring.announce_getter().is_none());
            assert!(matches!(ring.try_get(&mut [0; 16]), Err(GetError::ShutDown)));
        });
    }
}

/// A stream that was accepted before the shutdown is one put.
#[test]
fn a_stream_put_after_the_shutdown_counts_once() {
    let ring = shared();
    let message = bytes(1, LEN);
    ring.set_overflow(1).unwrap();
    ring.shutdown(false).unwrap();
    std::thread::scope(|scope| {
        let putter = scope
            .spawn(|| ring.put_accepted(&message, &|| false, &|| ring.moved_overflow(0).unwrap()));
        let mut got = Vec::new();
        let stream = incoming(&ring);
        assert!(stream.receive(&mut got, &mut spinner(), in_time(), None).unwrap());
        assert!(got == message);
        putter.join().unwrap().unwrap();
    });
    let inner = &ring.attachment().ok().unwrap().ring;
    assert_eq!(inner.actors().totals(), (1, 1), "puts and gets");
}

/// The getter finds bytes that make no sense and takes nothing any more: its putter does not
/// wait for it.
#[test]
fn a_stream_that_makes_no_sense_ends_for_its_putter_too() {
    let ring = shared();
    let message = bytes(1, LEN);
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| {
            let soon = Deadline::after(Duration::from_secs(10));
            ring.put(&message, &mut spinner(), soon)
        });
        let stream = incoming(&ring);
        let inner = &ring.attachment().ok().unwrap().ring;
        let record = inner.streams.get(0).unwrap();
        // The putter sleeps on a full buffer by now.
        std::thread::sleep(Duration::from_millis(50));
        record.written.store(record.written.load(SeqCst) + LEN as u64, SeqCst);
        let got = stream.receive(&mut Vec::new(), &mut spinner(), in_time(), None);
        assert!(matches!(got, Err(GetError::Corrupted(_))), "{got:?}");
        let put = putter.join().unwrap();
        assert!(matches!(put, Err(PutError::Corrupted(_))), "{put:?}");
        assert!(inner.streams.iter().all(|record| record.truth().is_free()));
        assert_eq!(inner.blocks_used(), 0);
    });
}

/// Waits until `count` threads of this process are in `get`, asleep as far as one can tell.
fn asleep(ring: &SharedRing, begun: &AtomicU32, count: u32) {
    let deadline = in_time();
    let event = || ring.attachment().ok().unwrap().ring.not_empty().may_have_sleepers();
    while begun.load(SeqCst) < count || !event() {
        assert!(!deadline.passed(), "nobody sleeps");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Beyond the short sleeps that a claim on its way makes them take.
    std::thread::sleep(Duration::from_millis(300));
}

/// After a shutdown two getters wait for a stream that another hands back, between whose steps it
/// is withdrawn: both are told the end.
#[test]
fn a_stream_withdrawn_while_it_is_handed_back_ends_every_wait() {
    let ring = shared();
    let attachment = ring.attachment().ok().unwrap();
    let inner = &attachment.ring;
    let mut out = inner.open_stream(LEN, attachment.participant()).unwrap();
    attachment.with_actor(|ring, actor| ring.offer_stream(actor, &mut out)).unwrap();
    let stream = incoming(&ring);
    ring.shutdown(false).unwrap();
    let (begun, start) = (AtomicU32::new(0), Instant::now());
    std::thread::scope(|scope| {
        let getters = [(); 2].map(|()| {
            scope.spawn(|| {
                begun.fetch_add(1, SeqCst);
                ring.get(&mut [0; 16], &mut spinner(), in_time())
            })
        });
        asleep(&ring, &begun, 2);
        // The steps of `hand_back_stream`.
        let place = Place::lease(0);
        let cell = inner.cell(place);
        let word = cell.state().unwrap();
        word.store(State::of(Phase::Redeliver, State(word.load(SeqCst)).lap()).0, SeqCst);
        asleep(&ring, &begun, 2);
        inner.close_stream(out);
        asleep(&ring, &begun, 2);
        inner.set_mark(marks::REDELIVER);
        // Before the wake-up, as if whom that wakes came late.
        inner.drop_handed_back(place);
        inner.not_empty().notify();
        for getter in getters {
            assert!(matches!(getter.join().unwrap(), Err(GetError::ShutDown)));
        }
    });
    assert!(start.elapsed() < Duration::from_secs(30), "one slept to its deadline");
    std::mem::forget(stream);
}

/// After a shutdown two getters of one process wait for what another process holds. It comes
/// back, and one of them holds it: the other is told the end, for it would wait for itself.
#[test]
fn who_takes_what_came_back_ends_the_wait_of_its_own_process() {
    let ring = shared();
    let attachment = ring.attachment().ok().unwrap();
    let inner = &attachment.ring;
    ring.try_put(&[7; 8]).unwrap();
    let grant = ring.try_get_ref().unwrap();
    let place = Place::lease(0);
    let cell = inner.cell(place);
    let word = cell.state().unwrap();
    let lap = State(word.load(SeqCst)).lap();
    // Another process has it.
    let other = 3 - attachment.participant();
    word.store(State::owned(Phase::Taken, lap, other).0, SeqCst);
    std::mem::forget(grant);
    ring.shutdown(false).unwrap();
    let (begun, ended, start) = (AtomicU32::new(0), AtomicU32::new(0), Instant::now());
    std::thread::scope(|scope| {
        let getters = [(); 2].map(|()| {
            scope.spawn(|| {
                begun.fetch_add(1, SeqCst);
                let got = ring.get_ref(&mut spinner(), in_time());
                ended.fetch_add(1, SeqCst);
                // Held until the other has been told.
                while ended.load(SeqCst) < 2 && start.elapsed() < Duration::from_secs(90) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                got.map(drop)
            })
        });
        asleep(&ring, &begun, 2);
        inner.give_back(place);
        let ends = getters.map(|getter| getter.join().unwrap());
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1, "{ends:?}");
    });
    assert!(start.elapsed() < Duration::from_secs(30), "one slept to its deadline");
}

/// A task that is given back while somebody counts, between the looks at the ring and at what is
/// held, is in one of the two.
#[test]
fn a_task_handed_back_amidst_a_count_is_not_missed() {
    let ring = shared();
    ring.try_put(&[7; 8]).unwrap();
    let mut grant = Some(ring.try_get_ref_task().unwrap());
    let inner = &ring.attachment().ok().unwrap().ring;
    assert_eq!(inner.count_unfinished(|| drop(grant.take())), 1);
}
