//! Names of segments: files in one directory.

use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;

/// Where named segments live unless `RINGWAY_DIR` says otherwise. A tmpfs everywhere.
const DEFAULT_DIR: &str = "/dev/shm";
/// What tells our files from others' there.
const PREFIX: &str = "ringway.";
const LONGEST: usize = 200;

/// A checked name: 1 to 200 letters, digits, dots, dashes and underscores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    name: String,
    path: PathBuf,
}

impl Name {
    /// Checks `name`. Segments of that name live in the directory that the environment
    /// variable `RINGWAY_DIR` names now, or else in `/dev/shm`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for any other characters or length.
    pub fn new(name: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(allowed) {
            let range = "1 to 200 letters, digits, dots, dashes and underscores";
            return Err(Error::out_of_range("a name", format!("{name:?}"), range));
        }
        let path = Self::dir().join(format!("{PREFIX}{name}"));
        Ok(Self { name: name.into(), path })
    }

    /// The directory that names lead to now.
    pub(super) fn dir() -> PathBuf {
        std::env::var_os("RINGWAY_DIR").unwrap_or_else(|| DEFAULT_DIR.into()).into()
    }

    /// The name that leads to a file, if one does.
    pub(super) fn of_file(file: &str) -> Option<Self> {
        file.strip_prefix(PREFIX).and_then(|name| Self::new(name).ok())
    }

    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The file.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Takes the name away. Those who have the segment open keep it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or [`Error::Os`].
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NotFound { name: self.name.clone() })
            }
            Err(e) => Err(Error::os("remove", self.path.display(), e)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_be_smuggled_in() {
        for bad in ["", "a/b", "..\0", "ä", "a b", &"x".repeat(201)] {
            assert!(matches!(Name::new(bad), Err(Error::OutOfRange { .. })), "{bad:?}");
        }
        assert!(Name::new("ok-1_2.3").is_ok());
    }
}
