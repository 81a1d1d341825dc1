//! What queues ask of the ring beyond puts and gets: accepted items after a shutdown,
//! tasks of the dead.

use super::{Fates, ring};
use crate::mpmc::word::marks;
use crate::mpmc::{Announcement, Options, Recovery, SharedRing, TryGet, TryPut};
use crate::peer::{Standing, TaskCount};
use crate::segment::Place;
use crate::sync::Ordering::SeqCst;

fn number(n: u64) -> [u8; 8] {
    n.to_le_bytes()
}

#[test]
fn accepted_items_pass_an_orderly_shutdown() {
    let ring = ring(2);
    let [mut putter, mut getter] =
        [ring.actors().claim(1, 0).unwrap(), ring.actors().claim(2, 0).unwrap()];
    ring.participants().set_overflow(1, 3);
    ring.shutdown(&mut putter, false);
    assert_eq!(ring.try_put(&mut putter, &number(9)), Err(TryPut::ShutDown));
    assert_eq!(ring.get_number(&mut getter), Err(TryGet::Empty));
    for n in 0..2 {
        ring.try_put_accepted(&mut putter, &number(n)).unwrap();
    }
    assert_eq!(ring.try_put_accepted(&mut putter, &number(2)), Err(TryPut::Full));
    assert!(ring.is_shut_down());
    assert_eq!(ring.get_number(&mut getter), Ok(0));
    ring.try_put_accepted(&mut putter, &number(2)).unwrap();
    ring.participants().set_overflow(1, 0);
    assert_eq!(ring.get_number(&mut getter), Ok(1));
    assert_eq!(ring.get_number(&mut getter), Ok(2));
    assert_eq!(ring.get_number(&mut getter), Err(TryGet::ShutDown));
}

#[test]
fn an_item_that_comes_between_two_looks_is_not_missed() {
    let ring = ring(2);
    let mut feeder = ring.actors().claim(1, 0).unwrap();
    ring.participants().set_overflow(1, 1);
    ring.shutdown(&mut feeder, false);
    // A getter looks at the ring, and then at the overflow.
    let seen = ring.enqueue_pos.load(SeqCst);
    ring.try_put_accepted(&mut feeder, &number(1)).unwrap();
    ring.participants().set_overflow(1, 0);
    assert_eq!(ring.drained_of_overflow(seen), TryGet::Empty);
    assert_eq!(ring.get_number(&mut feeder), Ok(1));
    assert_eq!(ring.get_number(&mut feeder), Err(TryGet::ShutDown));
}

#[test]
fn an_item_on_its_way_is_seen_to_be() {
    let ring = ring(2);
    let table = ring.participants();
    table.set_overflow(1, 2);
    table.set_overflow(2, 1);
    let (items, before) = table.settled_overflow().unwrap();
    assert_eq!((items, table.overflow()), (3, 3));
    table.step_overflow(1);
    assert_eq!((table.settled_overflow(), table.overflow()), (None, 3));
    // Another is accepted meanwhile.
    table.set_overflow(1, 3);
    assert_eq!((table.settled_overflow(), table.overflow()), (None, 4));
    table.moved_overflow(1, 2);
    let (items, after) = table.settled_overflow().unwrap();
    assert_eq!(items, 3);
    assert_ne!(before, after, "the same number, but not the same items");
    // It was not moved after all.
    table.step_overflow(1);
    table.step_overflow(1);
    assert_eq!(table.settled_overflow().unwrap().0, 3);
    // Who dies on the way leaves nothing.
    table.step_overflow(1);
    table.free(1);
    assert_eq!(table.settled_overflow().unwrap().0, 1);
}

#[test]
fn one_that_is_stopped_during_a_move_does_not_make_counting_slow() {
    let ring = SharedRing::create(Place::Anonymous("test"), &Options::new(1 << 16, 8), 7).unwrap();
    let attachment = &ring.attachment().ok().unwrap();
    let table = attachment.ring.participants();
    table.set_overflow(attachment.participant(), 3);
    // It stops here. Besides, somebody has died, so that a count looks at every slot.
    table.step_overflow(attachment.participant());
    attachment.ring.set_mark(marks::REDELIVER);
    let start = std::time::Instant::now();
    assert_eq!((ring.total_len(), ring.unfinished()), (3, 3));
    // Ten thousand such counts took minutes in this build.
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    table.step_overflow(attachment.participant());
}

