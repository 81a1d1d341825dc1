//! Rows that are compared: their sessions run side by side and take turns.
//!
//! A virtual machine's processors move apart and together again within seconds, and a cache
//! line then takes 60 or 300 ns: two rows measured one after the other compare two places,
//! not two subjects. So all sessions run at once, and a turn is one short batch of each, one
//! after the other, beginning with another one each time. The ledger compares the rows turn
//! by turn.
//!
//! Every session has a number of items of its own, found when it starts, so that their batches
//! take about the same time. An equal number would let a copy of 16 ns be over before the
//! socket has carried the word to begin, or give nearly the whole turn to the slowest.

use crate::Fallible;
use crate::ledger::{Batch, Ledger};
use crate::session::{Running, Session, Start, any, calibrate, within_group};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, SamplingMode, Throughput};
use std::time::Duration;

/// About how long a batch of small items takes: the processors rarely move within a turn of
/// several, and the acknowledgement is less than a hundredth of it.
pub const BATCH: Duration = Duration::from_millis(10);

/// Batches that a session runs before they count.
const WARM_UP: u32 = 8;

/// Rows that take turns.
pub struct Turns<'a> {
    /// Payload bytes of an item.
    bytes: usize,
    batch: Duration,
    rows: Vec<(String, Start<'a>)>,
}

impl<'a> Turns<'a> {
    /// No rows yet; their items will have `bytes` bytes, and their batches take about
    /// [`BATCH`].
    pub fn new(bytes: usize) -> Self {
        Self { bytes, batch: BATCH, rows: Vec::new() }
    }

    /// Batches of another length.
    pub fn batches_of(mut self, batch: Duration) -> Self {
        self.batch = batch;
        self
    }

    /// Adds a row, `group/subject/variant`. Criterion sees the first one's time.
    pub fn add<S: Session + 'static>(
        &mut self,
        id: impl Into<String>,
        start: impl Fn() -> Fallible<S> + 'a,
    ) {
        self.rows.push((id.into(), any(start)));
    }

    /// Has criterion measure turns, as `id`, and writes every batch into the ledger. What
    /// criterion calls an iteration is one turn, but the time is that of one item. The
    /// sessions start before the first turn: a row that was filtered out starts no process.
    ///
    /// # Panics
    ///
    /// When a session fails: a wrong result has no speed.
    pub fn measure(self, group: &mut BenchmarkGroup<'_, WallTime>, ledger: &mut Ledger, id: &str) {
        let mut table = None;
        group.throughput(Throughput::Bytes(self.bytes as u64));
        // Turns are of one length already.
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(within_group(id), |bencher| {
            // Not within what criterion times: it would take the starting for the length of
            // a turn.
            let table = table.get_or_insert_with(|| Table::start(&self));
            bencher.iter_custom(|turns| {
                let first: f64 = (0..turns).map(|_| table.turn(self.bytes, ledger)).sum();
                Duration::from_secs_f64(first)
            });
        });
        if let Some(table) = table {
            table.finish();
        }
    }
}

/// The running sessions.
struct Table<'t> {
    players: Vec<Player<'t>>,
    turns: usize,
}

struct Player<'t> {
    id: &'t str,
    session: Box<dyn Running>,
    /// Of each batch.
    items: u64,
}

/// Batches that are not counted: the first messages meet memory that the system has to find. A ring
/// may have room for several, and one of 16 MiB takes 10 ms then, and 1 ms later.
fn warm(session: &mut dyn Running, batch: Duration) -> Fallible {
    let items = calibrate(session, batch / 4)?;
    let mut took = Duration::ZERO;
    // No more than that many: a batch may say that it took nothing.
    for _ in 0..8 * WARM_UP {
        if took >= WARM_UP * batch {
            break;
        }
        took += session.batch(items)?;
    }
    Ok(())
}

