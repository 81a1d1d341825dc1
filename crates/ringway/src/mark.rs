//! Which descriptor is meant: its number, and what it leads to.
//!
//! A number alone says too little. Environment variables outlive the descriptors they
//! speak of: a program started by a child inherits the variable but not the
//! descriptor, and may have something else of its own under that number. So the giver
//! also writes down device and inode, and the taker accepts only a descriptor that
//! leads there *and* is not close-on-exec: what a program opens for itself normally is,
//! what was handed to it cannot be, and [`Mark::adopt`] makes it so at once.
#![allow(unsafe_code, reason = "an inherited number becomes an owned descriptor; proof below")]

use rustix::fs::OFlags;
use rustix::io::FdFlags;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// The first number that is not a standard stream.
const FIRST: RawFd = 3;

/// A descriptor as the giver describes it to the taker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    number: RawFd,
    device: u64,
    inode: u64,
}

impl Mark {
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::at(fd.as_raw_fd())
    }

    /// Goes through `/proc`, because the number may be nobody's: borrowing it would be
    /// wrong then.
    fn at(number: RawFd) -> io::Result<Self> {
        let found = std::fs::metadata(format!("/proc/self/fd/{number}"))?;
        Ok(Self { number, device: found.dev(), inode: found.ino() })
    }

    /// Whether the descriptor came with this process and was not adopted yet.
    pub(crate) fn is_here(&self) -> bool {
        self.number >= FIRST
            && Self::at(self.number).is_ok_and(|found| found == *self)
            && survives_exec(self.number)
    }

    /// Takes the descriptor, close-on-exec from now on; `None` if it is not here.
    pub(crate) fn adopt(&self) -> Option<OwnedFd> {
        // One at a time: of two threads with the same mark, one finds the flag set.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_here() {
            return None;
        }
        // SAFETY: the number is open, and leads to the very object that the starter of
        // this program put there for us, so it has been open since the program began:
        // no code of this process opened it. Nobody adopted it before either, for that
        // sets the flag which `is_here` found clear, and the lock keeps that so until
        // it is set below.
        let fd = unsafe { OwnedFd::from_raw_fd(self.number) };
        // Refused only for descriptors that are not open.
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).ok()?;
        Some(fd)
    }
}

/// Gives `fd` a number that is no standard stream's: those are replaced in a child.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), FIRST)?)
}

fn survives_exec(number: RawFd) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    let Ok(info) = info else { return false };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0)
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.number, self.device, self.inode)
    }
}

/// The text is not what [`Mark`] prints.
#[derive(Debug)]
pub(crate) struct NotAMark;

impl FromStr for Mark {
    type Err = NotAMark;

    fn from_str(text: &str) -> Result<Self, NotAMark> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(NotAMark);
        let (number, device, inode) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(NotAMark);
        }
        let wrong = |_| NotAMark;
        Ok(Self {
            number: number.parse().map_err(wrong)?,
            device: device.parse().map_err(wrong)?,
            inode: inode.parse().map_err(wrong)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// As if it had come through exec.
    fn inherited() -> (Mark, RawFd) {
        let (mine, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let mine: OwnedFd = mine.into();
        rustix::io::fcntl_setfd(&mine, FdFlags::empty()).unwrap();
        let mark = Mark::of(mine.as_fd()).unwrap();
        (mark, std::os::fd::IntoRawFd::into_raw_fd(mine))
    }

    #[test]
    fn an_inherited_descriptor_is_adopted_once_and_goes_no_further() {
        let (mark, number) = inherited();
        assert!(mark.is_here());
        let adopted = mark.adopt().unwrap();
        assert_eq!(adopted.as_raw_fd(), number);
        assert_eq!(rustix::io::fcntl_getfd(&adopted).unwrap(), FdFlags::CLOEXEC);
        assert!(!mark.is_here());
        assert!(mark.adopt().is_none());
    }

    #[test]
    fn something_else_under_the_number_is_not_taken() {
        let file = File::open("/dev/null").unwrap();
        let own = Mark::of(file.as_fd()).unwrap();
        assert!(own.adopt().is_none(), "what we opened ourselves is close-on-exec");
        rustix::io::fcntl_setfd(&file, FdFlags::empty()).unwrap();
        let other = Mark { inode: own.inode + 1, ..own };
        assert!(other.adopt().is_none(), "the number leads elsewhere");
        assert!(Mark { number: 1, ..own }.adopt().is_none(), "the standard streams are std's");
        assert!(Mark { number: -1, ..own }.adopt().is_none());
    }

    #[test]
    fn text_and_back() {
        let mark = Mark { number: 7, device: 9, inode: u64::MAX };
        assert_eq!(mark.to_string().parse::<Mark>().unwrap(), mark);
        for wrong in ["", "7", "7:9", "7:9:x", "7:9:1:1", "7:-9:1", "99999999999:9:1"] {
            assert!(wrong.parse::<Mark>().is_err(), "{wrong:?}");
        }
    }
}
