//! What can happen on a ring, and the scene for it: who is there, what is inside.

use super::child::{Child, PATIENCE, Traced};
use super::drive::{Point, Run, Staged};
use super::image::Watched;
use super::page::Page;
use ringway_core::mpmc::{Batch, GetError, Options, PutError, SharedRing};
use ringway_core::segment::{Place, Segment};
use ringway_core::wait::{Deadline, Spinner, WaitPolicy};
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The victim's message; those of its batch are this and the next.
pub(crate) const ITS: u64 = 999;
/// The most messages of a batch.
pub(crate) const BATCH: u64 = 3;
/// That of a bystander who waits for room.
pub(crate) const BYSTANDERS: u64 = 777;
/// What wakes a victim that waits for a message: this one, and those after it.
pub(crate) const WAKING: u64 = 888;
/// What wakes a bystander for whom nothing came.
pub(crate) const SENTINEL: u64 = 555;
/// The first message that was there before.
pub(crate) const FIRST: u64 = 100;

const SIGNATURE: u64 = 7;
/// So that a message has several words to be half written.
const PAYLOAD: usize = 40;
/// Bytes of a message in blocks: three of them at least, of two sizes if there are.
const LONG: usize = 1304;
/// Bytes for messages in blocks.
const POOL: u64 = 16 << 10;
const LEASES: u32 = 2;
pub(crate) const PARTICIPANTS: u32 = 6;

/// What the victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    TryPut,
    TryGet,
    PutMany,
    GetMany,
    /// Waiting, if the ring is full.
    Put,
    /// Waiting, if the ring is empty.
    Get,
    /// Takes a grant, reads it, releases it.
    GetRef,
    Open,
    Drop,
    Shutdown,
    ShutdownNow,
    /// Repairs whoever died before.
    Repair,
    /// The same, by the guardian's thread.
    Guard,
}

/// Who died before, amidst what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    /// A putter that has claimed and not committed.
    Putter,
    /// A getter that has claimed and not committed.
    Getter,
    /// One that got so far with a put.
    Put(Point),
    /// One that got so far with a get.
    Get(Point),
    /// One that got so far with a batch.
    PutMany(Point),
    GetMany(Point),
}

/// Who else is attached, from before the death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bystander {
    None,
    /// Asleep in a get.
    Getter,
    /// Asleep in a put.
    Putter,
}

/// How things stand when the victim begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) op: Op,
    pub(crate) slots: u64,
    /// Rounds that the victim has made already.
    pub(crate) laps: u64,
    /// Messages inside.
    pub(crate) inside: u64,
    pub(crate) doom: Option<Doom>,
    pub(crate) bystander: Bystander,
    /// Whether messages are too long for slots.
    pub(crate) long: bool,
}

/// A scene with everybody in place.
pub(crate) struct Stage {
    pub(crate) run: Run,
    pub(crate) ring_fd: Rc<OwnedFd>,
    pub(crate) scene: Scene,
    pub(crate) bystander: Option<(Child, Page)>,
    /// How often guardians were told of others.
    pub(crate) changes: u32,
    /// What was in the ring before the operation, in order.
    pub(crate) inside: Vec<u64>,
    /// Taken out by this process while the victim slept.
    pub(crate) taken_meanwhile: Rc<RefCell<Vec<u64>>>,
    /// Put by this process while the victim slept.
    pub(crate) put_meanwhile: Rc<RefCell<Vec<u64>>>,
}

impl Staged for Stage {
    fn run(&mut self) -> &mut Run {
        &mut self.run
    }
}

pub(crate) fn open(fd: &OwnedFd) -> SharedRing {
    let own = ringway_core::process::reopen(fd.as_fd()).expect("a description");
    SharedRing::open(Segment::from_fd(own).expect("a segment"), SIGNATURE).expect("attached")
}

/// A message: its number, and words that follow from it.
fn message(n: u64, ring: &SharedRing) -> Vec<u8> {
    let mut bytes = vec![0; length(ring)];
    for (i, word) in (0..).zip(bytes.chunks_exact_mut(8)) {
        let factor = if i == 0 { 1 } else { 0x9E37_79B9_u64.rotate_left(i) };
        word.copy_from_slice(&n.wrapping_mul(factor).to_le_bytes());
    }
    bytes
}

