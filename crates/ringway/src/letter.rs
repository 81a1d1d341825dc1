//! What a starting program is told: a sealed memfd with the bytes, and the descriptors
//! that they speak of, all inherited.
//!
//! An environment variable says where the letter is ([`Mark`]). The bytes do not go
//! into the variable or the argument list: both have a length limit and can be read by
//! every program of the user.
//!
//! Descriptors keep their numbers. Each is open in the parent under its number until
//! the `Command` is dropped, so nothing else there can have it: not another handle, not
//! a descriptor that the program passes on for reasons of its own, not the pipe through
//! which `Command` reports a failed exec. Only the close-on-exec flag is cleared, and
//! only in the child.
//!
//! Giver and taker share one file offset, which moves when the letter is read. So it is
//! read once in the whole system, and the giver can see that it was ([`Receipt`]).

#![allow(unsafe_code, reason = "pre_exec")]

use crate::mark::{Mark, above_stdio};
use command_fds::CommandFdExt;
use ringway_codec::{DecodeError, EncodeError};
use ringway_core::handover;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Written, not sent.
pub(crate) struct Letter {
    paper: OwnedFd,
    enclosed: Vec<OwnedFd>,
}

/// Why a letter could not be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    Encode(EncodeError),
    Os(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(source: io::Error) -> Self {
        Self::Os(source)
    }
}

impl From<postcard::Error> for WriteError {
    fn from(source: postcard::Error) -> Self {
        Self::Encode(EncodeError(why(source)))
    }
}

/// What a handle said of why it cannot go or come, or else what the format says.
fn why(error: postcard::Error) -> Box<dyn std::error::Error + Send + Sync> {
    handover::explanation().map_or_else(|| error.into(), Into::into)
}

impl Letter {
    /// Encodes `content`; the descriptors that it gives go with it.
    pub(crate) fn write(content: &impl Serialize) -> Result<Self, WriteError> {
        let (body, given) = handover::collect(|| postcard::to_stdvec(content));
        let body = body?;
        let enclosed = given.into_iter().map(above_stdio).collect::<io::Result<Vec<_>>>()?;
        let marks = enclosed.iter().map(|fd| Mark::of(fd.as_fd()));
        let marks = postcard::to_stdvec(&marks.collect::<io::Result<Vec<_>>>()?)?;
        let mut paper = File::from(above_stdio(blank()?)?);
        paper.write_all(&marks)?;
        paper.write_all(&body)?;
        fcntl_add_seals(&paper, SEALS).map_err(io::Error::from)?;
        paper.rewind()?;
        Ok(Self { paper: paper.into(), enclosed })
    }

    /// Sends the letter with the program that `command` starts. The `command` holds
    /// the descriptors until it is dropped.
    pub(crate) fn attach(self, command: &mut Command, variable: &str) -> io::Result<Receipt> {
        let receipt = Receipt(File::from(self.paper.try_clone()?));
        command.env(variable, Mark::of(self.paper.as_fd())?.to_string());
        let mut all = self.enclosed;
        all.push(self.paper);
        command.preserved_fds(all);
        let leave = || {
            ringway_core::process::about_to_exec();
            Ok(())
        };
        // SAFETY: it takes a lock that no other thread held at the fork, and stores words.
        unsafe { command.pre_exec(leave) };
        Ok(receipt)
    }
}

/// Tells whether the letter was read.
#[derive(Debug)]
pub(crate) struct Receipt(File);

impl Receipt {
    pub(crate) fn was_read(&self) -> bool {
        // A memfd can always say its position.
        (&self.0).stream_position().is_ok_and(|position| position > 0)
    }
}

/// A letter that was read.
pub(crate) struct Opened {
    bytes: Vec<u8>,
    body: usize,
    enclosed: Vec<OwnedFd>,
}

/// Why a letter could not be read.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// This process did not inherit it, or adopted it before.
    NotHere,
    /// Another process that inherited it was quicker.
    ReadElsewhere,
    /// It is there and makes no sense.
    Decode(DecodeError),
    Os(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(source: io::Error) -> Self {
        Self::Os(source)
    }
}

impl Opened {
    /// Adopts and reads the letter at `mark`, and adopts what it encloses.
    pub(crate) fn read(mark: Mark) -> Result<Self, OpenError> {
        let paper = mark.adopt().ok_or(OpenError::NotHere)?;
        // Else it is no letter, and reading could block.
        if !fcntl_get_seals(&paper).is_ok_and(|seals| seals.contains(SEALS)) {
            return Err(malformed("it is no sealed memfd"));
        }
        let mut paper = File::from(paper);
        let len = usize::try_from(paper.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        // The kernel serves one read of a shared offset at a time: the first reader gets
        // everything (up to 2 GiB in one go), later ones nothing.
        let first = paper.read(&mut bytes)?;
        if first == 0 {
            return Err(OpenError::ReadElsewhere);
        }
        paper.read_exact(&mut bytes[first..])?;
        let (marks, body) = postcard::take_from_bytes::<Vec<Mark>>(&bytes)
            .map_err(|e| OpenError::Decode(DecodeError(e.into())))?;
        let body = bytes.len() - body.len();
        let enclosed = marks.iter().map(Mark::adopt).collect::<Option<_>>();
        let enclosed = enclosed.ok_or_else(|| malformed("a descriptor did not come with it"))?;
        Ok(Self { bytes, body, enclosed })
    }

    /// Runs `decode` with the descriptors at hand; those it leaves are closed.
    pub(crate) fn unpack<R>(self, decode: impl FnOnce(&[u8]) -> R) -> R {
        let Self { bytes, body, enclosed } = self;
        handover::unpack(enclosed, || decode(&bytes[body..]))
    }
}

/// A `T` that takes up all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError(format!("{} bytes left over", rest.len()).into())),
        Err(e) => Err(DecodeError(why(e))),
    }
}

fn malformed(what: &str) -> OpenError {
    OpenError::Decode(DecodeError(what.into()))
}

/// Nothing about a letter changes once it is written.
const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

fn blank() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // NOEXEC_SEAL is known since Linux 6.3; older systems say EINVAL.
    Ok(match memfd_create("ringway-letter", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("ringway-letter", flags)?,
        other => other?,
    })
}
