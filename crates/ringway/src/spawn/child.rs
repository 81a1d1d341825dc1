//! The parent's handle to a child process.

use super::detached;
use super::error::ChildError;
use crate::letter::Receipt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

/// A child process started by [`spawn`](crate::spawn()).
///
/// Its exit status is 0 for a function that returns `()`, what the function returned as
/// an [`ExitCode`](std::process::ExitCode), 1 for an `Err` (printed as `main` would),
/// 101 after a panic, and 70 if the function could not be started.
///
/// Dropping the handle does not end the child and does not wait for it, as with a
/// thread: it goes on, and is reaped in passing when later children are started or
/// dropped. Ask for another way with [`Spawn::kill_on_drop`](crate::Spawn::kill_on_drop)
/// and [`Spawn::die_with_parent`](crate::Spawn::die_with_parent).
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    /// Empty only while being dropped.
    process: Option<process::Child>,
    receipt: Receipt,
    kill_on_drop: bool,
}

impl Child {
    pub(super) fn new(
        name: &'static str,
        process: process::Child,
        receipt: Receipt,
        kill_on_drop: bool,
    ) -> Self {
        Self { name, process: Some(process), receipt, kill_on_drop }
    }

    /// The process id. It stays the child's until the child was joined, also when it
    /// has died.
    pub fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, process::Child::id)
    }

    /// Waits until the child has ended; closes the pipe to its standard input first.
    ///
    /// # Errors
    ///
    /// [`ChildError::DidNotRun`] for a child that ended well without having run its
    /// function; [`ChildError::Os`].
    ///
    /// # Blocking
    ///
    /// Until the child ends. A child that waits for something that this process holds
    /// (the other end of a pipe) may wait for ever: drop that first.
    pub fn join(mut self) -> Result<ExitStatus, ChildError> {
        let status = self.with("wait for", process::Child::wait)?;
        self.checked(status)
    }

    /// The status of a child that has ended, `None` for one that runs. Never blocks.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn try_join(&mut self) -> Result<Option<ExitStatus>, ChildError> {
        let status = self.with("wait for", process::Child::try_wait)?;
        status.map(|status| self.checked(status)).transpose()
    }

    /// Waits at most `timeout` for the child to end; `None` if it runs on.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join). Needs pidfds (Linux 5.3).
    ///
    /// # Blocking
    ///
    /// Sleeps in the kernel; the end of the child wakes it at once.
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<Option<ExitStatus>, ChildError> {
        // A time out of reach is no limit.
        let deadline = Instant::now().checked_add(timeout);
        if let Some(status) = self.try_join()? {
            return Ok(Some(status));
        }
        // The child is not reaped, so the number is still its own.
        let await_end = |child: &mut process::Child| wait_for_end(&pidfd(child)?, deadline);
        self.with("wait for", await_end)?;
        self.try_join()
    }

    /// Kills the child with SIGKILL, if it has not ended already. Does not wait: its
    /// end can be learnt with [`join`](Self::join), which then tells the signal.
    ///
    /// # Errors
    ///
    /// [`ChildError::Os`] if the child changed its user and may not be killed.
    pub fn kill(&mut self) -> Result<(), ChildError> {
        self.with("kill", process::Child::kill)
    }

    /// The writing end of the child's standard input, once, if that was asked to be
    /// [`piped`](std::process::Stdio::piped).
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.process.as_mut()?.stdin.take()
    }

    /// The reading end of the child's standard output, once, if that was asked to be
    /// [`piped`](std::process::Stdio::piped).
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.process.as_mut()?.stdout.take()
    }

    /// The reading end of the child's standard error, once, if that was asked to be
    /// [`piped`](std::process::Stdio::piped).
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.process.as_mut()?.stderr.take()
    }

    fn with<R>(
        &mut self,
        op: &'static str,
        call: impl FnOnce(&mut process::Child) -> io::Result<R>,
    ) -> Result<R, ChildError> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let result = self.process.as_mut().ok_or_else(gone).and_then(call);
        result.map_err(|source| ChildError::Os { op, name: self.name, source })
    }

    /// A child whose `main` went past `init` must not pass for one that did its work.
    fn checked(&self, status: ExitStatus) -> Result<ExitStatus, ChildError> {
        if status.success() && !self.receipt.was_read() {
            return Err(ChildError::DidNotRun { name: self.name });
        }
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if !matches!(process.try_wait(), Ok(None)) {
            return;
        }
        if self.kill_on_drop && process.kill().is_ok() {
            // Short: nothing outlives SIGKILL. An error leaves nothing to be done.
            let _ = process.wait();
        } else {
            detached::keep(process);
        }
    }
}

fn pidfd(child: &process::Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Until the process is dead or the deadline has passed.
fn wait_for_end(pidfd: &OwnedFd, deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Longer than the kernel can count is no limit either.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], left.as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
