//! The harness measures only what is right, and leaves nothing behind.
//!
//! It has a `main` of its own because its partners are this program again.

use ringway_benches::control::Parcel;
use ringway_benches::dormitory::{self, Night};
use ringway_benches::latency::{self, Cpus, Measured, Mode, Pair};
use ringway_benches::lifecycle::own::{Own, Parted};
use ringway_benches::lifecycle::{
    self, Floor, Life, Lives, MemoryFloor, OsPipeOneWay, Pipe, PooledQueue, Queue, RingwayOneWay,
    segment_len,
};
use ringway_benches::oneway::{self, OneWay};
use ringway_benches::partner::{self, Partner, Role};
use ringway_benches::queues::{LockBased, RingwayQueue};
use ringway_benches::round_trip::RoundTrip;
use ringway_benches::session::Session;
use ringway_benches::subject::{Duplex, roles};
use ringway_benches::subjects::ringway::{Adaptive, Block, Spin};
#[cfg(target_arch = "x86_64")]
use ringway_benches::subjects::{Ahead, Past};
use ringway_benches::subjects::{
    BareRing, FutexWords, OsPipe, Plain, Ringway, TwoLines, UnixSocket, WideOsPipe,
};
use ringway_benches::uses::{SINGLE, USED, Uses};
use ringway_benches::ways::{PipeCopy, PipeInPlace, QueueCopy, QueueInPlace, Way};
use ringway_benches::{Fallible, costs, idle, machine, syscalls, watchdog};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The first argument of this program when it plays a benchmark that goes wrong.
const HANG: &str = "--play-a-benchmark-that-hangs";
const DEAF: &str = "--play-a-benchmark-whose-partner-dies";
const ORPHAN: &str = "--play-a-benchmark-that-is-killed";
/// Nothing here takes so long unless it hangs.
const SOON: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let roles = [
        roles::<Ringway<Adaptive>>(),
        roles::<Ringway<Spin>>(),
        roles::<Ringway<Block>>(),
        roles::<OsPipe>(),
        roles::<WideOsPipe>(),
        roles::<UnixSocket>(),
        roles::<TwoLines>(),
        roles::<FutexWords>(),
        roles::<Wrong<1>>(),
        roles::<Wrong<2>>(),
        roles::<Wrong<3>>(),
        roles::<Deaf>(),
        roles::<Mortal>(),
    ];
    let latencies = [
        latency::roles::<Ringway<Adaptive>>(),
        latency::roles::<OsPipe>(),
        latency::roles::<FutexWords>(),
        latency::roles::<Wrong<1>>(),
        latency::roles::<Stalling>(),
    ];
    let sleepers = [dormitory::role::<Ringway<Adaptive>>(), dormitory::role::<OsPipe>()];
    let lives = [
        lifecycle::role::<Pipe<Ringway<Adaptive>>>(),
        lifecycle::role::<Pipe<UnixSocket>>(),
        lifecycle::role::<RingwayOneWay>(),
        lifecycle::role::<OsPipeOneWay>(),
        lifecycle::role::<Queue<RingwayQueue<Adaptive, 1>>>(),
        lifecycle::role::<Queue<LockBased<1>>>(),
        lifecycle::role::<PooledQueue>(),
        lifecycle::role::<MemoryFloor<PooledQueue>>(),
    ];
    let uses = [
        uses_of::<PipeCopy>(),
        uses_of::<PipeInPlace>(),
        uses_of::<QueueCopy>(),
        uses_of::<QueueInPlace>(),
    ];
    let bare = [
        oneway::role::<BareRing<Plain>>(),
        #[cfg(target_arch = "x86_64")]
        oneway::role::<BareRing<Past>>(),
        #[cfg(target_arch = "x86_64")]
        oneway::role::<BareRing<Ahead>>(),
    ];
    let roles = [roles.as_flattened(), &bare, latencies.as_flattened(), &sleepers, &lives];
    let roles = [&roles.concat(), uses.as_flattened()].concat();
    if let Some(code) = partner::play_if_asked(&roles) {
        return code;
    }
    match std::env::args().nth(1).as_deref() {
        Some(HANG) => wait_for::<Deaf>(Duration::from_secs(1)),
        Some(DEAF) => wait_for::<Mortal>(SOON),
        Some(ORPHAN) => wait_for::<Deaf>(SOON),
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    every_subject_carries_messages();
    every_way_carries_what_is_used();
    wrong_messages_have_no_speed();
    a_sleeping_receiver_is_told_from_a_spinning_one();
    single_messages_are_timed();
    a_stall_counts_for_all_whom_it_held_up();
    what_is_made_is_dropped();
    each_process_times_its_own_calls();
    floors_are_as_large_as_what_they_are_of();
    costs_are_seen_from_outside();
    many_sleepers_sleep_and_wake();
    a_hang_is_ended_loudly();
    a_dead_partner_ends_the_wait();
    a_killed_benchmark_takes_its_partner_along();
    println!("harness: all is well");
    ExitCode::SUCCESS
}

