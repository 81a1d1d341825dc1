//! Rival: a connected pair of stream sockets, as the system makes it.

use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// One end of the pair.
#[derive(Debug)]
pub struct UnixSocket(UnixStream);

impl Duplex for UnixSocket {
    const NAME: &'static str = "unix_socket";

    fn create() -> Fallible<(Self, Parcel)> {
        let (own, theirs) = UnixStream::pair()?;
        Ok((Self(own), Parcel::of([theirs.into()])))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [own] = parcel.take()?;
        Ok(Self(own.into()))
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        Ok(self.0.write_all(message)?)
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        Ok(self.0.read_exact(message)?)
    }
}
