//! What has become of each file.

use super::count::Tally;
use super::steady::Skip;
use crate::failure::Failure;

/// The workers' answers, one entry per file; `None`: none yet.
#[derive(Debug)]
pub(super) struct Answers(Vec<Option<Result<Tally, Skip>>>);

impl Answers {
    /// None for any of `files` files.
    pub(super) fn new(files: usize) -> Self {
        Self((0..files).map(|_| None).collect())
    }

    /// Enters a worker's answer and gives the file's index; an error if it makes no
    /// sense. A worker is not trusted to name a file that exists.
    pub(super) fn enter(&mut self, file: u64, what: Result<Tally, Skip>) -> Result<usize, Failure> {
        let index = usize::try_from(file).unwrap_or(usize::MAX);
        match self.0.get_mut(index) {
            Some(answer @ None) => {
                *answer = Some(what);
                Ok(index)
            }
            Some(_) => Err(Failure::Failed(format!("file {file} was counted twice"))),
            None => Err(Failure::Failed(format!("a worker counted file {file}, which is none"))),
        }
    }

    /// Leaves a file out, whatever a worker said of it.
    pub(super) fn leave_out(&mut self, file: usize, why: Skip) {
        self.0[file] = Some(Err(why));
    }

    /// The files without an answer.
    pub(super) fn missing(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|file| self.0[*file].is_none()).collect()
    }

    /// The counts, one entry per file, and the files that were left out.
    pub(super) fn split(self) -> (Vec<Option<Tally>>, Vec<(usize, Skip)>) {
        let mut left_out = Vec::new();
        let tally = |(file, answer)| match answer {
            Some(Ok(tally)) => Some(tally),
            Some(Err(why)) => {
                left_out.push((file, why));
                None
            }
            None => None,
        };
        (self.0.into_iter().enumerate().map(tally).collect(), left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_per_file() {
        let mut answers = Answers::new(3);
        let tally = Tally::default();
        assert!(answers.enter(1, Ok(tally)).is_ok());
        assert_eq!(answers.missing(), [0, 2]);
        assert!(answers.enter(1, Ok(tally)).is_err());
        assert!(answers.enter(3, Ok(tally)).is_err());
        assert!(answers.enter(u64::MAX, Ok(tally)).is_err());
        assert!(answers.enter(2, Err(Skip::Changed)).is_ok());
        assert!(answers.enter(2, Ok(tally)).is_err());
        assert_eq!(answers.missing(), [0]);

        let (tallies, left_out) = answers.split();
        assert_eq!(tallies, [None, Some(tally), None]);
        assert!(matches!(left_out[..], [(2, Skip::Changed)]), "{left_out:?}");
    }

    #[test]
    fn what_is_left_out_later_counts_no_more() {
        let mut answers = Answers::new(1);
        answers.enter(0, Ok(Tally::default())).unwrap();
        answers.leave_out(0, Skip::NoFile);
        let (tallies, left_out) = answers.split();
        assert_eq!((tallies, left_out.len()), (vec![None], 1));
    }
}
