//! A ring's segment as bytes: what a death left, read without the ring's own code.
//!
//! The offsets are those that `docs/segment-layout.md` documents.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

const PARAMS: usize = 48;
const BODY: usize = 4096;
const LINE: usize = 128;
const DEQUEUE_POS: usize = BODY + LINE;
const MARKS: usize = DEQUEUE_POS + 8;
const NOT_EMPTY: usize = BODY + 2 * LINE;
const NOT_FULL: usize = BODY + 3 * LINE;
const TASKS_DONE: usize = BODY + 5 * LINE;
const CHANGES: usize = TASKS_DONE + 64;
/// Which parameter is the number of stream records.
const STREAMS: usize = 11;
/// Bytes of a stream record.
const STREAM: usize = 3 * LINE;
const PARTICIPANTS: usize = BODY + 6 * LINE;

pub(crate) const EMPTY: u64 = 0;
pub(crate) const FULL: u64 = 1;
pub(crate) const TOMB: u64 = 2;
pub(crate) const TAKEN: u64 = 3;
pub(crate) const REDELIVER: u64 = 4;
pub(crate) const FREEING: u64 = 5;

/// The kind of a message in blocks.
const BLOCKS: u64 = 1;

/// The kind of an announcement: a batch that was taken.
const DONE: u64 = 3;

/// Somebody may be asleep.
const ASLEEP: u32 = 1;

/// A segment's file, and what was in it when last looked at.
pub(crate) struct Watched {
    file: std::fs::File,
    last: Vec<u8>,
    now: Vec<u8>,
}

impl Watched {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let file = std::fs::File::from(fd);
        let len = usize::try_from(file.metadata().expect("a file").len()).expect("a length");
        let mut watched = Self { file, last: vec![0; len], now: vec![0; len] };
        watched.changed();
        watched
    }

    /// Another descriptor.
    pub(crate) fn share(&self) -> OwnedFd {
        self.file.try_clone().expect("a descriptor").into()
    }

    /// Whether a byte differs from the last look.
    pub(crate) fn changed(&mut self) -> bool {
        self.file.read_exact_at(&mut self.now, 0).expect("a whole segment");
        let changed = self.now != self.last;
        if changed {
            std::mem::swap(&mut self.now, &mut self.last);
        }
        changed
    }

    /// The bytes now.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        self.changed();
        self.last.clone()
    }

    /// Which words differ from `base`, as one number.
    pub(crate) fn touched(&mut self, base: &[u8]) -> u64 {
        self.changed();
        let words = self.last.chunks(8).zip(base.chunks(8)).enumerate();
        let mut hasher = DefaultHasher::new();
        words.filter(|(_, (now, then))| now != then).for_each(|(at, _)| at.hash(&mut hasher));
        hasher.finish()
    }

    /// The bytes now, as those of a ring.
    pub(crate) fn ring(&mut self) -> Image {
        Image { bytes: self.bytes() }
    }
}

/// A copy of a ring's segment.
pub(crate) struct Image {
    bytes: Vec<u8>,
}

/// A participant record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) standing: u64,
    pub(crate) pid: u64,
}

