//! Whether the workers' answers are right.

use super::count::{Tally, Total};
use crate::failure::Failure;
use std::path::Path;

/// A file on which the two sides do not agree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Which file.
    pub(crate) file: usize,
    /// What this process counted.
    pub(crate) own: Tally,
    /// What a worker counted; `None`: nobody did.
    pub(crate) theirs: Option<Tally>,
}

/// The two sides beside each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    /// What this process counted in total.
    pub(crate) own: Total,
    /// What the workers counted in total.
    pub(crate) theirs: Total,
    /// The files on which they do not agree.
    pub(crate) differences: Vec<Difference>,
}

/// Compares two lists of answers, one entry per file; `left_out` says of which files
/// there is nothing to compare.
pub(crate) fn compare(
    own: &[Tally],
    theirs: &[Option<Tally>],
    left_out: impl Fn(usize) -> bool,
) -> Sides {
    let mut sides =
        Sides { own: Total::default(), theirs: Total::default(), differences: Vec::new() };
    for (file, own) in own.iter().enumerate().filter(|(file, _)| !left_out(*file)) {
        let theirs = theirs.get(file).copied().flatten();
        sides.own.add(own);
        if let Some(theirs) = &theirs {
            sides.theirs.add(theirs);
        }
        if theirs != Some(*own) {
            sides.differences.push(Difference { file, own: *own, theirs });
        }
    }
    sides
}

/// At most so many differences are told one by one.
pub(super) const TOLD: usize = 10;

/// An error that says what differs, if anything does. `path` knows the files' names.
pub(crate) fn verdict<'a>(sides: &Sides, path: impl Fn(usize) -> &'a Path) -> Result<(), Failure> {
    let Sides { own, theirs, differences } = sides;
    if differences.is_empty() && own == theirs {
        return Ok(());
    }
    let mut text = format!(
        "the workers' answers are wrong for {} of {} files\n  \
         in total, this process: {own:?}\n  in total, the workers:  {theirs:?}",
        differences.len(),
        own.files
    );
    for Difference { file, own, theirs } in differences.iter().take(TOLD) {
        let path = path(*file);
        text += &format!("\n{path:?}\n  this process: {own:?}");
        match theirs {
            Some(theirs) => text += &format!("\n  a worker:     {theirs:?}"),
            None => text += "\n  no worker answered for it",
        }
    }
    Err(Failure::Failed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(n: u64) -> Tally {
        Tally { bytes: n * 10, lines: n, words: n * 2, crc: 7 }
    }

    fn verdict_of(sides: &Sides) -> Result<(), String> {
        let names = ["zero", "one", "two"];
        verdict(sides, |file| names[file].as_ref()).map_err(|e| e.to_string())
    }

    #[test]
    fn right_answers_differ_nowhere_and_add_up() {
        let own = [tally(1), tally(2), Tally::default()];
        let sides = compare(&own, &own.map(Some), |_| false);
        let total = Total { files: 3, bytes: 30, lines: 3, words: 6, crcs: 14 };
        assert_eq!(sides, Sides { own: total, theirs: total, differences: vec![] });
        assert_eq!(verdict_of(&sides), Ok(()));
    }

    #[test]
    fn every_wrong_count_is_found_and_told() {
        let own = [tally(1), tally(2)];
        let wrongs = [
            Tally { bytes: 21, ..own[1] },
            Tally { lines: 3, ..own[1] },
            Tally { words: 0, ..own[1] },
            Tally { crc: 8, ..own[1] },
        ];
        for wrong in wrongs {
            let sides = compare(&own, &[Some(own[0]), Some(wrong)], |_| false);
            let difference = Difference { file: 1, own: own[1], theirs: Some(wrong) };
            assert_eq!(sides.differences, [difference]);
            assert_ne!(sides.own, sides.theirs);
            let told = verdict_of(&sides).unwrap_err();
            assert!(told.contains("wrong for 1 of 2 files"), "{told}");
            assert!(told.contains("\"one\"") && !told.contains("\"zero\""), "{told}");
            assert!(told.contains(&format!("{wrong:?}")), "{told}");
        }
    }

    #[test]
    fn answers_given_for_each_other_differ() {
        let own = [tally(1), tally(2)];
        let sides = compare(&own, &[Some(own[1]), Some(own[0])], |_| false);
        assert_eq!(sides.own, sides.theirs);
        assert!(verdict_of(&sides).is_err());
    }

    #[test]
    fn a_missing_answer_differs() {
        let own = [tally(1), tally(2)];
        for theirs in [&[None, Some(own[1])][..], &[]] {
            let sides = compare(&own, theirs, |file| file == 1);
            assert_eq!(sides.differences, [Difference { file: 0, own: own[0], theirs: None }]);
            assert!(verdict_of(&sides).unwrap_err().contains("no worker answered"));
        }
    }

    #[test]
    fn what_is_left_out_does_not_count() {
        let own = [tally(1), tally(2)];
        let sides = compare(&own, &[Some(tally(9)), Some(own[1])], |file| file == 0);
        assert_eq!(sides.own, Total { files: 1, bytes: 20, lines: 2, words: 4, crcs: 7 });
        assert_eq!(verdict_of(&sides), Ok(()));
    }
}
