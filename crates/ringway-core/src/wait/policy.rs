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
    /// Look for up to about the cost of one wake-up (20 us), less where looking has
    /// lately not paid, then sleep. Never loses more than twice against the better of
    /// the other two.
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

/// The longest look of [`WaitPolicy::Adaptive`]: what a sleep and wake-up cost here.
const LONGEST: Duration = Duration::from_micros(20);
/// The shortest: enough to notice that looking would pay again.
const SHORTEST: Duration = Duration::from_micros(1);
/// Looks between two readings of the clock. Also bounds the PAUSEs in a row, which a
/// hypervisor counts.
const LOOKS: u32 = 32;

/// Spins according to a policy and remembers whether it paid. Private to one handle.
#[derive(Debug, Clone)]
pub struct Spinner {
    policy: WaitPolicy,
    budget: Duration,
}

impl Spinner {
    /// A spinner that has not learned anything yet.
    pub fn new(policy: WaitPolicy) -> Self {
        Self { policy, budget: LONGEST }
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
        // Looking paid: look as long as ever next time. It did not: half as long.
        self.budget = match found {
            Some(_) => LONGEST,
            None => (self.budget / 2).max(SHORTEST),
        };
        found
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
