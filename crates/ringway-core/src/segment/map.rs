//! The mapping of a segment's file.
#![allow(unsafe_code, reason = "promises that a mapping is valid memory")]

use crate::error::{Error, Result};
use crate::memory::{BASE_ALIGN, Memory, Storage};
use core::ptr::NonNull;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::fstat;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The largest segment: far beyond any machine, and far from overflowing offsets.
pub(super) const LARGEST: u64 = 1 << 46;

/// A shared mapping. `MmapRaw` and not `MmapMut`, which would lend out `&mut [u8]`
/// into bytes that a peer may write.
struct Mapping(MmapRaw);

// SAFETY: `MmapRaw` keeps one shared, writable mapping of `len` bytes at one address
// until it is dropped. Pages are aligned far beyond BASE_ALIGN. Nobody else in this
// process has the pointer. A peer can change bytes but, the file being sealed or
// trusted not to shrink, cannot take pages away.
unsafe impl Storage for Mapping {
    fn base(&self) -> NonNull<u8> {
        // A mapping is never at address 0.
        NonNull::new(self.0.as_mut_ptr()).unwrap_or(NonNull::dangling())
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

const _: () = assert!(BASE_ALIGN <= 4096);

/// Maps all of `fd`, whatever its size is. Says its device and inode, too.
pub(super) fn map(fd: BorrowedFd<'_>, label: &str) -> Result<(Memory, (u64, u64))> {
    let stat = fstat(fd).map_err(|e| Error::os("inspect", label, e))?;
    let size =
        u64::try_from(stat.st_size).ok().filter(|size| (super::BODY..=LARGEST).contains(size));
    let Some(size) = size else {
        return Err(Error::corrupted(label, "its size is not one of a segment"));
    };
    Ok((map_sized(fd, size, label)?, (stat.st_dev, stat.st_ino)))
}

/// Maps the `size` bytes that `fd` has. Every segment of this process comes through here:
/// the first one installs the fork handlers, so that no handle can be copied unnoticed.
pub(super) fn map_sized(fd: BorrowedFd<'_>, size: u64, label: &str) -> Result<Memory> {
    crate::process::install_handlers();
    let size = usize::try_from(size).map_err(|_| Error::corrupted(label, "its size"))?;
    let map = MmapOptions::new().len(size).map_raw(fd.as_fd().as_raw_fd());
    let map = map.map_err(|e| Error::os("map", label, e))?;
    Ok(Memory::new(Mapping(map)))
}
