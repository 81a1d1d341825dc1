//! Filling blocks, and reading them.

use super::chain::Chain;
use super::pool::Pool;
use super::word::Block;
use crate::memory::{LONG_COPY, Out, OutOfBounds, Run, Way};

impl Pool {
    /// Copies `src` to the bytes from `at` on of the caller's own chain. Other bytes stay.
    pub(crate) fn write(&self, chain: &Chain, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        if src.len() <= LONG_COPY {
            if let Some(place) = self.place_of(chain, at, src.len()) {
                return self.blocks.write_at(Way::Through, place, src);
            }
            check(chain, at, src.len())?;
            return self.write_by(Way::Through, chain, at, src);
        }
        check(chain, at, src.len())?;
        self.stores.copy(src, |way, from, part| self.write_by(way, chain, at + from, part))
    }

    fn write_by(&self, way: Way, chain: &Chain, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        self.pieces(chain, at, src.len(), |offset, range| {
            self.blocks.write_at(way, offset, &src[range])
        })
    }

    /// Copies the bytes of a chain from `at` on to `dst`. A peer may write there at any
    /// time: the copy may hold anything, and is private.
    pub(crate) fn read(&self, chain: &Chain, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let behind = chain.len.saturating_sub(at).saturating_sub(dst.len());
        let how = self.read_times.out_of_piece(dst.len(), at, behind);
        if how.more() == 0
            && let Some(place) = self.place_of(chain, at, dst.len())
        {
            return self.blocks.read_at(how, place, dst);
        }
        self.read_by(how, chain, at, dst)
    }

    /// As [`read`](Self::read), of a part of a message of `message` bytes that is streamed.
    pub(crate) fn read_part(
        &self,
        message: u64,
        chain: &Chain,
        at: usize,
        dst: &mut [u8],
    ) -> Result<(), OutOfBounds> {
        self.read_by(self.read_times.out(dst.len(), message), chain, at, dst)
    }

    fn read_by(
        &self,
        how: Out,
        chain: &Chain,
        at: usize,
        dst: &mut [u8],
    ) -> Result<(), OutOfBounds> {
        let len = dst.len();
        check(chain, at, len)?;
        self.pieces(chain, at, len + how.more(), |offset, range| {
            let own = range.start.min(len)..range.end.min(len);
            // What lies behind in another place is not fetched.
            let how = how.within(|_| range.len() - own.len());
            self.blocks.read_at(how, offset, &mut dst[own])
        })
    }

    /// Finds out where `chain` lies, for those who ask for one part of it after the other.
    pub(crate) fn locate(&self, chain: &mut Chain) {
        let Some(first) = chain.blocks.first().map(|block| block.number()) else { return };
        let Some(class) = self.class_of(first) else { return };
        let numbers = class.first..class.first + class.count;
        let alike = chain.blocks.iter().take_while(|block| numbers.contains(&block.number()));
        chain.alike = u32::try_from(alike.count()).unwrap_or(0);
        let beside = chain.blocks.iter().zip(first..numbers.end);
        let beside = beside.take_while(|(block, number)| block.number() == *number).count() as u64;
        let lies = usize::try_from(class.at + (first - class.first) * class.size);
        let straight = usize::try_from(beside * class.size);
        if let (Ok(lies), Ok(straight)) = (lies, straight) {
            (chain.lies, chain.straight) = (lies, straight.min(chain.len));
        }
    }

    /// Where bytes `at..at + len` lie, if they do so together in a way that is known.
    #[inline]
    fn place_of(&self, chain: &Chain, at: usize, len: usize) -> Option<usize> {
        if at.checked_add(len)? <= chain.straight {
            return chain.lies.checked_add(at);
        }
        let class = self.class_of(chain.blocks.first()?.number())?;
        let (block, within) = chain.within(class.size.trailing_zeros(), at, len)?;
        let number = block.number().checked_sub(class.first)?;
        usize::try_from(class.at + number * class.size).ok()?.checked_add(within)
    }

    /// Copies a value from byte `at` of a chain to `dst`, as [`read`](Self::read) does. Says
    /// whether it did: not if it is none, or lies elsewhere.
    #[inline]
    pub(crate) fn read_value(&self, chain: &Chain, at: usize, dst: &mut [u8]) -> bool {
        let place = self.place_of(chain, at, dst.len());
        place.is_some_and(|place| self.blocks.read_value(place, dst))
    }

    /// Copies a value to byte `at` of the caller's own chain, as [`write`](Self::write) does. Says
    /// whether it did.
    #[inline]
    pub(crate) fn write_value(&self, chain: &Chain, at: usize, src: &[u8]) -> bool {
        let place = self.place_of(chain, at, src.len());
        place.is_some_and(|place| self.blocks.write_value(place, src))
    }

    /// The bytes of a chain from `at` on that lie in one block, if there are any.
    pub(crate) fn run(&self, chain: &Chain, at: usize) -> Option<Run<'_>> {
        let left = chain.len.checked_sub(at)?;
        let (blocks, mut begin) = chain.from(at);
        for block in blocks {
            let (lies, size) = self.lies(*block)?;
            if let Some(within) = at.checked_sub(begin).filter(|within| *within < size) {
                // No further: who asks once for each value must not walk all that is left each time.
                return self.blocks.run(lies + within, left.min(size - within));
            }
            begin += size;
        }
        None
    }

    /// Where a block lies among the bytes of all, and how many it has.
    #[inline]
    fn lies(&self, block: Block) -> Option<(usize, usize)> {
        let number = block.number();
        let class = self.class_of(number)?;
        let lies = usize::try_from(class.at + (number - class.first) * class.size).ok()?;
        Some((lies, usize::try_from(class.size).ok()?))
    }

    /// Calls `body` for each piece of the bytes `at..at + len` that lies in one block, or in several
    /// side by side: with its offset among the blocks' bytes, and which of the `len` bytes it is. Each
    /// piece costs a start: a long message has many blocks, and most of them follow each other.
    fn pieces(
        &self,
        chain: &Chain,
        at: usize,
        len: usize,
        mut body: impl FnMut(usize, std::ops::Range<usize>) -> Result<(), OutOfBounds>,
    ) -> Result<(), OutOfBounds> {
        let end = at + len;
        let mut piece = |base: usize, begin: usize, size: usize| {
            let (from, to) = (at.max(begin), end.min(begin + size));
            if from < to { body(base + from - begin, from - at..to - at) } else { Ok(()) }
        };
        let (blocks, mut begin) = chain.from(at);
        // Where the piece lies that the next block may be a part of, and its bytes.
        let (mut base, mut size) = (0, 0);
        for block in blocks {
            let Some((lies, bytes)) = self.lies(*block) else { break };
            if lies != base + size {
                piece(base, begin, size)?;
                begin += size;
                (base, size) = (lies, 0);
            }
            size += bytes;
            if begin + size >= end {
                break;
            }
        }
        piece(base, begin, size)
    }
}

fn check(chain: &Chain, at: usize, len: usize) -> Result<(), OutOfBounds> {
    if at.checked_add(len).is_some_and(|end| end <= chain.len) {
        Ok(())
    } else {
        Err(OutOfBounds { at: at as u64, len: len as u64 })
    }
}
