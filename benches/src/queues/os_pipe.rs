//! An OS pipe as a queue: one writer, one reader.

use crate::Fallible;
use crate::control::Parcel;
use crate::shape::Queued;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// One pipe. Each item is one `write` and one exact `read`.
#[derive(Debug)]
pub struct PipeQueue {
    reader: File,
    writer: File,
}

fn bytes<const W: usize>(item: &[u64; W]) -> Vec<u8> {
    item.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

impl<const W: usize> Queued<W> for PipeQueue {
    const NAME: &'static str = "os_pipe";

    fn create() -> Fallible<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { reader: reader.into(), writer: writer.into() })
    }

    fn parcel(&self, _place: usize) -> Fallible<Parcel> {
        let copy = |file: &File| file.as_fd().try_clone_to_owned();
        Ok(Parcel::of([copy(&self.reader)?, copy(&self.writer)?]))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [reader, writer]: [OwnedFd; 2] = parcel.take()?;
        Ok(Self { reader: reader.into(), writer: writer.into() })
    }

    #[inline]
    fn put(&mut self, item: &[u64; W]) -> Fallible {
        if let Some(first) = item.first().filter(|_| W == 1) {
            return Ok(self.writer.write_all(&first.to_ne_bytes())?);
        }
        Ok(self.writer.write_all(&bytes(item))?)
    }

    #[inline]
    fn get(&mut self) -> Fallible<[u64; W]> {
        let mut room = [0_u8; 64];
        let room = &mut room[..8 * W];
        self.reader.read_exact(room)?;
        let mut words = room.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
        Ok(std::array::from_fn(|_| words.next().unwrap_or(0)))
    }
}
