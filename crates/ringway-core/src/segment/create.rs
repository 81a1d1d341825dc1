//! Making a segment: complete or not at all.

use super::header::{BODY, Header, Spec};
use super::{Name, Segment, map};
use crate::error::{Error, Result};
use crate::memory::{Memory, OutOfBounds};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals,
    linkat, memfd_create, open,
};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

/// Where a new segment lives.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// A sealed memfd, reached through its descriptor. The text is shown in
    /// `/proc/*/maps`.
    Anonymous(&'a str),
    /// A file that appears under this name when it is complete.
    Named(&'a Name, Mode),
}

/// A segment whose body is being written. Dropped unpublished, it never existed: the
/// file has no name and no other process has its descriptor.
pub struct NewSegment<'a> {
    segment: Segment,
    place: Place<'a>,
}

impl<'a> NewSegment<'a> {
    /// Creates the file, reserves its pages, maps it and writes the header. The body
    /// is zero.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for a size beyond 2^46 bytes; [`Error::Os`] when memory,
    /// descriptors or permissions do not suffice. Nothing is left behind.
    pub fn create(place: Place<'a>, spec: &Spec) -> Result<Self> {
        let total = spec.body_len.checked_add(BODY).filter(|total| *total <= map::LARGEST);
        let Some(total) = total else {
            return Err(Error::out_of_range("a segment size", spec.body_len, "at most 2^46 bytes"));
        };
        let (fd, label) = match place {
            Place::Anonymous(label) => (anonymous(label)?, label.to_owned()),
            Place::Named(name, mode) => (unlinked(name, mode)?, name.path().display().to_string()),
        };
        reserve(&fd, total).map_err(|e| Error::os("reserve memory for", &label, e))?;
        let memory = map::map_sized(fd.as_fd(), total, &label)?;
        let fits = |_: OutOfBounds| Error::corrupted(&label, "it is shorter than its header");
        let header = Header::write(&memory, spec, nonce()?).map_err(fits)?;
        Ok(Self { segment: Segment { memory, header, fd, label, file: OnceLock::new() }, place })
    }

    /// The bytes, to write the body.
    pub fn memory(&self) -> &Memory {
        &self.segment.memory
    }

    /// The segment as it will be, for what must exist before others can open it.
    pub fn unpublished(&self) -> &Segment {
        &self.segment
    }

    /// Marks the segment complete and seals it, or gives it its name.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`]; [`Error::Os`]. Nothing is left behind.
    pub fn publish(self) -> Result<Segment> {
        let Self { segment, place } = self;
        let fits = |_| Error::corrupted(&segment.label, "it is shorter than its header");
        Header::publish(&segment.memory).map_err(fits)?;
        match place {
            Place::Anonymous(_) => fcntl_add_seals(&segment.fd, SEALS)
                .map_err(|e| Error::os("seal", &segment.label, e))?,
            Place::Named(name, _) => link(&segment.fd, name)?,
        }
        Ok(segment)
    }
}

/// What a memfd segment must be sealed against, for ever.
pub(super) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

fn anonymous(label: &str) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // NOEXEC_SEAL is known since Linux 6.3; older systems say EINVAL.
    let made = match memfd_create(label, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(label, flags),
        other => other,
    };
    made.map_err(|e| Error::os("create", format!("memfd {label:?}"), e))
}

/// Gives the file its size and reserves its pages, in steps. On older systems a signal ends the call and undoes it; a
/// step is short enough to get through between two ticks of a profiler.
fn reserve(fd: &OwnedFd, total: u64) -> rustix::io::Result<()> {
    const STEP: u64 = 256 << 10;
    let mut at = 0;
    while at < total {
        let len = STEP.min(total - at);
        rustix::io::retry_on_intr(|| fallocate(fd, FallocateFlags::empty(), at, len))?;
        at += len;
    }
    Ok(())
}

fn unlinked(name: &Name, mode: Mode) -> Result<OwnedFd> {
    let dir = name.path().parent().unwrap_or(name.path());
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    open(dir, flags, mode).map_err(|e| Error::os("create a file in", dir.display(), e))
}

fn link(fd: &OwnedFd, name: &Name) -> Result<()> {
    let from = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match linkat(CWD, from, CWD, name.path(), AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Error::NameTaken { name: name.as_str().into() }),
        Err(e) => Err(Error::os("name", name.path().display(), e)),
    }
}

fn nonce() -> Result<u64> {
    let mut bytes = [0_u8; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Error::os("read", "the random number source", e))?;
    Ok(u64::from_ne_bytes(bytes))
}
