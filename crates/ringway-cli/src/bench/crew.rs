//! The processes of one subject, and the sockets over which they get their orders.
//!
//! Orders and answers do not go through what is measured: each is a number on a pair of
//! sockets that closes with its process. So the death of one side ends the other's wait.

use super::cpus::pin;
use super::watchdog;
use crate::failure::{Failure, check_end, failed};
use crate::signals::leave_interrupts_to_parent;
use ringway::{Child, Spawn};
use serde::Serialize;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

/// Long past what anything takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a pair of sockets that carries numbers.
#[derive(Debug)]
pub(super) struct Orders(UnixStream);

impl Orders {
    pub(super) fn send(&mut self, number: u64) -> Result<(), Failure> {
        self.0.write_all(&number.to_le_bytes()).map_err(|e| failed("a process ended early", &e))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes).map_err(|e| failed("a process ended early", &e))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The next number; `None` when the other end is closed.
    fn next_if_any(&mut self) -> Option<u64> {
        self.next().ok()
    }
}

/// A child and the way to it. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    pub(super) orders: Orders,
}

impl Worker {
    /// Starts a process that runs `function`.
    pub(super) fn start<F, A, R>(name: &str, function: F, arguments: A) -> Result<Self, Failure>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize,
    {
        let pair = UnixStream::pair();
        let (orders, theirs) = pair.map_err(|e| failed("cannot make a socket", &e))?;
        let spawn = Spawn::new(function).name(name).kill_on_drop(true).die_with_parent(true);
        let spawn = spawn.stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = spawn.spawn(arguments).map_err(|e| failed("cannot start a process", &e))?;
        Ok(Self { child, orders: Orders(orders) })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to leave, and waits for that.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self { mut child, orders } = self;
        drop(orders);
        let ended = child.join_timeout(PATIENCE).map_err(|e| failed("cannot wait", &e))?;
        let status = ended.ok_or_else(|| Failure::Failed("a process does not leave".into()))?;
        check_end("a process of the benchmark", status)
    }
}

/// Watches workers for one batch.
pub(super) fn watch<'a>(what: &str, workers: impl Iterator<Item = &'a Worker>) -> watchdog::Armed {
    watchdog::arm(what, workers.map(Worker::id).collect(), PATIENCE)
}

/// What every child begins with: its place and its orders.
pub(super) fn play(
    cpu: Option<usize>,
    part: impl FnOnce(&mut dyn FnMut() -> Option<u64>, &mut Answer) -> Result<(), Failure>,
) -> ExitCode {
    let begun = || {
        leave_interrupts_to_parent().map_err(|e| failed("cannot leave signals alone", &e))?;
        pin(cpu)?;
        let stdin = std::io::stdin();
        let socket = stdin.as_fd().try_clone_to_owned().map_err(|e| failed("no orders", &e))?;
        let answers = socket.try_clone().map_err(|e| failed("no orders", &e))?;
        Ok((Orders(socket.into()), Answer(Orders(answers.into()))))
    };
    let result = begun()
        .and_then(|(mut orders, mut answer)| part(&mut || orders.next_if_any(), &mut answer));
    result.map_or_else(Failure::end, |()| ExitCode::SUCCESS)
}

/// The child's way back.
#[derive(Debug)]
pub(super) struct Answer(Orders);

impl Answer {
    pub(super) fn give(&mut self, number: u64) -> Result<(), Failure> {
        self.0.send(number)
    }
}
