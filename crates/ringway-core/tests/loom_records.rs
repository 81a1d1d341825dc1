//! Models of everything beside the rings: records, counts, marks and the header. Each is
//! as small as the edge it shows.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ringway-core --test loom_records`
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use loom::thread;
use ringway_core::memory::Memory;
use ringway_core::mpmc::{Announcement, Geometry, Options, Recovery, Ring, TryGet};
use ringway_core::peer::{Actor, Identity, Liveness, Standing};
use ringway_core::segment::{Header, Kind, PARAMS, Spec};
use ringway_core::wait::{Deadline, Event};

/// Participant 2 is dead; nobody else is.
struct SecondIsDead;

impl Liveness for SecondIsDead {
    fn proven_dead(&self, participant: u32) -> bool {
        participant == 2
    }
    fn alone(&self, _: u32, body: &mut dyn FnMut()) -> bool {
        body();
        true
    }
}

/// Runs `body` in every interleaving with up to three preemptions.
fn explore(body: impl Fn() + Send + Sync + 'static) {
    explore_up_to(3, body);
}

/// As [`explore`]; fewer for `Memory::interleaved`, which tries a switch at every access.
fn explore_up_to(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(body);
}

fn ring_in(memory: fn(usize) -> Memory) -> Arc<Ring> {
    let options = Options { participants: 2, actors: 3, ..Options::new(1, 8) };
    let geometry = Geometry::new(&options).unwrap();
    let len = usize::try_from(geometry.total_len()).unwrap();
    Arc::new(Ring::new(&memory(len), geometry).unwrap())
}

fn ring() -> Arc<Ring> {
    ring_in(Memory::modelled)
}

/// A ring that both participants joined, and an actor of the first.
fn joined() -> (Arc<Ring>, Actor) {
    joined_in(Memory::modelled)
}

fn joined_in(memory: fn(usize) -> Memory) -> (Arc<Ring>, Actor) {
    let ring = ring_in(memory);
    ring.participants().join(1, Identity::default());
    ring.participants().join(2, Identity::default());
    let actor = ring.actors().claim(1, 0).unwrap();
    (ring, actor)
}

fn get(ring: &Ring, actor: &mut Actor) -> Result<u64, TryGet> {
    let mut bytes = [0; 8];
    assert_eq!(ring.try_get(actor, &mut bytes)?, 8);
    Ok(u64::from_le_bytes(bytes))
}

/// segment-ready: whoever finds the header complete finds it right.
#[test]
fn a_header_that_is_ready_is_complete() {
    explore(|| {
        let memory = Memory::modelled(4096 + 64);
        // Loom makes a word at its first use, which must come before the threads.
        memory.words64(0, 24, 8).unwrap();
        for at in [8, 12, 16, 20] {
            memory.word32(at).unwrap();
        }
        let creator = {
            let memory = memory.clone();
            thread::spawn(move || {
                let spec =
                    Spec { kind: Kind::Pipe, signature: 7, params: [3; PARAMS], body_len: 64 };
                Header::write(&memory, &spec, 9).unwrap();
                Header::publish(&memory).unwrap();
            })
        };
        match Header::read(&memory, "it") {
            Ok(header) => {
                assert_eq!((header.signature, header.nonce, header.params), (7, 9, [3; PARAMS]));
            }
            // What is looked at only after it said that it is ready.
            Err(why) => assert!(!why.to_string().contains("its length"), "{why}"),
        }
        creator.join().unwrap();
    });
}

/// participant-standing: whoever sees a participant sees who it is.
#[test]
fn who_is_there_has_a_name() {
    explore(|| {
        let ring = ring();
        let joiner = {
            let ring = Arc::clone(&ring);
            let identity = Identity { pid: 5, ..Identity::default() };
            thread::spawn(move || ring.participants().join(2, identity))
        };
        if ring.participants().standing(2) == Standing::Live {
            assert_eq!(ring.participants().identity(2).pid, 5);
        }
        joiner.join().unwrap();
    });
}

/// participant-standing: whoever finds a record free finds what its holder left.
#[test]
fn who_is_gone_has_departed() {
    explore(|| {
        let (ring, _) = joined();
        let data = Arc::new(AtomicU64::new(0));
        let leaver = {
            let (ring, data) = (Arc::clone(&ring), Arc::clone(&data));
            thread::spawn(move || {
                data.store(1, Relaxed);
                ring.participants().free(2);
            })
        };
        if ring.participants().standing(2) == Standing::Free {
            assert_eq!(data.load(Relaxed), 1);
        }
        leaver.join().unwrap();
    });
}

