//! Reading files that must not change meanwhile.
//!
//! Each file is read twice, once for either side of the comparison. If somebody writes
//! to it, the sides would differ through no fault of the pipes. So it is looked at
//! before and after each reading; one that is not the same throughout is left out.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Without it, opening a named pipe that took the place of a file waits for ever.
const O_NONBLOCK: i32 = 0o4000;

/// Why a file is left out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Skip {
    /// The system refused it, or it is gone.
    Io(#[serde(with = "errno")] io::Error),
    /// It is not what it was before.
    Changed,
    /// What it contains and what the system says of it do not agree, as under `/proc`.
    NoFile,
}

impl From<io::Error> for Skip {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => e.fmt(f),
            Self::Changed => f.write_str("it changed meanwhile"),
            Self::NoFile => f.write_str("its length is not what the system says"),
        }
    }
}

/// The system's errors as its numbers, to be told to another process.
mod errno {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::io;

    pub(super) fn serialize<S: Serializer>(e: &io::Error, to: S) -> Result<S::Ok, S::Error> {
        // An error without a number does not come from the system; 0 says that much.
        e.raw_os_error().unwrap_or(0).serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<io::Error, D::Error> {
        i32::deserialize(from).map(io::Error::from_raw_os_error)
    }
}

/// Tells a file and a state of it from all others: nobody can set the time of its last
/// change back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// With the longest encoding of all.
    #[cfg(test)]
    pub(crate) fn largest() -> Self {
        let (file, len) = ((u64::MAX, u64::MAX), u64::MAX);
        Self { file, len, modified: (i64::MIN, i64::MIN), changed: (i64::MIN, i64::MIN) }
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file being read.
#[derive(Debug)]
pub(crate) struct Steady {
    file: File,
    fingerprint: Fingerprint,
    read: u64,
}

impl Steady {
    /// Opens a regular file, which must be as `expected` if that is given.
    pub(crate) fn open(path: &Path, expected: Option<Fingerprint>) -> Result<Self, Skip> {
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        let fingerprint = Fingerprint::of(&metadata);
        if !metadata.is_file() || expected.is_some_and(|expected| expected != fingerprint) {
            return Err(Skip::Changed);
        }
        Ok(Self { file, fingerprint, read: 0 })
    }

    /// The next piece, read to the beginning of `buffer`; empty at the end.
    pub(crate) fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Skip> {
        let len = loop {
            match self.file.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.read += len as u64;
        // Also ends the reading of a file that grows as fast as it is read.
        if self.read > self.fingerprint.len {
            return Err(self.unsteady());
        }
        Ok(&buffer[..len])
    }

    /// After the last piece: what was read, if it was that all the time.
    pub(crate) fn finish(self) -> Result<Fingerprint, Skip> {
        if self.read != self.fingerprint.len || self.now()? != self.fingerprint {
            return Err(self.unsteady());
        }
        Ok(self.fingerprint)
    }

    /// What it was when it was opened.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn now(&self) -> Result<Fingerprint, Skip> {
        Ok(Fingerprint::of(&self.file.metadata()?))
    }

    #[cold]
    fn unsteady(&self) -> Skip {
        match self.now() {
            Ok(now) if now == self.fingerprint => Skip::NoFile,
            Ok(_) => Skip::Changed,
            Err(skip) => skip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch::Scratch;
    use std::fs;

    fn read_all(file: &mut Steady) -> Result<Vec<u8>, Skip> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4]);
        loop {
            match file.read(&mut buffer)? {
                [] => return Ok(all),
                piece => all.extend_from_slice(piece),
            }
        }
    }

    #[test]
    fn a_file_at_rest_is_read_twice_alike() {
        let scratch = Scratch::new("steady-rest");
        for contents in ["", "123", "12345678", "a longer one"] {
            let path = scratch.file("file", contents.as_bytes());
            let mut first = Steady::open(&path, None).unwrap();
            assert_eq!(read_all(&mut first).unwrap(), contents.as_bytes());
            let fingerprint = first.finish().unwrap();
            let mut second = Steady::open(&path, Some(fingerprint)).unwrap();
            assert_eq!(read_all(&mut second).unwrap(), contents.as_bytes());
            assert_eq!(second.finish().unwrap(), fingerprint);
        }
    }

    #[test]
    fn a_change_is_noticed_whenever_it_comes() {
        let scratch = Scratch::new("steady-change");
        let path = scratch.file("file", b"12345678");
        let mut file = Steady::open(&path, None).unwrap();
        read_all(&mut file).unwrap();
        let before = file.finish().unwrap();

        scratch.file("file", b"123456789 and more");
        assert!(matches!(Steady::open(&path, Some(before)), Err(Skip::Changed)));

        let mut file = Steady::open(&path, None).unwrap();
        file.read(&mut [0; 4]).unwrap();
        scratch.file("file", b"1");
        let _ = read_all(&mut file);
        assert!(matches!(file.finish(), Err(Skip::Changed)));

        let mut file = Steady::open(&path, None).unwrap();
        scratch.file("file", b"it grew a lot");
        assert!(matches!(read_all(&mut file), Err(Skip::Changed)));

        fs::remove_file(&path).unwrap();
        let gone = Steady::open(&path, None).unwrap_err();
        assert!(matches!(&gone, Skip::Io(e) if e.kind() == io::ErrorKind::NotFound), "{gone}");
    }

    #[test]
    fn what_only_looks_like_a_file_is_left_out() {
        let scratch = Scratch::new("steady-pipe");
        assert!(matches!(Steady::open(scratch.path(), None), Err(Skip::Changed)));
        // It says that it is empty, and is not.
        let mut made_up = Steady::open("/proc/self/status".as_ref(), None).unwrap();
        assert!(matches!(made_up.read(&mut [0; 64]), Err(Skip::NoFile)));
    }
}
