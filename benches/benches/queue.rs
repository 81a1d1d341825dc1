//! Queues: Ringway beside a lock-based one, crossbeam's channel and an OS pipe, in one
//! run.
//!
//! # How to read it
//!
//! `queue/SUBJECT/PxG/SIZE` is the time per item when P processes put as fast as G
//! processes take and check. `ringway` waits adaptively, `ringway_block` sleeps at once.
//! `crossbeam_channel` runs between threads: the ceiling of what a process boundary could
//! leave. `ring_announced` and `ring_plain` are the ring alone with and without
//! announcements. `ringway_batch32` puts and takes 32 items at a time, `ringway_single`
//! beside it one. All putters share one processor and all getters another.
//!
//! `queue_round_trip/SUBJECT` is the time for 8 bytes through one queue and back through
//! another: two put-to-get latencies.
//!
//! Batches and single items, `ringway` and `crossbeam_channel`, `ring_announced` and `ring_plain`,
//! and the round trips and their floors take turns, and are compared turn by turn.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use ringway_benches::ledger::{Bar, Bound, Ledger};
use ringway_benches::queues::{
    Announced, Bare, LockBased, PipeQueue, Plain, RingwayBatches, RingwayQueue,
};
use ringway_benches::round_trip::{self, RoundTrip};
use ringway_benches::session::{self, Session, measure};
use ringway_benches::shape::{Queued, Shape, roles};
use ringway_benches::subject::{self, Duplex};
use ringway_benches::subjects::ringway::{Adaptive, Block, Spin};
use ringway_benches::subjects::{FutexWords, OsPipe, TwoLines, TwoQueues};
use ringway_benches::threads::Threads;
use ringway_benches::turns::Turns;
use ringway_benches::{Fallible, machine, partner};
use std::process::ExitCode;
use std::time::Duration;

const SHAPES: [(usize, usize); 5] = [(1, 1), (2, 2), (4, 4), (1, 4), (4, 1)];
const SIZES: [&str; 2] = ["8B", "64B"];
/// Until all processes or threads of a shape run, some milliseconds may go by.
const BATCH: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let shapes = [
        roles::<RingwayQueue<Adaptive, 1>, 1>(),
        roles::<RingwayQueue<Adaptive, 8>, 8>(),
        roles::<RingwayQueue<Block, 1>, 1>(),
        roles::<RingwayQueue<Spin, 1>, 1>(),
        roles::<RingwayQueue<Block, 8>, 8>(),
        roles::<RingwayBatches, 1>(),
        roles::<LockBased<1>, 1>(),
        roles::<LockBased<8>, 8>(),
        roles::<PipeQueue, 1>(),
        roles::<PipeQueue, 8>(),
        roles::<Bare<Announced>, 1>(),
        roles::<Bare<Plain>, 1>(),
    ];
    let trips = [
        subject::roles::<TwoQueues<Adaptive>>(),
        subject::roles::<TwoQueues<Block>>(),
        subject::roles::<TwoLines>(),
        subject::roles::<FutexWords>(),
        subject::roles::<OsPipe>(),
    ];
    let roles = [shapes.as_flattened(), trips.as_flattened()].concat();
    if let Some(code) = partner::play_if_asked(&roles) {
        return code;
    }
    print!("{}", machine::sheet());
    if let Err(error) = machine::pin_own() {
        eprintln!("not pinned: {error}");
    }
    let mut criterion = session::criterion();
    let mut ledger = Ledger::default();
    for (putters, getters) in SHAPES {
        shape(&mut criterion, &mut ledger, putters, getters);
    }
    there_and_back(&mut criterion, &mut ledger);
    criterion.final_summary();
    if session::measures() {
        print!("{}", ledger.summary(&bars()));
    }
    ExitCode::SUCCESS
}

fn shape(criterion: &mut Criterion, ledger: &mut Ledger, putters: usize, getters: usize) {
    let mut rows = Rows { criterion, ledger, putters, getters };
    rows.width::<1>();
    if (putters, getters) == (1, 1) {
        let batches = move || Shape::<RingwayBatches, 1>::start(putters, getters);
        let single = move || Shape::<RingwayQueue<Adaptive, 1>, 1>::start(putters, getters);
        rows.beside::<1, _, _>((RingwayBatches::NAME, batches), ("ringway_single", single));
        rows.queue::<PipeQueue, 1>();
        rows.queue::<PipeQueue, 8>();
        // With more of them than processors, spinning measures the scheduler's time slice.
        if machine::places().is_some() {
            rows.queue::<RingwayQueue<Spin, 1>, 1>();
        }
    }
    if putters == getters && putters <= 2 {
        let announced = move || Shape::<Bare<Announced>, 1>::start(putters, getters);
        let plain = move || Shape::<Bare<Plain>, 1>::start(putters, getters);
        let announced = (Bare::<Announced>::NAME, announced);
        rows.beside::<1, _, _>(announced, (Bare::<Plain>::NAME, plain));
    }
    rows.width::<8>();
}

