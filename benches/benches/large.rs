//! Large messages: Ringway by copy and in place, beside what the system and ipc-channel
//! offer and beside one `memcpy` of the same bytes, in one run.
//!
//! # How to read it
//!
//! `large/SUBJECT/SIZE` is the time per message when one process sends as fast as another
//! receives and checks. `ringway` copies in and out through the default ring of 64 KiB;
//! longer messages are streamed. `ringway_4MiB_ring` is what a program that sends long
//! messages would choose. `ringway_grant` fills messages where the receiver reads them, in a
//! ring of four messages, two of the largest, and from 64 KiB on of 4 MiB at least.
//! `ringway_queue` and `ringway_queue_grant` are the same through a queue of four items, or
//! 4 MiB of them, of the largest two, with a pool for twice as many; by copy of 8 MiB at most,
//! through which longer ones are streamed. In `ringway_queue_made` the sender makes each item anew
//! before it puts a copy, as it does in a grant. `memcpy` is one copy in one process, between
//! the same two buffers every time, which its caches hold; `memcpy_uncached` is one all over 64
//! MiB. Two processes on two processors copy at the same time, so a pipe can be as fast as one
//! copy. `bare_ring`, from 64 KiB to 16 MiB, is a ring of 4 MiB without a transport around it: in
//! and out in pieces of 64 KiB, a count of pieces on a line of each side, and nothing else. It
//! copies in and out as `memcpy` does, `bare_ring_past` in past the cache, `bare_ring_ahead` in the
//! quickest way that we know of where two processors share a cache. The quickest of the three is the
//! least that we know two copies to take.
//!
//! `large_in_turns/SIZE` is all of those up to 16 MiB but for `unix_socket` and `ipc_channel`: they
//! take turns, and the summary has their times from there. `large_used/SIZE` and
//! `large_single/SIZE` are four that take turns, by copy and in place through a pipe and a queue, of
//! messages that the sender makes anew each time. In `large_used` the receiver reads every byte; in
//! `large_single` it answers before there is another message, and neither side sleeps.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use ringway_benches::large::{self, Grants, Memcpy};
use ringway_benches::large_queue::{IN_PLACE, LargeItems, MADE, THERE};
use ringway_benches::ledger::{Bar, Bound, Ledger};
use ringway_benches::oneway::{self, OneWay};
use ringway_benches::partner::Role;
use ringway_benches::session::{self, Session, measure};
use ringway_benches::subject::{Duplex, roles};
use ringway_benches::subjects::ringway::{Adaptive, Policy, Roomy};
#[cfg(target_arch = "x86_64")]
use ringway_benches::subjects::{Ahead, Past};
use ringway_benches::subjects::{BareRing, IpcChannel, OsPipe, Plain, Ringway, UnixSocket};
use ringway_benches::turns::{self, Turns};
use ringway_benches::uses::{SINGLE, USED, Uses};
use ringway_benches::ways::{PipeCopy, PipeInPlace, QueueCopy, QueueInPlace, Way};
use ringway_benches::{Fallible, machine, partner};
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
/// Up to this size the bars of copies hold, queues keep messages whole, and rows take turns.
const KEPT: usize = 16 << 20;
/// From this size on the bars hold.
const LONG: usize = 64 << 10;
/// Two copies and next to nothing else; the ways in which the first may be made.
#[cfg(target_arch = "x86_64")]
const BARE: [Role; 3] = [
    oneway::role::<BareRing<Plain>>(),
    oneway::role::<BareRing<Past>>(),
    oneway::role::<BareRing<Ahead>>(),
];
#[cfg(not(target_arch = "x86_64"))]
const BARE: [Role; 1] = [oneway::role::<BareRing<Plain>>()];
/// More messages than any subject has room for.
const MEETINGS: u32 = 6;
const WARM_UP: Duration = Duration::from_millis(300);

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
    let used =
        [used::<PipeCopy>(), used::<PipeInPlace>(), used::<QueueCopy>(), used::<QueueInPlace>()];
    let copied = [copied.as_flattened(), &BARE].concat();
    let roles = [&copied, &queued[..], &[large::role()], used.as_flattened()].concat();
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
        if bytes <= KEPT {
            in_turns(&mut criterion, &mut ledger, bytes, size);
            uses::<USED>(&mut criterion, &mut ledger, bytes, size);
            // Two processes that spin on one processor measure the scheduler's time slice.
            if machine::places().is_some() {
                uses::<SINGLE>(&mut criterion, &mut ledger, bytes, size);
            }
        }
        rows(&mut criterion, &mut ledger, bytes, size);
    }
    criterion.final_summary();
    if session::measures() {
        print!("{}", ledger.summary(&bars()));
    }
    ExitCode::SUCCESS
}

