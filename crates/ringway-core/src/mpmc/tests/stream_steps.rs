//! An actor stops after any of its steps with a streamed message and is dead, or is only
//! late. Survivors go on: a message is there whole or not at all, exactly once, every block
//! and every record is free, and so are slots and lease records.

use super::Fates;
use super::blocks::{get, put};
use crate::memory::{Heap, Memory};
use crate::mpmc::long::Place;
use crate::mpmc::stream::{Mark, Named, Truth};
use crate::mpmc::stream_get::{Got, Taking};
use crate::mpmc::stream_put::{Outgoing, Wrote};
use crate::mpmc::{Announcement, Geometry, Options, Phase, Recovery, Ring, State, TryGet};
use crate::peer::{Actor, Identity};
use crate::sync::Ordering::SeqCst;

pub(super) const VICTIM: u32 = 2;
/// Longer than the pool of 4 KiB; passes through 1 KiB in pieces of 256 bytes.
pub(super) const LEN: usize = 5000;
pub(super) const ITS: u64 = 999;

/// Message `n`, no two pieces of which are alike.
pub(super) fn bytes(n: u64, len: usize) -> Vec<u8> {
    let word = |at: u64| (n << 32 | at).to_le_bytes();
    let mut bytes: Vec<u8> = (0..len as u64).step_by(8).flat_map(word).collect();
    bytes.truncate(len);
    bytes
}

pub(super) fn streaming(slots: u64) -> Ring {
    let options = Options {
        participants: 4,
        actors: 8,
        leases: 2,
        pool: 4096,
        streams: 2,
        ..Options::new(slots, 16)
    };
    let geometry = Geometry::new(&options).unwrap();
    let memory = Memory::new(Heap::new(usize::try_from(geometry.total_len()).unwrap()));
    let ring = Ring::new(&memory, geometry).unwrap();
    for id in 1..=4 {
        ring.participants().join(id, Identity::default());
    }
    ring
}

