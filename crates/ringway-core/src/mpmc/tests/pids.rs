//! Process ids are used again, and name somebody else then: neither life nor death follows
//! from one.
#![allow(unsafe_code, reason = "a child with a pid of our choice")]

use super::liveness::{create, get, put};
use super::unheard::unguarded;
use std::io;

/// A process with a given pid that does nothing. Killed and reaped when dropped.
struct Namesake(libc::pid_t);

impl Namesake {
    fn of(pid: libc::pid_t) -> io::Result<Self> {
        // SAFETY: a plain structure; all zeros is a value of it.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
        args.set_tid = std::ptr::from_ref(&pid).expose_provenance() as u64;
        args.set_tid_size = 1;
        // SAFETY: as fork: the child has memory of its own, and only sleeps.
        let child = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args)) };
        match child {
            -1 => Err(io::Error::last_os_error()),
            0 => loop {
                // SAFETY: takes no pointers. It is killed by its parent.
                unsafe { libc::pause() };
            },
            _ => Ok(Self(pid)),
        }
    }

    fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}

impl Drop for Namesake {
    fn drop(&mut self) {
        // SAFETY: a child of ours that was not reaped: the number is still its own.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
        // SAFETY: as above; nothing is written.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

/// The record of the dead names a process that lives, and has nothing to do with it.
#[test]
fn a_pid_that_is_used_again_keeps_nobody_alive() {
    let (ring, fd) = create("a namesake's");
    // Nobody repairs before the pid is used again.
    ring.set_guarded(false).unwrap();
    put(&ring, 7);
    let mut victim = unguarded("claims a get", &fd);
    let pid = libc::pid_t::try_from(victim.child.id()).unwrap();
    victim.kill();
    let namesake = match Namesake::of(pid) {
        Ok(namesake) => namesake,
        Err(e) => return println!("skipped: no process with a pid of our choice: {e}"),
    };
    let named = |pid| ring.participants().iter().any(|peer| i64::try_from(peer.pid) == Ok(pid));
    assert!(named(i64::from(pid)), "the record is there still, and names the living");
    assert_eq!(get(&ring).unwrap(), 7);
    assert!(!named(i64::from(pid)) && namesake.is_alive());
}
