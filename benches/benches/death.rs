//! What a kill costs the survivors, Ringway beside an OS pipe and a Unix socket in one run:
//! from SIGKILL of the peer to the error that ends a blocked receive, and from SIGKILL of
//! a getter to the next get of another (see `ringway_benches::heir`).
//!
//! With a filter on the command line that does not match `death`, nothing is done.

use ringway_benches::message::Message;
use ringway_benches::partner::{self, Partner};
use ringway_benches::queues::{PipeQueue, RingwayQueue};
use ringway_benches::shape::Queued;
use ringway_benches::subject::{Duplex, roles};
use ringway_benches::subjects::ringway::{Adaptive, Block};
use ringway_benches::subjects::{OsPipe, Ringway, UnixSocket};
use ringway_benches::{Fallible, heir, machine, oneway, session};
use rustix::process::{Signal, kill_process};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for the receiver to fall asleep.
const LULL: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let ends = [
        roles::<Ringway<Adaptive>>(),
        roles::<Ringway<Block>>(),
        roles::<OsPipe>(),
        roles::<UnixSocket>(),
    ];
    let getters = [
        heir::asleep_role::<Waiting<Adaptive>>(),
        heir::asleep_role::<Waiting<Block>>(),
        heir::asleep_role::<PipeQueue>(),
        heir::amidst_role(<Waiting<Block> as Queued<1>>::NAME),
    ];
    if let Some(code) = partner::play_if_asked(&[ends.as_flattened(), &getters].concat()) {
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
    println!("from SIGKILL of a getter to the next get of another, {rounds} rounds");
    getter::<Waiting<Adaptive>>("asleep", rounds, heir::round_asleep::<Waiting<Adaptive>>);
    getter::<Waiting<Block>>("asleep", rounds, heir::round_asleep::<Waiting<Block>>);
    getter::<PipeQueue>("asleep", rounds, heir::round_asleep::<PipeQueue>);
    getter::<Waiting<Block>>("amidst", rounds, heir::round_amidst::<Waiting<Block>>);
    ExitCode::SUCCESS
}

type Waiting<P> = RingwayQueue<P, 1>;

fn row<S: Duplex>(rounds: usize) {
    show(S::NAME.into(), rounds, round::<S>);
}

fn getter<Q: Queued<1>>(how: &str, rounds: usize, round: fn() -> Fallible<Duration>) {
    show(format!("{how}/{}", Q::NAME), rounds, round);
}

fn show(name: String, rounds: usize, round: fn() -> Fallible<Duration>) {
    let once = |_| round().unwrap_or_else(|error| panic!("death/{name}: {error}"));
    let mut times: Vec<Duration> = (0..rounds).map(once).collect();
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "  death/{:<22} median {:>7.3} ms  best {:>7.3}  90 % {:>7.3}  worst {:>7.3}",
        name,
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
    let armed = partner.watch();
    // An empty batch: once it is acknowledged the partner is attached and idle.
    partner.control()?.send(0)?;
    partner.control()?.expect(0)?;
    partner.control()?.expect(0)?;
    // From here on its end is meant.
    drop(armed);
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
