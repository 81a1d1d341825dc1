//! Descriptors that travel beside bytes.
//!
//! A handle is handed to another process as bytes (where to find what) plus
//! descriptors. Serializers know only bytes, so the descriptors take a way of their
//! own: while [`collect`] runs, [`give`] puts a descriptor into the parcel and says
//! its place; the place goes into the bytes. On the other side, [`unpack`] runs the
//! decoder with the descriptors at hand, and [`take`] gets each by its place, once.
//!
//! The parcel belongs to the calling thread. A descriptor in it is a hold of its own:
//! the receiver's hold exists before the giver lets go.

use std::cell::RefCell;
use std::fmt;
use std::os::fd::OwnedFd;

thread_local! {
    static EXPLANATION: RefCell<Option<String>> = const { RefCell::new(None) };
    static PARCEL: RefCell<Option<Vec<Option<OwnedFd>>>> = const { RefCell::new(None) };
}

/// A handle was serialized or deserialized outside a hand-over, or a place in the
/// parcel is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// There is no parcel: a handle can go only where descriptors can go with it.
    #[error("a handle can be serialized only while it is handed to another process")]
    NoParcel,
    /// The bytes name a descriptor that did not come or was taken before.
    #[error("the parcel has no descriptor at place {0}")]
    NothingThere(u32),
}

/// Runs `pack` and returns what it [`give`]s, in order.
pub fn collect<R>(pack: impl FnOnce() -> R) -> (R, Vec<OwnedFd>) {
    let (result, parcel) = with_parcel(Vec::new(), pack);
    (result, parcel.into_iter().flatten().collect())
}

/// Runs `unpack` with `descriptors` at hand. What it does not [`take`] is closed.
pub fn unpack<R>(descriptors: Vec<OwnedFd>, unpack: impl FnOnce() -> R) -> R {
    with_parcel(descriptors.into_iter().map(Some).collect(), unpack).0
}

/// Says why a handle could not be serialized or deserialized. Formats drop the text of
/// such errors; whoever runs the hand-over asks for it with [`explanation`].
pub fn explain(error: impl fmt::Display) {
    EXPLANATION.set(Some(error.to_string()));
}

/// What was said last on this thread with [`explain`], once.
pub fn explanation() -> Option<String> {
    EXPLANATION.take()
}

/// Puts a descriptor into the parcel; its place is to be written into the bytes.
///
/// # Errors
///
/// [`HandoverError::NoParcel`] outside [`collect`].
pub fn give(descriptor: OwnedFd) -> Result<u32, HandoverError> {
    PARCEL.with_borrow_mut(|parcel| {
        let parcel = parcel.as_mut().ok_or(HandoverError::NoParcel)?;
        parcel.push(Some(descriptor));
        // A process cannot have 2^32 descriptors.
        Ok(u32::try_from(parcel.len() - 1).unwrap_or(u32::MAX))
    })
}

/// Takes the descriptor at `place`.
///
/// # Errors
///
/// [`HandoverError::NoParcel`] outside [`unpack`]; [`HandoverError::NothingThere`].
pub fn take(place: u32) -> Result<OwnedFd, HandoverError> {
    PARCEL.with_borrow_mut(|parcel| {
        let parcel = parcel.as_mut().ok_or(HandoverError::NoParcel)?;
        let found = usize::try_from(place).ok().and_then(|i| parcel.get_mut(i)?.take());
        found.ok_or(HandoverError::NothingThere(place))
    })
}

/// Puts the previous parcel back also when the closure panics.
struct Restore(Option<Vec<Option<OwnedFd>>>);

impl Drop for Restore {
    fn drop(&mut self) {
        PARCEL.set(self.0.take());
    }
}

fn with_parcel<R>(
    parcel: Vec<Option<OwnedFd>>,
    body: impl FnOnce() -> R,
) -> (R, Vec<Option<OwnedFd>>) {
    let _restore = Restore(PARCEL.replace(Some(parcel)));
    EXPLANATION.set(None);
    let result = body();
    (result, PARCEL.take().unwrap_or_default())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsRawFd, OwnedFd};

    fn descriptor() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn descriptors_arrive_at_their_places_once() {
        let (places, parcel) =
            collect(|| [give(descriptor()).unwrap(), give(descriptor()).unwrap()]);
        assert_eq!(places, [0, 1]);
        let second = parcel[1].as_raw_fd();
        unpack(parcel, || {
            assert_eq!(take(1).unwrap().as_raw_fd(), second);
            assert_eq!(take(1).unwrap_err(), HandoverError::NothingThere(1));
            assert_eq!(take(7).unwrap_err(), HandoverError::NothingThere(7));
        });
    }

    #[test]
    fn outside_a_handover_nothing_goes() {
        assert_eq!(give(descriptor()).unwrap_err(), HandoverError::NoParcel);
        assert_eq!(take(0).unwrap_err(), HandoverError::NoParcel);
    }

    #[test]
    fn a_panic_leaves_no_parcel_behind() {
        assert!(std::panic::catch_unwind(|| collect(|| panic!("on purpose"))).is_err());
        assert_eq!(take(0).unwrap_err(), HandoverError::NoParcel);
    }
}
