//! The job over pipes: every file goes down a pipe, a report comes back.
//!
//! Nothing can wait in a circle here. The feeders only send, each to its own worker; the
//! workers take what is sent and report; and this thread takes the reports of all of
//! them, whatever the feeders do.

use super::count::Tally;
use super::crew::Crew;
use super::feed::Work;
use super::progress::Progress;
use super::worker::Report;
use crate::failure::Failure;
use crate::signals::Signals;
use std::sync::Arc;
use std::time::Duration;

/// How often to look whether the user wants to stop, and to show progress.
const TICK: Duration = Duration::from_millis(100);

/// The workers' answers, one entry per file.
pub(super) fn count(
    files: &Arc<Work>,
    workers: usize,
    signals: &mut Signals,
) -> Result<Vec<Option<Tally>>, Failure> {
    let bytes = files.files.iter().map(|file| file.tally.bytes).sum();
    let mut progress = Progress::new("through pipes", bytes);
    let mut answers = vec![None; files.files.len()];
    let mut crew = Crew::start(workers, files)?;
    while !crew.is_done() {
        // Leaving by an error kills the crew.
        signals.check()?;
        crew.collect(TICK, |report| enter(&mut answers, &report))?;
        progress.set(files.sent());
    }
    crew.join()?;
    Ok(answers)
}

fn enter(answers: &mut [Option<Tally>], report: &Report) -> Result<(), Failure> {
    let answer = usize::try_from(report.file).ok().and_then(|file| answers.get_mut(file));
    match answer {
        Some(answer @ None) => {
            *answer = Some(report.tally);
            Ok(())
        }
        Some(_) => Err(Failure::Failed(format!("file {} was counted twice", report.file))),
        None => {
            Err(Failure::Failed(format!("a worker counted file {}, which is none", report.file)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_per_file() {
        let mut answers = vec![None; 2];
        let report = |file| Report { file, tally: Tally::default() };
        assert!(enter(&mut answers, &report(1)).is_ok());
        assert_eq!(answers, [None, Some(Tally::default())]);
        assert!(enter(&mut answers, &report(1)).is_err());
        assert!(enter(&mut answers, &report(2)).is_err());
        assert!(enter(&mut answers, &report(u64::MAX)).is_err());
    }
}
