//! Taking blocks, filling them, reading them, giving them back.

use super::chain::{Block, Blocks, Chain};
use super::layout::{CLASSES, Class, ENTRY, PoolGeometry, SMALL};
use super::word::{Descriptor, Link, Owner};
use crate::memory::{Memory, OutOfBounds, Region};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, SeqCst};
use crate::wait::Event;
use core::cell::Cell;

/// Blocks of a class at which every search looks first: few enough to look at in
/// vain, and as many as messages that follow each other closely need.
const WARM: [u64; CLASSES] = [64, 16, 16];

/// Blocks that one who waits looks at, at a time.
const GLANCE: u64 = 32;

/// Messages of up to this length are written past the cache: the blocks that one takes are
/// those that the last getter read, and lie in its cache still, so that ordinary stores have to
/// fetch each line from there. Longer ones push themselves out of it. Measured on two Zen 4
/// processors: by copy 64 KiB took 4.7 to 4.9 us and not 7.9 to 34, 256 KiB 23 and not 27 to 41,
/// but 512 KiB 40 and not 27 to 30.
const STILL_CACHED: usize = 256 << 10;

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
    blocks: Region,
    freed: Event,
    /// Where the last search of each class ended. Private memory, and only a hint.
    cursors: [AtomicU64; CLASSES],
}

