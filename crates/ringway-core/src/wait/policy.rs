//! How long to look before sleeping.

use super::Deadline;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What a blocked call does before it sleeps.
///
/// A cache line crosses between two cores in 0.1 to 0.2 us; waking a sleeper takes
/// 20 to 30 us on the machine the default was chosen on. Spinning wins the first by
/// spending a core on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WaitPolicy {
    /// Never sleep. Lowest latency, one core busy per waiting thread. A process that
    /// may use one processor only yields it every microsecond.
    Spin,
    /// Look for up to 50 us, somewhat more than a sleep costs both sides together, less where
    /// looking has lately not paid, then sleep. Looks longer again where sleeps turn out to be
    /// short.
    #[default]
    Adaptive,
    /// Sleep at once. Frees the core; every wait costs a wake-up.
    Block,
}

impl WaitPolicy {
    /// How often a call looks, with a [`spin_hint`](crate::sync::spin_hint) between, before
    /// it does anything that takes longer.
    #[inline]
    pub fn looks(self) -> u32 {
        if self == Self::Block { 1 } else { LOOKS }
    }
}

/// The longest look of [`WaitPolicy::Adaptive`]. A sleep and wake-up take the sleeper 20 to 30 us
/// here and the waker 5 to 10, and a virtual processor that idles is slow afterwards. Long enough
/// for whoever waits for a message of 1 MiB that is being copied. (Linux's own guests look up to
/// 200 us before they halt: the `haltpoll` governor, from which the growing is taken, too.)
const LONGEST: Duration = Duration::from_micros(50);
/// The shortest: enough to notice that looking would pay again.
const SHORTEST: Duration = Duration::from_micros(1);
/// A look and a sleep that are over by then would have been a longest look: what they waited for
/// came one wake-up earlier.
const SOON: Duration = Duration::from_micros(75);
/// The most short sleeps before a longest look is tried again, where it has not paid: the other
/// party may need the processor that looks.
const MOST_SLEEPS: u32 = 256;
/// Looks between two readings of the clock. Also bounds the PAUSEs in a row, which a
/// hypervisor counts.
const LOOKS: u32 = 32;

/// Spins according to a policy and remembers whether it paid. Private to one handle.
#[derive(Debug, Clone)]
pub struct Spinner {
    policy: WaitPolicy,
    budget: Duration,
    /// When the look began that was in vain last.
    began: Option<Instant>,
    /// Short sleeps since a longest look was tried, and how many it takes to try again.
    sleeps: u32,
    enough: u32,
}

impl Spinner {
    /// A spinner that has not learned anything yet.
    pub fn new(policy: WaitPolicy) -> Self {
        Self { policy, budget: LONGEST, began: None, sleeps: 0, enough: 1 }
    }

    /// The policy.
    pub fn policy(&self) -> WaitPolicy {
        self.policy
    }

    /// Calls `look` until it gives something, the policy says to sleep, or `until` has
    /// come. With [`WaitPolicy::Spin`] it gives up after about a millisecond too, so
    /// that the caller can check deadlines and peers; it then calls again.
    #[inline]
    pub fn spin<T>(&mut self, until: Deadline, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let found = self.glance(&mut look);
        if found.is_some() || self.policy == WaitPolicy::Block {
            return found;
        }
        self.spin_slow(until, look)
    }

    /// The first part of [`spin`](Self::spin), free of clock readings: about a
    /// microsecond, which is as long as most waits are. With [`WaitPolicy::Block`] one look.
    #[inline]
    pub fn glance<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let mut left = self.policy.looks();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            left -= 1;
            if left == 0 {
                return None;
            }
            crate::sync::spin_hint();
        }
    }

    #[cold]
    fn spin_slow<T>(&mut self, until: Deadline, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let limit = match self.policy {
            _ if cfg!(loom) => return None,
            WaitPolicy::Spin if alone() => SHORTEST,
            WaitPolicy::Spin => Duration::from_millis(1),
            WaitPolicy::Adaptive | WaitPolicy::Block => self.budget,
        };
        let limit = until.remaining().map_or(limit, |left| limit.min(left));
        let start = Instant::now();
        let found = loop {
            let found = (0..LOOKS).find_map(|_| {
                crate::sync::spin_hint();
                look()
            });
            if found.is_some() || start.elapsed() >= limit {
                break found;
            }
        };
        if found.is_none() && self.policy == WaitPolicy::Spin && alone() {
            std::thread::yield_now();
        }
        self.learn(start, found.is_some());
        found
    }

    /// Looking paid: look as long as ever next time. It did not: half as long.
    fn learn(&mut self, start: Instant, paid: bool) {
        if paid {
            (self.budget, self.sleeps, self.enough, self.began) = (LONGEST, 0, 1, None);
            return;
        }
        if self.budget == LONGEST {
            self.enough = (self.enough * 2).min(MOST_SLEEPS);
        }
        self.budget = (self.budget / 2).max(SHORTEST);
        self.began = Some(start);
    }

    /// To be told that the caller slept because looking was in vain, or was just about to. A sleep
    /// that a time-out or a signal has ended counts like any other: short ones cost one long look in
    /// 256 of them.
    pub fn slept(&mut self) {
        let Some(began) = self.began.take() else { return };
        self.learn_from_sleep(began.elapsed());
    }

    /// Looking would have paid if it had lasted longer: look as long as ever, once.
    fn learn_from_sleep(&mut self, took: Duration) {
        if took > SOON {
            return;
        }
        self.sleeps += 1;
        if self.sleeps >= self.enough {
            (self.budget, self.sleeps) = (LONGEST, 0);
        }
    }
}

