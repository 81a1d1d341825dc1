//! Finding files.

use super::steady::Skip;
use crate::failure::Failure;
use crate::signals::Signals;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The regular files, in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// Their lengths together, for the progress bar; they may change.
    pub(crate) bytes: u64,
    /// What could not be looked at.
    pub(crate) skipped: Vec<(PathBuf, Skip)>,
}

/// The regular files under `root`, or `root` if it is one. Follows no symbolic link but
/// `root` itself.
pub(crate) fn walk(root: &Path, signals: &mut Signals) -> Result<Found, Failure> {
    let mut found = Found::default();
    if root.is_file() {
        found.add(root.into(), fs::metadata(root));
        return Ok(found);
    }
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        signals.check()?;
        match list(&directory) {
            Ok(entries) => {
                for (path, kind, metadata) in entries {
                    if kind.is_dir() {
                        directories.push(path);
                    } else if kind.is_file() {
                        found.add(path, metadata);
                    }
                }
            }
            Err(e) => found.skipped.push((directory, e.into())),
        }
    }
    found.files.sort_unstable();
    Ok(found)
}

type Entry = (PathBuf, FileType, io::Result<Metadata>);

fn list(directory: &Path) -> io::Result<Vec<Entry>> {
    fs::read_dir(directory)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.file_type()?, entry.metadata()))
        })
        .collect()
}

impl Found {
    fn add(&mut self, path: PathBuf, metadata: io::Result<Metadata>) {
        match metadata {
            Ok(metadata) => {
                self.bytes += metadata.len();
                self.files.push(path);
            }
            Err(e) => self.skipped.push((path, e.into())),
        }
    }
}
