//! Two-ended pipes between processes.
//!
//! [`duplex`] and [`simplex`] make a pipe, [`Builder`] one with options or under a name.
//! Its ends go to other processes among the arguments of [`spawn`](crate::spawn()).
//! [`wait`](crate::wait()) waits for the first of several.

pub use ringway_pipe::*;
