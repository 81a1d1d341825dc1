//! Costs: what messages, waiting and existing take of the machine, Ringway beside the
//! system's own.
//!
//! # How to read it
//!
//! `work`: system calls and context switches a message, and processor seconds a million
//! messages, of all threads of all processes together, in batches of a second. System
//! calls are counted by the kernel and only where it lets us: as root, with tracefs.
//!
//! `idle`: so many receivers, each in a process of its own or all threads of one, blocked
//! for ten seconds on a connection each. `blocked ran`: how often their threads ran,
//! together; 0 means that they executed nothing. `others ran`: the other threads of their
//! processes, Ringway's watcher that is. `cpu`: of one processor, all together.
//!
//! `memory`: what one more pipe or queue takes in its process, empty, and after its ring
//! was filled once. What the system's pipes hold is in the kernel and is not seen.
//!
//! A word on the command line chooses rows; `--quick` makes them short.

use ringway_benches::costs::{self, Cost};
use ringway_benches::dormitory::{self, Night};
use ringway_benches::footprint::Footprint;
use ringway_benches::oneway::OneWay;
use ringway_benches::partner;
use ringway_benches::queues::{LockBased, PipeQueue, RingwayQueue};
use ringway_benches::round_trip::RoundTrip;
use ringway_benches::session::{self, Session};
use ringway_benches::shape::{self, Queued, Shape};
use ringway_benches::subject::{self, Duplex};
use ringway_benches::subjects::ringway::{Adaptive, Block, Spin};
use ringway_benches::subjects::{FutexWords, OsPipe, Ringway, UnixSocket};
use ringway_benches::{Fallible, machine, syscalls};
use ringway_queue::{Builder, Pod, Queue};
use std::process::ExitCode;
use std::time::Duration;

/// How much is done.
struct Effort {
    batches: usize,
    batch: Duration,
    night: Duration,
    many: &'static [usize],
    filter: String,
}

