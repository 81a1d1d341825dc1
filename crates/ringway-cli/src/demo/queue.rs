//! The job over queues: names of files go into one queue, counts come out of another.
//!
//! Any worker takes any name. Nothing can wait in a circle here: this thread only tries
//! to put, and takes the answers of all workers.
//!
//! A worker that is killed takes at most one name with it, that of the file it was
//! counting. The others go on and empty the queue. Then what is missing is told.

use super::TICK;
use super::answers::Answers;
use super::compare::TOLD;
use super::crew::Crew;
use super::files::Own;
use super::progress::Progress;
use super::taker::{Answer, Job, LONGEST_JOB, take};
use crate::failure::{Failure, failed};
use crate::signals::Signals;
use ringway::queue::{Builder, GetError, OpenError, Queue};

/// Places of each queue: enough that no worker waits for the next name.
const PLACES: usize = 64;

/// The queue of names and the queue of answers.
pub(super) fn queues() -> Result<(Queue<Job>, Queue<Answer>), OpenError> {
    let jobs = Builder::new().slot_size(LONGEST_JOB).bounded(PLACES)?;
    Ok((jobs, Queue::bounded(PLACES)?))
}

/// The workers' answers.
pub(super) fn count(
    files: &[Own],
    workers: usize,
    signals: &mut Signals,
) -> Result<Answers, Failure> {
    let bytes = files.iter().map(|file| file.tally.bytes).sum();
    let mut progress = Progress::new("through queues", bytes);
    let mut bytes_done = 0;
    let (jobs, results) = queues().map_err(|e| failed("cannot make a queue", &e))?;
    // Leaving by an error kills the crew.
    let mut crew = Crew::default();
    for _ in 0..workers {
        crew.hire("ringway-taker", take, (jobs.clone(), results.clone()))?;
    }
    let mut answers = Answers::new(files.len());
    let (mut put, mut answered) = (0, 0);
    while answered < files.len() {
        signals.check()?;
        put = put_more(&jobs, files, put)?;
        // Asked before the look at the queue: what they put before they ended is there.
        let ended = crew.has_ended()?;
        let mut answer = next(results.get_timeout(TICK))?;
        if ended && answer.is_none() {
            break;
        }
        while let Some(Answer { file, what }) = answer {
            bytes_done += files[answers.enter(file, what)?].tally.bytes;
            answered += 1;
            answer = next(results.try_get())?;
        }
        progress.set(bytes_done);
    }
    drop(progress);
    check(crew.join(), &answers, files)?;
    Ok(answers)
}

/// Puts names while there is room, and after the last one shuts the queue down. Returns
/// how many are put.
fn put_more(jobs: &Queue<Job>, files: &[Own], mut put: usize) -> Result<usize, Failure> {
    while let Some(file) = files.get(put) {
        let path = file.path.clone().into();
        let job = Job { file: put as u64, path, fingerprint: file.fingerprint };
        match jobs.try_put(job) {
            Ok(()) => put += 1,
            Err(e) if e.is_full() => return Ok(put),
            Err(e) => return Err(failed("cannot put a file name", &e)),
        }
    }
    jobs.shutdown(false).map_err(|e| failed("cannot shut a queue down", &e))?;
    Ok(put)
}

fn next(got: Result<Answer, GetError>) -> Result<Option<Answer>, Failure> {
    match got {
        Ok(answer) => Ok(Some(answer)),
        Err(GetError::Empty | GetError::Contended) => Ok(None),
        Err(e) => Err(failed("cannot take an answer", &e)),
    }
}

/// How the workers ended, and if not well, which files that cost.
fn check(ended: Result<(), Failure>, answers: &Answers, files: &[Own]) -> Result<(), Failure> {
    let missing = answers.missing();
    match ended {
        Err(Failure::Failed(mut text)) if !missing.is_empty() => {
            text += &format!(
                "\nlost with it: the counts of {} of {} files",
                missing.len(),
                files.len()
            );
            for file in missing.iter().take(TOLD) {
                text += &format!("\n  {:?}", files[*file].path);
            }
            Err(Failure::Failed(text))
        }
        other => other,
    }
}
