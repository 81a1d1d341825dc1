//! The socket between a benchmark and its partner: orders, acknowledgements, and
//! the descriptors of the subject.

use crate::Fallible;
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest bytes part of a [`Parcel`].
const PARCEL_BYTES: usize = 64 * 1024;
/// The most descriptors in a [`Parcel`].
const PARCEL_DESCRIPTORS: usize = 16;
/// What a partner says once it has checked a batch and works no more. No count of messages.
pub const CHECKED: u64 = u64::MAX;

/// What the partner needs to attach to the subject.
#[derive(Debug, Default)]
pub struct Parcel {
    /// Where to find what, in the subject's own format.
    pub bytes: Vec<u8>,
    /// The descriptors that the bytes speak of.
    pub descriptors: Vec<OwnedFd>,
}

impl Parcel {
    /// A parcel of descriptors only.
    pub fn of(descriptors: impl IntoIterator<Item = OwnedFd>) -> Self {
        Self { bytes: Vec::new(), descriptors: descriptors.into_iter().collect() }
    }

    /// The descriptors, when there are exactly `N`.
    ///
    /// # Errors
    ///
    /// Another number of descriptors came.
    pub fn take<const N: usize>(self) -> Fallible<[OwnedFd; N]> {
        <[OwnedFd; N]>::try_from(self.descriptors)
            .map_err(|got| format!("{} descriptors came instead of {N}", got.len()).into())
    }
}

/// One end of the control socket. It keeps message boundaries and closes with its
/// process, so the death of one side is the end of messages for the other.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
}

impl Control {
    /// A connected pair.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn pair() -> Fallible<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// The end that a partner found as its standard input.
    ///
    /// # Errors
    ///
    /// The descriptor could not be copied.
    pub fn inherited() -> Fallible<Self> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self { socket })
    }

    /// The socket itself, to become the partner's standard input.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Sends one number.
    ///
    /// # Errors
    ///
    /// The other process is gone.
    pub fn send(&self, word: u64) -> Fallible {
        rustix::net::send(&self.socket, &word.to_le_bytes(), SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for one number; `None` when the other end is closed. The watchdog, not
    /// this call, bounds the wait.
    ///
    /// # Errors
    ///
    /// The system refused, or something else than one number came.
    pub fn recv(&self) -> Fallible<Option<u64>> {
        let mut word = [0; 8];
        match rustix::net::recv(&self.socket, &mut word[..], RecvFlags::empty())?.1 {
            0 => Ok(None),
            8 => Ok(Some(u64::from_le_bytes(word))),
            other => Err(format!("a control message of {other} bytes").into()),
        }
    }

    /// Waits for a number that has to be `expected`.
    ///
    /// # Errors
    ///
    /// The other process ended, or said something else.
    pub fn expect(&self, expected: u64) -> Fallible {
        match self.recv()? {
            Some(word) if word == expected => Ok(()),
            Some(word) => Err(format!("the partner said {word} instead of {expected}").into()),
            None => Err("the partner ended early; its own message is above".into()),
        }
    }

    /// Sends a parcel. Its descriptors are closed here once they are on their way.
    ///
    /// # Errors
    ///
    /// The parcel is too large, or the other process is gone.
    pub fn send_parcel(&self, parcel: Parcel) -> Fallible {
        self.lend_parcel(&parcel)
    }

    /// As [`send_parcel`](Self::send_parcel), and leaves the descriptors open here.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn lend_parcel(&self, parcel: &Parcel) -> Fallible {
        if parcel.bytes.len() >= PARCEL_BYTES || parcel.descriptors.len() > PARCEL_DESCRIPTORS {
            return Err("the parcel is too large for the control socket".into());
        }
        let borrowed: Vec<BorrowedFd<'_>> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PARCEL_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err("the descriptors do not fit".into());
        }
        // One byte more: an empty message would read as the end.
        let bytes = [IoSlice::new(&[0]), IoSlice::new(&parcel.bytes)];
        rustix::net::sendmsg(&self.socket, &bytes, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for a parcel.
    ///
    /// # Errors
    ///
    /// The other process ended, or the parcel came in part only.
    pub fn recv_parcel(&self) -> Fallible<Parcel> {
        let mut bytes = vec![0; PARCEL_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PARCEL_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if message.bytes == 0 {
            return Err("the benchmark ended before it handed anything over".into());
        }
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err("the parcel was cut off".into());
        }
        bytes.truncate(message.bytes);
        bytes.remove(0);
        let mut descriptors = Vec::new();
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                descriptors.extend(rights);
            }
        }
        Ok(Parcel { bytes, descriptors })
    }
}
