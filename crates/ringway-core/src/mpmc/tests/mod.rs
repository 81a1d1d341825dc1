//! Tests of the ring over heap memory.

mod basics;
mod batches;
mod block_steps;
mod blocks;
mod bounds;
mod feeding;
mod joins;
mod liveness;
mod liveness_roles;
mod pids;
mod processes;
mod shared;
mod steps;
mod stream_bounds;
mod stream_faults;
mod stream_steps;
mod threads;
mod unheard;
mod wakeups;

use super::{Geometry, Options, Ring};
use crate::memory::{Heap, Memory};
use crate::peer::{Identity, Liveness};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// A ring of `slots` slots on the heap, with participants 1 to 4 joined. With an odd number
/// the slots are short.
fn ring(slots: u64) -> Ring {
    let exact = slots % 2 == 1;
    let options = Options { participants: 4, actors: 8, exact, ..Options::new(slots, 8) };
    let geometry = Geometry::new(&options).unwrap();
    let memory = Memory::new(Heap::new(usize::try_from(geometry.total_len()).unwrap()));
    let ring = Ring::new(&memory, geometry).unwrap();
    for id in 1..=4 {
        ring.participants().join(id, Identity::default());
    }
    ring
}

/// Liveness by decree.
#[derive(Default)]
struct Fates {
    dead: Mutex<BTreeSet<u32>>,
    repaired: Mutex<BTreeSet<u32>>,
}

impl Fates {
    fn kill(&self, participant: u32) {
        self.dead.lock().unwrap().insert(participant);
    }
}

impl Liveness for Fates {
    fn proven_dead(&self, participant: u32) -> bool {
        self.dead.lock().unwrap().contains(&participant)
    }

    fn alone(&self, participant: u32, body: &mut dyn FnMut()) -> bool {
        let free = self.repaired.lock().unwrap().insert(participant);
        if free {
            body();
            self.repaired.lock().unwrap().remove(&participant);
        }
        free
    }
}

impl Ring {
    /// Puts a number.
    fn put_number(&self, actor: &mut crate::peer::Actor, n: u64) -> Result<(), super::TryPut> {
        self.try_put(actor, &n.to_le_bytes())
    }

    /// Takes a number.
    fn get_number(&self, actor: &mut crate::peer::Actor) -> Result<u64, super::TryGet> {
        let mut bytes = [0; 8];
        assert_eq!(self.try_get(actor, &mut bytes)?, 8);
        Ok(u64::from_le_bytes(bytes))
    }
}
