//! [`Memory`] under loom: every word is one of loom's atomics, made at first use and
//! found again by its offset, so that two handles on one offset share it.

use super::{Out, OutOfBounds, Storage, Way, check};
use crate::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
use core::ops::Deref;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Words {
    narrow: HashMap<usize, Word32>,
    wide: HashMap<usize, Word64>,
}

/// A share of a model's memory. Make it inside `loom::model`.
#[derive(Clone)]
pub struct Memory {
    len: usize,
    words: Arc<Mutex<Words>>,
    turn: Option<Turn>,
}

/// Touched before every access, so that any two accesses depend on each other. Relaxed,
/// so that it orders nothing else.
///
/// Loom tries a switch of threads only between two accesses that depend on each other,
/// and of each object it remembers the last access alone. Where a thread loads a word
/// and then stores to it, its own load hides that another thread loaded the word just
/// before: the interleaving in which that one loads the new value is never tried.
type Turn = Arc<AtomicU64>;

impl Memory {
    /// As many zero bytes as `storage` has. A model has no backing: this is here so that
    /// the rest of the crate compiles.
    pub fn new(storage: impl Storage + 'static) -> Self {
        Self::modelled(storage.len())
    }

    /// `len` zero bytes.
    pub fn modelled(len: usize) -> Self {
        Self { len, words: Arc::default(), turn: None }
    }

    /// As [`modelled`](Self::modelled), and loom may switch threads at every access.
    /// Finds what the other misses, in far more executions: bound the preemptions. Not
    /// for models with fences, with which the additional accesses would synchronize.
    pub fn interleaved(len: usize) -> Self {
        Self { turn: Some(Turn::default()), ..Self::modelled(len) }
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The 32-bit word at offset `at`.
    pub fn word32(&self, at: u64) -> Result<Word32, OutOfBounds> {
        let at = check(self.len, at, 4, 4)?;
        Ok(self.words.lock().unwrap().narrow.entry(at).or_default().clone())
    }

    /// The 64-bit word at offset `at`.
    pub fn word64(&self, at: u64) -> Result<Word64, OutOfBounds> {
        let at = check(self.len, at, 8, 8)?;
        let mut words = self.words.lock().unwrap();
        let new = || Word64 { value: Arc::default(), turn: self.turn.clone() };
        Ok(words.wide.entry(at).or_insert_with(new).clone())
    }

    /// `count` 64-bit words, `stride` bytes apart.
    pub fn words64(&self, at: u64, count: u64, stride: u64) -> Result<WordArray, OutOfBounds> {
        let words = (0..count).map(|i| self.word64(at + i * stride)).collect::<Result<_, _>>()?;
        Ok(WordArray { words })
    }

    /// The bytes `at..at + len`.
    pub fn region(&self, at: u64, len: u64) -> Result<Region, OutOfBounds> {
        Ok(Region { words: self.words64(at, len / 8, 8)?.words })
    }
}

/// A 32-bit word and the place to sleep on it, which stands for the futex queue.
#[derive(Clone, Default)]
pub struct Word32 {
    value: Arc<AtomicU32>,
    pub(crate) queue: Arc<(loom::sync::Mutex<()>, loom::sync::Condvar)>,
}

impl Deref for Word32 {
    type Target = AtomicU32;
    fn deref(&self) -> &AtomicU32 {
        &self.value
    }
}

/// A 64-bit word.
#[derive(Clone)]
pub struct Word64 {
    value: Arc<AtomicU64>,
    turn: Option<Turn>,
}

impl Deref for Word64 {
    type Target = AtomicU64;
    fn deref(&self) -> &AtomicU64 {
        if let Some(turn) = &self.turn {
            turn.fetch_add(1, Relaxed);
        }
        &self.value
    }
}

/// Evenly spaced 64-bit words.
#[derive(Clone)]
pub struct WordArray {
    words: Vec<Word64>,
}

impl WordArray {
    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Word `index`, or `None` past the end.
    pub fn get(&self, index: usize) -> Option<&AtomicU64> {
        self.words.get(index).map(|w| &**w)
    }
}

/// Bytes that may only be copied: relaxed words, so that loom shows a reader stale
/// ones unless an ordering elsewhere forbids it.
#[derive(Clone)]
pub struct Region {
    words: Vec<Word64>,
}

impl Region {
    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.words.len() * 8
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The 64-bit word at byte `at`.
    pub fn word(&self, at: usize) -> Option<&AtomicU64> {
        if at.is_multiple_of(8) { self.words.get(at / 8).map(|w| &**w) } else { None }
    }

    /// There is no memory to point to in a model.
    pub fn pointer(&self, _at: usize, _len: usize) -> Option<*mut [u8]> {
        None
    }

    /// Nothing to fetch in a model.
    pub fn prefetch(&self, _at: usize) {}

    /// As above.
    pub fn prefetch_to_write(&self, _at: usize) {}

    /// Copies `src` to byte `at`.
    pub fn copy_in(&self, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        check(self.len(), at as u64, src.len() as u64, 8)?;
        for (i, bytes) in src.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.words[at / 8 + i].store(u64::from_ne_bytes(word), Relaxed);
        }
        Ok(())
    }

    /// A model has no caches.
    pub fn copy_in_by(&self, _way: Way, at: usize, src: &[u8]) -> Result<(), OutOfBounds> {
        self.copy_in(at, src)
    }

    /// A model has no caches.
    pub fn copy_out_by(&self, _how: Out, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        self.copy_out(at, dst)
    }

    /// Copies from byte `at` to `dst`.
    pub fn copy_out(&self, at: usize, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        check(self.len(), at as u64, dst.len() as u64, 8)?;
        for (i, bytes) in dst.chunks_mut(8).enumerate() {
            let word = self.words[at / 8 + i].load(Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
        Ok(())
    }

    /// The place of byte `at`.
    #[allow(unsafe_code, reason = "the same signature as over real memory")]
    pub(super) unsafe fn spot(&self, at: usize) -> Spot<'_> {
        Spot { at, region: self }
    }
}

/// A place in a [`Region`]. A model checks every access nevertheless.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    at: usize,
    region: &'a Region,
}

#[allow(unsafe_code, reason = "the same signatures as over real memory")]
impl<'a> Spot<'a> {
    pub(super) unsafe fn after(self, offset: usize) -> Self {
        Self { at: self.at + offset, ..self }
    }

    pub(super) unsafe fn word(self, offset: usize) -> &'a AtomicU64 {
        self.region.word(self.at + offset).expect("inside")
    }

    pub(super) unsafe fn copy_in(self, offset: usize, src: &[u8]) {
        self.region.copy_in(self.at + offset, src).expect("inside");
    }

    pub(super) unsafe fn copy_in_by(self, way: Way, offset: usize, src: &[u8]) {
        self.region.copy_in_by(way, self.at + offset, src).expect("inside");
    }

    pub(super) unsafe fn copy_out_by(self, how: Out, offset: usize, dst: &mut [u8]) {
        self.region.copy_out_by(how, self.at + offset, dst).expect("inside");
    }

    pub(super) unsafe fn copy_out(self, offset: usize, dst: &mut [u8]) {
        self.region.copy_out(self.at + offset, dst).expect("inside");
    }
}
