//! The guardian: one thread per process that hears of deaths at once, and repairs.
//!
//! # News
//!
//! Each participant has a `live` word in the segment. Its guardian writes its own
//! thread id there and registers the word with the kernel (`robust`): when the process
//! dies, however it dies, the kernel marks the word and wakes one sleeper. The
//! guardians of the others sleep on it, a tenth to half a millisecond away from the
//! kill, and on a word that tells of joiners. While all live, this costs nothing.
//!
//! # Proof
//!
//! News is not proof. The mark is set when the *guardian* of the dead process exits; a
//! thread of it that sits in a long system call may store into the segment for
//! milliseconds more. And anybody can forge a mark. So the mark is a reason to ask, and
//! [`Liveness::proven_dead`](super::Liveness::proven_dead) answers: the lock that the
//! kernel drops after the last store, or, earlier, [`Proof::Early`].
//!
//! # What if the one that was woken dies, or stops?
//!
//! If it dies, its own word wakes the next, who looks at everybody. Who sees a mark
//! first also wakes all others that sleep on it. A guardian that was stopped on its way
//! is made up for by the tick: each looks after all peers twice a second, and wakes
//! sleepers of its rings for whom something is there. A process without peers does not
//! tick.
//!
//! # Limits
//!
//! A thread can sleep on 128 words: one per peer *process*, then one per segment, for
//! joiners. The kernel walks 2048 registrations. What lies beyond is left to the tick.
//!
//! # Fork, exec
//!
//! A forked child has no guardian; its first attachment starts one. An exec ends the
//! guardian and closes the lock: it is a death. The thread blocks all signals, is named
//! `ringway-guard`, and holds no descriptor.

mod news;
mod robust;
mod thread;

pub(crate) use news::tell;
pub use news::{DeathEvent, DeathHook, Proof, set_death_hook};
pub(crate) use robust::{NodePage, Pair};
pub(crate) use thread::Round;

use super::{Live, spawn_quiet_as};
use crate::memory::{Heap, Memory, Word32};
use crate::process::generation;
use crate::process::global::{self, Global};
use crate::sync::AtomicBool;
use crate::sync::Ordering::{Relaxed, SeqCst};
use crate::wait;
use robust::List;
use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};

/// The thread's stack: its own work takes a few KiB, a death hook what it takes.
const STACK: usize = 256 << 10;

/// How a process hears of deaths. For the whole process; see [`configure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether attachments start the guardian thread. Without it, blocked calls look
    /// after the peers four times a second.
    pub guardian: bool,
    /// Whether threads that all exit prove a death before the lock is free.
    pub early_proof: bool,
    /// Whether the guardian looks after all peers twice a second. Without it, what
    /// nobody is told of, or what a stopped process was told of, waits for other calls.
    pub tick: bool,
}

impl Default for Settings {
    /// All on; the guardian off if the environment says `RINGWAY_GUARDIAN=off`, the early
    /// proof on other processors than x86-64.
    fn default() -> Self {
        let off = std::env::var_os("RINGWAY_GUARDIAN").is_some_and(|value| value == "off");
        Self { guardian: !off, early_proof: cfg!(target_arch = "x86_64"), tick: true }
    }
}

/// Chooses for this process, and children it forks. [`Settings::guardian`] is asked when
/// a ring is attached to; the others at every look.
pub fn configure(settings: Settings) {
    global::lock().settings = Some(settings);
}

/// What is in force.
pub fn settings() -> Settings {
    if let Some(settings) = global::lock().settings {
        return settings;
    }
    // The environment is read without the lock.
    let default = Settings::default();
    *global::lock().settings.get_or_insert(default)
}

/// How this process hears of deaths in one ring, and others of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchMode {
    /// The kernel tells at once, here and there.
    Instant,
    /// The guardian runs, but the system refused it something (a filter, an old kernel,
    /// too many segments): deaths of others, or its own to others, take up to 250 ms.
    Polling,
    /// No guardian: switched off, or no thread was to be had. Blocked calls look after
    /// the peers four times a second.
    Calls,
}

/// Whom the guardian looks after: one attachment's peers.
pub(crate) trait Guarded: Send + Sync {
    /// Looks after the peers that are marked, or after all when the round says so, and
    /// tells the round which words to sleep on. On the guardian's thread.
    fn look(&self, round: &mut Round);
}

/// The process's guardian, part of the process-wide state.
pub(crate) struct Guardian {
    /// A forked child has the state but not the thread: it starts afresh.
    generation: u64,
    shared: Arc<Shared>,
    list: List,
    /// Id of the thread in its pid namespace; 0 if the kernel refused the list.
    thread: u32,
    members: BTreeMap<u64, Weak<dyn Guarded>>,
    next: u64,
    /// Of attachments that ended, for the next.
    spare: Vec<Pair>,
}

/// How many pairs of pages are kept: programs that make and drop rings one after the other
/// need one.
const MOST_SPARE: usize = 4;

/// What the thread and the others use without the lock.
pub(crate) struct Shared {
    /// Changes when the members do.
    control: Word32,
    /// Whether the system refused to let the thread sleep on several words.
    deaf: AtomicBool,
    /// Whether the last round had more words than it could sleep on.
    crowded: AtomicBool,
}

