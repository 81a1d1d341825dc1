//! What was measured in this run, and whether it meets the bars.
//!
//! The figures come from the very calls that criterion times, so the summary can
//! never mix in another run's. Each is the median time per item over all batches,
//! weighted by their length: a warm-up batch of one message weighs nothing, and a
//! moment in which another program had the processor moves nothing. Beside it stands
//! the spread, the middle half of the batches as a part of the median: more than a
//! few percent means that the machine was not quiet.
//!
//! Two rows that took turns ([`turns`](crate::turns)) are compared turn by turn, and the median
//! of those ratios counts. What such a row took when it was measured by itself, in another
//! minute, stays out of the figures.

use std::fmt::Write;
use std::time::Duration;

/// The rows of this run, in the order they were measured.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: Vec<Row>,
    /// Who took part in each turn, as places in `rows`, with nanoseconds per item.
    turns: Vec<Vec<(usize, f64)>>,
}

#[derive(Debug)]
struct Row {
    id: String,
    /// Payload bytes of one item, for the throughput column.
    bytes: usize,
    /// Items and time of each batch.
    batches: Vec<(u64, Duration)>,
    in_turns: bool,
}

/// One batch of a row.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The row.
    pub id: &'a str,
    /// Its items.
    pub items: u64,
    /// How long they took.
    pub took: Duration,
}

/// A claim about two rows of one run.
#[derive(Debug)]
pub struct Bar {
    /// The row the claim is about.
    pub row: String,
    /// The rival or the floor.
    pub against: String,
    /// What is claimed.
    pub bound: Bound,
}

/// How two rows have to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// At least so many times faster than the rival.
    Faster(f64),
    /// At most so many times the floor's time.
    Within(f64),
    /// No claim: the ratio is printed for orientation.
    Told,
}

impl Ledger {
    /// Adds one batch of `items` items of `bytes` bytes each, unless the row takes turns.
    pub fn record(&mut self, id: &str, bytes: usize, items: u64, took: Duration) {
        let at = self.place(id, bytes);
        if !self.rows[at].in_turns {
            self.rows[at].batches.push((items, took));
        }
    }

    /// Adds a batch of each of several rows, taken right after one another. A row that was
    /// measured by itself before begins anew.
    pub fn record_turn(&mut self, bytes: usize, batches: &[Batch<'_>]) {
        let mut turn = Vec::new();
        for batch in batches.iter().filter(|batch| batch.items > 0) {
            let at = self.place(batch.id, bytes);
            let row = &mut self.rows[at];
            if !row.in_turns {
                row.in_turns = true;
                row.batches.clear();
            }
            row.batches.push((batch.items, batch.took));
            turn.push((at, nanos_each(batch.items, batch.took)));
        }
        self.turns.push(turn);
    }

    /// Where a row is; a new one comes last.
    fn place(&mut self, id: &str, bytes: usize) -> usize {
        self.rows.iter().position(|row| row.id == id).unwrap_or_else(|| {
            self.rows.push(Row { id: id.into(), bytes, batches: Vec::new(), in_turns: false });
            self.rows.len() - 1
        })
    }

    /// The row's time as a part of the other's: of the turns in which both took part if there
    /// are any, else of their medians.
    fn ratio(&self, row: &str, against: &str) -> Option<f64> {
        let place = |id| self.rows.iter().position(|row| row.id == id);
        let (own, other) = (place(row)?, place(against)?);
        let of_turn = |turn: &Vec<(usize, f64)>| {
            let nanos = |at| turn.iter().find(|(row, _)| *row == at).map(|(_, nanos)| *nanos);
            // Turns are as long as each other, so they count alike.
            Some((nanos(own)? / nanos(other)?, 1))
        };
        let ratios: Vec<_> = self.turns.iter().filter_map(of_turn).collect();
        if ratios.is_empty() {
            return Some(self.per_item(row)? / self.per_item(against)?);
        }
        quantile(ratios, 0.5)
    }

    /// Nanoseconds per item; `None` for a row that did not run.
    pub fn per_item(&self, id: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.id == id)?.quantile(0.5)
    }

    /// The tables, or nothing when nothing was measured.
    pub fn summary(&self, bars: &[Bar]) -> String {
        let mut out = String::new();
        if self.rows.is_empty() {
            return out;
        }
        let _ = writeln!(out, "\nthis run (median per item, weighted by batch)");
        for row in &self.rows {
            let quantiles = (row.quantile(0.25), row.quantile(0.5), row.quantile(0.75));
            let (Some(low), Some(ns), Some(high)) = quantiles else { continue };
            let (gigabytes, spread) = (row.bytes as f64 / ns, 100.0 * (high - low) / ns);
            let id = &row.id;
            let _ = writeln!(
                out,
                "  {id:<40} {ns:>12.1} ns {gigabytes:>9.3} GB/s  spread {spread:>3.0} %",
            );
        }
        let _ = writeln!(out, "\nagainst the bars");
        for bar in bars {
            let _ = writeln!(out, "  {}", self.verdict(bar));
        }
        out
    }

