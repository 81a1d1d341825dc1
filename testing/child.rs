//! Real child processes, made by plain fork.
#![allow(unsafe_code, reason = "fork, waitpid, kill and _exit")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Children that are not reaped yet, for the watchdog.
static ALIVE: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// A forked child. Dropped, it is killed and reaped.
pub(crate) struct Child {
    pid: i32,
    status: Option<i32>,
}

/// Runs `body` in a forked child, which then exits without running destructors of the
/// parent's. What the closure owns goes to the child: the parent's copy is dropped here.
pub(crate) fn fork(body: impl FnOnce()) -> Child {
    // Held over the fork, so that the child does not inherit it locked by someone else.
    let mut alive = ALIVE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: tests run one at a time, and the threads beside this one (the harness, the
    // watchdog, the watcher) hold no lock that `body` takes; the C library keeps its
    // allocator usable in the child.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: a plain system call. Should the test die, so does the child.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        alive.clear();
        drop(alive);
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(()) => exit(0),
            Err(panic) => {
                let own = super::tasks::all_doing(&[]);
                say(&format!("child: {}\n{own}", message(&panic)));
                exit(1)
            }
        }
    }
    alive.push(pid);
    Child { pid, status: None }
}

fn message(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}

/// Ends the process at once.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(code) }
}

/// Ends the process as a return from `main` does, with all that runs at exit.
pub(crate) fn exit_normally() -> ! {
    // SAFETY: this process was forked by `fork`, has one thread that runs tests, and
    // that is this one.
    unsafe { libc::exit(0) }
}

/// Writes to standard error past the harness's capture and every lock.
pub(crate) fn say(text: &str) {
    // SAFETY: the pointer and length are of a live string.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// The children that are not reaped yet; none while another thread is at the list.
pub(crate) fn alive() -> Vec<i32> {
    ALIVE.try_lock().map(|alive| alive.clone()).unwrap_or_default()
}

/// Kills every child that is left. For the watchdog.
pub(crate) fn kill_all() {
    for pid in ALIVE.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        // SAFETY: a plain system call on a child that is not reaped, so the number is its.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
}

impl Child {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn signal(&self, signal: i32) {
        assert!(self.status.is_none(), "reaped already");
        // SAFETY: a plain system call on a child that is not reaped, so the number is its.
        unsafe { libc::kill(self.pid, signal) };
    }

    /// SIGKILL, without waiting for the end.
    pub(crate) fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    /// Whether it has ended. Reaps it.
    pub(crate) fn ended(&mut self) -> bool {
        if self.status.is_none() {
            let mut status = 0;
            // SAFETY: `status` is a valid place; the child is ours and not reaped.
            let pid = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
            if pid == self.pid {
                self.status = Some(status);
                ALIVE.lock().unwrap_or_else(PoisonError::into_inner).retain(|p| *p != pid);
            }
        }
        self.status.is_some()
    }

    /// What `waitpid` said, once it has ended and was reaped.
    pub(crate) fn status(&self) -> Option<i32> {
        self.status
    }

    fn wait(&mut self, limit: Duration) -> i32 {
        let start = Instant::now();
        while !self.ended() {
            if start.elapsed() >= limit {
                let doing = super::tasks::all_doing(&[self.pid]);
                panic!("child {} still runs after {limit:?}\n{doing}", self.pid);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        self.status.unwrap()
    }

    /// Waits for its end, which must be an exit with code 0.
    pub(crate) fn join(mut self) {
        let status = self.wait(super::LONG);
        assert!(libc::WIFEXITED(status), "the child died of a signal: {status:#x}");
        assert_eq!(libc::WEXITSTATUS(status), 0, "the child panicked; its message is above");
    }

    /// Kills it and waits until nothing of it is left.
    pub(crate) fn kill_and_reap(mut self) {
        self.kill();
        let status = self.wait(super::LONG);
        assert!(libc::WIFSIGNALED(status), "the child ended by itself before: {status:#x}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended() {
            self.kill();
            let mut status = 0;
            // SAFETY: as in `ended`. A killed child ends, so this does not hang.
            unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
            ALIVE.lock().unwrap_or_else(PoisonError::into_inner).retain(|p| *p != self.pid);
        }
    }
}

/// From now on SIGUSR1 runs a handler that does nothing, and interrupts system calls.
pub(crate) fn handle_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a sigaction is a plain C structure; all zeros is a value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: `action` is valid, without SA_RESTART; the handler touches nothing.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
}

/// From now on this process gets a SIGUSR1 every millisecond. For a child.
pub(crate) fn tick_every_millisecond() {
    // SAFETY: plain system call.
    let pid = unsafe { libc::getpid() };
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            // SAFETY: a signal to ourselves, which `handle_signals` expects.
            unsafe { libc::kill(pid, libc::SIGUSR1) };
        }
    });
}
