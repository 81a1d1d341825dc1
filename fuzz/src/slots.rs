//! The ring of slots over any bytes.

use crate::{Input, bounded};
use ringway_core::memory::{Heap, Memory};
use ringway_core::mpmc::{Batch, Geometry, Options, Outgoing, Place, Ring, Taking, TryGet};
use ringway_core::peer::{Actor, Identity, Liveness};
use ringway_core::segment::BODY;

/// Bytes of a slot's payload, a little less than there is room for.
pub const PAYLOAD: usize = 24;

/// How many grants leave their slots.
pub const LEASES: u32 = 2;

/// A ring of `slots` slots on the heap, with about `pool` bytes of blocks.
pub fn memory(slots: u64, pool: u64) -> (Memory, Geometry) {
    let short = Options::new(slots, PAYLOAD as u32);
    let options = Options { participants: 3, actors: 4, leases: LEASES, pool, streams: 2, ..short };
    let geometry = Geometry::new(&options).expect("within limits");
    (Memory::new(Heap::new(geometry.total_len() as usize)), geometry)
}

/// Whether the code under test uses the words at `at` in halves: the events, also those of
/// streams, the count of changes, and the `live` word of each participant.
pub fn is_narrow(geometry: &Geometry, at: u64) -> bool {
    if geometry.is_event_of_stream(at) {
        return true;
    }
    let at = at - BODY;
    let event = [2, 3, 5].into_iter().any(|line| at == 128 * line);
    let live = (6..9).any(|line| at == 128 * line);
    event || live || at == 128 * 4 + 64 || at == 128 * 5 + 64
}

/// Whoever has an odd number may be dead at any time.
pub struct Odd;

impl Liveness for Odd {
    fn proven_dead(&self, participant: u32) -> bool {
        participant % 2 == 1
    }

    fn alone(&self, _participant: u32, body: &mut dyn FnMut()) -> bool {
        body();
        true
    }
}

/// A ring with an actor, made while the memory is still sound.
pub struct User {
    ring: Ring,
    actor: Actor,
    /// Messages that were taken and not given free.
    held: Vec<Place>,
    streams: Streams,
}

/// A message on its way, and the beginning of one that was taken.
#[derive(Default)]
struct Streams {
    out: Option<Outgoing>,
    taking: Option<Taking>,
    got: Vec<u8>,
}

impl User {
    /// Joins the ring in `memory` as participant 2.
    pub fn new(memory: &Memory, geometry: Geometry) -> Self {
        let ring = Ring::new(memory, geometry).expect("it fits");
        ring.participants().join(2, Identity::default());
        let actor = ring.actors().claim(2, 0).expect("nobody else is there");
        Self { ring, actor, held: Vec::new(), streams: Streams::default() }
    }

    /// One operation.
    pub fn step(&mut self, input: &mut Input) {
        let Self { ring, actor, held, streams } = self;
        let what = input.byte();
        let message = [0x5A; 40];
        let message = &message[..input.below(message.len())];
        if what >= 0xC0 {
            let long = 1 + input.below(4000);
            return bounded(|| in_blocks(ring, actor, held, what, long));
        }
        if what >= 0xA8 {
            return bounded(|| stream(ring, actor, streams, what));
        }
        bounded(|| match what % 18 {
            0..=2 => drop(ring.try_put(actor, message)),
            3..=5 => get(ring, actor, held, &mut [0; 40][..message.len()]),
            6 => drop(ring.try_put_accepted(actor, message)),
            7 => drop(ring.recover(1, &Odd)),
            8 => drop(ring.recover(3, &Odd)),
            // Grants that are given back come on top.
            9 => assert!(ring.len() <= ring.capacity() + u64::from(LEASES)),
            10 => drop((ring.is_full(), ring.is_empty(), ring.is_shut_down())),
            11 => drop((ring.may_have_room(), ring.may_have_message())),
            12 => drop((ring.participants().overflow(), ring.actors().totals())),
            13 => {
                let table = ring.participants();
                for id in 0..=table.count() + 1 {
                    let _ = (table.standing(id), table.identity(id));
                }
                table.set_overflow(2, u64::from(what));
            }
            14 => {
                // Somebody comes, and is gone.
                ring.participants().join(3, Identity::default());
                if let Some(actor) = ring.actors().claim(3, what.into()) {
                    ring.actors().release(actor);
                }
                ring.participants().free(3);
            }
            15 => {
                let mut batch = Batch::new();
                (0..what / 18).for_each(|_| batch.push(message));
                let put = ring.try_put_many(actor, &batch, usize::from(what % 3));
                assert!(put.is_ok_and(|put| put <= batch.len()) || put.is_err());
            }
            16 => {
                let mut batch = Batch::new();
                let got = ring.try_get_many(actor, message.len(), &mut batch);
                assert!(got.is_err() || got == Ok(batch.len()), "as many as it says");
            }
            _ => ring.shutdown(actor, what & 0x10 != 0),
        });
    }
}

