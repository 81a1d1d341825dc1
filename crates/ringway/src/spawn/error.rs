//! What can go wrong with a child process.

use crate::letter::WriteError;
use ringway_codec::EncodeError;
use std::io;

/// Why [`spawn`](crate::spawn()) started no child. The arguments are dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// [`init`](crate::init) was not called in this process.
    #[error(
        "cannot spawn {name}: ringway::init was not called; \
         make it the first line of main (in a test: ringway::init_test!)"
    )]
    NotInitialised {
        /// The function that was to run.
        name: &'static str,
    },
    /// The function is not among those given to [`init`](crate::init).
    #[error(
        "cannot spawn {name}: it is not among the entries given to ringway::init ({})",
        registered.join(", ")
    )]
    NotRegistered {
        /// The function that was to run.
        name: &'static str,
        /// The functions that were given, sorted.
        registered: Vec<&'static str>,
    },
    /// The arguments have no encoding, or a handle in them cannot be handed over.
    #[error("cannot spawn {name}: {source}")]
    Encode {
        /// The function that was to run.
        name: &'static str,
        /// The encoder's answer.
        #[source]
        source: EncodeError,
    },
    /// A call to the system failed: processes, descriptors or memory ran out, or there
    /// is no `/proc`.
    #[error("cannot spawn {name}: {source}")]
    Os {
        /// The function that was to run.
        name: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl SpawnError {
    pub(super) fn writing(name: &'static str) -> impl Fn(WriteError) -> Self {
        move |error| match error {
            WriteError::Encode(source) => Self::Encode { name, source },
            WriteError::Os(source) => Self::Os { name, source },
        }
    }

    pub(super) fn os(name: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Os { name, source }
    }
}

/// Why a child's end could not be learnt or brought about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The child ended well without having run its function: it never came to
    /// [`init`](crate::init), because that is not the first line of `main`.
    #[error(
        "{name} did not run: the child ended before it came to ringway::init, \
         which must be the first line of main (in a test: ringway::init_test!)"
    )]
    DidNotRun {
        /// The function that was to run.
        name: &'static str,
    },
    /// A call to the system failed.
    #[error("cannot {op} {name}: {source}")]
    Os {
        /// What was being done.
        op: &'static str,
        /// The function that the child runs.
        name: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}
