//! Coming into being, and waking up.
//!
//! # How to read it
//!
//! `lifecycle/WHAT/SUBJECT`: one is made, handed to another process, used once there, and
//! dropped on both sides. That takes two wake-ups of a process over a socket, whatever is
//! handed over: an OS pipe's row is the floor.
//!
//! `lifecycle/WHAT/SUBJECT_own`: the same, but each process times its own calls only, and what
//! they took is added up; the table shows the parts. Ringway's bar of 200 us is on this sum,
//! and two descriptors an end.
//!
//! `memory_floor`: as many bytes reserved, mapped in both processes, and given back.
//!
//! WHAT is `pipe`, two-way (two OS pipes); `pipe_one_way` (one OS pipe); `queue`, of plain old
//! data, which needs no pool; `queue_with_pool`, of a serde type with all defaults.
//!
//! `wake/SUBJECT`: from when a message is due to its arrival at a receiver that has slept
//! for ten milliseconds. No bar: what the system's scheduler does is most of it.

use criterion::Criterion;
use ringway_benches::footprint::Footprint;
use ringway_benches::latency::{self, Cpus, Measured, Mode, Pair};
use ringway_benches::ledger::Ledger;
use ringway_benches::lifecycle::own::{self, Own, Parted, Samples};
use ringway_benches::lifecycle::{
    self, Life, Lives, MemoryFloor, OsPipeOneWay, Pipe, PooledQueue, Queue, RingwayOneWay,
};
use ringway_benches::queues::{LockBased, PipeQueue, RingwayQueue};
use ringway_benches::session::{self, measure};
use ringway_benches::subjects::ringway::{Adaptive, Block};
use ringway_benches::subjects::{OsPipe, Ringway, UnixSocket};
use ringway_benches::{Fallible, machine, partner};
use std::process::ExitCode;
use std::time::Duration;

type TwoWay = Pipe<Ringway<Adaptive>>;
type PlainQueue = Queue<RingwayQueue<Adaptive, 1>>;

/// Nanoseconds that making, attaching and dropping may take.
const BAR: f64 = 200_000.0;
/// Between two rounds of the rows whose processes time themselves.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages a second: each finds its receiver asleep.
const RARELY: u64 = 100;

fn main() -> ExitCode {
    let lives = [
        lifecycle::role::<TwoWay>(),
        lifecycle::role::<MemoryFloor<TwoWay>>(),
        lifecycle::role::<Pipe<OsPipe>>(),
        lifecycle::role::<Pipe<UnixSocket>>(),
        lifecycle::role::<RingwayOneWay>(),
        lifecycle::role::<MemoryFloor<RingwayOneWay>>(),
        lifecycle::role::<OsPipeOneWay>(),
        lifecycle::role::<PlainQueue>(),
        lifecycle::role::<MemoryFloor<PlainQueue>>(),
        lifecycle::role::<Queue<LockBased<1>>>(),
        lifecycle::role::<Queue<PipeQueue>>(),
        lifecycle::role::<PooledQueue>(),
        lifecycle::role::<MemoryFloor<PooledQueue>>(),
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
    let parts = parts(filter, quick).unwrap_or_else(|error| panic!("own: {error}"));
    let mut criterion = session::criterion();
    let mut ledger = Ledger::default();
    fn row<L: Life>(criterion: &mut Criterion, ledger: &mut Ledger) {
        let mut group = criterion.benchmark_group("lifecycle");
        measure(&mut group, ledger, &L::id(), 8, Lives::<L>::start);
    }
    row::<TwoWay>(&mut criterion, &mut ledger);
    row::<Pipe<OsPipe>>(&mut criterion, &mut ledger);
    row::<Pipe<UnixSocket>>(&mut criterion, &mut ledger);
    row::<RingwayOneWay>(&mut criterion, &mut ledger);
    row::<OsPipeOneWay>(&mut criterion, &mut ledger);
    row::<PlainQueue>(&mut criterion, &mut ledger);
    row::<Queue<LockBased<1>>>(&mut criterion, &mut ledger);
    row::<Queue<PipeQueue>>(&mut criterion, &mut ledger);
    row::<PooledQueue>(&mut criterion, &mut ledger);
    criterion.final_summary();
    if session::measures() {
        print!("{}{}", own::table(&parts), ledger.summary(&[]));
        bars(&ledger, &parts);
    }
    ExitCode::SUCCESS
}

/// The rows whose processes time themselves, a batch of each in turns.
fn parts(filter: &str, quick: bool) -> Fallible<Vec<(String, Samples)>> {
    type Row = (String, Box<dyn Parted>, Samples);
    fn row<L: Life + 'static>(filter: &str) -> Fallible<Option<Row>> {
        let id = format!("{}_own", L::id());
        if !id.contains(filter) {
            return Ok(None);
        }
        Ok(Some((id, Box::new(Own::<L>::start()?), Samples::default())))
    }
    let rows = [
        row::<TwoWay>(filter)?,
        row::<MemoryFloor<TwoWay>>(filter)?,
        row::<Pipe<OsPipe>>(filter)?,
        row::<Pipe<UnixSocket>>(filter)?,
        row::<RingwayOneWay>(filter)?,
        row::<MemoryFloor<RingwayOneWay>>(filter)?,
        row::<OsPipeOneWay>(filter)?,
        row::<PlainQueue>(filter)?,
        row::<MemoryFloor<PlainQueue>>(filter)?,
        row::<Queue<LockBased<1>>>(filter)?,
        row::<Queue<PipeQueue>>(filter)?,
        row::<PooledQueue>(filter)?,
        row::<MemoryFloor<PooledQueue>>(filter)?,
    ];
    let mut rows: Vec<Row> = rows.into_iter().flatten().collect();
    let rounds = match (session::measures(), quick) {
        (false, _) => 1,
        (true, true) => 25,
        (true, false) => 100,
    };
    let items = if session::measures() { 12 } else { 2 };
    for _ in 0..rounds {
        if session::measures() {
            // A guardian that is woken all the time takes a rest, and then costs less than it
            // does in a program that makes a queue now and then.
            std::thread::sleep(PAUSE);
        }
        for (_, own, samples) in &mut rows {
            samples.add(&own.batch(items)?);
        }
    }
    rows.into_iter().map(|(id, own, samples)| own.finish().map(|()| (id, samples))).collect()
}