fn main() -> ExitCode {
    let pipes = [
        subject::roles::<Ringway<Adaptive>>(),
        subject::roles::<Ringway<Spin>>(),
        subject::roles::<Ringway<Block>>(),
        subject::roles::<OsPipe>(),
        subject::roles::<UnixSocket>(),
        subject::roles::<FutexWords>(),
    ];
    let queues = [
        shape::roles::<RingwayQueue<Adaptive, 1>, 1>(),
        shape::roles::<RingwayQueue<Block, 1>, 1>(),
        shape::roles::<LockBased<1>, 1>(),
        shape::roles::<PipeQueue, 1>(),
    ];
    let sleepers = [dormitory::role::<Ringway<Adaptive>>(), dormitory::role::<OsPipe>()];
    let roles = [pipes.as_flattened(), queues.as_flattened(), &sleepers].concat();
    if let Some(code) = partner::play_if_asked(&roles) {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    if has("--list") {
        return ExitCode::SUCCESS;
    }
    let millis = Duration::from_millis;
    let (batches, batch, night, many): (_, _, _, &[usize]) =
        match (session::measures(), has("--quick")) {
            (true, false) => (5, millis(500), millis(10_000), &[1, 64, 1024]),
            (true, true) => (3, millis(100), millis(1000), &[1, 64]),
            (false, _) => (1, millis(1), millis(10), &[1]),
        };
    let filter = words.iter().find(|word| !word.starts_with('-')).cloned().unwrap_or_default();
    match run(&Effort { batches, batch, night, many, filter }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => panic!("costs: {error}"),
    }
}

fn run(effort: &Effort) -> Fallible {
    print!("{}", machine::sheet());
    idle(effort)?;
    memory(effort)?;
    // Last, because it pins this process.
    machine::pin_own()?;
    work(effort)
}

fn work(effort: &Effort) -> Fallible {
    if let Err(why) = syscalls::tracepoint() {
        println!("system calls are not counted: {why}");
    }
    println!(
        "\n{:<38} {:>12} {:>14} {:>16} {:>10}",
        "work", "syscalls/msg", "switches/msg", "cpu s/million", "ns/msg"
    );
    for bytes in [8, 1 << 16] {
        one_way::<Ringway<Adaptive>>(effort, bytes)?;
        one_way::<Ringway<Block>>(effort, bytes)?;
        one_way::<OsPipe>(effort, bytes)?;
        one_way::<UnixSocket>(effort, bytes)?;
    }
    if machine::places().is_some() {
        round_trip::<Ringway<Spin>>(effort)?;
    }
    round_trip::<Ringway<Adaptive>>(effort)?;
    round_trip::<Ringway<Block>>(effort)?;
    round_trip::<FutexWords>(effort)?;
    round_trip::<OsPipe>(effort)?;
    round_trip::<UnixSocket>(effort)?;
    for each in [1, 2] {
        queue::<RingwayQueue<Adaptive, 1>>(effort, each)?;
        queue::<RingwayQueue<Block, 1>>(effort, each)?;
        queue::<LockBased<1>>(effort, each)?;
        if each == 1 {
            queue::<PipeQueue>(effort, each)?;
        }
    }
    Ok(())
}

fn one_way<S: Duplex>(effort: &Effort, bytes: usize) -> Fallible {
    let id = format!("work/one_way/{}/{bytes}B", S::NAME);
    work_row(effort, &id, || OneWay::<S>::start(bytes))
}

fn round_trip<S: Duplex>(effort: &Effort) -> Fallible {
    work_row(effort, &format!("work/round_trip/{}", S::NAME), RoundTrip::<S>::start)
}

fn queue<Q: Queued<1>>(effort: &Effort, each: usize) -> Fallible {
    let id = format!("work/queue_{each}x{each}/{}", Q::NAME);
    work_row(effort, &id, || Shape::<Q, 1>::start(each, each))
}

/// The medians of some batches.
fn work_row<S: Session>(effort: &Effort, id: &str, start: impl Fn() -> Fallible<S>) -> Fallible {
    if !id.contains(&effort.filter) {
        return Ok(());
    }
    let mut session = start()?;
    let items = costs::calibrate(&mut session, effort.batch)?;
    let batch = |_| costs::of_batch(&mut session, items);
    let all = (0..effort.batches).map(batch).collect::<Fallible<Vec<Cost>>>()?;
    session.finish()?;
    let median = |figure: fn(&Cost) -> Option<f64>| {
        let mut figures: Vec<f64> =
            all.iter().filter_map(|cost| Some(figure(cost)? / cost.items as f64)).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    let calls = median(|cost| Some(cost.syscalls? as f64));
    let told = |figure: Option<f64>, places: usize| {
        figure.map_or("-".into(), |figure| format!("{figure:.places$}"))
    };
    println!(
        "{id:<38} {:>12} {:>14} {:>16} {:>10}",
        told(calls, 4),
        told(median(|cost| Some(cost.switches as f64)), 5),
        told(median(|cost| Some(1e6 * cost.ran.as_secs_f64())), 3),
        told(median(|cost| Some(cost.took.as_nanos() as f64)), 0),
    );
    Ok(())
}

fn idle(effort: &Effort) -> Fallible {
    println!(
        "\n{:<38} {:>8} {:>12} {:>12} {:>9} {:>9}",
        "idle", "seconds", "blocked ran", "others ran", "threads", "cpu"
    );
    for &many in effort.many {
        night::<Ringway<Adaptive>>(effort, many, 1)?;
        night::<OsPipe>(effort, many, 1)?;
        if many > 1 {
            night::<Ringway<Adaptive>>(effort, 1, many)?;
            night::<OsPipe>(effort, 1, many)?;
        }
    }
    Ok(())
}

fn night<S: Duplex>(effort: &Effort, processes: usize, threads: usize) -> Fallible {
    let id = format!("idle/{}/{processes}_processes_of_{threads}", S::NAME);
    if !id.contains(&effort.filter) {
        return Ok(());
    }
    match dormitory::observe::<S>(processes, threads, effort.night) {
        Ok(Night { lasted, blocked, others, other_threads, ran }) => println!(
            "{id:<38} {:>8.1} {blocked:>12} {others:>12} {other_threads:>9} {:>7.3} %",
            lasted.as_secs_f64(),
            100.0 * ran.as_secs_f64() / lasted.as_secs_f64(),
        ),
        // A limit of this machine, such as that of descriptors, is not a figure.
        Err(why) => println!("{id:<38} not measured: {why}"),
    }
    Ok(())
}

fn memory(effort: &Effort) -> Fallible {
    println!(
        "\n{:<38} {:>11} {:>11} {:>11} {:>9} {:>9}",
        "memory (KiB)", "shared", "private", "space", "mappings", "fds"
    );
    type Pipe = (ringway_pipe::Receiver<Vec<u8>>, ringway_pipe::Sender<Vec<u8>>);
    let pipe = || -> Fallible<Pipe> { Ok(ringway_pipe::simplex()?) };
    memory_row(effort, "memory/ringway_pipe/empty", pipe, |_| Ok(()))?;
    memory_row(effort, "memory/ringway_pipe/used", pipe, |(receiver, sender)| {
        let message = vec![1; 8 << 10];
        for _ in 0..16 {
            sender.send_bytes(&message)?;
            receiver.recv_bytes_into(&mut message.clone())?;
        }
        Ok(())
    })?;
    for (name, capacity) in
        [("bounded_10", Some(10)), ("bounded_1024", Some(1024)), ("unbounded", None)]
    {
        let queue = || -> Fallible<Queue<u64, Pod>> {
            let builder = Builder::new();
            Ok(match capacity {
                Some(capacity) => builder.bounded(capacity)?,
                None => builder.unbounded()?,
            })
        };
        memory_row(effort, &format!("memory/ringway_queue_{name}/empty"), queue, |_| Ok(()))?;
        memory_row(effort, &format!("memory/ringway_queue_{name}/used"), queue, |queue| {
            for number in 0..20_000 {
                queue.put(number)?;
                queue.get()?;
            }
            Ok(())
        })?;
    }
    memory_row(effort, "memory/os_pipe/empty", || Ok(std::io::pipe()?), |_| Ok(()))
}

fn memory_row<T>(
    effort: &Effort,
    id: &str,
    make: impl Fn() -> Fallible<T>,
    used: impl Fn(&mut T) -> Fallible,
) -> Fallible {
    if !id.contains(&effort.filter) {
        return Ok(());
    }
    let Footprint { shared, private, space, mappings, descriptors } = Footprint::of(make, used)?;
    let [shared, private, space] = [shared, private, space].map(|bytes| bytes / 1024.0);
    println!(
        "{id:<38} {shared:>11.1} {private:>11.1} {space:>11.1} {mappings:>9.1} {descriptors:>9.1}"
    );
    Ok(())
}
