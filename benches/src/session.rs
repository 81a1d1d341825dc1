//! One row of a benchmark: a session that is started once and timed in batches.

use crate::Fallible;
use crate::ledger::{Batch, Ledger};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use std::time::Duration;

/// A subject and the processes that use it, ready to be timed.
pub trait Session: Sized {
    /// Moves `items` items and says how long that took.
    ///
    /// # Errors
    ///
    /// An item did not arrive as it was sent, or a process is gone.
    fn batch(&mut self, items: u64) -> Fallible<Duration>;

    /// Ends the processes.
    ///
    /// # Errors
    ///
    /// One of them found something wrong.
    fn finish(self) -> Fallible;
}

/// Has criterion measure a session and writes every batch into the ledger too, under
/// `group/subject/variant`. The session starts at the first batch, outside the timed
/// part: a row that was filtered out starts no process.
///
/// # Panics
///
/// When the session fails: a wrong result has no speed.
pub fn measure<S: Session>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    ledger: &mut Ledger,
    id: &str,
    bytes: usize,
    start: impl Fn() -> Fallible<S>,
) {
    let mut session = None;
    let failed = |error| -> S { panic!("{id} did not start: {error}") };
    // The id is `group/row`, and the group adds its name itself.
    let row = id.split_once('/').map_or(id, |(_, row)| row);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(row, |bencher| {
        bencher.iter_custom(|items| {
            let session = session.get_or_insert_with(|| start().unwrap_or_else(failed));
            let took = session.batch(items).unwrap_or_else(|error| panic!("{id}: {error}"));
            ledger.record(id, bytes, items, took);
            took
        });
    });
    if let Some(Err(error)) = session.map(S::finish) {
        panic!("{id}: {error}");
    }
}

/// As [`measure`], with each batch followed by one of another session that moves as many
/// items. Criterion sees the first; the ledger gets both, and compares them batch by batch.
///
/// # Panics
///
/// As [`measure`].
pub fn measure_beside<S: Session, B: Session>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    ledger: &mut Ledger,
    (id, beside): (&str, &str),
    bytes: usize,
    start: impl Fn() -> Fallible<(S, B)>,
) {
    let mut sessions = None;
    let failed = |error| -> (S, B) { panic!("{id} did not start: {error}") };
    let row = id.split_once('/').map_or(id, |(_, row)| row);
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(row, |bencher| {
        bencher.iter_custom(|items| {
            let (own, other) = sessions.get_or_insert_with(|| start().unwrap_or_else(failed));
            let took = own.batch(items).unwrap_or_else(|error| panic!("{id}: {error}"));
            let theirs = other.batch(items).unwrap_or_else(|error| panic!("{beside}: {error}"));
            let batch = |id, took| Batch { id, took };
            ledger.record_pair(items, bytes, batch(id, took), batch(beside, theirs));
            took
        });
    });
    if let Some((own, other)) = sessions
        && let Err(error) = own.finish().and(other.finish())
    {
        panic!("{id} beside {beside}: {error}");
    }
}

/// Criterion with this project's settings, which the command line overrides. Every
/// row takes about four seconds.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        // Enough for the intervals, and the analysis does not disturb the next row.
        .nresamples(10_000)
        .configure_from_args()
}

/// Whether this run measures. Cargo passes `--bench` for that; without it, as in
/// `cargo test --benches`, everything is only tried out and its times mean nothing.
pub fn measures() -> bool {
    std::env::args().any(|word| word == "--bench")
}
