//! Absolute moments of CLOCK_MONOTONIC.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, Instant};

/// When a call must give up. Absolute, so that retries and signals cannot stretch it,
/// and monotonic, so that setting the clock does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Timespec>);

impl Deadline {
    /// Never gives up.
    pub const NEVER: Self = Self(None);

    /// `timeout` from now. A timeout too long for the clock never ends.
    pub fn after(timeout: Duration) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let add = || {
            let seconds = i64::try_from(timeout.as_secs()).ok()?;
            let nanos = now.tv_nsec + i64::from(timeout.subsec_nanos());
            let (carry, nanos) = (nanos / NANOS, nanos % NANOS);
            let seconds = now.tv_sec.checked_add(seconds)?.checked_add(carry)?;
            Some(Timespec { tv_sec: seconds, tv_nsec: nanos })
        };
        Self(add())
    }

    /// At `instant`. One that has passed is a deadline that has passed.
    pub fn at(instant: Instant) -> Self {
        Self::after(instant.saturating_duration_since(Instant::now()))
    }

    /// Whether the moment has come.
    pub fn passed(&self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// Time left, or `None` for [`Deadline::NEVER`].
    pub fn remaining(&self) -> Option<Duration> {
        let end = self.0?;
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = i128::from(end.tv_sec - now.tv_sec) * i128::from(NANOS)
            + i128::from(end.tv_nsec - now.tv_nsec);
        Some(Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)))
    }

    /// The earlier of the two.
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => {
                if (b.tv_sec, b.tv_nsec) < (a.tv_sec, a.tv_nsec) {
                    other
                } else {
                    self
                }
            }
            (Some(_), None) => self,
            (None, _) => other,
        }
    }

    /// The moment in the form the system takes.
    #[cfg_attr(loom, expect(dead_code, reason = "loom's futex has no clock"))]
    #[cfg(not(miri))]
    pub(super) fn as_timespec(&self) -> Option<&Timespec> {
        self.0.as_ref()
    }
}

const NANOS: i64 = 1_000_000_000;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_longest_timeout_never_passes() {
        assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
        assert!(!Deadline::NEVER.passed());
    }

    #[test]
    fn zero_has_passed_and_min_takes_the_earlier() {
        let (zero, long) =
            (Deadline::after(Duration::ZERO), Deadline::after(Duration::from_secs(60)));
        assert!(zero.passed() && !long.passed());
        assert_eq!(long.min(zero), zero);
        assert_eq!(Deadline::NEVER.min(long), long);
        assert_eq!(long.min(Deadline::NEVER), long);
        assert!(long.remaining().unwrap() > Duration::from_secs(59));
    }
}
