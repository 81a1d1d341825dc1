//! Which of two ways costs less: when to try, and what to make of it.
//!
//! A trial times the way that is kept and then the other one; if that was better both are timed
//! again, and the worst of it must be better than the best of the way that is kept. A trial in
//! vain takes three laps and a window of the other way, twice that if it was better in the first
//! round. A step of it ends as soon as the writer has spent what both sides would in the way that is
//! kept; the whole trial ends if at the end of a step the writer's time alone was half as much again.
//! For the first lap the limit is [`COLD`] times as high: past the cache lines went to memory, from where
//! they come once.

use super::Way;

/// Between two trials single copies are timed, at most so many: two in a row that take more than
/// twice the time that copies did in the last trial are reason for the next. Processors that move
/// apart are met so.
const GLANCES: u32 = 32;

/// How many times as long the other way's first lap may take as both sides do in the way that is
/// kept. Where a reader looks at little of what is written, that is the writer's time alone.
const COLD: u64 = 3;

/// How far a trial has come.
pub(super) struct Trial {
    step: Step,
    /// The way that is kept.
    pub(super) kept: Way,
    /// The best of the way that is kept and the worst of the other.
    kept_cost: Cost,
    other_cost: Cost,
    /// Whether this is the second round.
    again: bool,
    /// Glances since the last trial, and whether the last met a slow copy.
    glances: u32,
    slow: bool,
    /// What readers had told before this window.
    pub(super) told: (u64, u64),
}

/// Nanoseconds a MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    writing: u64,
    /// Unknown where readers have not told.
    reading: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Settled,
    /// One copy is timed.
    Glance,
    /// The way that is kept is timed. In the second round it is warmed up before.
    WarmKept,
    Kept,
    /// So is the other, once all lines have been written that way three times.
    ColdOther,
    WarmOther,
    Other,
}

impl Cost {
    const NONE: Self = Self { writing: 0, reading: None };

    /// Of so many nanoseconds and bytes, written and read.
    pub(super) fn of(written: (u64, u64), read: (u64, u64)) -> Self {
        let each = |(nanos, bytes): (u64, u64)| nanos.saturating_mul(1 << 20).checked_div(bytes);
        Self { writing: each(written).unwrap_or(0), reading: each(read) }
    }

    fn sum(self) -> u64 {
        self.writing.saturating_add(self.reading.unwrap_or(0))
    }

    /// Whether both are of two sides, or both of one.
    fn is_like(self, other: Self) -> bool {
        self.reading.is_some() == other.reading.is_some()
    }

    /// Whether this is less by more than an eighth: else it is noise.
    fn is_clearly_less(self, than: Self) -> bool {
        self.is_like(than) && self.sum().saturating_mul(8) < than.sum().saturating_mul(7)
    }
}

impl Trial {
    pub(super) fn new(kept: Way) -> Self {
        let (kept_cost, other_cost) = (Cost::NONE, Cost::NONE);
        let (step, again, slow) = (Step::Settled, false, false);
        // The first is due as soon as it can be.
        let glances = GLANCES;
        Self { step, kept, kept_cost, other_cost, again, glances, slow, told: (0, 0) }
    }

    /// Nanoseconds of writing so many bytes after which the other way is given up: as long as
    /// both sides together take for them, in the first lap [`COLD`] times that.
    pub(super) fn enough_of(&self, bytes: u64) -> u64 {
        let times = if self.step == Step::ColdOther { COLD } else { 1 };
        (self.kept_cost.sum().saturating_mul(times).saturating_mul(bytes) >> 20).max(1)
    }

    /// Goes on after a step of that cost.
    pub(super) fn next(&mut self, cost: Cost) -> Step {
        // The laps before may be slower than the other way is.
        let hopeless = cost.writing / 3 * 2 > self.kept_cost.sum();
        let given_up = cost.writing / COLD >= self.kept_cost.sum();
        let slow = self.step == Step::Glance && cost.writing / 2 > self.kept_cost.writing;
        let slow_again = slow && self.slow;
        if self.step == Step::Glance {
            self.slow = slow;
        }
        self.step = match self.step {
            Step::Settled if self.glances < GLANCES => {
                self.glances += 1;
                Step::Glance
            }
            Step::Glance if !slow_again => Step::Settled,
            Step::Settled | Step::Glance => {
                (self.again, self.glances, self.slow) = (false, 0, false);
                Step::Kept
            }
            Step::WarmKept => Step::Kept,
            Step::Kept => {
                let alike = cost.is_like(self.kept_cost);
                if !self.again || !alike || cost.sum() < self.kept_cost.sum() {
                    self.kept_cost = cost;
                }
                Step::ColdOther
            }
            Step::ColdOther if given_up => Step::Settled,
            Step::ColdOther => Step::WarmOther,
            Step::WarmOther if hopeless => Step::Settled,
            Step::WarmOther => Step::Other,
            Step::Other => {
                let alike = cost.is_like(self.other_cost);
                if !self.again || !alike || cost.sum() > self.other_cost.sum() {
                    self.other_cost = cost;
                }
                let better = !hopeless && self.other_cost.is_clearly_less(self.kept_cost);
                if better && self.again {
                    (self.kept, self.kept_cost) = (self.kept.other(), self.other_cost);
                }
                let go_on = better && !self.again;
                self.again = true;
                if go_on { Step::WarmKept } else { Step::Settled }
            }
        };
        self.step
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn better_once_is_not_enough() {
        let cost = |writing| Cost { writing, reading: Some(10) };
        let steps = [
            (cost(0), Step::Kept),
            (cost(90), Step::ColdOther),
            (cost(0), Step::WarmOther),
            (cost(0), Step::Other),
            (cost(40), Step::WarmKept),
            (cost(0), Step::Kept),
            (cost(90), Step::ColdOther),
            (cost(0), Step::WarmOther),
            (cost(0), Step::Other),
        ];
        for (last, kept) in [
            (cost(50), Way::Through),
            (cost(89), Way::Past),
            (Cost { reading: None, ..cost(50) }, Way::Past),
        ] {
            let mut trial = Trial::new(Way::Past);
            for (cost, step) in steps {
                assert_eq!(trial.next(cost), step);
            }
            assert_eq!(trial.next(last), Step::Settled);
            assert_eq!(trial.kept, kept, "{last:?}");
        }
    }
}
