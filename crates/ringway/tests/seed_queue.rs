//! The example `seed_queue`, run as the program it is.

#[path = "../examples/seed_queue.rs"]
mod example;

mod common;

use common::{PATIENCE, run_tests};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Tells this program to be the example. Its children inherit it.
const ROLE: &str = "SEED_QUEUE";

fn main() {
    if std::env::var_os(ROLE).is_some() {
        if let Err(error) = example::main() {
            panic!("{error}");
        }
        return;
    }
    run_tests(&[("the_example_ends_and_nothing_is_lost", the_example_ends_and_nothing_is_lost)]);
}

fn the_example_ends_and_nothing_is_lost() {
    let mut child =
        Command::new("/proc/self/exe").env(ROLE, "1").stdout(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    // It prints less than a pipe holds.
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the example did not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
    let out = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    let goods = |what: &str| {
        let mut goods = BTreeMap::new();
        for line in &lines {
            if let Some((_, good)) = line.split_once(what) {
                *goods.entry(good.parse::<u32>().unwrap()).or_insert(0) += 1;
            }
        }
        goods
    };
    let (produced, consumed) = (goods(" produced "), goods(" consumed "));
    assert_eq!(produced, consumed, "{out}");
    let count: u32 = produced.values().sum();
    assert!(count >= 10, "a full queue was never seen: {out}");
    assert!(produced.keys().all(|good| (1..=10).contains(good)));
    for line in ["kg_1: the queue is full", "kg_2: the queue is full", "begin test"] {
        assert!(lines.contains(&line), "{line}: {out}");
    }
    for line in ["xx: nothing is left to consume", "rh: nothing is left to consume"] {
        assert!(lines.contains(&line), "{line}: {out}");
    }
    assert_eq!(lines.last(), Some(&"main end"));
}
