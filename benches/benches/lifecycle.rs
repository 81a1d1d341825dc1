//! Coming into being, and waking up.
//!
//! # How to read it
//!
//! `lifecycle/WHAT/SUBJECT`: one is made, handed to another process, used once there, and
//! dropped on both sides. Ringway's bar is 200 us and two descriptors an end.
//!
//! `wake/SUBJECT`: from when a message is due to its arrival at a receiver that has slept
//! for ten milliseconds. No bar: what the system's scheduler does is most of it.

use criterion::Criterion;
use ringway_benches::footprint::Footprint;
use ringway_benches::latency::{self, Cpus, Measured, Mode, Pair};
use ringway_benches::ledger::Ledger;
use ringway_benches::lifecycle::{Life, Lives, Pipe, Queue};
use ringway_benches::queues::{LockBased, PipeQueue, RingwayQueue};
use ringway_benches::session::{self, measure};
use ringway_benches::subjects::ringway::{Adaptive, Block};
use ringway_benches::subjects::{OsPipe, Ringway, UnixSocket};
use ringway_benches::{Fallible, machine, partner};
use std::process::ExitCode;
use std::time::Duration;

/// Nanoseconds that making, attaching and dropping may take.
const BAR: f64 = 200_000.0;
/// Messages a second: each finds its receiver asleep.
const RARELY: u64 = 100;

fn main() -> ExitCode {
    let lives = [
        Pipe::<Ringway<Adaptive>>::ROLE,
        Pipe::<OsPipe>::ROLE,
        Pipe::<UnixSocket>::ROLE,
        Queue::<RingwayQueue<Adaptive, 1>>::ROLE,
        Queue::<LockBased<1>>::ROLE,
        Queue::<PipeQueue>::ROLE,
    ];
    let latencies = [
        latency::roles::<Ringway<Adaptive>>(),
        latency::roles::<Ringway<Block>>(),
        latency::roles::<OsPipe>(),
        latency::roles::<UnixSocket>(),
    ];
    let roles = [lives.as_slice(), latencies.as_flattened()].concat();
    if let Some(code) = partner::play_if_asked(&roles) {
        return code;
    }
    print!("{}", machine::sheet());
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filter = words.iter().find(|word| !word.starts_with('-')).map_or("", String::as_str);
    let quick = words.iter().any(|word| word == "--quick");
    if words.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = wake(filter, quick) {
        panic!("wake: {error}");
    }
    if let Err(error) = machine::pin_own() {
        eprintln!("not pinned: {error}");
    }
    let mut criterion = session::criterion();
    let mut ledger = Ledger::default();
    fn row<L: Life>(criterion: &mut Criterion, ledger: &mut Ledger, what: &str) {
        let mut group = criterion.benchmark_group("lifecycle");
        let id = format!("lifecycle/{what}/{}", L::NAME);
        measure(&mut group, ledger, &id, 8, Lives::<L>::start);
    }
    row::<Pipe<Ringway<Adaptive>>>(&mut criterion, &mut ledger, "pipe");
    row::<Pipe<OsPipe>>(&mut criterion, &mut ledger, "pipe");
    row::<Pipe<UnixSocket>>(&mut criterion, &mut ledger, "pipe");
    row::<Queue<RingwayQueue<Adaptive, 1>>>(&mut criterion, &mut ledger, "queue");
    row::<Queue<LockBased<1>>>(&mut criterion, &mut ledger, "queue");
    row::<Queue<PipeQueue>>(&mut criterion, &mut ledger, "queue");
    criterion.final_summary();
    if session::measures() {
        print!("{}", ledger.summary(&[]));
        bars(&ledger);
    }
    ExitCode::SUCCESS
}

/// A bar in microseconds and descriptors, not against another row.
fn bars(ledger: &Ledger) {
    for id in ["lifecycle/pipe/ringway", "lifecycle/queue/ringway"] {
        if let Some(nanos) = ledger.per_item(id) {
            let word = if nanos <= BAR { "met" } else { "MISSED" };
            println!("  {id:<34} {:>7.1} us  bar <= 200 us {word}", nanos / 1e3);
        }
    }
    let descriptors = |one: Fallible<Footprint>| one.map_or(f64::NAN, |one| one.descriptors);
    let pipe = descriptors(Footprint::of(|| Ok(ringway_pipe::simplex::<Vec<u8>>()?), |_| Ok(())));
    let queue =
        descriptors(Footprint::of(|| Ok(ringway_queue::Queue::<u64>::bounded(10)?), |_| Ok(())));
    for (what, one) in [("a pipe's end", pipe / 2.0), ("a queue", queue)] {
        let word = if one <= 2.0 { "met" } else { "MISSED" };
        println!("  descriptors of {what:<19} {one:>7.1}     bar <= 2      {word}");
    }
}

fn wake(filter: &str, quick: bool) -> Fallible {
    let stretch = Duration::from_millis(if session::measures() { 1000 } else { 20 });
    let rounds = if session::measures() && !quick { 5 } else { 1 };
    type Row = (&'static str, fn(Cpus) -> Fallible<Pair>);
    let rows: [Row; 4] = [
        ("wake/ringway", Pair::start::<Ringway<Adaptive>>),
        ("wake/ringway_block", Pair::start::<Ringway<Block>>),
        ("wake/os_pipe", Pair::start::<OsPipe>),
        ("wake/unix_socket", Pair::start::<UnixSocket>),
    ];
    let mut rows: Vec<(Row, Measured)> = rows
        .into_iter()
        .filter(|(id, _)| id.contains(filter))
        .map(|row| Ok((row, Measured::new()?)))
        .collect::<Fallible<_>>()?;
    let cpus =
        machine::places().map_or(Cpus::Free, |places| Cpus::Pinned(places.own, places.partner));
    for _ in 0..rounds {
        for ((_, start), all) in &mut rows {
            let pair = start(cpus)?;
            pair.begin(Mode::Open(RARELY), stretch)?;
            all.add(&pair.end()?)?;
            pair.finish()?;
        }
    }
    for ((id, _), all) in rows {
        let at = |part| all.times.value_at_quantile(part) as f64 / 1e3;
        println!(
            "{id:<34} median {:>8.1} us  90 % {:>8.1}  worst {:>8.1}",
            at(0.5),
            at(0.9),
            at(1.0)
        );
    }
    Ok(())
}