/// Whether this process has one processor only, by affinity or quota. Then the party
/// waited for either shares it, and runs only if we do not, or is pinned to another,
/// as latency-sensitive programs do, and looking pays as ever. Nothing tells which. So
/// spinning yields in between, and adaptive waits rely on what they learn: where
/// looking never pays, it soon takes a microsecond. Asked once: the answer takes
/// several syscalls.
///
/// No `OnceLock`: a fork while another thread asks would leave the child waiting for that
/// thread's answer for ever. Two threads may ask at once.
fn alone() -> bool {
    // 0 until asked, then 1 for no and 2 for yes. Relaxed: the word stands for itself.
    static ALONE: AtomicU32 = AtomicU32::new(0);
    let known = ALONE.load(Relaxed);
    if known != 0 {
        return known == 2;
    }
    let alone = std::thread::available_parallelism().is_ok_and(|n| n.get() == 1);
    ALONE.store(1 + u32::from(alone), Relaxed);
    alone
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::{Heap, Memory};
    use crate::wait::{Event, Waker, park};

    /// A look of the budget in vain, and what the sleep after it took.
    fn sleep(spinner: &mut Spinner, took: Duration) {
        spinner.learn(Instant::now(), false);
        spinner.learn_from_sleep(took);
    }

    #[test]
    fn looks_get_short_where_sleeps_are_long() {
        let mut spinner = Spinner::new(WaitPolicy::Adaptive);
        for _ in 0..10 {
            sleep(&mut spinner, Duration::from_millis(1));
        }
        assert_eq!(spinner.budget, SHORTEST);
        spinner.learn(Instant::now(), true);
        assert_eq!(spinner.budget, LONGEST, "one that pays");
    }

    /// What is waited for takes 30 us each time, after one stall.
    #[test]
    fn looks_are_long_again_where_sleeps_are_short() {
        let mut spinner = Spinner::new(WaitPolicy::Adaptive);
        sleep(&mut spinner, Duration::from_millis(1));
        assert_eq!(spinner.budget, LONGEST / 2);
        sleep(&mut spinner, Duration::from_micros(55));
        sleep(&mut spinner, Duration::from_micros(55));
        assert_eq!(spinner.budget, LONGEST);
    }

    /// As where the other party needs this very processor.
    #[test]
    fn looks_that_never_pay_take_little_of_short_sleeps() {
        let mut spinner = Spinner::new(WaitPolicy::Adaptive);
        let (mut looked, sleeps) = (Duration::ZERO, 10_000);
        for _ in 0..sleeps {
            looked += spinner.budget;
            sleep(&mut spinner, Duration::from_micros(10));
        }
        assert!(looked < sleeps * SHORTEST * 3 / 2, "{looked:?}");
    }

    /// What a spinner knows that looked shortest and waited until `ready`, which is shown the event,
    /// for a waker that the barrier does not reach.
    fn parked(ready: impl Fn(&Event) -> bool) -> Spinner {
        let memory = Memory::new(Heap::new(64));
        let event = Event::new(memory.word32(0).unwrap());
        let mut spinner = Spinner::new(WaitPolicy::Adaptive);
        spinner.budget = SHORTEST;
        let waker = || Waker { reachable: false, death_is_heard: true };
        let until = Deadline::after(Duration::from_secs(60));
        park(&event, &mut spinner, until, waker, || Ok::<_, ()>(ready(&event))).unwrap();
        spinner
    }

    /// Where the barrier does not reach the waker, the first sleep is a short one of its own.
    #[test]
    fn the_first_sleep_of_park_counts() {
        let start = Instant::now();
        // There when that is over.
        let spinner = parked(|_| start.elapsed() > Duration::from_micros(80));
        assert!(spinner.began.is_none());
    }

    /// Else both sides stay where each wait costs the waker a syscall, which makes the next wait
    /// longer than a shortest look.
    #[test]
    fn what_comes_just_before_the_sleep_counts() {
        let spinner = parked(Event::may_have_sleepers);
        assert_eq!((spinner.began, spinner.budget), (None, LONGEST));
    }

    #[test]
    fn only_a_sleep_after_a_look_in_vain_counts() {
        let mut spinner = Spinner::new(WaitPolicy::Adaptive);
        spinner.slept();
        assert_eq!(spinner.sleeps, 0);
        assert!(spinner.spin(Deadline::NEVER, || None::<()>).is_none());
        assert!(spinner.began.is_some());
        spinner.slept();
        let learned = (spinner.sleeps, spinner.budget);
        spinner.slept();
        assert_eq!((spinner.sleeps, spinner.budget, spinner.began), (learned.0, learned.1, None));
    }
}
