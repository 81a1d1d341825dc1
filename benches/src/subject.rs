//! What every way of moving bytes has to offer to be measured.

use crate::Fallible;
use crate::control::Parcel;
use crate::partner::Role;
use crate::{idle, oneway, round_trip};

/// One end of a two-way connection that carries messages of one known length.
///
/// The workloads are generic over it, so a call costs what it costs a program that
/// uses the subject directly.
pub trait Duplex: Sized + 'static {
    /// The name in the tables.
    const NAME: &'static str;

    /// This process's end, and what the partner needs to get the other one.
    ///
    /// # Errors
    ///
    /// The subject could not be made.
    fn create() -> Fallible<(Self, Parcel)>;

    /// The partner's end.
    ///
    /// # Errors
    ///
    /// The parcel is not of this subject.
    fn attach(parcel: Parcel) -> Fallible<Self>;

    /// Sends one message. Blocks while there is no room.
    ///
    /// # Errors
    ///
    /// The partner is gone.
    fn send(&mut self, message: &[u8]) -> Fallible;

    /// Receives one message of exactly `message.len()` bytes. Blocks until it came.
    ///
    /// # Errors
    ///
    /// The partner is gone, or the message has another length.
    fn recv(&mut self, message: &mut [u8]) -> Fallible;
}

/// The roles of a subject's partner, for the start of `main`.
pub const fn roles<S: Duplex>() -> [Role; 3] {
    [oneway::role::<S>(), round_trip::role::<S>(), idle::role::<S>()]
}
