//! Filling blocks, and reading them.

use super::chain::Chain;
use super::pool::Pool;
use super::word::Block;
use crate::memory::{LONG_COPY, Out, OutOfBounds, Region, Run, Way};

impl Pool {
    /// Copies `src` to the bytes from `at` on of the caller's own chain. Other bytes stay.
    pub(crate) fn write(&self, chain: &Chain, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        check(chain, at, src.len())?;
        if src.len() > LONG_COPY {
            return self
                .stores
                .copy(src, |way, from, part| self.write_by(way, chain, at + from, part));
        }
        self.write_by(Way::Through, chain, at, src)
    }

    fn write_by(&self, way: Way, chain: &Chain, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        self.pieces(chain, at, src.len(), |offset, range| {
            let src = &src[range];
            // A copy rounds up to whole words; what is beside must stay.
            let head = offset.next_multiple_of(8).min(offset + src.len()) - offset;
            let (head, rest) = src.split_at(head);
            let (middle, tail) = rest.split_at(rest.len() & !7);
            self.blocks.write_value(offset, head);
            let at = offset.next_multiple_of(8);
            self.blocks.copy_in_by(way, at, middle)?;
            self.blocks.write_value(offset + head.len() + middle.len(), tail);
            Ok(())
        })
    }

    /// Copies the bytes of a chain from `at` on to `dst`. A peer may write there at any
    /// time: the copy may hold anything, and is private.
    pub(crate) fn read(&self, chain: &Chain, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        let behind = chain.len.saturating_sub(at).saturating_sub(dst.len());
        self.read_by(self.read_times.out_of_piece(dst.len(), at, behind), chain, at, dst)
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
            copy_out_at(&self.blocks, how, offset, &mut dst[own])
        })
    }

    /// Prepares `chain` for [`read_value`](Self::read_value) and
    /// [`write_value`](Self::write_value).
    pub(crate) fn find_alike(&self, chain: &mut Chain) {
        let first = chain.blocks.first().and_then(|block| self.class_of(block.number()));
        let Some(class) = first else { return };
        let numbers = class.first..class.first + class.count;
        let alike = chain.blocks.iter().take_while(|block| numbers.contains(&block.number()));
        chain.alike = u32::try_from(alike.count()).unwrap_or(0);
    }

    /// Where bytes `at..at + len` lie, if they do so in one of the blocks that are alike.
    #[inline]
    fn value_at(&self, chain: &Chain, at: usize, len: usize) -> Option<usize> {
        let class = self.class_of(chain.blocks.first()?.number())?;
        let (block, within) = chain.value(class.size.trailing_zeros(), at, len)?;
        let number = block.number().checked_sub(class.first)?;
        usize::try_from(class.at + number * class.size).ok()?.checked_add(within)
    }

    /// Copies a value from byte `at` of a chain to `dst`, as [`read`](Self::read) does. Says
    /// whether it did: not if it is none, or lies elsewhere.
    #[inline]
    pub(crate) fn read_value(&self, chain: &Chain, at: usize, dst: &mut [u8]) -> bool {
        let place = self.value_at(chain, at, dst.len());
        place.is_some_and(|place| self.blocks.read_value(place, dst))
    }

    /// Copies a value to byte `at` of the caller's own chain, as [`write`](Self::write) does. Says
    /// whether it did.
    #[inline]
    pub(crate) fn write_value(&self, chain: &Chain, at: usize, src: &[u8]) -> bool {
        let place = self.value_at(chain, at, src.len());
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

/// Copies from byte `at`, which need not be a multiple of 8, to `dst`. As
/// [`Region::copy_out_by`].
pub(crate) fn copy_out_at(
    region: &Region,
    how: Out,
    at: usize,
    dst: &mut [u8],
) -> Result<(), OutOfBounds> {
    let head = (at.next_multiple_of(8) - at).min(dst.len());
    let (head, rest) = dst.split_at_mut(head);
    if !head.is_empty() {
        let mut bytes = [0; 8];
        region.copy_out(at & !7, &mut bytes)?;
        head.copy_from_slice(&bytes[at % 8..at % 8 + head.len()]);
    }
    region.copy_out_by(how, at.next_multiple_of(8), rest)
}