/// table-changes: whoever sees the count sees the change.
#[test]
fn a_changed_table_has_changed() {
    explore(|| {
        let (ring, _) = joined();
        let before = ring.participants().changes().1;
        let leaver = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.participants().free(2))
        };
        if ring.participants().changes().1 > before {
            assert_eq!(ring.participants().standing(2), Standing::Free);
        }
        leaver.join().unwrap();
    });
}

/// actor-record: the next actor goes on counting where the last one stopped.
#[test]
fn an_actor_goes_on_where_the_last_one_stopped() {
    explore(|| {
        let options = Options { participants: 2, actors: 1, ..Options::new(2, 8) };
        let geometry = Geometry::new(&options).unwrap();
        let len = usize::try_from(geometry.total_len()).unwrap();
        let ring = Arc::new(Ring::new(&Memory::modelled(len), geometry).unwrap());
        let put = |ring: &Ring| {
            let mut actor = ring.actors().claim(1, 0)?;
            let put = ring.try_put(&mut actor, &[7; 8]);
            ring.actors().release(actor);
            put.ok()
        };
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || put(&ring).is_some())
        };
        let mine = put(&ring).is_some();
        let both = u64::from(mine) + u64::from(other.join().unwrap());
        assert_eq!(ring.actors().totals().0, both);
    });
}

/// overflow-count: whoever sees that an item waits no more finds it in the ring.
#[test]
fn an_item_that_waits_no_more_is_in_the_ring() {
    explore_up_to(2, || {
        let (ring, mut actor) = joined_in(Memory::interleaved);
        ring.participants().set_overflow(1, 1);
        let feeder = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                // A put in steps, without the look for sleepers: its fence, which only
                // the model has, would order what the count must.
                ring.announce(&mut actor, Announcement::put(0));
                ring.claim_put(0).unwrap();
                ring.write(0, &[7; 8]);
                ring.publish(0);
                ring.participants().set_overflow(1, 0);
            })
        };
        if ring.participants().overflow() == 0 {
            assert_eq!(ring.len(), 1);
        }
        feeder.join().unwrap();
    });
}

/// accept-or-shutdown: an item that was accepted is not left behind by a getter that
/// learns of the shutdown.
#[test]
fn accepted_or_shut_down() {
    explore(|| {
        let (ring, mut actor) = joined();
        let putter = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.participants().set_overflow(1, 1);
                ring.accepts()
            })
        };
        ring.shutdown(&mut actor, false);
        let got = get(&ring, &mut actor);
        let accepted = putter.join().unwrap();
        assert!(!accepted || got != Err(TryGet::ShutDown), "accepted and then left behind");
    });
}

/// mpmc-shutdown: whoever sees the shutdown sees what was done before.
#[test]
fn what_was_done_before_the_shutdown() {
    explore(|| {
        let (ring, mut actor) = joined();
        let data = Arc::new(AtomicU64::new(0));
        let closer = {
            let (ring, data) = (Arc::clone(&ring), Arc::clone(&data));
            thread::spawn(move || {
                data.store(1, Relaxed);
                ring.shutdown(&mut actor, false);
            })
        };
        if ring.is_shut_down() {
            assert_eq!(data.load(Relaxed), 1);
        }
        closer.join().unwrap();
    });
}

/// event-sequence: whoever finds itself woken finds what it was woken for.
#[test]
fn what_a_wake_up_was_for() {
    for everybody in [false, true] {
        explore(move || {
            let event = Event::new(Memory::modelled(8).word32(0).unwrap());
            let data = Arc::new(AtomicU64::new(0));
            let ticket = event.announce();
            let waker = {
                let (event, data) = (event.clone(), Arc::clone(&data));
                thread::spawn(move || {
                    data.store(1, Relaxed);
                    if everybody { event.broadcast() } else { event.notify() }
                })
            };
            if event.moved_since(ticket) {
                assert_eq!(data.load(Relaxed), 1);
            }
            waker.join().unwrap();
        });
    }
}

