//! Inter-process queues and pipes over shared-memory ring buffers.
//!
//! * [`spawn`](mod@spawn): run a function in a new process, with handles among its
//!   arguments.
//! * [`inherit`]: hand handles to any program.
//! * [`pipe`]: two ends, each of which sends or receives or both.
//! * [`wait`](wait()): the first of several.
//! * [`queue`]: queues of values between any number of processes.

mod descriptor;
pub mod inherit;
mod letter;
mod mark;
pub mod pipe;
pub mod queue;
pub mod spawn;
mod waiting;

pub use inherit::{HandOver, HandOverError, InheritError, inherited};
pub use spawn::{Child, ChildError, Entry, Spawn, SpawnError, init, spawn};
pub use waiting::{WaitPolicy, Waitable, wait};
