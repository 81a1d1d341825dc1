//! Inter-process queues and pipes over shared-memory ring buffers.
//!
//! * [`spawn`](mod@spawn): run a function in a new process, with handles among its
//!   arguments.
//! * [`inherit`]: hand handles to any program.
//! * [`queue`]: queues of values between any number of processes.

mod descriptor;
pub mod inherit;
mod letter;
mod mark;
pub mod queue;
pub mod spawn;

pub use inherit::{HandOver, HandOverError, InheritError, inherited};
pub use spawn::{Child, ChildError, Entry, Spawn, SpawnError, init, spawn};
