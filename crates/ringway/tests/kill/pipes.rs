//! The kills on a pipe: sender or receiver dies at any point, the other end lives.
//! [`pipe_stops`](super::pipe_stops) stops them there.

use super::Effort;
use super::child::{Child, LONG_PATIENCE, PATIENCE, Traced};
use super::drive::{Run, Staged, survey};
use super::image::Watched;
use super::page::Page;
use super::rings::until;
use super::tally::{Fault, Kind, Seen, Tally, check, fault};
use ringway_pipe::{Builder, Receiver, RecvError, SendError, Sender, WaitPolicy};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::rc::Rc;

pub(super) type Ends = (Receiver<u64>, Sender<u64>);

/// The victim's message.
const ITS: u64 = 999;
/// In the peer's log: what ended a message or the pipe.
const TRUNCATED: u64 = 1001;
pub(super) const END: u64 = 1002;
pub(super) const OTHER: u64 = 1003;
/// Messages before the victim's own.
const BEFORE: u64 = 3;
/// Bytes of a short message, and of one that must be streamed through 4096.
pub(super) const SHORT: usize = 24;
const LONG: usize = 6000;
/// Offsets in the segment of a one-way pipe: see `docs/segment-layout.md`.
const READ_POS: usize = 4352 + 128;
const DATA: usize = 8192;
const CAPACITY: u64 = 4096;
const OWNERS: [usize; 2] = [4096, 4224];

/// What the victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Send,
    /// Longer than the ring.
    SendLong,
    /// The ring is full: waits for room.
    SendFull,
    /// The first use of an end that was inherited, with a copy of the other.
    AttachSender,
    CloseSender,
    /// Its last handles are dropped.
    DetachSender,
    Recv,
    RecvLong,
    /// The ring is empty: waits for a message.
    RecvEmpty,
    AttachReceiver,
    CloseReceiver,
    DetachReceiver,
}

impl Op {
    pub(super) fn sends(self) -> bool {
        let sends = matches!(self, Self::Send | Self::SendLong | Self::SendFull);
        sends || matches!(self, Self::AttachSender | Self::CloseSender | Self::DetachSender)
    }
    /// Nobody else changes the segment or the number of its system calls meanwhile. A
    /// receiver's watcher, which nobody steps, hears that the sender has left, and tells it by
    /// a change of its own at any time; a sender that waits for room, as a streamed message
    /// does, is woken by its receiver now once and now twice.
    fn is_alone(self) -> bool {
        self.sends() && !self.waits() && self != Self::SendLong
    }
    fn waits(self) -> bool {
        matches!(self, Self::SendFull | Self::RecvEmpty)
    }
    fn attaches(self) -> bool {
        matches!(self, Self::AttachSender | Self::AttachReceiver)
    }
    /// Ends the victim's part, and no message.
    pub(super) fn closes(self) -> bool {
        let closes = matches!(self, Self::CloseSender | Self::CloseReceiver);
        closes || matches!(self, Self::DetachSender | Self::DetachReceiver)
    }
    /// How many messages the victim has sent before.
    fn before(self) -> u64 {
        if self.sends() && !self.attaches() { BEFORE } else { 0 }
    }
}

/// `copy`: a third process holds a copy of the victim's end and takes it over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    pub(super) op: Op,
    pub(super) copy: bool,
}

pub(super) struct Stage {
    pub(super) run: Run,
    pub(super) peer: (Child, Rc<Page>),
    /// The third process's.
    pub(super) copy: Option<Ends>,
    scene: Scene,
}

impl Staged for Stage {
    fn run(&mut self) -> &mut Run {
        &mut self.run
    }
}

pub(super) fn message(n: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(n % 251).unwrap_or(0); len];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    let Some(Ok(n)) = bytes.get(..8).map(|head| head.try_into().map(u64::from_le_bytes)) else {
        return OTHER;
    };
    if bytes == message(n, bytes.len()) { n } else { OTHER }
}

fn received(result: &Result<Vec<u8>, RecvError>) -> u64 {
    match result {
        Ok(bytes) => number(bytes),
        Err(RecvError::Truncated) => TRUNCATED,
        Err(RecvError::Eof) => END,
        Err(_) => OTHER,
    }
}