fn every_subject_carries_messages() {
    const SIZES: [usize; 5] = [8, 64, 1024, 65536, 1 << 20];
    fn one_way<S: Duplex>(sizes: &[usize]) {
        for &size in sizes {
            let mut session = OneWay::<S>::start(size).unwrap();
            for count in [0, 1, 50] {
                assert!(session.batch(count).unwrap() < SOON, "{}", S::NAME);
            }
            session.finish().unwrap();
        }
    }
    fn there_and_back<S: Duplex>() {
        let mut session = RoundTrip::<S>::start().unwrap();
        for count in [0, 1, 50] {
            assert!(session.batch(count).unwrap() < SOON, "{}", S::NAME);
        }
        session.finish().unwrap();
    }
    one_way::<Ringway<Adaptive>>(&SIZES);
    one_way::<Ringway<Block>>(&SIZES);
    one_way::<OsPipe>(&SIZES);
    one_way::<WideOsPipe>(&SIZES);
    one_way::<UnixSocket>(&SIZES);
    there_and_back::<Ringway<Adaptive>>();
    there_and_back::<Ringway<Block>>();
    there_and_back::<OsPipe>();
    there_and_back::<UnixSocket>();
    there_and_back::<FutexWords>();
    if machine::places().is_some() {
        there_and_back::<Ringway<Spin>>();
        there_and_back::<TwoLines>();
        // As long as a piece, several pieces, and more than the ring.
        let pieces = [65536, 1 << 20, 5 << 20];
        one_way::<BareRing<Plain>>(&pieces);
        #[cfg(target_arch = "x86_64")]
        {
            one_way::<BareRing<Past>>(&pieces);
            one_way::<BareRing<Ahead>>(&pieces);
        }
    }
}

const fn uses_of<W: Way>() -> [Role; 2] {
    [Uses::<W, USED>::ROLE, Uses::<W, SINGLE>::ROLE]
}

fn every_way_carries_what_is_used() {
    fn used<W: Way, const HOW: u8>() {
        for size in [8, 1024, 5000, 65536, 1 << 20] {
            let mut session = Uses::<W, HOW>::start(size).unwrap();
            for count in [0, 1, 20] {
                let took = session.batch(count).unwrap();
                assert!(took < SOON, "{} {} {size}", Uses::<W, HOW>::WORKLOAD, W::NAME);
            }
            session.finish().unwrap();
        }
    }
    fn way<W: Way>() {
        used::<W, USED>();
        // Both sides spin.
        if machine::places().is_some() {
            used::<W, SINGLE>();
        }
    }
    way::<PipeCopy>();
    way::<PipeInPlace>();
    way::<QueueCopy>();
    way::<QueueInPlace>();
}

/// A broken subject: it loses (1), repeats (2) or tears (3) the tenth message.
struct Wrong<const HOW: u8> {
    inner: UnixSocket,
    sent: u32,
}

