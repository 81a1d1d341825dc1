//! Children by plain fork, and the tracing of them instruction by instruction.
//!
//! A traced child stops before its operation. From there the tracer moves it by whole
//! system calls, at full speed, or by single instructions. A child that is killed dies
//! of SIGKILL exactly where it stands: what it has stored is in the segment, what it
//! has not never will be.
#![allow(unsafe_code, reason = "fork, ptrace and waitpid")]

use super::page::Page;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Long past what anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The same for one whose wait begins before a victim is stepped: thousands of instructions
/// take many seconds there. Within the alarm that ends every child.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(100);
/// A system call that takes this long is a sleep.
const NAP: Duration = Duration::from_millis(8);

/// A forked child. Killed and reaped when dropped, whatever happens.
pub(crate) struct Child {
    pub(crate) pid: libc::pid_t,
    /// Another thread of it than the first that is traced.
    thread: Option<libc::pid_t>,
    reaped: bool,
    killed: bool,
}

impl Child {
    /// Forks a child that runs `body` and exits. It dies with this process.
    pub(crate) fn start(body: impl FnOnce()) -> Self {
        // SAFETY: this process has no threads but such as never hold a lock across a
        // fork; the child runs `body` and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        assert_ne!(pid, -1, "fork");
        if pid == 0 {
            // SAFETY: sets an attribute of this process.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // SAFETY: an alarm is inherited by nobody; this ends none of ours.
            unsafe { libc::alarm(120) };
            let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err()) * 101;
            // SAFETY: ends this process and runs nothing of the parent's.
            unsafe { libc::_exit(code) };
        }
        Self { pid, thread: None, reaped: false, killed: false }
    }

    /// Sends SIGKILL and waits for the death: the kernel has closed its files then.
    pub(crate) fn kill(&mut self) {
        if !self.reaped {
            // SAFETY: a child of ours that was not reaped: the number is still its own.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            // A traced thread goes first.
            for id in [self.thread, Some(self.pid)].into_iter().flatten() {
                while let Some(status) = wait(id, 0) {
                    if libc::WIFSIGNALED(status) || libc::WIFEXITED(status) {
                        break;
                    }
                }
            }
            (self.reaped, self.killed) = (true, true);
        }
    }

    /// Waits for the end of a child that nobody traces; its exit code.
    pub(crate) fn join(&mut self) -> Result<i32, String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = wait(self.pid, libc::WNOHANG) {
                self.reaped = true;
                return Ok(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 });
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Err("a process did not end".into())
    }

    /// Whether it has not ended yet.
    pub(crate) fn runs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| {
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        })
    }

    /// Whether it died of [`kill`](Self::kill).
    pub(crate) fn was_killed(&self) -> bool {
        self.killed
    }

    /// Whether the kernel says that it, or its traced thread, sleeps.
    pub(crate) fn sleeps(&self) -> bool {
        let thread = self.thread.unwrap_or(self.pid);
        std::fs::read_to_string(format!("/proc/{}/task/{thread}/stat", self.pid))
            .ok()
            .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('S')))
            .unwrap_or(false)
    }

    /// The thread of this name.
    fn thread_named(&self, name: &str) -> Option<libc::pid_t> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        let named = |entry: &std::fs::DirEntry| {
            std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        threads.flatten().find(named)?.file_name().into_string().ok()?.parse().ok()
    }
}

/// One `waitpid` for a child, or a thread that is traced; `None` if there is no news.
fn wait(id: libc::pid_t, flags: libc::c_int) -> Option<libc::c_int> {
    let mut status = 0;
    // SAFETY: our child, and a valid place.
    let answer = unsafe { libc::waitpid(id, &raw mut status, flags | libc::__WALL) };
    (answer == id).then_some(status)
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a traced child came to a halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Where it was sent.
    There,
    /// Asleep in a system call: it is not stopped, but waits for somebody.
    Asleep,
    /// After the operation.
    Over,
}

/// A child that stands before, amidst or behind its operation.
pub(crate) struct Traced {
    pub(crate) child: Child,
    /// The thread of it that is traced: the first, or the guardian.
    thread: libc::pid_t,
    /// System calls that have returned.
    pub(crate) calls: usize,
    /// Instructions made one by one since.
    pub(crate) steps: usize,
    /// It is asleep in a call and not stopped.
    asleep: bool,
    over: bool,
}

