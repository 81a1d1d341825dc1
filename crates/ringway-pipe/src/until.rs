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

    /// Whether the deadline has passed. A `try_` form has none.
    pub(crate) fn passed(&self) -> bool {
        matches!(self, Self::Deadline(deadline) if deadline.passed())
    }
}

/// Pieces of a streamed message between two looks at the clock. Eight are about a ring
/// full of bytes: the look costs well below a hundredth of copying them.
pub(crate) const PIECES_PER_LOOK: u32 = 8;