impl<const HOW: u8> Duplex for Wrong<HOW> {
    const NAME: &'static str = match HOW {
        1 => "loses",
        2 => "repeats",
        _ => "tears",
    };

    fn create() -> Fallible<(Self, Parcel)> {
        let (inner, parcel) = UnixSocket::create()?;
        Ok((Self { inner, sent: 0 }, parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        Ok(Self { inner: UnixSocket::attach(parcel)?, sent: 0 })
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        self.sent += 1;
        match HOW {
            _ if self.sent != 10 => self.inner.send(message),
            1 => Ok(()),
            2 => {
                self.inner.send(message)?;
                self.inner.send(message)
            }
            _ => {
                let mut torn = message.to_vec();
                *torn.last_mut().ok_or("empty")? ^= 1;
                self.inner.send(&torn)
            }
        }
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        self.inner.recv(message)
    }
}

fn wrong_messages_have_no_speed() {
    fn fails<S: Duplex>() {
        let mut session = OneWay::<S>::start(64).unwrap();
        session.batch(9).unwrap();
        let error = session.batch(20).map(drop).unwrap_err().to_string();
        assert!(error.contains("ended early") || error.contains("Broken pipe"), "{error}");
        assert!(session.finish().is_err(), "{}: the partner left as if all were well", S::NAME);
    }
    println!("harness: three complaints of partners are expected here");
    fails::<Wrong<1>>();
    fails::<Wrong<2>>();
    fails::<Wrong<3>>();
}

fn a_sleeping_receiver_is_told_from_a_spinning_one() {
    let idle = idle::observe::<FutexWords>(Duration::from_millis(300)).unwrap();
    assert_eq!((idle.blocked_thread, idle.asleep_in.as_str()), (0, "futex"));
    assert_eq!(
        idle::observe::<Ringway<Adaptive>>(Duration::from_millis(300)).unwrap().blocked_thread,
        0
    );
    assert_eq!(idle::observe::<OsPipe>(Duration::from_millis(300)).unwrap().blocked_thread, 0);
    // It never sleeps, so there is nothing to observe.
    if machine::places().is_some() {
        assert!(idle::observe::<TwoLines>(Duration::from_millis(300)).is_err());
    }
}

fn what_is_made_is_dropped() {
    fn lives<L: Life>() {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let mut session = Lives::<L>::start().unwrap();
        // The first brings what stays for all, threads say.
        session.batch(1).unwrap();
        let before = open();
        assert!(session.batch(20).unwrap() < SOON, "{}", L::NAME);
        // A library's own thread may hold one for a moment longer, at either count.
        let deadline = Instant::now() + SOON;
        while open() > before {
            assert!(Instant::now() < deadline, "{}: {} of {before}", L::NAME, open());
            std::thread::sleep(Duration::from_millis(1));
        }
        session.finish().unwrap();
    }
    lives::<Pipe<Ringway<Adaptive>>>();
    lives::<Pipe<UnixSocket>>();
    lives::<RingwayOneWay>();
    lives::<OsPipeOneWay>();
    lives::<Queue<RingwayQueue<Adaptive, 1>>>();
    lives::<Queue<LockBased<1>>>();
    lives::<PooledQueue>();
}

/// Both processes' calls take time, and less than passes meanwhile: what passes between them
/// is in no part.
fn each_process_times_its_own_calls() {
    fn parted<L: Life + 'static>() {
        let mut own = Own::<L>::start().unwrap();
        let start = Instant::now();
        let samples = own.batch(20).unwrap();
        let passed = start.elapsed().as_nanos();
        let parts = || samples.items.iter().flatten();
        assert_eq!(samples.items.len(), 20, "{}", L::id());
        assert!(parts().all(|nanos| *nanos > 0), "{}: {samples:?}", L::id());
        assert!(parts().map(|nanos| u128::from(*nanos)).sum::<u128>() < passed, "{}", L::id());
        Box::new(own).finish().unwrap();
    }
    parted::<Pipe<Ringway<Adaptive>>>();
    parted::<OsPipeOneWay>();
    parted::<PooledQueue>();
    parted::<MemoryFloor<PooledQueue>>();
}