fn create() -> (Ends, Watched) {
    let made: ringway_core::Result<Ends> =
        Builder::new().capacity(CAPACITY).policy(WaitPolicy::Block).simplex();
    (made.expect("a pipe"), Watched::new(segment()))
}

/// The descriptor of the newest pipe of this process.
fn segment() -> OwnedFd {
    let links = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let of_pipe = links.filter(|link| {
        let target = std::fs::read_link(link.path()).unwrap_or_default();
        target.to_string_lossy().starts_with("/memfd:ringway-pipe")
    });
    let path = of_pipe.map(|link| link.path()).next().expect("the pipe's memory");
    std::fs::OpenOptions::new().read(true).write(true).open(path).expect("readable").into()
}

/// What a victim prepares, and its operation. Built in the child.
fn prepare(op: Op, (mut receiver, mut sender): Ends) -> impl FnOnce(&Page) {
    if op.attaches() {
        // Nothing was used yet, and it has both.
    } else if op.sends() {
        receiver.close();
        for n in 1..=BEFORE {
            sender.send_bytes(&message(n, SHORT)).expect("room");
        }
        if op == Op::SendFull {
            // Long ones, until there is no more room.
            let mut n = BEFORE;
            while sender.try_send_bytes(&message(n + 1, 600)).is_ok() {
                n += 1;
            }
        }
    } else {
        sender.close();
        // The first use is part of another operation.
        let _ = receiver.try_recv_bytes(None);
    }
    move |page: &Page| {
        let value = match op {
            Op::Send | Op::AttachSender => {
                sender.send_bytes(&message(ITS, SHORT)).map_or(0, |()| ITS)
            }
            Op::SendFull => sender.send_bytes(&message(ITS, 600)).map_or(0, |()| ITS),
            Op::SendLong => sender.send_bytes(&message(ITS, LONG)).map_or(0, |()| ITS),
            Op::CloseSender => {
                sender.close();
                1
            }
            Op::Recv | Op::RecvLong | Op::RecvEmpty | Op::AttachReceiver => {
                received(&receiver.recv_bytes(None))
            }
            Op::CloseReceiver => {
                receiver.close();
                1
            }
            Op::DetachSender | Op::DetachReceiver => {
                drop((receiver, sender));
                page.set(Page::RETURNED, 1);
                return;
            }
        };
        page.set(Page::VALUE, value);
        page.set(Page::RETURNED, 1);
        // Nobody drops an end by the way.
        std::mem::forget((receiver, sender));
    }
}

/// The other end's process.
fn peer(scene: Scene, (mut receiver, mut sender): Ends, page: &Page) {
    if scene.op.sends() {
        sender.close();
        if scene.op.waits() {
            page.set(Page::READY, 1);
            assert!(until(|| page.get(Page::CUE) == 1));
        }
        loop {
            page.set(Page::READY, 1);
            let what = received(&receiver.recv_bytes_timeout(None, LONG_PATIENCE));
            page.log(what);
            if what == END || what == OTHER {
                break;
            }
        }
    } else {
        receiver.close();
        if scene.op.waits() {
            page.set(Page::READY, 1);
            assert!(until(|| page.get(Page::CUE) == 1));
        }
        let mut n = 1;
        loop {
            let len = if n == 1 && scene.op == Op::RecvLong { LONG } else { SHORT };
            // A long first one ends only when it is taken.
            page.set(Page::READY, u64::from(n > 1 || len == LONG));
            let sent = sender.send_bytes_timeout(&message(n, len), LONG_PATIENCE);
            match sent {
                Ok(()) if scene.copy && n == BEFORE + 1 => break,
                Ok(()) => n += 1,
                Err(SendError::BrokenPipe) => {
                    page.log(END);
                    break;
                }
                Err(_) => {
                    page.log(OTHER);
                    break;
                }
            }
        }
    }
    // Closing changes the segment, and belongs to what was before.
    drop((receiver, sender));
    page.set(Page::RETURNED, 1);
}