/// The roles of a way's partners.
const fn used<W: Way>() -> [Role; 2] {
    [Uses::<W, USED>::ROLE, Uses::<W, SINGLE>::ROLE]
}

/// Whether messages of so many bytes go through a bare ring. Its pieces are no shorter, its sides
/// spin, and messages of 256 MiB take much memory and tell nothing new.
fn has_bare(bytes: usize) -> bool {
    (LONG..=KEPT).contains(&bytes) && machine::places().is_some()
}

/// All that have bars.
fn in_turns(criterion: &mut Criterion, ledger: &mut Ledger, bytes: usize, size: &str) {
    fn copied<S: Duplex>(turns: &mut Turns<'_>, bytes: usize, size: &str) {
        turns.add(format!("large/{}/{size}", S::NAME), move || OneWay::<S>::start(bytes));
    }
    fn queued<const HOW: u8>(turns: &mut Turns<'_>, bytes: usize, size: &str) {
        let id = format!("large/{}/{size}", LargeItems::<HOW>::NAME);
        turns.add(id, move || LargeItems::<HOW>::start(bytes));
    }
    let long = bytes >= LONG;
    let mut turns = turns_of(bytes);
    copied::<Ringway<Adaptive>>(&mut turns, bytes, size);
    if long {
        copied::<Ringway<Roomy>>(&mut turns, bytes, size);
    }
    turns.add(format!("large/{}/{size}", large::NAME), move || Grants::start(bytes));
    queued::<THERE>(&mut turns, bytes, size);
    queued::<MADE>(&mut turns, bytes, size);
    queued::<IN_PLACE>(&mut turns, bytes, size);
    turns.add(format!("large/{}/{size}", Memcpy::NAME), move || Ok(Memcpy::start(bytes)));
    if long {
        let id = format!("large/{}/{size}", Memcpy::UNCACHED);
        turns.add(id, move || Ok(Memcpy::uncached(bytes)));
    }
    if has_bare(bytes) {
        copied::<BareRing<Plain>>(&mut turns, bytes, size);
        #[cfg(target_arch = "x86_64")]
        {
            copied::<BareRing<Past>>(&mut turns, bytes, size);
            copied::<BareRing<Ahead>>(&mut turns, bytes, size);
        }
    }
    copied::<OsPipe>(&mut turns, bytes, size);
    let mut group = criterion.benchmark_group("large_in_turns");
    group.sample_size(10).warm_up_time(WARM_UP).measurement_time(Duration::from_secs(5));
    turns.measure(&mut group, ledger, &format!("large_in_turns/{size}"));
}

/// By copy and in place, through a pipe and a queue.
fn uses<const HOW: u8>(criterion: &mut Criterion, ledger: &mut Ledger, bytes: usize, size: &str) {
    fn way<W: Way, const HOW: u8>(turns: &mut Turns<'_>, bytes: usize, size: &str) {
        let id = format!("{}/{}/{size}", Uses::<W, HOW>::WORKLOAD, W::NAME);
        turns.add(id, move || Uses::<W, HOW>::start(bytes));
    }
    let workload = Uses::<PipeCopy, HOW>::WORKLOAD;
    let mut turns = turns_of(bytes);
    way::<PipeCopy, HOW>(&mut turns, bytes, size);
    way::<PipeInPlace, HOW>(&mut turns, bytes, size);
    way::<QueueCopy, HOW>(&mut turns, bytes, size);
    way::<QueueInPlace, HOW>(&mut turns, bytes, size);
    let mut group = criterion.benchmark_group(workload);
    group.sample_size(10).warm_up_time(WARM_UP).measurement_time(Duration::from_secs(3));
    turns.measure(&mut group, ledger, &format!("{workload}/{size}"));
}

fn turns_of(bytes: usize) -> Turns<'static> {
    // The others have just had the caches: most of a batch has to be what comes after they are
    // filled again, which takes a few milliseconds where they hold it all.
    let batch = if bytes < LONG { turns::BATCH } else { 10 * turns::BATCH };
    Turns::new(bytes).batches_of(batch)
}

