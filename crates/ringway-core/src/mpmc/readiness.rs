//! Waiting for a queue together with others.

use super::ring::Ring;
use super::shared::SharedRing;
use super::word::{IMMEDIATE, Phase, SHUTDOWN, State, marks};
use crate::peer::Actor;
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::wait::{Event, Ticket};

impl Ring {
    /// Whether a get would not wait: a message, or the end after a shutdown. Takes
    /// nothing but tombs and the like in its way.
    ///
    /// Who waits for the end is woken when a grant that keeps its slot is released, and by the
    /// tick when a get that was under way has ended.
    fn get_is_ready(&self, actor: &mut Actor) -> bool {
        const LOOKS: u64 = 64;
        for _ in 0..self.capacity().max(LOOKS) {
            // Relaxed: as in `get_with`. Sleepers are woken by an RMW after the mark.
            if self.marks.load(Relaxed) & marks::REDELIVER != 0 {
                return true;
            }
            // ORDERING mpmc-claim (SeqCst): a sleeper's last look, as in `get_blocked`.
            let head = self.dequeue_pos.load(SeqCst);
            let tail = self.enqueue_pos.load(SeqCst);
            if tail & IMMEDIATE != 0 {
                // Whatever is there, a get says that it is over.
                return true;
            }
            // Corrupted memory is ready: the get will say so.
            let Some(state) = self.state(head) else { return true };
            if self.is_dud(head, state) {
                self.retire(actor, head);
                continue;
            }
            if state == State::of(Phase::Full, self.positions.lap(head)) {
                return true;
            }
            // ORDERING mpmc-claim (SeqCst): as above.
            if self.dequeue_pos.load(SeqCst) == head {
                // Empty, or claimed and not committed. Whoever has a stream may give it back.
                return tail & SHUTDOWN != 0
                    && self.participants().overflow() == 0
                    && !self.has_open_stream()
                    && !self.may_be_got_somewhere(actor.participant())
                    && !self.may_come_back(actor.participant());
            }
        }
        // Others take so much that there must be something.
        true
    }
}

impl SharedRing {
    /// Announces a sleeping getter and then looks: `None` if a get would not wait, also
    /// because it would fail; else what to sleep on. See
    /// [`Waitable`](crate::wait::Waitable).
    pub fn announce_getter(&self) -> Option<(Event, Ticket)> {
        let attachment = self.attachment().ok()?;
        let event = attachment.ring.not_empty();
        let ticket = event.announce();
        let ready = attachment.with_actor(Ring::get_is_ready);
        (!ready).then(|| (event.clone(), ticket))
    }

    /// Looks after the peers, at most twice a second: what those who sleep elsewhere
    /// than in this ring's calls owe it.
    pub fn tend(&self) {
        if let Ok(attachment) = self.attachment() {
            attachment.tick();
        }
    }
}
