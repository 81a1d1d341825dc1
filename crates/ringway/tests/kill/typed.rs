//! Typed queues of the kinds that are stepped, behind one face.

use super::child::PATIENCE;
use super::image::Watched;
use ringway_core::mpmc::SharedRing;
use ringway_core::segment::Segment;
use ringway_queue::{Builder, JoinError, JoinableQueue, Pod, Queue, WaitPolicy};
use std::os::fd::OwnedFd;

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
    TaskPut,
    TaskGet,
    /// Waiting.
    TaskGetEmpty,
    TaskDone,
    /// Waiting, if tasks are unfinished.
    TaskJoin,
}

impl Op {
    pub(crate) fn has_tasks(self) -> bool {
        !matches!(self, Self::Put | Self::Get | Self::PutCoded | Self::GetCoded)
    }
    pub(crate) fn puts(self) -> bool {
        matches!(self, Self::Put | Self::PutCoded | Self::TaskPut)
    }
    pub(crate) fn gets(self) -> bool {
        matches!(self, Self::Get | Self::GetCoded | Self::TaskGet | Self::TaskGetEmpty)
    }
}

/// A queue of one kind.
pub(crate) enum Any {
    Plain(Queue<Item, Pod>),
    Coded(Queue<Vec<u64>>),
    Tasks(JoinableQueue<Item, Pod>),
}

impl Clone for Any {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(queue) => Self::Plain(queue.clone()),
            Self::Coded(queue) => Self::Coded(queue.clone()),
            Self::Tasks(queue) => Self::Tasks(queue.clone()),
        }
    }
}

fn item(n: u64) -> Item {
    [0, 1, 2, 3, 4].map(|i| n.wrapping_mul(if i == 0 { 1 } else { 0x9E37_79B9 << i }))
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
            _ => Self::Tasks(builder().joinable_bounded(slots).expect("a queue")),
        }
    }

    pub(crate) fn put(&self, n: u64) -> bool {
        match self {
            Self::Plain(queue) => queue.put_timeout(item(n), PATIENCE).is_ok(),
            Self::Coded(queue) => queue.put_timeout(item(n).to_vec(), PATIENCE).is_ok(),
            Self::Tasks(queue) => queue.put_timeout(item(n), PATIENCE).is_ok(),
        }
    }

    pub(crate) fn try_put(&self, n: u64) -> bool {
        match self {
            Self::Plain(queue) => queue.try_put(item(n)).is_ok(),
            Self::Coded(queue) => queue.try_put(item(n).to_vec()).is_ok(),
            Self::Tasks(queue) => queue.try_put(item(n)).is_ok(),
        }
    }

    pub(crate) fn get(&self) -> Option<u64> {
        match self {
            Self::Plain(queue) => queue.get_timeout(PATIENCE).ok().map(|item| number(&item)),
            Self::Coded(queue) => queue.get_timeout(PATIENCE).ok().map(|item| number(&item)),
            Self::Tasks(queue) => queue.get_timeout(PATIENCE).ok().map(|item| number(&item)),
        }
    }

    pub(crate) fn try_get(&self) -> Option<u64> {
        match self {
            Self::Plain(queue) => queue.try_get().ok().map(|item| number(&item)),
            Self::Coded(queue) => queue.try_get().ok().map(|item| number(&item)),
            Self::Tasks(queue) => queue.try_get().ok().map(|item| number(&item)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Plain(queue) => queue.is_empty(),
            Self::Coded(queue) => queue.is_empty(),
            Self::Tasks(queue) => queue.is_empty(),
        }
    }

    /// Whether a task of this process was there to be done.
    pub(crate) fn done(&self) -> bool {
        matches!(self, Self::Tasks(queue) if queue.task_done().is_ok())
    }

    /// As [`done`](Self::done), and right where there are no tasks.
    pub(crate) fn finish(&self) -> bool {
        !matches!(self, Self::Tasks(_)) || self.done()
    }

    pub(crate) fn unfinished(&self) -> u64 {
        match self {
            Self::Tasks(queue) => queue.unfinished(),
            _ => 0,
        }
    }

    /// How many tasks were lost until all were done; `None` if they never are.
    pub(crate) fn join(&self) -> Option<u64> {
        let Self::Tasks(queue) = self else { return Some(0) };
        match queue.join_timeout(PATIENCE) {
            Ok(()) => Some(0),
            Err(JoinError::PeerDied { lost }) => Some(lost),
            Err(_) => None,
        }
    }
}

/// The ring of the only queue of this process, and its bytes.
pub(crate) fn segment() -> (SharedRing, Watched) {
    let open = || -> OwnedFd {
        let links = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
        let of_queue = links.filter(|link| {
            let target = std::fs::read_link(link.path()).unwrap_or_default();
            target.to_string_lossy().starts_with("/memfd:ringway-queue")
        });
        let path = of_queue.map(|link| link.path()).next().expect("the queue's memory");
        std::fs::OpenOptions::new().read(true).write(true).open(path).expect("readable").into()
    };
    let watched = Watched::new(open());
    let segment = Segment::from_fd(open()).expect("a segment");
    let signature = segment.header().signature;
    (SharedRing::open(segment, signature).expect("attached already"), watched)
}
