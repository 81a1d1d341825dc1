//! Lending actors to threads.
//!
//! Handles may be used by any thread, and each thread in an operation needs an actor
//! of its own. A thread claims one at its first use of a ring and keeps it until it
//! ends or the ring is dropped: afterwards an operation costs a look into a
//! thread-local list, and no atomic read-modify-write. Beside the actor lies what the thread keeps for
//! its next grants.
//!
//! A thread that gets none (all are taken, or it uses the ring from within itself, in
//! a signal handler or while its locals are destroyed) takes turns with others on one
//! spare actor per process.

use super::attachment::Attachment;
use super::read_grant::Held;
use super::ring::Ring;
use crate::blocks::Chain;
use crate::peer::Actor;
use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// A thread's actor for one ring.
struct Lent {
    /// The address of the attachment.
    at: usize,
    /// Weak, so that an idle thread does not keep the ring. It keeps the allocation,
    /// so the address stands for this attachment and no later one.
    home: Weak<Attachment>,
    actor: Option<Actor>,
    spares: Spares,
}

/// What a thread keeps for its next grants of the ring, so that steady traffic over a few rings
/// allocates nothing. No list of blocks that takes memory of its own.
#[derive(Default)]
pub(super) struct Spares {
    pub(super) held: Option<Box<Held>>,
    pub(super) chain: Option<Box<Chain>>,
}

impl Spares {
    #[inline]
    pub(super) fn keep_held(&mut self, held: Box<Held>) {
        if held.is_small() {
            self.held = Some(held);
        }
    }

    #[inline]
    pub(super) fn keep_chain(&mut self, chain: Box<Chain>) {
        if chain.is_small() {
            self.chain = Some(chain);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Gone with the attachment, or a copy of what the parent's thread has.
        if let Some(home) = self.home.upgrade()
            && !home.is_inherited()
            && let Some(actor) = self.actor.take()
        {
            home.put_back(actor);
        }
    }
}

/// Up to here in a thread's list a search costs less than to move what it finds.
const NEAR: usize = 8;

thread_local! {
    static LENT: RefCell<Vec<Lent>> = const { RefCell::new(Vec::new()) };
}

impl Attachment {
    /// Runs `operation` with an actor that nobody else uses meanwhile.
    #[inline]
    pub(super) fn with_actor<R>(
        self: &Arc<Self>,
        mut operation: impl FnMut(&Ring, &mut Actor) -> R,
    ) -> R {
        self.with_lent(|ring, actor, _| operation(ring, actor))
    }

    /// As [`with_actor`](Self::with_actor), and with what this thread keeps for its next grants.
    #[inline]
    pub(super) fn with_lent<R>(
        self: &Arc<Self>,
        mut operation: impl FnMut(&Ring, &mut Actor, &mut Spares) -> R,
    ) -> R {
        let done = LENT.try_with(|lent| {
            let mut lent = lent.try_borrow_mut().ok()?;
            let own = match lent.first_mut() {
                Some(first) if self.is(first) => first,
                _ => self.find_lent(&mut lent)?,
            };
            Some(operation(&self.ring, own.actor.as_mut()?, &mut own.spares))
        });
        match done {
            Ok(Some(result)) => result,
            _ => operation(&self.ring, &mut self.spare(), &mut Spares::default()),
        }
    }

    /// What this thread keeps for its next grants, if its actor is at hand; for who needs none.
    #[inline]
    pub(super) fn spares<R>(self: &Arc<Self>, body: impl FnOnce(&mut Spares) -> R) -> Option<R> {
        self.with_own(|own| Some(body(&mut own.spares)))
    }

    /// As [`with_actor`](Self::with_actor), if this thread's actor is at hand.
    #[inline]
    pub(super) fn with_own_actor<R>(
        self: &Arc<Self>,
        operation: impl FnOnce(&Ring, &mut Actor) -> R,
    ) -> Option<R> {
        self.with_own(|own| Some(operation(&self.ring, own.actor.as_mut()?)))
    }

    /// Runs `body` with this thread's entry, if it is at hand.
    #[inline]
    fn with_own<R>(self: &Arc<Self>, body: impl FnOnce(&mut Lent) -> Option<R>) -> Option<R> {
        let done = LENT.try_with(|lent| {
            let mut lent = lent.try_borrow_mut().ok()?;
            let own = match lent.first_mut() {
                Some(first) if self.is(first) => first,
                _ => self.find_near(&mut lent)?,
            };
            body(own)
        });
        done.ok().flatten()
    }

    #[inline]
    fn is(self: &Arc<Self>, entry: &Lent) -> bool {
        Arc::as_ptr(self).addr() == entry.at
    }

    /// This thread's entry, when it is near the front but not the first: the thread uses
    /// several rings in turn.
    #[inline(never)]
    fn find_near<'a>(self: &Arc<Self>, lent: &'a mut [Lent]) -> Option<&'a mut Lent> {
        lent.iter_mut().take(NEAR).find(|entry| self.is(entry))
    }

    /// This thread's entry, when it is not the first in its list.
    fn find_lent<'a>(self: &Arc<Self>, lent: &'a mut Vec<Lent>) -> Option<&'a mut Lent> {
        let found = match lent.iter().position(|entry| self.is(entry)) {
            Some(far) if far >= NEAR => {
                // What is used often migrates to the front.
                lent.swap(far, far / 2);
                far / 2
            }
            Some(near) => near,
            None => self.lend(lent)?,
        };
        lent.get_mut(found)
    }

    /// Claims an actor for this thread.
    #[cold]
    fn lend(self: &Arc<Self>, lent: &mut Vec<Lent>) -> Option<usize> {
        lent.retain(|entry| entry.home.strong_count() > 0);
        let actor = self.new_actor()?;
        let at = Arc::as_ptr(self).addr();
        lent.push(Lent {
            at,
            home: Arc::downgrade(self),
            actor: Some(actor),
            spares: Spares::default(),
        });
        Some(lent.len() - 1)
    }
}
