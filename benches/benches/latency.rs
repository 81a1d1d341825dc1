//! Latency, as a distribution: Ringway beside OS pipes, Unix sockets and the floors.
//!
//! # How to read it
//!
//! `closed` is a round trip of 8 bytes, one after the other. `open RATE` is 16 bytes one
//! way, so many a second, each timed from when it was *meant* to leave. All times are in
//! microseconds. A quantile beyond which fewer than ten messages lie is not shown.
//! `rate` is what arrived a second: less than asked for means that the subject, or the
//! machine, could not keep up, and the times then grow with the length of the stretch.
//!
//! Three conditions: `quiet`, one pair pinned to two processors; `crowded`, twice as many
//! pairs as processors at once, not pinned; `neighbour`, one pair, not pinned, beside a
//! process that copies memory all the time.
//!
//! Subjects take turns in short stretches. A word on the command line chooses rows, as in
//! `--bench latency -- crowded/ringway`; `--quick` makes the stretches short.

use ringway_benches::latency::{self, Cpus, Measured, Mode, Pair};
use ringway_benches::neighbour::{self, Neighbour};
use ringway_benches::plot::{self, Line, Scale};
use ringway_benches::subject::Duplex;
use ringway_benches::subjects::ringway::{Adaptive, Block, Spin};
use ringway_benches::subjects::{FutexWords, OsPipe, Ringway, TwoLines, UnixSocket};
use ringway_benches::{Fallible, machine, partner, session};
use std::process::ExitCode;
use std::time::Duration;

const RATES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 0.9999];

/// What else the machine does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    Quiet,
    Crowded,
    Beside,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Crowded => "crowded",
            Self::Beside => "neighbour",
        }
    }
}

/// A row that is being collected.
struct Row {
    id: String,
    subject: &'static str,
    condition: Condition,
    mode: Mode,
    start: fn(Cpus) -> Fallible<Pair>,
    all: Measured,
}

