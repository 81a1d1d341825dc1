//! Typed queues of the kinds that are stepped, behind one face.

use super::child::LONG_PATIENCE;
use super::image::Watched;
use ringway_core::mpmc::SharedRing;
use ringway_core::segment::Segment;
use ringway_queue::{Builder, JoinError, JoinableQueue, Pod, Queue, WaitPolicy};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Several words, to be half written.
type Item = [u64; 5];

/// What the victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    Get,
    /// With a serializer.
    PutCoded,
    GetCoded,
    /// Words, two in one call.
    PutWords,
    /// As many words as there are, at once.
    GetWords,
    TaskPut,
    TaskGet,
    /// One that another getter died with.
    TaskGetGiven,
    /// One that lies in blocks.
    TaskGetLong,
    /// As many as there are, at once.
    TaskGetMany,
    /// As a grant, which is released at once.
    TaskGrant,
    /// Waiting.
    TaskGetEmpty,
    TaskDone,
    /// Repairs one that died at work on a task, and one that died before it had its.
    TaskRepair,
    /// Waiting, if tasks are unfinished.
    TaskJoin,
}

impl Op {
    pub(crate) fn has_tasks(self) -> bool {
        let plain = matches!(self, Self::Put | Self::Get | Self::PutCoded | Self::GetCoded);
        !plain && !matches!(self, Self::PutWords | Self::GetWords)
    }
    pub(crate) fn puts(self) -> bool {
        matches!(self, Self::Put | Self::PutCoded | Self::PutWords | Self::TaskPut)
    }
    pub(crate) fn gets(self) -> bool {
        let plain = matches!(self, Self::Get | Self::GetCoded | Self::GetWords);
        plain || self == Self::TaskGetEmpty || self.takes_task()
    }
    /// Takes all that is there, or nothing.
    pub(crate) fn gets_many(self) -> bool {
        matches!(self, Self::GetWords | Self::TaskGetMany)
    }
    /// What matters comes late in it.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, Self::TaskGetLong | Self::TaskGetMany)
    }
    /// Takes a task that is there.
    pub(crate) fn takes_task(self) -> bool {
        let one = matches!(self, Self::TaskGet | Self::TaskGetGiven | Self::TaskGetLong);
        one || matches!(self, Self::TaskGetMany | Self::TaskGrant)
    }
}

/// A queue of one kind.
pub(crate) enum Any {
    Plain(Queue<Item, Pod>),
    Coded(Queue<Vec<u64>>),
    Words(Queue<u64, Pod>),
    Tasks(JoinableQueue<Item, Pod>),
    /// Longer than a slot.
    Long(JoinableQueue<Vec<u64>>),
}

impl Clone for Any {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(queue) => Self::Plain(queue.clone()),
            Self::Coded(queue) => Self::Coded(queue.clone()),
            Self::Words(queue) => Self::Words(queue.clone()),
            Self::Tasks(queue) => Self::Tasks(queue.clone()),
            Self::Long(queue) => Self::Long(queue.clone()),
        }
    }
}

fn item(n: u64) -> Item {
    [0, 1, 2, 3, 4].map(|i| n.wrapping_mul(if i == 0 { 1 } else { 0x9E37_79B9 << i }))
}

/// The same many times over.
fn long_item(n: u64) -> Vec<u64> {
    item(n).repeat(4)
}

fn long_number(words: &[u64]) -> u64 {
    match words.first() {
        Some(n) if words == long_item(*n) => *n,
        _ => u64::MAX,
    }
}

/// Its number; another one if it is torn.
fn number(words: &[u64]) -> u64 {
    match words.first() {
        Some(n) if words == item(*n) => *n,
        _ => u64::MAX,
    }
}

impl Any {
    pub(crate) fn create(op: Op, slots: u64) -> Self {
        let builder = || {
            let few = Builder::new().policy(WaitPolicy::Block).max_processes(6);
            few.max_threads(16).slot_size(96)
        };
        let slots = usize::try_from(slots).expect("a few");
        match op {
            Op::Put | Op::Get => Self::Plain(builder().bounded(slots).expect("a queue")),
            Op::PutCoded | Op::GetCoded => Self::Coded(builder().bounded(slots).expect("a queue")),
            Op::PutWords | Op::GetWords => {
                let builder = Builder::new().policy(WaitPolicy::Block).max_processes(6);
                Self::Words(builder.max_threads(16).bounded(slots).expect("a queue"))
            }
            Op::TaskGetLong => Self::Long(builder().joinable_bounded(slots).expect("a queue")),
            _ => Self::Tasks(builder().joinable_bounded(slots).expect("a queue")),
        }
    }

    pub(crate) fn put(&self, n: u64) -> bool {
        match self {
            Self::Plain(queue) => queue.put_timeout(item(n), LONG_PATIENCE).is_ok(),
            Self::Coded(queue) => queue.put_timeout(item(n).to_vec(), LONG_PATIENCE).is_ok(),
            Self::Words(queue) => queue.put_timeout(n, LONG_PATIENCE).is_ok(),
            Self::Tasks(queue) => queue.put_timeout(item(n), LONG_PATIENCE).is_ok(),
            Self::Long(queue) => queue.put_timeout(long_item(n), LONG_PATIENCE).is_ok(),
        }
    }

