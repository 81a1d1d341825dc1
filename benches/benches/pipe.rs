//! Pipes: Ringway beside an OS pipe and a Unix socket, in one run.
//!
//! # How to read it
//!
//! `pipe_oneway/SUBJECT/SIZE` is the time per message when one process sends as fast
//! as another receives and checks. `pipe_round_trip/SUBJECT` is the time for 8 bytes
//! there and back. `pipe_batch/batch32` sends and receives 32 numbers at a time, `single`
//! one; they take turns, as round trips and their floors do. `copy/WHERE/SIZE` is one `memcpy` of a
//! message in one process, the work that any transport does at least once.
//!
//! Times depend on the machine; ratios of one run much less. The summary at the end
//! compares rows of this run only. `MISSED` is printed, never hidden, and does not
//! fail the run: a busy machine may miss a bar without the code being at fault. Two
//! pinned processes leave no processor of a two-processor machine to anybody else,
//! so run it on a machine that does nothing else.

use criterion::{Criterion, SamplingMode};
use ringway_benches::batches::{self, Numbers};
use ringway_benches::ledger::{Bar, Bound, Ledger};
use ringway_benches::message::Message;
use ringway_benches::oneway::OneWay;
use ringway_benches::round_trip::{self, RoundTrip};
use ringway_benches::session::{self, Session, measure};
use ringway_benches::subject::{Duplex, roles};
use ringway_benches::subjects::ringway::{Adaptive, Block, Spin};
use ringway_benches::subjects::{FutexWords, OsPipe, Ringway, TwoLines, UnixSocket, WideOsPipe};
use ringway_benches::turns::Turns;
use ringway_benches::{Fallible, machine, partner, payload};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const SIZES: [(usize, &str); 5] =
    [(8, "8B"), (64, "64B"), (1 << 10, "1KiB"), (1 << 16, "64KiB"), (1 << 20, "1MiB")];
/// From this size on, messages are long: the wider OS pipe and the copies join.
const LONG: usize = 1 << 16;

fn main() -> ExitCode {
    let roles = [
        roles::<Ringway<Adaptive>>(),
        roles::<Ringway<Spin>>(),
        roles::<Ringway<Block>>(),
        roles::<OsPipe>(),
        roles::<WideOsPipe>(),
        roles::<UnixSocket>(),
        roles::<TwoLines>(),
        roles::<FutexWords>(),
    ];
    let roles = [roles.as_flattened(), &[batches::role()]].concat();
    if let Some(code) = partner::play_if_asked(&roles) {
        return code;
    }
    print!("{}", machine::sheet());
    if let Err(error) = machine::pin_own() {
        eprintln!("not pinned: {error}");
    }
    let mut criterion = session::criterion();
    let mut ledger = Ledger::default();
    one_way(&mut criterion, &mut ledger);
    many_at_a_time(&mut criterion, &mut ledger);
    there_and_back(&mut criterion, &mut ledger);
    copies(&mut criterion, &mut ledger);
    criterion.final_summary();
    if session::measures() {
        print!("{}", ledger.summary(&bars()));
    }
    ExitCode::SUCCESS
}

fn one_way(criterion: &mut Criterion, ledger: &mut Ledger) {
    fn row<S: Duplex>(criterion: &mut Criterion, ledger: &mut Ledger, bytes: usize, size: &str) {
        let mut group = criterion.benchmark_group("pipe_oneway");
        // Batches of growing length: the slope leaves the acknowledgement out.
        group.sampling_mode(SamplingMode::Linear);
        let id = format!("pipe_oneway/{}/{size}", S::NAME);
        measure(&mut group, ledger, &id, bytes, || OneWay::<S>::start(bytes));
    }
    for (bytes, size) in SIZES {
        row::<Ringway<Adaptive>>(criterion, ledger, bytes, size);
        row::<OsPipe>(criterion, ledger, bytes, size);
        row::<UnixSocket>(criterion, ledger, bytes, size);
        if bytes >= LONG {
            row::<WideOsPipe>(criterion, ledger, bytes, size);
        }
    }
}

fn many_at_a_time(criterion: &mut Criterion, ledger: &mut Ledger) {
    let mut group = criterion.benchmark_group("pipe_batch");
    let mut turns = Turns::new(batches::SIZE);
    turns.add("pipe_batch/batch32/8B", || Numbers::start(batches::BATCH));
    turns.add("pipe_batch/single/8B", || Numbers::start(1));
    turns.measure(&mut group, ledger, "pipe_batch/batch32/8B");
}

