//! Locks that the kernel drops when their holder dies, and not before.
//!
//! An open-file-description lock belongs to the description, not to the process and
//! not to the descriptor. So each holder opens a description of its own through
//! `/proc/self/fd`, never maps it, sends it or lets it be inherited: a forked child
//! or a mapping that keeps it open would keep the dead alive. The classic POSIX lock
//! is no substitute: closing *any* descriptor of the file drops it.
//!
//! The lock outlives the address space: the kernel closes files after it has torn
//! down memory. When the lock is free, no thread of its holder can store any more.
#![allow(unsafe_code, reason = "rustix lacks these fcntl calls; every block has its proof")]

use super::{fork, global};
use crate::error::{Error, Result};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A description of a segment that is used for locks only.
#[derive(Debug)]
pub struct LockFile {
    fd: OwnedFd,
}

impl LockFile {
    /// Opens a fresh description of the file behind `fd`.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] without `/proc`, or when descriptors run out.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self> {
        fork::install_handlers();
        let fd = reopen(fd).map_err(|e| Error::os("open for locking", fd_path(fd), e))?;
        // From here on a fork gives the child a description without locks.
        global::lock().lock_fds.push(fd.as_raw_fd());
        Ok(Self { fd })
    }

    /// Tries to lock one byte; `false` if another description holds it. The byte need
    /// not exist. Locking what this description holds already succeeds.
    pub fn try_lock(&self, byte: u64) -> io::Result<bool> {
        match control(self.as_fd(), libc::F_OFD_SETLK, libc::F_WRLCK, byte, 1) {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Lets go of one byte.
    pub fn unlock(&self, byte: u64) -> io::Result<()> {
        control(self.as_fd(), libc::F_OFD_SETLK, libc::F_UNLCK, byte, 1).map(drop)
    }

    /// Whether another description holds the byte. Takes about 0.6 us.
    pub fn locked_by_another(&self, byte: u64) -> io::Result<bool> {
        let found = control(self.as_fd(), libc::F_OFD_GETLK, libc::F_WRLCK, byte, 1)?;
        Ok(found != libc::F_UNLCK)
    }
}

/// Whether any byte of the file behind `fd` is locked through another description, in
/// whatever process. A descriptor that was opened for reading will do.
pub fn any_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // A length of zero is all bytes there can be.
    let found = control(fd, libc::F_OFD_GETLK, libc::F_WRLCK, 0, 0)?;
    Ok(found != libc::F_UNLCK)
}

/// One fcntl lock call; gives the lock type that the kernel left in the structure.
fn control(
    fd: BorrowedFd<'_>,
    command: libc::c_int,
    kind: libc::c_int,
    start: u64,
    len: i64,
) -> io::Result<i32> {
    // SAFETY: `flock` is a plain C structure; all zeros is a value of it.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    #[allow(clippy::cast_possible_truncation, reason = "the three types and SEEK_SET fit")]
    {
        lock.l_type = kind as i16;
        lock.l_whence = libc::SEEK_SET as i16;
    }
    lock.l_start = i64::try_from(start).map_err(|_| io::ErrorKind::InvalidInput)?;
    lock.l_len = len;
    // SAFETY: the descriptor is open, and `lock` is a valid flock that lives through the
    // call.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(i32::from(lock.l_type)) }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Before the number is free for others: a fork in between must not meet it.
        let fd = self.fd.as_raw_fd();
        global::lock().lock_fds.retain(|other| *other != fd);
    }
}

/// A fresh description of the file behind `fd`, close-on-exec. Works for files
/// without a name too.
pub fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(fd_path(fd), flags, Mode::empty())?)
}

fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// In a forked child: puts a fresh description, without locks, in the place of the
/// inherited one. Makes system calls only and allocates nothing.
pub(super) fn renew_description(fd: RawFd) {
    let mut path = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    let mut at = b"/proc/self/fd/".len();
    let mut divisor = 1_000_000_000;
    while divisor > 0 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "one digit")]
        let digit = (fd / divisor % 10) as u8;
        if fd >= divisor || divisor == 1 {
            path[at] = b'0' + digit;
            at += 1;
        }
        divisor /= 10;
    }
    // SAFETY: `path` ends in a zero byte: at most 10 digits went into its 11 spare bytes.
    let fresh = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDWR | libc::O_CLOEXEC) };
    if fresh == -1 {
        // Better no descriptor than one that keeps the parent alive: uses of the
        // handle in the child fail with EBADF.
        // SAFETY: `fd` is ours: it is in the table of lock descriptors.
        unsafe { libc::close(fd) };
        return;
    }
    // SAFETY: both descriptors are open and ours.
    unsafe { libc::dup3(fresh, fd, libc::O_CLOEXEC) };
    // SAFETY: as above; the file stays open under the old number.
    unsafe { libc::close(fresh) };
}
