//! Typed access to the bytes of a segment, wherever they live.
//!
//! # Why this is sound although another process may write any byte at any time
//!
//! Rust forbids two things that a hostile or broken peer could do to us: a *data race*, a
//! plain access that runs beside a write, and a change of bytes that a reference says do
//! not change. Neither rule is about other processes; the language does not know them.
//! So the argument is in two steps.
//!
//! **A mapping is memory outside the abstract machine.** No Rust object lives in it: nothing
//! is allocated, moved, dropped or initialized there, and all bit patterns of what is read
//! are valid (`u32`, `u64`, `u8`; never `bool`, an enum, a reference, or padding). What comes
//! out is input, as from a socket. The compiler may assume of it only what our accesses
//! say, and all of them say "somebody else may change this now":
//!
//! * *Words* are atomics, Relaxed or stronger. A racing atomic access is no data race,
//!   whoever the other party is: processes that share a page are, for the hardware and for
//!   the code that the compiler makes of an atomic, threads. The only references that exist
//!   into a mapping are to `AtomicU32` and `AtomicU64`. Those hold their value in an
//!   `UnsafeCell`: the compiler must not assume that it stays, nor that nobody else refers to
//!   it. It may assume that the place stays readable, which is the mapping's promise.
//! * *One size for each place.* Atomic accesses of different sizes that overlap are not
//!   defined. The layouts keep 32-bit words, 64-bit words and regions apart, and a region is
//!   made of aligned 64-bit words: headers, and the payload's bytes copied word by word.
//!   `region_bytes_are_words` in the tests of `copy` shows that no copy by atomics leaves that grid.
//! * *Long copies are assembly.* What an `asm!` block does to memory that no Rust object
//!   lives in is the processor's business: the block is given raw pointers, and the compiler
//!   must assume that it reads and writes anything reachable (no `nomem`, no `readonly`).
//!   The processor's copy is a sequence of plain loads and stores that each happen or do
//!   not; a race gives a mix of old and new bytes. The private side of a copy is a live
//!   slice, exclusively borrowed where it is written. A library `memcpy` would be the same
//!   instructions, and undefined: the compiler may assume that its source stands still.
//!   Long copies may be made of stores that go past the cache (`movntps`; `Stores` and `Out` say
//!   when). The processor orders those with nothing, so a release store would publish them too early;
//!   each such copy makes the fence that orders them (`sfence`) before it returns.
//!   Whoever acquires the store then sees them like any others.
//! * No `&[u8]`, no `&mut [u8]`, no `&T` of anything else, no `read_volatile`: none of them
//!   says what is true of these bytes. `.ci/gates` refuses them, and any use of unsafe code
//!   in a file that had none; `.ci/gates-red` shows that it does.
//!
//! **What was read is used once, and checked.** A word that decides something is loaded into
//! a local, the local is checked, and the local is used; a second load would be another
//! value. So wrong bytes lead to wrong payload or to `Corrupted`:
//!
//! * Every handle owns a share of its backing: it cannot dangle. Unmapping waits for the last.
//! * Offsets are checked once, against the private size, when the handle is made. Afterwards
//!   an index stays inside the handle's own bounds ([`Region`]), comes round by a private
//!   mask ([`Circle`]), or was checked for a whole [`Record`]. No number from the memory is
//!   ever an offset without such a check; none is ever a pointer.
//! * Loops over what the memory says have private bounds, and what it says of lengths is
//!   never trusted with an allocation.
//! * A copied message is decoded from private memory. A peer that changes it meanwhile changes
//!   what we copy, not what we check.
//! * *Batches*: room in private memory is made before anything is claimed, by lengths of which
//!   each is bounded by a slot, and all together by a constant. A length that is another one
//!   when its bytes are copied is `Corrupted`.
//! * *Grants* lend no bytes out. Which bytes are the message's was checked when the grant was
//!   made and is kept in private memory; its functions copy, as many times as they are called.
//! * *Blocks*: a chain is followed once, to a private list, as long as each word is exactly
//!   the one that its link promised, and no longer than the pool has blocks. Copies go by that
//!   list. A hostile word can make two messages share a block: wrong bytes. Freeing goes by
//!   exchanges from exact words: a block that is somebody else's stays that one's.
//!
//! **What this cannot keep.** A file that can be truncated takes its pages away: SIGBUS, in
//! the kernel's hands and not undefined, but the end of the process. Anonymous segments are
//! sealed against it; named ones cannot be. Orderings are promises between programs that keep
//! the protocol: a peer that breaks it can make us see its bytes in any order, which the
//! above never relied on. That an address is atomic across processes is the platform's word
//! (64-bit Linux, coherent memory), not the language's.
//!
//! **Shown by** `cargo test -p ringway-core --test hostile` (any bytes, also changing ones),
//! the fuzz targets, AddressSanitizer and Miri over [`Heap`], whose last byte is the last byte
//! of an allocation; `docs/trust.md` has the commands. Miri takes the copies by words: it
//! cannot see into assembly, nor can it see another process.
//!
//! The backing is a [`Storage`]: a mapped segment, or [`Heap`] for fuzzing, Miri
//! and AddressSanitizer. Under loom the words are loom's own (`loom_memory`).