impl<'t> Table<'t> {
    fn start(turns: &'t Turns<'_>) -> Self {
        let player = |(id, start): &'t (String, Start<'_>)| {
            let ready = start().and_then(|mut session| {
                warm(session.as_mut(), turns.batch)?;
                let items = calibrate(session.as_mut(), turns.batch)?;
                Ok(Player { id, session, items })
            });
            ready.unwrap_or_else(|error| panic!("{id} did not start: {error}"))
        };
        Self { players: turns.rows.iter().map(player).collect(), turns: 0 }
    }

    /// One batch of each; the first one's seconds per item.
    fn turn(&mut self, bytes: usize, ledger: &mut Ledger) -> f64 {
        let mut took = vec![Duration::ZERO; self.players.len()];
        for turn in 0..self.players.len() {
            let at = (self.turns + turn) % self.players.len();
            let Player { id, session, items } = &mut self.players[at];
            took[at] = session.batch(*items).unwrap_or_else(|error| panic!("{id}: {error}"));
        }
        self.turns += 1;
        let batch = |(player, took): (&Player<'t>, &Duration)| Batch {
            id: player.id,
            items: player.items,
            took: *took,
        };
        let batches: Vec<_> = self.players.iter().zip(&took).map(batch).collect();
        ledger.record_turn(bytes, &batches);
        batches.first().map_or(0.0, |first| first.took.as_secs_f64() / first.items as f64)
    }

    fn finish(self) {
        for Player { id, session, .. } in self.players {
            session.finish().unwrap_or_else(|error| panic!("{id}: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Who had batches of how many items.
    type Seen = Rc<RefCell<Vec<(u64, u64)>>>;

    /// Takes so many nanoseconds an item.
    struct Fake {
        nanos: u64,
        seen: Seen,
    }

    impl Session for Fake {
        fn batch(&mut self, items: u64) -> Fallible<Duration> {
            self.seen.borrow_mut().push((self.nanos, items));
            Ok(Duration::from_nanos(self.nanos * items))
        }

        fn finish(self) -> Fallible {
            self.seen.borrow_mut().push((self.nanos, 0));
            Ok(())
        }
    }

    fn turns(batch: Duration) -> (Turns<'static>, Seen) {
        let seen = Seen::default();
        let mut turns = Turns::new(8).batches_of(batch);
        for nanos in [10, 1_000, 100_000] {
            let seen = Rc::clone(&seen);
            let start = move || Ok(Fake { nanos, seen: Rc::clone(&seen) });
            turns.add(format!("fakes/{nanos}"), start);
        }
        (turns, seen)
    }

    #[test]
    fn turns_rotate_and_batches_take_as_long_as_each_other() {
        let (turns, seen) = turns(Duration::from_micros(20));
        let mut table = Table::start(&turns);
        let mut ledger = Ledger::default();
        seen.borrow_mut().clear();
        for _ in 0..4 {
            assert!((table.turn(8, &mut ledger) - 10e-9).abs() < 1e-12);
        }
        table.finish();
        let [fast, slow, slowest] = [(10, 2_000), (1_000, 20), (100_000, 1)];
        let expected = [
            [fast, slow, slowest],
            [slow, slowest, fast],
            [slowest, fast, slow],
            [fast, slow, slowest],
            [(10, 0), (1_000, 0), (100_000, 0)],
        ];
        assert_eq!(*seen.borrow(), expected.concat());
        let per_item = ["fakes/10", "fakes/1000", "fakes/100000"].map(|id| ledger.per_item(id));
        assert_eq!(per_item, [Some(10.0), Some(1_000.0), Some(100_000.0)]);
    }

    #[test]
    #[should_panic(expected = "fakes/absent did not start: not here")]
    fn a_session_that_does_not_start_is_named() {
        let (mut turns, _) = turns(BATCH);
        turns.add("fakes/absent", || -> Fallible<Fake> { Err("not here".into()) });
        Table::start(&turns);
    }
}
