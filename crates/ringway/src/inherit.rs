//! Handing handles to any program started by [`std::process::Command`].
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[derive(serde::Serialize)] struct Receiver; let receiver = Receiver;
//! use ringway::HandOver;
//! use std::process::Command;
//!
//! let mut command = Command::new("consumer");
//! command.hand_over("jobs", receiver)?;
//! let child = command.spawn()?;
//! drop(command); // it keeps a hold of its own
//! # Ok(())
//! # }
//! ```
//!
//! and in the program `consumer`:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[derive(serde::Deserialize)] struct Receiver;
//! let receiver: Receiver = ringway::inherited("jobs")?;
//! # Ok(())
//! # }
//! ```
//!
//! The variable `RINGWAY_HANDLE_<KEY>` tells the program which descriptor is a sealed
//! memfd with the encoded handle. Other descriptors of the parent stay its own, and the
//! numbers are free ones: nothing that the program expects elsewhere is replaced.

use crate::letter::{Letter, OpenError, Opened, WriteError, decode};
use crate::mark::Mark;
use ringway_codec::{DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::io;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Hands handles to the program that a [`Command`] starts.
pub trait HandOver {
    /// Hands `handle` to the program, where [`inherited`] takes it under the same `key`.
    /// A key consists of ASCII letters, digits and `_`; case does not matter.
    ///
    /// `handle` is consumed, but the `Command` has a hold of it until it is dropped. So
    /// drop the `Command` after `spawn`, or the other side will not see the program's
    /// end. Dropped without a `spawn`, it closes the handle. Start the `Command` once:
    /// of several programs only the first to ask gets the handle.
    ///
    /// Call it after `env_clear`, which would drop the variable, and map no descriptors
    /// of your own to numbers that are open in this process.
    ///
    /// # Errors
    ///
    /// [`HandOverError`]; the handle is closed then.
    fn hand_over<T: Serialize>(&mut self, key: &str, handle: T)
    -> Result<&mut Self, HandOverError>;
}

impl HandOver for Command {
    fn hand_over<T: Serialize>(
        &mut self,
        key: &str,
        handle: T,
    ) -> Result<&mut Self, HandOverError> {
        let name = || key.to_string();
        let variable = variable(key).ok_or_else(|| HandOverError::BadKey { key: name() })?;
        let taken = |(set, value): (&std::ffi::OsStr, Option<_>)| {
            value.is_some() && set == variable.as_str()
        };
        if self.get_envs().any(taken) {
            return Err(HandOverError::KeyTaken { key: name() });
        }
        let letter = Letter::write(&handle).map_err(|error| match error {
            WriteError::Encode(source) => HandOverError::Encode { key: name(), source },
            WriteError::Os(source) => HandOverError::Os { key: name(), source },
        })?;
        letter
            .attach(self, &variable)
            .map_err(|source| HandOverError::Os { key: name(), source })?;
        // Only now: the hold in the command exists.
        drop(handle);
        Ok(self)
    }
}

/// Takes the handle that the starter of this program handed over under `key`.
///
/// Take it early: until then, programs started by this one inherit its descriptors.
///
/// # Errors
///
/// [`InheritError`]. After [`InheritError::Decode`] (it is no `T`) the handle is closed.
pub fn inherited<T: DeserializeOwned>(key: &str) -> Result<T, InheritError> {
    static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = || key.to_string();
    let variable = variable(key).ok_or_else(|| InheritError::BadKey { key: name() })?;
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.contains(&variable) {
        return Err(InheritError::AlreadyTaken { key: name() });
    }
    let value = std::env::var(&variable);
    let value = value.map_err(|_| InheritError::NotHandedOver { key: name() })?;
    let mark = value.parse::<Mark>();
    let mark = mark.map_err(|_| InheritError::NotForThisProcess { key: name() })?;
    let letter = Opened::read(mark).map_err(|error| match error {
        OpenError::NotHere => InheritError::NotForThisProcess { key: name() },
        OpenError::ReadElsewhere => InheritError::AlreadyTaken { key: name() },
        OpenError::Decode(source) => InheritError::Decode { key: name(), source },
        OpenError::Os(source) => InheritError::Os { key: name(), source },
    })?;
    taken.insert(variable);
    // A decoder may take long, and may ask for another key.
    drop(taken);
    let decoded = letter.unpack(|bytes| decode(bytes));
    decoded.map_err(|source| InheritError::Decode { key: name(), source })
}

/// The environment variable for `key`, if that is one.
fn variable(key: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = !key.is_empty() && key.bytes().all(allowed);
    good.then(|| format!("RINGWAY_HANDLE_{}", key.to_ascii_uppercase()))
}

/// Why a handle could not be handed to a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// The key is empty or has other characters than ASCII letters, digits and `_`.
    #[error("{key:?} cannot be a key: only ASCII letters, digits and _")]
    BadKey {
        /// The key as given.
        key: String,
    },
    /// The command has a handle under this key already.
    #[error("the command has a handle under the key {key:?} already")]
    KeyTaken {
        /// The key as given.
        key: String,
    },
    /// The value has no encoding, or a handle in it cannot be handed over.
    #[error("cannot hand over {key:?}: {source}")]
    Encode {
        /// The key as given.
        key: String,
        /// The encoder's answer.
        #[source]
        source: EncodeError,
    },
    /// A call to the system failed: descriptors or memory ran out, or there is no
    /// `/proc`.
    #[error("cannot hand over {key:?}: {source}")]
    Os {
        /// The key as given.
        key: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Why a handle could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InheritError {
    /// The key is empty or has other characters than ASCII letters, digits and `_`.
    #[error("{key:?} cannot be a key: only ASCII letters, digits and _")]
    BadKey {
        /// The key as given.
        key: String,
    },
    /// The starter of this program handed over nothing under this key.
    #[error("nothing was handed to this program under the key {key:?}")]
    NotHandedOver {
        /// The key as given.
        key: String,
    },
    /// The variable is there, the descriptor is not: it was handed to another program,
    /// most likely one that started this one.
    #[error("what was handed over under the key {key:?} was meant for another process")]
    NotForThisProcess {
        /// The key as given.
        key: String,
    },
    /// It was taken before, by this process or by another that was handed the same.
    #[error("what was handed over under the key {key:?} was taken already")]
    AlreadyTaken {
        /// The key as given.
        key: String,
    },
    /// What was handed over is something else than what was asked for. It is closed.
    #[error("cannot take over {key:?}: {source}")]
    Decode {
        /// The key as given.
        key: String,
        /// The decoder's answer.
        #[source]
        source: DecodeError,
    },
    /// A call to the system failed.
    #[error("cannot take over {key:?}: {source}")]
    Os {
        /// The key as given.
        key: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}
