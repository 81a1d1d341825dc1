//! The words of the ring, their bits and predicates.

use super::position::POSITION_MASK;

/// The most participants: the owner field of a slot has 12 bits and 0 means nobody.
pub const MAX_PARTICIPANTS: u32 = 4095;

/// Flags of `enqueue_pos` above the position. In that word, so that the CAS of a put
/// that races with a shutdown fails.
pub(super) const SHUTDOWN: u64 = 1 << 63;
/// As [`SHUTDOWN`], and what is in the ring is to be discarded.
pub(super) const IMMEDIATE: u64 = 1 << 62;

/// What a slot's position has come to. One position passes through them in this order:
///
/// ```text
/// EMPTY ─ put ────────────→ FULL ─ get ──────────────────────────→ EMPTY of the next lap
///   │                        │ ├─ get of blocks → TAKEN → FREEING →┤
///   │ putter died            │ │ getter died      ↓ ↑              │
///   └────────→ TOMB ─ get ───│─│──────────────────│─│──────────────┘
///                            └─┴───────────→ REDELIVER
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Free for the put of this lap, or claimed by one that has not committed yet.
    Empty = 0,
    /// A committed message.
    Full = 1,
    /// The putter died before it committed. Getters skip it.
    Tomb = 2,
    /// A getter copies a redelivered message, or one in blocks. The word names it.
    Taken = 3,
    /// The getter died before it committed. Any getter may take it.
    Redeliver = 4,
    /// A getter has committed and gives blocks back. The word names it.
    Freeing = 5,
    /// Of a lease record only: a getter copies what its slot holds. The word names it.
    Filling = 6,
}

/// The state word of a slot: `lap:48 | owner:12 | phase:4`. The zero word is EMPTY of
/// lap 0: a fresh segment is a ready ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(pub u64);

impl State {
    const PHASE_BITS: u32 = 4;
    const OWNER_BITS: u32 = 12;
    const LAP_SHIFT: u32 = Self::PHASE_BITS + Self::OWNER_BITS;

    /// `phase` of `lap`, owned by nobody.
    #[inline]
    pub fn of(phase: Phase, lap: u64) -> Self {
        Self(lap << Self::LAP_SHIFT | phase as u64)
    }

    /// `phase` of `lap`, owned by participant `owner`.
    #[inline]
    pub fn owned(phase: Phase, lap: u64, owner: u32) -> Self {
        Self(Self::of(phase, lap).0 | u64::from(owner) << Self::PHASE_BITS)
    }

    /// The phase, unless the memory is corrupted.
    #[inline]
    pub fn phase(self) -> Option<Phase> {
        use Phase::{Empty, Filling, Freeing, Full, Redeliver, Taken, Tomb};
        let bits = self.0 & ((1 << Self::PHASE_BITS) - 1);
        [Empty, Full, Tomb, Taken, Redeliver, Freeing, Filling]
            .into_iter()
            .find(|p| *p as u64 == bits)
    }

    /// The participant that owns the slot; 0 for nobody.
    #[inline]
    pub fn owner(self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "12 bits")]
        let owner = (self.0 >> Self::PHASE_BITS & ((1 << Self::OWNER_BITS) - 1)) as u32;
        owner
    }

    /// The lap.
    #[inline]
    pub fn lap(self) -> u64 {
        self.0 >> Self::LAP_SHIFT
    }
}

/// What a slot holds: `len:32 | kind:8 | attempts:8 | flags:16`, from the low bits up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta(pub u64);

impl Meta {
    /// The kind of a message whose bytes are in the slot.
    pub const INLINE: u8 = 0;
    /// The kind of a message whose bytes are in blocks that the slot names.
    pub const BLOCKS: u8 = 1;
    /// The kind of a message whose bytes come through a record that the slot names.
    pub const STREAM: u8 = 2;

    /// `len` bytes in the slot.
    #[inline]
    pub fn inline(len: u32) -> Self {
        Self(u64::from(len))
    }

    /// A message in blocks. Its length stands beside their names.
    pub fn blocks() -> Self {
        Self(u64::from(Self::BLOCKS) << 32)
    }

    /// A message that is streamed. Its length stands beside its name.
    pub fn stream() -> Self {
        Self(u64::from(Self::STREAM) << 32)
    }

    /// Bytes of the message, if they are in the slot.
    #[inline]
    pub fn len(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    /// Whether the message has just `len` bytes, in the slot.
    #[inline]
    pub fn is_inline(self, len: usize) -> bool {
        // Length and kind at once; those who died with it are not asked for.
        self.0 & 0xFF_FFFF_FFFF == len as u64 && len as u64 <= u64::from(u32::MAX)
    }

    /// Whether the message has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Where the bytes are.
    #[inline]
    pub fn kind(self) -> u8 {
        self.0.to_le_bytes()[4]
    }

    /// How many getters have died with it.
    #[inline]
    pub fn attempts(self) -> u8 {
        self.0.to_le_bytes()[5]
    }

    /// The same after one more getter has died with it. Stays at 255.
    pub(super) fn tried_again(self) -> Self {
        let attempts = u64::from(self.attempts().saturating_add(1));
        Self(self.0 & !(0xFF << 40) | attempts << 40)
    }
}

/// What an actor is about to claim: `position:62 | kind:2`. A batch has a count beside it
/// and covers the positions from this one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement(pub u64);

impl Announcement {
    /// Nothing.
    pub const IDLE: Self = Self(0);
    const PUT: u64 = 1;
    const GET: u64 = 2;
    const DONE: u64 = 3;

    /// About to put at `position`.
    #[inline]
    pub fn put(position: u64) -> Self {
        Self(position << 2 | Self::PUT)
    }

    /// About to get from `position`.
    #[inline]
    pub fn get(position: u64) -> Self {
        Self(position << 2 | Self::GET)
    }

    /// The batch from `position` on is committed as taken, and its slots are being
    /// released.
    #[inline]
    pub fn done(position: u64) -> Self {
        Self(position << 2 | Self::DONE)
    }

    /// The position, if this announces a put.
    pub fn as_put(self) -> Option<u64> {
        (self.0 & 3 == Self::PUT).then_some(self.0 >> 2 & POSITION_MASK)
    }

    /// The position, if this announces a get.
    pub fn as_get(self) -> Option<u64> {
        (self.0 & 3 == Self::GET).then_some(self.0 >> 2 & POSITION_MASK)
    }

    /// The position, if this announces a batch that was taken.
    pub fn as_done(self) -> Option<u64> {
        (self.0 & 3 == Self::DONE).then_some(self.0 >> 2 & POSITION_MASK)
    }
}

/// The word beside `dequeue_pos` that getters look at first: what else there is to do.
/// `generation:60 | SHUTDOWN | TOMBS | DISCARD | REDELIVER`. The generation grows with every mark
/// set, so that one taking a mark down cannot take down a newer one with it.
pub(super) mod marks {
    /// A slot may be in REDELIVER.
    pub(in super::super) const REDELIVER: u64 = 1;
    /// Once IMMEDIATE is set, too, what is there is to be thrown away. Marked first.
    pub(in super::super) const DISCARD: u64 = 2;
    /// A slot may be a TOMB.
    pub(in super::super) const TOMBS: u64 = 4;
    /// The ring may be shut down: marked before the flag, which putters' word has and which counts.
    /// For getters: a look at that word takes its line from the putters, who change it all the time.
    pub(in super::super) const SHUTDOWN: u64 = 8;
    /// One step of the generation.
    pub(in super::super) const STEP: u64 = 16;
}