fn there_and_back(criterion: &mut Criterion, ledger: &mut Ledger) {
    fn row<S: Duplex>(criterion: &mut Criterion, ledger: &mut Ledger) {
        let mut group = criterion.benchmark_group("pipe_round_trip");
        let id = format!("pipe_round_trip/{}", S::NAME);
        measure(&mut group, ledger, &id, round_trip::SIZE, RoundTrip::<S>::start);
    }
    fn beside<S: Duplex, F: Duplex>(criterion: &mut Criterion, ledger: &mut Ledger) {
        let mut group = criterion.benchmark_group("pipe_round_trip");
        let id = |name: &str| format!("pipe_round_trip/{name}");
        let mut turns = Turns::new(round_trip::SIZE);
        turns.add(id(S::NAME), RoundTrip::<S>::start);
        turns.add(id(F::NAME), RoundTrip::<F>::start);
        turns.measure(&mut group, ledger, &id(S::NAME));
    }
    // Two processes that spin on one processor measure the scheduler's time slice.
    if machine::places().is_some() {
        beside::<Ringway<Spin>, TwoLines>(criterion, ledger);
        beside::<Ringway<Adaptive>, TwoLines>(criterion, ledger);
    }
    beside::<Ringway<Block>, FutexWords>(criterion, ledger);
    row::<OsPipe>(criterion, ledger);
    row::<UnixSocket>(criterion, ledger);
}

fn copies(criterion: &mut Criterion, ledger: &mut Ledger) {
    let mut group = criterion.benchmark_group("copy");
    for (bytes, size) in SIZES.into_iter().filter(|&(bytes, _)| bytes >= LONG) {
        for (name, room) in [("cached", bytes), ("uncached", UNCACHED)] {
            let id = format!("copy/{name}/{size}");
            measure(&mut group, ledger, &id, bytes, || Ok(Copies::new(bytes, room)));
        }
    }
}

/// Memory to copy within so that no cache holds it.
const UNCACHED: usize = 64 << 20;

/// Stamp, copy, check: what one message costs when nothing carries it.
struct Copies {
    from: Message,
    to: Message,
    bytes: usize,
    seq: u64,
}

impl Copies {
    fn new(bytes: usize, room: usize) -> Self {
        Self { from: payload::blank(room), to: payload::blank(room), bytes, seq: 0 }
    }
}

impl Session for Copies {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let start = Instant::now();
        for _ in 0..items {
            let places = (self.from.len() / self.bytes) as u64;
            let at = usize::try_from(self.seq % places)? * self.bytes;
            let (from, to) = (&mut self.from[at..][..self.bytes], &mut self.to[at..][..self.bytes]);
            payload::stamp(from, self.seq);
            black_box(&mut *to).copy_from_slice(black_box(from));
            payload::check(to, self.seq)?;
            self.seq += 1;
        }
        Ok(start.elapsed())
    }

    fn finish(self) -> Fallible {
        Ok(())
    }
}

/// What Ringway promises, and below it what is worth knowing.
fn bars() -> Vec<Bar> {
    use Bound::{Faster, Told, Within};
    let bar =
        |row: &str, against: &str, bound| Bar { row: row.into(), against: against.into(), bound };
    let mut bars = vec![
        bar("pipe_oneway/ringway/8B", "pipe_oneway/os_pipe/8B", Faster(20.0)),
        bar("pipe_oneway/ringway/64KiB", "pipe_oneway/os_pipe/64KiB", Faster(5.0)),
        bar("pipe_oneway/ringway/1MiB", "pipe_oneway/os_pipe/1MiB", Faster(5.0)),
        bar("pipe_batch/batch32/8B", "pipe_batch/single/8B", Faster(3.0)),
        bar("pipe_round_trip/ringway_spin", "pipe_round_trip/two_line_floor", Within(1.5)),
        bar("pipe_round_trip/ringway", "pipe_round_trip/two_line_floor", Told),
        bar("pipe_round_trip/ringway_block", "pipe_round_trip/futex_floor", Within(1.15)),
        bar("pipe_round_trip/ringway_block", "pipe_round_trip/os_pipe", Faster(1.0)),
    ];
    for size in ["64B", "1KiB"] {
        bars.push(bar(
            &format!("pipe_oneway/ringway/{size}"),
            &format!("pipe_oneway/os_pipe/{size}"),
            Told,
        ));
    }
    for (_, size) in SIZES {
        bars.push(bar(
            &format!("pipe_oneway/ringway/{size}"),
            &format!("pipe_oneway/unix_socket/{size}"),
            Told,
        ));
    }
    for (_, size) in SIZES.into_iter().filter(|&(bytes, _)| bytes >= LONG) {
        for rival in [
            format!("pipe_oneway/os_pipe_1mib/{size}"),
            format!("copy/cached/{size}"),
            format!("copy/uncached/{size}"),
        ] {
            bars.push(bar(&format!("pipe_oneway/ringway/{size}"), &rival, Told));
        }
    }
    bars.push(bar("pipe_round_trip/ringway", "pipe_round_trip/os_pipe", Told));
    bars.push(bar("pipe_round_trip/ringway", "pipe_round_trip/unix_socket", Told));
    bars
}
