//! What must hold on a ring after a death, whatever the victim was amidst.

use super::guarded;
use super::image::{self, Image};
use super::page::Page;
use super::rings::{self, BATCH, BYSTANDERS, Bystander, FIRST, ITS, Op, SENTINEL, Stage};
use super::tally::{Fault, Kind, Seen, check, fault};
use ringway_core::mpmc::{GetError, PutError, SharedRing};
use std::collections::BTreeSet;

/// Of a lease record: its getter copies what its slot holds.
const FILLING: u64 = 6;

/// Everything that went in and came out.
#[derive(Default)]
pub(crate) struct Books {
    /// Certainly in.
    pub(crate) given: Vec<u64>,
    /// Came out, in the order of this process's gets; others' before them.
    pub(crate) taken: Vec<u64>,
    /// Nobody else worked on the ring during the operation: a batch is as long as the
    /// scene says.
    pub(crate) undisturbed: bool,
}

/// Kills the victim where it stands and lets the survivors look after it. `alone`: no
/// new process comes; the bystander must notice by itself.
pub(crate) fn after_death(stage: &mut Stage, alone: bool) -> Result<Seen, Fault> {
    let pid = stage.run.victim.child.pid;
    // It stands still. Afterwards a bystander's guardian may be quicker than our look.
    let before = stage.run.watched.ring();
    stage.run.victim.child.kill();
    let mut seen = Seen { image: before.hash(), ..Seen::default() };
    // A lone guardian looks when it is told of somebody. One that dies before it has told,
    // once when it joined and once when it had a guardian, has a record and no more.
    let told = !guarded()
        || stage.scene.op != Op::Open
        || before.changes().wrapping_sub(stage.changes) >= 2;
    if alone && told && before.has(pid) {
        // One that got what it waited for has left.
        let left =
            |stage: &Stage| stage.bystander.iter().any(|(_, page)| page.get(Page::RETURNED) == 1);
        let stage = std::cell::RefCell::new(&mut *stage);
        let repaired = rings::until(|| {
            left(*stage.borrow()) || !stage.borrow_mut().run.watched.ring().has(pid)
        });
        check(repaired, Kind::Hung, || "no survivor noticed the death".into())?;
    }
    let ring = rings::open(&stage.ring_fd);
    // Another survivor's guardian may be at it still.
    let freed = rings::until(|| !stage.run.watched.ring().has(pid));
    let after = stage.run.watched.ring();
    check(freed, Kind::Leaked, || "the victim's record is not free".into())?;
    if before.has(pid) {
        // A killed waker wakes nobody, and a killed sleeper swallows a wake-up: after any
        // death both events move on.
        let moved =
            before.events().iter().zip(after.events()).all(|(a, b)| b.wrapping_sub(*a) << 2 != 0);
        check(moved, Kind::Hung, || "a death was not announced to the sleepers".into())?;
    }
    seen.paths = paths(&before, &after);
    let mut books = Books { undisturbed: true, ..Books::default() };
    books.given.extend(&stage.inside);
    books.given.extend(stage.put_meanwhile.borrow().iter());
    books.taken.extend(stage.taken_meanwhile.borrow().iter());
    settle(stage, &ring, &before, books, &mut seen)?;
    Ok(seen)
}

/// What repair had to do, and what it met.
pub(crate) fn paths(before: &Image, after: &Image) -> Vec<&'static str> {
    let mut paths = Vec::new();
    let mut note = |seen: bool, path| {
        if seen {
            paths.push(path);
        }
    };
    note(after.count(image::TOMB) > before.count(image::TOMB), "TOMB");
    note(after.count(image::REDELIVER) > before.count(image::REDELIVER), "REDELIVER");
    note(before.count(image::TAKEN) > 0, "TAKEN");
    note(!before.done().is_empty(), "FINISHED");
    note(before.count(image::FREEING) > 0, "FREEING");
    note(before.leases(image::TAKEN) > 0, "LEASED");
    note(before.leases(FILLING) > 0, "FILLING");
    note(after.blocks_used() < before.blocks_used(), "SWEPT");
    note(before.participants().iter().any(|r| r.standing == 2), "HALF-REPAIRED");
    paths
}

