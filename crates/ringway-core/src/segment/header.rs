//! The header page: fixed identity, read once.
//!
//! ```text
//! offset  size  field          meaning
//!      0     8  magic          "RINGWAY\0"
//!      8     4  layout         LAYOUT_VERSION
//!     12     4  word_check     0x01020304, wrong under another byte order
//!     16     4  kind           1 pipe, 2 queue
//!     20     4  word_size      size of a position in bytes: 8
//!     24     8  total_len      bytes of the segment, header included
//!     32     8  nonce          random, tells re-used names and inodes apart
//!     40     8  signature      what the elements are; see Spec::signature
//!     48   128  params         16 numbers whose meaning the kind defines
//!    176     8  ready          READY, stored last
//!    184  3912  zero
//!   4096        body
//! ```

use crate::error::{Error, Result};
use crate::memory::{Memory, OutOfBounds};
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// Changes with every change of any layout in the segment.
pub const LAYOUT_VERSION: u32 = 1;
/// Where the body begins: the header has a page of its own.
pub const BODY: u64 = 4096;
/// How many numbers a kind may keep in the header.
pub const PARAMS: usize = 16;

const MAGIC: u64 = u64::from_ne_bytes(*b"RINGWAY\0");
const WORD_CHECK: u32 = 0x0102_0304;
const WORD_SIZE: u32 = 8;
const READY: u64 = 0x5EA1_ED00_5EA1_ED01;

mod at {
    pub(super) const MAGIC: u64 = 0;
    pub(super) const LAYOUT: u64 = 8;
    pub(super) const WORD_CHECK: u64 = 12;
    pub(super) const KIND: u64 = 16;
    pub(super) const WORD_SIZE: u64 = 20;
    pub(super) const TOTAL_LEN: u64 = 24;
    pub(super) const NONCE: u64 = 32;
    pub(super) const SIGNATURE: u64 = 40;
    pub(super) const PARAMS: u64 = 48;
    pub(super) const READY: u64 = 176;
    const _: () = assert!(PARAMS + 8 * super::PARAMS as u64 == READY && READY + 8 <= super::BODY);
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// One or two byte rings.
    Pipe = 1,
    /// A slot ring.
    Queue = 2,
}

impl Kind {
    fn from_word(word: u32) -> Option<Self> {
        [Self::Pipe, Self::Queue].into_iter().find(|kind| *kind as u32 == word)
    }
}

/// What to create, or what an opener expects.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// What the segment is to hold.
    pub kind: Kind,
    /// A number that stands for the element type and its encoding. Best effort: it
    /// turns an honest mix-up into [`Error::Incompatible`].
    pub signature: u64,
    /// Numbers that the kind defines.
    pub params: [u64; PARAMS],
    /// Bytes after the header page.
    pub body_len: u64,
}

/// A private, validated copy of the header.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// What the segment holds.
    pub kind: Kind,
    /// Stands for the element type and its encoding.
    pub signature: u64,
    /// Numbers that the kind defines. Checked by the kind.
    pub params: [u64; PARAMS],
    /// Bytes of the segment, this header included. Equals the size of the memory.
    pub total_len: u64,
    /// Random.
    pub nonce: u64,
}

impl Header {
    /// Writes everything but `ready`.
    #[doc(hidden)]
    pub fn write(memory: &Memory, spec: &Spec, nonce: u64) -> Result<Self, OutOfBounds> {
        // Relaxed throughout: `publish` releases it all.
        memory.word64(at::MAGIC)?.store(MAGIC, Relaxed);
        memory.word32(at::LAYOUT)?.store(LAYOUT_VERSION, Relaxed);
        memory.word32(at::WORD_CHECK)?.store(WORD_CHECK, Relaxed);
        memory.word32(at::KIND)?.store(spec.kind as u32, Relaxed);
        memory.word32(at::WORD_SIZE)?.store(WORD_SIZE, Relaxed);
        memory.word64(at::TOTAL_LEN)?.store(memory.len(), Relaxed);
        memory.word64(at::NONCE)?.store(nonce, Relaxed);
        memory.word64(at::SIGNATURE)?.store(spec.signature, Relaxed);
        for (i, param) in spec.params.iter().enumerate() {
            memory.word64(at::PARAMS + 8 * i as u64)?.store(*param, Relaxed);
        }
        let Spec { kind, signature, params, .. } = *spec;
        Ok(Self { kind, signature, params, total_len: memory.len(), nonce })
    }

    /// Marks the segment complete.
    #[doc(hidden)]
    pub fn publish(memory: &Memory) -> Result<(), OutOfBounds> {
        // ORDERING segment-ready (release): header and body written above become
        // visible to whoever acquires `ready` in `read` (segment-ready, acquire).
        memory.word64(at::READY)?.store(READY, Release);
        Ok(())
    }

