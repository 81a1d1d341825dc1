//! The segment: shared memory with a header that says what it is.
//!
//! Anonymous segments are sealed memfds: nobody can shrink or grow them, so no peer
//! can turn our next access into a SIGBUS. Named ones are files that appear complete
//! or not at all; they cannot be sealed, so their users trust each other not to
//! truncate them (mode 0600 by default).
//!
//! The pages are reserved at creation. Running out of memory is an error there and
//! never a signal later.

mod create;
mod header;
mod map;
mod name;
mod open;
mod sight;

pub use create::{NewSegment, Place};
pub use header::{BODY, Header, Kind, LAYOUT_VERSION, PARAMS, Spec};
pub use name::Name;
pub use sight::{Contents, Sight};

use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::process::LockFile;
use crate::process::global::SegmentKey;
use rustix::fs::fstat;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// An open segment: its memory, its validated header, and a descriptor to give it on.
pub struct Segment {
    memory: Memory,
    header: Header,
    /// Never locked: locks live in descriptions of their own.
    fd: OwnedFd,
    label: String,
    /// Device and inode, once somebody asked.
    file: OnceLock<(u64, u64)>,
}

impl Segment {
    /// Access to the bytes, header included.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The header as it was when the segment was opened. Private: no peer can change it.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What messages call this segment.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A fresh description to hand to another process.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] without `/proc`, or when descriptors run out.
    pub fn share(&self) -> Result<OwnedFd> {
        crate::process::reopen(self.fd.as_fd()).map_err(|e| Error::os("share", &self.label, e))
    }

    /// A description for locks on this segment.
    ///
    /// # Errors
    ///
    /// As [`share`](Self::share).
    pub fn lock_file(&self) -> Result<LockFile> {
        LockFile::open(self.fd.as_fd())
    }

    /// What tells this segment from every other on this machine.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the system cannot say.
    pub fn key(&self) -> Result<SegmentKey> {
        let (device, inode) = match self.file.get() {
            Some(file) => *file,
            None => {
                let stat = fstat(&self.fd).map_err(|e| Error::os("inspect", &self.label, e))?;
                *self.file.get_or_init(|| (stat.st_dev, stat.st_ino))
            }
        };
        Ok((device, inode, self.header.nonce))
    }

    /// Takes the segment apart into its memory and its descriptor, for owners that
    /// keep the descriptor for locks.
    pub fn into_parts(self) -> (Memory, Header, OwnedFd, String) {
        (self.memory, self.header, self.fd, self.label)
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
