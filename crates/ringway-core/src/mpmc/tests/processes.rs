//! Real processes and SIGKILL. Children are this test program, started again for one
//! test function that does nothing unless the parent named a segment.
#![allow(unsafe_code, reason = "fork")]

use crate::error::Error;
use crate::mpmc::{Announcement, GetError, Options, SharedRing};
use crate::segment::{Place, Segment};
use crate::wait::{Deadline, Spinner, WaitPolicy};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(super) const SEGMENTS: &str = "RINGWAY_TEST_SEGMENTS";
pub(super) const ROLE: &str = "RINGWAY_TEST_ROLE";
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A child that is killed and reaped, whatever happens.
pub(super) struct Peer {
    pub(super) child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts a child in `role` with the rings behind `segments`.
    fn start(role: &str, segments: &[&OwnedFd]) -> Self {
        Self::start_at("mpmc::tests::processes::peer", role, segments, &[])
    }

    /// As [`start`](Self::start), in the test function `entry`, with more environment.
    pub(super) fn start_at(
        entry: &str,
        role: &str,
        segments: &[&OwnedFd],
        environment: &[(&str, &str)],
    ) -> Self {
        let own = std::process::id();
        let paths: Vec<_> =
            segments.iter().map(|fd| format!("/proc/{own}/fd/{}", fd.as_raw_fd())).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", entry, "--nocapture"])
            .envs(environment.iter().copied())
            .env(SEGMENTS, paths.join(" "))
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    /// The rest of the line of output that starts with `word`.
    pub(super) fn wait_for(&self, word: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("the child says it in time");
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(super) fn go_on(&mut self) {
        writeln!(self.stdin.as_mut().unwrap(), "go").unwrap();
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn create(slots: u64) -> (SharedRing, OwnedFd) {
    // Long slots and short ones.
    let exact = slots % 2 == 1;
    let options = Options { participants: 8, actors: 16, exact, ..Options::new(slots, 8) };
    let ring = SharedRing::create(Place::Anonymous("test"), &options, 7).unwrap();
    let fd = ring.share().unwrap();
    (ring, fd)
}

fn in_time() -> Deadline {
    Deadline::after(PATIENCE)
}

fn put(ring: &SharedRing, n: u64) {
    ring.put(&n.to_le_bytes(), &mut Spinner::new(WaitPolicy::Adaptive), in_time()).unwrap();
}

fn get(ring: &SharedRing) -> u64 {
    get_by(ring, in_time()).unwrap()
}

fn get_by(ring: &SharedRing, deadline: Deadline) -> Result<u64, GetError> {
    let mut bytes = [0; 8];
    ring.get(&mut bytes, &mut Spinner::new(WaitPolicy::Adaptive), deadline)?;
    Ok(u64::from_le_bytes(bytes))
}

/// What children do.
#[test]
fn peer() {
    let Ok(segments) = std::env::var(SEGMENTS) else { return };
    let role = std::env::var(ROLE).unwrap();
    let open = |path: &str| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        SharedRing::open(Segment::from_fd(file.into()).unwrap(), 7)
    };
    if role == "is refused" {
        let refused = open(&segments).err();
        assert!(matches!(refused, Some(Error::TooManyParticipants { limit: 8, .. })));
        return;
    }
    let rings: Vec<SharedRing> = segments.split(' ').map(|path| open(path).unwrap()).collect();
    if role == "leaves" {
        drop(rings);
        std::process::exit(0);
    }
    let attachment = rings[0].attachment().unwrap_or_else(|_| panic!("attached"));
    let ring = &attachment.ring;
    match role.as_str() {
        "claims a put" => {
            let actor = &mut *attachment.spare();
            let tail = ring.enqueue_pos.load(crate::sync::Ordering::SeqCst);
            ring.announce(actor, Announcement::put(tail));
            ring.claim_put(tail).unwrap();
        }
        "claims a get" => {
            let actor = &mut *attachment.spare();
            let head = ring.dequeue_pos.load(crate::sync::Ordering::SeqCst);
            ring.announce(actor, Announcement::get(head));
            ring.claim_get(head).unwrap();
        }
        "waits" => {}
        "puts on" => {
            println!("ready");
            let base = u64::from(std::process::id()) << 32;
            for n in 0.. {
                put(&rings[0], base | n);
            }
        }
        "pumps" => {
            println!("ready");
            loop {
                put(&rings[1], get(&rings[0]));
            }
        }
        "forks" => {
            put(&rings[0], 0);
            // SAFETY: the child uses the ring, which is made for that, and exits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                put(&rings[0], 1);
                let two = rings[0].participants().len() == 3;
                // SAFETY: ends this process without running the parent's destructors.
                unsafe { libc::_exit(if two { 0 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: `child` is our child; `status` is a valid place.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(status, 0, "the forked child is a participant of its own");
            put(&rings[0], 2);
        }
        other => panic!("no role {other}"),
    }
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_killed_putters_claim_becomes_a_tomb() {
    for slots in [1, 2, 10] {
        let (ring, fd) = create(slots);
        let mut peer = Peer::start("claims a put", &[&fd]);
        peer.wait_for("ready");
        if slots > 1 {
            put(&ring, 5);
            // Alive and amidst: it is waited for, not buried.
            let soon = Deadline::after(Duration::from_millis(50));
            assert!(matches!(get_by(&ring, soon), Err(GetError::Empty)));
        }
        peer.kill();
        if slots > 1 {
            assert_eq!(get(&ring), 5);
        }
        for n in 0..slots {
            put(&ring, n);
        }
        assert!(ring.is_full());
        for n in 0..slots {
            assert_eq!(get(&ring), n);
        }
        assert!(ring.is_empty());
    }
}

#[test]
fn a_killed_getters_message_goes_to_another() {
    for slots in [1, 2, 10] {
        let (ring, fd) = create(slots);
        for n in 0..slots {
            put(&ring, n);
        }
        let mut peer = Peer::start("claims a get", &[&fd]);
        peer.wait_for("ready");
        assert_eq!(ring.participants().len(), 2);
        assert_eq!(ring.len(), slots - 1);
        for n in 1..slots {
            assert_eq!(get(&ring), n);
        }
        peer.kill();
        // Asleep on an empty ring when it notices.
        assert_eq!(get(&ring), 0);
        assert_eq!((ring.participants().len(), ring.len()), (1, 0));
        for n in 0..slots {
            put(&ring, n);
        }
        assert!(ring.is_full());
    }
}

#[test]
fn a_killed_getters_message_is_found_after_a_shutdown_too() {
    for block in [true, false] {
        let (ring, fd) = create(3);
        put(&ring, 7);
        let mut peer = Peer::start("claims a get", &[&fd]);
        peer.wait_for("ready");
        ring.shutdown(false).unwrap();
        // Its getter is alive: the message may still be finished, or come back.
        assert!(matches!(ring.try_get(&mut [0; 8]), Err(GetError::Empty)));
        peer.kill();
        let soon = Instant::now() + Duration::from_secs(10);
        let found = if block {
            get_by(&ring, Deadline::at(soon))
        } else {
            loop {
                let mut bytes = [0; 8];
                match ring.try_get(&mut bytes) {
                    Err(GetError::Empty) if Instant::now() < soon => std::thread::yield_now(),
                    other => break other.map(|_| u64::from_le_bytes(bytes)),
                }
            }
        };
        assert_eq!(found.unwrap(), 7);
        assert!(matches!(get_by(&ring, in_time()), Err(GetError::ShutDown)));
    }
}

/// Repairs until `left` participants are left. The guardian may be at it too: who comes
/// second finds the record neither free nor its own to repair.
fn repaired(ring: &SharedRing, left: usize) {
    let soon = Instant::now() + Duration::from_secs(20);
    while ring.participants().len() != left {
        ring.repair().unwrap_or_else(|e| panic!("{e}"));
        assert!(Instant::now() < soon, "{:?} instead of {left}", ring.participants());
        std::thread::yield_now();
    }
}

#[test]
fn records_of_the_dead_and_of_leavers_are_used_again() {
    let (ring, fd) = create(1);
    for _ in 0..3 {
        let mut peers: Vec<Peer> = (0..7).map(|_| Peer::start("waits", &[&fd])).collect();
        for peer in &peers {
            peer.wait_for("ready");
        }
        assert_eq!(ring.participants().len(), 8);
        let mut one_too_many = Peer::start("is refused", &[&fd]);
        assert!(one_too_many.child.wait().unwrap().success());
        peers.iter_mut().for_each(Peer::kill);
        repaired(&ring, 1);
        let mut peer = Peer::start("leaves", &[&fd]);
        assert!(peer.child.wait().unwrap().success());
        repaired(&ring, 1);
        put(&ring, 1);
        assert_eq!(get(&ring), 1);
    }
}

#[test]
fn a_join_takes_the_actors_of_the_dead() {
    // One actor for each of two processes; many records for participants, so that the
    // newcomer does not happen to take the dead one's.
    let options = Options { participants: 64, actors: 2, ..Options::new(1, 8) };
    let ring = SharedRing::create(Place::Anonymous("test"), &options, 7).unwrap();
    let fd = ring.share().unwrap();
    for _ in 0..3 {
        let mut peer = Peer::start("waits", &[&fd]);
        peer.wait_for("ready");
        peer.kill();
    }
}

#[test]
fn a_forked_child_is_a_participant_of_its_own() {
    let (ring, fd) = create(4);
    let mut peer = Peer::start("forks", &[&fd]);
    peer.wait_for("ready");
    assert_eq!([get(&ring), get(&ring), get(&ring)], [0, 1, 2]);
    // The child did not leave: it is found dead by whoever looks.
    repaired(&ring, 2);
    peer.go_on();
    assert!(peer.child.wait().unwrap().success());
}

/// A small storm: putters and pumps are killed at random moments. What a putter put
/// arrives once and in order; only what a pump held in its hands may be missing.
#[test]
fn a_storm_of_kills_loses_and_doubles_nothing() {
    for slots in [1, 3, 64] {
        let (first, first_fd) = create(slots);
        let (second, second_fd) = create(slots);
        let both = [&first_fd, &second_fd];
        let putter = || Peer::start("puts on", &[&first_fd]);
        let pump = || Peer::start("pumps", &both);
        let mut putters = [putter(), putter()];
        let mut pumps = [pump(), pump()];
        let (mut seen, mut pump_kills) = (std::collections::HashMap::new(), 0);
        let mut note = |n: u64| {
            let one: &mut Vec<u64> = seen.entry(n >> 32).or_default();
            one.push(n & u64::from(u32::MAX));
        };
        let end = Instant::now() + Duration::from_secs(3);
        let mut round = 0_usize;
        while Instant::now() < end {
            for _ in 0..200 {
                if let Ok(n) = get_by(&second, Deadline::after(Duration::from_millis(2))) {
                    note(n);
                }
            }
            round += 1;
            if round.is_multiple_of(3) {
                putters[round % 2].kill();
                putters[round % 2] = putter();
            } else {
                pumps[round % 2].kill();
                pump_kills += 1;
                pumps[round % 2] = pump();
            }
        }
        putters.iter_mut().for_each(Peer::kill);
        // What is still on its way comes through the pumps that live.
        while let Ok(n) = get_by(&second, Deadline::after(Duration::from_millis(1500))) {
            note(n);
        }
        pumps.iter_mut().for_each(Peer::kill);
        pump_kills += 2;
        for ring in [&first, &second] {
            ring.repair().unwrap_or_else(|e| panic!("{e}"));
            while let Ok(n) = get_by(ring, Deadline::after(Duration::from_millis(50))) {
                note(n);
            }
            // No slot has leaked.
            for n in 0..slots {
                put(ring, n);
            }
            assert!(ring.is_full());
            assert_eq!(ring.participants().len(), 1);
        }
        let mut missing = 0;
        for numbers in seen.values_mut() {
            numbers.sort_unstable();
            let before = numbers.len();
            numbers.dedup();
            assert_eq!(numbers.len(), before, "nothing twice");
            let last = usize::try_from(*numbers.last().unwrap()).unwrap();
            missing += last + 1 - numbers.len();
        }
        assert!(!seen.is_empty());
        assert!(missing <= pump_kills, "{missing} missing after {pump_kills} kills of pumps");
    }
}
