//! Queues: Ringway beside a lock-based one, crossbeam's channel and an OS pipe, in one
//! run.
//!
//! # How to read it
//!
//! `queue/SUBJECT/PxG/SIZE` is the time per item when P processes put as fast as G
//! processes take and check. `ringway` waits adaptively, `ringway_block` sleeps at once.
//! `crossbeam_channel` runs between threads: the ceiling of what a process boundary could
//! leave. `ring_announced` and `ring_plain` are the ring alone with and without
//! announcements. All putters share one processor and all getters another.

use criterion::{Criterion, SamplingMode};
use ringway_benches::ledger::{Bar, Bound, Ledger};
use ringway_benches::queues::{Announced, Bare, LockBased, PipeQueue, Plain, RingwayQueue};
use ringway_benches::session::{self, Session, measure};
use ringway_benches::shape::{Queued, Shape, roles};
use ringway_benches::subjects::ringway::{Adaptive, Block};
use ringway_benches::threads::Threads;
use ringway_benches::{Fallible, machine, partner};
use std::process::ExitCode;

const SHAPES: [(usize, usize); 5] = [(1, 1), (2, 2), (4, 4), (1, 4), (4, 1)];
const SIZES: [&str; 2] = ["8B", "64B"];

fn main() -> ExitCode {
    let roles = [
        roles::<RingwayQueue<Adaptive, 1>, 1>(),
        roles::<RingwayQueue<Adaptive, 8>, 8>(),
        roles::<RingwayQueue<Block, 1>, 1>(),
        roles::<RingwayQueue<Block, 8>, 8>(),
        roles::<LockBased<1>, 1>(),
        roles::<LockBased<8>, 8>(),
        roles::<PipeQueue, 1>(),
        roles::<PipeQueue, 8>(),
        roles::<Bare<Announced>, 1>(),
        roles::<Bare<Plain>, 1>(),
    ];
    if let Some(code) = partner::play_if_asked(roles.as_flattened()) {
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
    criterion.final_summary();
    if session::measures() {
        print!("{}", ledger.summary(&bars()));
    }
    ExitCode::SUCCESS
}

fn shape(criterion: &mut Criterion, ledger: &mut Ledger, putters: usize, getters: usize) {
    let mut rows = Rows { criterion, ledger, putters, getters };
    rows.queue::<RingwayQueue<Adaptive, 1>, 1>();
    rows.queue::<RingwayQueue<Block, 1>, 1>();
    rows.row::<1, _>(Threads::<1>::NAME, || Ok(Threads::<1>::new(putters, getters)));
    rows.queue::<LockBased<1>, 1>();
    if (putters, getters) == (1, 1) {
        rows.queue::<PipeQueue, 1>();
        rows.queue::<PipeQueue, 8>();
    }
    if putters == getters && putters <= 2 {
        rows.queue::<Bare<Announced>, 1>();
        rows.queue::<Bare<Plain>, 1>();
    }
    rows.queue::<RingwayQueue<Adaptive, 8>, 8>();
    rows.queue::<RingwayQueue<Block, 8>, 8>();
    rows.row::<8, _>(Threads::<8>::NAME, || Ok(Threads::<8>::new(putters, getters)));
    rows.queue::<LockBased<8>, 8>();
}

struct Rows<'a> {
    criterion: &'a mut Criterion,
    ledger: &'a mut Ledger,
    putters: usize,
    getters: usize,
}

impl Rows<'_> {
    fn queue<Q: Queued<W>, const W: usize>(&mut self) {
        let (putters, getters) = (self.putters, self.getters);
        self.row::<W, _>(Q::NAME, || Shape::<Q, W>::start(putters, getters));
    }

    fn row<const W: usize, S: Session>(&mut self, name: &str, start: impl Fn() -> Fallible<S>) {
        let mut group = self.criterion.benchmark_group("queue");
        group.sampling_mode(SamplingMode::Linear);
        group.sample_size(15);
        group.warm_up_time(std::time::Duration::from_millis(500));
        group.measurement_time(std::time::Duration::from_millis(1500));
        let size = SIZES[usize::from(W == 8)];
        let id = format!("queue/{name}/{}x{}/{size}", self.putters, self.getters);
        measure(&mut group, self.ledger, &id, 8 * W, start);
    }
}

/// What Ringway promises, and below it what is worth knowing.
fn bars() -> Vec<Bar> {
    let bar = |row: String, against: String, bound| Bar { row, against, bound };
    let mut bars = vec![bar(
        "queue/ringway/1x1/8B".into(),
        "queue/os_pipe/1x1/8B".into(),
        Bound::Faster(10.0),
    )];
    for (putters, getters) in SHAPES {
        for size in SIZES {
            let id = |subject| format!("queue/{subject}/{putters}x{getters}/{size}");
            bars.push(bar(id("ringway"), id("crossbeam_channel"), Bound::Faster(1.0)));
            bars.push(bar(id("ringway"), id("raw_sync"), Bound::Faster(1.0)));
            bars.push(bar(id("ringway_block"), id("crossbeam_channel"), Bound::Told));
        }
    }
    for shape in ["1x1", "2x2"] {
        let id = |subject| format!("queue/{subject}/{shape}/8B");
        bars.push(bar(id("ring_announced"), id("ring_plain"), Bound::Told));
    }
    bars
}
