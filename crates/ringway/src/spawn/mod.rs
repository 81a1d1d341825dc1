//! Child processes that run a function of this program.
//!
//! # Why no fork
//!
//! `fork` copies a process with one thread and all of its memory. Locks that another
//! thread held stay locked in the copy for ever, buffers are flushed twice, every
//! descriptor and every handle exists twice, so ends of pipes stay open that nobody
//! knows of. In a program with threads, hardly anything may be called in the copy at
//! all. So a child here is a *new* process of the same program: [`init`], the first
//! line of `main`, sees that this process is a child and runs the function instead of
//! the rest of `main`. Nothing but the arguments passes from parent to child, and of the
//! parent's descriptors only those of the handles in the arguments, besides the standard
//! streams and what the program itself made inheritable.
//!
//! # What happens
//!
//! [`spawn`](spawn()) encodes the name of the function and the arguments into a sealed
//! memfd. Handles in the arguments put duplicates of their descriptors beside it, so the
//! child's hold exists before the parent lets go of its own: a pipe never ends too
//! early. Then `/proc/self/exe` is executed: the very program that runs, even if its
//! file was replaced or removed meanwhile, so that both sides agree on names and
//! layouts. The variable `RINGWAY_CHILD` in the child's environment tells which
//! descriptor is the memfd; grandchildren inherit the variable, but not the descriptor,
//! and so are not mistaken for children.

mod child;
mod detached;
mod entry;
mod error;
mod registry;
mod start;
mod testing;

pub use child::Child;
pub use entry::Entry;
pub use error::{ChildError, SpawnError};
pub use start::init;
#[doc(hidden)]
pub use testing::init_test_at;

use crate::descriptor::Descriptor;
use crate::letter::Letter;
use registry::Route;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Tells a child where its letter is.
const VARIABLE: &str = "RINGWAY_CHILD";

/// What the child is told before the arguments.
#[derive(Serialize, Deserialize)]
struct Order {
    entry: String,
    process_name: String,
    /// What is to become the standard output.
    stdout: Option<Descriptor>,
    /// The parent's pidfd, to die with it.
    parent: Option<Descriptor>,
}

/// Runs `function` with `arguments` in a new process.
///
/// The function is one of those given to [`init`]; it takes one argument (a tuple for
/// several) and returns what `main` may return. The child inherits the environment, the
/// working directory and the standard streams.
///
/// The arguments are consumed: a handle in them belongs to the child afterwards, and
/// the child holds it before this process lets go. Keep a clone of what can be cloned
/// to use it here too.
///
/// ```no_run
/// fn worker((name, rounds): (String, u32)) -> Result<(), std::io::Error> {
///     for round in 0..rounds {
///         println!("{name}: {round}");
///     }
///     Ok(())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     ringway::init(ringway::entries![worker]);
///     let child = ringway::spawn(worker, ("a".to_string(), 3))?;
///     let status = child.join()?;
///     assert!(status.success());
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`SpawnError`]; no process was started then, and the arguments are gone.
///
/// # Blocking
///
/// Until the system has started the program, some milliseconds; not until the function
/// runs.
pub fn spawn<F, A, R>(function: F, arguments: A) -> Result<Child, SpawnError>
where
    F: Fn(A) -> R + Copy + 'static,
    A: Serialize,
{
    Spawn::new(function).spawn(arguments)
}

/// [`spawn`](spawn()) with options.
///
/// ```no_run
/// # fn worker(_: u32) {}
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ringway::Spawn;
/// use std::process::Stdio;
///
/// let child = Spawn::new(worker)
///     .name("first-worker")
///     .stdout(Stdio::null())
///     .kill_on_drop(true)
///     .spawn(7)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is started before `spawn` is called"]
pub struct Spawn<F> {
    function: PhantomData<F>,
    name: Option<String>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    kill_on_drop: bool,
    die_with_parent: bool,
}