/// A ring's place with the guardian. To be ended with [`Enrolment::end`].
pub(crate) struct Enrolment {
    id: u64,
    generation: u64,
    shared: Arc<Shared>,
    thread: u32,
    page: Option<NodePage>,
}

impl Guardian {
    fn start() -> std::io::Result<Self> {
        let control = Memory::new(Heap::new(8)).word32(0);
        let control = control.map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        let (deaf, crowded) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { control, deaf, crowded });
        let list = List::new();
        let (address, theirs) = (list.address(), Arc::clone(&shared));
        let (answer, asked) = sync_channel(1);
        spawn_quiet_as(c"ringway-guard", STACK, move || {
            let thread = match robust::register(address) {
                Ok(()) => rustix::thread::gettid().as_raw_pid().cast_unsigned(),
                Err(_) => 0,
            };
            let _ = answer.send(thread);
            thread::run(&theirs);
        })?;
        // It answers before it needs anything of ours.
        let thread = asked.recv().unwrap_or(0);
        let (generation, members) = (generation(), BTreeMap::new());
        Ok(Self { generation, shared, list, thread, members, next: 0, spare: Vec::new() })
    }

    /// This process's own, started if need be.
    fn of(global: &mut Global) -> std::io::Result<&mut Self> {
        let guardian = match global.guardian.take() {
            Some(guardian) if guardian.generation == generation() => guardian,
            // None yet, or a copy of the parent's.
            _ => Self::start()?,
        };
        Ok(global.guardian.insert(guardian))
    }
}

impl Shared {
    /// Makes the thread look at its members again.
    fn kick(&self) {
        // ORDERING guardian-control (SeqCst): the sleeper's system call compares the word
        // after this.
        self.control.fetch_add(1, SeqCst);
        wait::wake(&self.control, 1);
    }
}

/// Puts `target` under the guardian's eyes, and the `live` word behind `page` into the
/// kernel's. `None` if there can be no guardian.
pub(crate) fn enrol(target: Weak<dyn Guarded>, page: Option<NodePage>) -> Option<Enrolment> {
    let mut global = global::lock();
    let guardian = Guardian::of(&mut global).ok()?;
    let id = guardian.next;
    guardian.next += 1;
    let page = page.filter(|page| guardian.thread != 0 && guardian.list.link(id, page));
    guardian.members.insert(id, target);
    let (generation, shared) = (guardian.generation, Arc::clone(&guardian.shared));
    let thread = if page.is_some() { guardian.thread } else { 0 };
    Some(Enrolment { id, generation, shared, thread, page })
}

/// Pages that are ready for a [`NodePage`], if there are.
pub(crate) fn spare_pair() -> Option<Pair> {
    let mut global = global::lock();
    let guardian = global.guardian.as_mut().filter(|own| own.generation == generation())?;
    guardian.spare.pop()
}

impl Guardian {
    /// Keeps `pair`, unless there are enough.
    fn keep(&mut self, pair: Pair) {
        if self.spare.len() < MOST_SPARE {
            self.spare.push(pair);
        }
    }
}

impl Enrolment {
    /// What the `live` word is to hold: the thread, or 0 if the kernel will not mark it.
    pub(crate) fn live(&self) -> u32 {
        if self.thread == 0 { 0 } else { Live::of(self.thread) }
    }

    /// Starts the watch, after the `live` word was written.
    pub(crate) fn begin(&self) {
        self.shared.kick();
    }

    pub(crate) fn mode(&self) -> WatchMode {
        // Relaxed: it stands for itself.
        let deaf = self.shared.deaf.load(Relaxed);
        if deaf || self.page.is_none() { WatchMode::Polling } else { WatchMode::Instant }
    }

    /// Whether the guardian sleeps on every word it would like to.
    pub(crate) fn hears_all(&self) -> bool {
        // Relaxed: for people.
        !self.shared.deaf.load(Relaxed) && !self.shared.crowded.load(Relaxed)
    }

    /// Ends the watch. The `live` word is 0 already.
    pub(crate) fn end(self) {
        let own = |guardian: &&mut Guardian| {
            // Else inherited by fork: the thread and its list are the parent's.
            guardian.generation == self.generation && self.generation == generation()
        };
        if let Some(guardian) = global::lock().guardian.as_mut().filter(own) {
            guardian.list.unlink(self.id);
            guardian.members.remove(&self.id);
        }
        // Only now, when the kernel does not look into it any more.
        let pair = self.page.and_then(NodePage::let_go);
        if let (Some(pair), Some(guardian)) = (pair, global::lock().guardian.as_mut().filter(own)) {
            guardian.keep(pair);
        }
        // The thread lets go of the words it sleeps on, and so of the memory.
        self.shared.kick();
    }
}

impl Shared {
    fn note_deaf(&self, deaf: bool) {
        // Relaxed: it stands for itself.
        self.deaf.store(deaf, Relaxed);
    }

    fn note_crowded(&self, crowded: bool) {
        // Relaxed: for people.
        self.crowded.store(crowded, Relaxed);
    }
}