/// Waits for the bystander, empties the ring, and closes the books: every message once.
pub(crate) fn settle(
    stage: &mut Stage,
    ring: &SharedRing,
    before: &Image,
    mut books: Books,
    seen: &mut Seen,
) -> Result<(), Fault> {
    let returned = stage.run.returned();
    let value = stage.run.page.get(Page::VALUE);
    let op = stage.scene.op;
    let shut = ring.is_shut_down();
    if returned && [Op::Put, Op::TryPut].contains(&op) && value == ITS {
        books.given.push(ITS);
    }
    if returned && [Op::Get, Op::TryGet, Op::GetRef].contains(&op) && value != 0 {
        books.taken.push(value);
    }
    if returned && op == Op::PutMany {
        check(!books.undisturbed || value == stage.scene.batch(), Kind::Wrong, || {
            format!("a batch of {value}")
        })?;
        books.given.extend(ITS..ITS + value);
    }
    if op == Op::GetMany {
        let logged = stage.run.page.logged();
        check(!returned || logged.len() as u64 == value, Kind::Wrong, || format!("{logged:?}"))?;
        books.taken.extend(logged);
    }
    if [Op::Shutdown, Op::ShutdownNow].contains(&op) {
        check(shut || !returned, Kind::Wrong, || "a shutdown that returned is not there".into())?;
        seen.done = Some(shut);
    }
    wait_for_bystander(stage, ring, shut, &mut books)?;
    let others = books.taken.len();
    drain(ring, &mut books)?;
    close_books(stage, before, &books, others, returned, seen)?;
    check_records(stage, ring)?;
    if !shut {
        refill(ring)?;
    }
    check_rest(stage)
}

fn wait_for_bystander(
    stage: &mut Stage,
    ring: &SharedRing,
    shut: bool,
    books: &mut Books,
) -> Result<(), Fault> {
    let Some((child, page)) = &mut stage.bystander else { return Ok(()) };
    let done = || page.get(Page::RETURNED) == 1;
    // If what it waits for is there, it needs no more of us.
    let idle = || match stage.scene.bystander {
        Bystander::Putter => !shut && ring.is_full(),
        _ => !shut && ring.is_empty(),
    };
    check(rings::until(|| done() || idle()), Kind::Hung, || "a bystander was not woken".into())?;
    if !done() {
        match stage.scene.bystander {
            Bystander::Putter => match rings::get(ring, rings::soon()) {
                Ok(n) => books.taken.push(n),
                Err(e) => return fault(Kind::Hung, format!("nothing in a full ring: {e}")),
            },
            _ => match rings::put(ring, SENTINEL, rings::soon()) {
                Ok(()) => books.given.push(SENTINEL),
                Err(e) => return fault(Kind::Hung, format!("no room in an empty ring: {e}")),
            },
        }
    }
    check(rings::until(done), Kind::Hung, || "a bystander sleeps on".into())?;
    let code = child.join().or_else(|e| fault(Kind::Hung, e))?;
    check(code == 0, Kind::Wrong, || format!("the bystander ended with {code}"))?;
    if page.get(Page::VALUE) == 1 {
        books.given.push(BYSTANDERS);
    } else if stage.scene.bystander == Bystander::Putter {
        check(shut, Kind::Hung, || "the bystander could not put".into())?;
    }
    books.taken.extend(page.logged());
    Ok(())
}

fn drain(ring: &SharedRing, books: &mut Books) -> Result<(), Fault> {
    for _ in 0..64 {
        match rings::try_get(ring) {
            Ok(n) => books.taken.push(n),
            Err(GetError::Empty | GetError::ShutDown) => {
                return check(ring.is_empty(), Kind::Wrong, || {
                    format!("empty, but its length is {}", ring.len())
                });
            }
            Err(e) => return fault(Kind::Wrong, format!("get: {e}")),
        }
    }
    fault(Kind::Doubled, "more messages than were put")
}

