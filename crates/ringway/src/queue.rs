//! Queues of values between any number of processes.
//!
//! A handle among the arguments of [`spawn`](crate::spawn()) or in
//! [`hand_over`](crate::HandOver::hand_over) gives the other process one of its own.
//! Clone it to keep one here: those functions consume their arguments.

pub use ringway_queue::*;
