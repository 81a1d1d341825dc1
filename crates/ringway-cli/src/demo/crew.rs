//! The worker processes, as their parent sees them.

use super::feed::{Work, feed};
use super::worker::{Order, Report, work};
use crate::failure::{Failure, check_end};
use ringway::pipe::{Builder, Receiver, RecvError, SendError};
use ringway::{Child, Spawn, Waitable};
use std::fmt::Display;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bytes of each ring. Some pieces fit, so that a feeder can read the next while the
/// worker counts; of the sizes that were tried this was the fastest, by a little.
const RING: u64 = 1024 << 10;

/// A worker and the thread that feeds it. Dropping it kills the process; the feeder ends
/// then by itself.
struct Member {
    child: Child,
    feeder: JoinHandle<Result<(), SendError>>,
    /// `None` after the end of file.
    reports: Option<Receiver<Report>>,
}

/// All workers.
pub(super) struct Crew(Vec<Member>);

impl Crew {
    /// Starts `count` processes, each with a pipe of its own, and begins to feed them.
    pub(super) fn start(count: usize, files: &Arc<Work>) -> Result<Self, Failure> {
        let mut crew = Self(Vec::with_capacity(count));
        for _ in 0..count {
            crew.0.push(Member::start(files)?);
        }
        Ok(crew)
    }

    /// Whether all workers have closed their ends.
    pub(super) fn is_done(&self) -> bool {
        self.0.iter().all(|member| member.reports.is_none())
    }

    /// Gives every report that is there to `take`; waits at most `timeout` for the
    /// first.
    pub(super) fn collect(
        &mut self,
        timeout: Duration,
        mut take: impl FnMut(Report) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut open: Vec<&mut Member> =
            self.0.iter_mut().filter(|member| member.reports.is_some()).collect();
        let mut sources: Vec<&mut dyn Waitable> = open
            .iter_mut()
            .filter_map(|member| member.reports.as_mut())
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

    /// Waits for the end of all, which must have been a good one.
    pub(super) fn join(self) -> Result<(), Failure> {
        for member in self.0 {
            member.join()?;
        }
        Ok(())
    }
}

impl Member {
    fn start(files: &Arc<Work>) -> Result<Self, Failure> {
        let pipe = Builder::new().capacity(RING).duplex::<Order, Report, _>();
        let (mine, theirs) = pipe.map_err(|e| failed("cannot make a pipe", &e))?;
        let spawn = Spawn::new(work).name("ringway-worker");
        let child = spawn.kill_on_drop(true).spawn(theirs);
        let child = child.map_err(|e| failed("cannot start a worker", &e))?;
        let (orders, reports) = mine.split();
        let files = Arc::clone(files);
        let feeder = thread::Builder::new().name("feeder".into());
        let feeder = feeder.spawn(move || feed(orders, &files));
        let feeder = feeder.map_err(|e| failed("cannot start a thread", &e))?;
        Ok(Self { child, feeder, reports: Some(reports) })
    }

    fn join(self) -> Result<(), Failure> {
        let id = self.child.id();
        let status = self.child.join().map_err(|e| failed("cannot wait for a worker", &e))?;
        check_end(&format!("worker process {id}"), status)?;
        match self.feeder.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(failed("cannot send to a worker", &e)),
            Err(_) => Err(Failure::Failed("a feeder panicked".into())),
        }
    }
}

fn failed(what: &str, why: &dyn Display) -> Failure {
    Failure::Failed(format!("{what}: {why}"))
}