impl Traced {
    /// Forks a child, lets it prepare, and stops it before its operation. `prepare`
    /// gives the operation; `leave` is for one that is let go.
    pub(crate) fn start<O: FnOnce(&Page)>(
        page: &Page,
        prepare: impl FnOnce(&Page) -> O,
        leave: impl FnOnce(),
    ) -> Self {
        let child = Child::start(|| {
            let operation = prepare(page);
            // SAFETY: makes the parent the tracer.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            // SAFETY: stops this process for its tracer.
            unsafe { libc::raise(libc::SIGSTOP) };
            operation(page);
            page.set(Page::RETURNED, 1);
            // SAFETY: as above.
            unsafe { libc::raise(libc::SIGSTOP) };
            leave();
        });
        let status = wait(child.pid, 0).expect("a child of ours");
        assert!(libc::WIFSTOPPED(status), "the child prepares its operation: {status:#x}");
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        // SAFETY: our tracee, stopped.
        unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, child.pid, 0, options) };
        let thread = child.pid;
        let mut traced = Self { child, thread, steps: 0, calls: 0, asleep: false, over: false };
        // It stands inside the kill system call of `raise`; the first step leaves it.
        traced.go(libc::PTRACE_SINGLESTEP);
        let _ = traced.halt();
        traced
    }

    /// Stops the guardian's thread of `child`, and traces that.
    pub(crate) fn guardian(mut child: Child) -> Self {
        let thread = child.thread_named("ringway-guard").expect("it has a guardian");
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
        // SAFETY: a thread of our child; makes this process the tracer.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, 0, options) };
        assert_eq!(seized, 0, "the guardian is traced");
        child.thread = Some(thread);
        let traced = Self { child, thread, steps: 0, calls: 0, asleep: false, over: false };
        traced.interrupt();
        traced
    }

    /// Stops a thread that was seized.
    fn interrupt(&self) {
        // SAFETY: our tracee.
        unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, self.thread, 0, 0) };
        let _ = wait(self.thread, 0);
    }

    fn go(&self, how: libc::c_uint) {
        // SAFETY: our tracee, stopped; no signal is passed on.
        unsafe { libc::ptrace(how, self.thread, 0, 0) };
    }

    fn halted(&mut self, status: libc::c_int) -> Stop {
        self.asleep = false;
        assert!(libc::WIFSTOPPED(status), "the child died by itself: {status:#x}");
        if libc::WSTOPSIG(status) == libc::SIGSTOP {
            self.over = true;
            return Stop::Over;
        }
        Stop::There
    }

    /// Waits until it stops, sleeps or has ended its operation.
    fn halt(&mut self) -> Stop {
        let mut since = None;
        let mut looks = 0_u32;
        loop {
            if let Some(status) = wait(self.thread, libc::WNOHANG) {
                return self.halted(status);
            }
            looks += 1;
            if looks < 200 {
                std::hint::spin_loop();
                continue;
            }
            // A sleep is one that lasts.
            let asleep_since = *since.get_or_insert_with(Instant::now);
            if !self.child.sleeps() {
                since = None;
            } else if asleep_since.elapsed() > NAP {
                self.asleep = true;
                return Stop::Asleep;
            }
            std::thread::sleep(Duration::from_micros(30));
        }
    }

    /// Where the next instruction is.
    pub(crate) fn at(&self) -> libc::c_long {
        let register = 8 * libc::c_long::from(libc::RIP);
        // SAFETY: our tracee, stopped; reads a register.
        unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.thread, register, 0) }
    }

    /// Whether the next instruction is a system call.
    fn at_call(&self) -> bool {
        // SAFETY: our tracee, stopped; reads the word there.
        let code = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.thread, self.at(), 0) };
        code & 0xFFFF == 0x050F
    }

    /// Sets the processor's first breakpoint at `address`, or takes it away; whether that is
    /// possible here.
    fn break_at(&self, address: Option<libc::c_long>) -> bool {
        let register = |n: usize| std::mem::offset_of!(libc::user, u_debugreg) + 8 * n;
        let poke = |n: usize, value: libc::c_long| {
            // SAFETY: our tracee, stopped; writes a debug register of it.
            unsafe { libc::ptrace(libc::PTRACE_POKEUSER, self.thread, register(n), value) == 0 }
        };
        match address {
            // Number 7 says which are in force: the first one, for executing it.
            Some(address) => poke(0, address) && poke(7, 1),
            None => poke(7, 0),
        }
    }

    /// On to the instruction at `address` at full speed, which comes after so many `steps`
    /// and before the next system call. `Ok(false)`: it cannot be moved that way.
    /// `Err`: a system call has returned instead.
    pub(crate) fn run_to(&mut self, address: libc::c_long, steps: usize) -> Result<bool, Stop> {
        if self.over || self.asleep || !self.break_at(Some(address)) {
            return Ok(false);
        }
        self.go(libc::PTRACE_SYSCALL);
        let stop = self.halt();
        if stop != Stop::There {
            return Err(stop);
        }
        self.break_at(None);
        if self.at() == address {
            self.steps += steps;
            return Ok(true);
        }
        self.called();
        self.go(libc::PTRACE_SYSCALL);
        Err(self.halt())
    }

    fn called(&mut self) {
        self.calls += 1;
        self.steps = 0;
    }

    /// One instruction on.
    pub(crate) fn step(&mut self) -> Stop {
        if self.over {
            return Stop::Over;
        }
        if !self.asleep {
            let call = self.at_call();
            self.go(libc::PTRACE_SINGLESTEP);
            self.steps += 1;
            if call {
                self.called();
            } else if let Some(status) = wait(self.thread, 0) {
                // It cannot sleep.
                return self.halted(status);
            }
        }
        self.halt()
    }

    /// On until the next system call has returned.
    pub(crate) fn call(&mut self) -> Stop {
        if self.over {
            return Stop::Over;
        }
        if !self.asleep {
            self.go(libc::PTRACE_SYSCALL);
            let stop = self.halt();
            if stop != Stop::There {
                return stop;
            }
            self.called();
            self.go(libc::PTRACE_SYSCALL);
        }
        self.halt()
    }

    /// Lets it go on without a tracer; it ends by itself after its operation.
    pub(crate) fn release(&mut self) {
        if self.thread != self.child.pid {
            if self.asleep {
                self.interrupt();
            }
            // SAFETY: our tracee, stopped.
            unsafe { libc::ptrace(libc::PTRACE_DETACH, self.thread, 0, 0) };
            self.child.thread = None;
            return;
        }
        for _ in 0..2 {
            // Past the stop after the operation, too.
            if !self.over {
                self.go(libc::PTRACE_CONT);
                while self.halt() == Stop::Asleep {}
            }
        }
        // SAFETY: our tracee, stopped.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.thread, 0, 0) };
    }
}