    fn verdict(&self, bar: &Bar) -> String {
        let Bar { row, against, bound } = bar;
        let names = format!("{row:<38} against {against:<38}");
        let Some(time) = self.ratio(row, against) else {
            return format!("{names} not run");
        };
        let word = |met| if met { "met" } else { "MISSED" };
        match *bound {
            Bound::Faster(times) => {
                let ratio = 1.0 / time;
                format!("{names} {ratio:>7.2}x as fast  bar >= {times:<5} {}", word(ratio >= times))
            }
            Bound::Within(times) => {
                format!("{names} {time:>7.2}x the time bar <= {times:<5} {}", word(time <= times))
            }
            Bound::Told => format!("{names} {:>7.2}x as fast", 1.0 / time),
        }
    }
}

impl Row {
    /// Nanoseconds per item that this part of the items took at most.
    fn quantile(&self, part: f64) -> Option<f64> {
        let batches = self.batches.iter().filter(|(items, _)| *items > 0);
        let each = |&(items, took): &(u64, Duration)| (nanos_each(items, took), items);
        quantile(batches.map(each).collect(), part)
    }
}

fn nanos_each(items: u64, took: Duration) -> f64 {
    took.as_nanos() as f64 / items as f64
}

/// The value that this part of the items has at most. Values come with their items.
fn quantile(mut values: Vec<(f64, u64)>, part: f64) -> Option<f64> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = values.iter().map(|&(_, items)| items).sum();
    let mut below = 0;
    values.iter().find_map(|&(value, items)| {
        below += items;
        (below as f64 >= part * all as f64).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        // A slow warm-up of one item and one disturbed batch must not count.
        for (items, nanos) in [(1, 9_000), (100, 1_000), (100, 1_100), (100, 90_000)] {
            ledger.record("fast", 8, items, Duration::from_nanos(nanos));
        }
        ledger.record("slow", 8, 10, Duration::from_nanos(1_100));
        ledger
    }

    #[test]
    fn short_and_disturbed_batches_do_not_move_the_figure() {
        assert_eq!(ledger().per_item("fast"), Some(11.0));
        assert_eq!(ledger().per_item("slow"), Some(110.0));
        assert_eq!(ledger().per_item("absent"), None);
    }

    #[test]
    fn the_spread_tells_a_disturbed_row() {
        let summary = ledger().summary(&[]);
        let row = |id| summary.lines().find(|line| line.contains(id)).unwrap();
        assert!(row("fast").ends_with("spread 8091 %"), "{summary}");
        assert!(row("slow").ends_with("spread   0 %"), "{summary}");
    }

    fn turn(ledger: &mut Ledger, batches: &[(&str, u64, u64)]) {
        let batch = |&(id, items, nanos)| Batch { id, items, took: Duration::from_nanos(nanos) };
        ledger.record_turn(8, &batches.iter().map(batch).collect::<Vec<_>>());
    }

    #[test]
    fn rows_that_take_turns_are_compared_turn_by_turn() {
        let mut ledger = Ledger::default();
        // The machine is slow in the second turn, and something disturbs the third. The medians
        // of the rows, 100 and 20, would say 5.
        for (own, other, third) in [(30, 20, 40), (150, 100, 200), (100, 10, 400)] {
            // Each has its own number of items.
            let batches = [("own", 1, own), ("other", 10, 10 * other), ("third", 2, 2 * third)];
            turn(&mut ledger, &batches);
        }
        assert_eq!(ledger.ratio("own", "other"), Some(1.5));
        assert_eq!(ledger.ratio("other", "own"), Some(1.0 / 1.5));
        assert_eq!(ledger.ratio("own", "third"), Some(0.75));
        // Not in the same turns: what is left are the medians.
        turn(&mut ledger, &[("fourth", 1, 60)]);
        assert_eq!(ledger.ratio("fourth", "other"), Some(60.0 / 20.0));
        assert_eq!(ledger.ratio("fourth", "absent"), None);
    }

    #[test]
    fn a_row_that_takes_turns_has_no_other_batches() {
        let mut ledger = Ledger::default();
        let alone = |ledger: &mut Ledger| ledger.record("row", 8, 100, Duration::from_nanos(500));
        alone(&mut ledger);
        assert_eq!(ledger.per_item("row"), Some(5.0));
        turn(&mut ledger, &[("row", 1, 7)]);
        alone(&mut ledger);
        assert_eq!(ledger.per_item("row"), Some(7.0));
    }

    #[test]
    fn a_bar_is_met_or_missed_or_not_run() {
        let verdict = |row: &str, against: &str, bound| {
            let bar = Bar { row: row.into(), against: against.into(), bound };
            ledger().verdict(&bar)
        };
        assert!(verdict("fast", "slow", Bound::Faster(10.0)).ends_with("met"));
        assert!(verdict("fast", "slow", Bound::Faster(10.1)).ends_with("MISSED"));
        assert!(verdict("slow", "fast", Bound::Within(10.0)).ends_with("met"));
        assert!(verdict("slow", "fast", Bound::Within(9.9)).ends_with("MISSED"));
        assert!(verdict("fast", "absent", Bound::Told).ends_with("not run"));
        assert!(verdict("fast", "slow", Bound::Told).contains("10.00x"));
    }
}
