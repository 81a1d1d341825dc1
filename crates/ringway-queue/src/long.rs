//! Items that are longer than a slot, on their way out of the queue.

use crate::error::{GetError, get_error};
use crate::inner::Inner;
use crate::scratch;
use crate::until::Until;
use ringway_codec::{Codec, DecodeError};
use ringway_core::mpmc::{self, Incoming, ReadGrant};
use ringway_core::wait::Deadline;
use std::time::Duration;

/// How long a call that does not wait stays with a streamed item whose next bytes do not
/// come: much longer than a putter that runs needs for a piece.
const PACE: Duration = Duration::from_millis(10);

/// What a get to a buffer came to that did not fill the buffer.
pub(crate) enum NotHere {
    Error(GetError),
    /// The item is longer than the buffer. It was taken.
    Long(ReadGrant),
    /// The item is longer than the queue's memory. It was taken from its place.
    Stream(Box<Incoming>),
}

impl NotHere {
    #[cold]
    pub(crate) fn from(error: mpmc::GetError, label: &str) -> Self {
        match error {
            mpmc::GetError::Long(grant) => Self::Long(grant),
            mpmc::GetError::Stream(stream) => Self::Stream(stream),
            error => Self::Error(get_error(error, label)),
        }
    }
}

/// The item that did not fit the buffer: copied to where the codec wants it, given free,
/// and decoded in private memory.
#[cold]
pub(crate) fn decode<T, C: Codec<T>>(inner: &Inner, why: NotHere) -> Result<T, GetError> {
    let (len, grant) = allowed(inner, why)?;
    // Given free before the caller's code runs: what cannot be decoded is consumed.
    let copy = |to: &mut [u8]| copy_and_release(inner, grant, to);
    Ok(scratch::encoding(C::USES_SCRATCH, |scratch| C::decode_from(len, scratch, copy))??)
}

/// An item of another length than the type's. It is consumed.
#[cold]
pub(crate) fn refuse(inner: &Inner, why: NotHere, expected: usize) -> GetError {
    if let NotHere::Stream(stream) = why {
        let len = stream.len();
        stream.refuse();
        return DecodeError(format!("{len} bytes where the type has {expected}").into()).into();
    }
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
pub(crate) fn allowed(inner: &Inner, why: NotHere) -> Result<(usize, ReadGrant), GetError> {
    let grant = match why {
        NotHere::Error(error) => return Err(error),
        NotHere::Long(grant) => grant,
        NotHere::Stream(stream) => {
            // Its length is not the type's.
            let (len, limit) = (stream.len(), inner.max_message());
            stream.refuse();
            return Err(GetError::TooLarge { len, limit });
        }
    };
    let (len, limit) = (grant.len(), inner.max_message());
    if len > limit {
        grant.release();
        return Err(GetError::TooLarge { len, limit });
    }
    Ok((len, grant))
}

/// Receives a streamed item to `into`; `false` if its putter withdrew it or died.
#[cold]
fn receive(
    inner: &Inner,
    stream: Incoming,
    until: Until,
    into: &mut Vec<u8>,
) -> Result<bool, GetError> {
    let (len, limit) = (stream.len(), inner.max_message());
    if len > limit {
        // Before any memory is taken for it.
        stream.refuse();
        return Err(GetError::TooLarge { len, limit });
    }
    let (deadline, pace) = match until {
        Until::Now => (Deadline::NEVER, Some(PACE)),
        Until::Deadline(deadline) => (deadline, None),
    };
    let received =
        scratch::getting(inner.policy, |spinner| stream.receive(into, spinner, deadline, pace));
    received.map_err(|error| get_error(error, inner.ring.label()))
}

/// How often a get that may not wait any more goes on after a streamed item that its putter
/// withdrew, or died with, while it came.
const VOIDS: u32 = 64;

/// The looks of one call, which may meet streamed items.
///
/// One that does not come in time is handed back, and the call takes what is behind it: so a
/// putter that is slow or stopped holds up its own item and no other.
pub(crate) struct Looks {
    until: Until,
    /// Streamed items that came to nothing.
    voids: u32,
    /// Whether a streamed item has taken all the time there was.
    late: bool,
}

impl Looks {
    pub(crate) fn new(until: Until) -> Self {
        Self { until, voids: 0, late: false }
    }

    /// As [`Inner::get`].
    pub(crate) fn get(&self, inner: &Inner, buffer: &mut [u8]) -> Result<usize, NotHere> {
        if !self.late {
            return inner.get(buffer, self.until);
        }
        inner.get_beside_streams(buffer)
    }

    /// Receives a streamed item to `into`. `None` if nothing came of it: there may be another.
    pub(crate) fn receive(
        &mut self,
        inner: &Inner,
        stream: Incoming,
        mut into: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, GetError> {
        match receive(inner, stream, self.until, &mut into) {
            Ok(true) => return Ok(Some(into)),
            Ok(false) => self.voids = self.voids.saturating_add(1),
            Err(GetError::Empty) => self.late = true,
            Err(error) => return Err(error),
        }
        // The call must not go on for ever.
        let over = self.voids >= VOIDS && self.until.passed();
        if over { Err(GetError::Contended) } else { Ok(None) }
    }
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
