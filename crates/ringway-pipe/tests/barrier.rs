//! The barrier that a sleeper runs in its waker's place, and what stands in for it.
#![cfg(not(loom))]

mod common;

use common::{LONG, Scene, fork};
use ringway_core::segment::{BODY, Kind, NewSegment, PARAMS, Place, Spec};
use ringway_core::sync::Ordering::SeqCst;
use ringway_core::wait::{Deadline, Event, Parked, Spinner, WaitPolicy, Waker, barrier, park};
use std::cell::Cell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

fn segment() -> NewSegment<'static> {
    let spec = Spec { kind: Kind::Pipe, signature: 0, params: [0; PARAMS], body_len: 4096 };
    NewSegment::create(Place::Anonymous("ringway-barrier"), &spec).unwrap()
}

/// A forked child is not registered because its parent was: it asks the kernel itself.
#[test]
fn the_barrier_reaches_another_process() {
    let _scene = Scene::begin();
    let here = barrier::registered();
    let segment = segment();
    let word = segment.memory().word32(BODY).unwrap();
    let there = word.clone();
    fork(move || there.store(1 + u32::from(barrier::registered()), SeqCst)).join();
    // Of one machine both say the same; with it, the barrier works.
    assert_eq!(word.load(SeqCst), 1 + u32::from(here));
    assert_eq!(barrier::heavy(), here);
}

/// A waker whose store was still in its store buffer when the sleeper looked, and whose
/// look came before the announcement: it wakes nobody. Where the barrier does not reach it,
/// the sleeper looks again after a short sleep.
#[test]
fn an_unregistered_peer_gets_a_short_sleep() {
    let _scene = Scene::begin();
    let segment = segment();
    let event = Event::new(segment.memory().word32(BODY).unwrap());
    let announced = Cell::new(None::<Instant>);
    let unreachable = || {
        announced.set(Some(Instant::now()));
        Waker { reachable: false, death_is_heard: true }
    };
    // The store arrives 50 us after the announcement, and no wake-up with it.
    let late = Duration::from_micros(50);
    let ready = || Ok::<_, Infallible>(announced.get().is_some_and(|at| at.elapsed() >= late));
    let mut spinner = Spinner::new(WaitPolicy::Block);
    let start = Instant::now();
    let parked = park(&event, &mut spinner, Deadline::after(LONG), unreachable, ready);
    assert_eq!(parked, Ok(Parked::Ready));
    assert!(start.elapsed() < LONG / 2, "found it only when its time was over");
}