fn main() -> ExitCode {
    let roles = [
        latency::roles::<Ringway<Adaptive>>(),
        latency::roles::<Ringway<Spin>>(),
        latency::roles::<Ringway<Block>>(),
        latency::roles::<OsPipe>(),
        latency::roles::<UnixSocket>(),
        latency::roles::<TwoLines>(),
        latency::roles::<FutexWords>(),
        [neighbour::ROLE; 2],
    ];
    if let Some(code) = partner::play_if_asked(roles.as_flattened()) {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    if has("--list") {
        return ExitCode::SUCCESS;
    }
    let (rounds, stretch) = match (session::measures(), has("--quick")) {
        (true, false) => (5, Duration::from_millis(600)),
        (true, true) => (2, Duration::from_millis(200)),
        (false, _) => (1, Duration::from_millis(2)),
    };
    let filter = words.iter().find(|word| !word.starts_with('-'));
    match run(rounds, stretch, filter.map_or("", String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => panic!("latency: {error}"),
    }
}

fn run(rounds: u32, stretch: Duration, filter: &str) -> Fallible {
    let mut rows = Vec::new();
    for condition in [Condition::Quiet, Condition::Crowded, Condition::Beside] {
        let before = rows.len();
        plan(condition, &mut rows)?;
        let chosen = rows.split_off(before).into_iter().filter(|row: &Row| row.id.contains(filter));
        rows.extend(chosen);
    }
    if rows.is_empty() {
        return Ok(());
    }
    print!("{}", machine::sheet());
    println!("{rounds} stretches of {} ms each, in turns\n", stretch.as_millis());
    println!(
        "{:<38} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "us", "rate", "p50", "p99", "p99.9", "p99.99", "max"
    );
    for condition in [Condition::Quiet, Condition::Crowded, Condition::Beside] {
        let of: Vec<&mut Row> = rows.iter_mut().filter(|row| row.condition == condition).collect();
        measure(of, rounds, stretch)?;
        for row in rows.iter().filter(|row| row.condition == condition) {
            println!("{}", line(row));
        }
    }
    if session::measures() {
        draw(&rows)?;
    }
    Ok(())
}

/// All rows of a condition.
fn plan(condition: Condition, rows: &mut Vec<Row>) -> Fallible {
    fn add<S: Duplex>(condition: Condition, mode: Mode, rows: &mut Vec<Row>) -> Fallible {
        let mode_name = match mode {
            Mode::Closed => "closed".into(),
            Mode::Open(rate) => format!("open_{rate}"),
        };
        let id = format!("{}/{}/{mode_name}", condition.name(), S::NAME);
        let all = Measured::new()?;
        rows.push(Row { id, subject: S::NAME, condition, mode, start: Pair::start::<S>, all });
        Ok(())
    }
    // Processes that spin on one processor measure the scheduler's time slice.
    let spins = condition == Condition::Quiet && machine::places().is_some();
    let mut modes = vec![Mode::Closed];
    modes.extend(RATES.map(Mode::Open));
    for mode in modes {
        add::<Ringway<Adaptive>>(condition, mode, rows)?;
        if spins {
            add::<Ringway<Spin>>(condition, mode, rows)?;
        }
        add::<Ringway<Block>>(condition, mode, rows)?;
        add::<OsPipe>(condition, mode, rows)?;
        add::<UnixSocket>(condition, mode, rows)?;
        if mode == Mode::Closed {
            if spins {
                add::<TwoLines>(condition, mode, rows)?;
            }
            add::<FutexWords>(condition, mode, rows)?;
        }
    }
    Ok(())
}

/// One stretch of each row, in turns, `rounds` times.
fn measure(mut rows: Vec<&mut Row>, rounds: u32, stretch: Duration) -> Fallible {
    let count = rows.len();
    for round in 0..rounds as usize {
        for turn in 0..count {
            let row = &mut rows[(turn + round) % count];
            let said = |error| format!("{}: {error}", row.id);
            once(row.condition, row.mode, row.start, stretch)
                .and_then(|measured| row.all.add(&measured))
                .map_err(said)?;
        }
    }
    Ok(())
}

fn once(
    condition: Condition,
    mode: Mode,
    start: fn(Cpus) -> Fallible<Pair>,
    stretch: Duration,
) -> Fallible<Measured> {
    let cpus = match (condition, machine::places()) {
        (Condition::Quiet, Some(places)) => Cpus::Pinned(places.own, places.partner),
        _ => Cpus::Free,
    };
    let _neighbour = (condition == Condition::Beside).then(Neighbour::start).transpose()?;
    let pairs = match condition {
        Condition::Crowded => 2 * machine::processors(),
        _ => 1,
    };
    let pairs = (0..pairs).map(|_| start(cpus)).collect::<Fallible<Vec<_>>>()?;
    for pair in &pairs {
        pair.begin(mode, stretch)?;
    }
    let mut all = Measured::new()?;
    for pair in &pairs {
        all.add(&pair.end()?)?;
    }
    pairs.into_iter().try_for_each(Pair::finish)?;
    Ok(all)
}

fn line(row: &Row) -> String {
    let micros = |nanos: u64| format!("{:.2}", nanos as f64 / 1e3);
    let [p50, p99, p999, p9999] =
        QUANTILES.map(|part| row.all.quantile(part).map_or("-".into(), micros));
    format!(
        "{:<38} {:>9.0} {p50:>9} {p99:>9} {p999:>9} {p9999:>9} {:>10}",
        row.id,
        row.all.rate(),
        micros(row.all.times.max()),
    )
}

/// One picture for each condition and mode: time over the part of messages.
fn draw(rows: &[Row]) -> Fallible {
    let mut drawn: Vec<(Condition, Mode)> = Vec::new();
    for row in rows {
        let kind = (row.condition, row.mode);
        if drawn.contains(&kind) {
            continue;
        }
        drawn.push(kind);
        let alike = rows.iter().filter(|row| (row.condition, row.mode) == kind);
        let lines: Vec<Line> = alike.map(|row| Line::new(row.subject, curve(&row.all))).collect();
        let what = match row.mode {
            Mode::Closed => "round trip of 8 bytes".into(),
            Mode::Open(rate) => format!("one way at {rate} messages/s"),
        };
        let name = row.id.replacen(&format!("/{}/", row.subject), "_", 1);
        plot::Chart {
            title: format!("Latency, {what}, {}", row.condition.name()),
            x: ("part of the messages that took at most".into(), Scale::Nines),
            y: ("microseconds".into(), Scale::Log),
            lines,
        }
        .save(&format!("latency_{name}"))?;
    }
    Ok(())
}

/// Time in microseconds at each part of messages that has ten beyond it.
fn curve(all: &Measured) -> Vec<(f64, f64)> {
    let steps = (0..=40).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 10.0));
    let points = steps.map_while(|part| Some((part, all.quantile(part)? as f64 / 1e3)));
    points.collect()
}