    pub(crate) fn try_put(&self, n: u64) -> bool {
        match self {
            Self::Plain(queue) => queue.try_put(item(n)).is_ok(),
            Self::Coded(queue) => queue.try_put(item(n).to_vec()).is_ok(),
            Self::Words(queue) => queue.try_put(n).is_ok(),
            Self::Tasks(queue) => queue.try_put(item(n)).is_ok(),
            Self::Long(queue) => queue.try_put(long_item(n)).is_ok(),
        }
    }

    pub(crate) fn get(&self) -> Option<u64> {
        match self {
            Self::Plain(queue) => queue.get_timeout(LONG_PATIENCE).ok().map(|item| number(&item)),
            Self::Coded(queue) => queue.get_timeout(LONG_PATIENCE).ok().map(|item| number(&item)),
            Self::Words(queue) => queue.get_timeout(LONG_PATIENCE).ok(),
            Self::Tasks(queue) => queue.get_timeout(LONG_PATIENCE).ok().map(|item| number(&item)),
            Self::Long(queue) => {
                queue.get_timeout(LONG_PATIENCE).ok().map(|item| long_number(&item))
            }
        }
    }

    /// Puts two words in one call.
    pub(crate) fn put_two(&self, n: u64) -> bool {
        let Self::Words(queue) = self else { return false };
        queue.put_many_timeout([n, n + 1], LONG_PATIENCE).is_ok()
    }

    /// Takes up to `max` items at once.
    pub(crate) fn get_many(&self, max: usize) -> Vec<u64> {
        if let Self::Words(queue) = self {
            let mut words = Vec::with_capacity(max);
            let _ = queue.get_many_timeout(&mut words, max, LONG_PATIENCE);
            return words;
        }
        let mut items = Vec::with_capacity(max);
        let Self::Tasks(queue) = self else { return Vec::new() };
        let _ = queue.get_many_timeout(&mut items, max, LONG_PATIENCE);
        items.iter().map(|item| number(item)).collect()
    }

    /// Takes one item as a grant, and releases that.
    pub(crate) fn get_ref(&self) -> Option<u64> {
        let Self::Tasks(queue) = self else { return None };
        let grant = queue.get_ref_timeout(LONG_PATIENCE).ok()?;
        let mut words = [0; 5];
        for (i, word) in words.iter_mut().enumerate() {
            *word = grant.load(8 * i).ok()?;
        }
        grant.release();
        Some(number(&words))
    }

    pub(crate) fn try_get(&self) -> Option<u64> {
        match self {
            Self::Plain(queue) => queue.try_get().ok().map(|item| number(&item)),
            Self::Coded(queue) => queue.try_get().ok().map(|item| number(&item)),
            Self::Words(queue) => queue.try_get().ok(),
            Self::Tasks(queue) => queue.try_get().ok().map(|item| number(&item)),
            Self::Long(queue) => queue.try_get().ok().map(|item| long_number(&item)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Plain(queue) => queue.is_empty(),
            Self::Coded(queue) => queue.is_empty(),
            Self::Words(queue) => queue.is_empty(),
            Self::Tasks(queue) => queue.is_empty(),
            Self::Long(queue) => queue.is_empty(),
        }
    }

    /// Whether a task of this process was there to be done.
    pub(crate) fn done(&self) -> bool {
        match self {
            Self::Tasks(queue) => queue.task_done().is_ok(),
            Self::Long(queue) => queue.task_done().is_ok(),
            _ => false,
        }
    }

    /// As [`done`](Self::done), and right where there are no tasks.
    pub(crate) fn finish(&self) -> bool {
        !matches!(self, Self::Tasks(_) | Self::Long(_)) || self.done()
    }

    pub(crate) fn unfinished(&self) -> u64 {
        match self {
            Self::Tasks(queue) => queue.unfinished(),
            Self::Long(queue) => queue.unfinished(),
            _ => 0,
        }
    }

    /// How many tasks were lost until all were done; `None` if they never are.
    pub(crate) fn join(&self) -> Option<u64> {
        let joined = match self {
            Self::Tasks(queue) => queue.join_timeout(LONG_PATIENCE),
            Self::Long(queue) => queue.join_timeout(LONG_PATIENCE),
            _ => return Some(0),
        };
        match joined {
            Ok(()) => Some(0),
            Err(JoinError::PeerDied { lost }) => Some(lost),
            Err(_) => None,
        }
    }
}

/// The queues of this process, by the inodes of their memory. A guardian may hold one for
/// a moment longer than its handles.
pub(crate) fn inodes() -> BTreeSet<u64> {
    descriptors().iter().filter_map(|path| Some(path.metadata().ok()?.ino())).collect()
}

fn descriptors() -> Vec<PathBuf> {
    let links = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let of_queue = |path: &PathBuf| {
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().starts_with("/memfd:ringway-queue")
    };
    links.map(|link| link.path()).filter(of_queue).collect()
}

/// The ring of this process's queue that is not among `others`, and its bytes.
pub(crate) fn segment(others: &BTreeSet<u64>) -> (SharedRing, Watched) {
    let open = || -> OwnedFd {
        let new = |path: &PathBuf| path.metadata().is_ok_and(|m| !others.contains(&m.ino()));
        let path = descriptors().into_iter().find(new).expect("the queue's memory");
        std::fs::OpenOptions::new().read(true).write(true).open(path).expect("readable").into()
    };
    let watched = Watched::new(open());
    let segment = Segment::from_fd(open()).expect("a segment");
    let signature = segment.header().signature;
    (SharedRing::open(segment, signature).expect("attached already"), watched)
}