fn there_and_back(criterion: &mut Criterion, ledger: &mut Ledger) {
    fn beside<S: Duplex, F: Duplex>(criterion: &mut Criterion, ledger: &mut Ledger) {
        let mut group = criterion.benchmark_group("queue_round_trip");
        let id = |name: &str| format!("queue_round_trip/{name}");
        let mut turns = Turns::new(round_trip::SIZE);
        turns.add(id(S::NAME), RoundTrip::<S>::start);
        turns.add(id(F::NAME), RoundTrip::<F>::start);
        turns.measure(&mut group, ledger, &id(S::NAME));
    }
    // Two processes that spin on one processor measure the scheduler's time slice.
    if machine::places().is_some() {
        beside::<TwoQueues<Adaptive>, TwoLines>(criterion, ledger);
    }
    beside::<TwoQueues<Block>, FutexWords>(criterion, ledger);
    let mut group = criterion.benchmark_group("queue_round_trip");
    let id = format!("queue_round_trip/{}", OsPipe::NAME);
    measure(&mut group, ledger, &id, round_trip::SIZE, RoundTrip::<OsPipe>::start);
}

struct Rows<'a> {
    criterion: &'a mut Criterion,
    ledger: &'a mut Ledger,
    putters: usize,
    getters: usize,
}

impl Rows<'_> {
    /// The rows of items of `W` words.
    fn width<const W: usize>(&mut self)
    where
        RingwayQueue<Adaptive, W>: Queued<W>,
        RingwayQueue<Block, W>: Queued<W>,
        LockBased<W>: Queued<W>,
    {
        let (putters, getters) = (self.putters, self.getters);
        let ringway = move || Shape::<RingwayQueue<Adaptive, W>, W>::start(putters, getters);
        let threads = move || Ok(Threads::<W>::new(putters, getters));
        let ringway = (RingwayQueue::<Adaptive, W>::NAME, ringway);
        self.beside::<W, _, _>(ringway, (Threads::<W>::NAME, threads));
        self.queue::<RingwayQueue<Block, W>, W>();
        self.queue::<LockBased<W>, W>();
    }

    fn queue<Q: Queued<W>, const W: usize>(&mut self) {
        let (putters, getters) = (self.putters, self.getters);
        let id = self.id::<W>(Q::NAME);
        let start = || Shape::<Q, W>::start(putters, getters);
        let mut group = group(self.criterion);
        measure(&mut group, self.ledger, &id, 8 * W, start);
    }

    fn beside<const W: usize, S: Session + 'static, B: Session + 'static>(
        &mut self,
        (name, start): (&str, impl Fn() -> Fallible<S>),
        (other, start_other): (&str, impl Fn() -> Fallible<B>),
    ) {
        let id = self.id::<W>(name);
        let mut turns = Turns::new(8 * W).batches_of(BATCH);
        turns.add(&*id, start);
        turns.add(self.id::<W>(other), start_other);
        turns.measure(&mut group(self.criterion), self.ledger, &id);
    }

    fn id<const W: usize>(&self, name: &str) -> String {
        let size = SIZES[usize::from(W == 8)];
        format!("queue/{name}/{}x{}/{size}", self.putters, self.getters)
    }
}

fn group(criterion: &mut Criterion) -> BenchmarkGroup<'_, WallTime> {
    let mut group = criterion.benchmark_group("queue");
    group.sampling_mode(SamplingMode::Linear);
    group.sample_size(15);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_millis(1500));
    group
}

/// What Ringway promises, and below it what is worth knowing.
fn bars() -> Vec<Bar> {
    let bar = |row: String, against: String, bound| Bar { row, against, bound };
    let mut bars = vec![bar(
        "queue/ringway/1x1/8B".into(),
        "queue/os_pipe/1x1/8B".into(),
        Bound::Faster(10.0),
    )];
    bars.push(bar(
        "queue/ringway_batch32/1x1/8B".into(),
        "queue/ringway_single/1x1/8B".into(),
        Bound::Faster(3.0),
    ));
    for (putters, getters) in SHAPES {
        for size in SIZES {
            let id = |subject| format!("queue/{subject}/{putters}x{getters}/{size}");
            bars.push(bar(id("ringway"), id("crossbeam_channel"), Bound::Faster(1.0)));
            bars.push(bar(id("ringway"), id("raw_sync"), Bound::Faster(1.0)));
            bars.push(bar(id("ringway_block"), id("crossbeam_channel"), Bound::Told));
        }
    }
    let trip = |subject: &str| format!("queue_round_trip/{subject}");
    bars.push(bar(trip("ringway"), trip("two_line_floor"), Bound::Told));
    bars.push(bar(trip("ringway_block"), trip("futex_floor"), Bound::Told));
    bars.push(bar(trip("ringway_block"), trip("os_pipe"), Bound::Faster(1.0)));
    for shape in ["1x1", "2x2"] {
        let id = |subject| format!("queue/{subject}/{shape}/8B");
        bars.push(bar(id("ring_announced"), id("ring_plain"), Bound::Told));
    }
    bars
}
