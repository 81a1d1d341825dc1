//! The eventcount: "something changed" without a lost wake-up and without a syscall
//! or a fence on the busy side.
//!
//! # The word
//!
//! ```text
//! bit 0       S: someone may be asleep
//! bits 1..32  sequence, one up with every wake-up
//! ```
//!
//! There is no count of sleepers: a count does not survive the kill of one it counts.
//! A bit that says "may" can only be wrong in the harmless direction, and the waker
//! cleans it: a wake-up that reaches fewer than it could, or all, takes the bit down and wakes once more,
//! for a sleeper that came between.
//!
//! # Why no wake-up is lost
//!
//! ```text
//! sleeper                                  waker
//!   S := 1            (RMW)                  publish (store or RMW)
//!   heavy barrier                            light barrier
//!   look again: published? then go on        S set? then sequence += 1, wake
//!   sleep while the word is what S gave
//! ```
//!
//! Either the waker's look at S comes after S was set, and it wakes; or its publish
//! came before the sleeper's second look, and the sleeper does not sleep. A
//! store-then-load on both sides needs a full fence on both (Dekker). Where the
//! publish is a SeqCst RMW it is that fence. Where it is a plain store
//! ([`super::barrier`]) the sleeper pays for both. Between the look and the sleep the
//! sequence guards: the system compares the word again before it puts the thread to
//! sleep.
//!
//! The bit and its cleaning are after the well-known eventcount of Dmitry Vyukov and
//! folly; the bit in place of a count is for crash safety.

use super::futex::{self, Woken};
use super::{Deadline, barrier};
use crate::memory::Word32;
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};

/// "Someone may be asleep."
const ASLEEP: u32 = 1;
/// One step of the sequence. It wraps round above; a sleeper would have to be
/// delayed for exactly 2^31 wake-ups between its look and its sleep to miss one.
const STEP: u32 = 2;

/// An eventcount on a word of the segment.
#[derive(Clone)]
pub struct Event {
    word: Word32,
}

/// What the word was when a sleeper announced itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u32);

impl Event {
    /// An event on `word`, whose value 0 means: nobody asleep.
    pub fn new(word: Word32) -> Self {
        Self { word }
    }

    /// Announces that the caller is about to sleep. It must then look again at what
    /// it waits for, after [`barrier::heavy`] where the waker publishes with a plain
    /// store, and only then [`sleep`](Self::sleep).
    pub fn announce(&self) -> Ticket {
        // ORDERING event-announce (SeqCst): with `notify` (event-announce) this is one
        // half of a store-then-load on both sides. The RMW keeps the caller's second
        // look from moving before it.
        let seen = self.word.fetch_or(ASLEEP, SeqCst);
        Ticket(seen | ASLEEP)
    }

    /// Sleeps until the next wake-up after `ticket` was drawn, a signal, or `until`.
    /// May return early for no reason.
    pub fn sleep(&self, ticket: Ticket, until: Deadline) -> Woken {
        futex::sleep(&self.word, ticket.0, until)
    }

    /// Wakes one sleeper, if any may be asleep. Call it after publishing. With nobody
    /// asleep this is one load.
    #[inline]
    pub fn notify(&self) {
        self.notify_any(1);
    }

    /// Wakes up to `many` sleepers, one for each thing that was published.
    #[inline]
    pub fn notify_many(&self, many: u64) {
        self.notify_any(many);
    }

    /// As [`notify_many`](Self::notify_many), and says whether any may have been asleep.
    #[inline]
    pub(crate) fn notify_any(&self, many: u64) -> bool {
        barrier::light();
        // ORDERING event-announce (SeqCst): the load half. It stays behind the
        // publishing RMW, or behind the light barrier where a store published.
        let any = self.word.load(SeqCst) & ASLEEP != 0;
        if any {
            self.notify_slow(u32::try_from(many).unwrap_or(u32::MAX));
        }
        any
    }

    #[cold]
    fn notify_slow(&self, many: u32) {
        let now = self.step();
        if futex::wake(&self.word, many) < many as usize {
            self.clean(now);
        }
    }

    /// A wake-up: what the word is now, if nobody changes it.
    fn step(&self) -> u32 {
        // ORDERING event-sequence (SeqCst): as every change of the word: wakers and sleepers
        // agree on one order.
        self.word.fetch_add(STEP, SeqCst).wrapping_add(STEP)
    }

    /// Takes the bit down after all that were asleep at step `now` were woken. After, and not
    /// before: others would rely on a waker that may be stopped or killed here.
    fn clean(&self, now: u32) {
        let clean = now.wrapping_add(STEP) & !ASLEEP;
        // ORDERING event-sequence (SeqCst): as above. Failure: another waker or sleeper moved the word and has taken over.
        if self.word.compare_exchange(now, clean, SeqCst, Relaxed).is_ok() {
            // A sleeper that drew its ticket before the exchange finds the word
            // changed; one already queued is woken here.
            futex::wake(&self.word, u32::MAX);
        }
    }

    /// Whether there was a wake-up since `ticket` was drawn. It may have come to whoever
    /// drew it: one that leaves without having taken anything [notifies](Self::notify)
    /// another in its place.
    pub fn moved_since(&self, ticket: Ticket) -> bool {
        // ORDERING event-sequence (acquire): what the waker did comes with its step. SeqCst,
        // as all accesses of the word.
        self.word.load(SeqCst) & !ASLEEP != ticket.0 & !ASLEEP
    }

    /// Wakes every sleeper, if any may be asleep. Call it after publishing with a
    /// SeqCst RMW something that every sleeper looks at, such as a departure.
    pub fn notify_all(&self) {
        // ORDERING event-announce (SeqCst): as in `notify`.
        if self.word.load(SeqCst) & ASLEEP != 0 {
            self.broadcast();
        }
    }

    /// Wakes every sleeper, and makes those about to sleep look again. For closing,
    /// and after any death: a killed waker or a killed woken sleeper swallows a wake.
    pub fn broadcast(&self) {
        let now = self.step();
        futex::wake(&self.word, u32::MAX);
        // Left standing, the bit would cost every `notify_all` from now on a syscall.
        if now & ASLEEP != 0 {
            self.clean(now);
        }
    }

    /// The word and the value to sleep on, together with others.
    pub fn waiter(&self, ticket: Ticket) -> (&Word32, u32) {
        (&self.word, ticket.0)
    }

    /// Whether someone may be asleep. For tests and inspection.
    pub fn may_have_sleepers(&self) -> bool {
        // ORDERING event-announce (acquire): who sees the bit also sees what the sleeper did
        // before it.
        self.word.load(Acquire) & ASLEEP != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::{Heap, Memory};
    use std::time::Duration;

    fn event() -> Event {
        Event::new(Memory::new(Heap::new(64)).word32(0).unwrap())
    }

    /// Who announced itself and then did not sleep, as where it found what it looked for.
    #[test]
    fn nobody_pays_twice_for_one_who_did_not_sleep() {
        for wake in [Event::notify, Event::notify_all, Event::broadcast] {
            let event = event();
            event.announce();
            assert!(event.may_have_sleepers());
            wake(&event);
            assert!(!event.may_have_sleepers());
        }
    }

    #[test]
    fn a_ticket_from_before_a_wake_up_puts_nobody_to_sleep() {
        for wake in [Event::notify, Event::notify_all, Event::broadcast] {
            let event = event();
            let ticket = event.announce();
            wake(&event);
            let until = Deadline::after(Duration::from_secs(60));
            assert!(event.moved_since(ticket));
            assert_ne!(event.sleep(ticket, until), Woken::TimedOut);
        }
    }
}
