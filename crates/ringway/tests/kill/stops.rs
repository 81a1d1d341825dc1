//! Stopped and not dead: after any instruction a process may stand still, for ever so
//! long, while others go on. Nothing is repaired away from it; nobody waits without
//! end in a call that does not wait; and when it goes on or dies, the books close.

use super::Effort;
use super::drive::survey;
use super::image::Image;
use super::page::Page;
use super::rings::{self, Bystander, Doom, Op, Scene, Stage};
use super::tally::{Fault, Kind, Seen, Tally, check, fault};
use super::verdict::{Books, settle};
use ringway_core::mpmc::{GetError, PutError, SharedRing};
use std::collections::BTreeMap;

/// The first message of the others.
const OTHERS: u64 = 2000;

/// Puts and gets of others while the victim stands still.
fn work(ring: &SharedRing, books: &mut Books) -> Result<(), Fault> {
    for n in 0..2 * ring.capacity() + 2 {
        match rings::try_put(ring, OTHERS + n) {
            Ok(()) => books.given.push(OTHERS + n),
            Err(PutError::Full | PutError::Contended) => {}
            Err(e) => return fault(Kind::Wrong, format!("put: {e}")),
        }
        // As many as can be inside, now and then.
        if n % 3 == 2 {
            continue;
        }
        match rings::try_get(ring) {
            Ok(n) => books.taken.push(n),
            Err(GetError::Empty | GetError::Contended) => {}
            Err(e) => return fault(Kind::Wrong, format!("get: {e}")),
        }
    }
    Ok(())
}

/// Stops the victim where it stands, works on, and lets it go on or kills it.
fn stopped(stage: &mut Stage, kill: bool) -> Result<Seen, Fault> {
    let pid = stage.run.victim.child.pid;
    let attached = stage.run.watched.ring();
    let ring = rings::open(&stage.ring_fd);
    let mut books = Books::default();
    books.given.extend(&stage.inside);
    let mut seen = Seen { image: attached.hash(), ..Seen::default() };
    let was_there = attached.has(pid);
    work(&ring, &mut books)?;
    let there = stage.run.watched.ring().has(pid);
    check(there == was_there, Kind::Wrong, || "a stopped process was buried".into())?;
    finish(stage, &ring, books, &mut seen, kill)?;
    Ok(seen)
}

/// Ends the victim's part one way or the other, and closes the books.
fn finish(
    stage: &mut Stage,
    ring: &SharedRing,
    books: Books,
    seen: &mut Seen,
    kill: bool,
) -> Result<(), Fault> {
    let pid = stage.run.victim.child.pid;
    if kill {
        stage.run.victim.child.kill();
    } else {
        stage.run.page.set(Page::CUE, 1);
        stage.run.victim.release();
        let code = stage.run.victim.child.join().or_else(|e| fault(Kind::Hung, e))?;
        check(code == 0, Kind::Wrong, || format!("the victim ended with {code}"))?;
    }
    let before = stage.run.watched.ring();
    ring.repair().or_else(|e| fault(Kind::Wrong, format!("repair: {e}")))?;
    // This process's guardian may be at it still.
    let freed = rings::until(|| !stage.run.watched.ring().has(pid));
    check(freed, Kind::Leaked, || "the victim's record is not free".into())?;
    settle(stage, ring, &before, books, seen)?;
    // Where others worked on, the victim's effect comes and goes with theirs.
    seen.done = None;
    Ok(())
}

/// Stops at every point of every operation.
pub(crate) fn operation(name: &str, (op, long): (Op, bool), effort: Effort) -> bool {
    let mut tally = Tally::new(name);
    for slots in 1..=3 {
        let insides = match op {
            Op::TryPut | Op::PutMany | Op::Open => vec![0, slots - 1, 0],
            _ => vec![1, slots, slots],
        };
        let doom = matches!(op, Op::Repair | Op::Guard).then_some(Doom::Getter);
        for (laps, inside) in insides.into_iter().enumerate() {
            if !effort.full && !(laps as u64 + slots + op as u64).is_multiple_of(3) {
                continue;
            }
            let bystander = Bystander::None;
            let laps = laps as u64;
            let scene = Scene { op, slots, laps, inside, doom, bystander, long };
            let found = survey(effort, &|| scene.set());
            tally.length(found.instructions, found.capped);
            for (i, point) in found.points.iter().enumerate() {
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
    }
    tally.finish("stops")
}

/// A live process that stands still having announced the very position that a dead one
/// claimed: repair cannot tell them apart, tries again later, and buries the dead when
/// the live one has moved on.
pub(crate) fn rivals(paths: &mut BTreeMap<&'static str, usize>) -> bool {
    let mut tally = Tally::new("repair beside a rival");
    for slots in 1..=3 {
        for (op, doom, kind) in [(Op::TryPut, Doom::Putter, 1), (Op::TryGet, Doom::Getter, 2)] {
            for kill in [false, true] {
                let inside = u64::from(op == Op::TryGet);
                let bystander = Bystander::None;
                let scene =
                    Scene { op, slots, laps: 1, inside, doom: None, bystander, long: false };
                let mut stage = scene.set();
                let result = rival(&mut stage, doom, kind, kill);
                tally.note(stage.run.place(), &format!("{scene:?}, killed {kill}"), result);
            }
        }
    }
    let good = tally.finish("kills");
    for (path, n) in &tally.paths {
        *paths.entry(path).or_default() += n;
    }
    good
}

fn rival(stage: &mut Stage, doom: Doom, kind: u64, kill: bool) -> Result<Seen, Fault> {
    loop {
        let image = stage.run.watched.ring();
        let position = if kind == 1 { image.enqueue_pos() } else { image.dequeue_pos() };
        if image.announced(kind, position) {
            break;
        }
        check(!stage.run.returned(), Kind::Wrong, || "the rival announces nothing".into())?;
        stage.run.victim.step();
    }
    rings::doom(&stage.ring_fd, doom);
    let before = stage.run.watched.ring();
    let mut seen = Seen { image: before.hash(), ..Seen::default() };
    let ring = rings::open(&stage.ring_fd);
    // The rival's guardian, or this process.
    let half = |image: Image| image.participants().iter().any(|record| record.standing == 2);
    let retried = rings::until(|| half(stage.run.watched.ring()));
    check(retried, Kind::Wrong, || "the dead was buried beside a live rival".into())?;
    seen.paths.push("RETRY");
    let mut books = Books::default();
    books.given.extend(&stage.inside);
    work(&ring, &mut books)?;
    finish(stage, &ring, books, &mut seen, kill)?;
    Ok(seen)
}
