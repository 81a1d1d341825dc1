//! Ctrl-C and its relatives: noticed between two steps of the work, so that the program
//! can end its children before it ends itself.

use crate::failure::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Caught;
use std::io;

/// The signals that ask the program to end, caught from now on. They stay caught when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Signals(Caught);

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let caught = Caught::new([SIGINT, SIGTERM, SIGHUP]);
        caught.map(Self).map_err(|e| Failure::Failed(format!("cannot catch signals: {e}")))
    }

    /// An error if one of them has come. Never blocks.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        self.0.pending().next().map_or(Ok(()), |signal| Err(Failure::Signal(signal)))
    }
}

/// Lets Ctrl-C pass over this process from now on.
///
/// For children: a terminal sends the signal to them too, but their parent ends them, in
/// its order.
pub(crate) fn leave_interrupts_to_parent() -> io::Result<()> {
    Caught::new([SIGINT]).map(drop)
}
