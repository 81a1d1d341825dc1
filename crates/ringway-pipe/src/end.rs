//! One end of a pipe as this process holds it: who may use it, whether the other end
//! is still held, and how it ends.
//!
//! Three things of the kernel's say what no word in shared memory could say after a
//! SIGKILL:
//!
//! * the **token**, one socket of a pair per end, counts the holders of an end through
//!   fork, exec, descriptors in flight and death, as an OS pipe does. When the last
//!   holder is gone the other socket hangs up;
//! * the **lock** on the end's byte of the segment makes the process that uses an end
//!   its only user, until it lets go or dies;
//! * the [`watch`] tells of hang-ups without a syscall in the threads that wait.
//!
//! End of file waits for the token even where the active owner could be proven dead
//! earlier, before the teardown of its memory: a copy of the token may live on in a
//! process that no count of ours could know of (a raw `clone`, a descriptor in flight),
//! and a false end of file loses messages.
//!
//! An end is taken at its first use, not when it is made: a process can make both and
//! give them to children by plain fork.

use crate::error::OpenError;
use crate::layout::{CLOSED as PRESENCE_CLOSED, EndRecord, NEVER_OPENED, Reach, Shape, Side};
use crate::user::User;
use core::ops::{Deref, DerefMut};
use ringway_core::memory::Memory;
use ringway_core::peer::{Watch, Watched, watch};
use ringway_core::process::global::no_fork;
use ringway_core::process::{Copies, LockFile, generation, own_identity};
use ringway_core::spsc::Direction;
use ringway_core::sync::{AtomicU32, AtomicU64, Ordering, fence};
use ringway_core::wait::{Event, barrier};
use ringway_core::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// This end is closed or was handed over.
pub(crate) const CLOSED: u32 = 1;
/// The kernel said that nobody holds the other end.
pub(crate) const PEER_GONE: u32 = 2;

/// The halves of an end, each of which may use its ring in a thread of its own.
pub(crate) const SENDING: u32 = 1;
/// See [`SENDING`].
pub(crate) const RECEIVING: u32 = 2;
/// For a caller who has, or has seen the last of, each half.
pub(crate) const BOTH: u32 = SENDING | RECEIVING;

/// An end and everything of it that is not on the way of a message.
pub(crate) struct End {
    pub(crate) label: String,
    pub(crate) shape: Shape,
    pub(crate) side: Side,
    /// The ring this end receives on, and the one it sends on.
    pub(crate) incoming: Option<Direction>,
    pub(crate) outgoing: Option<Direction>,
    pub(crate) record: EndRecord,
    pub(crate) peer_record: EndRecord,
    /// Of which user of the other end this process would hear that it dies: the number of
    /// its taking plus one; 0 for none. See [`user`](crate::user).
    pub(crate) heard: AtomicU64,
    /// [`CLOSED`] and [`PEER_GONE`]. Private memory.
    state: AtomicU32,
    held: Mutex<Held>,
    /// The other end, if this process made both.
    sibling: OnceLock<Weak<End>>,
    /// How many [`Hold`]s there are.
    holds: AtomicU32,
}

/// A handle's hold of an end. The end closes with the last one, in the thread that drops
/// it. The watcher's references do not count: were it busy looking at this end's peer
/// while the user drops the end, the end would close a little later, in the watcher.
pub(crate) struct Hold(Arc<End>);

impl Hold {
    fn new(end: End) -> Self {
        // Relaxed: the end is new, nobody else has it.
        end.holds.store(1, Ordering::Relaxed);
        Self(Arc::new(end))
    }
}

impl Deref for Hold {
    type Target = Arc<End>;
    #[inline]
    fn deref(&self) -> &Arc<End> {
        &self.0
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        // Relaxed: `self` keeps the count above 0.
        self.0.holds.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // ORDERING end-holds (acq-rel): what other threads did with the end comes before its
        // close.
        if self.0.holds.fetch_sub(1, Ordering::AcqRel) == 1 {
            // No handle is left, so no half is.
            self.0.close(BOTH);
        }
    }
}

