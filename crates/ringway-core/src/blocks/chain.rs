//! Which blocks hold a message, and which of them holds a certain byte.

use super::word::Owner;
use smallvec::SmallVec;

/// A chain of so few blocks is walked from its first one.
const FEW: usize = 4;

/// Room for the blocks of most messages: these need no allocator, which would take longer
/// than the blocks do.
pub(crate) type Blocks = SmallVec<[Block; FEW]>;

/// A block that was somebody's when its word was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) number: u32,
    pub(crate) word: Owner,
}

/// Blocks that hold a message together, in order. Private memory: what the links of the
/// segment said when they were followed.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) blocks: Blocks,
    /// Bytes of the message.
    pub(crate) len: usize,
    /// Where blocks of another size begin, if there are more than a few. A long message has
    /// thousands of blocks, and as a putter makes it five runs at most: it takes no walk to
    /// find a byte in its midst.
    runs: Vec<Run>,
}

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
    /// A message of `len` bytes in these blocks, of so many bytes each as `size` says.
    /// `None` if they have not the room.
    pub(super) fn new(blocks: Blocks, len: usize, size: impl Fn(Block) -> usize) -> Option<Self> {
        let (mut runs, mut bytes): (Vec<Run>, usize) = (Vec::new(), 0);
        let many = blocks.len() > FEW;
        for (before, block) in blocks.iter().enumerate() {
            let size = size(*block);
            if many && runs.last().is_none_or(|run| run.size != size) {
                runs.push(Run { blocks: before, bytes, size });
            }
            bytes = bytes.saturating_add(size);
        }
        (bytes >= len).then_some(Self { blocks, len, runs })
    }

    /// The blocks from the one with byte `at` on, and the byte at which that one begins; of
    /// a few blocks all of them.
    pub(super) fn from(&self, at: usize) -> (&[Block], usize) {
        let behind = self.runs.partition_point(|run| run.bytes <= at);
        let run = behind.checked_sub(1).and_then(|index| self.runs.get(index));
        let (first, begin) = run.map_or((0, 0), |run| {
            let whole = (at - run.bytes).checked_div(run.size).unwrap_or(0);
            (run.blocks + whole, run.bytes + whole * run.size)
        });
        (self.blocks.get(first..).unwrap_or_default(), begin)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Blocks of these sizes, numbered in their order.
    fn chain(sizes: &[usize], len: usize) -> Option<Chain> {
        let block = |number| Block { number, word: Owner(1) };
        let blocks = (0..).take(sizes.len()).map(block).collect();
        Chain::new(blocks, len, |block| sizes[block.number as usize])
    }

    #[test]
    fn every_byte_is_found_in_the_block_that_holds_it() {
        let most = [64, 64, 64, 16, 16, 4, 4, 4, 16, 64];
        for sizes in [&most[..], &most[..1], &[4, 16, 4, 16, 64, 4], &[8; 100]] {
            let len = sizes.iter().sum();
            let chain = chain(sizes, len).unwrap();
            let (mut index, mut begin) = (0, 0);
            for at in 0..len {
                if at == begin + sizes[index] {
                    begin += sizes[index];
                    index += 1;
                }
                let found = if sizes.len() > FEW { (index, begin) } else { (0, 0) };
                assert_eq!(chain.from(at), (&chain.blocks[found.0..], found.1), "byte {at}");
            }
            if sizes.len() > FEW {
                assert_eq!(chain.from(len), (&[][..], len), "the end");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_no_chain_and_nothing_needs_no_block() {
        assert!(chain(&[64, 16], 81).is_none());
        assert!(chain(&[], 1).is_none());
        assert_eq!(chain(&[], 0).unwrap().from(0), (&[][..], 0));
    }
}
