//! The kills on typed queues: what lies between the ring and the caller, and the count of
//! tasks that are not done.

use super::child::{Child, Traced};
use super::drive::{Point, Run, Staged, survey};
use super::image::{self, Image, Watched};
use super::page::Page;
use super::rings::until;
use super::tally::{Fault, Kind, Seen, Tally, check, fault};
use super::typed::{Any, Op, inodes, segment};
use super::{Effort, verdict};
use ringway_core::mpmc::SharedRing;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The victim's item.
const ITS: u64 = 999;
/// The first item that was there before, and the first of others put meanwhile.
const FIRST: u64 = 100;
const OTHERS: u64 = 2000;

/// How things stand when the victim begins.
#[derive(Debug, Clone, Copy)]
struct Scene {
    op: Op,
    slots: u64,
    inside: u64,
}

struct Stage {
    run: Run,
    /// This process's own handle. It is attached all the time.
    queue: Any,
    ring: SharedRing,
    /// Asleep in a join since before the death.
    joiner: Option<(Child, Page)>,
    scene: Scene,
    given: Vec<u64>,
    taken: Vec<u64>,
    /// Others took and put meanwhile.
    disturbed: bool,
    /// Put, and taken, to wake the victim.
    meanwhile: Rc<RefCell<(Vec<u64>, Vec<u64>)>>,
}

impl Staged for Stage {
    fn run(&mut self) -> &mut Run {
        &mut self.run
    }
}

thread_local! {
    static LEAVING: RefCell<Option<Any>> = const { RefCell::new(None) };
}

/// What a victim that is let go does at last.
fn leave() {
    if let Some(queue) = LEAVING.take() {
        // It took something, perhaps.
        while queue.done() {}
    }
}

/// Takes what there is, in the way of `op`.
fn take(op: Op, queue: &Any) -> Vec<u64> {
    match op {
        Op::TaskGetMany | Op::GetWords => queue.get_many(3),
        Op::TaskGrant => queue.get_ref().into_iter().collect(),
        _ => queue.get().into_iter().collect(),
    }
}

/// What a victim prepares, and its operation. Built in the child.
fn prepare(scene: Scene, queue: Any, ring: SharedRing) -> impl FnOnce(&Page) {
    for n in 0..scene.slots {
        assert!(queue.put(n), "room");
        assert_eq!(take(scene.op, &queue), [n]);
        assert!(queue.done() || !scene.op.has_tasks());
    }
    if scene.op == Op::TaskDone {
        assert!(queue.put(FIRST - 1) && queue.get() == Some(FIRST - 1));
    }
    move |page: &Page| {
        let value = match scene.op {
            Op::Put | Op::PutCoded | Op::TaskPut => u64::from(queue.put(ITS)),
            Op::PutWords => u64::from(queue.put_two(ITS)),
            Op::TaskDone => u64::from(queue.done()),
            Op::TaskJoin => u64::from(queue.join() == Some(0)),
            Op::TaskRepair => u64::from(ring.repair().is_ok()),
            op => {
                let items = take(op, &queue);
                items.iter().for_each(|n| page.log(*n));
                items.len() as u64
            }
        };
        page.set(Page::VALUE, value);
        page.set(Page::RETURNED, 1);
        LEAVING.set(Some(queue));
    }
}

/// Kills a process that has claimed an item and not taken it. Its number.
fn doom(queue: &Any, watched: Watched) -> libc::pid_t {
    let page = Page::new();
    let prepare = |_: &Page| {
        // It attaches, which takes long.
        assert!(!queue.done());
        |_: &Page| assert!(queue.get().is_some())
    };
    let victim = Traced::start(&page, prepare, || {});
    let mut run = Run::new(page, watched, victim);
    let before = run.watched.ring().dequeue_pos();
    while run.watched.ring().dequeue_pos() == before {
        run.victim.step();
    }
    run.victim.child.kill();
    run.victim.child.pid
}

/// A process that has taken an item and is at work on it.
fn at_work(queue: &Any) -> Child {
    let page = Page::new();
    let child = Child::start(|| {
        assert!(queue.get().is_some());
        page.set(Page::READY, 1);
        until(|| page.get(Page::CUE) == 1);
    });
    assert!(until(|| page.get(Page::READY) == 1), "it has the item");
    child
}

