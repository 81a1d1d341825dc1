//! The modules of the single-stepper. See `kill_every_instruction.rs`.

pub(crate) mod child;
pub(crate) mod drive;
pub(crate) mod image;
pub(crate) mod kills;
pub(crate) mod page;
pub(crate) mod pipes;
pub(crate) mod rings;
pub(crate) mod stops;
pub(crate) mod tally;
pub(crate) mod verdict;

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) full: bool,
    /// Points sampled between the changes of one stretch.
    pub(crate) samples: usize,
    /// Instructions that one look at a stretch makes at most.
    pub(crate) most_steps: usize,
}

impl Effort {
    /// Every change and every system call, and a few points between.
    pub(crate) const QUICK: Self = Self { full: false, samples: 4, most_steps: 4_000 };
    /// Every instruction, up to a length beyond all but attaching.
    pub(crate) const FULL: Self = Self { full: true, samples: 3_000, most_steps: 100_000 };
}