/// A floor is of as many bytes as what stands on it.
fn floors_are_as_large_as_what_they_are_of() {
    fn same<L: Floor>() {
        assert_eq!(L::LEN, segment_len::<L>().unwrap(), "{}", L::id());
    }
    same::<Pipe<Ringway<Adaptive>>>();
    same::<RingwayOneWay>();
    same::<Queue<RingwayQueue<Adaptive, 1>>>();
    same::<PooledQueue>();
}

/// A message through an OS pipe is a `write` and a `read`, and nothing is free.
fn costs_are_seen_from_outside() {
    let mut session = OneWay::<OsPipe>::start(8).unwrap();
    session.batch(1).unwrap();
    let cost = costs::of_batch(&mut session, 20_000).unwrap();
    session.finish().unwrap();
    assert!(cost.ran > Duration::ZERO && cost.ran < 4 * cost.took, "{cost:?}");
    assert!(cost.switches > 0, "{cost:?}");
    match cost.syscalls {
        Some(calls) => assert!((40_000..44_000).contains(&calls), "{cost:?}"),
        None => println!("harness: system calls are not counted: {:?}", syscalls::tracepoint()),
    }
}

fn many_sleepers_sleep_and_wake() {
    let time = Duration::from_millis(200);
    for (processes, threads) in [(1, 1), (3, 2)] {
        let Night { blocked, .. } =
            dormitory::observe::<Ringway<Adaptive>>(processes, threads, time).unwrap();
        assert_eq!(blocked, 0, "{processes} {threads}");
        let night = dormitory::observe::<OsPipe>(processes, threads, time).unwrap();
        assert_eq!((night.blocked, night.other_threads), (0, processes));
    }
}

fn stretch<S: Duplex>(mode: Mode, time: Duration) -> Measured {
    let pair = Pair::start::<S>(Cpus::Free).unwrap();
    let mut both = Measured::new().unwrap();
    for _ in 0..2 {
        pair.begin(mode, time).unwrap();
        both.add(&pair.end().unwrap()).unwrap();
    }
    pair.finish().unwrap();
    both
}

fn single_messages_are_timed() {
    fn closed<S: Duplex>() {
        let measured = stretch::<S>(Mode::Closed, Duration::from_millis(50));
        assert!(measured.times.len() >= 2, "{}", S::NAME);
        // One after the other: together they take as long as the stretch.
        let all: f64 = measured.times.mean() * measured.times.len() as f64;
        let part = all / measured.lasted.as_nanos() as f64;
        assert!((0.9..1.1).contains(&part), "{}: {part}", S::NAME);
    }
    fn open<S: Duplex>() {
        let measured = stretch::<S>(Mode::Open(1000), Duration::from_millis(100));
        assert!((1..=200).contains(&measured.times.len()), "{}", S::NAME);
    }
    closed::<Ringway<Adaptive>>();
    closed::<OsPipe>();
    closed::<FutexWords>();
    open::<Ringway<Adaptive>>();
    open::<OsPipe>();
    let pair = Pair::start::<Wrong<1>>(Cpus::Free).unwrap();
    println!("harness: two complaints about a lost message are expected here");
    pair.begin(Mode::Open(1000), Duration::from_millis(100)).unwrap();
    assert!(pair.end().is_err(), "a lost message was not noticed");
}

/// Its sender takes a nap before message 20.
struct Stalling(Wrong<4>);

const NAP: Duration = Duration::from_millis(50);

impl Duplex for Stalling {
    const NAME: &'static str = "stalls";