/// event-announce and event-sequence: a wake-up for all takes the bit down, but not that of one who
/// announced itself since. A lost wake-up is a deadlock of the model.
#[test]
fn nobody_sleeps_where_the_bit_was_taken_down() {
    explore_up_to(3, || {
        let event = Event::new(Memory::modelled(8).word32(0).unwrap());
        let done = Arc::new(AtomicU64::new(0));
        let waker = {
            let (event, done) = (event.clone(), Arc::clone(&done));
            thread::spawn(move || {
                for _ in 0..2 {
                    done.fetch_add(1, SeqCst);
                    // Loom gives SeqCst accesses no one order: the fences do.
                    fence(SeqCst);
                    event.notify_all();
                }
            })
        };
        while done.load(SeqCst) < 2 {
            let ticket = event.announce();
            fence(SeqCst);
            if done.load(SeqCst) < 2 {
                event.sleep(ticket, Deadline::NEVER);
            }
        }
        waker.join().unwrap();
    });
}

/// event-announce: whoever sees a sleeper sees what it did before.
#[test]
fn what_a_sleeper_did_before() {
    explore(|| {
        let event = Event::new(Memory::modelled(8).word32(0).unwrap());
        let data = Arc::new(AtomicU64::new(0));
        let sleeper = {
            let (event, data) = (event.clone(), Arc::clone(&data));
            thread::spawn(move || {
                data.store(1, Relaxed);
                event.announce();
            })
        };
        if event.may_have_sleepers() {
            assert_eq!(data.load(Relaxed), 1);
        }
        sleeper.join().unwrap();
    });
}

/// tasks-held and tasks-departed: an item that a dead process had taken is in its count or
/// back in the ring, whenever one looks.
#[test]
fn an_item_of_the_dead_is_never_missed() {
    explore_up_to(2, || {
        let (ring, mut actor) = joined_in(Memory::interleaved);
        ring.try_put(&mut actor, &[7; 8]).unwrap();
        // It counted, claimed, and was killed.
        ring.participants().tasks(2).unwrap().store(1, Relaxed);
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::get(0));
        ring.claim_get(0).unwrap();
        let repairer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || assert_eq!(ring.recover(2, &SecondIsDead), Recovery::Done))
        };
        assert!(ring.unfinished() > 0);
        repairer.join().unwrap();
        assert_eq!(ring.unfinished(), 1);
    });
}

/// tasks-held: a task is counted before it leaves the ring.
#[test]
fn a_task_on_its_way_is_never_missed() {
    explore(|| {
        let (ring, mut actor) = joined();
        ring.try_put(&mut actor, &[7; 8]).unwrap();
        let taker = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.participants().count_tasks(1, 1);
                get(&ring, &mut actor).unwrap();
            })
        };
        assert!(ring.unfinished() > 0);
        taker.join().unwrap();
    });
}

/// actor-record: whoever finds a record given back sees all that its actor did.
#[test]
fn a_record_given_back_is_done_with() {
    explore(|| {
        let (ring, actor) = joined();
        let index = actor.index();
        let data = Arc::new(AtomicU64::new(0));
        let user = {
            let (ring, data) = (Arc::clone(&ring), Arc::clone(&data));
            thread::spawn(move || {
                data.store(1, Relaxed);
                ring.actors().release(actor);
            })
        };
        if ring.actors().participant(index) == 0 {
            assert_eq!(data.load(Relaxed), 1);
        }
        user.join().unwrap();
    });
}

/// mpmc-mark: a getter that sees the mark finds what is marked, and does not take the mark
/// down.
#[test]
fn a_mark_comes_with_its_slot() {
    explore_up_to(2, || {
        let (ring, mut actor) = joined_in(Memory::interleaved);
        ring.try_put(&mut actor, &[7; 8]).unwrap();
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::get(0));
        ring.claim_get(0).unwrap();
        let repairer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || assert_eq!(ring.recover(2, &SecondIsDead), Recovery::Done))
        };
        let early = get(&ring, &mut actor).is_ok();
        repairer.join().unwrap();
        let late = get(&ring, &mut actor).is_ok();
        assert!(early != late, "the message came {early} and {late}");
    });
}

