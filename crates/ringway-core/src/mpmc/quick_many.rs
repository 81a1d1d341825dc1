//! The short way of a batch of words: nothing but the ring, as [`quick`](super::quick) for
//! single messages.
//!
//! Where all messages are words in short slots, a batch has nothing to measure and nothing to
//! decode. What is left are loops over slots that keep everything in registers and store
//! nothing else in between.

use super::ring::Ring;
use super::shared::SharedRing;
use super::word::{Announcement, Phase, marks};
use crate::peer::{Actor, Committed};
use crate::sync::Ordering::Relaxed;
use crate::sync::spin_hint;

/// Bytes of a message that is a word.
pub(super) const WORD: usize = 8;

impl SharedRing {
    /// Puts messages of 8 bytes each, which lie one after the other in `messages`, under one
    /// claim, as many as there is room for, if that takes nothing but the ring; says how
    /// many. Looks up to `looks()` times, about 30 ns apart, for room; at least once. 0 says
    /// only that [`put_many`](Self::put_many) and [`try_put_many`](Self::try_put_many) know
    /// more.
    #[inline]
    pub fn put_words_quick(&self, messages: &[u8], looks: impl FnOnce() -> u32) -> usize {
        let put = |ring: &Ring, actor: &mut Actor| {
            let now = |actor: &mut Actor| ring.put_words_now(actor, messages);
            ring.some_words(actor, looks, now)
        };
        self.quick().and_then(|attachment| attachment.with_own_actor(put)).unwrap_or(0)
    }

    /// Takes as many messages of 8 bytes each under one claim as are there and as `into` has
    /// room for, if that takes nothing but the ring; says how many. Looks as
    /// [`put_words_quick`](Self::put_words_quick) for one. 0 says only that
    /// [`get_many`](Self::get_many) and [`try_get_many`](Self::try_get_many) know more.
    #[inline]
    pub fn get_words_quick(&self, into: &mut [u8], looks: impl FnOnce() -> u32) -> usize {
        let get = |ring: &Ring, actor: &mut Actor| {
            let now = |actor: &mut Actor| ring.get_words_now(actor, into);
            ring.some_words(actor, looks, now)
        };
        self.quick().and_then(|attachment| attachment.with_own_actor(get)).unwrap_or(0)
    }
}

impl Ring {
    /// Whether every message is a word in its slot.
    #[inline]
    pub(super) fn has_words(&self) -> bool {
        self.room.is_exact() && self.room.most() == WORD
    }

    #[inline]
    fn some_words(
        &self,
        actor: &mut Actor,
        looks: impl FnOnce() -> u32,
        mut now: impl FnMut(&mut Actor) -> u64,
    ) -> usize {
        if !self.has_words() {
            return 0;
        }
        let mut some = now(actor);
        if some == 0 {
            for _ in 1..looks() {
                spin_hint();
                some = now(actor);
                if some > 0 {
                    break;
                }
            }
        }
        usize::try_from(some).unwrap_or(0)
    }

    /// The steps of a batch of puts, as in `put_run`, with everything looked up once. For a
    /// ring that [has words](Self::has_words), as what follows.
    #[inline(never)]
    pub(super) fn put_words_now(&self, actor: &mut Actor, messages: &[u8]) -> u64 {
        // Relaxed: a first guess. The slots' states and the CAS decide.
        let tail = self.enqueue_pos.load(Relaxed);
        let run = self.run_of(Phase::Empty, tail, (messages.len() / WORD) as u64);
        let Some(own) = self.actors.own(actor).filter(|_| run > 0) else { return 0 };
        own.announce_many(Announcement::put(tail), run);
        if self.claim_put_many(tail, run).is_err() {
            // Nobody waits or leaves while it announces: repair would wait for it.
            own.withdraw_many();
            return 0;
        }
        self.write_words(tail, run, messages);
        self.publish_run(tail, run);
        own.withdraw_many();
        self.not_empty.notify_many(run);
        own.count_many(Committed::Put, run);
        run
    }

    /// The steps of a batch of gets, as in `take_run`, with everything looked up once.
    #[inline(never)]
    pub(super) fn get_words_now(&self, actor: &mut Actor, into: &mut [u8]) -> u64 {
        // Relaxed: a reason to leave it to the long way, which looks again.
        if self.marks.load(Relaxed) & (marks::REDELIVER | marks::DISCARD) != 0 {
            return 0;
        }
        // Relaxed: a first guess. The slots' states and the CAS decide.
        let head = self.dequeue_pos.load(Relaxed);
        let run = self.run_of(Phase::Full, head, (into.len() / WORD) as u64);
        let Some(own) = self.actors.own(actor).filter(|_| run > 0) else { return 0 };
        own.announce_many(Announcement::get(head), run);
        if self.claim_get_many(head, run).is_err() {
            // As in `put_words_now`.
            own.withdraw_many();
            return 0;
        }
        self.read_words(head, run, into);
        // COMMIT of all, as `commit_get_many`.
        own.announce(Announcement::done(head));
        self.release_run(head, run);
        own.withdraw_many();
        if self.not_full.notify_any(run) {
            self.notify_room_behind();
        }
        own.count_many(Committed::Get, run);
        run
    }

    // ---- Steps ----------------------------------------------------------------

    /// Step 3 of a batch of puts, of words.
    #[inline]
    pub(super) fn write_words(&self, tail: u64, run: u64, messages: &[u8]) {
        let mut messages = messages.chunks_exact(WORD);
        for (_, slots) in self.stretches(tail, run) {
            // The slots first: where they end, no message is taken for none.
            slots.zip(&mut messages).for_each(|(slot, message)| slot.write_word(message));
        }
    }

    /// Step 3 of a batch of gets, of words.
    #[inline]
    pub(super) fn read_words(&self, head: u64, run: u64, into: &mut [u8]) {
        let mut places = into.chunks_exact_mut(WORD);
        for (_, slots) in self.stretches(head, run) {
            slots.zip(&mut places).for_each(|(slot, place)| slot.read_word(place));
        }
    }

    /// Step 4 of a batch of puts: COMMIT of one after the other. Apart from the writing, so
    /// that getters, who look at the first slot all the time, find many: each look takes its
    /// cache line away from the writer.
    #[inline]
    pub(super) fn publish_run(&self, tail: u64, run: u64) {
        for (lap, slots) in self.stretches(tail, run) {
            slots.for_each(|slot| slot.publish(lap));
        }
    }

    /// After the commit of a batch of gets: its slots are free for the puts of the next lap.
    #[inline]
    pub(super) fn release_run(&self, head: u64, run: u64) {
        for (lap, slots) in self.stretches(head, run) {
            let next_lap = self.positions.lap_after(lap);
            slots.for_each(|slot| slot.release(next_lap));
        }
    }
}