fn close_books(
    stage: &Stage,
    before: &Image,
    books: &Books,
    others: usize,
    returned: bool,
    seen: &mut Seen,
) -> Result<(), Fault> {
    let set: BTreeSet<u64> = books.taken.iter().copied().collect();
    check(set.len() == books.taken.len(), Kind::Doubled, || format!("{:?}", books.taken))?;
    let op = stage.scene.op;
    let its = match op {
        Op::PutMany => ITS..ITS + BATCH,
        _ => ITS..ITS + 1,
    };
    let known = |n: &u64| books.given.contains(n) || (its.contains(n) && !returned);
    let strange: Vec<&u64> = set.iter().filter(|n| !known(n)).collect();
    check(strange.is_empty(), Kind::Wrong, || format!("nobody put {strange:?}"))?;
    let missing: Vec<u64> = books.given.iter().copied().filter(|n| !set.contains(n)).collect();
    let discards = op == Op::ShutdownNow;
    if !discards {
        let held: Vec<u64> = before.held().into_iter().filter(|n| !set.contains(n)).collect();
        check(held.is_empty(), Kind::Lost, || format!("{held:?} was in the ring at the death"))?;
        let may = match op {
            Op::Get | Op::TryGet | Op::GetRef if !returned => 1,
            Op::GetMany if !returned => usize::try_from(BATCH).unwrap_or(0),
            _ => 0,
        };
        check(missing.len() <= may, Kind::Lost, || {
            format!("{missing:?} of {:?}, got {:?}", books.given, books.taken)
        })?;
    }
    seen.taken = !missing.is_empty() && !discards;
    match op {
        Op::PutMany => {
            let there: Vec<bool> = its.clone().map(|n| set.contains(&n)).collect();
            check(there.is_sorted_by(|a, b| a >= b), Kind::Wrong, || {
                format!("not a prefix of the batch: {:?}", books.taken)
            })?;
            let whole = ITS + stage.scene.batch() - 1;
            seen.done = Some(set.contains(&whole));
        }
        Op::GetMany => {
            let all = stage.scene.batch();
            check(
                !books.undisturbed || missing.is_empty() || missing.len() as u64 == all,
                Kind::Lost,
                || format!("{missing:?} of a batch of {all}: neither all nor none"),
            )?;
            seen.done = Some(returned || seen.taken);
        }
        Op::Put | Op::TryPut => seen.done = Some(set.contains(&ITS)),
        Op::Get | Op::TryGet | Op::GetRef => {
            let got = returned && stage.run.page.get(Page::VALUE) != 0;
            seen.done = Some(got || seen.taken);
        }
        _ => {}
    }
    // In order, but for what was given back by one that died.
    let mut own = books.taken[others..].to_vec();
    // Each putter's own order; between putters only: behind what was there before.
    let alone = |n: &u64| {
        (its.contains(n) || [BYSTANDERS, SENTINEL].contains(n)) && !stage.inside.contains(n)
    };
    let last_inside = own.iter().rposition(|n| stage.inside.contains(n));
    let first_alone = own.iter().position(alone);
    let putting = [Op::Put, Op::TryPut, Op::PutMany].contains(&op);
    check(!putting || first_alone.is_none() || last_inside < first_alone, Kind::Wrong, || {
        format!("overtaken: {:?}", books.taken)
    })?;
    own.retain(|n| !alone(n));
    let order = |n: &u64| books.given.iter().position(|g| g == n);
    let late = own.iter().position(|n| before.slot_phase_of(*n) != Some(image::FULL));
    if own.is_sorted_by_key(order) {
        return Ok(());
    }
    if op == Op::GetMany {
        // The whole batch may come late.
        own.retain(|n| !(FIRST..FIRST + BATCH).contains(n));
    }
    if let Some(redelivered) = own.iter().position(|n| *n == FIRST).or(late) {
        own.remove(redelivered);
    }
    check(own.is_sorted_by_key(order), Kind::Wrong, || format!("order {:?}", books.taken))
}

/// Nobody but this process is left, with one actor for itself and one for its thread.
fn check_records(stage: &mut Stage, ring: &SharedRing) -> Result<(), Fault> {
    let image = stage.run.watched.ring();
    let records = image.participants();
    check(records.len() == 1 && ring.participants().len() == 1, Kind::Leaked, || {
        format!("participants {records:?}")
    })?;
    let actors = image.actors();
    let own = records.first().map(|record| record.id);
    check(actors.len() == 1 && actors.keys().next().copied() == own, Kind::Leaked, || {
        format!("actors {actors:?}")
    })?;
    check(actors.values().all(|n| *n <= 2), Kind::Leaked, || format!("actors {actors:?}"))
}

/// The ring takes as many as ever, not one more, and in order; twice.
fn refill(ring: &SharedRing) -> Result<(), Fault> {
    for round in 1..=2 {
        for n in 0..ring.capacity() {
            rings::try_put(ring, round * 1000 + n)
                .or_else(|e| fault(Kind::Leaked, format!("room for {n} only: {e}")))?;
        }
        check(ring.is_full() && ring.len() == ring.capacity(), Kind::Leaked, || {
            format!("full, with {} of {}", ring.len(), ring.capacity())
        })?;
        match rings::try_put(ring, 1) {
            Err(PutError::Full) => {}
            other => return fault(Kind::Wrong, format!("one too many: {other:?}")),
        }
        for n in 0..ring.capacity() {
            let got = rings::try_get(ring).ok();
            check(got == Some(round * 1000 + n), Kind::Wrong, || format!("refill gave {got:?}"))?;
        }
    }
    Ok(())
}

/// No slot, mark or sleeper's bit is left behind.
fn check_rest(stage: &mut Stage) -> Result<(), Fault> {
    let image = stage.run.watched.ring();
    check(image.count(image::EMPTY) == image.phases().len(), Kind::Leaked, || {
        format!("slots {:?}", image.phases())
    })?;
    check(image.blocks_used() == 0, Kind::Leaked, || format!("{} blocks", image.blocks_used()))?;
    check(image.leases_free(), Kind::Leaked, || "a lease record".into())?;
    // A getter that is told of a shut-down has no reason to tidy.
    let shut = image.enqueue_pos() >> 62 != 0;
    check(shut || image.marks() & 7 == 0, Kind::Leaked, || format!("marks {:#x}", image.marks()))?;
    check(shut || image.asleep() == [false; 2], Kind::Leaked, || {
        format!("sleepers' bits {:?}", image.asleep())
    })
}