/// What the kernel knows this end by.
pub(crate) struct Held {
    segment: SegmentFd,
    token: Option<OwnedFd>,
    watch: Option<Watch>,
    copies: Option<Copies>,
    pub(crate) user: Option<User>,
    /// The fork generation in which this process made or received the end.
    born: u64,
    /// The one in which it took the lock; 0 for never.
    taken: u64,
    /// The halves that may be amidst a call, in this process: until they are not, the lock
    /// stays, also when the end is closed.
    using: u32,
}

/// The lock on [`Held`], which fork waits for: a child never finds it taken.
pub(crate) struct HeldGuard<'a> {
    held: MutexGuard<'a, Held>,
    _no_fork: MutexGuard<'static, ()>,
}

impl Deref for HeldGuard<'_> {
    type Target = Held;
    fn deref(&self) -> &Held {
        &self.held
    }
}

impl DerefMut for HeldGuard<'_> {
    fn deref_mut(&mut self) -> &mut Held {
        &mut self.held
    }
}

enum SegmentFd {
    /// Shares its description with copies made by fork: never to be locked.
    Plain(OwnedFd),
    /// A description of our own, for the lock.
    Lock(LockFile),
    Gone,
}

impl SegmentFd {
    fn locked(&mut self) -> Result<&LockFile> {
        if let Self::Plain(fd) = self {
            let lock = LockFile::open(fd.as_fd())?;
            *self = Self::Lock(lock);
        }
        match self {
            Self::Lock(lock) => Ok(lock),
            Self::Plain(_) | Self::Gone => Err(gone()),
        }
    }
}

fn gone() -> Error {
    Error::os("use", "a closed pipe end", rustix::io::Errno::BADF)
}

impl End {
    /// A new end, held once.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupted`] if the shape does not fit the memory.
    pub(crate) fn hold(
        memory: &Memory,
        shape: Shape,
        side: Side,
        segment: OwnedFd,
        token: Option<OwnedFd>,
        label: &str,
    ) -> Result<Hold> {
        let incoming = shape.ring_to(memory, side, label)?;
        let outgoing = shape.ring_to(memory, side.other(), label)?;
        let record = EndRecord::new(memory, side, label)?;
        // A copy of a named end cannot be used, and the peer does not wait for its holder.
        let copies = (shape.reach == Reach::Handed).then(|| {
            let theirs = outgoing.iter().map(|ring| ring.readable.clone());
            let ours = incoming.iter().map(|ring| ring.writable.clone());
            Copies::count(record.copies.clone(), theirs.chain(ours).collect())
        });
        Ok(Hold::new(Self {
            incoming,
            outgoing,
            record,
            peer_record: EndRecord::new(memory, side.other(), label)?,
            label: label.into(),
            shape,
            side,
            heard: AtomicU64::new(0),
            state: AtomicU32::new(0),
            held: Mutex::new(Held {
                segment: SegmentFd::Plain(segment),
                token,
                watch: None,
                copies,
                user: None,
                born: generation(),
                taken: 0,
                using: 0,
            }),
            sibling: OnceLock::new(),
            holds: AtomicU32::new(0),
        }))
    }

    /// Makes the two ends of a pipe that this process created known to each other.
    pub(crate) fn pair(a: &Arc<Self>, b: &Arc<Self>) {
        // Both cells are empty: the ends are new.
        let _ = a.sibling.set(Arc::downgrade(b));
        let _ = b.sibling.set(Arc::downgrade(a));
    }