    fn create() -> Fallible<(Self, Parcel)> {
        Wrong::create().map(|(inner, parcel)| (Self(inner), parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        Wrong::attach(parcel).map(Self)
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        self.0.sent += 1;
        if self.0.sent == 20 {
            std::thread::sleep(NAP);
        }
        self.0.inner.send(message)
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        self.0.recv(message)
    }
}

/// At 1000 messages a second a nap of 50 ms holds up 50 of them, 26 for longer than half
/// the nap. Who times from when messages left sees one slow message.
fn a_stall_counts_for_all_whom_it_held_up() {
    let pair = Pair::start::<Stalling>(Cpus::Free).unwrap();
    pair.begin(Mode::Open(1000), Duration::from_millis(100)).unwrap();
    let times = pair.end().unwrap().times;
    pair.finish().unwrap();
    let half = u64::try_from(NAP.as_nanos()).unwrap() / 2;
    let held_up = times.count_between(half, u64::MAX);
    assert!(held_up >= 20, "{held_up} of {}", times.len());
}

/// A subject whose receiver does not answer while the test lasts.
struct Deaf;

impl Duplex for Deaf {
    const NAME: &'static str = "deaf";

    fn create() -> Fallible<(Self, Parcel)> {
        Ok((Self, Parcel::default()))
    }

    fn attach(_: Parcel) -> Fallible<Self> {
        std::thread::sleep(2 * SOON);
        Err("nobody ended the deaf partner".into())
    }

    fn send(&mut self, _: &[u8]) -> Fallible {
        Ok(())
    }

    fn recv(&mut self, _: &mut [u8]) -> Fallible {
        Ok(())
    }
}

/// A subject whose receiver dies at once.
struct Mortal;

impl Duplex for Mortal {
    const NAME: &'static str = "mortal";

    fn create() -> Fallible<(Self, Parcel)> {
        Ok((Self, Parcel::default()))
    }

    fn attach(_: Parcel) -> Fallible<Self> {
        std::process::exit(7)
    }

    fn send(&mut self, _: &[u8]) -> Fallible {
        Ok(())
    }

    fn recv(&mut self, _: &mut [u8]) -> Fallible {
        Ok(())
    }
}

/// Plays a benchmark that spins for its partner's answer, which never comes.
fn wait_for<S: Duplex>(limit: Duration) -> ! {
    let (_end, parcel) = S::create().unwrap();
    let partner = Partner::start("oneway", S::NAME, 8, parcel).unwrap();
    println!("{}", partner.pid());
    let _armed = watchdog::arm(S::NAME, partner.pid(), limit);
    loop {
        std::thread::yield_now();
    }
}

fn a_hang_is_ended_loudly() {
    let (mut benchmark, partner) = play(HANG);
    assert_eq!(end_of(&mut benchmark).code(), Some(watchdog::EXIT));
    assert!(is_gone(partner), "the partner outlived the watchdog");
}

fn a_dead_partner_ends_the_wait() {
    let (mut benchmark, _) = play(DEAF);
    assert_eq!(end_of(&mut benchmark).code(), Some(watchdog::EXIT));
}

fn a_killed_benchmark_takes_its_partner_along() {
    let (mut benchmark, partner) = play(ORPHAN);
    assert!(!is_gone(partner));
    benchmark.0.kill().unwrap();
    end_of(&mut benchmark);
    let until = Instant::now() + SOON;
    while !is_gone(partner) {
        assert!(Instant::now() < until, "the partner outlived the benchmark");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process of this test; killed and reaped with it.
struct Played(Child);

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts this program as a benchmark that goes wrong; gives its partner's pid.
fn play(what: &str) -> (Played, u32) {
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this).arg(what).stdout(Stdio::piped()).spawn().unwrap();
    let mut played = Played(child);
    let mut line = String::new();
    BufReader::new(played.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (played, line.trim().parse().unwrap())
}

fn end_of(played: &mut Played) -> ExitStatus {
    let until = Instant::now() + SOON;
    loop {
        if let Some(status) = played.0.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process has ended, reaped or not.
fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}
