//! The one error type of the core crate.
//!
//! Every variant names the object it is about and, where a call to the system
//! failed, what was being done and the error number.

use std::fmt;
use std::io;

/// What can go wrong when a segment is created, opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the system failed.
    #[error("cannot {op} {object}: {source}")]
    Os {
        /// What was being done, as a verb: "map", "create".
        op: &'static str,
        /// The object it was done to.
        object: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The segment's bytes make no sense. They were written by a bug, a hostile
    /// peer or failing hardware; the handle that saw it is of no further use.
    #[error("{object} is corrupted: {what}")]
    Corrupted {
        /// The segment.
        object: String,
        /// Which value was wrong.
        what: &'static str,
    },
    /// The segment is sound, but made by another layout version, for another kind
    /// of object or for another element type.
    #[error("{object} is incompatible: {what} is {found}, expected {expected}")]
    Incompatible {
        /// The segment.
        object: String,
        /// Which property differs.
        what: &'static str,
        /// What this program expects.
        expected: String,
        /// What the segment says.
        found: String,
    },
    /// Something of that name exists already.
    #[error("the name {name:?} is taken")]
    NameTaken {
        /// The name as given.
        name: String,
    },
    /// Nothing of that name exists.
    #[error("nothing is named {name:?}")]
    NotFound {
        /// The name as given.
        name: String,
    },
    /// As many processes as the segment has room for are attached.
    #[error("{object} has its limit of {limit} processes attached")]
    TooManyParticipants {
        /// The segment.
        object: String,
        /// How many it was created for.
        limit: u32,
    },
    /// As many threads as the segment has room for use it.
    #[error("{object} has its limit of {limit} threads using it")]
    TooManyActors {
        /// The segment.
        object: String,
        /// How many it was created for.
        limit: u32,
    },
    /// An argument is out of its range. Nothing was created.
    #[error("{what} of {value} is out of range: {range}")]
    OutOfRange {
        /// Which argument.
        what: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        range: String,
    },
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// An [`Error::Os`] from any of the system's error types.
    pub fn os(op: &'static str, object: impl fmt::Display, source: impl Into<io::Error>) -> Self {
        Self::Os { op, object: object.to_string(), source: source.into() }
    }

    /// An [`Error::Corrupted`].
    pub fn corrupted(object: impl fmt::Display, what: &'static str) -> Self {
        Self::Corrupted { object: object.to_string(), what }
    }

    /// An [`Error::OutOfRange`].
    pub fn out_of_range(
        what: &'static str,
        value: impl fmt::Display,
        range: impl fmt::Display,
    ) -> Self {
        Self::OutOfRange { what, value: value.to_string(), range: range.to_string() }
    }

    /// The system's error number, if the system was the one to refuse.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Os { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
