//! A worker process: counts what comes down its pipe.
//!
//! ```text
//! parent → worker    Order::Count(file)  piece  piece  …  empty piece   Order::Count …
//! worker → parent                                          Report
//! ```
//!
//! Orders are encoded, pieces go as they are. After [`Order::Done`] the worker ends, and
//! so closes its end of the pipe.

use super::count::{Counter, Tally};
use crate::signals::leave_interrupts_to_parent;
use ringway::pipe::{Connection, RecvError, SendError};
use serde::{Deserialize, Serialize};
use std::io;
use std::process::ExitCode;

/// Longest piece of a file, in bytes.
pub(super) const PIECE: usize = 128 << 10;

/// What the worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The contents of this file follow, in pieces of 1 to [`PIECE`] bytes and then an
    /// empty one.
    Count(u64),
    /// No more files.
    Done,
}

/// What the worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) file: u64,
    pub(super) tally: Tally,
}

/// Why a worker stopped early.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkerError {
    #[error("cannot catch signals: {0}")]
    Signals(#[from] io::Error),
    #[error(transparent)]
    Recv(#[from] RecvError),
    #[error(transparent)]
    Send(#[from] SendError),
}

/// What the worker process runs.
pub(super) fn work(pipe: Connection<Report, Order>) -> ExitCode {
    let served = leave_interrupts_to_parent().map_err(WorkerError::from).and_then(|()| serve(pipe));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A parent that went away gave up itself; nobody wants to hear of it.
            if !is_alone(&error) {
                eprintln!("ringway: worker {}: {error}", std::process::id());
            }
            ExitCode::FAILURE
        }
    }
}

fn is_alone(error: &WorkerError) -> bool {
    matches!(
        error,
        WorkerError::Recv(RecvError::Eof | RecvError::Truncated)
            | WorkerError::Send(SendError::BrokenPipe)
    )
}

/// Counts until there are no more orders.
pub(super) fn serve(mut pipe: Connection<Report, Order>) -> Result<(), WorkerError> {
    let mut piece = vec![0; PIECE];
    while let Order::Count(file) = pipe.recv()? {
        let mut counter = Counter::default();
        loop {
            match pipe.recv_bytes_into(&mut piece)? {
                0 => break,
                len => counter.add(&piece[..len]),
            }
        }
        pipe.send(&Report { file, tally: counter.finish() })?;
    }
    Ok(())
}
