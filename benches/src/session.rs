//! A session: a subject and the processes that use it, timed in batches.

use crate::Fallible;
use crate::ledger::Ledger;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use std::time::Duration;

/// A subject and the processes that use it, ready to be timed.
pub trait Session: Sized {
    /// Moves `items` items and says how long that took. When it returns the processes are idle, and
    /// checks that are not counted are over: the next batch may be another session's.
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

/// A session of any type.
pub trait Running {
    /// As [`Session::batch`].
    ///
    /// # Errors
    ///
    /// As there.
    fn batch(&mut self, items: u64) -> Fallible<Duration>;
    /// As [`Session::finish`].
    ///
    /// # Errors
    ///
    /// As there.
    fn finish(self: Box<Self>) -> Fallible;
}

impl<S: Session> Running for S {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        Session::batch(self, items)
    }

    fn finish(self: Box<Self>) -> Fallible {
        Session::finish(*self)
    }
}

/// Starts a session of any type.
pub type Start<'a> = Box<dyn Fn() -> Fallible<Box<dyn Running>> + 'a>;

/// Makes a [`Start`] of what starts a session of one type.
pub fn any<'a, S: Session + 'static>(start: impl Fn() -> Fallible<S> + 'a) -> Start<'a> {
    Box::new(move || Ok(Box::new(start()?)))
}

/// How many items make a batch of about `target`; warms up on the way. A batch that was
/// disturbed is not taken for a long one.
///
/// # Errors
///
/// As [`Session::batch`].
pub fn calibrate(session: &mut dyn Running, target: Duration) -> Fallible<u64> {
    let mut items = 1;
    loop {
        let enough = |took| took * 2 >= target || items >= 1 << 32;
        let mut took = session.batch(items)?;
        if enough(took) {
            took = took.min(session.batch(items)?);
        }
        if enough(took) {
            let wanted = items as f64 * target.as_secs_f64() / took.as_secs_f64().max(1e-9);
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            return Ok((wanted as u64).max(1));
        }
        items *= 2;
    }
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
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(within_group(id), |bencher| {
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

/// What criterion calls a row: the id is `group/row`, and the group adds its name itself.
pub(crate) fn within_group(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, row)| row)
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