impl Scene {
    pub(super) fn set(self) -> Stage {
        let (ends, watched) = create();
        let mut ends = Some(ends);
        let page = Page::new();
        // Each child has its own copies of both.
        let victim =
            Traced::start(&page, |_| prepare(self.op, ends.take().expect("both ends")), || {});
        let peer_page = Rc::new(Page::new());
        let child = Child::start(|| peer(self, ends.take().expect("both ends"), &peer_page));
        let mut copy = ends.take();
        if let Some((receiver, sender)) = &mut copy {
            if self.op.sends() || !self.copy {
                receiver.close();
            }
            if !self.op.sends() || !self.copy {
                sender.close();
            }
        }
        // It has done what it can, and waits.
        let before = if self.op.waits() { 0 } else { self.op.before() };
        let waits = || {
            let ended = peer_page.get(Page::RETURNED) == 1;
            let ready =
                peer_page.get(Page::READY) == 1 && peer_page.logged().len() as u64 == before;
            // One that sends a few messages and no more never has to wait for room.
            let leaves = self.copy && !self.op.sends() && !self.op.waits();
            ended || ready && child.sleeps() && (!leaves || self.op == Op::RecvLong)
        };
        assert!(until(|| waits() && until_again(&waits)), "the peer is there");
        let mut run = Run::new(page, watched, victim);
        let cue = Rc::clone(&peer_page);
        run.wake = Some(Box::new(move || cue.set(Page::CUE, 1)));
        Stage { run, peer: (child, peer_page), copy: copy.filter(|_| self.copy), scene: self }
    }
}

/// Whether `what` stays true for a moment: a short sleep is none.
fn until_again(what: &dyn Fn() -> bool) -> bool {
    (0..4).all(|_| {
        std::thread::sleep(std::time::Duration::from_micros(200));
        what()
    })
}

/// `idle`: whoever has a copy of the victim's end does nothing with it at first, and so
/// keeps the kernel from telling of the death.
fn after_death(stage: &mut Stage, idle: bool) -> Result<Seen, Fault> {
    stage.run.victim.child.kill();
    if idle {
        let taken = until(|| !stage.has_unread());
        check(taken, Kind::Hung, || "the peer sleeps beside a message".into())?;
    }
    close(stage)
}

impl Stage {
    /// Whether a chunk is published that the receiver has not released.
    fn has_unread(&mut self) -> bool {
        let bytes = self.run.watched.bytes();
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let at = usize::try_from(word(READ_POS) % CAPACITY).expect("below the capacity");
        word(DATA + at) != 0
    }
}

/// The victim is dead or has ended: everything must be there, once, and the other end is
/// told that nobody is left.
pub(super) fn close(stage: &mut Stage) -> Result<Seen, Fault> {
    let mut bytes = stage.run.watched.bytes();
    let read_pos = u64::from_le_bytes(bytes[READ_POS..READ_POS + 8].try_into().expect("8 bytes"));
    // Process ids differ between equal runs.
    bytes[OWNERS[0]..OWNERS[0] + 4].fill(0);
    bytes[OWNERS[1]..OWNERS[1] + 4].fill(0);
    let mut hasher = DefaultHasher::new();
    bytes[4096..].hash(&mut hasher);
    let mut seen = Seen { image: hasher.finish(), ..Seen::default() };
    stage.peer.1.set(Page::CUE, 1);
    let returned = stage.run.returned();
    let value = stage.run.page.get(Page::VALUE);
    if stage.scene.op.sends() {
        sender_died(stage, returned, &mut seen)?;
    } else {
        receiver_died(stage, returned, value, &mut seen)?;
        check(!seen.taken || read_pos > 0, Kind::Lost, || "gone before its commit".into())?;
    }
    Ok(seen)
}

fn peer_ends(stage: &mut Stage) -> Result<Vec<u64>, Fault> {
    let code = stage.peer.0.join().or_else(|e| fault(Kind::Hung, format!("the peer: {e}")))?;
    check(code == 0, Kind::Wrong, || format!("the peer ended with {code}"))?;
    Ok(stage.peer.1.logged())
}

