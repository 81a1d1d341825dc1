//! Streams that are over, and everybody who meets their names: repair amidst their withdrawal,
//! those who count, putters without getters, tasks.

use super::Fates;
use super::blocks::{get, put};
use super::stream_steps::{
    ITS, LEN, VICTIM, bury, bytes, finish, nothing_is_left, streaming, take,
};
use crate::mpmc::long::Place;
use crate::mpmc::stream::Truth;
use crate::mpmc::stream_get::Got;
use crate::mpmc::stream_put::{Outgoing, Wrote};
use crate::mpmc::{Announcement, Phase, Recovery, Ring, State, TryGet, TryPut};
use crate::peer::{Actor, Liveness, Take};
use crate::sync::Ordering::SeqCst;
use std::sync::Mutex;

fn offered(ring: &Ring, actor: &mut Actor, participant: u32) -> Outgoing {
    let mut out = ring.open_stream(LEN, participant).unwrap();
    ring.offer_stream(actor, &mut out).unwrap();
    out
}

/// A stream that was offered and withdrawn: its name is there still.
fn withdrawn(ring: &Ring, actor: &mut Actor) {
    let out = offered(ring, actor, 1);
    assert!(!ring.close_stream(out));
}

/// Liveness by decree, during one of whose questions something else happens.
struct Meanwhile<'a> {
    fates: Fates,
    question: Mutex<u32>,
    what: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl Liveness for Meanwhile<'_> {
    fn proven_dead(&self, participant: u32) -> bool {
        let left = {
            let mut question = self.question.lock().unwrap();
            *question = question.wrapping_sub(1);
            *question
        };
        if left == u32::MAX
            && let Some(what) = self.what.lock().unwrap().take()
        {
            what();
        }
        self.fates.proven_dead(participant)
    }

    fn alone(&self, participant: u32, body: &mut dyn FnMut()) -> bool {
        self.fates.alone(participant, body)
    }
}

/// The getter died with its claim; while its repair is between the look at the slot and the
/// exchange, the putter withdraws. Putters that come next find room.
#[test]
fn a_stream_withdrawn_amidst_its_getters_repair_holds_up_nobody() {
    for question in 0.. {
        let ring = streaming(1);
        let mut putter = ring.actors().claim(1, 0).unwrap();
        let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
        let mut rival = ring.actors().claim(3, 0).unwrap();
        let out = offered(&ring, &mut putter, 1);
        let position = ring.dequeue_pos.load(SeqCst);
        ring.announce(&mut victim, Announcement::get(position));
        ring.claim_get(position).unwrap();
        // Dead as well, after it lost the race: so repair asks amidst its work.
        ring.announce(&mut rival, Announcement::get(position));
        let liveness = Meanwhile {
            fates: Fates::default(),
            question: Mutex::new(question),
            what: Mutex::new(Some(Box::new(|| assert!(!ring.close_stream(out))))),
        };
        liveness.fates.kill(VICTIM);
        liveness.fates.kill(3);
        for dead in [VICTIM, 3] {
            assert_eq!(ring.recover(dead, &liveness), Recovery::Done);
        }
        let asked = liveness.what.lock().unwrap().is_none();
        if let Some(later) = liveness.what.lock().unwrap().take() {
            later();
        }
        drop(liveness);
        // The putter alone, for several laps.
        for n in 0..3 {
            put(&ring, &mut putter, n, 100).unwrap();
            assert_eq!(get(&ring, &mut putter), Ok(n));
        }
        nothing_is_left(&ring, &mut putter);
        if !asked {
            assert!(question > 2, "never amidst the repair");
            break;
        }
    }
}