    /// Reads and checks the header of the object called `label`.
    ///
    /// # Errors
    ///
    /// [`Error::Incompatible`] when this is no segment of ours or not for this
    /// program; [`Error::Corrupted`] when it contradicts itself.
    pub fn read(memory: &Memory, label: &str) -> Result<Self> {
        let short = |_| Error::corrupted(label, "it is shorter than its header");
        let word = |at| memory.word64(at).map_err(short);
        let half = |at| memory.word32(at).map_err(short);
        let expect = |what, found: u64, expected: u64| {
            if found == expected { Ok(()) } else { Err(incompatible(label, what, expected, found)) }
        };
        // ORDERING segment-ready (acquire): pairs with `publish`.
        let ready = word(at::READY)?.load(Acquire);
        expect("magic", word(at::MAGIC)?.load(Relaxed), MAGIC)?;
        expect("byte order check", half(at::WORD_CHECK)?.load(Relaxed).into(), WORD_CHECK.into())?;
        expect("layout version", half(at::LAYOUT)?.load(Relaxed).into(), LAYOUT_VERSION.into())?;
        expect("word size", half(at::WORD_SIZE)?.load(Relaxed).into(), WORD_SIZE.into())?;
        if ready != READY {
            return Err(Error::corrupted(label, "its creation was not completed"));
        }
        let total_len = word(at::TOTAL_LEN)?.load(Relaxed);
        if total_len != memory.len() {
            return Err(Error::corrupted(label, "its length is not the one in its header"));
        }
        let kind = Kind::from_word(half(at::KIND)?.load(Relaxed))
            .ok_or_else(|| Error::corrupted(label, "its kind is unknown"))?;
        let mut params = [0; PARAMS];
        for (i, param) in params.iter_mut().enumerate() {
            *param = word(at::PARAMS + 8 * i as u64)?.load(Relaxed);
        }
        Ok(Self {
            kind,
            signature: word(at::SIGNATURE)?.load(Relaxed),
            params,
            total_len,
            nonce: word(at::NONCE)?.load(Relaxed),
        })
    }

    /// What the first bytes of a file say, for tools: the layout version if it is a
    /// segment at all, and its kind if this program knows that layout. Checks nothing
    /// else.
    pub(super) fn glance(page: &[u8]) -> Option<(u32, Option<Kind>)> {
        let half = |at: u64| {
            let at = usize::try_from(at).ok()?;
            Some(u32::from_ne_bytes(*page.get(at..)?.first_chunk()?))
        };
        let magic = page.starts_with(&MAGIC.to_ne_bytes());
        let same_order = half(at::WORD_CHECK)? == WORD_CHECK;
        let layout = half(at::LAYOUT).filter(|_| magic && same_order)?;
        let kind = half(at::KIND).filter(|_| layout == LAYOUT_VERSION);
        Some((layout, kind.and_then(Kind::from_word)))
    }

    /// Checks that the segment holds what the caller wants.
    ///
    /// # Errors
    ///
    /// [`Error::Incompatible`] if not.
    pub fn expect(&self, label: &str, kind: Kind, signature: u64) -> Result<()> {
        if self.kind != kind {
            let (found, expected) = (format!("{:?}", self.kind), format!("{kind:?}"));
            return Err(Error::Incompatible {
                object: label.into(),
                what: "kind",
                expected,
                found,
            });
        }
        if self.signature != signature {
            return Err(incompatible(label, "element type signature", signature, self.signature));
        }
        Ok(())
    }
}

fn incompatible(label: &str, what: &'static str, expected: u64, found: u64) -> Error {
    let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
    Error::Incompatible { object: label.into(), what, expected, found }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::Heap;

    fn spec() -> Spec {
        Spec { kind: Kind::Pipe, signature: 7, params: [3; PARAMS], body_len: 0 }
    }

    fn written() -> Memory {
        let memory = Memory::new(Heap::new(8192));
        Header::write(&memory, &spec(), 99).unwrap();
        Header::publish(&memory).unwrap();
        memory
    }

    #[test]
    fn a_header_reads_back() {
        let header = Header::read(&written(), "it").unwrap();
        assert_eq!((header.kind, header.signature, header.nonce), (Kind::Pipe, 7, 99));
        assert_eq!((header.params, header.total_len), ([3; PARAMS], 8192));
        assert!(header.expect("it", Kind::Pipe, 7).is_ok());
        assert!(matches!(header.expect("it", Kind::Queue, 7), Err(Error::Incompatible { .. })));
        assert!(matches!(header.expect("it", Kind::Pipe, 8), Err(Error::Incompatible { .. })));
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (at, what) in [
            (at::MAGIC, "magic"),
            (at::LAYOUT, "layout version"),
            (at::WORD_CHECK, "byte order check"),
            (at::WORD_SIZE, "word size"),
            (at::TOTAL_LEN, "length"),
            (at::KIND, "kind"),
            (at::READY, "not completed"),
        ] {
            let memory = written();
            memory.word32(at).unwrap().fetch_xor(0x40, Relaxed);
            let error = Header::read(&memory, "it").unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("it"), "{error}");
        }
    }

    #[test]
    fn a_glance_tells_what_can_be_told() {
        let mut page = [0_u8; 24];
        assert_eq!(Header::glance(&page), None);
        page[..8].copy_from_slice(b"RINGWAY\0");
        page[8..12].copy_from_slice(&LAYOUT_VERSION.to_ne_bytes());
        page[12..16].copy_from_slice(&WORD_CHECK.to_ne_bytes());
        page[16..20].copy_from_slice(&2_u32.to_ne_bytes());
        assert_eq!(Header::glance(&page), Some((LAYOUT_VERSION, Some(Kind::Queue))));
        for len in 0..16 {
            assert_eq!(Header::glance(&page[..len]), None);
        }
        page[16] = 77;
        assert_eq!(Header::glance(&page), Some((LAYOUT_VERSION, None)));
        (page[8], page[16]) = (99, 2);
        assert_eq!(Header::glance(&page).unwrap().1, None);
        page[0] = 0;
        assert_eq!(Header::glance(&page), None);
    }

    #[test]
    fn a_short_memory_is_refused() {
        let memory = Memory::new(Heap::new(64));
        assert!(matches!(Header::read(&memory, "it"), Err(Error::Corrupted { .. })));
    }
}
