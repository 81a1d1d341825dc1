//! Work on files, done three times: by this process alone, by workers over pipes and by
//! workers over queues. Then the answers are compared.

use super::answers::Answers;
use super::compare::{compare, verdict};
use super::count::{Tally, Total};
use super::progress::Progress;
use super::steady::{Fingerprint, Skip};
use super::walk::walk;
use super::worker::PIECE;
use super::{pipes, queue, read, say};
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

/// How it was done.
struct Way<'a> {
    /// For the line with the speed.
    what: &'a str,
    took: Duration,
}

/// Counts the files under `root` alone, through pipes and through queues, and compares.
pub(super) fn run(root: &Path, workers: usize, signals: &mut Signals) -> Result<(), Failure> {
    say(&format!("\nAll files under {}, in this process alone:\n", root.display()))?;
    let found = walk(root, signals)?;
    let mut skipped = found.skipped;
    let start = Instant::now();
    let files = alone(found.files, found.bytes, &mut skipped, signals)?;
    let took = start.elapsed();
    name_skipped(&skipped);
    if files.is_empty() {
        let root = root.display();
        return Err(Failure::Usage(format!("there is no regular file that can be read in {root}")));
    }
    let mut own = Total::default();
    files.iter().for_each(|file| own.add(&file.tally));
    summarise(&own, skipped.len(), &Way { what: "read and counted", took })?;
    let files: Arc<[Own]> = files.into();

    say(&format!("\nTheir contents through pipes to {workers} processes:\n"))?;
    let start = Instant::now();
    let answers = pipes::count(&files, workers, signals)?;
    let way = Way { what: "read here, sent, counted there", took: start.elapsed() };
    check(&files, answers, &way)?;

    say(&format!("\nTheir names through a queue to {workers} processes:\n"))?;
    let start = Instant::now();
    let answers = queue::count(&files, workers, signals)?;
    let way = Way { what: "sent, read and counted there", took: start.elapsed() };
    check(&files, answers, &way)
}

/// Tells what the workers counted, and whether it is right.
fn check(files: &[Own], answers: Answers, way: &Way<'_>) -> Result<(), Failure> {
    let (tallies, changed) = answers.split();
    let left_out: HashSet<usize> = changed.iter().map(|(file, _)| *file).collect();
    let changed = changed.into_iter().map(|(file, why)| (files[file].path.clone(), why));
    let changed: Skipped = changed.collect();
    name_skipped(&changed);
    let own: Vec<Tally> = files.iter().map(|file| file.tally).collect();
    let sides = compare(&own, &tallies, |file| left_out.contains(&file));
    summarise(&sides.theirs, changed.len(), way)?;
    verdict(&sides, |file| files[file].path.as_path())
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
        match read::count(&path, None, &mut buffer, &mut counted)? {
            Ok((fingerprint, tally)) => files.push(Own { path, fingerprint, tally }),
            Err(why) => skipped.push((path, why)),
        }
    }
    Ok(files)
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

fn summarise(total: &Total, skipped: usize, way: &Way<'_>) -> Result<(), Failure> {
    let Total { files, bytes, lines, words, crcs } = total;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let gigabytes = *bytes as f64 / 1e9;
    let seconds = way.took.as_secs_f64();
    let speed = gigabytes / seconds.max(1e-9);
    let what = way.what;
    say(&format!(
        "  files    {files:>14}\n  bytes    {bytes:>14}\n  lines    {lines:>14}\n  \
         words    {words:>14}\n  crc sum  {crcs:>14x}\n  left out {skipped:>14}\n  \
         {what}: {speed:.3} GB/s ({seconds:.2} s)\n"
    ))
}