/// No getter ever comes: those who put find the room that withdrawn ones have left, as soon as
/// nothing older is there.
#[test]
fn putters_alone_pass_withdrawn_streams() {
    for slots in 1..=3 {
        let ring = streaming(slots);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        for _ in 0..10 * slots {
            withdrawn(&ring, &mut actor);
            assert_eq!((ring.len(), ring.is_full()), (0, false));
        }
        for n in 0..slots {
            assert!(!ring.is_full());
            put(&ring, &mut actor, n, 100).unwrap();
        }
        assert_eq!((ring.len(), ring.is_full()), (slots, true));
        for n in 0..slots {
            assert_eq!(get(&ring, &mut actor), Ok(n));
        }
        nothing_is_left(&ring, &mut actor);
    }
}

/// As a tomb, a withdrawn one behind older messages keeps its place until those are taken.
#[test]
fn a_withdrawn_stream_keeps_its_place_until_older_ones_are_taken() {
    let ring = streaming(3);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    put(&ring, &mut actor, 1, 100).unwrap();
    withdrawn(&ring, &mut actor);
    put(&ring, &mut actor, 2, 100).unwrap();
    assert_eq!((ring.len(), ring.is_full()), (2, true));
    assert_eq!(put(&ring, &mut actor, 3, 100), Err(TryPut::Full));
    assert_eq!(get(&ring, &mut actor), Ok(1));
    put(&ring, &mut actor, 3, 100).unwrap();
    assert!(!ring.is_full(), "the withdrawn one is the oldest now");
    put(&ring, &mut actor, 4, 100).unwrap();
    assert_eq!((ring.len(), ring.is_full()), (3, true));
    for n in 2..=4 {
        assert_eq!(get(&ring, &mut actor), Ok(n));
    }
    nothing_is_left(&ring, &mut actor);
}

/// A whole ring of withdrawn ones is passed in one call.
#[test]
fn a_get_passes_many_withdrawn_streams() {
    let ring = streaming(400);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    for _ in 0..399 {
        withdrawn(&ring, &mut actor);
    }
    assert_eq!(ring.len(), 0);
    put(&ring, &mut actor, 5, 100).unwrap();
    assert_eq!(ring.len(), 1);
    assert_eq!(get(&ring, &mut actor), Ok(5));
    for _ in 0..300 {
        withdrawn(&ring, &mut actor);
    }
    assert_eq!(ring.try_take(&mut actor), Err(TryGet::Empty));
    assert_eq!((ring.len(), ring.blocks_used()), (0, 0));
}

/// `len` at every step of a withdrawal, its putter dying there, with somebody counting all the
/// time.
#[test]
fn counting_amidst_a_withdrawal_leaves_no_wrong_count() {
    for dies in [false, true] {
        let (ring, fates) = (streaming(3), Fates::default());
        let mut putter = ring.actors().claim(VICTIM, 0).unwrap();
        let mut other = ring.actors().claim(1, 0).unwrap();
        put(&ring, &mut other, 1, 100).unwrap();
        let out = offered(&ring, &mut putter, VICTIM);
        put(&ring, &mut other, 2, 100).unwrap();
        assert_eq!(ring.len(), 3);
        if dies {
            // The first half of it.
            let record = ring.streams.get(out.named.index).unwrap();
            assert!(record.step(|_| true, Truth::without_putter).is_some());
            ring.len();
            bury(&ring, &fates, VICTIM);
        } else {
            assert!(!ring.close_stream(out));
        }
        for _ in 0..3 {
            assert_eq!(ring.len(), 2);
        }
        assert_eq!(get(&ring, &mut other), Ok(1));
        assert_eq!(ring.len(), 1);
        assert_eq!(get(&ring, &mut other), Ok(2));
        nothing_is_left(&ring, &mut other);
    }
}

