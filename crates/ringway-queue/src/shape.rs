//! What a queue's segment says about it, beside the ring's own dimensions.

use ringway_core::segment::{Header, PARAMS};
use ringway_core::{Error, Result};

/// Indexes into the header's params. The ring's own begin at 0.
const FLAGS: usize = PARAMS - 2;
const LIMIT: usize = PARAMS - 1;

const UNBOUNDED: u64 = 1;
const JOINABLE: u64 = 2;
const SIMPLE: u64 = 4;
const TAGGED: u64 = 8;

/// Which of the three types it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Queue,
    JoinableQueue,
    SimpleQueue,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::JoinableQueue => "JoinableQueue",
            Self::SimpleQueue => "SimpleQueue",
        }
    }
}

/// The properties that everybody who opens the queue must share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) unbounded: bool,
    /// Whether the signature stands for a tag.
    pub(crate) tagged: bool,
    /// The most bytes of an encoding that are taken; a slot may set a lower limit.
    pub(crate) limit: Option<usize>,
}

impl Shape {
    /// Writes it to params of which the ring has filled the first.
    pub(crate) fn write(self, params: &mut [u64; PARAMS]) {
        let flag = |set, flag| if set { flag } else { 0 };
        params[FLAGS] = flag(self.unbounded, UNBOUNDED)
            | flag(self.kind == Kind::JoinableQueue, JOINABLE)
            | flag(self.kind == Kind::SimpleQueue, SIMPLE)
            | flag(self.tagged, TAGGED);
        // One more than the limit; 0 is none.
        params[LIMIT] = self.limit.map_or(0, |limit| (limit as u64).saturating_add(1));
    }

    /// Reads it from a validated header; the numbers in it are input all the same.
    pub(crate) fn read(header: &Header, label: &str) -> Result<Self> {
        let flags = header.params[FLAGS];
        let kind = match flags & (JOINABLE | SIMPLE) {
            0 => Kind::Queue,
            JOINABLE => Kind::JoinableQueue,
            SIMPLE => Kind::SimpleQueue,
            _ => return Err(Error::corrupted(label, "its kind of queue")),
        };
        if flags & !(UNBOUNDED | JOINABLE | SIMPLE | TAGGED) != 0 {
            return Err(Error::corrupted(label, "its kind of queue"));
        }
        let limit = header.params[LIMIT].checked_sub(1);
        Ok(Self {
            kind,
            unbounded: flags & UNBOUNDED != 0,
            tagged: flags & TAGGED != 0,
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        })
    }

    /// Checks that it is of the kind the caller wants.
    pub(crate) fn expect(&self, kind: Kind, label: &str) -> Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        let (expected, found) = (kind.name().into(), self.kind.name().into());
        Err(Error::Incompatible { object: label.into(), what: "kind of queue", expected, found })
    }
}
