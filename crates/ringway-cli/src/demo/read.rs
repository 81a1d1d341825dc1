//! Counting one file in this process.

use super::count::{Counter, Tally};
use super::steady::{Fingerprint, Skip, Steady};
use std::path::Path;

/// Counts the file at `path`, which must be as `expected` if that is given. Tells
/// `progress` of the length of every piece; its error ends the reading.
pub(super) fn count<E>(
    path: &Path,
    expected: Option<Fingerprint>,
    buffer: &mut [u8],
    mut progress: impl FnMut(usize) -> Result<(), E>,
) -> Result<Result<(Fingerprint, Tally), Skip>, E> {
    let mut counter = Counter::default();
    let mut file = match Steady::open(path, expected) {
        Ok(file) => file,
        Err(why) => return Ok(Err(why)),
    };
    loop {
        match file.read(buffer) {
            Ok([]) => break,
            Ok(piece) => {
                counter.add(piece);
                progress(piece.len())?;
            }
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(file.finish().map(|fingerprint| (fingerprint, counter.finish())))
}