/// A live getter is stopped between its claim of what is no message and the freeing: it is
/// counted off once, by the position.
#[test]
fn a_dud_in_a_getters_hands_is_counted_off_once() {
    for tomb in [false, true] {
        let (ring, fates) = (streaming(4), Fates::default());
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let mut getter = ring.actors().claim(3, 0).unwrap();
        if tomb {
            let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
            let position = ring.enqueue_pos.load(SeqCst);
            ring.announce(&mut victim, Announcement::put(position));
            ring.claim_put(position).unwrap();
            bury(&ring, &fates, VICTIM);
        } else {
            withdrawn(&ring, &mut actor);
        }
        put(&ring, &mut actor, 1, 100).unwrap();
        put(&ring, &mut actor, 2, 100).unwrap();
        assert_eq!(ring.len(), 2);
        let head = ring.dequeue_pos.load(SeqCst);
        ring.announce(&mut getter, Announcement::get(head));
        ring.claim_get(head).unwrap();
        assert_eq!(ring.len(), 2, "while the getter stands still");
        ring.release(head);
        assert_eq!(ring.len(), 2);
        assert_eq!(get(&ring, &mut actor), Ok(1));
        assert_eq!(get(&ring, &mut actor), Ok(2));
        nothing_is_left(&ring, &mut actor);
    }
}

/// A getter hands a stream back while its putter withdraws it: whatever comes first, the slot
/// and the lease record are free for the next, and nothing counts.
#[test]
fn a_withdrawal_beside_a_hand_back() {
    for leases in [true, false] {
        for late in [false, true] {
            let ring = streaming(1);
            let mut putter = ring.actors().claim(1, 0).unwrap();
            let mut getter = ring.actors().claim(3, 0).unwrap();
            let held: Vec<_> =
                (0..ring.geometry().leases).filter_map(|_| ring.reserve_lease(4)).collect();
            if leases {
                held.iter().for_each(|lease| ring.vacate(*lease));
            }
            let out = offered(&ring, &mut putter, 1);
            let stream = take(&ring, &mut getter);
            assert_eq!(stream.place.position().is_none(), leases);
            if late {
                ring.hand_back_stream(stream.place);
                assert!(!ring.close_stream(out));
            } else {
                // Between its look and the giving back.
                assert!(!ring.is_void(stream.place));
                assert!(!ring.close_stream(out));
                ring.give_back(stream.place);
            }
            assert_eq!(ring.len(), 0);
            assert!(!ring.is_full());
            put(&ring, &mut putter, 5, 100).unwrap();
            assert_eq!(ring.len(), 1);
            assert_eq!(get(&ring, &mut getter), Ok(5));
            if !leases {
                held.iter().for_each(|lease| ring.vacate(*lease));
            }
            nothing_is_left(&ring, &mut putter);
        }
    }
}

/// Somebody begins an epoch at every step of a getter: that is no protocol, and it ends.
#[test]
fn a_getter_that_is_disturbed_all_the_time_gives_up() {
    let ring = streaming(1);
    let mut putter = ring.actors().claim(1, 0).unwrap();
    let mut getter = ring.actors().claim(3, 0).unwrap();
    let message = bytes(ITS, LEN);
    let mut out = offered(&ring, &mut putter, 1);
    let mut stream = take(&ring, &mut getter);
    let record = ring.streams.get(out.named.index).unwrap();
    let mut got = Vec::new();
    let ended = (0..1000).find(|_| {
        ring.write_stream(&mut out, &message);
        let seen = stream.read;
        record.read.store(seen.next().0, SeqCst);
        ring.write_stream(&mut out, &message);
        // As if it had been changed after the look at `written`.
        record.written.store(seen.at(seen.position() + 256).0, SeqCst);
        ring.read_stream(&mut stream, &mut got) == Got::Corrupted
    });
    assert!(ended.is_some_and(|rounds| rounds < 20), "{ended:?}");
}

