//! What a message consists of that its getter has taken, and copies of it.

use super::get::{TryGet, WRONG_LENGTH};
use super::long::Place;
use super::ring::Ring;
use super::word::Meta;
use crate::blocks::Chain;
use crate::memory::{OutOfBounds, Run};

/// The bytes of a message that the caller has taken: in blocks, or as many in the slot or
/// record itself as a chain of nobody's has.
#[derive(Debug, Default)]
pub(super) struct Contents(pub(super) Chain);

impl Contents {
    pub(super) fn len(&self) -> usize {
        self.0.len
    }

    fn is_inline(&self) -> bool {
        self.0.owner == 0
    }
}

impl Ring {
    /// Finds out what a message that the caller has taken consists of; `false` if it makes no
    /// sense. To what is there: a chain is long, and each level would move it.
    pub(super) fn contents(&self, place: Place, Contents(chain): &mut Contents) -> bool {
        let cell = self.cell(place);
        let meta = cell.meta();
        match meta.kind() {
            Meta::INLINE => {
                let len = usize::try_from(meta.len()).unwrap_or(usize::MAX);
                chain.clear(0, len);
                len <= self.payload_size()
            }
            Meta::BLOCKS => self.pool.follow_to(cell.descriptor(), chain),
            _ => false,
        }
    }

    /// Copies bytes of a message that the caller has taken, from byte `from` on.
    pub(super) fn copy_contents(
        &self,
        place: Place,
        contents: &Contents,
        from: usize,
        to: &mut [u8],
    ) -> Result<(), OutOfBounds> {
        if !contents.is_inline() {
            return self.pool.read(&contents.0, from, to);
        }
        if from.checked_add(to.len()).is_none_or(|end| end > contents.len()) {
            return Err(OutOfBounds { at: from as u64, len: to.len() as u64 });
        }
        self.cell(place).copy_out(from, to)
    }

    /// As [`copy_contents`](Self::copy_contents), from the beginning on, for those who time what
    /// getters do.
    #[inline]
    pub(super) fn copy_whole(
        &self,
        place: Place,
        contents: &Contents,
        to: &mut [u8],
    ) -> Result<(), OutOfBounds> {
        let begun = self.pool.read_times().begin(to.len());
        let copied = self.copy_contents(place, contents, 0, to);
        self.pool.read_times().end(begun, to.len());
        copied
    }

    /// Finds out where the bytes lie, for those who ask for parts of them.
    #[inline]
    pub(super) fn locate(&self, contents: &mut Contents) {
        // Of a message in its slot there are no blocks.
        self.pool.locate(&mut contents.0);
    }

    /// As [`copy_contents`](Self::copy_contents), of a value. Says whether it did.
    #[inline]
    pub(super) fn read_value(&self, contents: &Contents, from: usize, to: &mut [u8]) -> bool {
        self.pool.read_value(&contents.0, from, to)
    }

    /// The bytes of a message in blocks from `from` on, as far as they lie together.
    pub(super) fn run(&self, Contents(chain): &Contents, from: usize) -> Option<Run<'_>> {
        // Of a message in its slot there are no blocks.
        self.pool.run(chain, from)
    }

    /// Copies what fits of a message that the caller has taken; says how long it is.
    ///
    /// # Errors
    ///
    /// [`TryGet::Corrupted`]. It is the caller's still.
    pub fn copy_taken(&self, place: Place, buffer: &mut [u8]) -> Result<usize, TryGet> {
        let mut contents = Contents::default();
        if !self.contents(place, &mut contents) {
            return Err(WRONG_LENGTH);
        }
        let fits = contents.len().min(buffer.len());
        let copied = self.copy_whole(place, &contents, &mut buffer[..fits]);
        copied.map(|()| contents.len()).map_err(|_| WRONG_LENGTH)
    }
}
