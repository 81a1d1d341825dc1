//! Items that are longer than a slot, on their way out of the queue.

use crate::error::{GetError, get_error};
use crate::inner::Inner;
use crate::scratch;
use ringway_codec::{Codec, DecodeError};
use ringway_core::mpmc::{self, ReadGrant};

/// What a get to a buffer came to that did not fill the buffer.
pub(crate) enum NotHere {
    Error(GetError),
    /// The item is longer than the buffer. It was taken.
    Long(Box<ReadGrant>),
}

impl NotHere {
    #[cold]
    pub(crate) fn from(error: mpmc::GetError, label: &str) -> Self {
        match error {
            mpmc::GetError::Long(grant) => Self::Long(grant),
            error => Self::Error(get_error(error, label)),
        }
    }
}

/// The item that did not fit the buffer: copied to where the codec wants it, given free,
/// and decoded in private memory.
#[cold]
pub(crate) fn decode<T, C: Codec<T>>(inner: &Inner, why: NotHere) -> Result<T, GetError> {
    let grant = allowed(inner, why)?;
    // Given free before the caller's code runs: what cannot be decoded is consumed.
    let copy = |to: &mut [u8]| copy_and_release(inner, *grant.1, to);
    Ok(scratch::encoding(C::USES_SCRATCH, |scratch| C::decode_from(grant.0, scratch, copy))??)
}

/// An item of another length than the type's. It is consumed.
#[cold]
pub(crate) fn refuse(inner: &Inner, why: NotHere, expected: usize) -> GetError {
    match allowed(inner, why) {
        Ok((len, grant)) => {
            grant.release();
            DecodeError(format!("{len} bytes where the type has {expected}").into()).into()
        }
        Err(error) => error,
    }
}

/// The item and its length, unless it is longer than anybody may put: then nothing is
/// allocated for it.
pub(crate) fn allowed(inner: &Inner, why: NotHere) -> Result<(usize, Box<ReadGrant>), GetError> {
    let grant = match why {
        NotHere::Error(error) => return Err(error),
        NotHere::Long(grant) => grant,
    };
    let (len, limit) = (grant.len(), inner.max_message());
    if len > limit {
        grant.release();
        return Err(GetError::TooLarge { len, limit });
    }
    Ok((len, grant))
}

pub(crate) fn copy_and_release(
    inner: &Inner,
    grant: ReadGrant,
    to: &mut [u8],
) -> Result<(), GetError> {
    let copied = grant.read_at(0, to);
    grant.release();
    copied.map_err(|_| inner.corrupted("the length of an item"))
}