#[test]
fn accepted_items_do_not_pass_an_immediate_one() {
    let ring = ring(2);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    ring.participants().set_overflow(1, 1);
    ring.shutdown(&mut actor, true);
    assert_eq!(ring.try_put_accepted(&mut actor, &number(1)), Err(TryPut::ShutDown));
    assert_eq!(ring.get_number(&mut actor), Err(TryGet::ShutDown));
}

#[test]
fn a_feeder_that_died_after_the_shutdown_leaves_a_tomb() {
    let ring = ring(1);
    let [mut feeder, mut other] =
        [ring.actors().claim(1, 0).unwrap(), ring.actors().claim(2, 0).unwrap()];
    ring.participants().set_overflow(1, 2);
    ring.participants().set_overflow(2, 1);
    ring.shutdown(&mut feeder, false);
    // The claim of a put after the shutdown, and no more.
    let word = ring.enqueue_pos.load(SeqCst);
    let tail = word & super::super::position::POSITION_MASK;
    ring.announce(&mut feeder, Announcement::put(tail));
    ring.enqueue_pos.store(word - tail + ring.positions.next(tail), SeqCst);
    let fates = Fates::default();
    fates.kill(1);
    assert_eq!(ring.try_put_accepted(&mut other, &number(7)), Err(TryPut::Full));
    assert_eq!(ring.recover(1, &fates), Recovery::Done);
    ring.try_put_accepted(&mut other, &number(7)).unwrap();
    ring.participants().set_overflow(2, 0);
    assert_eq!(ring.get_number(&mut other), Ok(7));
    assert_eq!(ring.get_number(&mut other), Err(TryGet::ShutDown));
}

#[test]
fn tasks_are_written_off_once() {
    let ring = ring(1);
    let table = ring.participants();
    let held = || TaskCount(table.tasks(1).unwrap().load(SeqCst)).held();
    // Five were taken, two of them are done, and one more was about to be taken.
    table.count_tasks(1, 6);
    table.tasks(1).unwrap().fetch_add(2 * TaskCount::DONE, SeqCst);
    let departures = table.departures();
    table.write_off_tasks(1, 5);
    assert_eq!((held(), table.lost_tasks()), (4, 3));
    // A repairer that was killed here is followed by another, and finds fewer actors.
    table.write_off_tasks(1, 1);
    table.free(1);
    assert_eq!((held(), table.lost_tasks()), (0, 3));
    assert_ne!(table.departures(), departures);
    table.write_off_tasks(1, 0);
    table.free(1);
    assert_eq!((held(), table.lost_tasks()), (0, 3));
    // Who comes next begins with nothing.
    table.join(1, crate::peer::Identity::default());
    assert_eq!((table.standing(1), held()), (Standing::Live, 0));
    table.count_tasks(1, 2);
    table.write_off_tasks(1, 2);
    table.free(1);
    assert_eq!((held(), table.lost_tasks()), (0, 5));
}

#[test]
fn a_process_answers_for_what_it_took() {
    let options = crate::mpmc::Options::new(4, 8);
    let ring = SharedRing::create(Place::Anonymous("test"), &options, 7).unwrap();
    ring.try_put(&number(1)).unwrap();
    assert!(ring.task_done().is_err());
    assert_eq!(ring.unfinished(), 1);
    ring.try_get_task(&mut [0; 8]).unwrap();
    assert_eq!((ring.unfinished(), ring.len()), (1, 0));
    assert!(ring.try_get_task(&mut [0; 8]).is_err());
    assert_eq!(ring.unfinished(), 1);
    ring.set_overflow(2).unwrap();
    ring.task_done().unwrap();
    assert_eq!(ring.unfinished(), 2);
    ring.set_overflow(0).unwrap();
    assert_eq!((ring.unfinished(), ring.lost_tasks()), (0, 0));
}
