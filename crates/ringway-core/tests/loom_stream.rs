//! Models of streamed messages on the real records: positions, epochs and the commit, in every
//! interleaving and with every stale read that the memory model allows.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p ringway-core --test loom_stream`
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use ringway_core::memory::Memory;
use ringway_core::mpmc::{Geometry, Got, Options, Outgoing, Ring, Taking, TryGet, TryPut, Wrote};
use ringway_core::peer::{Actor, Identity};

/// Bytes of a piece: a quarter of the buffer, which is the pool's only block.
const PIECE: usize = 64;

/// Runs `body` in every interleaving with up to two preemptions.
fn explore(body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(body);
}

fn ring() -> Arc<Ring> {
    ring_with(1)
}

fn ring_with(leases: u32) -> Arc<Ring> {
    let small = Options::new(1, 16);
    let options = Options { participants: 2, actors: 3, leases, pool: 256, streams: 1, ..small };
    let geometry = Geometry::new(&options).unwrap();
    let len = usize::try_from(geometry.total_len()).unwrap();
    let ring = Ring::new(&Memory::modelled(len), geometry).unwrap();
    ring.participants().join(1, Identity::default());
    Arc::new(ring)
}

/// A message of so many pieces, no two of which are alike.
fn message(pieces: u8) -> Vec<u8> {
    (1..=pieces).flat_map(|piece| [piece; PIECE]).collect()
}

fn offer(ring: &Ring, actor: &mut Actor, message: &[u8]) -> Outgoing {
    let mut out = ring.open_stream(message.len(), 1).unwrap();
    ring.offer_stream(actor, &mut out).unwrap();
    out
}

fn take(ring: &Ring, actor: &mut Actor) -> Taking {
    let Err(TryGet::Stream(place)) = ring.try_get(actor, &mut [0; 16]) else { panic!("no stream") };
    ring.join_stream(place).unwrap()
}

/// Runs both sides to the end.
fn finish(
    ring: &Ring,
    actor: &mut Actor,
    mut out: Outgoing,
    message: &[u8],
    mut stream: Taking,
    mut got: Vec<u8>,
) {
    for _ in 0..20 {
        if ring.read_stream(&mut stream, &mut got) == Got::Whole {
            assert_eq!(got, message, "torn");
            assert!(ring.take_stream(actor, &stream));
            assert_eq!(ring.write_stream(&mut out, message), Wrote::Taken);
            assert!(ring.close_stream(out));
            assert_eq!((ring.len(), ring.blocks_used()), (0, 0));
            return;
        }
        ring.write_stream(&mut out, message);
    }
    panic!("no end");
}

/// Edges stream-written and stream-read: what a position covers is there, and is written over
/// only after it was read.
#[test]
fn a_stream_is_whole() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let message = message(6);
        let mut out = offer(&ring, &mut actor, &message);
        for _ in 0..3 {
            assert_eq!(ring.write_stream(&mut out, &message), Wrote::Some);
        }
        let mut stream = take(&ring, &mut actor);
        let putter = {
            let (ring, message) = (Arc::clone(&ring), message.clone());
            thread::spawn(move || {
                // The second one has room only where the first piece was.
                ring.write_stream(&mut out, &message);
                ring.write_stream(&mut out, &message);
                out
            })
        };
        let mut got = Vec::new();
        for _ in 0..4 {
            ring.read_stream(&mut stream, &mut got);
        }
        let out = putter.join().unwrap();
        assert_eq!(got, message[..got.len()], "torn");
        finish(&ring, &mut actor, out, &message, stream, got);
    });
}

/// Edge stream-read: a getter has handed the stream back; the next one begins an epoch while
/// the putter still answers the old one. Nothing of that is accepted.
#[test]
fn a_stream_begins_anew() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let message = message(6);
        let mut out = offer(&ring, &mut actor, &message);
        for _ in 0..4 {
            assert_eq!(ring.write_stream(&mut out, &message), Wrote::Some);
        }
        let mut first = take(&ring, &mut actor);
        ring.read_stream(&mut first, &mut Vec::new());
        ring.hand_back_stream(first.place);
        let putter = {
            let (ring, message) = (Arc::clone(&ring), message.clone());
            thread::spawn(move || {
                ring.write_stream(&mut out, &message);
                ring.write_stream(&mut out, &message);
                out
            })
        };
        let mut stream = take(&ring, &mut actor);
        let mut got = Vec::new();
        for _ in 0..2 {
            ring.read_stream(&mut stream, &mut got);
        }
        let out = putter.join().unwrap();
        assert_eq!(got, message[..got.len()], "torn");
        finish(&ring, &mut actor, out, &message, stream, got);
    });
}

