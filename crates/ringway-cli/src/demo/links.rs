//! The pipes to the workers, each with the thread that feeds it.

use super::feed::{Work, feed};
use super::worker::{Order, Report};
use crate::failure::{Failure, failed};
use ringway::Waitable;
use ringway::pipe::{Connection, Receiver, RecvError, SendError};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

struct Link {
    /// Ends by itself when the worker is gone.
    feeder: JoinHandle<Result<(), SendError>>,
    /// `None` after the end of file.
    reports: Option<Receiver<Report>>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Links(Vec<Link>);

impl Links {
    /// Begins to feed one more worker.
    pub(super) fn add(
        &mut self,
        pipe: Connection<Order, Report>,
        files: &Arc<Work>,
    ) -> Result<(), Failure> {
        let (orders, reports) = pipe.split();
        let files = Arc::clone(files);
        let feeder = thread::Builder::new().name("feeder".into());
        let feeder = feeder.spawn(move || feed(orders, &files));
        let feeder = feeder.map_err(|e| failed("cannot start a thread", &e))?;
        self.0.push(Link { feeder, reports: Some(reports) });
        Ok(())
    }

    /// Whether all workers have closed their ends.
    pub(super) fn are_closed(&self) -> bool {
        self.0.iter().all(|link| link.reports.is_none())
    }

    /// Gives every report that is there to `take`; waits at most `timeout` for the
    /// first.
    pub(super) fn collect(
        &mut self,
        timeout: Duration,
        mut take: impl FnMut(Report) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut open: Vec<&mut Link> =
            self.0.iter_mut().filter(|link| link.reports.is_some()).collect();
        let mut sources: Vec<&mut dyn Waitable> = open
            .iter_mut()
            .filter_map(|link| link.reports.as_mut())
            .map(|reports| reports as &mut dyn Waitable)
            .collect();
        for ready in ringway::wait(&mut sources, Some(timeout)) {
            let reports = &mut open[ready].reports;
            while let Some(receiver) = reports {
                match receiver.try_recv() {
                    Ok(report) => take(report)?,
                    Err(RecvError::Empty) => break,
                    // Why it ended its process tells.
                    Err(RecvError::Eof | RecvError::Truncated) => *reports = None,
                    Err(e) => return Err(failed("cannot receive a report", &e)),
                }
            }
        }
        Ok(())
    }

    /// Waits for the end of the feeders.
    pub(super) fn join(self) -> Result<(), Failure> {
        for link in self.0 {
            match link.feeder.join() {
                Ok(sent) => sent.map_err(|e| failed("cannot send to a worker", &e))?,
                Err(_) => return Err(Failure::Failed("a feeder panicked".into())),
            }
        }
        Ok(())
    }
}
