//! Moving a victim to a point of its operation, and finding the points that matter.
//!
//! The outcome of a kill depends on two things only: the bytes of the segment and the
//! kernel's view of the process. So one death per change of a byte and per system call
//! covers every instruction. The points between are sampled, or all taken, to prove
//! that.

use super::Effort;
use super::child::{Stop, Traced};
use super::image::{Image, Watched};
use super::page::Page;
use super::tally::Place;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A victim before its operation, and what it works on.
pub(crate) struct Run {
    pub(crate) page: Page,
    pub(crate) watched: Watched,
    pub(crate) victim: Traced,
    /// Changes of the segment seen.
    pub(crate) changes: usize,
    /// How many of them, and of how many system calls, at the last look at those.
    before: (usize, usize),
    /// What others do whenever it sleeps.
    pub(crate) wake: Option<Box<dyn FnMut()>>,
    /// How often they did.
    pub(crate) woken: u32,
    /// It slept, and was not woken.
    pub(crate) asleep: bool,
    /// It came to its point another way than the one that was surveyed.
    strayed: bool,
    /// What tells the end of an operation that does not return.
    pub(crate) over: Option<fn(&Image) -> bool>,
}

/// Where a victim is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Right after the system call of this number; 0 is before the first instruction.
    Call(usize),
    /// Right after the change of this number (from 1) since that call.
    Change(usize, usize, Option<Anchor>),
    /// This many instructions after that call.
    Step(usize, usize, Option<Anchor>),
    /// When it sleeps.
    Asleep,
    /// When it has returned.
    End,
}

/// An instruction on the way to a point that the victim comes to for the first time: the
/// processor stops it there, which takes one stop instead of thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    address: libc::c_long,
    /// Instructions and changes since the last system call, and which words they touched.
    steps: usize,
    changes: usize,
    touched: u64,
}

impl Run {
    pub(crate) fn new(page: Page, watched: Watched, victim: Traced) -> Self {
        Self {
            page,
            watched,
            victim,
            changes: 0,
            before: (0, 0),
            wake: None,
            woken: 0,
            asleep: false,
            strayed: false,
            over: None,
        }
    }

    pub(crate) fn place(&self) -> Place {
        let changes = self.changes - self.before.0;
        let (calls, steps) = (self.victim.calls, self.victim.steps);
        Place { changes, calls, steps, exact: !self.strayed }
    }

    pub(crate) fn returned(&self) -> bool {
        self.page.get(Page::RETURNED) != 0
    }

    /// After a move: `true` if there is nowhere to go on to.
    fn ended(&mut self, stop: Stop, stay_asleep: bool) -> bool {
        if stop == Stop::Asleep {
            if stay_asleep {
                self.asleep = true;
                return true;
            }
            self.woken += 1;
            assert!(self.woken < 1000, "the victim sleeps on, whatever others do");
            if let Some(wake) = &mut self.wake {
                wake();
            }
        }
        self.changes += usize::from(self.watched.changed());
        if self.before.1 != self.victim.calls {
            self.before = (self.changes, self.victim.calls);
        }
        if self.over.is_some_and(|over| over(&self.watched.ring())) {
            self.page.set(Page::RETURNED, 1);
        }
        stop == Stop::Over || self.returned()
    }

    /// Moves on by one system call; `true` at the end.
    fn call(&mut self) -> bool {
        let stop = self.victim.call();
        self.ended(stop, false)
    }

    fn step(&mut self) -> bool {
        let stop = self.victim.step();
        self.ended(stop, false)
    }

    /// Moves to `point`, or to the end of the operation if that comes first.
    pub(crate) fn go_to(&mut self, point: Point) {
        self.watched.changed();
        if matches!(point, Point::Asleep) {
            loop {
                let stop = self.victim.call();
                if self.ended(stop, true) {
                    return;
                }
            }
        }
        let (calls, mut changes, mut steps, anchor) = match point {
            Point::Call(calls) => (calls, 0, 0, None),
            Point::Change(calls, changes, anchor) => (calls, changes, 0, anchor),
            Point::Step(calls, steps, anchor) => (calls, 0, steps, anchor),
            Point::Asleep | Point::End => (usize::MAX, 0, 0, None),
        };
        while self.victim.calls < calls {
            if self.call() {
                return;
            }
        }
        if let Some(anchor) = anchor {
            let (before, base) = (self.changes, self.watched.bytes());
            match self.victim.run_to(anchor.address, anchor.steps) {
                Ok(false) => {}
                // It came there after its operation only.
                Ok(true) if self.ended(Stop::There, false) => {
                    self.strayed = true;
                    return;
                }
                Ok(true) => {
                    self.strayed = self.watched.touched(&base) != anchor.touched;
                    self.changes = before + anchor.changes;
                    steps = steps.saturating_sub(anchor.steps);
                    changes = changes.saturating_sub(anchor.changes);
                }
                // It took another way this time. Any place is good to die at.
                Err(stop) => {
                    self.strayed = true;
                    self.ended(stop, false);
                    return;
                }
            }
        }
        while changes > 0 || steps > 0 {
            let before = self.changes;
            if self.step() {
                return;
            }
            steps = steps.saturating_sub(1);
            changes = changes.saturating_sub(self.changes - before);
        }
    }
}

