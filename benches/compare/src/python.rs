//! Python's `multiprocessing`, by a script of its own.

use ringway_benches::session::Session;
use ringway_benches::{Fallible, machine, watchdog};
use rustix::process::Pid;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const SCRIPT: &str = include_str!("python.py");

/// A running script. Dropped, it and what it started are ended.
pub struct Python {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    what: String,
}

impl Python {
    /// Starts the script for a workload.
    ///
    /// # Errors
    ///
    /// There is no python3.
    pub fn start(workload: &str) -> Fallible<Self> {
        // The script places its processes itself.
        machine::unpin()?;
        let mut command = Command::new("python3");
        let command = command.args(["-c", SCRIPT, workload]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|why| format!("no python3: {why}"))?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, orders, answers, what: format!("python {workload}") })
    }
}

impl Session for Python {
    fn batch(&mut self, items: u64) -> Fallible<Duration> {
        let _armed = watchdog::arm(&self.what, Pid::from_child(&self.child), watchdog::LIMIT);
        let orders = self.orders.as_mut().ok_or("the script was told to leave")?;
        writeln!(orders, "{items}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(Duration::from_nanos(line.trim().parse().map_err(|_| "the script failed")?))
    }

    fn finish(self) -> Fallible {
        Ok(())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // At the end of its orders the script ends its children and itself.
        self.orders = None;
        let _ = self.child.wait();
    }
}
