//! Taking blocks and giving them back.

use super::chain::{Blocks, Chain};
use super::layout::{CLASSES, Class, ENTRY, PoolGeometry, QUAD, SMALL};
use super::word::{Block, Descriptor, Link, Owner};
use crate::memory::{Memory, OutOfBounds, ReadTimes, Region, Stores, Way};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::wait::Event;
use core::cell::Cell;

/// Blocks of a class at which every search looks first: few enough to look at in
/// vain, and as many as messages that follow each other closely need.
const WARM: [u64; CLASSES] = [64, 16, 16, 16];

/// Bytes of the blocks of a class that are taken in turn, where they are: about as many as go
/// round in a ring that is quickest. More would lie in no cache when their turn comes.
const IN_TURN: u64 = 8 << 20;

/// Blocks that one who waits looks at, at a time.
const GLANCE: u64 = 32;

/// [`ENTRY`] as a length in a region.
#[allow(clippy::cast_possible_truncation, reason = "16")]
const ENTRY_LEN: usize = ENTRY as usize;

/// How far one who looks for room has come in its walk round the blocks, and the bytes of the
/// free ones that it met.
#[derive(Default)]
pub(crate) struct Walk {
    at: Cell<u64>,
    room: Cell<u64>,
}

/// The pool of a ring, in its segment.
pub(crate) struct Pool {
    geometry: PoolGeometry,
    classes: [Class; CLASSES],
    /// Owner word and link of each block.
    table: Region,
    pub(super) blocks: Region,
    freed: Event,
    /// Where the last search of each class ended. Private memory, and only a hint.
    cursors: [AtomicU64; CLASSES],
    /// How long messages are copied.
    pub(super) stores: Stores,
    pub(super) read_times: ReadTimes,
}

impl Pool {
    /// The pool that `geometry` describes in `memory`; putters that find it full sleep
    /// on `freed`, and getters tell in `times` how long their copies take.
    pub(crate) fn new(
        memory: &Memory,
        geometry: PoolGeometry,
        freed: Event,
        times: ReadTimes,
    ) -> Result<Self, OutOfBounds> {
        Ok(Self {
            table: memory.region(geometry.table_at(), geometry.blocks() * ENTRY)?,
            blocks: memory.region(geometry.blocks_at(), geometry.bytes())?,
            classes: geometry.classes(),
            geometry,
            freed,
            cursors: std::array::from_fn(|_| AtomicU64::new(0)),
            stores: Stores::new(geometry.bytes(), times.clone()),
            read_times: times,
        })
    }