/// Edge stream-truth: either the getter has the message and the putter is told so, or neither.
/// Who has it finds in the record's next stream nothing of this one.
#[test]
fn a_commit_and_a_withdrawal() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let (old, new) = (message(1), [9; PIECE]);
        let mut out = offer(&ring, &mut actor, &old);
        ring.write_stream(&mut out, &old);
        let mut stream = take(&ring, &mut actor);
        let mut got = Vec::new();
        assert_eq!(ring.read_stream(&mut stream, &mut got), Got::Whole);
        let putter = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let taken = ring.close_stream(out);
                // The record and its block are somebody else's now.
                let again = ring.open_stream(PIECE, 1).map(|mut again| {
                    assert_eq!(ring.write_stream(&mut again, &new), Wrote::Some);
                    again
                });
                (taken, again)
            })
        };
        let committed = ring.take_stream(&mut actor, &stream);
        let (taken, again) = putter.join().unwrap();
        assert_eq!(committed, taken);
        // The getter may not have been done with the record by then. It is now.
        let mut again = again.or_else(|| ring.open_stream(PIECE, 1)).expect("the record is free");
        ring.write_stream(&mut again, &new);
        ring.offer_stream(&mut actor, &mut again).unwrap();
        let stream = take(&ring, &mut actor);
        finish(&ring, &mut actor, again, &new, stream, Vec::new());
    });
}

/// Edge stream-truth: putter and getter are done with a record that was taken, in either order:
/// the last of them frees it, once, and finds what the other did before.
#[test]
fn the_last_of_two_frees_the_record() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let message = message(1);
        let mut out = offer(&ring, &mut actor, &message);
        ring.write_stream(&mut out, &message);
        let mut stream = take(&ring, &mut actor);
        assert_eq!(ring.read_stream(&mut stream, &mut Vec::new()), Got::Whole);
        let getter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || ring.take_stream(&mut actor, &stream))
        };
        let known = ring.write_stream(&mut out, &message) == Wrote::Taken;
        if known {
            assert!(ring.close_stream(out));
            // Free as soon as the getter is done; whoever opens it then disturbs nobody.
            if let Some(next) = ring.open_stream(PIECE, 1) {
                assert!(!ring.close_stream(next));
            }
            assert!(getter.join().unwrap());
        } else {
            assert!(getter.join().unwrap());
            assert_eq!(ring.write_stream(&mut out, &message), Wrote::Taken);
            assert!(ring.close_stream(out));
        }
        let next = ring.open_stream(PIECE, 1).expect("the record is free");
        ring.close_stream(next);
        assert_eq!((ring.len(), ring.blocks_used()), (0, 0));
    });
}

/// Edge mpmc-commit: the name of a stream that is over was given back in its slot. A putter that
/// needs the slot and a getter that looks for messages both drop it, and what is put then
/// comes whole.
#[test]
fn a_name_of_nothing_is_dropped_once() {
    explore(|| {
        let ring = ring_with(0);
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let out = offer(&ring, &mut actor, &message(1));
        let stream = take(&ring, &mut actor);
        ring.hand_back_stream(stream.place);
        assert!(!ring.close_stream(out));
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || ring.try_put(&mut actor, &[9; 16]).is_ok())
        };
        let mut got = [0; 16];
        let early = ring.try_get(&mut actor, &mut got).is_ok();
        let put = putter.join().unwrap() || ring.try_put(&mut actor, &[9; 16]).is_ok();
        assert!(put || early, "there was room");
        if !early {
            assert_eq!(ring.try_get(&mut actor, &mut got), Ok(16));
        }
        assert_eq!(got, [9; 16]);
    });
}

/// Edge stream-truth: the only slot names a stream that is being withdrawn while a getter
/// comes. Whoever of them ends it, there is room for the next message.
#[test]
fn a_getter_meets_a_withdrawal() {
    explore(|| {
        let ring = ring();
        let mut actor = ring.actors().claim(1, 0).unwrap();
        let out = offer(&ring, &mut actor, &message(1));
        let putter = {
            let ring = Arc::clone(&ring);
            let mut actor = ring.actors().claim(1, 0).unwrap();
            thread::spawn(move || {
                assert!(!ring.close_stream(out));
                // Others may be in the way, but no message is.
                !matches!(ring.try_put(&mut actor, &[9; 16]), Err(TryPut::Corrupted(_)))
            })
        };
        match ring.try_get(&mut actor, &mut [0; 16]) {
            Err(TryGet::Stream(place)) => {
                if let Ok(stream) = ring.join_stream(place) {
                    ring.hand_back_stream(stream.place);
                } else {
                    ring.hand_back_stream(place);
                }
            }
            Ok(_) | Err(TryGet::Empty | TryGet::Busy | TryGet::Pending(_)) => {}
            other => panic!("{other:?}"),
        }
        assert!(putter.join().unwrap());
        while ring.try_get(&mut actor, &mut [0; 16]).is_ok() {}
        assert_eq!(ring.len(), 0);
        ring.try_put(&mut actor, &[9; 16]).unwrap();
        assert_eq!(ring.try_get(&mut actor, &mut [0; 16]), Ok(16));
    });
}
