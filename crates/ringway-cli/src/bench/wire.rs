//! One end of a two-way connection, of each kind that is measured.

use crate::failure::{Failure, failed};
use ringway::pipe::Connection;
use ringway_core::handover;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;

/// Ringway's.
pub(super) type Pipe = Connection<Vec<u8>, Vec<u8>>;

/// Moves messages of a length that both sides know.
pub(super) trait Wire {
    /// Sends one; waits for room.
    fn send(&mut self, message: &[u8]) -> Result<(), Failure>;
    /// Receives one of exactly `message.len()` bytes; waits for it.
    fn recv(&mut self, message: &mut [u8]) -> Result<(), Failure>;
}

impl Wire for Pipe {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.send_bytes(message).map_err(|e| failed("cannot send", &e))
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Result<(), Failure> {
        match self.recv_bytes_into(message).map_err(|e| failed("cannot receive", &e))? {
            len if len == message.len() => Ok(()),
            len => Err(Failure::Failed(format!("a message of {len} bytes came"))),
        }
    }
}

/// The system's pipes, one each way: one `write` per message and an exact `read`.
#[derive(Debug)]
pub(super) struct OsPipe {
    pub(super) reader: PipeReader,
    pub(super) writer: PipeWriter,
}

impl OsPipe {
    /// One end, and what the other is made of.
    pub(super) fn create() -> Result<(Self, [Fd; 2]), Failure> {
        let pipe = || std::io::pipe().map_err(|e| failed("cannot make a pipe", &e));
        let ((their_reader, writer), (reader, their_writer)) = (pipe()?, pipe()?);
        Ok((Self { reader, writer }, [Fd(their_reader.into()), Fd(their_writer.into())]))
    }

    /// The other end.
    pub(super) fn open([reader, writer]: [Fd; 2]) -> Self {
        Self { reader: reader.0.into(), writer: writer.0.into() }
    }
}

impl Wire for OsPipe {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(message).map_err(|e| failed("cannot write", &e))
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Result<(), Failure> {
        self.reader.read_exact(message).map_err(|e| failed("cannot read", &e))
    }
}

/// A descriptor among the arguments of a child: a duplicate travels.
#[derive(Debug)]
pub(super) struct Fd(pub(super) OwnedFd);

impl Serialize for Fd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let duplicate = self.0.try_clone().map_err(ser::Error::custom)?;
        handover::give(duplicate).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = u32::deserialize(deserializer)?;
        handover::take(place).map(Self).map_err(de::Error::custom)
    }
}
