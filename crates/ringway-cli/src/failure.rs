//! How a command ends that does not end well.

use signal_hook::consts::{SIGINT, SIGPIPE};
use std::fmt::Display;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The user asked for something that cannot be done. Exit status 2, as for options
    /// that do not exist.
    #[error("{0}")]
    Usage(String),
    /// It was done and is wrong, or could not be done. Exit status 1.
    #[error("{0}")]
    Failed(String),
    /// A signal asked the program, or a child of it, to end; it has cleaned up.
    #[error("interrupted")]
    Signal(i32),
    /// The standard output failed.
    #[error("cannot write to the standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Tells the user and gives the exit status. After a signal the process dies of
    /// that signal, so that a shell script that started it stops too.
    pub(crate) fn end(self) -> ExitCode {
        let signal = match &self {
            Self::Signal(signal) => Some(*signal),
            // Whoever read the output has seen enough: end as other programs do then.
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => Some(SIGPIPE),
            _ => None,
        };
        if let Some(signal) = signal {
            if signal != SIGPIPE {
                eprintln!("ringway: {self}");
            }
            // Returns only if it does not know the signal.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            return ExitCode::from(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)));
        }
        eprintln!("ringway: {self}");
        ExitCode::from(if matches!(self, Self::Usage(_)) { 2 } else { 1 })
    }
}

/// Something could not be done.
pub(crate) fn failed(what: &str, why: &dyn Display) -> Failure {
    Failure::Failed(format!("{what}: {why}"))
}

/// An error if a child process did not end well.
///
/// A child may die of what concerns the whole program: of Ctrl-C, before it could leave
/// that to its parent, or because nobody reads its output any more.
pub(crate) fn check_end(who: &str, status: ExitStatus) -> Result<(), Failure> {
    match status.signal() {
        _ if status.success() => Ok(()),
        Some(signal @ (SIGINT | SIGPIPE)) => Err(Failure::Signal(signal)),
        _ => Err(Failure::Failed(format!("{who} ended early: {status}"))),
    }
}
