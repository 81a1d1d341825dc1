//! The eventcount: "something changed" without a lost wake-up and without a syscall
//! or a fence on the busy side.
//!
//! # The word
//!
//! ```text
//! bit 0       ASLEEP: someone may be asleep
//! bit 1       NEW: someone announced itself since the last wake-up
//! bits 2..32  sequence, one up with every wake-up
//! ```
//!
//! There is no count of sleepers: a count does not survive the kill of one it counts.
//! A bit that says "may" can only be wrong in the harmless direction, and the waker
//! cleans it. A wake-up takes NEW down with its step and then wakes; if it reached fewer than it
//! could, or all, it takes ASLEEP down where NEW has not come back: nobody announced itself since
//! the step, so all whom the word could keep asleep have been woken. A waker that is stopped or
//! killed anywhere leaves ASLEEP to the next one.
//!
//! # Why no wake-up is lost
//!
//! ```text
//! sleeper                                  waker
//!   ASLEEP, NEW := 1  (RMW)                  publish (store or RMW)
//!   heavy barrier                            light barrier
//!   look again: published? then go on        ASLEEP? then sequence += 1, NEW := 0; wake
//!   sleep while the word is what that gave
//! ```
//!
//! Either the waker's look at ASLEEP comes after it was set, and it wakes; or its publish
//! came before the sleeper's second look, and the sleeper does not sleep. A
//! store-then-load on both sides needs a full fence on both (Dekker). Where the
//! publish is a SeqCst RMW it is that fence. Where it is a plain store
//! ([`super::barrier`]) the sleeper pays for both. Between the look and the sleep the
//! sequence guards: the system compares the word again before it puts the thread to
//! sleep.
//!
//! The bit and its cleaning are after the well-known eventcount of Dmitry Vyukov and
//! folly; the bits in place of a count are for crash safety.

use super::futex::{self, Woken};
use super::{Deadline, barrier};
use crate::memory::Word32;
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};

/// "Someone may be asleep."
const ASLEEP: u32 = 1;
/// "And announced itself since the last wake-up."
const NEW: u32 = 2;
/// One step of the sequence. It wraps round above; a sleeper would have to be
/// delayed for exactly 2^30 wake-ups between its look and its sleep to miss one.
const STEP: u32 = 4;
/// Each failure is a change by somebody else.
const ATTEMPTS: u32 = 1 << 10;

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
        let seen = self.word.fetch_or(ASLEEP | NEW, SeqCst);
        Ticket(seen | ASLEEP | NEW)
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

    /// The sequence goes on, and whoever announced itself before does not fall asleep any more. What
    /// the word is then; `None` if that is not known, for it changes all the time.
    fn step(&self) -> Option<u32> {
        // Relaxed: the exchange decides. An RMW, since that reads the newest.
        let mut seen = self.word.fetch_or(0, Relaxed);
        for _ in 0..ATTEMPTS {
            let now = seen.wrapping_add(STEP) & !NEW;
            // ORDERING event-sequence (SeqCst): as every change of the word: wakers and sleepers
            // agree on one order. Relaxed on failure: looked at afresh.
            match self.word.compare_exchange(seen, now, SeqCst, Relaxed) {
                Ok(_) => return Some(now),
                Err(other) => seen = other,
            }
        }
        // ORDERING event-sequence (SeqCst): as above.
        self.word.fetch_add(STEP, SeqCst);
        None
    }

    /// Takes ASLEEP down after all that were asleep at the step that made the word `now` were woken,
    /// unless somebody announced itself since or another waker has taken over.
    fn clean(&self, now: Option<u32>) {
        let Some(now) = now.filter(|now| now & ASLEEP != 0) else { return };
        // ORDERING event-sequence (SeqCst): as above. Relaxed on failure: another waker has taken over,
        // or leaves it to one for whoever announced itself.
        let _ = self.word.compare_exchange(now, now & !ASLEEP, SeqCst, Relaxed);
    }

    /// Whether there was a wake-up since `ticket` was drawn. It may have come to whoever
    /// drew it: one that leaves without having taken anything [notifies](Self::notify)
    /// another in its place.
    pub fn moved_since(&self, ticket: Ticket) -> bool {
        // ORDERING event-sequence (acquire): what the waker did comes with its step. SeqCst,
        // as all accesses of the word.
        self.word.load(SeqCst) / STEP != ticket.0 / STEP
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
        self.clean(now);
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

    /// Else one that slept since could be woken by nobody but a waker that may be stopped or dead.
    #[test]
    fn a_late_waker_leaves_the_bit_to_who_announced_itself_since() {
        let event = event();
        event.announce();
        let now = event.step();
        event.announce();
        event.clean(now);
        assert!(event.may_have_sleepers());
        // Neither does one that another waker has overtaken.
        let now = event.step();
        event.notify();
        event.announce();
        event.clean(now);
        assert!(event.may_have_sleepers());
        event.notify();
        assert!(!event.may_have_sleepers());
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
