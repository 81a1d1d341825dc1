//! Rival: the system's pipes, one for each direction.
//!
//! One `write` per message, and the reader reads exactly one message. Collecting
//! small messages in a buffer before the write would be faster and would not be a
//! pipe of messages: the receiver would wait for the buffer to fill.

use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use std::io::{PipeReader, PipeWriter, Read, Write};

/// Pipes as the system makes them (64 KiB).
#[derive(Debug)]
pub struct OsPipe {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Duplex for OsPipe {
    const NAME: &'static str = "os_pipe";

    fn create() -> Fallible<(Self, Parcel)> {
        let (their_reader, writer) = std::io::pipe()?;
        let (reader, their_writer) = std::io::pipe()?;
        Ok((Self { reader, writer }, Parcel::of([their_reader.into(), their_writer.into()])))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [reader, writer] = parcel.take()?;
        Ok(Self { reader: reader.into(), writer: writer.into() })
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        Ok(self.writer.write_all(message)?)
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        Ok(self.reader.read_exact(message)?)
    }
}

/// Pipes widened to 1 MiB, the most that a user may ask for by default. Few programs
/// do so; the row is there because it is the system's best.
#[derive(Debug)]
pub struct WideOsPipe(OsPipe);

/// Bytes in a widened pipe.
const WIDE: usize = 1 << 20;

impl Duplex for WideOsPipe {
    const NAME: &'static str = "os_pipe_1mib";

    fn create() -> Fallible<(Self, Parcel)> {
        let (own, parcel) = OsPipe::create()?;
        rustix::pipe::fcntl_setpipe_size(&own.writer, WIDE)?;
        rustix::pipe::fcntl_setpipe_size(&own.reader, WIDE)?;
        Ok((Self(own), parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        OsPipe::attach(parcel).map(Self)
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        self.0.send(message)
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        self.0.recv(message)
    }
}
