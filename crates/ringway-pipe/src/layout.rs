//! What a pipe's segment holds after the header page.
//!
//! ```text
//! BODY +    0  end A      128 bytes   owner_pid u32 (a hint), presence u32 (named pipes),
//!                                     registered u32 (the barrier reaches its user),
//!                                     copies u32 (holders beside the first),
//!                                     pid_namespace u64 (of owner_pid), takes u32
//! BODY +  128  end B      128 bytes   the same
//! BODY +  256  to A       512 bytes   control block of the ring that B sends on
//! BODY +  768  to B       512 bytes   control block of the ring that A sends on; duplex
//! BODY + 4096  data       capacity    bytes of the ring to A
//!              data       capacity    bytes of the ring to B; duplex
//! ```
//!
//! Header parameters: 0 capacity of a ring in bytes, 1 number of rings, 2 how the other
//! end is reached, 3 which end the creator of a named pipe took.

use ringway_core::memory::{Memory, Word32, Word64};
use ringway_core::segment::{BODY, Header, Kind, PARAMS, Spec};
use ringway_core::spsc::{CONTROL_LEN, Direction, check_capacity};
use ringway_core::{Error, Result};

const END_LEN: u64 = 128;
const CONTROL: u64 = BODY + 2 * END_LEN;
const DATA: u64 = BODY + 4096;
const _: () = assert!(CONTROL + 2 * CONTROL_LEN <= DATA);

/// One of the two ends. A is what [`crate::simplex`] and [`crate::duplex`] return
/// first: the receiver of a one-way pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    A = 0,
    B = 1,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        if self == Self::A { Self::B } else { Self::A }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|side| *side as u64 == number)
    }
}

/// How an end reaches a process, and what tells that the other end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By descriptor; a token.
    Handed = 0,
    /// By name; the lock on the end's byte.
    Named = 1,
}

/// A pipe's shape, private and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) capacity: u64,
    pub(crate) duplex: bool,
    pub(crate) reach: Reach,
    pub(crate) creator: Side,
}

impl Shape {
    pub(crate) fn spec(&self, signature: u64) -> Spec {
        let rings = 1 + u64::from(self.duplex);
        let mut params = [0; PARAMS];
        params[0] = self.capacity;
        params[1] = rings;
        params[2] = self.reach as u64;
        params[3] = self.creator as u64;
        // The capacity is at most 2^40: no overflow.
        let body_len = DATA - BODY + rings * self.capacity;
        Spec { kind: Kind::Pipe, signature, params, body_len }
    }

    /// Reads the shape from a header that somebody else wrote.
    pub(crate) fn read(header: &Header, label: &str) -> Result<Self> {
        let wrong = |what| Error::corrupted(label, what);
        let [capacity, rings, reach, creator, ..] = header.params;
        if !check_capacity(capacity) || !(1..=2).contains(&rings) {
            return Err(wrong("its ring capacity or number of rings"));
        }
        if header.total_len != DATA + rings * capacity {
            return Err(wrong("its length does not fit its rings"));
        }
        let reach = match reach {
            0 => Reach::Handed,
            1 => Reach::Named,
            _ => return Err(wrong("how its ends are reached")),
        };
        let creator = Side::from_number(creator).ok_or_else(|| wrong("its creator's end"))?;
        Ok(Self { capacity, duplex: rings == 2, reach, creator })
    }

    /// The ring on which `side` receives, if it receives.
    pub(crate) fn ring_to(
        &self,
        memory: &Memory,
        side: Side,
        label: &str,
    ) -> Result<Option<Direction>> {
        let index = side as u64;
        if index == 1 && !self.duplex {
            return Ok(None);
        }
        let (control, data) = (CONTROL + index * CONTROL_LEN, DATA + index * self.capacity);
        Direction::new(memory, control, data, self.capacity)
            .map(Some)
            .map_err(|_| Error::corrupted(label, "a ring does not fit its segment"))
    }
}

/// The record of one end.
pub(crate) struct EndRecord {
    /// The process that last took the end, for messages.
    pub(crate) owner_pid: Word32,
    /// Of a named end: [`NEVER_OPENED`], [`OPENED`] or [`CLOSED`].
    pub(crate) presence: Word32,
    /// 1 if `membarrier` reaches the process that uses the end.
    pub(crate) registered: Word32,
    /// Holders that forks and hand-overs have added, less those that let go.
    pub(crate) copies: Word32,
    /// The inode of the pid namespace that `owner_pid` is a number in; 0 if unknown.
    pub(crate) pid_namespace: Word64,
    /// How often a process has taken the end.
    pub(crate) takes: Word32,
}

/// Nobody has opened this named end yet.
pub(crate) const NEVER_OPENED: u32 = 0;
/// Someone has; whether it still lives, its lock tells.
pub(crate) const OPENED: u32 = 1;
/// It was closed in order.
pub(crate) const CLOSED: u32 = 2;

impl EndRecord {
    pub(crate) fn new(memory: &Memory, side: Side, label: &str) -> Result<Self> {
        let at = BODY + side as u64 * END_LEN;
        let word = |at| memory.word32(at).map_err(|_| Error::corrupted(label, "it is too short"));
        Ok(Self {
            owner_pid: word(at)?,
            presence: word(at + 4)?,
            registered: word(at + 8)?,
            copies: word(at + 12)?,
            pid_namespace: memory
                .word64(at + 16)
                .map_err(|_| Error::corrupted(label, "it is too short"))?,
            takes: word(at + 24)?,
        })
    }
}