impl Pool {
    /// The pool that `geometry` describes in `memory`; putters that find it full sleep
    /// on `freed`.
    pub(crate) fn new(
        memory: &Memory,
        geometry: PoolGeometry,
        freed: Event,
    ) -> Result<Self, OutOfBounds> {
        Ok(Self {
            table: memory.region(geometry.table_at(), geometry.blocks() * ENTRY)?,
            blocks: memory.region(geometry.blocks_at(), geometry.bytes())?,
            classes: geometry.classes(),
            geometry,
            freed,
            cursors: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Bytes of all blocks: the longest message.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len()
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

    fn class_of(&self, number: u64) -> Option<&Class> {
        self.classes.iter().find(|class| (class.first..class.first + class.count).contains(&number))
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
        Some(Block { number: u32::try_from(number).ok()?, word: mine })
    }

    /// Gives a block back, unless that was done already.
    pub(crate) fn free(&self, block: Block) -> bool {
        // ORDERING block-owner (SeqCst): the release: our last access comes before the next
        // owner's first. SeqCst: comes before the look for sleepers that follows.
        self.entry(block.number.into(), false).is_some_and(|word| {
            word.compare_exchange(block.word.0, block.word.freed().0, SeqCst, Relaxed).is_ok()
        })
    }

    /// Gives the blocks of a chain back, last first: who has to go on finds the head of
    /// the chain as it was. Wakes those who wait for room.
    pub(crate) fn free_all(&self, blocks: &[Block]) {
        for block in blocks.iter().rev() {
            self.free(*block);
        }
        self.freed.notify_all();
    }

    /// Takes blocks for `len` bytes, all or none. Never waits.
    pub(crate) fn take(&self, len: usize, participant: u32) -> Option<Chain> {
        // A ring without a pool may have slots that cannot name an empty chain either.
        if len > self.bytes() || self.bytes() == 0 {
            return None;
        }
        let mut blocks = Blocks::new();
        let mut rest = len as u64;
        for (index, class) in self.classes.iter().enumerate() {
            // The last one as soon as it fills half of one.
            let slack = if index == SMALL { class.size - 1 } else { class.size / 2 };
            let wanted = (rest + slack).checked_div(class.size).unwrap_or(0);
            let got = self.search(index, wanted, participant, &mut blocks);
            rest = rest.saturating_sub(got * class.size);
        }
        // The small ones are used up: larger ones hold the rest.
        for (index, class) in self.classes.iter().enumerate().rev().skip(1) {
            let wanted = rest
                .checked_div(class.size)
                .map_or(0, |whole| whole + u64::from(!rest.is_multiple_of(class.size)));
            let got = self.search(index, wanted, participant, &mut blocks);
            rest = rest.saturating_sub(got * class.size);
        }
        if rest > 0 {
            // Nobody waits while holding some: two that did could wait for each other. Who
            // looked meanwhile missed these, and is woken.
            if !blocks.is_empty() {
                self.free_all(&blocks);
            }
            return None;
        }
        self.link(&blocks);
        // They have the room: what was left to find is 0.
        Chain::new(blocks, len, |block| self.bytes_of(block))
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
    fn search(&self, index: usize, wanted: u64, participant: u32, to: &mut Blocks) -> u64 {
        let (Some(class), Some(cursor)) = (self.classes.get(index), self.cursors.get(index)) else {
            return 0;
        };
        if wanted == 0 || class.count == 0 {
            return 0;
        }
        let warm = WARM[index].min(class.count);
        let cold = class.count - warm;
        // Relaxed: a hint.
        let start = cursor.load(Relaxed).checked_rem(cold).unwrap_or(0);
        let mut got = 0;
        let turns = (0..warm).chain((0..cold).map(|turn| warm + (start + turn) % cold));
        for place in turns {
            if let Some(block) = self.claim(class.first + place, participant) {
                to.push(block);
                got += 1;
                if got == wanted {
                    if place >= warm {
                        cursor.store(place - warm + 1, Relaxed);
                    }
                    break;
                }
            }
        }
        got
    }

    /// Writes the links of a chain. The blocks are the caller's.
    fn link(&self, blocks: &[Block]) {
        let nexts = blocks.iter().skip(1).map(|block| Link::to(block.number, block.word));
        for (block, next) in blocks.iter().zip(nexts.chain([Link::END])) {
            if let Some(word) = self.entry(block.number.into(), true) {
                // Relaxed: released with the slot that names the chain.
                word.store(next.0, Relaxed);
            }
        }
    }

    /// What a slot is to say about a chain of `owner`'s.
    pub(crate) fn describe(&self, chain: &Chain, owner: u32) -> Descriptor {
        let first = chain.blocks.first().map_or(Link::END, |b| Link::to(b.number, b.word));
        Descriptor { first, len: chain.len as u64, owner }
    }

    // ---- Following --------------------------------------------------------------

    /// The chain that a slot describes; `None` if it is none of this pool. The words may
    /// hold anything: nothing is allocated beyond what they prove to be there.
    pub(crate) fn follow(&self, what: Descriptor) -> Option<Chain> {
        let len = usize::try_from(what.len).ok().filter(|len| *len <= self.bytes())?;
        Chain::new(self.walk(what).collect(), len, |block| self.bytes_of(block))
    }

    /// The blocks from the first one to the last whose word is as it was promised, and no
    /// more than the length needs or the pool has: a chain that bites its tail ends, too.
    pub(crate) fn walk(&self, what: Descriptor) -> impl Iterator<Item = Block> {
        let mut next = what.first;
        let mut left = what.len.min(self.bytes() as u64);
        let step = move || {
            let (number, word) = next.target(what.owner).filter(|_| left > 0)?;
            let owner = self.entry(number, false)?;
            // Relaxed: the slot that names the chain was acquired, and with it that each
            // block was taken. A later word is somebody else's, and ends the chain.
            if word.is_free() || owner.load(Relaxed) != word.0 {
                return None;
            }
            let block = Block { number: u32::try_from(number).ok()?, word };
            left = left.saturating_sub(self.size(block));
            // Relaxed: the slot that names the chain was acquired.
            next = Link(self.entry(number, true)?.load(Relaxed));
            Some(block)
        };
        let most = usize::try_from(self.geometry.blocks()).unwrap_or(usize::MAX);
        std::iter::from_fn(step).take(most)
    }

    /// Bytes of a block.
    fn size(&self, block: Block) -> u64 {
        self.class_of(block.number.into()).map_or(0, |class| class.size)
    }

    fn bytes_of(&self, block: Block) -> usize {
        usize::try_from(self.size(block)).unwrap_or(usize::MAX)
    }

    // ---- Copying ----------------------------------------------------------------

    /// Copies `src` to the bytes from `at` on of the caller's own chain. Other bytes stay.
    pub(crate) fn write(&self, chain: &Chain, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        check(chain, at, src.len())?;
        self.pieces(chain, at, src.len(), |offset, range| {
            let src = &src[range];
            // A copy rounds up to whole words; what is beside must stay.
            let head = offset.next_multiple_of(8).min(offset + src.len()) - offset;
            let (head, rest) = src.split_at(head);
            let (middle, tail) = rest.split_at(rest.len() & !7);
            self.patch(offset, head);
            let at = offset.next_multiple_of(8);
            if chain.len <= STILL_CACHED {
                self.blocks.copy_in_for_others(at, middle)?;
            } else {
                self.blocks.copy_in(at, middle)?;
            }
            self.patch(offset + head.len() + middle.len(), tail);
            Ok(())
        })
    }

    /// Changes less than a word.
    fn patch(&self, at: usize, src: &[u8]) {
        if let Some(word) = self.blocks.word(at & !7)
            && !src.is_empty()
        {
            // Relaxed: the block is the caller's, and is published with its slot.
            let mut bytes = word.load(Relaxed).to_ne_bytes();
            bytes[at % 8..at % 8 + src.len()].copy_from_slice(src);
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
    }

    /// Copies the bytes of a chain from `at` on to `dst`. A peer may write there at any
    /// time: the copy may hold anything, and is private.
    pub(crate) fn read(&self, chain: &Chain, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        check(chain, at, dst.len())?;
        self.pieces(chain, at, dst.len(), |offset, range| {
            copy_out_at(&self.blocks, offset, &mut dst[range])
        })
    }

    /// Calls `body` for each piece of the bytes `at..at + len` that lies in one block:
    /// with its offset among the blocks' bytes, and which of the `len` bytes it is.
    fn pieces(
        &self,
        chain: &Chain,
        at: usize,
        len: usize,
        mut body: impl FnMut(usize, std::ops::Range<usize>) -> Result<(), OutOfBounds>,
    ) -> Result<(), OutOfBounds> {
        let end = at + len;
        let (blocks, mut begin) = chain.from(at);
        for block in blocks {
            let number = u64::from(block.number);
            let Some(class) = self.class_of(number) else { break };
            let to_usize = |n: u64| usize::try_from(n).map_err(|_| OutOfBounds { at: n, len: 0 });
            let base = to_usize(class.at + (number - class.first) * class.size)?;
            let size = to_usize(class.size)?;
            let (from, to) = (at.max(begin), end.min(begin + size));
            if from < to {
                body(base + from - begin, from - at..to - at)?;
            }
            begin += size;
            if begin >= end {
                break;
            }
        }
        Ok(())
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
            if word.participant() == participant
                && !marks.has(number)
                && let Ok(number) = u32::try_from(number)
            {
                self.free(Block { number, word });
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
    pub(crate) fn link_of(&self, number: u32) -> &AtomicU64 {
        self.entry(number.into(), true).expect("a block")
    }

    /// How many blocks are not free, for inspection.
    pub(crate) fn used(&self) -> u64 {
        (0..self.geometry.blocks()).filter(|number| !self.owner(*number).is_free()).count() as u64
    }
}

fn check(chain: &Chain, at: usize, len: usize) -> Result<(), OutOfBounds> {
    if at.checked_add(len).is_some_and(|end| end <= chain.len) {
        Ok(())
    } else {
        Err(OutOfBounds { at: at as u64, len: len as u64 })
    }
}

/// Copies from byte `at`, which need not be a multiple of 8, to `dst`. As
/// [`Region::copy_out`].
pub(crate) fn copy_out_at(region: &Region, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
    let head = (at.next_multiple_of(8) - at).min(dst.len());
    let (head, rest) = dst.split_at_mut(head);
    if !head.is_empty() {
        let mut bytes = [0; 8];
        region.copy_out(at & !7, &mut bytes)?;
        head.copy_from_slice(&bytes[at % 8..at % 8 + head.len()]);
    }
    region.copy_out(at.next_multiple_of(8), rest)
}

/// One bit per block. Private memory.
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// `false` if it was marked before.
    pub(crate) fn set(&mut self, block: Block) -> bool {
        let Some(word) = self.0.get_mut(block.number as usize / 64) else { return false };
        let bit = 1 << (block.number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|index| self.0.get(index));
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}
