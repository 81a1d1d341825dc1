//! How long a call may take.

use ringway_core::wait::{Deadline, WaitPolicy};
use std::time::{Duration, Instant};

/// The three families of calls in one type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// `try_`: never wait.
    Now,
    /// `_timeout`, `_deadline`, and the plain form with a deadline that never comes.
    Deadline(Deadline),
}

impl Until {
    /// The plain form.
    pub(crate) const NEVER: Self = Self::Deadline(Deadline::NEVER);

    /// No time is a try.
    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() { Self::Now } else { Self::Deadline(Deadline::after(timeout)) }
    }

    pub(crate) fn at(instant: Instant) -> Self {
        Self::after(instant.saturating_duration_since(Instant::now()))
    }

    /// How often a call looks on the short way.
    pub(crate) fn looks(self, policy: WaitPolicy) -> u32 {
        match self {
            Self::Now => 1,
            Self::Deadline(_) => policy.looks(),
        }
    }

    /// Whether there is no time left. A try has none.
    pub(crate) fn passed(&self) -> bool {
        match self {
            Self::Now => true,
            Self::Deadline(deadline) => deadline.passed(),
        }
    }
}