/// Bytes of a message: in rings of short slots they are in blocks.
fn length(ring: &SharedRing) -> usize {
    if ring.payload_size() < PAYLOAD { LONG } else { PAYLOAD }
}

/// The number of a message; another one if it is torn.
fn number(bytes: &[u8], ring: &SharedRing) -> u64 {
    let n = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    if message(n, ring) == *bytes { n } else { u64::MAX }
}

fn block() -> Spinner {
    Spinner::new(WaitPolicy::Block)
}

pub(crate) fn put(ring: &SharedRing, n: u64, deadline: Deadline) -> Result<(), PutError> {
    ring.put(&message(n, ring), &mut block(), deadline)
}

pub(crate) fn try_put(ring: &SharedRing, n: u64) -> Result<(), PutError> {
    ring.try_put(&message(n, ring))
}

pub(crate) fn get(ring: &SharedRing, deadline: Deadline) -> Result<u64, GetError> {
    let mut bytes = vec![0; length(ring)];
    ring.get(&mut bytes, &mut block(), deadline).map(|_| number(&bytes, ring))
}

pub(crate) fn try_get(ring: &SharedRing) -> Result<u64, GetError> {
    let mut bytes = vec![0; length(ring)];
    ring.try_get(&mut bytes).map(|_| number(&bytes, ring))
}

fn get_ref(ring: &SharedRing) -> Result<u64, GetError> {
    let grant = ring.try_get_ref()?;
    let mut bytes = vec![0; length(ring)];
    grant.read_at(0, &mut bytes).expect("a message of this length");
    grant.release();
    Ok(number(&bytes, ring))
}

/// The longest that anything may take.
pub(crate) fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Waits until `what` is true.
pub(crate) fn until(mut what: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !what() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    true
}

/// What a victim prepares, and its operation. Built in the child.
fn prepare(scene: Scene, fd: &OwnedFd) -> impl FnOnce(&Page) + use<> {
    let ring = (scene.op != Op::Open).then(|| open(fd));
    if let Some(ring) = &ring {
        for n in 0..scene.laps * scene.slots {
            put(ring, n, soon()).expect("room");
            assert_eq!(get(ring, soon()).ok(), Some(n));
        }
    }
    let file = ringway_core::process::reopen(fd.as_fd()).expect("a description");
    let mut batch = Batch::new();
    if let Some(ring) = &ring {
        (ITS..ITS + BATCH).for_each(|n| batch.push(&message(n, ring)));
    }
    move |page: &Page| {
        let said = match (scene.op, ring) {
            (Op::Open, _) => {
                let segment = Segment::from_fd(file).expect("a segment");
                let ring = SharedRing::open(segment, SIGNATURE).expect("attached");
                page.set(Page::RETURNED, 1);
                // Stays attached until it dies.
                std::mem::forget(ring);
                return;
            }
            (Op::Guard, _) | (_, None) => return,
            (Op::TryPut, Some(ring)) => (try_put(&ring, ITS).map(|()| ITS).ok(), Some(ring)),
            (Op::Put, Some(ring)) => {
                (put(&ring, ITS, Deadline::NEVER).map(|()| ITS).ok(), Some(ring))
            }
            (Op::TryGet, Some(ring)) => (try_get(&ring).ok(), Some(ring)),
            (Op::GetRef, Some(ring)) => (get_ref(&ring).ok(), Some(ring)),
            (Op::Get, Some(ring)) => (get(&ring, Deadline::NEVER).ok(), Some(ring)),
            (Op::PutMany, Some(ring)) => {
                (ring.try_put_many(&batch, 0).map(|many| many as u64).ok(), Some(ring))
            }
            (Op::GetMany, Some(ring)) => {
                // Its memory is there already: the operation is short.
                batch.clear();
                let got = ring.try_get_many(batch_len(), &mut batch, false);
                batch.iter().for_each(|bytes| page.log(number(bytes, &ring)));
                (got.map(|many| many as u64).ok(), Some(ring))
            }
            (Op::Drop, Some(ring)) => {
                drop(ring);
                (None, None)
            }
            (Op::Shutdown, Some(ring)) => (ring.shutdown(false).map(|()| 1).ok(), Some(ring)),
            (Op::ShutdownNow, Some(ring)) => (ring.shutdown(true).map(|()| 1).ok(), Some(ring)),
            (Op::Repair, Some(ring)) => (ring.repair().map(|()| 1).ok(), Some(ring)),
        };
        page.set(Page::VALUE, said.0.unwrap_or(0));
        page.set(Page::RETURNED, 1);
        if scene.op == Op::Drop {
            return;
        }
        // Where a victim that may go on leaves in order.
        LEAVING.set(said.1);
    }
}