    /// Bytes of all blocks: the longest message.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len()
    }

    /// How long getters take for long messages.
    pub(crate) fn read_times(&self) -> &ReadTimes {
        &self.read_times
    }

    /// What putters sleep on that found no room.
    pub(crate) fn freed(&self) -> &Event {
        &self.freed
    }

    /// A word of block `number`; `None` if there is no such block.
    fn entry(&self, number: u64, link: bool) -> Option<&AtomicU64> {
        if number >= self.geometry.blocks() {
            return None;
        }
        let at = number * ENTRY + if link { ENTRY / 2 } else { 0 };
        self.table.word(usize::try_from(at).ok()?)
    }

    pub(super) fn class_of(&self, number: u64) -> Option<&Class> {
        // The small ones come last, and are most.
        let class = self.classes.iter().rev().find(|class| class.first <= number)?;
        (number - class.first < class.count).then_some(class)
    }

    // ---- Taking and giving back -------------------------------------------------

    /// Takes block `number` for `participant`, if it is free.
    pub(crate) fn claim(&self, number: u64, participant: u32) -> Option<Block> {
        let word = self.entry(number, false)?;
        // Relaxed: a look; the exchange decides.
        let seen = Owner(word.load(Relaxed));
        if !seen.is_free() {
            return None;
        }
        let mine = seen.taken(participant);
        // ORDERING block-owner (acquire): whoever gave the block back has read it before we
        // write to it. Relaxed on failure: somebody else's.
        word.compare_exchange(seen.0, mine.0, Acquire, Relaxed).ok()?;
        Some(Block::new(number, mine))
    }

    /// Gives a block of `owner`'s back, unless that was done already.
    pub(crate) fn free(&self, block: Block, owner: u32) -> bool {
        // ORDERING block-owner (SeqCst): the release: our last access comes before the next
        // owner's first. SeqCst: comes before the look for sleepers that follows.
        let taken = block.word(owner);
        self.entry(block.number(), false).is_some_and(|word| {
            word.compare_exchange(taken.0, taken.freed().0, SeqCst, Relaxed).is_ok()
        })
    }

    /// Gives the blocks of a chain of `owner`'s back, last first: who has to go on finds the head
    /// of the chain as it was. Wakes those who wait for room.
    pub(crate) fn free_all(&self, blocks: &[Block], owner: u32) {
        for block in blocks.iter().rev() {
            self.free(*block, owner);
        }
        self.freed.notify_all();
    }

    /// Takes blocks for `len` bytes, all or none. Never waits.
    pub(crate) fn take(&self, len: usize, participant: u32) -> Option<Chain> {
        let mut chain = Chain::default();
        self.take_to(len, participant, &mut chain).then_some(chain)
    }

    /// As [`take`](Self::take), for a buffer that many bytes pass through: it goes round by itself, and
    /// the next message finds its lines where this one leaves them if it has the same blocks.
    pub(crate) fn take_buffer(&self, len: usize, participant: u32) -> Option<Chain> {
        let mut chain = Chain::default();
        self.take_blocks(len, participant, &mut chain, false).then_some(chain)
    }

    /// As [`take`](Self::take), to a chain that is there already, whose blocks are no longer the
    /// caller's. Says whether it took them; if not, what is in the chain means nothing.
    pub(crate) fn take_to(&self, len: usize, participant: u32, chain: &mut Chain) -> bool {
        // Through the cache the same few blocks are the wrong ones for longer messages: the last
        // getter's processor has them. Those that were free for longer lie where both find them.
        self.take_blocks(len, participant, chain, self.stores.way() == Way::Through)
    }

    /// Long blocks in turn, or those first that were used last.
    fn take_blocks(&self, len: usize, participant: u32, chain: &mut Chain, in_turn: bool) -> bool {
        // A ring without a pool may have slots that cannot name an empty chain either.
        if len > self.bytes() || self.bytes() == 0 {
            return false;
        }
        chain.clear(participant, len);
        let blocks = &mut chain.blocks;
        let mut rest = len as u64;
        for (index, class) in self.classes.iter().enumerate() {
            // The last one as soon as it fills half of one.
            let slack = if index == SMALL { class.size - 1 } else { class.size / 2 };
            if rest + slack >= class.size {
                let wanted = (rest + slack).checked_div(class.size).unwrap_or(0);
                let got = self.search(index, wanted, participant, blocks, in_turn);
                rest = rest.saturating_sub(got * class.size);
            }
        }
        if rest > 0 {
            rest = self.take_larger(rest, participant, blocks);
        }
        if rest > 0 {
            // Nobody waits while holding some: two that did could wait for each other. Who
            // looked meanwhile missed these, and is woken.
            if !blocks.is_empty() {
                self.free_all(blocks, participant);
            }
            return false;
        }
        self.link(blocks);
        chain.index(|block| self.bytes_of(block));
        true
    }

    /// The small ones are used up: larger ones hold the rest. Says what is left.
    #[cold]
    fn take_larger(&self, mut rest: u64, participant: u32, blocks: &mut Blocks) -> u64 {
        for (index, class) in self.classes.iter().enumerate().rev().skip(1) {
            let wanted = rest
                .checked_div(class.size)
                .map_or(0, |whole| whole + u64::from(!rest.is_multiple_of(class.size)));
            let got = self.search(index, wanted, participant, blocks, false);
            rest = rest.saturating_sub(got * class.size);
        }
        rest
    }

    /// Whether the free blocks hold `len` bytes. For those who wait: a
    /// [`take`](Self::take) in vain would wake the others who do, and they it.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        let mut room = 0;
        (0..self.geometry.blocks()).any(|number| {
            room += self.free_room(number);
            room >= len as u64
        })
    }

    /// Whether [`has_room`](Self::has_room) is worth asking, for one who looks again and again
    /// before it sleeps: a look goes on where the last one ended, over a few blocks.
    pub(crate) fn seems_to_have_room(&self, len: usize, walk: &Walk) -> bool {
        let mut room = walk.room.get();
        let mut at = walk.at.get();
        for _ in 0..GLANCE.min(self.geometry.blocks()) {
            if at >= self.geometry.blocks() {
                // What was free a round ago may not be now.
                (at, room) = (0, 0);
            }
            room += self.free_room(at);
            at += 1;
            if room >= len as u64 {
                walk.room.set(0);
                walk.at.set(at);
                return true;
            }
        }
        walk.room.set(room);
        walk.at.set(at);
        false
    }

    /// Bytes of block `number` if it is free, else 0.
    fn free_room(&self, number: u64) -> u64 {
        if !self.owner(number).is_free() {
            return 0;
        }
        self.class_of(number).map_or(0, |class| class.size)
    }

    /// Takes up to `wanted` blocks of a class; says how many.
    fn search(
        &self,
        index: usize,
        wanted: u64,
        participant: u32,
        to: &mut Blocks,
        in_turn: bool,
    ) -> u64 {
        let (Some(class), Some(cursor)) = (self.classes.get(index), self.cursors.get(index)) else {
            return 0;
        };
        if wanted == 0 || class.count == 0 {
            return 0;
        }
        let in_turn = in_turn && index < QUAD;
        let warm = if in_turn { 0 } else { WARM[index].min(class.count) };
        let mut got = 0;
        for place in 0..warm {
            if let Some(block) = self.claim(class.first + place, participant) {
                to.push(block);
                got += 1;
                if got == wanted {
                    return got;
                }
            }
        }
        let most = if in_turn { (IN_TURN / class.size).max(1) } else { u64::MAX };
        let cold = (class.count - warm).min(most);
        // Relaxed: a hint.
        let start = cursor.load(Relaxed).checked_rem(cold).unwrap_or(0);
        let round = (0..cold).map(|turn| warm + (start + turn) % cold);
        for place in round.chain(warm + cold..class.count) {
            if let Some(block) = self.claim(class.first + place, participant) {
                to.push(block);
                got += 1;
                if got == wanted {
                    cursor.store(place - warm + 1, Relaxed);
                    break;
                }
            }
        }
        got
    }

    /// Writes the links of a chain. The blocks are the caller's.
    fn link(&self, blocks: &[Block]) {
        let nexts = blocks.iter().skip(1).map(|block| Link::to(*block));
        for (block, next) in blocks.iter().zip(nexts.chain([Link::END])) {
            if let Some(word) = self.entry(block.number(), true) {
                // Relaxed: released with the slot that names the chain.
                word.store(next.0, Relaxed);
            }
        }
    }

    /// What a slot is to say about a chain.
    pub(crate) fn describe(&self, chain: &Chain) -> Descriptor {
        let first = chain.blocks.first().map_or(Link::END, |block| Link::to(*block));
        Descriptor { first, len: chain.len as u64, owner: chain.owner }
    }

    // ---- Following --------------------------------------------------------------

    /// The chain that a slot describes; `None` if it is none of this pool. The words may
    /// hold anything: nothing is allocated beyond what they prove to be there.
    pub(crate) fn follow(&self, what: Descriptor) -> Option<Chain> {
        let mut chain = Chain::default();
        self.follow_to(what, &mut chain).then_some(chain)
    }

    /// As [`follow`](Self::follow), to `chain`, which is of no more use after `false`.
    pub(crate) fn follow_to(&self, what: Descriptor, chain: &mut Chain) -> bool {
        let (mut next, mut left) = (what.first, what.len);
        let Some(len) = usize::try_from(left).ok().filter(|len| *len <= self.bytes()) else {
            return false;
        };
        chain.clear(what.owner, len);
        while left > 0 && chain.blocks.len() < self.most() {
            let Some(block) = self.step(what.owner, &mut next, &mut left) else { return false };
            chain.blocks.push(block);
        }
        chain.index(|block| self.bytes_of(block));
        left == 0
    }

    /// The blocks from the first one to the last whose word is as it was promised, and no
    /// more than the length needs or the pool has: a chain that bites its tail ends, too.
    pub(crate) fn walk(&self, what: Descriptor) -> impl Iterator<Item = Block> {
        let (mut next, mut left) = (what.first, what.len.min(self.bytes() as u64));
        std::iter::from_fn(move || self.step(what.owner, &mut next, &mut left)).take(self.most())
    }

    /// A step of a walk along a chain of `owner`'s that needs `left` bytes more.
    #[inline]
    fn step(&self, owner: u32, next: &mut Link, left: &mut u64) -> Option<Block> {
        let block = next.target().filter(|_| *left > 0)?;
        let word = block.word(owner);
        // Relaxed: the slot that names the chain was acquired, and with it that each
        // block was taken. A later word is somebody else's, and ends the chain.
        if word.is_free() || self.entry(block.number(), false)?.load(Relaxed) != word.0 {
            return None;
        }
        *left = left.saturating_sub(self.size(block));
        // Relaxed: the slot that names the chain was acquired.
        *next = Link(self.entry(block.number(), true)?.load(Relaxed));
        Some(block)
    }

    /// The most blocks of a chain.
    fn most(&self) -> usize {
        usize::try_from(self.geometry.blocks()).unwrap_or(usize::MAX)
    }

    /// Bytes of a block.
    fn size(&self, block: Block) -> u64 {
        self.class_of(block.number()).map_or(0, |class| class.size)
    }

    fn bytes_of(&self, block: Block) -> usize {
        usize::try_from(self.size(block)).unwrap_or(usize::MAX)
    }

    // ---- Repair -----------------------------------------------------------------

    /// Nothing marked, if `participant` has any block; else there is nothing to sweep.
    pub(crate) fn marks_for(&self, participant: u32) -> Option<Marks> {
        let has = (0..self.geometry.blocks()).any(|n| self.owner(n).participant() == participant);
        has.then(|| Marks(vec![0; self.table.len() / ENTRY_LEN / 64 + 1]))
    }

    fn owner(&self, number: u64) -> Owner {
        // Relaxed: a look. Who takes or frees the block exchanges this very word; who waits
        // for room has a fence before it; what the dead did comes with the proof.
        Owner(self.entry(number, false).map_or(0, |word| word.load(Relaxed)))
    }

    /// Frees what is the dead `participant`'s and not marked. Only the marks' maker may
    /// know that it is dead.
    pub(crate) fn sweep(&self, participant: u32, marks: &Marks) {
        for number in 0..self.geometry.blocks() {
            let word = self.owner(number);
            if word.participant() == participant && !marks.has(number) {
                self.free(Block::new(number, word), participant);
            }
        }
    }

    /// Bytes of the free blocks.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        let numbers = (0..self.geometry.blocks()).filter(|number| self.owner(*number).is_free());
        let size = |number| self.class_of(number).map_or(0, |class| class.size);
        usize::try_from(numbers.map(size).sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// The link of a block.
    #[cfg(test)]
    pub(crate) fn link_of(&self, block: Block) -> &AtomicU64 {
        self.entry(block.number(), true).expect("a block")
    }

    /// How long messages are copied.
    #[cfg(test)]
    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// How many blocks are not free, for inspection.
    pub(crate) fn used(&self) -> u64 {
        (0..self.geometry.blocks()).filter(|number| !self.owner(*number).is_free()).count() as u64
    }
}

/// One bit per block. Private memory.
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// `false` if it was marked before.
    pub(crate) fn set(&mut self, block: Block) -> bool {
        let at = usize::try_from(block.number() / 64).ok();
        let Some(word) = at.and_then(|at| self.0.get_mut(at)) else { return false };
        let bit = 1 << (block.number() % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|index| self.0.get(index));
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}
