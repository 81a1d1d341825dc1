//! Opening a segment that someone else made: trust nothing, check everything once.

use super::create::SEALS;
use super::header::Header;
use super::{Name, Segment, map};
use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags, fcntl_get_seals, open};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

impl Segment {
    /// Opens the segment behind a descriptor that another process handed over.
    ///
    /// # Errors
    ///
    /// [`Error::Incompatible`] when it is no segment of this layout version, or is not
    /// sealed against being shrunk; [`Error::Corrupted`] when header and size disagree;
    /// [`Error::Os`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let label = format!("segment at descriptor {}", fd.as_raw_fd());
        // Files of other kinds have no seals and say so with EINVAL.
        let seals = fcntl_get_seals(&fd).unwrap_or(rustix::fs::SealFlags::empty());
        if !seals.contains(SEALS) {
            return Err(Error::Incompatible {
                object: label,
                what: "set of seals",
                expected: "SHRINK, GROW and SEAL".into(),
                found: format!("{seals:?}"),
            });
        }
        Self::open_fd(fd, label)
    }

    /// Opens a named segment behind a descriptor that another process handed over. As
    /// [`open_named`](Self::open_named), whatever became of the name.
    ///
    /// # Errors
    ///
    /// As [`from_fd`](Self::from_fd) but for the seals.
    pub fn from_named_fd(fd: OwnedFd) -> Result<Self> {
        let label = format!("segment at descriptor {}", fd.as_raw_fd());
        Self::open_fd(fd, label)
    }

    /// Opens a named segment. It cannot be sealed: whoever may write the file is
    /// trusted not to truncate it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; as [`from_fd`](Self::from_fd) but for the seals.
    pub fn open_named(name: &Name) -> Result<Self> {
        let label = name.path().display().to_string();
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match open(name.path(), flags, Mode::empty()) {
            Ok(fd) => Self::open_fd(fd, label),
            Err(Errno::NOENT) => Err(Error::NotFound { name: name.as_str().into() }),
            Err(e) => Err(Error::os("open", label, e)),
        }
    }

    fn open_fd(fd: OwnedFd, label: String) -> Result<Self> {
        let (memory, file) = map::map(fd.as_fd(), &label)?;
        let header = Header::read(&memory, &label)?;
        Ok(Self { memory, header, fd, label, file: file.into() })
    }
}
