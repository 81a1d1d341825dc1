//! The modules of the single-stepper. See `kill_every_instruction.rs`.

pub(crate) mod child;
pub(crate) mod drive;
pub(crate) mod image;
pub(crate) mod kills;
pub(crate) mod page;
pub(crate) mod pipe_stops;
pub(crate) mod pipes;
pub(crate) mod queues;
pub(crate) mod rings;
pub(crate) mod stops;
pub(crate) mod streams;
pub(crate) mod tally;
pub(crate) mod typed;
pub(crate) mod verdict;

/// Whether processes have their guardian: `--guardian`.
pub(crate) fn guarded() -> bool {
    ringway_core::peer::guardian::settings().guardian
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) full: bool,
    /// Points sampled between the changes of one stretch.
    pub(crate) samples: usize,
    /// Instructions that one look at a stretch makes at most.
    pub(crate) most_steps: usize,
    /// Points of a scene at which the outcome can change, at most.
    pub(crate) most_turns: usize,
    /// Points of a scene between them, at most.
    pub(crate) most_between: usize,
    /// Of so many parts (the second) of all scenes this one only, from 0.
    pub(crate) part: (usize, usize),
}

impl Effort {
    /// Changes and system calls, and a few points between. Unoptimised code has many
    /// times the instructions, and fewer of its points are tried.
    pub(crate) const QUICK: Self = Self {
        full: false,
        samples: 3,
        most_steps: 3_000,
        most_turns: if cfg!(debug_assertions) { 12 } else { 30 },
        most_between: if cfg!(debug_assertions) { 2 } else { 4 },
        part: (0, 1),
    };
    /// Every change, every system call and, of operations of up to 1,500 instructions,
    /// every instruction.
    pub(crate) const FULL: Self = Self {
        full: true,
        samples: 1_500,
        most_steps: 100_000,
        most_turns: 10_000,
        most_between: 1_500,
        part: (0, 1),
    };

    /// Of a run in pieces, `text` is `I/N`: piece `I` of `N`, from 1.
    pub(crate) fn piece(self, text: &str) -> Option<Self> {
        let (piece, pieces) = text.split_once('/')?;
        let (piece, pieces): (usize, usize) = (piece.parse().ok()?, pieces.parse().ok()?);
        (1..=pieces).contains(&piece).then_some(Self { part: (piece - 1, pieces), ..self })
    }

    /// For one of many scenes of an operation.
    pub(crate) fn thinner(self) -> Self {
        match self.full {
            true => self,
            false => Self { most_turns: 14, most_between: 2, ..self },
        }
    }

    /// For typed calls: what matters comes after a few thousand instructions.
    pub(crate) fn for_long_calls(self) -> Self {
        Self { most_steps: self.most_steps.max(6_000), ..self }
    }

    /// For operations of many scenes and many instructions: every change and system
    /// call, and a sample between them.
    pub(crate) fn sampled(self) -> Self {
        Self { most_between: self.most_between.min(150), ..self }
    }
}
