//! Large messages: Ringway by copy and in place, beside what the system and ipc-channel
//! offer and beside one `memcpy` of the same bytes, in one run.
//!
//! # How to read it
//!
//! `large/SUBJECT/SIZE` is the time per message when one process sends as fast as another
//! receives and checks. `ringway` copies in and out through the default ring of 64 KiB;
//! longer messages are streamed. `ringway_8MiB_ring` is what a program that sends long
//! messages would choose. `ringway_grant` fills messages where the receiver reads them, in a
//! ring of four messages, two of the largest, and from 64 KiB on of 8 MiB at least.
//! `ringway_queue` and `ringway_queue_grant` are the same through a queue of four items, or
//! 4 MiB of them, with a pool for twice as many; of the largest half as many, which by copy
//! are streamed through 8 MiB; in
//! `ringway_queue_made` the sender makes each item anew before it puts a copy, as it does in
//! a grant. `memcpy` is one copy in one process, between the same two buffers every time,
//! which its caches hold; `memcpy_uncached` is one all over 64 MiB. Two processes on two
//! processors copy at the same time, so a pipe can be as fast as one copy.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use ringway_benches::large::{self, Grants, Memcpy};
use ringway_benches::large_queue::{IN_PLACE, LargeItems, MADE, THERE};
use ringway_benches::ledger::{Bar, Bound, Ledger};
use ringway_benches::oneway::OneWay;
use ringway_benches::session::{self, measure};
use ringway_benches::subject::{Duplex, roles};
use ringway_benches::subjects::ringway::{Adaptive, Policy, Roomy};
use ringway_benches::subjects::{IpcChannel, OsPipe, Ringway, UnixSocket};
use ringway_benches::{machine, partner};
use std::process::ExitCode;
use std::time::Duration;

const SIZES: [(usize, &str); 6] = [
    (1 << 10, "1KiB"),
    (4 << 10, "4KiB"),
    (64 << 10, "64KiB"),
    (1 << 20, "1MiB"),
    (16 << 20, "16MiB"),
    (256 << 20, "256MiB"),
];
/// Up to this size the bars of copies hold, and queues keep messages whole.
const KEPT: usize = 16 << 20;
/// From this size on the bars hold.
const LONG: usize = 64 << 10;

fn main() -> ExitCode {
    let copied = [
        roles::<Ringway<Adaptive>>(),
        roles::<Ringway<Roomy>>(),
        roles::<OsPipe>(),
        roles::<UnixSocket>(),
        roles::<IpcChannel>(),
    ];
    let queued =
        [LargeItems::<THERE>::ROLE, LargeItems::<MADE>::ROLE, LargeItems::<IN_PLACE>::ROLE];
    let roles = [copied.as_flattened(), &queued, &[large::role()]].concat();
    if let Some(code) = partner::play_if_asked(&roles) {
        return code;
    }
    print!("{}", machine::sheet());
    if let Err(error) = machine::pin_own() {
        eprintln!("not pinned: {error}");
    }
    let mut criterion = session::criterion();
    let mut ledger = Ledger::default();
    for (bytes, size) in SIZES {
        rows(&mut criterion, &mut ledger, bytes, size);
    }
    criterion.final_summary();
    if session::measures() {
        print!("{}", ledger.summary(&bars()));
    }
    ExitCode::SUCCESS
}

fn rows(criterion: &mut Criterion, ledger: &mut Ledger, bytes: usize, size: &str) {
    fn copied<S: Duplex>(criterion: &mut Criterion, ledger: &mut Ledger, bytes: usize, size: &str) {
        let id = format!("large/{}/{size}", S::NAME);
        measure(&mut group(criterion, bytes), ledger, &id, bytes, || OneWay::<S>::start(bytes));
    }
    fn queued<const HOW: u8>(
        criterion: &mut Criterion,
        ledger: &mut Ledger,
        bytes: usize,
        size: &str,
    ) {
        let id = format!("large/{}/{size}", LargeItems::<HOW>::NAME);
        let start = || LargeItems::<HOW>::start(bytes);
        measure(&mut group(criterion, bytes), ledger, &id, bytes, start);
    }
    copied::<Ringway<Adaptive>>(criterion, ledger, bytes, size);
    if bytes >= LONG {
        copied::<Ringway<Roomy>>(criterion, ledger, bytes, size);
    }
    let id = format!("large/{}/{size}", large::NAME);
    measure(&mut group(criterion, bytes), ledger, &id, bytes, || Grants::start(bytes));
    queued::<THERE>(criterion, ledger, bytes, size);
    queued::<MADE>(criterion, ledger, bytes, size);
    queued::<IN_PLACE>(criterion, ledger, bytes, size);
    let id = format!("large/{}/{size}", Memcpy::NAME);
    measure(&mut group(criterion, bytes), ledger, &id, bytes, || Ok(Memcpy::start(bytes)));
    if (LONG..=KEPT).contains(&bytes) {
        let id = format!("large/{}/{size}", Memcpy::UNCACHED);
        let start = || Ok(Memcpy::uncached(bytes));
        measure(&mut group(criterion, bytes), ledger, &id, bytes, start);
    }
    copied::<OsPipe>(criterion, ledger, bytes, size);
    copied::<UnixSocket>(criterion, ledger, bytes, size);
    copied::<IpcChannel>(criterion, ledger, bytes, size);
}

fn group(criterion: &mut Criterion, bytes: usize) -> BenchmarkGroup<'_, WallTime> {
    let mut group = criterion.benchmark_group("large");
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    if bytes > LONG {
        // Batches of one length, and few of them: a message takes a while.
        group.sampling_mode(SamplingMode::Flat);
        group.sample_size(10);
    } else {
        group.sampling_mode(SamplingMode::Linear);
        group.sample_size(15);
    }
    group
}

/// What Ringway promises, and below it what is worth knowing.
fn bars() -> Vec<Bar> {
    let mut bars = Vec::new();
    for (bytes, size) in SIZES {
        let row = |subject: &str| format!("large/{subject}/{size}");
        let mut bar = |subject: &str, against: &str, bound| {
            bars.push(Bar { row: row(subject), against: row(against), bound });
        };
        let long = bytes >= LONG;
        bar("ringway", "os_pipe", if long { Bound::Faster(5.0) } else { Bound::Told });
        let copy = (LONG..=KEPT).contains(&bytes);
        bar("ringway", "memcpy", Bound::Told);
        let roomy = if long { Roomy::NAME } else { "ringway" };
        if copy {
            bar(roomy, "memcpy", Bound::Faster(0.8));
            bar(roomy, Memcpy::UNCACHED, Bound::Faster(0.8));
        }
        bar("ringway", "unix_socket", Bound::Told);
        bar("ringway", "ipc_channel", Bound::Told);
        bar(large::NAME, roomy, Bound::Faster(1.0));
        bar(large::NAME, "memcpy", Bound::Told);
        let (queue, grant) = (LargeItems::<THERE>::NAME, LargeItems::<IN_PLACE>::NAME);
        bar(queue, "os_pipe", if long { Bound::Faster(5.0) } else { Bound::Told });
        bar(queue, "memcpy", if copy { Bound::Faster(0.8) } else { Bound::Told });
        if copy {
            bar(queue, Memcpy::UNCACHED, Bound::Faster(0.8));
        }
        bar(grant, queue, Bound::Faster(1.0));
        bar(grant, LargeItems::<MADE>::NAME, Bound::Faster(1.0));
    }
    bars
}
