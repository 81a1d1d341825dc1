//! Litmus tests: the orderings that no model of ours can weaken, run millions of times by
//! two real processes on the engine's own code. On x86-64 they fail if the compiler
//! reorders or a full fence is missing; on weaker machines also if a release or an acquire
//! is. `docs/ordering.md` says which edges rest on them.
#![cfg(not(loom))]

mod common;

use common::{Scene, fork};
use ringway_core::memory::{Memory, Out, Way};
use ringway_core::mpmc::{Geometry, Options, Ring};
use ringway_core::peer::Identity;
use ringway_core::segment::{BODY, Kind, NewSegment, PARAMS, Place, Spec};
use ringway_core::spsc::{CONTROL_LEN, Consumer, Direction, Head, Piece, Producer};
use ringway_core::sync::AtomicU64;
use ringway_core::sync::Ordering::{Acquire, Relaxed, Release};
use ringway_core::wait::{Event, barrier};
use std::ptr::null_mut;
use std::sync::atomic::AtomicPtr;
use std::time::{Duration, Instant};

/// Words of a message: enough that a copy takes a while.
const WORDS: usize = 500;
const BYTES: usize = 8 * WORDS;
/// How long each goes on.
const TIME: Duration = Duration::from_millis(800);

/// Memory that forked children share.
fn shared(len: u64) -> Memory {
    let spec = Spec { kind: Kind::Pipe, signature: 0, params: [0; PARAMS], body_len: len };
    let segment = NewSegment::create(Place::Anonymous("ringway-litmus"), &spec).unwrap();
    segment.memory().clone()
}

