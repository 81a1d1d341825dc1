//! The job over pipes: every file goes down a pipe, a report comes back.
//!
//! Nothing can wait in a circle here. The feeders only send, each to its own worker; the
//! workers take what is sent and report; and this thread takes the reports of all of
//! them, whatever the feeders do.

use super::TICK;
use super::answers::Answers;
use super::crew::Crew;
use super::feed::Work;
use super::files::Own;
use super::links::Links;
use super::progress::Progress;
use super::worker::{Order, Report, work};
use crate::failure::{Failure, failed};
use crate::signals::Signals;
use ringway::pipe::Builder;
use std::sync::Arc;

/// Bytes of each ring. Some pieces fit, so that a feeder can read the next while the
/// worker counts; of the sizes that were tried this was the fastest, by a little.
const RING: u64 = 1024 << 10;

/// The workers' answers.
pub(super) fn count(
    files: &Arc<[Own]>,
    workers: usize,
    signals: &mut Signals,
) -> Result<Answers, Failure> {
    let bytes = files.iter().map(|file| file.tally.bytes).sum();
    let mut progress = Progress::new("through pipes", bytes);
    let mut answers = Answers::new(files.len());
    let files = Arc::new(Work::new(Arc::clone(files)));
    let mut links = Links::default();
    // Leaving by an error kills the crew.
    let mut crew = Crew::default();
    for _ in 0..workers {
        let pipe = Builder::new().capacity(RING).duplex::<Order, Report, _>();
        let (mine, theirs) = pipe.map_err(|e| failed("cannot make a pipe", &e))?;
        crew.hire("ringway-worker", work, theirs)?;
        links.add(mine, &files)?;
    }
    while !links.are_closed() {
        signals.check()?;
        links.collect(TICK, |report| answers.enter(report.file, Ok(report.tally)).map(drop))?;
        progress.set(files.sent());
    }
    crew.join()?;
    links.join()?;
    for (file, why) in files.take_skipped() {
        answers.leave_out(file, why);
    }
    Ok(answers)
}
