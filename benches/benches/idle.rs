//! What a blocked receiver costs: ten seconds (`--quick`: one) in which nothing comes.
//!
//! `switched in` counts how often the blocked thread ran. 0 means that it executed
//! nothing, so it made no system call. `other threads` is the rest of its process:
//! Ringway's watcher may look twice a second.
//!
//! With a filter on the command line that does not match `idle`, nothing is done.

use ringway_benches::idle::{self, Idle};
use ringway_benches::subject::{Duplex, roles};
use ringway_benches::subjects::ringway::{Adaptive, Block};
use ringway_benches::subjects::{FutexWords, OsPipe, Ringway, UnixSocket};
use ringway_benches::{machine, partner, session};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let roles = [
        roles::<Ringway<Adaptive>>(),
        roles::<Ringway<Block>>(),
        roles::<OsPipe>(),
        roles::<UnixSocket>(),
        roles::<FutexWords>(),
    ];
    if let Some(code) = partner::play_if_asked(roles.as_flattened()) {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    let filter = words.iter().find(|word| !word.starts_with('-'));
    if has("--list") || filter.is_some_and(|filter| !"idle".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    let seconds = if session::measures() && !has("--quick") { 10 } else { 1 };
    if let Err(error) = machine::pin_own() {
        eprintln!("not pinned: {error}");
    }
    println!("a receiver that waits while nothing comes");
    let time = Duration::from_secs(seconds);
    row::<Ringway<Adaptive>>(time);
    row::<Ringway<Block>>(time);
    row::<OsPipe>(time);
    row::<UnixSocket>(time);
    row::<FutexWords>(time);
    ExitCode::SUCCESS
}

fn row<S: Duplex>(time: Duration) {
    let Idle { lasted, asleep_in, blocked_thread, other_threads, others } =
        idle::observe::<S>(time).unwrap_or_else(|error| panic!("idle/{}: {error}", S::NAME));
    println!(
        "  idle/{:<20} {:>5.1} s  asleep in {asleep_in:<12} switched in {blocked_thread:>3}  \
         other threads ({others}) {other_threads:>3}",
        S::NAME,
        lasted.as_secs_f64(),
    );
}
