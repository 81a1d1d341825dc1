//! `ringway bench`: how fast queues and pipes are on this machine, beside an OS pipe and
//! what the machine could do at best.
//!
//! [`rounds`] measures the subjects of a workload in turns. The workloads are [`pipes`],
//! [`queues`] and, as a floor, [`copies`]; [`wire`] and [`lines`] are what messages go
//! through. [`crew`] starts the processes, on the processors that [`cpus`] chooses, and
//! [`watchdog`] ends what hangs. [`report`] prints.

mod copies;
mod cpus;
mod crew;
mod lines;
mod message;
mod pipes;
mod queues;
mod report;
mod rounds;
mod watchdog;
mod wire;

use crate::failure::Failure;
use crate::output::say;
use crate::signals::Signals;
use copies::Copies;
use cpus::Cpus;
use indicatif::{ProgressBar, ProgressStyle};
use pipes::Work;
use report::{Row, Unit};
use ringway::{Entry, WaitPolicy};
use rounds::{Effort, Group, Session};
use std::io::{IsTerminal, stderr};
use std::rc::Rc;
use std::time::Duration;

/// The subjects' names.
const RINGWAY: &str = "ringway";
const OS_PIPE: &str = "os_pipe";
/// What the names of floors end with.
const FLOOR: &str = "_floor";
const TWO_LINES: &str = "two_line_floor";
const FUTEX: &str = "futex_floor";
const MEMCPY: &str = "memcpy_floor";

/// Measure queues and pipes on this machine, beside an OS pipe and the physical floors
///
/// All subjects of a workload are measured in turns, in short batches between separate
/// processes that are pinned to processors of their own; the table shows the median batch
/// and the best and worst. Messages are written by the sender, read and checked by the
/// receiver. Let the machine do nothing else meanwhile.
///
/// pipe_oneway: messages in one direction, as fast as they go. pipe_rtt_spin,
/// pipe_rtt_sleep: 8 bytes there and back; Ringway's sides spin or sleep, an OS pipe
/// always sleeps. queue_PxG: 8 bytes through a queue of 1024 places, P processes putting
/// and G taking. large: large messages through a pipe.
///
/// Floors: two_line_floor and futex_floor are round trips of two bare words, spinning and
/// sleeping; memcpy_floor copies the message once within one process.
///
/// With one processor the rows that spin are left out. Exit status: 0 if everything was
/// measured, 1 if a message was wrong or something hung.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Measure for seconds instead of about a minute
    #[arg(long)]
    quick: bool,
    /// Print JSON: a list of rows with workload, subject, size (bytes), unit, median, min
    /// and max
    #[arg(long)]
    json: bool,
    /// How many batches of each subject [default: 11; with --quick 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long a batch takes, in milliseconds [default: 200; with --quick 40]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: Option<u16>,
    /// Only workloads whose name contains this
    #[arg(value_name = "WORKLOAD")]
    only: Option<String>,
}

impl Options {
    fn effort(&self) -> Effort {
        let (rounds, batch) = if self.quick { (5, 40) } else { (11, 200) };
        Effort {
            rounds: self.rounds.unwrap_or(rounds).into(),
            batch: Duration::from_millis(self.batch.unwrap_or(batch).into()),
        }
    }
}

/// What the benchmark's child processes run.
pub(crate) fn entries() -> Vec<Entry> {
    ringway::entries![pipes::play, queues::play].into()
}

/// One group of rows, and how to get its subjects ready.
struct Planned {
    group: Group,
    subjects: Vec<(&'static str, Start)>,
}

type Start = Box<dyn Fn() -> Result<Box<dyn Session>, Failure>>;

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let cpus = Rc::new(Cpus::find()?);
    let mut plan = plan(&cpus);
    if let Some(only) = &options.only {
        plan.retain(|planned| planned.group.workload.contains(only.as_str()));
    }
    if plan.is_empty() {
        return Err(Failure::Usage("no workload has such a name".into()));
    }
    let effort = options.effort();
    if cpus.pair().is_none() {
        eprintln!("one processor only: the rows that spin are left out");
    }
    if !options.json {
        say(&machine(&cpus, effort))?;
        say(&report::head())?;
    }
    let progress = Progress::new(plan.len());
    let mut all: Vec<Row> = Vec::new();
    for planned in plan {
        let Planned { group, subjects } = planned;
        progress.begin(group);
        let ready = subjects.iter().map(|(name, start)| Ok((*name, start()?)));
        let ready = ready.collect::<Result<Vec<_>, Failure>>()?;
        let rows = rounds::measure(group, ready, effort, || signals.check())?;
        if !options.json {
            let lines = report::table(&rows);
            progress.beside(|| say(&lines))?;
        }
        all.extend(rows);
    }
    drop(progress);
    if options.json {
        let text = report::json(&all);
        say(&text.map_err(|e| Failure::Failed(format!("cannot write JSON: {e}")))?)?;
    }
    Ok(())
}

