//! How long a call may take.

use ringway_core::wait::Deadline;

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
}
