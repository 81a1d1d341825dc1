//! Counts system calls of running threads, without slowing them down much.
//!
//! The kernel counts them where it has the tracepoint `raw_syscalls:sys_enter`, tracefs is
//! mounted and the user may ask (root, or `perf_event_paranoid` below 0). Stopping at every
//! call, as debuggers do, would work everywhere, and change what is measured: a receiver
//! that is stopped while it would spin goes to sleep.

#![allow(unsafe_code, reason = "perf_event_open has no safe wrapper here")]

use crate::Fallible;
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Where tracefs may be mounted.
const TRACING: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// `PERF_TYPE_TRACEPOINT`
const TRACEPOINT: u32 = 2;
/// `PERF_FLAG_FD_CLOEXEC`
const CLOEXEC: libc::c_ulong = 8;

/// The part of `perf_event_attr` that was there in its first version, which all kernels
/// take. All zero means: count, from now on, without samples.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    rest: [u64; 6],
}

const _: () = assert!(size_of::<Attributes>() == 64, "PERF_ATTR_SIZE_VER0");

/// What the kernel calls the tracepoint.
///
/// # Errors
///
/// There is none, or it may not be seen.
pub fn tracepoint() -> Fallible<u64> {
    let read = |root| std::fs::read_to_string(format!("{root}/events/raw_syscalls/sys_enter/id"));
    let id = TRACING.iter().find_map(|root| read(root).ok());
    Ok(id.ok_or("no tracepoint to be seen (needs root and tracefs)")?.trim().parse()?)
}

/// Counts the calls of one thread.
#[derive(Debug)]
pub struct Counter(std::fs::File);

impl Counter {
    /// Begins.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn start(tracepoint: u64, thread: u64) -> Fallible<Self> {
        let attributes =
            Attributes { kind: TRACEPOINT, size: 64, config: tracepoint, ..Attributes::default() };
        let thread = libc::pid_t::try_from(thread)?;
        let (any_cpu, no_group): (libc::c_int, libc::c_int) = (-1, -1);
        // SAFETY: the arguments are those of perf_event_open(2); the pointer is to
        // attributes of the size that they name, and is not kept.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                thread,
                any_cpu,
                no_group,
                CLOEXEC,
            )
        };
        let fd = i32::try_from(fd)?;
        if fd < 0 {
            let why = std::io::Error::last_os_error();
            let denied = why.raw_os_error() == Some(Errno::ACCESS.raw_os_error());
            return Err(if denied { "perf events are denied".into() } else { why.into() });
        }
        // SAFETY: the call returned this descriptor just now, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        debug_assert!(fd.as_raw_fd() >= 0);
        Ok(Self(fd.into()))
    }

    /// How many since the beginning.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn count(&mut self) -> Fallible<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_where_that_is_allowed() {
        let Ok(tracepoint) = tracepoint() else { return };
        let own = u64::from(rustix::thread::gettid().as_raw_pid().unsigned_abs());
        let Ok(mut counter) = Counter::start(tracepoint, own) else { return };
        let before = counter.count().unwrap();
        for _ in 0..100 {
            rustix::thread::sched_yield();
        }
        let calls = counter.count().unwrap() - before;
        // The reading itself is one, too.
        assert!((100..110).contains(&calls), "{calls}");
    }
}
