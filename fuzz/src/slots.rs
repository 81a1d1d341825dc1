//! The ring of slots over any bytes.

use crate::{Input, bounded};
use ringway_core::memory::{Heap, Memory};
use ringway_core::mpmc::{Geometry, Options, Ring, TryGet};
use ringway_core::peer::{Actor, Identity, Liveness};
use ringway_core::segment::BODY;

/// Bytes of a slot's payload, a little less than there is room for.
pub const PAYLOAD: usize = 24;

/// A ring of `slots` slots on the heap.
pub fn memory(slots: u64) -> (Memory, Geometry) {
    let options = Options { participants: 3, actors: 4, ..Options::new(slots, PAYLOAD as u32) };
    let geometry = Geometry::new(&options).expect("within limits");
    (Memory::new(Heap::new(geometry.total_len() as usize)), geometry)
}

/// Whether the code under test uses the words at `at` in halves: the three events, the
/// count of changes, and the `live` word of each participant.
pub fn is_narrow(at: u64) -> bool {
    let at = at - BODY;
    let event = [2, 3, 5].into_iter().any(|line| at == 128 * line);
    let live = (6..9).any(|line| at == 128 * line);
    event || live || at == 128 * 5 + 64
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
}

impl User {
    /// Joins the ring in `memory` as participant 2.
    pub fn new(memory: &Memory, geometry: Geometry) -> Self {
        let ring = Ring::new(memory, geometry).expect("it fits");
        ring.participants().join(2, Identity::default());
        let actor = ring.actors().claim(2, 0).expect("nobody else is there");
        Self { ring, actor }
    }

    /// One operation.
    pub fn step(&mut self, input: &mut Input) {
        let Self { ring, actor } = self;
        let what = input.byte();
        let message = [0x5A; 40];
        let message = &message[..input.below(message.len())];
        bounded(|| match what % 16 {
            0..=2 => drop(ring.try_put(actor, message)),
            3..=5 => get(ring, actor, &mut [0; 40][..message.len()]),
            6 => drop(ring.try_put_accepted(actor, message)),
            7 => drop(ring.recover(1, &Odd)),
            8 => drop(ring.recover(3, &Odd)),
            9 => assert!(ring.len() <= ring.capacity()),
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
            _ => ring.shutdown(actor, what & 0x10 != 0),
        });
    }
}

fn get(ring: &Ring, actor: &mut Actor, buffer: &mut [u8]) {
    match ring.try_get(actor, buffer) {
        Ok(len) => assert!(len <= ring.payload_size(), "a message longer than a slot"),
        Err(TryGet::Corrupted(_) | TryGet::Pending(_)) => {}
        Err(TryGet::Empty | TryGet::Busy | TryGet::ShutDown) => {}
    }
}
