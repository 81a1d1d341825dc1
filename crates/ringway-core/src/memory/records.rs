//! Evenly spaced records: a head of words, then bytes.
#![allow(unsafe_code, reason = "a record's bounds are checked once, when it is looked up")]

use super::{OutOfBounds, Region, Spot};
use crate::sync::AtomicU64;

/// Records of `stride` bytes each, whose first `HEAD` bytes are words. The rest of a record
/// are bytes that may only be copied.
#[derive(Clone)]
pub struct Records<const HEAD: usize> {
    region: Region,
    count: usize,
    stride: usize,
}

impl<const HEAD: usize> Records<HEAD> {
    /// Lays as many records of `stride` bytes over `region` as fit; `None` if `stride` is
    /// no multiple of 8 or too small for the words.
    pub fn new(region: Region, stride: usize) -> Option<Self> {
        if !stride.is_multiple_of(8) || stride < HEAD || stride == 0 {
            return None;
        }
        Some(Self { count: region.len() / stride, stride, region })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Record `index`; `None` past the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Record<'_, HEAD>> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `index < count`, so the record lies inside the region; no overflow, and a
        // multiple of 8, as the stride is.
        let spot = unsafe { self.region.spot(index * self.stride) };
        Some(Record { spot, bytes: self.stride - HEAD })
    }

    /// The records from number `from` up to `to`, as far as there are such. For short
    /// loops: what they need of `self` is read once.
    #[inline]
    pub fn between(&self, from: usize, to: usize) -> impl Iterator<Item = Record<'_, HEAD>> {
        let (stride, bytes) = (self.stride, self.stride - HEAD);
        // SAFETY: every region begins somewhere.
        let first = unsafe { self.region.spot(0) };
        (from..to.min(self.count)).map(move |index| {
            // SAFETY: `index < count`: as in `get`.
            let spot = unsafe { first.after(index.wrapping_mul(stride)) };
            Record { spot, bytes }
        })
    }
}

/// One of the [`Records`].
#[derive(Clone, Copy)]
pub struct Record<'a, const HEAD: usize> {
    spot: Spot<'a>,
    /// Bytes after the words.
    bytes: usize,
}

impl<'a, const HEAD: usize> Record<'a, HEAD> {
    /// The word at byte `AT` of the head.
    #[inline]
    pub fn word<const AT: usize>(&self) -> &'a AtomicU64 {
        const { assert!(AT.is_multiple_of(8) && AT + 8 <= HEAD, "no word of the head") };
        // SAFETY: a record has at least `HEAD` bytes, and begins at a multiple of 8.
        unsafe { self.spot.word(AT) }
    }

    /// Copies `src` to the bytes after the words, as [`Region::copy_in`] does.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if there are fewer.
    #[inline]
    pub fn copy_in(&self, src: &[u8]) -> Result<(), OutOfBounds> {
        const { assert!(HEAD.is_multiple_of(8)) };
        if src.len() > self.bytes {
            return Err(OutOfBounds { at: HEAD as u64, len: src.len() as u64 });
        }
        // SAFETY: as many bytes follow the words, a multiple of 8 in all.
        unsafe { self.spot.copy_in(HEAD, src) };
        Ok(())
    }

    /// Copies the first bytes after the words to `dst`, as [`Region::copy_out`] does.
    ///
    /// # Errors
    ///
    /// [`OutOfBounds`] if there are fewer.
    #[inline]
    pub fn copy_out(&self, dst: &mut [u8]) -> Result<(), OutOfBounds> {
        const { assert!(HEAD.is_multiple_of(8)) };
        if dst.len() > self.bytes {
            return Err(OutOfBounds { at: HEAD as u64, len: dst.len() as u64 });
        }
        // SAFETY: as in `copy_in`.
        unsafe { self.spot.copy_out(HEAD, dst) };
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::{Heap, Memory};
    use super::*;
    use crate::sync::Ordering::Relaxed;

    fn records(len: u64, stride: usize) -> Option<Records<16>> {
        Records::new(Memory::new(Heap::new(4096)).region(0, len).unwrap(), stride)
    }

    #[test]
    fn strides_that_hold_no_record_are_refused() {
        for stride in [0, 8, 12, 33] {
            assert!(records(4096, stride).is_none(), "{stride}");
        }
        assert_eq!(records(4096, 16).unwrap().len(), 256);
        assert_eq!(records(4088, 4096).unwrap().len(), 0);
    }

    #[test]
    fn records_do_not_touch_each_other() {
        let records = records(96, 32).unwrap();
        assert!(records.get(3).is_none() && records.get(usize::MAX).is_none());
        assert_eq!((records.between(1, 9).count(), records.between(3, 2).count()), (2, 0));
        for i in 0..3_u8 {
            let record = records.get(i.into()).unwrap();
            record.word::<0>().store(i.into(), Relaxed);
            record.word::<8>().store(u64::from(i) + 10, Relaxed);
            record.copy_in(&[i; 16]).unwrap();
            assert!(record.copy_in(&[0xEE; 17]).is_err());
        }
        for i in 0..3_u8 {
            let (record, mut bytes) = (records.get(i.into()).unwrap(), [0; 16]);
            record.copy_out(&mut bytes).unwrap();
            let words = (record.word::<0>().load(Relaxed), record.word::<8>().load(Relaxed));
            assert_eq!((words, bytes), ((i.into(), u64::from(i) + 10), [i; 16]));
            assert!(record.copy_out(&mut [0; 17]).is_err());
            let same = records.between(i.into(), usize::from(i) + 1).next().unwrap();
            assert_eq!(same.word::<8>().load(Relaxed), words.1);
            assert!(same.copy_out(&mut bytes).is_ok() && same.copy_out(&mut [0; 17]).is_err());
        }
    }
}
