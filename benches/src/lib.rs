//! The harness of Ringway's benchmarks.
//!
//! Every measurement runs between two real processes. The benchmark program starts
//! itself again as the *partner* ([`partner`]), hands it one end of the subject
//! ([`subject::Duplex`]) over a control socket ([`control`]) and pins itself and the
//! partner to two processors ([`machine`]). Messages ([`message`]) are stamped by the
//! sender and checked by the receiver ([`payload`]), so a subject that loses, reorders
//! or tears messages fails instead of looking fast. A subject that hangs is ended by
//! [`watchdog`], loudly.
//!
//! The workloads are [`oneway`] and [`round_trip`], and for queues [`shape`] and [`threads`];
//! each is a [`session::Session`], timed by criterion, and those that are compared take
//! [`turns`]. [`lifecycle`] makes and drops. [`latency`] looks at single messages, also beside a
//! [`neighbour`]. [`idle`] shows what a blocked receiver costs, [`dormitory`] what many do,
//! [`costs`] what messages cost besides time. [`large`] messages and those of a [`large_queue`]
//! lie where they are read; [`uses`] are what programs do with such, and [`ways`] how they get
//! there. [`batches`] go many at a time, and [`footprint`] is what a pipe or queue takes while it
//! exists. [`ledger`] keeps what was measured in this run and prints it against the bars.

pub mod batches;
pub mod control;
pub mod costs;
pub mod dormitory;
pub mod footprint;
pub mod heir;
pub mod idle;
pub mod large;
pub mod large_queue;
pub mod latency;
pub mod ledger;
pub mod lifecycle;
pub mod machine;
pub mod message;
pub mod neighbour;
pub mod oneway;
pub mod partner;
pub mod payload;
pub mod plot;
pub mod queues;
pub mod round_trip;
pub mod rounds;
pub mod session;
pub mod shape;
pub mod subject;
pub mod subjects;
pub mod syscalls;
pub mod threads;
pub mod turns;
pub mod uses;
pub mod watchdog;
pub mod ways;

/// What can go wrong ends the measurement with words; nobody matches on it.
pub type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