mod anywhere;
mod circle;
#[cfg(not(loom))]
mod copy;
mod heap;
#[cfg(all(target_arch = "x86_64", not(any(loom, miri, fuzzing))))]
mod lines;
#[cfg(all(target_arch = "x86_64", not(any(loom, miri, fuzzing))))]
mod processor;
mod read_times;
mod records;
mod run;
mod stores;
mod trial;

#[cfg(not(loom))]
mod real;
#[cfg(not(loom))]
use real::Spot;
#[cfg(not(loom))]
pub use real::{Memory, Region, Word32, Word64, WordArray};

#[cfg(loom)]
mod loom_memory;
#[cfg(loom)]
use loom_memory::Spot;
#[cfg(loom)]
pub use loom_memory::{Memory, Region, Word32, Word64, WordArray};

pub use circle::Circle;
pub use heap::Heap;
pub use read_times::{Out, ReadTimes};
pub use records::{Record, Records};
pub use run::Run;
pub use stores::{LONG_COPY, Stores, Way};

use core::ptr::NonNull;

/// Memory that a [`Memory`] can be laid over.
///
/// # Safety
///
/// The implementor promises, for as long as the value lives:
///
/// * `base()` always returns the same pointer, aligned to [`BASE_ALIGN`];
/// * `base()..base() + len()` is mapped, readable and writable, and belongs to one
///   allocation or mapping of at most `isize::MAX` bytes;
/// * inside this process nothing reads or writes those bytes but through
///   [`Memory`]. (Other processes may do anything.)
#[allow(unsafe_code, reason = "declares the contract; implementors prove it")]
pub unsafe trait Storage: Send + Sync {
    /// The first byte.
    fn base(&self) -> NonNull<u8>;
    /// The number of bytes.
    fn len(&self) -> usize;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Alignment of every backing, in bytes: hot words sit on 128-byte lines of their
/// own, since x86 fetches pairs of 64-byte lines and some AArch64 cores have
/// 128-byte ones (the figure is crossbeam's `CachePadded`'s).
pub const BASE_ALIGN: usize = 128;

/// An offset or length does not lie inside the memory, or is not aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at offset {at} do not fit the memory or its alignment")]
pub struct OutOfBounds {
    /// Offset asked for, in bytes.
    pub at: u64,
    /// Length asked for, in bytes.
    pub len: u64,
}

/// Checks that `at..at + len` lies inside `size` bytes and `at` is aligned.
fn check(size: usize, at: u64, len: u64, align: u64) -> Result<usize, OutOfBounds> {
    let fits = at.checked_add(len).is_some_and(|end| end <= size as u64);
    if fits && at.is_multiple_of(align) {
        usize::try_from(at).map_err(|_| OutOfBounds { at, len })
    } else {
        Err(OutOfBounds { at, len })
    }
}