    pub(crate) fn held(&self) -> HeldGuard<'_> {
        let no_fork = no_fork();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        HeldGuard { held, _no_fork: no_fork }
    }

    /// [`CLOSED`] and [`PEER_GONE`], or 0 while the pipe is whole.
    #[inline]
    pub(crate) fn state(&self) -> u32 {
        // ORDERING end-state (acquire): whoever sees PEER_GONE also sees what the kernel
        // ordered before it: the peer's last messages.
        self.state.load(Ordering::Acquire)
    }

    /// Becomes the only process that uses this end, for the half `half`, which must
    /// [`leave`](Self::leave) it. Cheap when it is already.
    ///
    /// # Errors
    ///
    /// [`OpenError::Closed`], [`OpenError::EndInUse`], [`OpenError::Engine`].
    pub(crate) fn take(self: &Arc<Self>, half: u32) -> Result<(), OpenError> {
        let inherited = {
            let mut held = self.held();
            if self.state() & CLOSED != 0 {
                return Err(OpenError::Closed);
            }
            if held.taken == generation() {
                held.using |= half;
                return Ok(());
            }
            let inherited = held.born != generation();
            if inherited && self.shape.reach == Reach::Named {
                return Err(self.refuse_copy(&mut held));
            }
            self.take_held(&mut held)?;
            // What a forebear's threads did with it does not count here.
            held.using = half;
            inherited
        };
        // Only now: a use that was refused says nothing about the other end.
        if inherited {
            self.drop_inherited_sibling();
        }
        Ok(())
    }

    fn take_held(self: &Arc<Self>, held: &mut Held) -> Result<(), OpenError> {
        let inherited = held.born != generation();
        let lock = held.segment.locked()?;
        if inherited && self.shape.reach == Reach::Named {
            // Only the lock holds a named end: the peer counts it as closed when the process
            // that opened it lets go. It cannot come back.
            return match lock.locked_by_another(self.side as u64) {
                Ok(true) => Err(OpenError::EndInUse { pid: self.owner() }),
                Ok(false) => Err(OpenError::Closed),
                Err(e) => Err(Error::os("lock", &self.label, e).into()),
            };
        }
        let taken =
            lock.try_lock(self.side as u64).map_err(|e| Error::os("lock", &self.label, e))?;
        if !taken {
            return Err(OpenError::EndInUse { pid: self.owner() });
        }
        // From now on this process wakes the peer's sleepers.
        // ORDERING pipe-registered (SeqCst): the word is in place before this process looks
        // at a sleeper bit for the first time. A sleeper that still read the answer of a
        // former user (pipe-registered, in `End::peer`) had set its bit before that
        // and is seen.
        self.record.registered.store(u32::from(barrier::registered()), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Relaxed: the kernel's lock orders users; for others it is a hint for messages.
        let pid = rustix::process::getpid().as_raw_pid().cast_unsigned();
        let former = self.record.owner_pid.load(Ordering::Relaxed);
        self.record.owner_pid.store(pid, Ordering::Relaxed);
        // Relaxed: as the number that follows.
        self.record.pid_namespace.store(own_identity().pid_namespace, Ordering::Relaxed);
        // ORDERING holder-copies (SeqCst): an RMW before the look at the sleepers' bits: one
        // that relied on the news of a former user's death looks again.
        self.record.takes.fetch_add(1, Ordering::SeqCst);
        self.wake_peer(Event::notify_all);
        if inherited {
            // The watcher that hears of the peer is the parent's.
            held.user = None;
            self.heard.store(0, Ordering::Relaxed);
        }
        if self.state() & PEER_GONE == 0 {
            let this: Weak<Self> = Arc::downgrade(self);
            match watch(this, held.token.as_ref().map(AsFd::as_fd)) {
                Ok(watch) => held.watch = Some(watch),
                Err(error) => {
                    // Who cannot use the end must not keep others from it.
                    if let SegmentFd::Lock(lock) = &held.segment {
                        let _ = lock.unlock(self.side as u64);
                    }
                    return Err(error.into());
                }
            }
        }
        held.born = generation();
        held.taken = generation();
        // A former user may have been killed after it sent or took something and before it
        // woke the peer, or while it took down the sleeper bit. It wrote its pid before that.
        if former != 0 {
            self.wake_peer(Event::broadcast);
        }
        Ok(())
    }

    /// Wakes, one way or the other, those who wait at the other end.
    fn wake_peer(&self, wake: fn(&Event)) {
        self.outgoing.iter().for_each(|ring| wake(&ring.readable));
        self.incoming.iter().for_each(|ring| wake(&ring.writable));
    }

    /// Whether some process uses the other end now, as the kernel says.
    pub(crate) fn peer_is_used(&self, held: &mut Held) -> Result<bool> {
        let lock = held.segment.locked()?;
        let other = self.side.other() as u64;
        lock.locked_by_another(other).map_err(|e| Error::os("ask for", &self.label, e))
    }

    /// Why a copy, made by fork, of an end that was opened by name cannot be used, not even
    /// after its owner: the peer may have seen that one go and never look again.
    fn refuse_copy(&self, held: &mut Held) -> OpenError {
        match held.segment.locked().map(|lock| lock.locked_by_another(self.side as u64)) {
            Ok(Ok(true)) => OpenError::EndInUse { pid: self.owner() },
            Ok(_) => OpenError::Closed,
            Err(error) => error.into(),
        }
    }

    /// A process that inherited copies of both ends by fork and uses one of them means
    /// to talk to whoever uses the other: its own copy of that one, still untouched,
    /// must not keep the pipe open.
    fn drop_inherited_sibling(&self) {
        let Some(sibling) = self.sibling.get().and_then(Weak::upgrade) else { return };
        let untouched = {
            let held = sibling.held();
            held.born != generation() && held.taken != generation()
        };
        if untouched {
            sibling.close(BOTH);
        }
    }

    /// The process that uses this end, as far as it said so.
    pub(crate) fn owner(&self) -> Option<u32> {
        match self.record.owner_pid.load(Ordering::Relaxed) {
            0 => None,
            pid => Some(pid),
        }
    }

    /// Closes this process's hold. Idempotent; wakes whoever waits, here and there. The
    /// caller knows that the halves in `idle` are in no call and will find the end closed.
    ///
    /// To the peer the end is closed at once. Who waits to use a copy of it gets its turn
    /// when the other half, too, has seen that it is closed: it may be copying a message,
    /// and two processes must never write to one place of a ring.
    pub(crate) fn close(&self, idle: u32) {
        let busy = {
            // Under the lock that fork waits for: a child's copy is open or closed, and
            // not one that counts as closed and still holds the token.
            let mut held = self.held();
            // ORDERING end-state (acq-rel): the first to close goes on alone.
            if self.state.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED != 0 {
                return;
            }
            held.user = None;
            let token = held.token.take();
            if let Some(watch) = held.watch.take() {
                watch.end(token.as_ref().map(AsFd::as_fd));
            }
            if self.shape.reach == Reach::Named && held.taken == generation() {
                // Relaxed: the departure below publishes it.
                self.record.presence.store(PRESENCE_CLOSED, Ordering::Relaxed);
            }
            held.using &= !idle;
            let busy = held.using != 0 && held.taken == generation();
            if !busy {
                held.segment = SegmentFd::Gone;
            }
            // Closing the token is the news: if no copy of it is left, the kernel now
            // tells the other end. It comes before the departure is counted, so that
            // whoever sees the count and asks the kernel gets the truth.
            drop(token);
            if !busy {
                // Not as long as it may publish something and be killed: then the death is
                // one that copies hide.
                held.copies = None;
            }
            busy
        };
        // ORDERING pipe-departure (SeqCst): an RMW before the look at the sleeper bits:
        // a peer that announced itself before it sees the departure when it looks
        // again (pipe-departure, load in `departed`).
        if let Some(ring) = &self.incoming {
            ring.reader_departures.fetch_add(1, Ordering::SeqCst);
            ring.writable.notify_all();
        }
        if let Some(ring) = &self.outgoing {
            // ORDERING pipe-departure (SeqCst): as above.
            ring.writer_departures.fetch_add(1, Ordering::SeqCst);
            ring.readable.notify_all();
        }
        if busy {
            // Who is in no call does not sleep here.
            self.wake_own();
        }
    }

    /// Wakes this end's own sleepers, whether or not their bit is there.
    pub(crate) fn wake_own(&self) {
        self.incoming.iter().for_each(|ring| ring.readable.broadcast());
        self.outgoing.iter().for_each(|ring| ring.writable.broadcast());
    }

    /// The half `half` will not touch its ring any more. The last one lets go of a closed
    /// end's lock.
    pub(crate) fn leave(&self, half: u32) {
        let mut held = self.held();
        if held.taken != generation() {
            // A copy made by fork: the parent's half has the lock.
            return;
        }
        held.using &= !half;
        if held.using == 0 && self.state() & CLOSED != 0 {
            held.segment = SegmentFd::Gone;
            held.copies = None;
        }
    }

    /// Whether a holder of the other end departed since `seen`.
    #[inline]
    pub(crate) fn news(&self, count: &AtomicU32, seen: u32) -> bool {
        // Relaxed: a message may cross with the news; `departed` is exact.
        count.load(Ordering::Relaxed) != seen
    }

    /// Whether nobody holds the other end, which a holder's departure, counted in
    /// `count`, is the occasion to ask. `seen` is the caller's memory of the count.
    #[inline]
    pub(crate) fn departed(&self, count: &AtomicU32, seen: &mut u32) -> bool {
        // ORDERING pipe-departure (SeqCst): stays behind the sleeper's announcement.
        let now = count.load(Ordering::SeqCst);
        if now != *seen {
            *seen = now;
            self.check_peer();
        }
        self.state() & PEER_GONE != 0
    }

    /// Whether the kernel says that nobody holds the other end.
    fn peer_is_gone(&self, held: &mut Held) -> bool {
        if let Some(token) = &held.token {
            let mut fds = [PollFd::new(token, PollFlags::empty())];
            let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            return poll(&mut fds, Some(&zero)).is_ok()
                && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
        }
        // ORDERING named-presence (acquire): a named peer's lock is taken before it says so,
        // and all it did comes before it says that it closed.
        match self.peer_record.presence.load(Ordering::Acquire) {
            NEVER_OPENED => false,
            PRESENCE_CLOSED => true,
            _ => match &held.segment {
                // An error leaves the question open until the next time.
                SegmentFd::Lock(lock) => {
                    matches!(lock.locked_by_another(self.side.other() as u64), Ok(false))
                }
                SegmentFd::Plain(_) | SegmentFd::Gone => false,
            },
        }
    }

    /// Duplicates of the segment and the token for another process. They hold the end
    /// as ours do; once they are on their way, the caller closes ours.
    ///
    /// # Errors
    ///
    /// [`OpenError::Closed`], [`OpenError::NamedEnd`], [`OpenError::Engine`].
    pub(crate) fn duplicate(&self) -> Result<[OwnedFd; 2], OpenError> {
        if self.shape.reach == Reach::Named {
            return Err(OpenError::NamedEnd);
        }
        let held = self.held();
        if self.state() & CLOSED != 0 {
            return Err(OpenError::Closed);
        }
        let share =
            |fd| ringway_core::process::reopen(fd).map_err(|e| Error::os("share", &self.label, e));
        let segment = match &held.segment {
            SegmentFd::Plain(fd) => share(fd.as_fd())?,
            SegmentFd::Lock(lock) => share(lock.as_fd())?,
            SegmentFd::Gone => return Err(OpenError::Closed),
        };
        let token = held.token.as_ref().ok_or_else(gone)?;
        let token = rustix::io::fcntl_dupfd_cloexec(token, 0)
            .map_err(|e| Error::os("share the token of", &self.label, e))?;
        // Before the other process can have it.
        if let Some(copies) = &held.copies {
            copies.raise();
        }
        Ok([segment, token])
    }

    /// For named ends: the moment this process is the end's only opener.
    pub(crate) fn presence(&self) -> &AtomicU32 {
        &self.record.presence
    }
}

impl Watched for End {
    fn check_peer(&self) -> bool {
        let gone = {
            let mut held = self.held();
            let gone = self.state() & CLOSED != 0 || self.peer_is_gone(&mut held);
            if gone {
                // ORDERING end-state (acq-rel): pairs with `state`.
                self.state.fetch_or(PEER_GONE, Ordering::AcqRel);
            }
            gone
        };
        if gone {
            // What they wait for will not come.
            self.wake_own();
        }
        gone
    }
}