/// A putter that publishes a byte at a time does not keep its getter busy: it takes whole
/// pieces.
#[test]
fn less_than_a_piece_is_nothing() {
    let ring = streaming(1);
    let mut putter = ring.actors().claim(1, 0).unwrap();
    let mut getter = ring.actors().claim(3, 0).unwrap();
    let message = bytes(ITS, LEN);
    let mut out = offered(&ring, &mut putter, 1);
    ring.write_stream(&mut out, &message);
    let mut stream = take(&ring, &mut getter);
    let record = ring.streams.get(out.named.index).unwrap();
    let piece = stream.read.at(256);
    for bytes in 0..256 {
        record.written.store(piece.at(bytes).0, SeqCst);
        assert_eq!(ring.read_stream(&mut stream, &mut Vec::new()), Got::Nothing);
    }
    record.written.store(piece.0, SeqCst);
    assert_eq!(ring.read_stream(&mut stream, &mut Vec::new()), Got::Some);
    ring.hand_back_stream(stream.place);
    assert!(!ring.close_stream(out));
}

/// What the putter does around the death of a getter that takes a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Putter {
    Waits,
    Withdraws,
    ReturnsAndPutsAnother,
    Dies,
}

/// The getter of a streamed task dies after any step, its repair too: what it took is counted
/// as lost exactly once, what it did not take goes to another.
#[test]
fn a_streamed_task_is_lost_exactly_if_it_was_taken() {
    use Putter::{Dies, ReturnsAndPutsAnother, Waits, Withdraws};
    for early in [Waits, Withdraws, ReturnsAndPutsAnother, Dies] {
        for (steps, repairs) in (0..=6).flat_map(|steps| (0..=3).map(move |r| (steps, r))) {
            let (ring, fates) = (streaming(3), Fates::default());
            let mut putter = ring.actors().claim(1, 0).unwrap();
            let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
            let mut survivor = ring.actors().claim(3, 0).unwrap();
            let message = bytes(ITS, LEN);
            let mut out = Some(offered(&ring, &mut putter, 1));
            ring.participants().count_tasks(VICTIM, 1);
            let mut stream = take(&ring, &mut victim);
            let mut got = Vec::new();
            while ring.read_stream(&mut stream, &mut got) != Got::Whole {
                ring.write_stream(out.as_mut().unwrap(), &message);
            }
            let named = stream.named;
            let put_side = |out: &mut Option<Outgoing>, actor: &mut Actor| {
                let mut more = Vec::new();
                match early {
                    Waits => {}
                    Withdraws => {
                        ring.close_stream(out.take().unwrap());
                    }
                    ReturnsAndPutsAnother => {
                        ring.close_stream(out.take().unwrap());
                        // All records that are free are used again.
                        more.extend((0..2).filter_map(|_| ring.open_stream(LEN, 1)));
                        more.drain(..).for_each(|out| {
                            ring.close_stream(out);
                        });
                    }
                    Dies => {
                        fates.kill(1);
                        ring.announce(actor, Announcement::IDLE);
                        assert_eq!(ring.recover(1, &fates), Recovery::Done);
                        out.take();
                    }
                }
            };
            let mut committed = false;
            victim.counting(|victim| {
                if steps == 1 {
                    let take = Take::Stream { record: named.index, truth: named.truth.0 };
                    ring.actors.begin_take(victim, take);
                }
                if steps >= 2 {
                    committed = ring.begin_commit(victim, named);
                    assert!(committed);
                }
                if steps == 3 {
                    ring.actors.end_take(victim, 1);
                }
                if steps >= 4 {
                    if early != Waits && steps == 4 {
                        put_side(&mut out, &mut putter);
                    }
                    ring.end_commit(victim, named);
                }
                if steps >= 5 {
                    ring.vacate(stream.place);
                }
            });
            if out.is_some() {
                put_side(&mut out, &mut putter);
            }
            // Repair, cut short as often.
            fates.kill(VICTIM);
            let parts: [fn(&Ring); 3] = [
                |r| r.settle_takes(VICTIM),
                |r| r.settle_streams(VICTIM),
                |r| r.settle_leases(VICTIM),
            ];
            parts[..repairs].iter().for_each(|part| part(&ring));
            assert_eq!(ring.recover(VICTIM, &fates), Recovery::Done);
            let lost = ring.participants().lost_tasks();
            assert_eq!(lost, u64::from(committed), "{early:?} after {steps} steps, {repairs}");
            match out.take() {
                Some(mut out) if !committed => {
                    assert_eq!(ring.unfinished(), 1);
                    let stream = take(&ring, &mut survivor);
                    let got = finish(&ring, &mut out, &message, &mut survivor, stream, Vec::new());
                    assert_eq!(got, message);
                    assert!(ring.close_stream(out));
                }
                Some(out) => assert!(ring.close_stream(out)),
                None => {}
            }
            assert_eq!(ring.unfinished(), 0, "{early:?} after {steps} steps");
            if early == Dies {
                ring.participants().join(1, crate::peer::Identity::default());
            }
            nothing_is_left(&ring, &mut survivor);
        }
    }
}

