//! What came of an operation's kills, and the line that says so.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Hung,
    Lost,
    Doubled,
    Leaked,
    /// Out of order, a wrong number, an error nobody should see.
    Wrong,
}

/// One thing that happened and must not.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

pub(crate) fn fault<T>(kind: Kind, what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { kind, what: what.into() })
}

/// `fault` unless `good`.
pub(crate) fn check(good: bool, kind: Kind, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if good { Ok(()) } else { fault(kind, what()) }
}

/// What one run showed beside faults.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Whether the operation's effect is there; `None` where that is no question.
    pub(crate) done: Option<bool>,
    /// A message went with its getter, between its commit and its return.
    pub(crate) taken: bool,
    /// What repair had to do: names of paths.
    pub(crate) paths: Vec<&'static str>,
    /// A number for the state that the death left.
    pub(crate) image: u64,
}

/// Where a victim stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// System calls before.
    pub(crate) calls: usize,
    /// Changes of the segment since.
    pub(crate) changes: usize,
    /// Instructions since.
    pub(crate) steps: usize,
    /// Whether these numbers can be compared with those of other runs.
    pub(crate) exact: bool,
}

impl Place {
    /// What outcomes can depend on. The number of instructions differs from run to run
    /// where a clock is read.
    fn key(self) -> (usize, usize) {
        (self.calls, self.changes)
    }
}

/// What [`summary`] prints.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A line per operation, together, after all else that was said.
pub(crate) fn summary() {
    for line in &*LINES.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{line}");
    }
}

/// Everything about one operation.
pub(crate) struct Tally {
    name: String,
    started: Instant,
    instructions: usize,
    capped: bool,
    runs: usize,
    images: HashSet<u64>,
    faults: BTreeMap<Kind, usize>,
    first: Vec<String>,
    taken: usize,
    flips: Vec<String>,
    pub(crate) paths: BTreeMap<&'static str, usize>,
    /// Outcomes in the scene at hand.
    scene: Vec<(Place, bool)>,
}

impl Tally {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            started: Instant::now(),
            instructions: 0,
            capped: false,
            runs: 0,
            images: HashSet::new(),
            faults: BTreeMap::new(),
            first: Vec::new(),
            taken: 0,
            flips: Vec::new(),
            paths: BTreeMap::new(),
            scene: Vec::new(),
        }
    }

    /// Notes the length of the operation in one of its scenes.
    pub(crate) fn length(&mut self, instructions: usize, capped: bool) {
        self.instructions = self.instructions.max(instructions);
        self.capped |= capped;
    }

    fn bad(&mut self, kind: Kind, what: String) {
        *self.faults.entry(kind).or_default() += 1;
        if self.first.len() < 5 {
            eprintln!("  {}: {kind:?}: {what}", self.name);
            self.first.push(what);
        }
        if std::env::var_os("RINGWAY_KILL_FAIL_FAST").is_some() {
            println!("{}: {kind:?}: {}", self.name, self.first.join("; "));
            std::process::exit(1);
        }
    }

    /// Notes one kill.
    pub(crate) fn note(&mut self, place: Place, scene: &str, result: Result<Seen, Fault>) {
        self.runs += 1;
        match result {
            Ok(seen) => {
                self.images.insert(seen.image);
                self.taken += usize::from(seen.taken);
                for path in seen.paths {
                    *self.paths.entry(path).or_default() += 1;
                }
                if let Some(done) = seen.done {
                    self.scene.push((place, done));
                }
            }
            Err(fault) => self.bad(fault.kind, format!("{} at {place:?} of {scene}", fault.what)),
        }
    }

    /// Ends a scene: the effect must be absent up to one point and present from there
    /// on. Not `strict`: others change the segment meanwhile, and points of different
    /// runs cannot be compared.
    pub(crate) fn end_scene(&mut self, scene: &str, strict: bool) {
        let mut outcomes = std::mem::take(&mut self.scene);
        outcomes.sort();
        let absent = outcomes.iter().filter(|o| !o.1).map(|o| o.0);
        let last_absent = absent.clone().filter(|place| place.exact).map(Place::key).max();
        let present = outcomes.iter().filter(|o| o.1).map(|o| o.0);
        let first = present.clone().min_by_key(|place| (!place.exact, place.calls, place.steps));
        let first_key = present.filter(|place| place.exact).map(Place::key).min();
        if let (Some(absent), Some(present)) = (last_absent, first_key)
            && absent >= present
            && strict
        {
            self.bad(
                Kind::Wrong,
                format!("{scene}: there after {present:?} (calls, changes), not after {absent:?}"),
            );
        }
        if outcomes.is_empty() {
            return;
        }
        match (absent.max(), first) {
            (Some(_), Some(place)) if place.calls == 0 => {
                self.flips.push(place.steps.to_string());
            }
            (Some(_), Some(place)) => {
                self.flips.push(format!("call {} + {}", place.calls, place.steps));
            }
            _ => {
                self.bad(Kind::Wrong, format!("{scene}: the effect never came or always was there"))
            }
        }
    }

    /// The line; whether all is well.
    pub(crate) fn finish(&mut self, what: &str) -> bool {
        let count = |kind| self.faults.get(&kind).copied().unwrap_or(0);
        let bound = if self.capped { "over " } else { "" };
        self.flips.sort();
        self.flips.dedup();
        let flips = match self.flips.len() {
            0 => String::new(),
            1..=8 => format!("; flips at k={}", self.flips.join(", ")),
            n => format!("; flips at k={}, ... ({n} places)", self.flips[..6].join(", ")),
        };
        let taken = match self.taken {
            0 => String::new(),
            n => format!(", {n} taken by the dead"),
        };
        let wrong = match count(Kind::Wrong) {
            0 => String::new(),
            n => format!(", {n} WRONG"),
        };
        let line = format!(
            "{}: {bound}{} instructions, {} hung, {} lost, {} doubled, {} leaked{wrong}; {} {what}, {} images{taken}{flips}",
            self.name,
            self.instructions,
            count(Kind::Hung),
            count(Kind::Lost),
            count(Kind::Doubled),
            count(Kind::Leaked),
            self.runs,
            self.images.len(),
        );
        eprintln!("  {line} ({:.1} s)", self.started.elapsed().as_secs_f64());
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        self.faults.is_empty()
    }
}
