//! A job on files, done twice: by this process alone and by workers. Then the answers
//! are compared.

use super::compare::{compare, verdict};
use super::count::{Counter, Tally, Total};
use super::feed::Work;
use super::progress::Progress;
use super::steady::{Fingerprint, Skip, Steady};
use super::walk::walk;
use super::worker::PIECE;
use super::{pipes, say};
use crate::failure::Failure;
use crate::signals::Signals;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A file that this process has counted.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) path: PathBuf,
    pub(super) fingerprint: Fingerprint,
    pub(super) tally: Tally,
}

type Skipped = Vec<(PathBuf, Skip)>;

/// At most so many files are named one by one.
const NAMED: usize = 10;

/// Counts the files under `root` alone and through pipes, and compares.
pub(super) fn run(root: &Path, workers: usize, signals: &mut Signals) -> Result<(), Failure> {
    say(&format!("\nAll files under {}, through pipes to {workers} processes:\n", root.display()))?;
    let found = walk(root, signals)?;
    let mut skipped = found.skipped;
    let start = Instant::now();
    let files = alone(found.files, found.bytes, &mut skipped, signals)?;
    let alone = start.elapsed();
    if files.is_empty() {
        name_skipped(&skipped);
        let root = root.display();
        return Err(Failure::Usage(format!("there is no regular file that can be read in {root}")));
    }

    let start = Instant::now();
    let work = Arc::new(Work::new(files));
    let answers = pipes::count(&work, workers, signals)?;
    let through = start.elapsed();

    let changed = work.take_skipped();
    let left_out: HashSet<usize> = changed.iter().map(|(file, _)| *file).collect();
    skipped.extend(changed.into_iter().map(|(file, why)| (work.files[file].path.clone(), why)));
    name_skipped(&skipped);
    let own: Vec<Tally> = work.files.iter().map(|file| file.tally).collect();
    let sides = compare(&own, &answers, |file| left_out.contains(&file));
    summarise(&sides.own, skipped.len(), workers, through, alone)?;
    verdict(&sides, |file| work.files[file].path.as_path())
}

/// What this process counts without any other.
fn alone(
    paths: Vec<PathBuf>,
    bytes: u64,
    skipped: &mut Skipped,
    signals: &mut Signals,
) -> Result<Vec<Own>, Failure> {
    let mut progress = Progress::new("in one process", bytes);
    let mut done = 0;
    let mut buffer = vec![0; PIECE];
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let mut counted = |len: usize| {
            done += len as u64;
            progress.set(done);
            signals.check()
        };
        match count_one(&path, &mut buffer, &mut counted)? {
            Ok((fingerprint, tally)) => files.push(Own { path, fingerprint, tally }),
            Err(why) => skipped.push((path, why)),
        }
    }
    Ok(files)
}

fn count_one(
    path: &Path,
    buffer: &mut [u8],
    counted: &mut impl FnMut(usize) -> Result<(), Failure>,
) -> Result<Result<(Fingerprint, Tally), Skip>, Failure> {
    let mut counter = Counter::default();
    let mut file = match Steady::open(path, None) {
        Ok(file) => file,
        Err(why) => return Ok(Err(why)),
    };
    loop {
        match file.read(buffer) {
            Ok([]) => break,
            Ok(piece) => {
                counter.add(piece);
                counted(piece.len())?;
            }
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(file.finish().map(|fingerprint| (fingerprint, counter.finish())))
}

fn name_skipped(skipped: &Skipped) {
    for (path, why) in skipped.iter().take(NAMED) {
        // Quoted: a name may contain anything, line ends too.
        eprintln!("left out: {path:?}: {why}");
    }
    if let Some(more @ 1..) = skipped.len().checked_sub(NAMED) {
        eprintln!("left out: {more} more");
    }
}

fn summarise(
    total: &Total,
    skipped: usize,
    workers: usize,
    through: Duration,
    alone: Duration,
) -> Result<(), Failure> {
    let Total { files, bytes, lines, words, crcs } = total;
    let speed = |time: Duration| {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let gigabytes = *bytes as f64 / 1e9;
        format!(
            "{:.3} GB/s ({:.2} s)",
            gigabytes / time.as_secs_f64().max(1e-9),
            time.as_secs_f64()
        )
    };
    let (through, alone) = (speed(through), speed(alone));
    say(&format!(
        "  files    {files:>14}\n  bytes    {bytes:>14}\n  lines    {lines:>14}\n  \
         words    {words:>14}\n  crc sum  {crcs:>14x}\n  left out {skipped:>14}\n  \
         read, sent through pipes and counted by {workers} processes: {through}\n  \
         before, read and counted by one process without pipes: {alone}\n"
    ))
}
