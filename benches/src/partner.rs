//! The second process of a measurement: this program, started again.

use crate::control::{Control, Parcel};
use crate::watchdog::{self, Armed};
use crate::{Fallible, machine};
use rustix::process::{Pid, Signal};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Names the role, the message size, the processor and the parent of a partner.
const ROLE: &str = "RINGWAY_BENCH_ROLE";
/// How long a partner may take to leave after it was told to.
const LEAVE: Duration = Duration::from_secs(10);

/// What a partner can be. Programs list theirs at the start of `main`.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    /// The workload.
    pub workload: &'static str,
    /// The subject it runs over.
    pub subject: &'static str,
    /// The partner's part: attach to the parcel, then obey orders until they end.
    pub play: fn(&Control, Parcel, usize) -> Fallible,
}

/// Plays the role this process was started for. `None`: it was started by a person,
/// and `main` goes on. To be called before anything else in `main`.
pub fn play_if_asked(roles: &[Role]) -> Option<ExitCode> {
    let asked = std::env::var(ROLE).ok()?;
    Some(match play(&asked, roles) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("partner ({asked}): {error}");
            ExitCode::FAILURE
        }
    })
}

fn play(asked: &str, roles: &[Role]) -> Fallible {
    let mut words = asked.split(' ');
    let mut word = || words.next().ok_or("the role is cut short");
    let (workload, subject) = (word()?, word()?);
    let (size, cpu) = (word()?.parse()?, word()?);
    if cpu != "-" {
        machine::pin(cpu.parse()?)?;
    }
    // Whatever happens to the benchmark, its partner does not outlive it. The signal
    // comes only for deaths after this call, so an earlier one is looked for.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = word()?.parse()?;
    if rustix::process::getppid().map(Pid::as_raw_pid) != Some(parent) {
        return Err("the benchmark is gone".into());
    }
    let role = roles.iter().find(|role| role.workload == workload && role.subject == subject);
    let role = role.ok_or("no such role in this program")?;
    let control = Control::inherited()?;
    let parcel = control.recv_parcel()?;
    (role.play)(&control, parcel, size)
}

/// A running partner. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Partner {
    child: Child,
    pid: Pid,
    control: Option<Control>,
    what: String,
}

impl Partner {
    /// Starts a partner on its processor and hands it `parcel`.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn start(
        workload: &'static str,
        subject: &'static str,
        size: usize,
        parcel: Parcel,
    ) -> Fallible<Self> {
        let (control, theirs) = Control::pair()?;
        let cpu = machine::places().map_or("-".into(), |places| places.partner.to_string());
        let own = std::process::id();
        let child = Command::new(std::env::current_exe()?)
            .env(ROLE, format!("{workload} {subject} {size} {cpu} {own}"))
            .stdin(Stdio::from(theirs.into_socket()))
            .spawn()?;
        let pid = Pid::from_child(&child);
        let what = format!("{workload} {subject} {size}");
        let partner = Self { child, pid, control: Some(control), what };
        partner.control()?.send_parcel(parcel)?;
        Ok(partner)
    }

    /// The socket to the partner.
    ///
    /// # Errors
    ///
    /// None while the partner runs.
    pub fn control(&self) -> Fallible<&Control> {
        self.control.as_ref().ok_or_else(|| "the partner was told to leave".into())
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sets the watchdog on the partner for one batch.
    pub fn watch(&self) -> Armed {
        watchdog::arm(&self.what, self.pid, watchdog::LIMIT)
    }

    /// Closes the control socket, which tells the partner to leave, and waits for it.
    ///
    /// # Errors
    ///
    /// The partner found something wrong, or did not leave in ten seconds.
    pub fn finish(mut self) -> Fallible {
        self.control = None;
        let until = Instant::now() + LEAVE;
        while Instant::now() < until {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("{}: partner left with {status}", self.what).into());
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Err(format!("{}: the partner does not leave", self.what).into())
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // Both do nothing for a child that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
