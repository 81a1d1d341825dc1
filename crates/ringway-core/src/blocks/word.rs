//! The words of blocks and chains.

/// Bits of an owner or a block number in a word.
const LOW: u32 = 24;
const LOW_MASK: u64 = (1 << LOW) - 1;
const GENERATION_MASK: u64 = (1 << (u64::BITS - LOW)) - 1;

/// The most blocks: a link keeps one more than the number.
pub(super) const MAX_BLOCKS: u64 = LOW_MASK - 1;

/// Whose a block is: `generation:40 | owner:24`; owner 0 is nobody. The zero word is free:
/// a fresh segment is a ready pool.
///
/// The generation grows with every taking, so that who frees a block by an old word frees
/// nothing. It would have to come round (2^40 uses of one block) while a death waits for
/// its repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u64);

impl Owner {
    fn new(generation: u64, owner: u32) -> Self {
        Self((generation & GENERATION_MASK) << LOW | u64::from(owner) & LOW_MASK)
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> LOW
    }

    /// The participant, 0 for nobody.
    pub(crate) fn participant(self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "24 bits")]
        let owner = (self.0 & LOW_MASK) as u32;
        owner
    }

    pub(crate) fn is_free(self) -> bool {
        self.0 & LOW_MASK == 0
    }

    /// The word after `participant` has taken the free block.
    pub(crate) fn taken(self, participant: u32) -> Self {
        Self::new(self.generation().wrapping_add(1), participant)
    }

    /// The word after the block was given back.
    pub(crate) fn freed(self) -> Self {
        Self::new(self.generation(), 0)
    }
}

/// A block that was somebody's when its word was read: `generation:40 | number:24`. Its chain
/// knows whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block(u64);

impl Block {
    /// Block `number`, whose owner word is `word`.
    pub(crate) fn new(number: u64, word: Owner) -> Self {
        Self((word.generation() << LOW) | number & LOW_MASK)
    }

    pub(crate) fn number(self) -> u64 {
        self.0 & LOW_MASK
    }

    /// None of any pool.
    #[cfg(test)]
    pub(crate) fn nowhere(self) -> Self {
        Self(self.0 | LOW_MASK)
    }

    /// The word that it must have if it is `owner`'s.
    pub(crate) fn word(self, owner: u32) -> Owner {
        Owner::new(self.0 >> LOW, owner)
    }
}

/// Where a chain goes on: `generation:40 | number + 1:24`; 0 is the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) u64);

impl Link {
    pub(crate) const END: Self = Self(0);

    /// To a block of the pool: its number is less than [`MAX_BLOCKS`].
    pub(crate) fn to(block: Block) -> Self {
        Self(block.0.wrapping_add(1))
    }

    /// The block; `None` at the end.
    pub(crate) fn target(self) -> Option<Block> {
        (self.0 & LOW_MASK != 0).then(|| Block(self.0.wrapping_sub(1)))
    }
}

/// What a slot or a lease record holds of a message in blocks: two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) first: Link,
    /// Bytes of the message.
    pub(crate) len: u64,
    /// Whose the blocks are: the putter.
    pub(crate) owner: u32,
}

impl Descriptor {
    const OWNER_BITS: u32 = 16;

    pub(crate) fn words(self) -> [u64; 2] {
        [self.first.0, self.len << Self::OWNER_BITS | u64::from(self.owner)]
    }

    /// From words that may hold anything.
    pub(crate) fn from_words([first, rest]: [u64; 2]) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "16 bits")]
        let owner = (rest & ((1 << Self::OWNER_BITS) - 1)) as u32;
        Self { first: Link(first), len: rest >> Self::OWNER_BITS, owner }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_they_are_given() {
        let free = Owner(0);
        assert!(free.is_free());
        let mine = free.taken(4095);
        assert_eq!((mine.participant(), mine.generation(), mine.is_free()), (4095, 1, false));
        assert_eq!(mine.freed().taken(7).generation(), 2);
        // The generation comes round without touching the owner.
        let last = Owner::new(GENERATION_MASK, 0).taken(3);
        assert_eq!((last.participant(), last.generation()), (3, 0));
        let block = Block::new(9, mine);
        assert_eq!((block.number(), block.word(4095)), (9, mine));
        let link = Link::to(block);
        assert_eq!(link.target(), Some(block));
        assert_eq!(Link::END.target(), None);
        let whole = Descriptor { first: link, len: (1 << 48) - 1, owner: 4095 };
        assert_eq!(Descriptor::from_words(whole.words()), whole);
    }
}