/// Looks until `done`; lets others run now and then, for the machine may be busy.
fn until(mut done: impl FnMut() -> bool) {
    for look in 1_u32.. {
        if done() {
            return;
        }
        if look % 512 == 0 {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

/// Rounds of a sleeper, which announces itself and then looks, and a waker in another
/// process, which publishes and then looks. Returns the rounds, and in how many of them
/// neither saw the other: there the sleeper would have slept on.
fn store_then_look(barrier: impl Fn()) -> (u64, u64) {
    let memory = shared(1024);
    let word = |at: u64| memory.word64(BODY + at).unwrap();
    let (go, done, published) = (word(0), word(128), word(256));
    let event = Event::new(memory.word32(BODY + 384).unwrap());
    const END: u64 = u64::MAX;
    let waker = {
        let (go, done, published) = (go.clone(), done.clone(), published.clone());
        let event = event.clone();
        fork(move || {
            barrier::registered();
            done.store(END, Release);
            for round in 1.. {
                until(|| go.load(Acquire) >= round);
                if go.load(Acquire) == END {
                    return;
                }
                published.store(round, Relaxed);
                event.notify();
                done.store(round, Release);
            }
        })
    };
    until(|| done.load(Acquire) == END);
    let (start, mut crossed, mut rounds) = (Instant::now(), 0, 0);
    while start.elapsed() < TIME {
        for _ in 0..64 {
            rounds += 1;
            go.store(rounds, Release);
            // The two come together in one round and miss each other in the next.
            for _ in 0..rounds % 97 {
                std::hint::spin_loop();
            }
            let ticket = event.announce();
            barrier();
            let seen = published.load(Relaxed) == rounds;
            until(|| done.load(Acquire) == rounds);
            crossed += u64::from(!seen && !event.moved_since(ticket));
            // Takes the bit down: nobody sleeps.
            event.notify();
        }
    }
    go.store(END, Release);
    waker.join();
    (rounds, crossed)
}

/// event-announce, membarrier: the waker publishes with a plain store and has no fence.
#[test]
fn either_the_sleeper_or_the_waker_sees_the_other() {
    let _scene = Scene::begin();
    if !barrier::heavy() {
        println!("this system refuses membarrier: sleepers sleep shortly first");
        return;
    }
    let (rounds, crossed) = store_then_look(|| assert!(barrier::heavy()));
    // What it is for: without it both look too early, if the processors overlap at all.
    let (without, lost) = store_then_look(|| {});
    println!(
        "with the barrier {crossed} of {rounds} rounds crossed, without it {lost} of {without}"
    );
    assert_eq!(crossed, 0, "of {rounds} rounds");
}

/// ring-publish, ring-release: whole chunks, each read before it is overwritten.
#[test]
fn a_chunk_is_whole_and_not_overwritten() {
    let _scene = Scene::begin();
    chunks(16 << 10, WORDS);
}

/// ring-publish: copies of more than a page may be made of stores that no release store orders, and
/// of a fence that does.
#[test]
fn a_long_chunk_is_whole_and_not_overwritten() {
    let _scene = Scene::begin();
    chunks(64 << 10, 1200);
}

/// The same without a ring, which might choose the other way. Fails without the fence.
#[test]
fn a_copy_past_the_cache_is_whole() {
    let _scene = Scene::begin();
    const WORDS: usize = 1200;
    const LAST: u64 = 1 << 63;
    let memory = shared(4096 + 8 * WORDS as u64);
    let word = |at: u64| memory.word64(BODY + at).unwrap();
    let (there, back) = (word(0), word(128));
    let region = memory.region(BODY + 4096, 8 * WORDS as u64).unwrap();
    let child = {
        let (there, back, region) = (there.clone(), back.clone(), region.clone());
        fork(move || {
            let start = Instant::now();
            for n in 1_u64.. {
                let last = n % 64 == 0 && start.elapsed() > TIME;
                let bytes = n.to_ne_bytes().repeat(WORDS);
                region.copy_in_by(Way::Past, 0, &bytes).unwrap();
                there.store(if last { n | LAST } else { n }, Release);
                until(|| back.load(Acquire) == n);
                if last {
                    return;
                }
            }
        })
    };
    let (mut late, mut torn) = (0_u64, 0_u64);
    for n in 1_u64.. {
        until(|| there.load(Acquire) & !LAST == n);
        // What was stored last first: there is the least time for it to have come.
        let end = [1, 2].map(|lines| region.word(8 * (WORDS - 8 * lines)).unwrap().load(Relaxed));
        let mut bytes = [0; 8 * WORDS];
        region.copy_out(0, &mut bytes).unwrap();
        let (words, _) = bytes.as_chunks::<8>();
        // Counted, for the child would wait for who panics.
        late += u64::from(end != [n; 2]);
        torn += u64::from(words.iter().any(|word| *word != n.to_ne_bytes()));
        // Relaxed: seen before, and the child waits.
        let last = there.load(Relaxed) & LAST != 0;
        back.store(n, Release);
        if last {
            break;
        }
    }
    child.join();
    assert_eq!((late, torn), (0, 0), "late and torn");
}

fn chunks(capacity: u64, words: usize) {
    let memory = shared(CONTROL_LEN + capacity);
    let ring = || Direction::new(&memory, BODY, BODY + CONTROL_LEN, capacity).unwrap();
    let mut producer = Producer::new(ring()).unwrap();
    let child = fork(move || {
        let start = Instant::now();
        for n in 1_u64.. {
            let last = n % 64 == 0 && start.elapsed() > TIME;
            let n = if last { 0 } else { n };
            let bytes = n.to_ne_bytes().repeat(words);
            until(|| producer.try_push(&bytes).is_ok());
            if last {
                return;
            }
        }
    });
    let mut consumer = Consumer::new(ring()).unwrap();
    for n in 1_u64.. {
        let mut bytes = vec![0; 8 * words];
        until(|| consumer.whole() == Some(bytes.len()));
        // What was stored last first: there is the least time for it to have come.
        let mut end = [0; 256];
        let whole = Head { piece: Piece::Whole, len: bytes.len() };
        consumer.payload(whole).read_at(bytes.len() - end.len(), &mut end).unwrap();
        consumer.take_whole(&mut bytes);
        assert_eq!(bytes[bytes.len() - end.len()..], end, "came late");
        let first = u64::from_ne_bytes(*bytes.first_chunk().unwrap());
        assert!(bytes.as_chunks::<8>().0.iter().all(|word| *word == first.to_ne_bytes()), "torn");
        if first == 0 {
            break;
        }
        assert_eq!(first, n);
    }
    child.join();
}

/// Copies out of messages that fill the caches are made of stores that nothing orders but the fence
/// behind them: who is handed such a message by another thread sees all of it. Fails without the fence.
#[test]
#[allow(unsafe_code, reason = "a lock, which is the safe way, would be a fence by itself")]
fn a_message_copied_away_is_whole_for_another_thread() {
    let _scene = Scene::begin();
    const LEN: usize = 64 << 10;
    let region = shared(LEN as u64).region(BODY, LEN as u64).unwrap();
    let (there, back) = (AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut()));
    let (mut rounds, mut late, mut torn) = (0_u64, 0_u64, 0_u64);
    let take = |from: &AtomicPtr<[u8; LEN]>| {
        let mut message = null_mut();
        until(|| {
            message = from.load(Acquire);
            !message.is_null()
        });
        from.store(null_mut(), Relaxed);
        // SAFETY: whoever stored it had it of a box and gave it up; each is taken once, by the only
        // thread that looks here.
        unsafe { Box::from_raw(message) }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            let mut message = Box::new([0; LEN]);
            for n in 1_u64.. {
                let last = n % 64 == 0 && start.elapsed() > TIME;
                let n = if last { 0 } else { n };
                region.copy_in(0, &n.to_ne_bytes().repeat(LEN / 8)).unwrap();
                region.copy_out_by(Out::Away, 0, &mut message[..]).unwrap();
                there.store(Box::into_raw(message), Release);
                message = take(&back);
                if last {
                    return;
                }
            }
        });
        for n in 1_u64.. {
            let message = take(&there);
            let (words, _) = message.as_chunks::<8>();
            // What was stored last first, as above, but for the last line: its bytes go twice, and
            // first the usual way.
            let end = words[words.len() - 24..].to_vec();
            let last = words[0] == [0; 8];
            let n = if last { 0_u64 } else { n };
            // Counted, for the other thread would wait for who panics.
            late += u64::from(end.iter().any(|word| *word != n.to_ne_bytes()));
            torn += u64::from(words.iter().any(|word| *word != n.to_ne_bytes()));
            rounds += 1;
            back.store(Box::into_raw(message), Release);
            if last {
                break;
            }
        }
    });
    assert_eq!((late, torn), (0, 0), "late and torn messages of {rounds}");
}