fn batch_len() -> usize {
    usize::try_from(BATCH).expect("a small number")
}

thread_local! {
    static LEAVING: RefCell<Option<SharedRing>> = const { RefCell::new(None) };
}

/// Gives up what the operation left open. For victims that are let go.
pub(crate) fn leave() {
    LEAVING.set(None);
}

/// A victim whose guardian's thread is the one to be stepped.
fn guardian(scene: Scene, fd: &OwnedFd, page: &Page) -> Traced {
    let child = Child::start(|| {
        let ring = open(fd);
        for n in 0..scene.laps * scene.slots {
            put(&ring, n, soon()).expect("room");
            assert_eq!(get(&ring, soon()).ok(), Some(n));
        }
        page.set(Page::READY, 1);
        until(|| page.get(Page::CUE) == 1);
    });
    assert!(until(|| page.get(Page::READY) == 1), "the victim attaches");
    Traced::guardian(child)
}

/// Kills a process amidst a put or get, and leaves it unrepaired.
/// Its number.
pub(crate) fn doom(fd: &OwnedFd, doom: Doom) -> libc::pid_t {
    let (op, point) = match doom {
        Doom::Putter => (Op::TryPut, None),
        Doom::Getter => (Op::TryGet, None),
        Doom::Put(point) => (Op::TryPut, Some(point)),
        Doom::Get(point) => (Op::TryGet, Some(point)),
        Doom::PutMany(point) => (Op::PutMany, Some(point)),
        Doom::GetMany(point) => (Op::GetMany, Some(point)),
    };
    let scene = Scene {
        op,
        slots: 1,
        laps: 0,
        inside: 0,
        doom: None,
        bystander: Bystander::None,
        long: false,
    };
    let page = Page::new();
    let victim = Traced::start(&page, |_| prepare(scene, fd), leave);
    let mut run = Run::new(page, Watched::new(share(fd)), victim);
    if let Some(point) = point {
        run.go_to(point);
    } else {
        let positions = |run: &mut Run| {
            let image = run.watched.ring();
            (image.enqueue_pos(), image.dequeue_pos())
        };
        let before = positions(&mut run);
        while positions(&mut run) == before {
            run.victim.step();
            assert!(!run.returned(), "the doomed claims");
        }
    }
    run.victim.child.kill();
    run.victim.child.pid
}

fn share(fd: &OwnedFd) -> OwnedFd {
    ringway_core::process::reopen(fd.as_fd()).expect("a description")
}

impl Scene {
    /// How many messages the victim's batch has, if nobody gets in its way.
    pub(crate) fn batch(self) -> u64 {
        let tombs = u64::from(self.doom == Some(Doom::Putter));
        match self.op {
            // A tomb at the head makes way.
            Op::PutMany => (self.slots - self.inside).saturating_sub(tombs).clamp(1, BATCH),
            Op::GetMany => self.inside.min(BATCH),
            _ => 0,
        }
    }