/// What Ringway is made and dropped as, and the OS pipe that is handed over in the same way.
const MADE: [(&str, &str); 4] = [
    ("pipe", "pipe"),
    ("pipe_one_way", "pipe_one_way"),
    ("queue", "queue"),
    ("queue_with_pool", "queue"),
];

/// A bar in microseconds and descriptors, not against another row.
fn bars(ledger: &Ledger, parts: &[(String, Samples)]) {
    let word = |met| if met { "met" } else { "MISSED" };
    println!("  making, attaching, dropping <= 200 us: the sum of both processes' own calls");
    for (what, _) in MADE {
        let id = format!("lifecycle/{what}/ringway_own");
        if let Some((_, samples)) = parts.iter().find(|(known, _)| *known == id) {
            let nanos = samples.sum(0.5);
            let floor = format!("lifecycle/{what}/memory_floor_own");
            let floor = parts.iter().find(|(known, _)| *known == floor);
            println!(
                "  {id:<38} {:>7.1} us  {}; its memory alone {:>5.1} us",
                nanos / 1e3,
                word(nanos <= BAR),
                floor.map_or(f64::NAN, |(_, samples)| samples.sum(0.5) / 1e3)
            );
        }
    }
    println!("  the same with the way to the other process and back, and an OS pipe on that way");
    for (what, floor) in MADE {
        let id = format!("lifecycle/{what}/ringway");
        let floor = ledger.per_item(&format!("lifecycle/{floor}/os_pipe"));
        if let (Some(nanos), Some(floor)) = (ledger.per_item(&id), floor) {
            println!(
                "  {id:<38} {:>7.1} us  {}; OS pipe {:>5.1} us, {:.1} us more than it",
                nanos / 1e3,
                word(nanos <= BAR),
                floor / 1e3,
                (nanos - floor) / 1e3
            );
        }
    }
    let descriptors = |one: Fallible<Footprint>| one.map_or(f64::NAN, |one| one.descriptors);
    type Ends = (ringway_pipe::Receiver<Vec<u8>>, ringway_pipe::Sender<Vec<u8>>);
    let used = |(receiver, sender): &mut Ends| -> Fallible {
        sender.send(&vec![1])?;
        receiver.recv()?;
        Ok(())
    };
    let pipe = descriptors(Footprint::of(|| Ok(ringway_pipe::simplex::<Vec<u8>>()?), used));
    let queue =
        descriptors(Footprint::of(|| Ok(ringway_queue::Queue::<u64>::bounded(10)?), |_| Ok(())));
    for (what, one) in [("a pipe's end", pipe / 2.0), ("a queue", queue)] {
        println!("  descriptors of {what:<19} {one:>7.1}     bar <= 2      {}", word(one <= 2.0));
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
