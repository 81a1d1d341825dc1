//! Inter-process queues and pipes over shared-memory ring buffers.
//!
//! A short tour: a [pipe](#a-pipe), a [queue](#a-queue), a
//! [process of one's own](#another-process), [waiting](#the-first-of-several) for the
//! first of several, and [names](#names).
//!
//! # A pipe
//!
//! [`pipe`] has two ends. Messages are of any serde type and any size; what one end sends
//! the other receives, in order. When the last holder of an end is gone, however it went,
//! the other end gets the rest and then end of file.
//!
//! ```
//! use ringway::pipe::{self, RecvError};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut mine, mut theirs) = pipe::duplex::<String>()?;
//! mine.send(&"hello".to_string())?;
//! drop(mine);
//! assert_eq!(theirs.recv()?, "hello");
//! assert!(matches!(theirs.recv(), Err(RecvError::Eof)));
//! # Ok(())
//! # }
//! ```
//!
//! # A queue
//!
//! [`queue`] has handles, any number of them in any number of processes, and all put and
//! get. It is bounded, exactly, or not. An item whose put returned outlives the process
//! that put it. Calls never wait, wait for a time, or wait as long as it takes;
//! [shutting down](queue::Queue::shutdown) ends it for all.
//!
//! ```
//! use ringway::queue::{GetError, Queue};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let queue = Queue::<(u32, String)>::bounded(2)?;
//! queue.put((1, "one".into()))?;
//! queue.put((2, "two".into()))?;
//! assert!(queue.try_put((3, "three".into())).unwrap_err().is_full());
//! assert_eq!(queue.get()?.0, 1);
//! queue.shutdown(false)?;
//! assert_eq!(queue.get_timeout(Duration::from_secs(1))?.1, "two");
//! assert!(matches!(queue.get(), Err(GetError::ShutDown)));
//! # Ok(())
//! # }
//! ```
//!
//! # Another process
//!
//! [`spawn`](spawn()) runs a function of this program in a new process. Ends and handles
//! among its arguments go there with it; a queue is cloned first, to keep a handle here.
//! [`init`], the first line of `main`, is where the new process becomes the function.
//!
//! ```
//! use ringway::pipe::Sender;
//! use ringway::queue::Queue;
//!
//! fn square((numbers, mut squares): (Queue<u64>, Sender<u64>)) {
//!     for number in numbers.iter() {
//!         let number = number.expect("the queue is sound");
//!         squares.send(&(number * number)).expect("the parent listens");
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     ringway::init(ringway::entries![square]);
//!
//!     let numbers = Queue::bounded(10)?;
//!     let (mut squares, sender) = ringway::pipe::simplex()?;
//!     let child = ringway::spawn(square, (numbers.clone(), sender))?;
//!     for number in 1..=3 {
//!         numbers.put(number)?;
//!     }
//!     numbers.shutdown(false)?;
//!     let got = squares.iter().collect::<Result<Vec<u64>, _>>()?;
//!     assert_eq!(got, [1, 4, 9]);
//!     assert!(child.join()?.success());
//!     Ok(())
//! }
//! ```
//!
//! The child may be killed at any instruction: the parent's loop then ends with what came
//! whole. [`inherit`] gives handles to programs that are not this one, and a plain `fork`
//! works, too.
//!
//! # The first of several
//!
//! [`wait`](wait()) sleeps until some of many queues and pipe ends are ready.
//!
//! ```
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut queue = ringway::queue::Queue::<u32>::unbounded()?;
//! let (mut receiver, _sender) = ringway::pipe::simplex::<u32>()?;
//! let soon = Some(Duration::from_millis(1));
//! assert!(ringway::wait(&mut [&mut receiver, &mut queue], soon).is_empty());
//! queue.put(7)?;
//! assert_eq!(ringway::wait(&mut [&mut receiver, &mut queue], None), [1]);
//! # Ok(())
//! # }
//! ```
//!
//! # Names
//!
//! Processes that do not know each other meet under a name: see the builders of
//! [queues](queue::Builder::name) and [pipes](pipe::Builder::create_duplex), and
//! [`named`] for what is left of those that were killed.

mod descriptor;
pub mod inherit;
mod letter;
pub mod liveness;
mod mark;
pub mod named;
pub mod pipe;
pub mod queue;
pub mod spawn;
mod waiting;

pub use inherit::{HandOver, HandOverError, InheritError, inherited};
pub use spawn::{Child, ChildError, Entry, Spawn, SpawnError, init, spawn};
pub use waiting::{WaitPolicy, Waitable, wait};