fn sender_died(stage: &mut Stage, returned: bool, seen: &mut Seen) -> Result<(), Fault> {
    let mut expected_after = Vec::new();
    if let Some((_, sender)) = &mut stage.copy {
        for n in [201, 202] {
            sender
                .send_bytes_timeout(&message(n, SHORT), PATIENCE)
                .or_else(|e| fault(Kind::Hung, format!("the successor cannot send: {e}")))?;
            expected_after.push(n);
        }
        sender.close();
    }
    let mut log = peer_ends(stage)?;
    check(log.pop() == Some(END), Kind::Hung, || format!("no end of file after {log:?}"))?;
    check(!log.contains(&OTHER), Kind::Wrong, || format!("{log:?}"))?;
    check(log.ends_with(&expected_after), Kind::Lost, || format!("{log:?}"))?;
    log.truncate(log.len() - expected_after.len());
    let (op, its) = (stage.scene.op, log.iter().filter(|n| **n == ITS).count());
    check(its <= 1, Kind::Doubled, || format!("{log:?}"))?;
    check(its == 1 || !returned || op.closes(), Kind::Lost, || format!("{log:?}"))?;
    if !op.closes() {
        seen.done = Some(its == 1);
    }
    match log.pop() {
        Some(ITS) => {}
        // A message cut off is told of, and never shown.
        Some(TRUNCATED) => {
            check(op == Op::SendLong && !returned, Kind::Wrong, || "truncated".into())?;
            seen.paths.push("TRUNCATED");
        }
        Some(other) => log.push(other),
        None => {}
    }
    let whole = log.iter().copied().eq(1..=log.len() as u64) && log.len() as u64 >= op.before();
    check(whole, Kind::Lost, || format!("before it {log:?}"))
}

fn receiver_died(
    stage: &mut Stage,
    returned: bool,
    value: u64,
    seen: &mut Seen,
) -> Result<(), Fault> {
    let got_one = returned && !stage.scene.op.closes();
    check(!got_one || value == 1, Kind::Wrong, || format!("the victim got {value}"))?;
    let Some((receiver, _)) = &mut stage.copy else {
        // The sender, asleep or not, learns that nobody is left.
        let log = peer_ends(stage)?;
        return check(log == [END], Kind::Hung, || format!("no broken pipe: {log:?}"));
    };
    let mut log = Vec::new();
    loop {
        let what = received(&receiver.recv_bytes_timeout(None, PATIENCE));
        if what == END {
            break;
        }
        log.push(what);
        check(what != OTHER && log.len() < 64, Kind::Wrong, || format!("{log:?}"))?;
    }
    let left = peer_ends(stage)?;
    check(left.is_empty(), Kind::Wrong, || format!("the sender saw {left:?}"))?;
    let truncated = log.first() == Some(&TRUNCATED);
    if truncated {
        // The dead had a part of it: to its successor the rest is no use.
        check(stage.scene.op == Op::RecvLong && !returned, Kind::Wrong, || format!("{log:?}"))?;
        seen.paths.push("TRUNCATED");
        log.remove(0);
    }
    let first = log.first().copied().unwrap_or(0);
    check(first == 1 || first == 2, Kind::Lost, || format!("{log:?}"))?;
    check(log.iter().copied().eq(first..=BEFORE + 1), Kind::Lost, || format!("{log:?}"))?;
    check(first == 2 || !got_one, Kind::Doubled, || format!("{log:?}"))?;
    seen.taken = first == 2 && !got_one && !truncated;
    if !stage.scene.op.closes() {
        seen.done = Some(first == 2);
    } else {
        check(!seen.taken, Kind::Lost, || format!("{log:?}"))?;
    }
    Ok(())
}

/// Kills at every point of one operation, and prints the line. `idle`: only where somebody
/// has a copy of the victim's end, and does nothing with it at first.
pub(crate) fn operation(name: &str, op: Op, idle: bool, effort: Effort) -> bool {
    let mut tally = Tally::new(name);
    for copy in [false, true] {
        if idle && !copy {
            continue;
        }
        let scene = Scene { op, copy };
        let found = survey(effort, &|| scene.set());
        tally.length(found.instructions, found.capped);
        for point in &found.points {
            let mut stage = scene.set();
            stage.run.go_to(*point);
            let place = stage.run.place();
            let result = after_death(&mut stage, idle);
            tally.note(place, &format!("{scene:?}"), result);
        }
        tally.end_scene(&format!("{scene:?}"), op.is_alone());
    }
    tally.finish("kills")
}