/// mpmc-commit: a getter passes a hole that repair buries, and the ring goes on.
#[test]
fn a_hole_being_buried() {
    explore_up_to(2, || {
        let (ring, mut actor) = joined_in(Memory::interleaved);
        let mut dead = ring.actors().claim(2, 0).unwrap();
        ring.announce(&mut dead, Announcement::put(0));
        ring.claim_put(0).unwrap();
        let repairer = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || assert_eq!(ring.recover(2, &SecondIsDead), Recovery::Done))
        };
        let early = get(&ring, &mut actor).unwrap_err();
        assert!(matches!(early, TryGet::Empty | TryGet::Pending(_)), "{early:?}");
        repairer.join().unwrap();
        assert_eq!(get(&ring, &mut actor), Err(TryGet::Empty));
        assert_eq!(ring.len(), 0);
        assert_eq!(ring.try_put(&mut actor, &[8; 8]), Ok(()));
    });
}

/// mpmc-mark: a getter that finds nothing takes down the mark of an earlier repair, and not
/// that of a later one.
#[test]
fn an_old_mark_and_a_new_one() {
    explore_up_to(2, || {
        let (ring, mut actor) = joined_in(Memory::interleaved);
        let die_getting = |ring: &Ring, position, actor: &mut Actor, n: u64| {
            ring.try_put(actor, &n.to_le_bytes()).unwrap();
            let mut dead = ring.actors().claim(2, 0).unwrap();
            ring.announce(&mut dead, Announcement::get(position));
            // Lost where the getter was quicker: then it died before.
            let _ = ring.claim_get(position);
            ring.recover(2, &SecondIsDead)
        };
        assert_eq!(die_getting(&ring, 0, &mut actor, 7), Recovery::Done);
        assert_eq!(get(&ring, &mut actor), Ok(7));
        ring.participants().join(2, Identity::default());
        let mut getter = ring.actors().claim(1, 1).unwrap();
        let other = {
            let ring = Arc::clone(&ring);
            // This one puts, too: what it wrote comes to the getter by no other way.
            thread::spawn(move || {
                ring.actors().release(actor);
                let mut actor = ring.actors().claim(1, 0).unwrap();
                die_getting(&ring, 1, &mut actor, 9)
            })
        };
        let early = get(&ring, &mut getter);
        assert!(matches!(early, Ok(9) | Err(TryGet::Empty | TryGet::Pending(_))), "{early:?}");
        // The getter may have announced the same position: then repair waits for it.
        if other.join().unwrap() == Recovery::Retry {
            assert_eq!(ring.recover(2, &SecondIsDead), Recovery::Done);
        }
        let late = get(&ring, &mut getter);
        assert!(matches!((early, late), (Ok(_), Err(_)) | (Err(_), Ok(9))), "{early:?} {late:?}");
    });
}

/// actor-record: whoever takes a record that was given back sees all that its last actor did.
#[test]
fn who_takes_a_record_finds_it_done_with() {
    explore(|| {
        let (ring, actor) = joined();
        let others = [1, 2].map(|index| ring.actors().claim(2, index).unwrap());
        let data = Arc::new(AtomicU64::new(0));
        let user = {
            let (ring, data) = (Arc::clone(&ring), Arc::clone(&data));
            thread::spawn(move || {
                data.store(1, Relaxed);
                ring.actors().release(actor);
            })
        };
        if ring.actors().claim(1, 0).is_some() {
            assert_eq!(data.load(Relaxed), 1);
        }
        user.join().unwrap();
        drop(others);
    });
}

/// mpmc-claim: as `loom_mpmc::repair_spares_the_claim_of_a_live_putter`, for an item that was
/// accepted before a shutdown and is put after it.
#[test]
fn repair_spares_an_accepted_put() {
    explore_up_to(2, || {
        let (ring, mut actor) = joined_in(Memory::interleaved);
        let mut feeder = ring.actors().claim(1, 1).unwrap();
        ring.shutdown(&mut actor, false);
        let mut dead = ring.actors().claim(2, 2).unwrap();
        ring.announce(&mut dead, Announcement::put(0));
        let putter = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                assert_eq!(ring.try_put_accepted(&mut feeder, &[7; 8]), Ok(()));
                ring.announce(&mut feeder, Announcement::IDLE);
            })
        };
        let outcome = ring.recover(2, &SecondIsDead);
        putter.join().unwrap();
        if outcome == Recovery::Retry {
            assert_eq!(ring.recover(2, &SecondIsDead), Recovery::Done);
        }
        assert!(get(&ring, &mut actor).is_ok());
    });
}