/// All groups, in the order of the table.
fn plan(cpus: &Rc<Cpus>) -> Vec<Planned> {
    let places = cpus.pair();
    let own = places.map(|places| places.0);
    let pipe = move |name, work, means, size| -> (&'static str, Start) {
        (name, Box::new(move || pipes::start(name, work, means, size, places)))
    };
    let copies = |size| -> (&'static str, Start) {
        (MEMCPY, Box::new(move || Ok(Box::new(Copies::new(size, own)))))
    };
    let ringway = pipes::Means::Ringway;
    let mut plan = Vec::new();
    for size in [8, 64, 1 << 10, 1 << 16] {
        let one_way = |name, means| pipe(name, Work::OneWay, means, size);
        let mut subjects = vec![
            one_way(RINGWAY, ringway(WaitPolicy::Adaptive)),
            one_way(OS_PIPE, pipes::Means::OsPipe),
        ];
        if size >= 1 << 16 {
            subjects.push(copies(size));
        }
        let group = Group { workload: "pipe_oneway", size, unit: Unit::NanosPerMessage };
        plan.push(Planned { group, subjects });
    }
    let round_trip = |name, means| pipe(name, Work::RoundTrip, means, 8);
    let group = |workload| Group { workload, size: 8, unit: Unit::NanosPerRoundTrip };
    if places.is_some() {
        // Two processes that spin on one processor would measure its time slices.
        let subjects = vec![
            round_trip(RINGWAY, ringway(WaitPolicy::Spin)),
            round_trip(OS_PIPE, pipes::Means::OsPipe),
            round_trip(TWO_LINES, pipes::Means::TwoLines),
        ];
        plan.push(Planned { group: group("pipe_rtt_spin"), subjects });
    }
    let subjects = vec![
        round_trip(RINGWAY, ringway(WaitPolicy::Block)),
        round_trip(OS_PIPE, pipes::Means::OsPipe),
        round_trip(FUTEX, pipes::Means::Futex),
    ];
    plan.push(Planned { group: group("pipe_rtt_sleep"), subjects });
    for (workload, each) in [("queue_1x1", 1), ("queue_2x2", 2), ("queue_4x4", 4)] {
        let queue = |name, means| -> (&'static str, Start) {
            let cpus = Rc::clone(cpus);
            (name, Box::new(move || queues::start(workload, means, each, &cpus)))
        };
        let subjects =
            vec![queue(RINGWAY, queues::Means::Ringway), queue(OS_PIPE, queues::Means::OsPipe)];
        let group = Group { workload, size: 8, unit: Unit::NanosPerMessage };
        plan.push(Planned { group, subjects });
    }
    for size in [1 << 20, 1 << 24] {
        let large = |name, means| pipe(name, Work::OneWay, means, size);
        let subjects = vec![
            large(RINGWAY, ringway(WaitPolicy::Adaptive)),
            large(OS_PIPE, pipes::Means::OsPipe),
            copies(size),
        ];
        let group = Group { workload: "large", size, unit: Unit::GigabytesPerSecond };
        plan.push(Planned { group, subjects });
    }
    plan
}

/// A line about the machine and the method.
fn machine(cpus: &Cpus, effort: Effort) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = read("/proc/loadavg");
    format!(
        "{}, {} processors, Linux {}, load {}\n{} batches of about {} ms each, in turns\n\n",
        model.unwrap_or("unknown processor"),
        cpus.count(),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("unknown"),
        effort.rounds,
        effort.batch.as_millis()
    )
}

/// What is going on, on a terminal's standard error; the table itself tells it elsewhere.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(groups: usize) -> Self {
        Self(stderr().is_terminal().then(|| {
            // Fails for a template that is not well-formed.
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(groups as u64).with_style(style)
        }))
    }

    fn begin(&self, group: Group) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("{} {} bytes", group.workload, group.size));
            bar.inc(1);
        }
    }

    /// Prints without tearing the bar.
    fn beside<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