/// The getter is stopped between its commit and the counting. The putter returns all the same,
/// and what goes on in other records never touches this one.
#[test]
fn a_getter_stopped_after_its_commit_keeps_a_record_and_no_call() {
    let ring = streaming(3);
    let mut putter = ring.actors().claim(1, 0).unwrap();
    let mut getter = ring.actors().claim(3, 0).unwrap();
    let message = bytes(ITS, LEN);
    let mut out = offered(&ring, &mut putter, 1);
    let mut stream = take(&ring, &mut getter);
    let mut got = Vec::new();
    while ring.read_stream(&mut stream, &mut got) != Got::Whole {
        ring.write_stream(&mut out, &message);
    }
    assert!(ring.begin_commit(&mut getter, stream.named));
    assert_eq!(ring.write_stream(&mut out, &message), Wrote::Taken);
    assert!(ring.close_stream(out));
    assert_eq!((ring.len(), ring.blocks_used()), (0, 0));
    for _ in 0..3 {
        let mut out = offered(&ring, &mut putter, 1);
        assert_ne!(out.named.index, stream.named.index);
        let taken = take(&ring, &mut putter);
        finish(&ring, &mut out, &message, &mut putter, taken, Vec::new());
        assert!(ring.close_stream(out));
    }
    ring.end_commit(&mut getter, stream.named);
    ring.vacate(stream.place);
    nothing_is_left(&ring, &mut putter);
}

/// Putter and getter are one process, and it dies after the commit.
#[test]
fn one_that_puts_and_takes_its_own_stream_is_done_with_it_twice() {
    for closed in [false, true] {
        let (ring, fates) = (streaming(2), Fates::default());
        let mut survivor = ring.actors().claim(1, 0).unwrap();
        let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
        let out = offered(&ring, &mut victim, VICTIM);
        let stream = take(&ring, &mut victim);
        assert!(ring.begin_commit(&mut victim, stream.named));
        if closed {
            assert!(ring.close_stream(out));
        }
        bury(&ring, &fates, VICTIM);
        nothing_is_left(&ring, &mut survivor);
    }
}

/// What was given back and is over is freed by a putter that needs the place.
#[test]
fn a_putter_frees_what_was_given_back_and_is_over() {
    let ring = streaming(1);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    let out = offered(&ring, &mut actor, 1);
    let position = ring.dequeue_pos.load(SeqCst);
    ring.announce(&mut actor, Announcement::get(position));
    ring.claim_get(position).unwrap();
    ring.mark_taken(position, 1);
    let slot = Place::slot(position);
    ring.give_back(slot);
    assert!(ring.is_full() && ring.len() == 1);
    assert_eq!(put(&ring, &mut actor, 1, 100), Err(TryPut::Full));
    assert!(!ring.close_stream(out));
    assert!(!ring.is_full() && ring.is_empty());
    put(&ring, &mut actor, 1, 100).unwrap();
    let state = State(ring.cell(slot).state().unwrap().load(SeqCst));
    assert_eq!(state.phase(), Some(Phase::Full));
    assert_eq!(get(&ring, &mut actor), Ok(1));
    nothing_is_left(&ring, &mut actor);
}
