//! Which blocks hold a message, and which of them holds a certain byte.

use super::word::Block;
use smallvec::SmallVec;

/// A chain of so few blocks is walked from its first one.
const FEW: usize = 4;

/// Room for the blocks of most messages: these need no allocator, which would take longer
/// than the blocks do.
pub(crate) type Blocks = SmallVec<[Block; FEW]>;

/// Blocks that hold a message together, in order. Private memory: what the links of the
/// segment said when they were followed.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) blocks: Blocks,
    /// Whose all of them are.
    pub(crate) owner: u32,
    /// How many blocks are known to be of one size at the beginning: in most chains all of them. For
    /// those who ask for one value after the other; 0 for others, who need not find out.
    pub(super) alike: u32,
    /// Where the first byte lies among the bytes of all blocks, and how many are known to lie there
    /// one behind the other.
    pub(super) lies: usize,
    pub(super) straight: usize,
    /// Bytes of the message.
    pub(crate) len: usize,
    /// Where blocks of another size begin, if there are more than a few. A long message has
    /// thousands of blocks, and as a putter makes it seven runs at most: it takes no walk to
    /// find a byte in its midst. Elsewhere: grants are moved, and most have none.
    runs: Option<Box<Runs>>,
}

#[derive(Debug)]
struct Runs(Vec<Run>);

/// Blocks of one size that follow each other in a chain.
#[derive(Debug)]
struct Run {
    /// How many blocks of the chain are before it, and how many bytes these have.
    blocks: usize,
    bytes: usize,
    /// Bytes of each of its own.
    size: usize,
}

impl Chain {
    /// A message of `len` bytes in blocks of `owner`'s, which are still to come.
    pub(crate) fn clear(&mut self, owner: u32, len: usize) {
        self.blocks.clear();
        (self.owner, self.alike, self.len, self.runs) = (owner, 0, len, None);
        (self.lies, self.straight) = (0, 0);
    }

    /// Whether the list takes no memory of its own.
    pub(crate) fn is_small(&self) -> bool {
        !self.blocks.spilled()
    }

    /// All blocks are there, of so many bytes each as `size` says.
    pub(super) fn index(&mut self, size: impl Fn(Block) -> usize) {
        if self.blocks.len() > FEW {
            self.runs = Some(Runs::of(&self.blocks, size));
        }
    }

    /// The block that holds all of the bytes `at..at + len`, and where in it they begin, if it is
    /// one of those that are known to be alike, of a size of `1 << shift`.
    #[inline]
    pub(super) fn within(&self, shift: u32, at: usize, len: usize) -> Option<(Block, usize)> {
        let end = at.checked_add(len).filter(|end| *end <= self.len)?;
        let index = at >> shift;
        if index >= self.alike as usize || end > (index + 1) << shift {
            return None;
        }
        Some((*self.blocks.get(index)?, at & ((1 << shift) - 1)))
    }

    /// The blocks from the one with byte `at` on, and the byte at which that one begins; of
    /// a few blocks all of them.
    pub(super) fn from(&self, at: usize) -> (&[Block], usize) {
        let Some(Runs(runs)) = self.runs.as_deref() else { return (&self.blocks, 0) };
        let behind = runs.partition_point(|run| run.bytes <= at);
        let run = behind.checked_sub(1).and_then(|index| runs.get(index));
        let (first, begin) = run.map_or((0, 0), |run| {
            let whole = (at - run.bytes).checked_div(run.size).unwrap_or(0);
            (run.blocks + whole, run.bytes + whole * run.size)
        });
        (self.blocks.get(first..).unwrap_or_default(), begin)
    }
}

impl Runs {
    #[cold]
    fn of(blocks: &[Block], size: impl Fn(Block) -> usize) -> Box<Self> {
        let (mut runs, mut bytes): (Vec<Run>, usize) = (Vec::new(), 0);
        for (before, block) in blocks.iter().enumerate() {
            let size = size(*block);
            if runs.last().is_none_or(|run| run.size != size) {
                runs.push(Run { blocks: before, bytes, size });
            }
            bytes = bytes.saturating_add(size);
        }
        Box::new(Self(runs))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::word::Owner;
    use super::*;

    /// Blocks of these sizes, numbered in their order, full.
    fn chain(sizes: &[usize]) -> Chain {
        let mut chain = Chain::default();
        chain.clear(1, sizes.iter().sum());
        chain.blocks.extend((0..).take(sizes.len()).map(|number| Block::new(number, Owner(1))));
        chain.index(|block| sizes[usize::try_from(block.number()).unwrap()]);
        chain
    }

    #[test]
    fn every_byte_is_found_in_the_block_that_holds_it() {
        let most = [64, 64, 64, 16, 16, 4, 4, 4, 16, 64];
        for sizes in [&most[..], &most[..1], &[4, 16, 4, 16, 64, 4], &[8; 100]] {
            let chain = chain(sizes);
            let (mut index, mut begin) = (0, 0);
            for at in 0..chain.len {
                if at == begin + sizes[index] {
                    begin += sizes[index];
                    index += 1;
                }
                let found = if sizes.len() > FEW { (index, begin) } else { (0, 0) };
                assert_eq!(chain.from(at), (&chain.blocks[found.0..], found.1), "byte {at}");
            }
            if sizes.len() > FEW {
                assert_eq!(chain.from(chain.len), (&[][..], chain.len), "the end");
            }
        }
    }

    #[test]
    fn nothing_needs_no_block() {
        assert_eq!(chain(&[]).from(0), (&[][..], 0));
    }
}