/// What a survey found.
pub(crate) struct Survey {
    pub(crate) instructions: usize,
    pub(crate) capped: bool,
    pub(crate) points: Vec<Point>,
}

/// Somebody's part in a scene with others.
pub(crate) trait Staged {
    fn run(&mut self) -> &mut Run;
}

/// Scenes that were surveyed, of all operations.
static SCENES: AtomicUsize = AtomicUsize::new(0);

/// Runs the operation a few times to its end to find its points: none, if the scene is of
/// another part of the run.
pub(crate) fn survey<S: Staged>(effort: Effort, start: &dyn Fn() -> S) -> Survey {
    let mut points = Vec::new();
    let (part, parts) = effort.part;
    if parts > 1 && SCENES.fetch_add(1, Relaxed) % parts != part {
        return Survey { instructions: 0, capped: false, points };
    }
    // By system calls: which stretches between two of them change the segment?
    let mut stage = start();
    let run = stage.run();
    let mut stretches = Vec::new();
    loop {
        points.push(Point::Call(run.victim.calls));
        let (call, before) = (run.victim.calls, run.changes);
        let ended = run.call();
        if run.changes > before {
            stretches.push(call);
        }
        if ended {
            break;
        }
    }
    if run.woken > 0 && run.wake.is_some() {
        points.push(Point::Asleep);
    }
    drop(stage);
    // By instructions, where it does.
    for call in stretches {
        let mut stage = start();
        let run = stage.run();
        run.go_to(Point::Call(call));
        let (before, base) = (run.changes, run.watched.bytes());
        let (mut last, mut made) = (0, 0);
        let mut seen_at = HashSet::from([run.victim.at()]);
        // The last so far, and of each step.
        let mut anchor = None;
        let mut anchors = vec![None];
        while run.victim.calls == call && made < effort.most_steps {
            let seen = run.changes;
            made += 1;
            let ended = run.step();
            if run.changes > seen {
                last = made;
                // Several at once only where others work, too.
                points.push(Point::Change(call, run.changes - before, anchor));
            }
            if ended || run.victim.calls != call || run.asleep {
                break;
            }
            let address = run.victim.at();
            if seen_at.insert(address) {
                let (changes, touched) = (run.changes - before, run.watched.touched(&base));
                anchor = Some(Anchor { address, steps: made, changes, touched });
            }
            anchors.push(anchor);
        }
        // Up to a little after the last change: from there on nothing does.
        let end = (last + 20).min(made);
        let stride = (end / effort.samples).max(1);
        let anchor = |k: usize| anchors[k.min(anchors.len() - 1)];
        points.extend((1..=end).step_by(stride).map(|k| Point::Step(call, k, anchor(k))));
    }
    // The whole length.
    let mut stage = start();
    let run = stage.run();
    let mut instructions = 0;
    while instructions < effort.most_steps && !run.step() {
        instructions += 1;
    }
    let capped = instructions >= effort.most_steps;
    let (steps, mut turns): (Vec<Point>, Vec<Point>) =
        points.into_iter().partition(|point| matches!(point, Point::Step(..)));
    turns.push(Point::End);
    let points = [thin(turns, effort.most_turns), thin(steps, effort.most_between)].concat();
    Survey { instructions, capped, points }
}

/// About `most` of `points`, evenly, and the last.
fn thin(points: Vec<Point>, most: usize) -> Vec<Point> {
    let stride = points.len().div_ceil(most).max(1);
    let last = points.len().saturating_sub(1);
    let kept = |(i, point)| (i % stride == 0 || i == last).then_some(point);
    points.into_iter().enumerate().filter_map(kept).collect()
}
