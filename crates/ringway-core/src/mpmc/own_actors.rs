//! The actors of one attachment.
//!
//! The process remembers which records it has claimed. When it leaves it looks at those and no
//! others: there are hundreds, and in a young segment most lie in pages that nobody has touched.

use super::attachment::{JOIN_ATTEMPTS, PAUSES};
use super::keeper::Keeper;
use super::ring::Ring;
use crate::peer::{Actor, Standing};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a process has of the actor records of a ring.
pub(super) struct OwnActors {
    participant: u32,
    /// For threads that have no actor of their own.
    spare: Mutex<Actor>,
    /// Of threads that ended: their records count tasks of this process.
    kept: Mutex<Vec<Actor>>,
    /// Every record that was claimed, given back or not.
    claimed: Mutex<BTreeSet<usize>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An actor for `participant`, if one is free. Participants begin to look at different places.
fn claim(ring: &Ring, participant: u32) -> Option<Actor> {
    ring.actors().claim(participant, (participant as usize).wrapping_mul(4))
}

/// An actor for the participant of `keeper`, which has just joined. The dead may still have
/// all there are: waits a moment for their proofs, and as long as one is being repaired, also by
/// our own guardian or another process, up to about 0.2 s.
pub(super) fn first_actor(ring: &Ring, keeper: &Keeper) -> Option<Actor> {
    let claim = || claim(ring, keeper.participant);
    let table = ring.participants();
    let mut pauses = PAUSES.into_iter();
    for _ in 0..JOIN_ATTEMPTS {
        let actor = claim();
        if actor.is_some() {
            return actor;
        }
        keeper.bury_the_dead();
        let repaired = (1..=table.count()).any(|id| table.standing(id) == Standing::Dead);
        match pauses.next().or(repaired.then_some(Duration::from_millis(1))) {
            Some(pause) => std::thread::sleep(pause),
            // After the look: a repair that has ended meanwhile gave them back before.
            None => break,
        }
    }
    claim()
}

impl OwnActors {
    /// `spare` is the first.
    pub(super) fn new(spare: Actor) -> Self {
        let claimed = Mutex::new(BTreeSet::from([spare.index()]));
        let participant = spare.participant();
        Self { participant, spare: Mutex::new(spare), kept: Mutex::default(), claimed }
    }

    /// An actor for a thread that keeps it.
    pub(super) fn another(&self, ring: &Ring) -> Option<Actor> {
        let kept = held(&self.kept).pop();
        kept.or_else(|| {
            let actor = claim(ring, self.participant)?;
            held(&self.claimed).insert(actor.index());
            Some(actor)
        })
    }

    /// The thread ends that had `actor`. A record that says how many tasks the process took
    /// stays with it, for the next thread.
    pub(super) fn put_back(&self, ring: &Ring, actor: Actor) {
        if ring.actors().has_taken(&actor) {
            held(&self.kept).push(actor);
        } else {
            ring.actors().release(actor);
        }
    }

    /// The actor that threads without one of their own take turns with. Held for one
    /// operation, which does not wait.
    pub(super) fn spare(&self) -> MutexGuard<'_, Actor> {
        held(&self.spare)
    }

    /// The process leaves `ring`, and is in no call.
    pub(super) fn leave(&self, ring: &Ring) {
        let claimed: Vec<usize> = held(&self.claimed).iter().copied().collect();
        ring.leave_with(self.participant, &claimed);
    }
}