/// Takes the next message, which must be a stream.
pub(super) fn take(ring: &Ring, actor: &mut Actor) -> Taking {
    match ring.try_get(actor, &mut [0; 16]) {
        Err(TryGet::Stream(place)) => ring.join_stream(place).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Runs both sides to the end and says what came.
pub(super) fn finish(
    ring: &Ring,
    out: &mut Outgoing,
    message: &[u8],
    getter: &mut Actor,
    mut stream: Taking,
    mut got: Vec<u8>,
) -> Vec<u8> {
    for _ in 0..1000 {
        match ring.read_stream(&mut stream, &mut got) {
            Got::Some | Got::Nothing => {}
            Got::Whole => {
                assert!(ring.commit_stream(getter, stream.place, stream.named));
                assert_eq!(ring.write_stream(out, message), Wrote::Taken);
                return got;
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(ring.write_stream(out, message), Wrote::Some | Wrote::NoRoom));
    }
    panic!("no end");
}

/// The full check: capacity, blocks, lease records, stream records.
pub(super) fn nothing_is_left(ring: &Ring, actor: &mut Actor) {
    assert_eq!((ring.len(), ring.is_full()), (0, false));
    assert_eq!(ring.blocks_used(), 0, "leaked blocks");
    assert!(ring.streams.iter().all(|record| record.truth().is_free()), "leaked records");
    for lease in 0..ring.geometry().leases {
        let word = ring.cell(Place::lease(lease)).state().unwrap().load(SeqCst);
        assert_eq!(State(word).phase(), Some(Phase::Empty), "lease record {lease}");
    }
    for lap in 0..2 {
        for n in 0..ring.capacity() {
            put(ring, actor, lap * 100 + n, 100).unwrap();
        }
        assert!(ring.is_full());
        for n in 0..ring.capacity() {
            assert_eq!(get(ring, actor), Ok(lap * 100 + n));
        }
    }
    assert_eq!(get(ring, actor), Err(TryGet::Empty));
    // And a stream still passes.
    let message = bytes(7, LEN);
    let mut out = ring.open_stream(LEN, 1).unwrap();
    ring.offer_stream(actor, &mut out).unwrap();
    let stream = take(ring, actor);
    assert_eq!(finish(ring, &mut out, &message, actor, stream, Vec::new()), message);
    assert!(ring.close_stream(out));
    assert_eq!((ring.len(), ring.blocks_used()), (0, 0));
}

pub(super) fn bury(ring: &Ring, fates: &Fates, dead: u32) {
    fates.kill(dead);
    assert_eq!(ring.recover(dead, fates), Recovery::Done);
    assert_eq!(ring.recover(dead, fates), Recovery::Nothing);
}

/// Runs up to so many steps of what follows.
struct Steps {
    left: usize,
}

impl Steps {
    fn step<R>(&mut self, step: impl FnOnce() -> R) -> Option<R> {
        self.left = self.left.checked_sub(1)?;
        Some(step())
    }
}

/// The putter dies after any step, the getter being anywhere: not there yet, amidst the
/// stream, or done with it.
#[test]
fn a_putter_of_a_stream_dies_after_any_step() {
    for slots in 1..=3 {
        // Reads that the getter has done by then.
        for reads in [None, Some(0), Some(1), Some(3), Some(99)] {
            for steps in 0.. {
                let (ring, fates) = (streaming(slots), Fates::default());
                let mut survivor = ring.actors().claim(1, 0).unwrap();
                let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
                let message = bytes(ITS, LEN);
                let mut taken = None;
                let mut got = Vec::new();
                let mut committed = false;
                let mut it = Steps { left: steps };
                let position = ring.enqueue_pos.load(SeqCst);
                let out = it.step(|| ring.open_stream(LEN, VICTIM).unwrap());
                if let Some(mut out) = out {
                    it.step(|| ring.announce(&mut victim, Announcement::put(position)));
                    it.step(|| ring.claim_put(position).unwrap());
                    it.step(|| ring.write_stream_name(position, out.named));
                    it.step(|| ring.publish(position));
                    if it.left > 0
                        && let Some(reads) = reads
                    {
                        let mut stream = take(&ring, &mut survivor);
                        for _ in 0..reads {
                            if committed {
                                break;
                            }
                            if it.step(|| ring.write_stream(&mut out, &message)).is_none() {
                                break;
                            }
                            if ring.read_stream(&mut stream, &mut got) == Got::Whole {
                                let (place, named) = (stream.place, stream.named);
                                committed = ring.commit_stream(&mut survivor, place, named);
                                assert!(committed && got == message);
                            }
                        }
                        taken = Some(stream);
                    }
                    while it.left > 0 {
                        if it.step(|| ring.write_stream(&mut out, &message)) != Some(Wrote::Some) {
                            break;
                        }
                    }
                }
                bury(&ring, &fates, VICTIM);
                if let Some(mut stream) = taken
                    && !committed
                {
                    assert_eq!(ring.read_stream(&mut stream, &mut got), Got::Void);
                    let (place, named) = (stream.place, stream.named);
                    assert!(!ring.commit_stream(&mut survivor, place, named), "of the dead");
                }
                assert_eq!(get(&ring, &mut survivor), Err(TryGet::Empty));
                nothing_is_left(&ring, &mut survivor);
                if it.left > 0 {
                    assert!(steps > 6);
                    break;
                }
            }
        }
    }
}

/// The getter dies after any step: the next one gets all of it, unless it had committed.
#[test]
fn a_getter_of_a_stream_dies_after_any_step() {
    for slots in 1..=3 {
        for steps in 0.. {
            let (ring, fates) = (streaming(slots), Fates::default());
            let mut survivor = ring.actors().claim(1, 0).unwrap();
            let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
            let message = bytes(ITS, LEN);
            let mut out = ring.open_stream(LEN, 1).unwrap();
            ring.offer_stream(&mut survivor, &mut out).unwrap();
            while ring.write_stream(&mut out, &message) == Wrote::Some {}
            let mut committed = false;
            let mut it = Steps { left: steps };
            let position = ring.dequeue_pos.load(SeqCst);
            let slot = Place::slot(position);
            it.step(|| ring.announce(&mut victim, Announcement::get(position)));
            it.step(|| ring.claim_get(position).unwrap());
            it.step(|| ring.mark_taken(position, VICTIM));
            let lease = it.step(|| ring.reserve_lease(VICTIM).unwrap());
            it.step(|| ring.fill_lease(lease.unwrap(), position));
            it.step(|| ring.hold_lease(lease.unwrap(), VICTIM));
            it.step(|| ring.vacate(slot));
            let stream = it.step(|| ring.join_stream(lease.unwrap()).unwrap());
            if let Some(mut stream) = stream {
                let mut got = Vec::new();
                while let Some(read) = it.step(|| ring.read_stream(&mut stream, &mut got)) {
                    if read == Got::Whole {
                        break;
                    }
                    ring.write_stream(&mut out, &message);
                }
                it.step(|| {
                    assert_eq!(got, message);
                    committed = ring.begin_commit(&mut victim, stream.named);
                });
                it.step(|| ring.end_commit(&mut victim, stream.named));
                it.step(|| ring.vacate(stream.place));
            }
            bury(&ring, &fates, VICTIM);
            if committed {
                assert_eq!(ring.write_stream(&mut out, &message), Wrote::Taken);
                assert!(ring.close_stream(out));
            } else {
                assert_eq!(ring.len(), 1);
                let stream = take(&ring, &mut survivor);
                let got = finish(&ring, &mut out, &message, &mut survivor, stream, Vec::new());
                assert_eq!(got, message, "torn after {steps} steps");
                assert!(ring.close_stream(out));
            }
            nothing_is_left(&ring, &mut survivor);
            if it.left > 0 {
                assert!(steps > 20 && committed);
                break;
            }
        }
    }
}

/// The putter withdraws after any step, wherever the getter is; its value comes back, and
/// the getter gets the next message.
#[test]
fn a_putter_withdraws_after_any_step() {
    for reads in [None, Some(0), Some(1), Some(7), Some(99)] {
        let ring = streaming(2);
        let mut putter = ring.actors().claim(1, 0).unwrap();
        let mut getter = ring.actors().claim(VICTIM, 0).unwrap();
        let message = bytes(ITS, LEN);
        let mut out = ring.open_stream(LEN, 1).unwrap();
        ring.offer_stream(&mut putter, &mut out).unwrap();
        let mut taken = None;
        let (mut got, mut whole) = (Vec::new(), false);
        if let Some(reads) = reads {
            let mut stream = take(&ring, &mut getter);
            for _ in 0..reads {
                ring.write_stream(&mut out, &message);
                whole |= ring.read_stream(&mut stream, &mut got) == Got::Whole;
            }
            taken = Some(stream);
        }
        assert!(!ring.close_stream(out), "nobody has committed");
        assert_eq!(ring.len(), 0);
        if let Some(mut stream) = taken {
            assert_eq!(ring.read_stream(&mut stream, &mut got), Got::Void);
            assert!(!ring.commit_stream(&mut getter, stream.place, stream.named));
            assert!(whole == (reads == Some(99)));
        }
        nothing_is_left(&ring, &mut putter);
    }
}

/// Handed back at any point, also when the putter is in the middle of its answer; the next
/// getter reads all of it from the first byte.
#[test]
fn a_stream_is_handed_back_after_any_step() {
    for reads in 0..22 {
        for late in [false, true] {
            let ring = streaming(1);
            let mut putter = ring.actors().claim(1, 0).unwrap();
            let mut getter = ring.actors().claim(VICTIM, 0).unwrap();
            let message = bytes(ITS, LEN);
            let mut out = ring.open_stream(LEN, 1).unwrap();
            ring.offer_stream(&mut putter, &mut out).unwrap();
            let mut stream = take(&ring, &mut getter);
            let mut got = Vec::new();
            for _ in 0..reads {
                ring.write_stream(&mut out, &message);
                ring.read_stream(&mut stream, &mut got);
            }
            ring.hand_back_stream(stream.place);
            assert_eq!(ring.len(), 1);
            if late {
                // The putter goes on in the old epoch: it has seen nothing yet.
                ring.write_stream(&mut out, &message);
            }
            let again = take(&ring, &mut putter);
            if late && reads > 0 {
                let mut none = Vec::new();
                let mut again = ring.join_stream(again.place).unwrap();
                assert_eq!(ring.read_stream(&mut again, &mut none), Got::Nothing);
            }
            let whole = finish(&ring, &mut out, &message, &mut putter, again, Vec::new());
            assert_eq!(whole, message);
            assert!(ring.close_stream(out));
            nothing_is_left(&ring, &mut putter);
        }
    }
}

/// A getter that stood still while its stream was withdrawn and its record used again does
/// not disturb the new one, whatever it does next.
#[test]
fn a_getter_of_an_earlier_stream_does_no_harm() {
    for reads in [0, 1, 5] {
        let ring = streaming(3);
        let mut putter = ring.actors().claim(1, 0).unwrap();
        let mut late = ring.actors().claim(VICTIM, 0).unwrap();
        let mut getter = ring.actors().claim(3, 0).unwrap();
        let (old, new) = (bytes(1, LEN), bytes(2, LEN));
        let mut out = ring.open_stream(LEN, 1).unwrap();
        ring.offer_stream(&mut putter, &mut out).unwrap();
        let mut stale = take(&ring, &mut late);
        let mut got = Vec::new();
        for _ in 0..reads {
            ring.write_stream(&mut out, &old);
            ring.read_stream(&mut stale, &mut got);
        }
        let index = out.named.index;
        ring.close_stream(out);
        let mut out = ring.open_stream(LEN, 1).unwrap();
        assert_eq!(out.named.index, index, "the same record");
        ring.offer_stream(&mut putter, &mut out).unwrap();
        ring.write_stream(&mut out, &new);
        let stream = take(&ring, &mut getter);
        // Past its look at the truth: the exchange of `read` is all that is between.
        let record = ring.streams.get(index).unwrap();
        let seen = Mark(record.read.load(SeqCst));
        assert_ne!(seen.epoch(), stale.read.epoch(), "an epoch of its own");
        assert_eq!(ring.read_stream(&mut stale, &mut got), Got::Void);
        assert!(!ring.commit_stream(&mut late, stale.place, stale.named));
        let whole = finish(&ring, &mut out, &new, &mut getter, stream, Vec::new());
        assert_eq!(whole, new);
        assert!(ring.close_stream(out));
        nothing_is_left(&ring, &mut putter);
    }
}

/// Somebody moved `read` under a getter's feet: what it copied does not count, and it begins
/// again.
#[test]
fn bytes_copied_while_read_moved_are_not_accepted() {
    let ring = streaming(1);
    let mut putter = ring.actors().claim(1, 0).unwrap();
    let mut getter = ring.actors().claim(VICTIM, 0).unwrap();
    let message = bytes(ITS, LEN);
    let mut out = ring.open_stream(LEN, 1).unwrap();
    ring.offer_stream(&mut putter, &mut out).unwrap();
    let mut stream = take(&ring, &mut getter);
    let mut got = Vec::new();
    for _ in 0..3 {
        ring.write_stream(&mut out, &message);
        ring.read_stream(&mut stream, &mut got);
    }
    let record = ring.streams.get(stream.named.index).unwrap();
    ring.write_stream(&mut out, &message);
    let disturbed = Mark(record.read.load(SeqCst)).next();
    record.read.store(disturbed.0, SeqCst);
    assert_eq!(ring.read_stream(&mut stream, &mut got), Got::Some);
    let whole = finish(&ring, &mut out, &message, &mut getter, stream, got);
    assert_eq!(whole, message);
    assert!(ring.close_stream(out));
    nothing_is_left(&ring, &mut putter);
}

/// A repairer dies between any two parts of its repair, or repeats one.
#[test]
fn repair_of_streams_may_stop_anywhere_and_start_over() {
    let parts: [fn(&Ring); 5] = [
        |r| r.settle_streams(VICTIM),
        |r| r.settle_leases(VICTIM),
        |r| r.sweep(VICTIM),
        Ring::bury_streams,
        |r| r.sweep_blocks(VICTIM),
    ];
    for done in 0..=parts.len() {
        for reads in [None, Some(0), Some(5)] {
            let (ring, fates) = (streaming(2), Fates::default());
            let mut survivor = ring.actors().claim(1, 0).unwrap();
            let mut victim = ring.actors().claim(VICTIM, 0).unwrap();
            let message = bytes(ITS, LEN);
            let mut out = ring.open_stream(LEN, VICTIM).unwrap();
            ring.offer_stream(&mut victim, &mut out).unwrap();
            if let Some(reads) = reads {
                // Putter and getter die together.
                let mut stream = take(&ring, &mut victim);
                for _ in 0..reads {
                    ring.write_stream(&mut out, &message);
                    ring.read_stream(&mut stream, &mut Vec::new());
                }
            }
            parts[..done].iter().for_each(|part| part(&ring));
            bury(&ring, &fates, VICTIM);
            nothing_is_left(&ring, &mut survivor);
        }
    }
}

/// More streams than records, and more than buffers: those who come too late get none, and
/// leave nothing.
#[test]
fn records_and_buffers_are_bounded() {
    let ring = streaming(4);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    let first = ring.open_stream(LEN, 1).unwrap();
    let second = ring.open_stream(LEN, 1).unwrap();
    assert!(!ring.may_open_stream() && ring.open_stream(LEN, 1).is_none());
    // Half of the pool is for other messages.
    put(&ring, &mut actor, 5, 2048).unwrap();
    assert_eq!(get(&ring, &mut actor), Ok(5));
    ring.close_stream(first);
    ring.close_stream(second);
    let all = ring.pool.take(ring.pool.bytes(), 1).unwrap();
    assert!(!ring.may_open_stream() && ring.open_stream(LEN, 1).is_none(), "no buffer");
    ring.pool.free_all(&all.blocks, all.owner);
    assert!(ring.open_stream(usize::MAX, 1).is_none());
    nothing_is_left(&ring, &mut actor);
}

/// Every word of a record, of a slot's name and of the positions may be anything.
#[test]
fn words_that_make_no_sense_are_found() {
    let odd = [0, 1, 7, 1 << 20, 1 << 44, (1 << 44) - 1, u64::MAX, u64::MAX - 7];
    for which in 0..5 {
        for value in odd {
            let ring = streaming(2);
            let mut putter = ring.actors().claim(1, 0).unwrap();
            let mut getter = ring.actors().claim(VICTIM, 0).unwrap();
            let message = bytes(ITS, LEN);
            let mut out = ring.open_stream(LEN, 1).unwrap();
            ring.offer_stream(&mut putter, &mut out).unwrap();
            let mut stream = take(&ring, &mut getter);
            let mut got = Vec::new();
            ring.write_stream(&mut out, &message);
            let record = ring.streams.get(stream.named.index).unwrap();
            match which {
                0 => record.truth.store(value, SeqCst),
                1 => record.written.store(value, SeqCst),
                2 => record.read.store(value, SeqCst),
                3 => record.written.store(stream.read.at(value & ((1 << 44) - 1)).0, SeqCst),
                _ => record.read.store(stream.read.at(value & ((1 << 44) - 1)).0, SeqCst),
            }
            for _ in 0..100 {
                ring.read_stream(&mut stream, &mut got);
                ring.write_stream(&mut out, &message);
                assert!(got.capacity() <= 2 * LEN.max(64 << 10), "never more than has come");
            }
            ring.commit_stream(&mut getter, stream.place, stream.named);
            ring.close_stream(out);
        }
    }
    let ring = streaming(2);
    let mut actor = ring.actors().claim(1, 0).unwrap();
    for words in odd.into_iter().flat_map(|a| odd.map(|b| [a, b])) {
        let position = ring.enqueue_pos.load(SeqCst);
        ring.announce(&mut actor, Announcement::put(position));
        ring.claim_put(position).unwrap();
        ring.write_stream_name(position, Named::from_words(words));
        ring.publish(position);
        match ring.try_get(&mut actor, &mut [0; 16]) {
            Err(TryGet::Corrupted(_) | TryGet::Empty) => {}
            Err(TryGet::Stream(place)) => {
                // The word of a record that was never used.
                assert_eq!(Named::from_words(words).truth, Truth(0));
                assert!(ring.join_stream(place).is_err());
                ring.vacate(place);
            }
            other => panic!("{other:?}"),
        }
    }
}
