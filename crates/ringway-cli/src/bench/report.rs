//! The rows of a run, as a table for people and as JSON for programs.

use super::rounds::Group;
use serde::{Serialize, Serializer};
use std::fmt::Write;

/// What a row's numbers count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unit {
    NanosPerMessage,
    NanosPerRoundTrip,
    GigabytesPerSecond,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::NanosPerMessage => "ns/msg",
            Self::NanosPerRoundTrip => "ns/rtt",
            Self::GigabytesPerSecond => "GB/s",
        }
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One subject under one workload. The names and order of the fields are the JSON's.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) workload: &'static str,
    pub(super) subject: &'static str,
    /// Bytes of a message.
    pub(super) size: usize,
    pub(super) unit: Unit,
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Row {
    /// From the nanoseconds per message of each round.
    pub(super) fn new(group: Group, subject: &'static str, nanos: Vec<f64>) -> Self {
        let Group { workload, size, unit } = group;
        let figure = |ns: f64| match unit {
            Unit::GigabytesPerSecond => size as f64 / ns,
            Unit::NanosPerMessage | Unit::NanosPerRoundTrip => ns,
        };
        let mut figures: Vec<f64> = nanos.into_iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        // Of an even number, the middle of the two in the middle.
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        let [median, min, max] = [median, at(0), at(last)].map(rounded);
        Self { workload, subject, size, unit, median, min, max }
    }

    /// How many times as fast this is as another row of the same group.
    fn times_as_fast_as(&self, other: &Self) -> f64 {
        match self.unit {
            Unit::GigabytesPerSecond => self.median / other.median,
            Unit::NanosPerMessage | Unit::NanosPerRoundTrip => other.median / self.median,
        }
    }
}

/// To four places behind the point: more would be noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

/// The JSON: a list of rows.
pub(super) fn json(rows: &[Row]) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(rows)?;
    text.push('\n');
    Ok(text)
}

/// The head of [`table`].
pub(super) fn head() -> String {
    format!(
        "{:<15} {:>8} {:<15} {:>10} {:>10} {:>10} {:<7}\n",
        "workload", "size", "subject", "median", "min", "max", "unit"
    )
}

/// The lines of one group. Ringway's says how it compares with the others.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let Row { workload, subject, size, unit, median, min, max } = row;
        let _ = write!(
            text,
            "{workload:<15} {:>8} {subject:<15} {:>10} {:>10} {:>10} {:<7}",
            bytes(*size),
            digits(*median),
            digits(*min),
            digits(*max),
            unit.name()
        );
        if row.subject == super::RINGWAY {
            for other in rows.iter().filter(|other| other.subject != row.subject) {
                let _ = write!(text, " {}", comparison(row, other));
            }
        }
        text.push('\n');
    }
    text
}

fn comparison(row: &Row, other: &Row) -> String {
    let times = row.times_as_fast_as(other);
    let name = other.subject;
    if name.ends_with(super::FLOOR) {
        // Nothing is faster than its floor, except by noise: how near is it?
        format!(" {:.2} of {name}", times)
    } else if times >= 1.0 {
        format!(" {times:.1}x as fast as {name}")
    } else {
        format!(" {:.1}x SLOWER than {name}", 1.0 / times)
    }
}

fn bytes(size: usize) -> String {
    match size {
        size if size >= 1 << 20 => format!("{} MiB", size >> 20),
        size if size >= 1 << 10 => format!("{} KiB", size >> 10),
        size => format!("{size} B"),
    }
}

/// Three digits or more.
fn digits(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(unit: Unit, subject: &'static str, nanos: &[f64]) -> Row {
        Row::new(Group { workload: "large", size: 1000, unit }, subject, nanos.to_vec())
    }

    #[test]
    fn the_middle_and_the_ends_are_told_for_both_kinds_of_units() {
        let time = row(Unit::NanosPerMessage, "ringway", &[9.0, 1.0, 5.0]);
        assert_eq!((time.median, time.min, time.max), (5.0, 1.0, 9.0));
        let speed = row(Unit::GigabytesPerSecond, "ringway", &[500.0, 250.0]);
        assert_eq!((speed.median, speed.min, speed.max), (3.0, 2.0, 4.0));
    }

    #[test]
    fn a_table_says_who_is_faster() {
        for (unit, own) in [(Unit::NanosPerMessage, 50.0), (Unit::GigabytesPerSecond, 50.0)] {
            let lines = table(&[row(unit, "ringway", &[own]), row(unit, "os_pipe", &[100.0])]);
            assert!(lines.contains("2.0x as fast as os_pipe"), "{lines}");
            let lines = table(&[row(unit, "ringway", &[own]), row(unit, "os_pipe", &[25.0])]);
            assert!(lines.contains("2.0x SLOWER than os_pipe"), "{lines}");
            let lines = table(&[row(unit, "ringway", &[own]), row(unit, "copy_floor", &[25.0])]);
            assert!(lines.contains("0.50 of copy_floor"), "{lines}");
        }
    }

    #[test]
    fn the_json_has_the_fields_that_programs_rely_on() {
        let text = json(&[row(Unit::GigabytesPerSecond, "ringway", &[500.0])]).unwrap();
        let expected = r#"[
  {
    "workload": "large",
    "subject": "ringway",
    "size": 1000,
    "unit": "GB/s",
    "median": 2.0,
    "min": 2.0,
    "max": 2.0
  }
]
"#;
        assert_eq!(text, expected);
    }
}
