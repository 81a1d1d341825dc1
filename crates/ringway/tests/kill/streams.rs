//! The kills amid streams: messages longer than the pool, of which putter and getter pass the
//! pieces to each other. The other one works on by itself, so that two runs differ: a point
//! is somewhere in a whole passage, and what must hold, holds everywhere.

use super::Effort;
use super::child::{Child, PATIENCE, Traced};
use super::drive::{Point, Run, Staged, survey};
use super::image::{self, Image, Watched};
use super::page::Page;
use super::rings::until;
use super::tally::{Fault, Kind, Seen, Tally, check, fault};
use super::verdict;
use ringway_core::mpmc::{GetError, Options, PutError, SharedRing};
use ringway_core::process::reopen;
use ringway_core::segment::{Place, Segment};
use ringway_core::wait::{Deadline, Spinner, WaitPolicy};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The message that is streamed.
const ITS: u64 = 999;
/// The first of small messages that others put meanwhile.
const OTHERS: u64 = 2000;
/// Ends a bystander that takes all that comes.
const SENTINEL: u64 = 555;

const SIGNATURE: u64 = 9;
const SMALL: usize = 40;
/// Bytes for messages in blocks; a quarter of them is a stream's, in four pieces.
const POOL: u64 = 1024;
/// Bytes of a streamed message.
const LONG: usize = 1400;

/// What the victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Puts a message that another takes.
    Put,
    /// The same, but nobody comes before its deadline.
    Withdraw,
    /// Takes a message that another puts.
    Get,
    /// The same, as a task.
    TaskGet,
    /// Repairs one that has died amidst its put.
    RepairPutter,
    /// Repairs one that has died amidst its get; the putter lives.
    RepairGetter,
}

impl Op {
    pub(crate) fn repairs(self) -> bool {
        matches!(self, Self::RepairPutter | Self::RepairGetter)
    }

    fn puts(self) -> bool {
        matches!(self, Self::Put | Self::Withdraw)
    }

    fn gets(self) -> bool {
        matches!(self, Self::Get | Self::TaskGet)
    }

