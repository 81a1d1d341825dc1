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
use core::mem::ManuallyDrop;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A description of a segment that is used for locks only.
#[derive(Debug)]
pub struct LockFile {
    /// Closed by `drop`, in step with the list of such descriptors.
    fd: ManuallyDrop<OwnedFd>,
}

impl LockFile {
    /// Opens a fresh description of the file behind `fd`.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] without `/proc`, or when descriptors run out.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self> {
        fork::install_handlers();
        // Fork waits for the state's lock: no child inherits this description without
        // knowing that it must let go of it. It would keep the dead alive.
        let mut global = global::lock();
        let fd = reopen(fd).map_err(|e| Error::os("open for locking", fd_path(fd), e))?;
        global.lock_fds.push(fd.as_raw_fd());
        Ok(Self { fd: ManuallyDrop::new(fd) })
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
        // Both under the lock that fork waits for: a child inherits the description and
        // knows it, or does not inherit it; and the number is not free for others before.
        let mut global = global::lock();
        let fd = self.fd.as_raw_fd();
        global.lock_fds.retain(|other| *other != fd);
        // SAFETY: `self.fd` is not used again: this is its owner's `drop`.
        unsafe { ManuallyDrop::drop(&mut self.fd) };
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
        // Better no locks than one that keeps the parent alive: uses of the handle in
        // the child fail with EBADF.
        disarm(fd);
        return;
    }
    // SAFETY: both descriptors are open and ours.
    unsafe { libc::dup3(fresh, fd, libc::O_CLOEXEC) };
    // SAFETY: as above; the file stays open under the old number.
    unsafe { libc::close(fresh) };
}

/// In a forked child where descriptors have run out: puts one that can do nothing in the
/// place of `fd`. The number must stay taken: its owner in the child would use and close
/// whatever file came to have it.
fn disarm(fd: RawFd) {
    // SAFETY: `fd` is ours: it is in the table of lock descriptors.
    unsafe { libc::close(fd) };
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the path ends in a zero byte. If descriptors had run out, the number that
    // has just become free is the only one there is.
    let inert = unsafe { libc::open(c"/".as_ptr(), flags) };
    if inert != fd && inert != -1 {
        // SAFETY: `inert` is open and ours, and nobody has taken `fd`: a forked child has
        // one thread yet.
        unsafe { libc::dup3(inert, fd, libc::O_CLOEXEC) };
        // SAFETY: as above; the file stays open under the other number.
        unsafe { libc::close(inert) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::FromRawFd;

    /// Runs `body` in a forked child; its answer is the exit status.
    fn in_child(body: impl FnOnce() -> i32) -> i32 {
        // SAFETY: the child makes system calls and exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let status = body();
            // SAFETY: ends this process without running the parent's destructors.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: `child` is our child; `status` is a valid place.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        libc::WEXITSTATUS(status)
    }

    #[test]
    fn no_child_keeps_a_lock_that_its_parent_gave_up() {
        use crate::sync::{AtomicBool, Ordering::Relaxed};
        use std::time::{Duration, Instant};
        // SAFETY: the name ends in a zero byte.
        let fd = unsafe { libc::memfd_create(c"locks".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        let (stop, mut children) = (AtomicBool::new(false), Vec::new());
        let kept = std::thread::scope(|scope| {
            let locker = |byte| {
                while !stop.load(Relaxed) {
                    let lock = LockFile::open(file.as_fd()).unwrap();
                    let start = Instant::now();
                    // A child just forked lets go of its copy as its first act.
                    while !lock.try_lock(byte).unwrap() {
                        if start.elapsed() > Duration::from_secs(2) {
                            return true;
                        }
                        std::thread::yield_now();
                    }
                }
                false
            };
            let lockers = [1, 2, 3, 4].map(|byte| scope.spawn(move || locker(byte)));
            for _ in 0..1000 {
                // SAFETY: the child waits to be killed.
                match unsafe { libc::fork() } {
                    0 => loop {
                        // SAFETY: a system call without arguments.
                        unsafe { libc::pause() };
                    },
                    child => children.push(child),
                }
                if lockers.iter().any(|locker| locker.is_finished()) {
                    break;
                }
            }
            stop.store(true, Relaxed);
            for child in &children {
                // SAFETY: our child, not reaped yet.
                unsafe { libc::kill(*child, libc::SIGKILL) };
                // SAFETY: as above; no status is asked for.
                unsafe { libc::waitpid(*child, std::ptr::null_mut(), 0) };
            }
            lockers.map(|locker| locker.join().unwrap()).contains(&true)
        });
        assert!(!kept, "a lock outlived its description");
    }

    #[test]
    fn a_child_without_descriptors_locks_nothing_and_closes_nothing_of_others() {
        // SAFETY: the name ends in a zero byte.
        let fd = unsafe { libc::memfd_create(c"locks".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        let lock = LockFile::open(file.as_fd()).unwrap();
        assert!(lock.try_lock(1).unwrap());
        let number = lock.fd.as_raw_fd();
        let status = in_child(|| {
            // As in a child that found no descriptor left for a fresh description.
            disarm(number);
            let other = File::open("/dev/null").unwrap();
            let refused = lock.try_lock(1).is_err() && lock.locked_by_another(1).is_err();
            // SAFETY: the child does not use `lock` afterwards.
            drop(unsafe { std::ptr::read(&raw const lock) });
            let open = other.metadata().is_ok();
            i32::from(other.as_raw_fd() == number || !refused || !open)
        });
        assert_eq!(status, 0);
        // The parent's is as it was.
        assert!(!LockFile::open(file.as_fd()).unwrap().try_lock(1).unwrap());
    }
}