/// A ring of `slots` and its two participants.
fn slots(slots: u64, payload: u32) -> impl Fn() -> Ring {
    let options = Options { participants: 2, actors: 2, ..Options::new(slots, payload) };
    let geometry = Geometry::new(&options).unwrap();
    let memory = shared(geometry.total_len());
    let ring = move || Ring::new(&memory, geometry).unwrap();
    ring().participants().join(1, Identity::default());
    ring().participants().join(2, Identity::default());
    ring
}

/// mpmc-commit: a getter copies a message before its slot is used again.
#[test]
fn a_slot_is_reused_only_after_it_was_copied() {
    let _scene = Scene::begin();
    let ring = slots(2, 4000);
    let there = ring();
    let child = fork(move || {
        let mut actor = there.actors().claim(2, 0).unwrap();
        let start = Instant::now();
        for n in 1_u64.. {
            let last = n % 64 == 0 && start.elapsed() > TIME;
            let n = if last { 0 } else { n };
            let bytes = [n.to_ne_bytes(); WORDS].concat();
            until(|| there.try_put(&mut actor, &bytes).is_ok());
            if last {
                return;
            }
        }
    });
    let here = ring();
    let mut actor = here.actors().claim(1, 1).unwrap();
    for n in 1_u64.. {
        let mut bytes = [0; BYTES];
        until(|| here.try_get(&mut actor, &mut bytes) == Ok(BYTES));
        let first = u64::from_ne_bytes(*bytes.first_chunk().unwrap());
        assert!(bytes.as_chunks::<8>().0.iter().all(|word| *word == first.to_ne_bytes()), "torn");
        if first == 0 {
            break;
        }
        assert_eq!(first, n);
    }
    child.join();
}

/// mpmc-announce: whoever reads a later announcement finds the earlier put committed.
#[test]
fn a_later_announcement_comes_after_the_commit() {
    let _scene = Scene::begin();
    let ring = slots(64, 8);
    let there = ring();
    let memory = shared(8);
    let end = memory.word64(BODY).unwrap();
    let over = |end: &AtomicU64| end.load(Relaxed) == 1;
    let child = {
        let end = end.clone();
        fork(move || {
            let mut actor = there.actors().claim(2, 0).unwrap();
            while !over(&end) {
                until(|| there.try_put(&mut actor, &[1; 8]).is_ok() || over(&end));
            }
        })
    };
    let here = ring();
    let mut actor = here.actors().claim(1, 1).unwrap();
    let (start, mut got) = (Instant::now(), 0_u64);
    // With 64 slots a position is the number of puts before it.
    while start.elapsed() < TIME {
        let Some(position) = here.actors().announcement(0).as_put() else {
            // The ring is full, or nobody has begun.
            got += u64::from(here.try_get(&mut actor, &mut [0; 8]) == Ok(8));
            std::thread::yield_now();
            continue;
        };
        while got < position {
            let taken = here.try_get(&mut actor, &mut [0; 8]);
            assert_eq!(taken, Ok(8), "put {got} is not there, but {position} is announced");
            got += 1;
        }
    }
    end.store(1, Relaxed);
    child.join();
    assert!(got > 0);
}