    /// Who else there is: takes all that comes, or puts the message.
    fn bystander(self) -> Option<fn(&SharedRing, &Page)> {
        match self {
            Self::Put => Some(take_all),
            Self::Get | Self::TaskGet | Self::RepairGetter => Some(put_its),
            Self::Withdraw | Self::RepairPutter => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Scene {
    op: Op,
    slots: u64,
}

struct Stage {
    scene: Scene,
    run: Run,
    /// This process's. It is attached all the time.
    ring: SharedRing,
    bystander: Option<(Child, Page)>,
    /// Dead, and not repaired.
    doomed: Vec<libc::pid_t>,
    given: Vec<u64>,
    taken: Vec<u64>,
}

impl Staged for Stage {
    fn run(&mut self) -> &mut Run {
        &mut self.run
    }
}

/// The bytes of message `n`, of which each word tells where it belongs.
fn message(n: u64) -> Vec<u8> {
    let len = if n == ITS { LONG } else { SMALL };
    let word = |i: u64| n.wrapping_mul(if i == 0 { 1 } else { 0x9E37_79B9 + i }).to_le_bytes();
    (0..len as u64 / 8).flat_map(word).collect()
}

/// Its number; another one if it is torn.
fn number(bytes: &[u8]) -> u64 {
    let n = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    if message(n) == bytes { n } else { u64::MAX }
}

fn spinner() -> Spinner {
    Spinner::new(WaitPolicy::Block)
}

fn put(ring: &SharedRing, n: u64, deadline: Deadline) -> bool {
    ring.put(&message(n), &mut spinner(), deadline).is_ok()
}

/// Takes the next message, streamed or not.
fn get(ring: &SharedRing, task: bool, deadline: Deadline) -> Option<u64> {
    let mut buffer = [0; SMALL];
    loop {
        let got = match task {
            true => ring.get_task(&mut buffer, &mut spinner(), deadline),
            false => ring.get(&mut buffer, &mut spinner(), deadline),
        };
        match got {
            Ok(len) => return Some(number(&buffer[..len])),
            Err(GetError::Stream(stream)) => {
                let mut bytes = Vec::new();
                match stream.receive(&mut bytes, &mut spinner(), deadline, None) {
                    Ok(true) => return Some(number(&bytes)),
                    Ok(false) => {}
                    Err(_) => return None,
                }
            }
            Err(_) => return None,
        }
    }
}

fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

fn now() -> Deadline {
    Deadline::after(Duration::from_millis(20))
}

fn open(fd: &OwnedFd) -> SharedRing {
    let own = reopen(fd.as_fd()).expect("a description");
    SharedRing::open(Segment::from_fd(own).expect("a segment"), SIGNATURE).expect("attached")
}

/// Takes everything up to the sentinel.
fn take_all(ring: &SharedRing, page: &Page) {
    loop {
        match get(ring, false, Deadline::NEVER) {
            Some(SENTINEL) | None => return,
            Some(n) => page.log(n),
        }
    }
}

fn put_its(ring: &SharedRing, page: &Page) {
    page.set(Page::VALUE, u64::from(put(ring, ITS, Deadline::NEVER)));
}

fn start(fd: &OwnedFd, body: fn(&SharedRing, &Page)) -> (Child, Page) {
    let page = Page::new();
    let child = Child::start(|| {
        let ring = open(fd);
        page.set(Page::READY, 1);
        body(&ring, &page);
        page.set(Page::RETURNED, 1);
    });
    assert!(until(|| page.get(Page::READY) == 1 && child.sleeps()), "it goes to sleep");
    (child, page)
}

thread_local! {
    static LEAVING: RefCell<Option<SharedRing>> = const { RefCell::new(None) };
}

/// What a victim that is let go does at last.
fn leave() {
    if let Some(ring) = LEAVING.take() {
        while ring.task_done().is_ok() {}
    }
}

/// What a victim prepares, and its operation. Built in the child.
fn prepare(scene: Scene, ring: SharedRing) -> impl FnOnce(&Page) {
    for n in 0..scene.slots {
        assert!(put(&ring, n, soon()));
        assert_eq!(get(&ring, true, soon()), Some(n));
        ring.task_done().expect("its task");
    }
    let its = message(ITS);
    move |page: &Page| {
        let value = match scene.op {
            Op::Put => u64::from(ring.put(&its, &mut spinner(), Deadline::NEVER).is_ok()),
            Op::Withdraw => {
                let put = ring.put(&its, &mut spinner(), Deadline::after(Duration::ZERO));
                assert!(matches!(put, Err(PutError::Full)) || put.is_ok());
                u64::from(put.is_ok())
            }
            Op::Get | Op::TaskGet => {
                let got = get(&ring, scene.op == Op::TaskGet, Deadline::NEVER);
                got.inspect(|n| page.log(*n)).map_or(0, |_| 1)
            }
            Op::RepairPutter | Op::RepairGetter => u64::from(ring.repair().is_ok()),
        };
        page.set(Page::VALUE, value);
        page.set(Page::RETURNED, 1);
        LEAVING.set(Some(ring));
    }
}

/// Kills one that waits for a getter of its message, or one that has the beginning of it.
fn doom(op: Op, fd: &OwnedFd) -> libc::pid_t {
    let body: fn(&SharedRing, &Page) = match op {
        Op::RepairPutter => put_its,
        _ => |ring, _| {
            let taken = ring.get(&mut [0; SMALL], &mut spinner(), soon());
            assert!(matches!(taken, Err(GetError::Stream(_))), "the stream");
            std::thread::sleep(PATIENCE);
        },
    };
    let (mut child, _page) = start(fd, body);
    child.kill();
    child.pid
}

impl Scene {
    fn set(self) -> Stage {
        let options = Options {
            participants: 6,
            actors: 16,
            leases: 2,
            pool: POOL,
            streams: 2,
            ..Options::new(self.slots, u32::try_from(SMALL).expect("a small number"))
        };
        let ring = SharedRing::create(Place::Anonymous("kill"), &options, SIGNATURE);
        let ring = ring.expect("a ring");
        let fd = ring.share().expect("a description");
        let page = Page::new();
        let victim = Traced::start(&page, |_| prepare(self, open(&fd)), leave);
        let watched = Watched::new(ring.share().expect("a description"));
        let bystander = self.op.bystander().map(|body| start(&fd, body));
        let doomed = self.op.repairs().then(|| doom(self.op, &fd)).into_iter().collect();
        let run = Run::new(page, watched, victim);
        let (given, taken) = (Vec::new(), Vec::new());
        Stage { scene: self, run, ring, bystander, doomed, given, taken }
    }
}

/// Kills the victim where it stands, and closes the books.
fn after_death(stage: &mut Stage) -> Result<Seen, Fault> {
    let before = stage.run.watched.ring();
    let mut seen = Seen { image: before.hash(), ..Seen::default() };
    stage.run.victim.child.kill();
    repaired(stage)?;
    let after = stage.run.watched.ring();
    seen.paths = verdict::paths(&before, &after);
    if after.streams_used() < before.streams_used() {
        seen.paths.push("STREAM ENDED");
    }
    if before.has_half_done_stream() {
        seen.paths.push("STREAM HALF DONE");
    }
    close(stage, &mut seen)?;
    Ok(seen)
}

fn repaired(stage: &mut Stage) -> Result<(), Fault> {
    stage.doomed.push(stage.run.victim.child.pid);
    stage.ring.repair().or_else(|e| fault(Kind::Wrong, format!("repair: {e}")))?;
    let Stage { run, doomed, .. } = stage;
    let freed = until(|| {
        let image = run.watched.ring();
        !doomed.iter().any(|pid| image.has(*pid))
    });
    check(freed, Kind::Leaked, || "a dead one's record is not free".into())
}

/// Others work on while the victim stands still; then it goes on, or is killed.
fn stopped(stage: &mut Stage, kill: bool) -> Result<Seen, Fault> {
    let there = stage.run.watched.ring();
    let pid = stage.run.victim.child.pid;
    let mut seen = Seen { image: there.hash(), ..Seen::default() };
    for n in OTHERS..OTHERS + 2 * stage.scene.slots + 2 {
        match stage.ring.try_put(&message(n)) {
            Ok(()) => stage.given.push(n),
            Err(PutError::Full | PutError::Contended) => {}
            Err(e) => return fault(Kind::Wrong, format!("put: {e}")),
        }
        if n % 3 != 2 {
            drain(stage, true)?;
        }
    }
    let still = stage.run.watched.ring().has(pid) == there.has(pid);
    check(still, Kind::Wrong, || "a stopped process was buried".into())?;
    if kill {
        stage.run.victim.child.kill();
    } else {
        // For one that comes too late for what there was.
        if stage.scene.op.gets() && stage.ring.try_put(&message(OTHERS - 1)).is_ok() {
            stage.given.push(OTHERS - 1);
        }
        stage.run.victim.release();
        let code = stage.run.victim.child.join().or_else(|e| fault(Kind::Hung, e))?;
        check(code == 0, Kind::Wrong, || format!("the victim ended with {code}"))?;
    }
    repaired(stage)?;
    close(stage, &mut seen)?;
    // Where others worked on, the victim's effect comes and goes with theirs.
    seen.done = None;
    Ok(seen)
}

/// Takes what there is; one message, or all.
fn drain(stage: &mut Stage, one: bool) -> Result<(), Fault> {
    while let Some(n) = get(&stage.ring, true, now()) {
        stage.taken.push(n);
        stage.ring.task_done().or_else(|e| fault(Kind::Wrong, format!("task: {e}")))?;
        check(stage.taken.len() < 64, Kind::Doubled, || format!("{:?}", stage.taken))?;
        if one {
            break;
        }
    }
    Ok(())
}

/// Every message once and whole, every task accounted for, and nothing left behind.
fn close(stage: &mut Stage, seen: &mut Seen) -> Result<(), Fault> {
    let op = stage.scene.op;
    let returned = stage.run.returned();
    let value = stage.run.page.get(Page::VALUE);
    if let Some((child, page)) = &mut stage.bystander {
        if op == Op::Put {
            check(put(&stage.ring, SENTINEL, soon()), Kind::Hung, || "no room".into())?;
            let code = child.join().or_else(|e| fault(Kind::Hung, format!("a getter: {e}")))?;
            check(code == 0, Kind::Wrong, || format!("the getter ended with {code}"))?;
            stage.taken.extend(page.logged());
        } else {
            stage.given.push(ITS);
        }
    }
    // A put that another does returns once somebody has its message.
    for _ in 0..1000 {
        drain(stage, false)?;
        let Some((child, page)) = stage.bystander.as_mut().filter(|_| op != Op::Put) else { break };
        if page.get(Page::RETURNED) == 1 {
            let code = child.join().or_else(|e| fault(Kind::Hung, e))?;
            check(code == 0 && page.get(Page::VALUE) == 1, Kind::Lost, || "not put".into())?;
            stage.bystander = None;
            drain(stage, false)?;
            break;
        }
    }
    check(stage.bystander.is_none() || op == Op::Put, Kind::Hung, || "a putter waits on".into())?;
    if op.puts() && returned && value == 1 {
        stage.given.push(ITS);
    }
    let its = if returned { stage.run.page.logged() } else { Vec::new() };
    let taken: Vec<u64> = stage.taken.iter().copied().chain(its.iter().copied()).collect();
    let set: BTreeSet<u64> = taken.iter().copied().collect();
    check(set.len() == taken.len(), Kind::Doubled, || format!("{taken:?}"))?;
    let known = |n: &u64| stage.given.contains(n) || *n == ITS && op.puts() && !returned;
    let strange: Vec<_> = set.iter().filter(|n| !known(n)).collect();
    check(strange.is_empty(), Kind::Wrong, || format!("nobody put {strange:?}"))?;
    let missing: Vec<_> = stage.given.iter().filter(|n| !set.contains(n)).collect();
    let may = usize::from(op.gets() && !returned);
    check(missing.len() <= may, Kind::Lost, || format!("{missing:?}, got {taken:?}"))?;
    seen.taken = !missing.is_empty();
    match op {
        Op::Put => seen.done = Some(set.contains(&ITS)),
        Op::Get | Op::TaskGet => seen.done = Some(returned || seen.taken),
        _ => {}
    }
    // What a dead one had taken as a task is lost, and told, exactly.
    let dead = stage.run.victim.child.was_killed();
    let had = missing.len() + if dead { its.len() } else { 0 };
    let expected = if op == Op::TaskGet { had as u64 } else { 0 };
    let lost = stage.ring.lost_tasks();
    check(lost == expected, Kind::Wrong, || format!("{lost} lost, not {expected}"))?;
    let unfinished = stage.ring.unfinished();
    check(unfinished == 0, Kind::Leaked, || format!("{unfinished} unfinished"))?;
    rest(stage)
}

/// As many as ever fit in, also for one who comes anew; a stream passes; nothing is left behind.
fn rest(stage: &mut Stage) -> Result<(), Fault> {
    let slots = stage.scene.slots;
    let fd = stage.ring.share().or_else(|e| fault(Kind::Wrong, e.to_string()))?;
    let page = Page::new();
    let mut stranger = Child::start(|| {
        let ring = open(&fd);
        let try_put = |n| ring.try_put(&message(n));
        for n in 0..slots {
            try_put(n).unwrap_or_else(|e| panic!("room for {n} only: {e}"));
        }
        assert!(matches!(try_put(slots), Err(PutError::Full)), "room for one too many");
        for n in 0..slots {
            assert_eq!(get(&ring, false, soon()), Some(n));
        }
        page.set(Page::READY, 1);
        for _ in 0..2 {
            // As many times as there are records.
            assert!(put(&ring, ITS, soon()), "a stream");
        }
    });
    // Also if it failed: its exit tells.
    let ready = until(|| page.get(Page::READY) == 1 || !stranger.runs());
    check(ready, Kind::Hung, || "one who came anew is not ready".into())?;
    for _ in 0..if page.get(Page::READY) == 1 { 2 } else { 0 } {
        let got = get(&stage.ring, false, soon());
        check(got == Some(ITS), Kind::Leaked, || format!("{got:?} where a stream should pass"))?;
    }
    let code = stranger.join().or_else(|e| fault(Kind::Hung, e))?;
    check(code == 0, Kind::Leaked, || format!("one who came anew ended with {code}"))?;
    stage.ring.repair().or_else(|e| fault(Kind::Wrong, format!("repair: {e}")))?;
    // Once more with nobody asleep: bits of sleepers that are gone stay until then.
    let passes =
        stage.ring.try_put(&message(1)).is_ok() && get(&stage.ring, false, now()) == Some(1);
    check(passes, Kind::Leaked, || "no message passes".into())?;
    check(stage.ring.is_empty(), Kind::Leaked, || format!("{} inside", stage.ring.len()))?;
    let clean = |image: &Image| {
        image.participants().len() == 1
            && image.actors().len() == 1
            && image.count(image::EMPTY) == image.phases().len()
            && image.leases_free()
            && (image.blocks_used(), image.streams_used()) == (0, 0)
            && image.asleep() == [false; 2]
            && image.marks() & 7 == 0
    };
    let watched = &mut stage.run.watched;
    let good = until(|| clean(&watched.ring()));
    check(good, Kind::Leaked, || {
        let image = watched.ring();
        let counts = (image.blocks_used(), image.streams_used(), image.marks() & 7);
        let (records, phases) = (image.participants(), image.phases());
        format!("{records:?}, {phases:?}, {counts:?}, asleep {:?}", image.asleep())
    })
}

fn scenes(op: Op, full: bool) -> Vec<Scene> {
    let all = 1..=3;
    all.filter(|slots| full || *slots == 1 + op as u64 % 3)
        .map(|slots| Scene { op, slots })
        .collect()
}

/// Kills at every point of `op`, and prints the line.
pub(crate) fn operation(
    name: &str,
    op: Op,
    effort: Effort,
    paths: &mut BTreeMap<&'static str, usize>,
) -> bool {
    let mut tally = Tally::new(name);
    for scene in scenes(op, effort.full) {
        let found = survey(effort.for_long_calls(), &|| scene.set());
        tally.length(found.instructions, found.capped);
        for point in &found.points {
            let mut stage = scene.set();
            stage.run.go_to(*point);
            let place = stage.run.place();
            let result = after_death(&mut stage);
            tally.note(place, &format!("{scene:?}"), result);
        }
        // The other side changes the segment, too.
        tally.end_scene(&format!("{scene:?}"), false);
    }
    for (path, n) in &tally.paths {
        *paths.entry(path).or_default() += n;
    }
    tally.finish("kills")
}

/// Stops at every point of `op`; the victim goes on or dies.
pub(crate) fn stops(name: &str, op: Op, effort: Effort) -> bool {
    let mut tally = Tally::new(name);
    for scene in scenes(op, effort.full) {
        let found = survey(effort.for_long_calls(), &|| scene.set());
        tally.length(found.instructions, found.capped);
        let points = found.points.iter().filter(|point| !matches!(point, Point::Asleep));
        for (i, point) in points.enumerate() {
            for kill in [false, true] {
                if !effort.full && (i % 2 == 0) == kill {
                    continue;
                }
                let mut stage = scene.set();
                stage.run.go_to(*point);
                let place = stage.run.place();
                let result = stopped(&mut stage, kill);
                tally.note(place, &format!("{scene:?}, killed {kill}"), result);
            }
        }
    }
    tally.finish("stops")
}
