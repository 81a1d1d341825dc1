//! `shmem-ipc`: its ring of bytes with eventfds, blocking as its examples do. It carries a
//! stream; both sides know how long messages are.

use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::subject::Duplex;
use shmem_ipc::sharedring::{Receiver, Sender};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes in a ring: as many as in a pipe.
const CAPACITY: usize = 64 << 10;

/// One end.
pub struct ShmemIpc {
    to: Sender<u8>,
    from: Receiver<u8>,
}

fn copy(file: &File) -> Fallible<OwnedFd> {
    Ok(file.as_fd().try_clone_to_owned()?)
}

impl Duplex for ShmemIpc {
    const NAME: &'static str = "shmem_ipc";

    fn create() -> Fallible<(Self, Parcel)> {
        let (to, from) = (Sender::new(CAPACITY)?, Receiver::new(CAPACITY)?);
        let parcel = Parcel::of([
            copy(to.memfd().as_file())?,
            copy(to.empty_signal())?,
            copy(to.full_signal())?,
            copy(from.memfd().as_file())?,
            copy(from.empty_signal())?,
            copy(from.full_signal())?,
        ]);
        Ok((Self { to, from }, parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let [a, b, c, d, e, f] = parcel.take::<6>()?.map(File::from);
        Ok(Self { to: Sender::open(CAPACITY, d, e, f)?, from: Receiver::open(CAPACITY, a, b, c)? })
    }

    fn send(&mut self, mut message: &[u8]) -> Fallible {
        while !message.is_empty() {
            self.to.block_until_writable()?;
            let mut sent = 0;
            self.to.send_raw(|place, room| {
                sent = room.min(message.len());
                // SAFETY: the crate gives `room` bytes at `place` to write to.
                unsafe { place.copy_from_nonoverlapping(message.as_ptr(), sent) };
                sent
            })?;
            message = &message[sent..];
        }
        Ok(())
    }

    fn recv(&mut self, mut message: &mut [u8]) -> Fallible {
        while !message.is_empty() {
            self.from.block_until_readable()?;
            let mut got = 0;
            self.from.receive_raw(|place, there| {
                got = there.min(message.len());
                // SAFETY: the crate gives `there` bytes at `place` to read.
                unsafe { place.copy_to_nonoverlapping(message.as_mut_ptr(), got) };
                got
            })?;
            message = &mut message[got..];
        }
        Ok(())
    }
}