impl Scene {
    fn set(self) -> Stage {
        let others = inodes();
        let queue = Any::create(self.op, self.slots);
        let (ring, watched) = segment(&others);
        let page = Page::new();
        let victim = Traced::start(&page, |_| prepare(self, queue.clone(), ring.clone()), leave);
        let mut given: Vec<u64> = (FIRST..FIRST + self.inside).collect();
        for n in &given {
            assert!(queue.put(*n), "room");
        }
        // Dies when nobody attaches any more, who would repair it.
        let mut doomed = (self.op == Op::TaskRepair).then(|| at_work(&queue));
        if matches!(self.op, Op::TaskGetGiven | Op::TaskRepair) {
            let mut other = segment(&others).1;
            let pid = doom(&queue, Watched::new(other.share()));
            if self.op == Op::TaskGetGiven {
                ring.repair().expect("repaired");
                assert!(until(|| !other.ring().has(pid)), "repaired");
            }
        }
        if let Some(doomed) = &mut doomed {
            // Its item is lost; that of the other is redelivered.
            doomed.kill();
            given.remove(0);
        }
        let mut run = Run::new(page, watched, victim);
        let meanwhile = Rc::new(RefCell::new((Vec::new(), Vec::new())));
        let (other, notes) = (queue.clone(), Rc::clone(&meanwhile));
        run.wake = match self.op {
            Op::TaskGetEmpty => Some(Box::new(move || {
                let n = FIRST + notes.borrow().0.len() as u64;
                if other.try_put(n) {
                    notes.borrow_mut().0.push(n);
                }
            })),
            Op::TaskJoin => Some(Box::new(move || {
                if let Some(n) = other.try_get() {
                    notes.borrow_mut().1.push(n);
                    assert!(other.done(), "a task of ours");
                }
            })),
            _ => None,
        };
        let waits = self.op.has_tasks() && queue.unfinished() > 0 && doomed.is_none();
        let joiner = waits.then(|| start_joiner(&queue, &mut run.watched));
        let (taken, disturbed) = (Vec::new(), false);
        Stage { run, queue, ring, joiner, scene: self, given, taken, disturbed, meanwhile }
    }
}

fn start_joiner(queue: &Any, watched: &mut Watched) -> (Child, Page) {
    let page = Page::new();
    let child = Child::start(|| {
        let lost = queue.join();
        page.set(Page::VALUE, lost.map_or(u64::MAX, |lost| lost));
        page.set(Page::RETURNED, 1);
    });
    assert!(until(|| watched.ring().joiner_asleep() && child.sleeps()), "the joiner sleeps");
    (child, page)
}

/// Kills the victim where it stands, and closes the books.
fn after_death(stage: &mut Stage) -> Result<Seen, Fault> {
    let before = stage.run.watched.ring();
    let mut seen = Seen { image: before.hash(), ..Seen::default() };
    stage.run.victim.child.kill();
    repaired(stage)?;
    seen.paths = verdict::paths(&before, &stage.run.watched.ring());
    close(stage, &mut seen)?;
    Ok(seen)
}

fn repaired(stage: &mut Stage) -> Result<(), Fault> {
    let pid = stage.run.victim.child.pid;
    stage.ring.repair().or_else(|e| fault(Kind::Wrong, format!("repair: {e}")))?;
    let freed = until(|| !stage.run.watched.ring().has(pid));
    check(freed, Kind::Leaked, || "the victim's record is not free".into())
}

