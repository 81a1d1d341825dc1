//! Named segments as a tool sees them: looked at, never mapped and never changed.

use super::Name;
use super::header::{Header, Kind};
use crate::error::{Error, Result};
use crate::process::any_lock;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

/// A file that has the name of a segment.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sight {
    /// Its name.
    pub name: Name,
    /// Bytes.
    pub size: u64,
    /// When it was made, as far as the file system knows.
    pub created: Option<SystemTime>,
    /// What is in it, or why that cannot be seen: most often, it is another user's.
    pub contents: io::Result<Contents>,
}

/// What is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// The version of its layout; `None` if it is no segment.
    pub layout: Option<u32>,
    /// What it holds, if this program knows that layout.
    pub kind: Option<Kind>,
    /// Whether a process uses it now: a living one holds a lock. May be wrong as soon as
    /// it is told.
    pub held: bool,
}

impl Sight {
    /// Looks at what `name` stands for, without following a symbolic link.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Os`].
    pub fn of(name: Name) -> Result<Self> {
        let metadata = match name.path().symlink_metadata() {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound { name: name.as_str().into() });
            }
            Err(e) => return Err(Error::os("inspect", name.path().display(), e)),
        };
        let created = metadata.created().or_else(|_| metadata.modified()).ok();
        let contents = look(&name, &metadata);
        Ok(Self { name, size: metadata.len(), created, contents })
    }

    /// Looks at all there are where [`Name`]s lead to, in their order. One that vanishes
    /// meanwhile is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] if the directory cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        let dir = Name::dir();
        let failed = |e| Error::os("list", dir.display(), e);
        let mut all = Vec::new();
        for entry in dir.read_dir().map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().and_then(Name::of_file) else { continue };
            match Self::of(name) {
                Err(Error::NotFound { .. }) => {}
                Ok(Self { contents: Err(e), .. }) if e.kind() == io::ErrorKind::NotFound => {}
                sight => all.push(sight?),
            }
        }
        all.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        Ok(all)
    }
}

fn look(name: &Name, metadata: &Metadata) -> io::Result<Contents> {
    if !metadata.is_file() {
        return Ok(Contents { layout: None, kind: None, held: false });
    }
    // If something else took its place, neither follow it nor wait for it.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(name.path())?;
    let held = any_lock(file.as_fd())?;
    let mut page = Vec::new();
    File::take(file, super::BODY).read_to_end(&mut page)?;
    let (layout, kind) = Header::glance(&page).unzip();
    Ok(Contents { layout, kind: kind.flatten(), held })
}