impl Image {
    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("8 bytes"))
    }

    fn param(&self, index: usize) -> usize {
        usize::try_from(self.word(PARAMS + 8 * index)).expect("a small number")
    }

    fn slots(&self) -> usize {
        self.param(0)
    }

    fn actors_at(&self) -> usize {
        PARTICIPANTS + self.param(2) * LINE
    }

    fn slots_at(&self) -> usize {
        self.actors_at() + self.param(3) * LINE
    }

    fn leases_at(&self) -> usize {
        (self.slots_at() + self.slots() * self.param(1)).next_multiple_of(64)
    }

    fn lease_size(&self) -> usize {
        self.param(1).next_multiple_of(64) + 64
    }

    fn leases_end(&self) -> usize {
        self.leases_at() + self.param(4) * self.lease_size()
    }

    fn stream_at(&self, index: usize) -> usize {
        self.leases_end().next_multiple_of(LINE) + index * STREAM
    }

    /// How many stream records are in use.
    pub(crate) fn streams_used(&self) -> usize {
        let used = |index: &usize| self.word(self.stream_at(*index)) & 15 != 0;
        (0..self.param(STREAMS)).filter(used).count()
    }

    /// Whether a stream was taken, and its putter or its getter is not done with it.
    pub(crate) fn has_half_done_stream(&self) -> bool {
        (0..self.param(STREAMS)).any(|index| self.word(self.stream_at(index)) & 15 > 1)
    }

    fn owners_at(&self) -> usize {
        let end = match self.param(STREAMS) {
            0 => self.leases_end(),
            streams => self.stream_at(streams),
        };
        end.next_multiple_of(64)
    }

    /// Blocks of each class, the largest first, and bytes of each.
    fn classes(&self) -> [(usize, usize); 4] {
        let small = self.param(5);
        [(6, 7), (7, 4), (8, 2), (9, 0)].map(|(count, shift)| (self.param(count), small << shift))
    }

    fn blocks(&self) -> usize {
        self.classes().iter().map(|class| class.0).sum()
    }

    /// Blocks that are not free.
    pub(crate) fn blocks_used(&self) -> usize {
        let owner = |block| self.word(self.owners_at() + 16 * block) & 0xFF_FFFF;
        (0..self.blocks()).filter(|block| owner(*block) != 0).count()
    }

    /// The first word of a block.
    fn block(&self, mut number: usize) -> u64 {
        // 128 bytes behind a page.
        let owners_end = self.owners_at() + 16 * self.blocks();
        let mut at = owners_end.saturating_sub(128).next_multiple_of(4096) + 128;
        for (count, size) in self.classes() {
            if number < count {
                return self.word(at + number * size);
            }
            number -= count;
            at += count * size;
        }
        u64::MAX
    }

    /// State and first word of the message at `at`.
    fn cell(&self, at: usize) -> (u64, u64) {
        // A short slot, if any, has nothing but the message after its state.
        if at < self.leases_at() && self.param(1) == 16 {
            return (self.word(at), self.word(at + 8));
        }
        let (state, first) = (self.word(at), self.word(at + 16));
        let kind = self.word(at + 8) >> 32 & 0xFF;
        let name = usize::try_from(first & 0xFF_FFFF).expect("24 bits");
        match name.checked_sub(1) {
            Some(number) if kind == BLOCKS => (state, self.block(number)),
            _ => (state, first),
        }
    }

    /// State and first word of the message of every slot.
    pub(crate) fn slot(&self, index: usize) -> (u64, u64) {
        self.cell(self.slots_at() + index * self.param(1))
    }

    fn lease(&self, index: usize) -> (u64, u64) {
        self.cell(self.leases_at() + index * self.lease_size())
    }

    /// How many lease records are in a phase.
    pub(crate) fn leases(&self, phase: u64) -> usize {
        (0..self.param(4)).filter(|index| self.lease(*index).0 & 15 == phase).count()
    }

    /// Whether no lease record is in use.
    pub(crate) fn leases_free(&self) -> bool {
        self.leases(EMPTY) == self.param(4)
    }

    pub(crate) fn phases(&self) -> Vec<u64> {
        (0..self.slots()).map(|index| self.slot(index).0 & 15).collect()
    }

    pub(crate) fn count(&self, phase: u64) -> usize {
        self.phases().iter().filter(|p| **p == phase).count()
    }

    /// The messages that are committed and not taken.
    pub(crate) fn held(&self) -> Vec<u64> {
        let done = self.done();
        let slots = (0..self.slots()).filter(|index| !done.contains(index));
        let slots = slots.map(|index| self.slot(index));
        let leases = (0..self.param(4)).map(|index| self.lease(index));
        // One on its way from a slot to a record is in both.
        let places: std::collections::BTreeSet<_> = slots
            .chain(leases)
            .filter(|(state, _)| [FULL, TAKEN, REDELIVER].contains(&(state & 15)))
            .map(|s| s.1)
            .collect();
        places.into_iter().collect()
    }

    /// The slots that batches have committed as taken and not released.
    pub(crate) fn done(&self) -> Vec<usize> {
        let bits = u64::BITS - (self.slots() as u64 - 1).leading_zeros();
        let mask = (1 << bits) - 1;
        let mut done = Vec::new();
        for actor in 0..self.param(3) {
            let at = self.actors_at() + actor * LINE;
            let (word, count) = (self.word(at), self.word(at + 8));
            if word & 3 != DONE {
                continue;
            }
            let mut position = word >> 2;
            for _ in 0..count {
                let index = usize::try_from(position & mask).expect("a slot");
                if self.slot(index).0 == position >> bits << 16 | FULL {
                    done.push(index);
                }
                let last = index + 1 == self.slots();
                position = if last { (position | mask) + 1 } else { position + 1 };
            }
        }
        done
    }

    /// The phase of the slot that has message `n`.
    pub(crate) fn slot_phase_of(&self, n: u64) -> Option<u64> {
        let slots = (0..self.slots()).map(|index| self.slot(index));
        slots.filter(|slot| slot.1 == n).map(|slot| slot.0 & 15).next()
    }

    pub(crate) fn enqueue_pos(&self) -> u64 {
        self.word(BODY)
    }

    pub(crate) fn dequeue_pos(&self) -> u64 {
        self.word(DEQUEUE_POS)
    }

    pub(crate) fn marks(&self) -> u64 {
        self.word(MARKS)
    }

    /// Sequence numbers of the two events.
    pub(crate) fn events(&self) -> [u32; 2] {
        [NOT_EMPTY, NOT_FULL]
            .map(|at| u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("4 bytes")) >> 2)
    }

    /// Whether a joiner of tasks may be asleep.
    pub(crate) fn joiner_asleep(&self) -> bool {
        u32::from(self.bytes[TASKS_DONE]) & ASLEEP != 0
    }

    /// How often guardians were told to look whom there is.
    pub(crate) fn changes(&self) -> u32 {
        u32::from_le_bytes(self.bytes[CHANGES..CHANGES + 4].try_into().expect("4 bytes"))
    }

    /// Whether somebody may sleep on either event.
    pub(crate) fn asleep(&self) -> [bool; 2] {
        [NOT_EMPTY, NOT_FULL].map(|at| u32::from(self.bytes[at]) & ASLEEP != 0)
    }

    /// Participant records that are not free.
    pub(crate) fn participants(&self) -> Vec<Record> {
        let record = |index: usize| {
            let at = PARTICIPANTS + index * LINE;
            let id = index as u64 + 1;
            Record { id, standing: self.word(at + 8), pid: self.word(at + 24) }
        };
        (0..self.param(2)).map(record).filter(|record| record.standing != 0).collect()
    }

    pub(crate) fn has(&self, pid: libc::pid_t) -> bool {
        self.participants().iter().any(|record| record.pid == u64::from(pid.unsigned_abs()))
    }

    /// How many actor records each participant has.
    pub(crate) fn actors(&self) -> BTreeMap<u64, usize> {
        let mut of = BTreeMap::new();
        for index in 0..self.param(3) {
            let participant = self.word(self.actors_at() + index * LINE + 16);
            if participant != 0 {
                *of.entry(participant).or_default() += 1;
            }
        }
        of
    }

    /// Whether somebody announces a put (`kind` 1) or a get (2) at `position`.
    pub(crate) fn announced(&self, kind: u64, position: u64) -> bool {
        let word = |index| self.word(self.actors_at() + index * LINE);
        (0..self.param(3)).any(|index| word(index) == position << 2 | kind)
    }

    /// A number for the state, without what differs between equal runs: process and
    /// thread ids and start times.
    pub(crate) fn hash(&self) -> u64 {
        let mut bytes = self.bytes[BODY..].to_vec();
        for index in 0..self.param(2) {
            let at = PARTICIPANTS - BODY + index * LINE;
            bytes[at..at + 4].fill(0);
            bytes[at + 24..at + 48].fill(0);
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    }
}
