//! `ringway bench` measures between real processes and prints what programs can read.

mod common;

use common::{children, ringway, run, until};
use rustix::process::Signal;
use serde_json::Value;

/// The JSON of a run that is as short as can be.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let mut command = ringway();
    command.args(["bench", "--json", "--rounds", "1", "--batch", "1"]).args(arguments);
    let outcome = run(&mut command);
    assert!(outcome.status.success(), "{outcome:?}");
    match serde_json::from_str(&outcome.stdout).expect(&outcome.stdout) {
        Value::Array(rows) => rows,
        other => panic!("not a list: {other}"),
    }
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("no {key} in {row}"))
}

#[test]
fn every_workload_and_subject_is_there() {
    let rows = rows(&["--quick"]);
    let has = |workload: &str, subject: &str, unit: &str| {
        let is =
            |row: &&Value| text(row, "workload") == workload && text(row, "subject") == subject;
        let row = rows.iter().find(is).unwrap_or_else(|| panic!("no {workload} {subject}"));
        assert_eq!(text(row, "unit"), unit, "{row}");
    };
    let mut round_trips = vec![("pipe_rtt_sleep", "futex_floor")];
    if std::thread::available_parallelism().is_ok_and(|n| n.get() > 1) {
        round_trips.push(("pipe_rtt_spin", "two_line_floor"));
    }
    for subject in ["ringway", "os_pipe"] {
        for workload in ["pipe_oneway", "queue_1x1", "queue_2x2", "queue_4x4"] {
            has(workload, subject, "ns/msg");
        }
        for (workload, _) in &round_trips {
            has(workload, subject, "ns/rtt");
        }
        has("large", subject, "GB/s");
    }
    for (workload, floor) in round_trips {
        has(workload, floor, "ns/rtt");
    }
    has("large", "memcpy_floor", "GB/s");
    for row in &rows {
        let figure = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("no {key} in {row}"));
        let [min, median, max] = ["min", "median", "max"].map(figure);
        assert!(0.0 < min && min <= median && median <= max, "{row}");
        assert!(row["size"].as_u64().is_some_and(|size| size >= 8), "{row}");
        assert_eq!(row.as_object().map(serde_json::Map::len), Some(7), "{row}");
    }
}

#[test]
fn a_name_chooses_workloads() {
    let rows = rows(&["queue_2x2"]);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| text(row, "workload") == "queue_2x2"), "{rows:?}");
}

#[test]
fn the_table_compares() {
    let arguments = ["bench", "--rounds", "1", "--batch", "1", "pipe_rtt_sleep"];
    let outcome = run(ringway().args(arguments));
    assert!(outcome.status.success(), "{outcome:?}");
    let line = outcome.stdout.lines().find(|line| line.contains(" ringway ")).expect("a row");
    assert!(line.contains("os_pipe") && line.contains("of futex_floor"), "{line}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for arguments in [&["bench", "no_such_workload"][..], &["bench", "--rounds", "0"]] {
        let outcome = run(ringway().args(arguments));
        assert_eq!(outcome.status.code(), Some(2), "{outcome:?}");
        assert!(!outcome.stderr.is_empty());
    }
}

#[test]
fn an_interrupt_ends_it_and_its_processes() {
    let running = common::Running::start(ringway().args(["bench", "queue_4x4"]));
    until(|| !children(running.id(), "bench-getter").is_empty());
    running.signal(Signal::INT);
    // Waits for all who hold its output, so for its children, too.
    let outcome = running.finish();
    assert!(!outcome.status.success(), "{outcome:?}");
}

#[test]
fn a_process_that_dies_ends_it_with_words() {
    for (workload, name) in [("pipe_rtt", "bench-partner"), ("queue_1x1", "bench-getter")] {
        let running = common::Running::start(ringway().args(["bench", workload]));
        let mut victims = Vec::new();
        until(|| {
            victims = children(running.id(), name);
            !victims.is_empty()
        });
        for victim in victims {
            // Its workload takes seconds: it is still there.
            let _ = rustix::process::kill_process(common::pid(victim), Signal::KILL);
        }
        let outcome = running.finish();
        assert_eq!(outcome.status.code(), Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains("ringway: "), "{outcome:?}");
    }
}