/// Each by itself.
fn rows(criterion: &mut Criterion, ledger: &mut Ledger, bytes: usize, size: &str) {
    fn copied<S: Duplex>(criterion: &mut Criterion, ledger: &mut Ledger, bytes: usize, size: &str) {
        let id = format!("large/{}/{size}", S::NAME);
        let start = || met(bytes, OneWay::<S>::start(bytes)?);
        measure(&mut group(criterion, bytes), ledger, &id, bytes, start);
    }
    fn queued<const HOW: u8>(
        criterion: &mut Criterion,
        ledger: &mut Ledger,
        bytes: usize,
        size: &str,
    ) {
        let id = format!("large/{}/{size}", LargeItems::<HOW>::NAME);
        let start = || met(bytes, LargeItems::<HOW>::start(bytes)?);
        measure(&mut group(criterion, bytes), ledger, &id, bytes, start);
    }
    copied::<Ringway<Adaptive>>(criterion, ledger, bytes, size);
    if bytes >= LONG {
        copied::<Ringway<Roomy>>(criterion, ledger, bytes, size);
    }
    let id = format!("large/{}/{size}", large::NAME);
    let start = || met(bytes, Grants::start(bytes)?);
    measure(&mut group(criterion, bytes), ledger, &id, bytes, start);
    queued::<THERE>(criterion, ledger, bytes, size);
    queued::<MADE>(criterion, ledger, bytes, size);
    queued::<IN_PLACE>(criterion, ledger, bytes, size);
    let id = format!("large/{}/{size}", Memcpy::NAME);
    let start = || met(bytes, Memcpy::start(bytes));
    measure(&mut group(criterion, bytes), ledger, &id, bytes, start);
    if (LONG..=KEPT).contains(&bytes) {
        let id = format!("large/{}/{size}", Memcpy::UNCACHED);
        let start = || Ok(Memcpy::uncached(bytes));
        measure(&mut group(criterion, bytes), ledger, &id, bytes, start);
    }
    if has_bare(bytes) {
        copied::<BareRing<Plain>>(criterion, ledger, bytes, size);
        #[cfg(target_arch = "x86_64")]
        {
            copied::<BareRing<Past>>(criterion, ledger, bytes, size);
            copied::<BareRing<Ahead>>(criterion, ledger, bytes, size);
        }
    }
    copied::<OsPipe>(criterion, ledger, bytes, size);
    copied::<UnixSocket>(criterion, ledger, bytes, size);
    copied::<IpcChannel>(criterion, ledger, bytes, size);
}

/// A session of messages that took no turns has met its memory before it is measured: a message of
/// 256 MiB meets 65,536 pages that the system has to find first, and takes three times as long.
fn met<S: Session>(bytes: usize, mut session: S) -> Fallible<S> {
    if bytes > KEPT && session::measures() {
        for _ in 0..MEETINGS {
            session.batch(1)?;
        }
    }
    Ok(session)
}

fn group(criterion: &mut Criterion, bytes: usize) -> BenchmarkGroup<'_, WallTime> {
    let mut group = criterion.benchmark_group("large");
    group.warm_up_time(WARM_UP);
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
        for bare in BARE.iter().map(|role| role.subject).filter(|_| copy) {
            bar(bare, "memcpy", Bound::Told);
            bar(bare, Memcpy::UNCACHED, Bound::Told);
            // Where a memcpy within one processor's caches is out of reach for any two copies.
            bar(roomy, bare, Bound::Faster(0.8));
            bar(queue, bare, Bound::Faster(0.8));
        }
        bar(grant, queue, Bound::Faster(1.0));
        bar(grant, LargeItems::<MADE>::NAME, Bound::Faster(1.0));
        if bytes > KEPT {
            continue;
        }
        for workload in [Uses::<PipeCopy, USED>::WORKLOAD, Uses::<PipeCopy, SINGLE>::WORKLOAD] {
            let row = |subject: &str| format!("{workload}/{subject}/{size}");
            let mut bar = |subject: &str, against: &str| {
                let bound = Bound::Faster(1.0);
                bars.push(Bar { row: row(subject), against: row(against), bound });
            };
            bar(PipeInPlace::NAME, PipeCopy::NAME);
            bar(QueueInPlace::NAME, QueueCopy::NAME);
        }
    }
    bars
}
