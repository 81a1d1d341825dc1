//! Ringway beside everything else that moves messages between processes, in one run.
//!
//! # How to read it
//!
//! One table for each workload, the fastest first; nanoseconds per item. All subjects of
//! a table take turns in short batches, so that a disturbance meets all. `spread` is the
//! middle half of the batches as a part of the median. A subject that cannot do a
//! workload, or that does not work here, is listed with the reason. Names with a star run
//! between threads of one process: ceilings, not rivals. Names with `floor` move nothing
//! but the bare words.
//!
//! A word on the command line chooses tables; `--quick` makes batches short.

mod ceilings;
mod copies;
mod pipes;
mod python;
mod queues;

use ceilings::{Array, Channel, Crossbeam, Flume, Kanal, Rtrb, Threads};
use copies::Copies;
use pipes::{EventfdRing, Iceoryx, IpcChannel, Ipmpsc, LocalSocket, PosixMq, ShmemIpc};
use python::Python;
use queues::{MqQueue, RobustQueue};
use ringway_benches::oneway::OneWay;
use ringway_benches::queues::{LockBased, PipeQueue, RingwayQueue};
use ringway_benches::round_trip::RoundTrip;
use ringway_benches::rounds::{Effort, Group};
use ringway_benches::shape::{self, Queued, Shape};
use ringway_benches::subject::{self, Duplex};
use ringway_benches::subjects::ringway::{Adaptive, Block, Roomy, Spin};
use ringway_benches::subjects::{ByteQueues, FutexWords, OsPipe, Ringway, TwoLines, UnixSocket};
use ringway_benches::{Fallible, machine, partner};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let pipes = [
        subject::roles::<Ringway<Adaptive>>(),
        subject::roles::<Ringway<Spin>>(),
        subject::roles::<Ringway<Block>>(),
        subject::roles::<Ringway<Roomy>>(),
        subject::roles::<ByteQueues>(),
        subject::roles::<OsPipe>(),
        subject::roles::<UnixSocket>(),
        subject::roles::<TwoLines>(),
        subject::roles::<FutexWords>(),
        subject::roles::<PosixMq>(),
        subject::roles::<EventfdRing>(),
        subject::roles::<IpcChannel>(),
        subject::roles::<Iceoryx>(),
        subject::roles::<ShmemIpc>(),
        subject::roles::<Ipmpsc>(),
        subject::roles::<LocalSocket>(),
    ];
    let queues = [
        shape::roles::<RingwayQueue<Adaptive, 1>, 1>(),
        shape::roles::<RingwayQueue<Block, 1>, 1>(),
        shape::roles::<LockBased<1>, 1>(),
        shape::roles::<PipeQueue, 1>(),
        shape::roles::<MqQueue, 1>(),
        shape::roles::<RobustQueue, 1>(),
    ];
    let roles = [pipes.as_flattened(), queues.as_flattened()].concat();
    if let Some(code) = partner::play_if_asked(&roles) {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let quick = words.iter().any(|word| word == "--quick");
    let effort = if quick {
        Effort { rounds: 5, batch: Duration::from_millis(50) }
    } else {
        Effort { rounds: 9, batch: Duration::from_millis(150) }
    };
    let filter = words.iter().find(|word| !word.starts_with('-')).map_or("", String::as_str);
    match run(effort, filter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(effort: Effort, filter: &str) -> Fallible {
    print!("{}", machine::sheet());
    for (bytes, size) in [(8, "8 B"), (1 << 10, "1 KiB"), (1 << 16, "64 KiB"), (1 << 20, "1 MiB")] {
        let name = format!("one way {size}");
        if name.contains(filter) {
            one_way(name, bytes).run(effort)?;
        }
    }
    if "round trip".contains(filter) {
        round_trips().run(effort)?;
    }
    for each in [1, 2, 4] {
        let name = format!("queue {each}x{each}");
        if name.contains(filter) {
            queue(name, each).run(effort)?;
        }
    }
    Ok(())
}

fn pinned<S>(start: impl FnOnce() -> Fallible<S>) -> Fallible<S> {
    machine::pin_own()?;
    start()
}

fn one_way(name: String, bytes: usize) -> Group<'static> {
    fn add<S: Duplex>(group: &mut Group<'static>, bytes: usize) {
        group.add(S::NAME, move || pinned(|| OneWay::<S>::start(bytes)));
    }
    let mut group = Group::new(name);
    if bytes == 8 {
        group.add("python_pipe", || Python::start("one_way"));
    }
    if bytes >= 1 << 16 {
        group.add("memcpy_floor", move || pinned(|| Ok(Copies::new(bytes))));
    }
    add::<Ringway<Adaptive>>(&mut group, bytes);
    if bytes >= 1 << 16 {
        add::<Ringway<Roomy>>(&mut group, bytes);
        add::<ByteQueues>(&mut group, bytes);
    }
    add::<OsPipe>(&mut group, bytes);
    add::<UnixSocket>(&mut group, bytes);
    add::<PosixMq>(&mut group, bytes);
    add::<EventfdRing>(&mut group, bytes);
    add::<IpcChannel>(&mut group, bytes);
    if machine::places().is_some() {
        add::<Iceoryx>(&mut group, bytes);
    }
    add::<ShmemIpc>(&mut group, bytes);
    add::<Ipmpsc>(&mut group, bytes);
    add::<LocalSocket>(&mut group, bytes);
    group
}

fn round_trips() -> Group<'static> {
    fn add<S: Duplex>(group: &mut Group<'static>) {
        group.add(S::NAME, || pinned(RoundTrip::<S>::start));
    }
    let mut group = Group::new("round trip 8 B");
    group.add("python_pipe", || Python::start("round_trip"));
    add::<Ringway<Adaptive>>(&mut group);
    add::<Ringway<Block>>(&mut group);
    if machine::places().is_some() {
        add::<Ringway<Spin>>(&mut group);
        add::<TwoLines>(&mut group);
        add::<Iceoryx>(&mut group);
    }
    add::<FutexWords>(&mut group);
    add::<OsPipe>(&mut group);
    add::<UnixSocket>(&mut group);
    add::<PosixMq>(&mut group);
    add::<EventfdRing>(&mut group);
    add::<IpcChannel>(&mut group);
    add::<ShmemIpc>(&mut group);
    add::<Ipmpsc>(&mut group);
    add::<LocalSocket>(&mut group);
    group
}

fn queue(name: String, each: usize) -> Group<'static> {
    fn add<Q: Queued<1> + 'static>(group: &mut Group<'static>, each: usize) {
        group.add(Q::NAME, move || pinned(|| Shape::<Q, 1>::start(each, each)));
    }
    fn ceiling<C: Channel + 'static>(group: &mut Group<'static>, each: usize) {
        group.add(C::NAME, move || Threads::<C>::start(each, each));
    }
    let mut group = Group::new(name);
    group.add("python_queue", move || Python::start(&format!("queue{each}")));
    add::<RingwayQueue<Adaptive, 1>>(&mut group, each);
    add::<RingwayQueue<Block, 1>>(&mut group, each);
    add::<LockBased<1>>(&mut group, each);
    add::<RobustQueue>(&mut group, each);
    add::<MqQueue>(&mut group, each);
    add::<PipeQueue>(&mut group, each);
    ceiling::<Crossbeam>(&mut group, each);
    ceiling::<Array>(&mut group, each);
    ceiling::<Rtrb>(&mut group, each);
    ceiling::<Kanal>(&mut group, each);
    ceiling::<Flume>(&mut group, each);
    group
}