/// What is longer than a slot, and what is kept for a while: `len` is of a message or a
/// buffer.
fn in_blocks(ring: &Ring, actor: &mut Actor, held: &mut Vec<Place>, what: u8, len: usize) {
    let mut buffer = vec![0x5B; len];
    match what % 8 {
        0 | 1 => drop(ring.try_put_long(actor, &buffer)),
        2 => get(ring, actor, held, &mut buffer),
        3 | 4 => {
            if let Ok(place) = ring.try_take(actor) {
                held.push(place);
            }
        }
        5 => {
            let used = ring.blocks_used();
            assert!(used <= ring.geometry().pool().blocks(), "{used} blocks");
        }
        _ => {
            let Some(place) = held.pop() else { return };
            if let Ok(told) = ring.copy_taken(place, &mut buffer) {
                assert!(told <= ring.max_message(), "no memory is to be taken for so much");
            }
            if what % 8 == 6 {
                ring.release_taken(actor, place);
            }
        }
    }
}

/// Longer than any pool here.
static LONG: [u8; 100_000] = [0x5C; 100_000];

/// A step of either side of a stream.
fn stream(ring: &Ring, actor: &mut Actor, streams: &mut Streams, what: u8) {
    let Streams { out, taking, got } = streams;
    match what % 8 {
        0 => {
            // The one before is withdrawn, wherever it is.
            if let Some(old) = out.take() {
                ring.close_stream(old);
            }
            *out = ring.open_stream(LONG.len(), 2);
        }
        1 => drop(out.as_mut().map(|out| ring.offer_stream(actor, out))),
        2 | 3 => drop(out.as_mut().map(|out| ring.write_stream(out, &LONG))),
        4 => {
            if let Some(old) = taking.take() {
                ring.hand_back_stream(old.place);
            }
            if let Err(TryGet::Stream(place)) = ring.try_get(actor, &mut [0; 40]) {
                got.clear();
                // Else it stays with us, and is left to the repair of our death.
                *taking = ring.join_stream(place).ok();
            }
        }
        5 | 6 => {
            if let Some(taking) = taking {
                let _ = ring.read_stream(taking, got);
                assert!(got.capacity() <= 2 * (got.len() + (64 << 10)), "more than came");
            }
        }
        _ => {
            if let Some(taken) = taking.take() {
                ring.take_stream(actor, &taken);
            }
        }
    }
}

fn get(ring: &Ring, actor: &mut Actor, held: &mut Vec<Place>, buffer: &mut [u8]) {
    match ring.try_get(actor, buffer) {
        Ok(len) => assert!(len <= ring.max_message(), "a message longer than all blocks"),
        Err(TryGet::Long(place)) => held.push(place),
        Err(TryGet::Stream(place)) => ring.hand_back_stream(place),
        Err(TryGet::Corrupted(_) | TryGet::Pending(_)) => {}
        Err(TryGet::Empty | TryGet::Busy | TryGet::ShutDown) => {}
    }
}