    /// Puts everybody in place, the victim before its operation.
    pub(crate) fn set(self) -> Stage {
        let (payload, pool) = if self.long { (16, POOL) } else { (40, 0) };
        let options = Options {
            participants: PARTICIPANTS,
            actors: 16,
            leases: LEASES,
            pool,
            ..Options::new(self.slots, payload)
        };
        let ring = SharedRing::create(Place::Anonymous("kill"), &options, SIGNATURE);
        let ring = ring.expect("a ring");
        let fd = Rc::new(ring.share().expect("a description"));
        if self.op == Op::Guard {
            // The victim's guardian is to repair, and not ours.
            ring.set_guarded(false).expect("attached");
        }
        let page = Page::new();
        let victim = match self.op {
            Op::Guard => guardian(self, &fd, &page),
            _ => Traced::start(&page, |_| prepare(self, &fd), leave),
        };
        for n in 0..self.inside {
            put(&ring, FIRST + n, soon()).expect("room");
        }
        assert!(!self.long || ring.blocks_used() >= 3 * self.inside, "to be killed amidst them");
        if let Some(dead) = self.doom {
            let pid = doom(&fd, dead);
            if ![Op::Repair, Op::Guard, Op::Open].contains(&self.op) {
                ring.repair().expect("repaired");
                // Our guardian may be at it still.
                let mut watched = Watched::new(share(&fd));
                assert!(until(|| !watched.ring().has(pid)), "repaired");
            }
        }
        // This process leaves: whoever looks after the death comes anew.
        drop(ring);
        let watched = Watched::new(share(&fd));
        let mut run = Run::new(page, watched, victim);
        if self.op == Op::Guard {
            // The victim alone is left.
            run.over = Some(|image| image.participants().len() < 2);
        }
        let (taken_meanwhile, put_meanwhile) = (Rc::default(), Rc::default());
        run.wake = self.wake(&fd, &taken_meanwhile, &put_meanwhile);
        // One that died before may have left a message more, or one less.
        let mut inside = run.watched.ring().held();
        inside.sort_unstable();
        let bystander = self.start_bystander(&fd, &mut run.watched);
        let changes = run.watched.ring().changes();
        Stage {
            run,
            ring_fd: fd,
            scene: self,
            bystander,
            changes,
            inside,
            taken_meanwhile,
            put_meanwhile,
        }
    }

    /// What ends the sleep of a victim that waits.
    fn wake(
        self,
        fd: &Rc<OwnedFd>,
        taken: &Rc<RefCell<Vec<u64>>>,
        given: &Rc<RefCell<Vec<u64>>>,
    ) -> Option<Box<dyn FnMut()>> {
        let fd = Rc::clone(fd);
        match self.op {
            Op::Put if self.inside == self.slots => {
                let taken = Rc::clone(taken);
                Some(Box::new(move || {
                    // None if it is on its way already.
                    taken.borrow_mut().extend(try_get(&open(&fd)));
                }))
            }
            Op::Get if self.inside == 0 => {
                let given = Rc::clone(given);
                Some(Box::new(move || {
                    let n = WAKING + given.borrow().len() as u64;
                    if try_put(&open(&fd), n).is_ok() {
                        given.borrow_mut().push(n);
                    }
                }))
            }
            _ => None,
        }
    }

    fn start_bystander(self, fd: &OwnedFd, watched: &mut Watched) -> Option<(Child, Page)> {
        if self.bystander == Bystander::None {
            return None;
        }
        let page = Page::new();
        let child = Child::start(|| {
            let ring = open(fd);
            page.set(Page::READY, 1);
            match self.bystander {
                // For as long as it takes: its time begins before the victim is stepped, which
                // can last on a busy machine. Whoever waits for it afterwards has a deadline.
                Bystander::Putter => {
                    let done = put(&ring, BYSTANDERS, Deadline::NEVER).is_ok();
                    page.set(Page::VALUE, u64::from(done));
                }
                Bystander::Getter | Bystander::None => {
                    if let Ok(n) = get(&ring, Deadline::NEVER) {
                        page.log(n);
                    }
                }
            }
            page.set(Page::RETURNED, 1);
        });
        assert!(until(|| page.get(Page::READY) == 1), "the bystander attaches");
        let event = usize::from(self.bystander == Bystander::Putter);
        let end = Instant::now() + PATIENCE;
        while !(watched.ring().asleep()[event] && child.sleeps()) {
            assert!(Instant::now() < end, "the bystander goes to sleep");
            std::thread::sleep(Duration::from_micros(50));
        }
        Some((child, page))
    }
}