impl<F: Copy + 'static> Spawn<F> {
    /// Will run `function` in a new process.
    pub fn new(function: F) -> Self {
        const { entry::assert_function::<F>() };
        // What it does is known from its type; it has no value to keep.
        let _ = function;
        Self {
            function: PhantomData,
            name: None,
            stdin: None,
            stdout: None,
            stderr: None,
            kill_on_drop: false,
            die_with_parent: false,
        }
    }

    /// What `ps` and `top` call the process, cut off after 15 bytes. By default, as the
    /// parent is called.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The standard input; inherited by default.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// The standard output; inherited by default.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// The standard error; inherited by default.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Whether dropping the [`Child`] kills the process and waits for its end. Off by
    /// default.
    pub fn kill_on_drop(mut self, yes: bool) -> Self {
        self.kill_on_drop = yes;
        self
    }

    /// Whether the child is killed when this process has ended, however it ended. Off by
    /// default: a child then lives on.
    ///
    /// A thread of the child waits for that; a child that is stopped (SIGSTOP) dies when
    /// it is continued. The end of the *thread* that spawned it does not matter. Needs
    /// pidfds (Linux 5.3).
    pub fn die_with_parent(mut self, yes: bool) -> Self {
        self.die_with_parent = yes;
        self
    }

    /// Starts the process; everything else as in [`spawn`](spawn()).
    ///
    /// # Errors
    ///
    /// As [`spawn`](spawn()).
    pub fn spawn<A, R>(self, arguments: A) -> Result<Child, SpawnError>
    where
        F: Fn(A) -> R,
        A: Serialize,
    {
        start::refuse_recursion();
        detached::reap();
        let name = type_name::<F>();
        let route = registry::find::<F>()?;
        let kill_on_drop = self.kill_on_drop;
        let order = self.order(&route).map_err(SpawnError::os(name))?;
        let letter = Letter::write(&(order, &arguments)).map_err(SpawnError::writing(name))?;
        let mut command = self.command(&route);
        let receipt = letter.attach(&mut command, VARIABLE).map_err(SpawnError::os(name))?;
        let process = command.spawn().map_err(SpawnError::os(name))?;
        // The child has its own by now: it has executed the program.
        drop(command);
        drop(arguments);
        Ok(Child::new(name, process, receipt, kill_on_drop))
    }

    fn order(&self, route: &Route) -> io::Result<Order> {
        let process_name = match &self.name {
            Some(name) => name.clone(),
            // Only a name: if it cannot be learnt, none is given.
            None => std::fs::read_to_string("/proc/self/comm").unwrap_or_default(),
        };
        // The test harness prints to the child's standard output before `init_test!` is
        // reached. The right one is put in its place there; if it is closed, none.
        let stdout = match (route, &self.stdout) {
            (Route::Test(_), None) => io::stdout().as_fd().try_clone_to_owned().ok(),
            _ => None,
        };
        let parent = self.die_with_parent.then(|| pidfd_open(getpid(), PidfdFlags::empty()));
        Ok(Order {
            entry: type_name::<F>().to_string(),
            process_name: process_name.trim_end().to_string(),
            stdout: stdout.map(Descriptor),
            parent: parent.transpose()?.map(Descriptor),
        })
    }

    /// The program that runs, again.
    fn command(self, route: &Route) -> Command {
        // The link leads to the file that was executed, whatever its path names now.
        let mut command = Command::new("/proc/self/exe");
        if let Some(own) = std::env::args_os().next() {
            command.arg0(own);
        }
        if let Route::Test(path) = route {
            command.args(testing::arguments(path)).stdout(Stdio::null());
        }
        if let Some(stdin) = self.stdin {
            command.stdin(stdin);
        }
        if let Some(stdout) = self.stdout {
            command.stdout(stdout);
        }
        if let Some(stderr) = self.stderr {
            command.stderr(stderr);
        }
        command
    }
}
