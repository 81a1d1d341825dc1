//! `ringway demo`: real work over real processes, checked against the same work done
//! without them.
//!
//! One module per job: [`seed_queue`], [`seed_pipe`], [`pipes`] with its [`worker`], and
//! [`queue`] with its [`taker`]. What the jobs on files need besides is around them:
//! [`walk`] finds them, [`steady`] reads them, [`count`] counts, [`crew`] is the workers,
//! [`files`] does it all without any other process and compares.

mod answers;
mod compare;
mod count;
mod crew;
mod feed;
mod files;
mod links;
mod pipes;
mod place;
mod progress;
mod queue;
mod read;
#[cfg(test)]
mod scratch;
mod seed_pipe;
mod seed_queue;
mod steady;
mod taker;
mod walk;
mod worker;

use crate::failure::Failure;
use crate::signals::Signals;
use ringway::Entry;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// How often to look whether the user wants to stop, and to show progress.
const TICK: Duration = Duration::from_millis(100);

/// Show that queues and pipes work: run four jobs over real processes, check the results
///
/// The first is the classic queue program: two producers put goods into a queue of ten
/// places until it is full, two consumers take them until nothing is left. The second is
/// the classic pipe program: one process prints what another sends, until that one
/// closes its end.
///
/// The others are real work on real files. This process counts the lines, words and
/// bytes of every regular file under a directory, and computes a checksum. Then the
/// contents go down pipes to worker processes, which count and send the results back.
/// Then the names go into a queue, from which workers take one after the other; they
/// read and count the files and put the results into a second queue. Each time this
/// process compares, file by file and in total.
///
/// A line ends with a newline byte, as for `wc -l`. A word is a longest run of bytes
/// other than space, tab, newline, vertical tab, form feed and carriage return: for
/// ASCII text what `wc -w` counts, and defined for all other contents too. The checksum
/// is CRC-32 as in gzip.
///
/// Files that cannot be read, that change meanwhile or that vanish are named and left
/// out on all sides. Symbolic links are not followed. Memory use does not depend on the
/// size of the files, only a little on their number.
///
/// Exit status: 0 if everything is right (the last line is then `demo: ok`), 1 if
/// something differs or a worker dies (files that cost are named), 2 if there is nothing
/// to work on. After Ctrl-C the workers are ended first.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The directory (or the one file) whose files to count
    ///
    /// Default: the sources of crates that cargo keeps in $CARGO_HOME/registry/src (or
    /// in ~/.cargo); if there are none, the sources this program was built from.
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// How many worker processes [default: one per processor, at least 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

impl Options {
    fn workers(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(2, |n| n.get());
        self.workers.map_or_else(|| processors().clamp(2, 256), usize::from)
    }
}

/// What the demo's child processes run.
pub(crate) fn entries() -> Vec<Entry> {
    ringway::entries![
        seed_queue::producer,
        seed_queue::consumer,
        seed_pipe::fun1,
        seed_pipe::fun2,
        worker::work,
        taker::take,
    ]
    .into()
}

/// Runs the jobs, one after the other.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let root = place::find(options.files.as_deref())?;
    let mut signals = Signals::catch()?;
    say("Two processes produce, two consume, a queue of ten places between them:\n")?;
    seed_queue::run(&mut signals)?;
    say("\nOne process sends, another receives and prints:\n")?;
    seed_pipe::run(&mut signals)?;
    files::run(&root, options.workers(), &mut signals)?;
    say("demo: ok\n")
}

/// Prints to the standard output; unlike `print!`, without a panic if nobody reads it.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
