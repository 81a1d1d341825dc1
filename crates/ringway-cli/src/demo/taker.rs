//! A worker process of the queue job: takes names of files, reads the files, puts what it
//! counted.
//!
//! All workers take from one queue and put into another. The queue of names is shut down
//! when all are put: workers empty it and end.

use super::count::Tally;
use super::read;
use super::steady::{Fingerprint, Skip};
use super::worker::PIECE;
use crate::signals::leave_interrupts_to_parent;
use ringway::queue::{GetError, PutReason, Queue};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// A file to count.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) file: u64,
    /// Names need not be UTF-8, which serde's paths must be.
    pub(super) path: OsString,
    /// What it must still be.
    pub(super) fingerprint: Fingerprint,
}

/// Bytes of the longest encoding of a [`Job`]: the system opens no path of more than
/// 4095 bytes, and the numbers take at most 10 bytes each.
pub(super) const LONGEST_JOB: u32 = 4096 + 12 * 10;

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) file: u64,
    pub(super) what: Result<Tally, Skip>,
}

/// Why a worker stopped early.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakerError {
    #[error("cannot catch signals: {0}")]
    Signals(#[from] io::Error),
    #[error("cannot take a file name: {0}")]
    Get(#[from] GetError),
    #[error("cannot put an answer: {0}")]
    Put(PutReason),
}

/// What the worker process runs.
pub(super) fn take((jobs, answers): (Queue<Job>, Queue<Answer>)) -> ExitCode {
    let caught = leave_interrupts_to_parent().map_err(TakerError::from);
    match caught.and_then(|()| serve(&jobs, &answers)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway: worker {}: {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}

/// Counts until the queue of names is shut down and empty.
pub(super) fn serve(jobs: &Queue<Job>, answers: &Queue<Answer>) -> Result<(), TakerError> {
    let mut buffer = vec![0; PIECE];
    for job in jobs.iter() {
        let Job { file, path, fingerprint } = job?;
        let counted = read::count(Path::new(&path), Some(fingerprint), &mut buffer, |_| {
            Ok::<(), Infallible>(())
        });
        let Ok(counted) = counted;
        let answer = Answer { file, what: counted.map(|(_, tally)| tally) };
        answers.put(answer).map_err(|e| TakerError::Put(e.reason))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::queue::queues;
    use crate::demo::scratch::Scratch;
    use crate::demo::steady::Steady;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    fn job(file: u64, path: PathBuf) -> Job {
        let fingerprint = Steady::open(&path, None).unwrap().fingerprint();
        Job { file, path: path.into(), fingerprint }
    }

    #[test]
    fn a_file_that_changed_or_vanished_is_left_out() {
        let scratch = Scratch::new("taker");
        let mut jobs = Vec::new();
        for (n, name) in ["changed", "vanished", "whole"].into_iter().enumerate() {
            jobs.push(job(n as u64, scratch.file(name, b"two words\n")));
        }
        scratch.file("changed", b"now there is something else");
        std::fs::remove_file(&jobs[1].path).unwrap();

        let (todo, answers) = queues().unwrap();
        jobs.into_iter().for_each(|job| todo.put(job).unwrap());
        todo.shutdown(false).unwrap();
        serve(&todo, &answers).unwrap();
        let got: Vec<Answer> = answers.try_iter().collect::<Result<_, _>>().unwrap();

        assert_eq!(got.iter().map(|answer| answer.file).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(matches!(got[0].what, Err(Skip::Changed)), "{got:?}");
        // The system's number came through.
        let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        assert!(matches!(&got[1].what, Err(Skip::Io(e)) if gone(e)), "{got:?}");
        let whole = got[2].what.as_ref().unwrap();
        assert_eq!((whole.bytes, whole.lines, whole.words), (10, 1, 2));
    }

    #[test]
    fn the_longest_path_and_the_largest_numbers_fit() {
        let (todo, _answers) = queues().unwrap();
        let path = OsString::from_vec(vec![0xff; 4095]);
        let job = Job { file: u64::MAX, path: path.clone(), fingerprint: Fingerprint::largest() };
        todo.put(job).unwrap();
        let got = todo.get().unwrap();
        assert_eq!((got.path, got.fingerprint), (path, Fingerprint::largest()));
        todo.shutdown(false).unwrap();
    }
}
