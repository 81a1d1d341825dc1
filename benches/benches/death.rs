//! How soon a blocked receiver learns that its peer was killed: time from SIGKILL to the
//! error that ends the receive, Ringway beside an OS pipe and a Unix socket in one run.
//!
//! The queue's counterpart, from SIGKILL of a process amidst a put to the next get, needs
//! a victim that stops between two instructions. It is measured where that can be done:
//! `cargo test --release -p ringway-core --lib liveness -- --nocapture --test-threads=1`.
//!
//! With a filter on the command line that does not match `death`, nothing is done.

use ringway_benches::message::Message;
use ringway_benches::partner::{self, Partner};
use ringway_benches::subject::{Duplex, roles};
use ringway_benches::subjects::ringway::{Adaptive, Block};
use ringway_benches::subjects::{OsPipe, Ringway, UnixSocket};
use ringway_benches::{Fallible, machine, oneway, session};
use rustix::process::{Signal, kill_process};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for the receiver to fall asleep.
const LULL: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let roles = [
        roles::<Ringway<Adaptive>>(),
        roles::<Ringway<Block>>(),
        roles::<OsPipe>(),
        roles::<UnixSocket>(),
    ];
    if let Some(code) = partner::play_if_asked(roles.as_flattened()) {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    let filter = words.iter().find(|word| !word.starts_with('-'));
    if has("--list") || filter.is_some_and(|filter| !"death".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    let rounds = if session::measures() && !has("--quick") { 101 } else { 11 };
    if let Err(error) = machine::pin_own() {
        eprintln!("not pinned: {error}");
    }
    println!("from SIGKILL of the peer to the end of a blocked receive, {rounds} rounds");
    row::<Ringway<Adaptive>>(rounds);
    row::<Ringway<Block>>(rounds);
    row::<OsPipe>(rounds);
    row::<UnixSocket>(rounds);
    ExitCode::SUCCESS
}

fn row<S: Duplex>(rounds: usize) {
    let once = |_| round::<S>().unwrap_or_else(|error| panic!("death/{}: {error}", S::NAME));
    let mut times: Vec<Duration> = (0..rounds).map(once).collect();
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "  death/{:<20} median {:>7.3} ms  best {:>7.3}  90 % {:>7.3}  worst {:>7.3}",
        S::NAME,
        at(50),
        at(0),
        at(90),
        at(100),
    );
}

/// Starts a partner that holds the other end and sends nothing; kills it.
fn round<S: Duplex>() -> Fallible<Duration> {
    let (mut end, parcel) = S::create()?;
    let partner = Partner::start(oneway::role::<S>().workload, S::NAME, 8, parcel)?;
    let _armed = partner.watch();
    // An empty batch: once it is acknowledged the partner is attached and idle.
    partner.control()?.send(0)?;
    partner.control()?.expect(0)?;
    partner.control()?.expect(0)?;
    let pid = partner.pid();
    let killer = thread::spawn(move || {
        thread::sleep(LULL);
        let killed = Instant::now();
        kill_process(pid, Signal::KILL).map(|()| killed)
    });
    let received = end.recv(&mut Message::zeroed(8));
    let told = Instant::now();
    let killed = killer.join().map_err(|_| "the killer panicked")??;
    match received {
        Ok(()) => Err("a message came from nowhere".into()),
        Err(_) => Ok(told.duration_since(killed)),
    }
}