/// Others work on while the victim stands still; then it goes on, or is killed.
fn stopped(stage: &mut Stage, kill: bool) -> Result<Seen, Fault> {
    let there = stage.run.watched.ring();
    let pid = stage.run.victim.child.pid;
    stage.disturbed = true;
    let mut seen = Seen { image: there.hash(), ..Seen::default() };
    for n in OTHERS..OTHERS + 2 * stage.scene.slots + 2 {
        if stage.queue.try_put(n) {
            stage.given.push(n);
        }
        if n % 3 != 2
            && let Some(n) = stage.queue.try_get()
        {
            stage.taken.push(n);
            check(stage.queue.finish(), Kind::Wrong, || "a task of ours is none".into())?;
        }
    }
    let still = stage.run.watched.ring().has(pid) == there.has(pid);
    check(still, Kind::Wrong, || "a stopped process was buried".into())?;
    if kill {
        stage.run.victim.child.kill();
    } else {
        make_way(stage)?;
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

/// Gives a victim that goes on what it would wait for.
fn make_way(stage: &mut Stage) -> Result<(), Fault> {
    if stage.scene.op.gets() {
        let n = OTHERS - 1;
        if stage.queue.try_put(n) {
            stage.given.push(n);
        }
        return Ok(());
    }
    while let Some(n) = stage.queue.try_get() {
        stage.taken.push(n);
        check(stage.queue.finish(), Kind::Wrong, || "a task of ours is none".into())?;
    }
    Ok(())
}

/// Every item once, every task accounted for, and nothing left behind.
fn close(stage: &mut Stage, seen: &mut Seen) -> Result<(), Fault> {
    let op = stage.scene.op;
    let returned = stage.run.returned();
    let value = stage.run.page.get(Page::VALUE);
    stage.given.append(&mut stage.meanwhile.borrow_mut().0);
    stage.taken.append(&mut stage.meanwhile.borrow_mut().1);
    if op.puts() && returned && value == 1 {
        stage.given.push(ITS);
        stage.given.extend((op == Op::PutWords).then_some(ITS + 1));
    }
    if op.has_tasks() {
        let (count, len) = (stage.queue.unfinished(), stage.ring.len());
        check(count == len, Kind::Leaked, || format!("{count} unfinished, {len} inside"))?;
    }
    while let Some(n) = stage.queue.try_get() {
        stage.taken.push(n);
        check(stage.taken.len() < 64, Kind::Doubled, || format!("{:?}", stage.taken))?;
        check(stage.queue.finish(), Kind::Wrong, || "a task of ours is none".into())?;
    }
    check(stage.queue.is_empty(), Kind::Wrong, || "not empty".into())?;
    let mut set: BTreeSet<u64> = stage.taken.iter().copied().collect();
    check(set.len() == stage.taken.len(), Kind::Doubled, || format!("{:?}", stage.taken))?;
    let its = stage.run.page.logged();
    if returned && op.gets() {
        let new = its.iter().all(|n| *n != 0 && set.insert(*n));
        check(new && !its.is_empty(), Kind::Doubled, || format!("{its:?} again"))?;
    }
    // Of two words that were put, the first comes first.
    let second = op == Op::PutWords && set.contains(&ITS);
    let its_own = |n: u64| op.puts() && n == ITS || second && n == ITS + 1;
    let known = |n: &u64| stage.given.contains(n) || its_own(*n);
    let strange: Vec<&u64> = set.iter().filter(|n| !known(n)).collect();
    check(strange.is_empty(), Kind::Wrong, || format!("nobody put {strange:?}"))?;
    let missing: Vec<u64> = stage.given.iter().copied().filter(|n| !set.contains(n)).collect();
    // All of a batch, or none.
    let gone = missing.len();
    let may = match (op.gets() && !returned, op) {
        (false, _) => gone == 0,
        (true, op) if op.gets_many() && stage.disturbed => gone as u64 <= stage.scene.slots,
        (true, op) if op.gets_many() => gone == 0 || gone as u64 == stage.scene.inside,
        (true, _) => gone <= 1,
    };
    check(may, Kind::Lost, || format!("{missing:?} of {:?}, got {:?}", stage.given, stage.taken))?;
    seen.taken = gone > 0;
    if op.puts() {
        seen.done = Some(set.contains(&ITS));
    } else if op.gets() && op != Op::TaskGetEmpty {
        seen.done = Some(returned || gone > 0);
    }
    if op.has_tasks() {
        // What it held went with it. One that went on has said that it is done with that.
        let dead = stage.run.victim.child.was_killed();
        let held = if returned && dead { its.len() } else { 0 };
        tasks(stage, returned, (gone + held) as u64, seen)?;
    }
    rest(stage)
}

/// All are done, or lost and told: exactly those `of_taker` that a dead taker had.
fn tasks(stage: &mut Stage, returned: bool, of_taker: u64, seen: &mut Seen) -> Result<(), Fault> {
    let op = stage.scene.op;
    let Some(lost) = stage.queue.join() else {
        return fault(Kind::Hung, "tasks are unfinished for ever");
    };
    check(stage.queue.unfinished() == 0 && !stage.queue.done(), Kind::Leaked, || {
        "unfinished after the join".into()
    })?;
    let expected = match op {
        // One that was at work died before.
        Op::TaskRepair => 1..=1,
        _ if op.gets() => of_taker..=of_taker,
        Op::TaskDone => {
            seen.done = Some(lost == 0);
            0..=u64::from(!returned)
        }
        _ => 0..=0,
    };
    check(expected.contains(&lost), Kind::Wrong, || format!("{lost} lost, not {expected:?}"))?;
    let Some((child, page)) = &mut stage.joiner else { return Ok(()) };
    let ended = until(|| page.get(Page::RETURNED) == 1);
    check(ended, Kind::Hung, || "a joiner sleeps on".into())?;
    child.join().or_else(|e| fault(Kind::Hung, e))?;
    let told = page.get(Page::VALUE);
    check(told != u64::MAX, Kind::Hung, || "a joiner gave up".into())?;
    // It may have returned between two repairs.
    check(told <= lost, Kind::Wrong, || format!("{told} lost, and to others {lost}"))
}

/// As many as ever fit in, also for one who comes anew; nothing is left behind.
fn rest(stage: &mut Stage) -> Result<(), Fault> {
    let (queue, slots) = (&stage.queue, stage.scene.slots);
    let mut stranger = Child::start(|| {
        for n in 0..slots {
            assert!(queue.try_put(n), "room for {n} only");
        }
        assert!(!queue.try_put(slots), "room for one too many");
        for n in 0..slots {
            assert_eq!(queue.try_get(), Some(n));
            assert!(queue.finish(), "its task");
        }
        // Losses were told before.
        assert!(queue.try_get().is_none() && queue.join() == Some(0));
    });
    let code = stranger.join().or_else(|e| fault(Kind::Hung, e))?;
    check(code == 0, Kind::Leaked, || format!("one who came anew ended with {code}"))?;
    stage.ring.repair().or_else(|e| fault(Kind::Wrong, format!("repair: {e}")))?;
    let clean = |image: &Image| {
        image.participants().len() == 1
            && image.actors().len() == 1
            && image.count(image::EMPTY) == image.phases().len()
            && image.asleep() == [false; 2]
            && image.marks() & 7 == 0
    };
    let watched = &mut stage.run.watched;
    let good = until(|| clean(&watched.ring()));
    check(good, Kind::Leaked, || {
        let image = watched.ring();
        format!("{:?}, {:?}, {:?}", image.participants(), image.phases(), image.asleep())
    })
}

fn scenes(op: Op, full: bool) -> Vec<Scene> {
    let of = |slots| {
        let insides = match op {
            Op::Put | Op::PutCoded | Op::TaskPut => vec![slots - 1],
            Op::PutWords => vec![slots - 2],
            Op::TaskGetEmpty => vec![0],
            Op::TaskDone => vec![slots - 1],
            Op::TaskRepair => vec![slots],
            _ => vec![1, slots],
        };
        insides.into_iter().map(move |inside| Scene { op, slots, inside })
    };
    match op {
        // Two items at least.
        Op::TaskRepair | Op::PutWords => (2..=if full { 3 } else { 2 }).flat_map(of).collect(),
        _ if full => (1..=3).flat_map(of).collect(),
        // Long ones.
        Op::TaskGetGiven | Op::TaskGetLong | Op::TaskGrant => of(2).skip(1).collect(),
        Op::TaskGetMany | Op::GetWords => of(3).skip(1).collect(),
        _ => (1 + op as u64 % 2..=2 + op as u64 % 2).flat_map(of).collect(),
    }
}

/// Kills at every point of `op`, and prints the line.
pub(crate) fn operation(
    name: &str,
    op: Op,
    effort: Effort,
    paths: &mut BTreeMap<&'static str, usize>,
) -> bool {
    let mut tally = Tally::new(name);
    let effort = if op.is_long() { effort.for_long_calls() } else { effort };
    for scene in scenes(op, effort.full) {
        let found = survey(effort, &|| scene.set());
        tally.length(found.instructions, found.capped);
        for point in &found.points {
            let mut stage = scene.set();
            stage.run.go_to(*point);
            let place = stage.run.place();
            let result = after_death(&mut stage);
            tally.note(place, &format!("{scene:?}"), result);
        }
        tally.end_scene(&format!("{scene:?}"), true);
    }
    for (path, n) in &tally.paths {
        *paths.entry(path).or_default() += n;
    }
    tally.finish("kills")
}

/// Stops at every point of `op`; the victim goes on or dies.
pub(crate) fn stops(name: &str, op: Op, effort: Effort) -> bool {
    let mut tally = Tally::new(name);
    let effort = if op.is_long() { effort.for_long_calls() } else { effort };
    for scene in scenes(op, effort.full) {
        let found = survey(effort, &|| scene.set());
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
