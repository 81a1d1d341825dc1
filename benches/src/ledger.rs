//! What was measured in this run, and whether it meets the bars.
//!
//! The figures come from the very calls that criterion times, so the summary can
//! never mix in another run's. Each is the median time per item over all batches,
//! weighted by their length: a warm-up batch of one message weighs nothing, and a
//! moment in which another program had the processor moves nothing. Beside it stands
//! the spread, the middle half of the batches as a part of the median: more than a
//! few percent means that the machine was not quiet.

use std::fmt::Write;
use std::time::Duration;

/// The rows of this run, in the order they were measured.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    id: String,
    /// Payload bytes of one item, for the throughput column.
    bytes: usize,
    /// Items and time of each batch.
    batches: Vec<(u64, Duration)>,
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
    /// Adds one batch of `items` items of `bytes` bytes each.
    pub fn record(&mut self, id: &str, bytes: usize, items: u64, took: Duration) {
        let at = self.rows.iter().position(|row| row.id == id).unwrap_or_else(|| {
            self.rows.push(Row { id: id.into(), bytes, batches: Vec::new() });
            self.rows.len() - 1
        });
        self.rows[at].batches.push((items, took));
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
        let names = format!("{row:<34} against {against:<34}");
        let (Some(own), Some(other)) = (self.per_item(row), self.per_item(against)) else {
            return format!("{names} not run");
        };
        let word = |met| if met { "met" } else { "MISSED" };
        match *bound {
            Bound::Faster(times) => {
                let ratio = other / own;
                format!("{names} {ratio:>7.2}x as fast  bar >= {times:<5} {}", word(ratio >= times))
            }
            Bound::Within(times) => {
                let ratio = own / other;
                format!("{names} {ratio:>7.2}x the time bar <= {times:<5} {}", word(ratio <= times))
            }
            Bound::Told => format!("{names} {:>7.2}x as fast", other / own),
        }
    }
}

impl Row {
    /// Nanoseconds per item that this part of the items took at most.
    fn quantile(&self, part: f64) -> Option<f64> {
        let mut batches: Vec<(f64, u64)> = self
            .batches
            .iter()
            .filter(|(items, _)| *items > 0)
            .map(|&(items, took)| (took.as_nanos() as f64 / items as f64, items))
            .collect();
        batches.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: u64 = batches.iter().map(|&(_, items)| items).sum();
        let mut below = 0;
        batches.iter().find_map(|&(ns, items)| {
            below += items;
            (below as f64 >= part * all as f64).then_some(ns)
        })
    }
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
