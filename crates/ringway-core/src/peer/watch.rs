//! One thread per process that learns when a peer is gone, so that blocked threads
//! can sleep in the futex and make no syscall of their own.
//!
//! It sleeps in `epoll_wait` on the tokens of all watched ends: one socket of a pair
//! each, which hangs up when the last holder of the other is gone, whether by close,
//! exit or SIGKILL, through fork, exec and descriptors in flight. The kernel closes
//! files after it has torn down the dead process's memory: a hang-up also proves that
//! no thread of it can still store. Ends without a token (opened by name) are asked
//! about every [`INTERVAL`].
//!
//! epoll, not poll: a thread in poll() keeps its files open, and closing a token
//! would not reach the peer until the watcher happened to wake up.

use super::spawn_quiet;
use crate::error::{Error, Result};
use crate::process::{generation, global, global::Global};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Weak;
use std::time::Duration;

/// How often ends without a token are asked about.
const INTERVAL: Duration = Duration::from_millis(50);
/// Tag of the descriptor that makes the thread look at its list again.
const KICK: u64 = 0;

/// Something whose peer may go.
pub trait Watched: Send + Sync {
    /// Asks the kernel whether the peer is gone. If it is, remembers that and wakes
    /// whoever waits for the peer. Runs on the watcher's thread; must not block.
    fn check_peer(&self) -> bool;
}

/// The process's watcher, part of the process-wide state.
pub(crate) struct Watcher {
    /// A forked child has the state but not the thread: it starts afresh.
    generation: u64,
    /// Both are closed only in a forked child, which does not have the thread.
    epoll: OwnedFd,
    kick: OwnedFd,
    targets: HashMap<u64, Target>,
    next: u64,
}

struct Target {
    watched: Weak<dyn Watched>,
    has_token: bool,
}

/// Keeps a watch alive. Drop it before the token is closed.
#[derive(Debug)]
pub struct Watch {
    id: u64,
    generation: u64,
}

/// Watches `target` until it is found gone or the [`Watch`] is dropped. With a token
/// the news comes at once, without one within 50 ms. Starts the thread when it is the
/// first of this process.
///
/// # Errors
///
/// [`Error::Os`] when descriptors or threads run out.
pub fn watch(target: Weak<dyn Watched>, token: Option<BorrowedFd<'_>>) -> Result<Watch> {
    let mut global = global::lock();
    let watcher = Watcher::of(&mut global)?;
    // A hang-up is reported whatever is asked for; once is enough.
    let flags = epoll::EventFlags::HUP | epoll::EventFlags::ONESHOT;
    watcher.add(target, token.map(|token| (token, flags)))
}

/// As [`watch`], until the process behind `pidfd` has ended.
///
/// # Errors
///
/// As there.
pub fn watch_process(target: Weak<dyn Watched>, pidfd: BorrowedFd<'_>) -> Result<Watch> {
    let mut global = global::lock();
    let watcher = Watcher::of(&mut global)?;
    // It is readable from the end of the process on.
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
    watcher.add(target, Some((pidfd, flags)))
}

impl Watch {
    /// Ends the watch. `token` is the descriptor that it was given.
    pub fn end(self, token: Option<BorrowedFd<'_>>) {
        let mut global = global::lock();
        let Some(watcher) = &mut global.watcher else { return };
        if watcher.generation != self.generation {
            // Inherited by fork: the thread and its list are the parent's.
            return;
        }
        watcher.targets.remove(&self.id);
        if let Some(token) = token {
            // Gone already if it was never added; nothing to do then.
            let _ = epoll::delete(&watcher.epoll, token);
        }
    }
}

impl Watcher {
    fn start() -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let tag = epoll::EventData::new_u64(KICK);
        epoll::add(&epoll, &kick, tag, epoll::EventFlags::IN)?;
        let fds = (epoll.as_raw_fd(), kick.as_raw_fd());
        spawn_quiet(move || run(fds))?;
        let generation = generation();
        Ok(Self { generation, epoll, kick, targets: HashMap::new(), next: KICK + 1 })
    }

    /// This process's own, started if need be.
    fn of(global: &mut Global) -> Result<&mut Self> {
        let watcher = match global.watcher.take() {
            Some(watcher) if watcher.generation == generation() => watcher,
            // None yet, or a copy of the parent's.
            _ => Self::start().map_err(|e| Error::os("start", "the watcher thread", e))?,
        };
        Ok(global.watcher.insert(watcher))
    }

    fn add(
        &mut self,
        target: Weak<dyn Watched>,
        source: Option<(BorrowedFd<'_>, epoll::EventFlags)>,
    ) -> Result<Watch> {
        let id = self.next;
        if let Some((fd, flags)) = source {
            let tag = epoll::EventData::new_u64(id);
            epoll::add(&self.epoll, fd, tag, flags)
                .map_err(|e| Error::os("watch", "the other end of a pipe", e))?;
        }
        self.next += 1;
        self.targets.insert(id, Target { watched: target, has_token: source.is_some() });
        if source.is_none() {
            kick(&self.kick);
        }
        Ok(Watch { id, generation: self.generation })
    }

    /// The targets with these tags, and those without a token.
    fn due(&self, tags: &[u64]) -> Vec<(u64, Weak<dyn Watched>)> {
        let due = |(id, target): (&u64, &Target)| {
            (!target.has_token || tags.contains(id)).then(|| (*id, Weak::clone(&target.watched)))
        };
        self.targets.iter().filter_map(due).collect()
    }

    fn polls(&self) -> bool {
        self.targets.values().any(|target| !target.has_token)
    }
}

/// The thread.
#[allow(unsafe_code, reason = "borrows two descriptors for ever")]
fn run((epoll, kick): (RawFd, RawFd)) -> ! {
    // SAFETY: the watcher that owns it is replaced only after a fork, in the child, which
    // has no such thread. Here it stays open as long as the process.
    let epoll = unsafe { BorrowedFd::borrow_raw(epoll) };
    // SAFETY: as above.
    let kick = unsafe { BorrowedFd::borrow_raw(kick) };
    let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
    let mut polls = false;
    loop {
        let interval = Timespec { tv_sec: 0, tv_nsec: i64::from(INTERVAL.subsec_nanos()) };
        events.clear();
        let spare = rustix::buffer::spare_capacity(&mut events);
        // An error is EINTR; the signals of this thread are blocked, so not even that.
        let _ = epoll::wait(epoll, spare, polls.then_some(&interval));
        let tags: Vec<u64> = events.iter().map(|event| event.data.u64()).collect();
        if tags.contains(&KICK) {
            let _ = rustix::io::read(kick, &mut [0; 8]);
        }
        let due = match &global::lock().watcher {
            Some(watcher) => watcher.due(&tags),
            None => Vec::new(),
        };
        // The state's lock is free while the targets look at their peers. They keep fork
        // waiting while they hold locks of their own.
        let gone = |watched: &Weak<dyn Watched>| watched.upgrade().is_none_or(|w| w.check_peer());
        let ended: Vec<u64> =
            due.iter().filter(|(_, watched)| gone(watched)).map(|(id, _)| *id).collect();
        if let Some(watcher) = &mut global::lock().watcher {
            for id in ended {
                watcher.targets.remove(&id);
            }
            polls = watcher.polls();
        }
    }
}

fn kick(eventfd: &impl AsFd) {
    // Refused only when 2^64 - 2 kicks are pending: then the thread wakes anyway.
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}
