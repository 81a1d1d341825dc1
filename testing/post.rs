//! A parcel over a Unix socket: bytes with descriptors beside (SCM_RIGHTS).

use ringway_core::handover;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A handle as bytes and descriptors.
pub(crate) type Parcel = (Vec<u8>, Vec<OwnedFd>);

/// Packs a handle.
pub(crate) fn pack(handle: &impl Serialize) -> Result<Parcel, postcard::Error> {
    let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(handle));
    Ok((bytes?, descriptors))
}

/// Unpacks a handle.
pub(crate) fn unpack<T: DeserializeOwned>(parcel: Parcel) -> Result<T, postcard::Error> {
    let (bytes, descriptors) = parcel;
    handover::unpack(descriptors, || postcard::from_bytes(&bytes))
}

/// Two ends of a post office.
pub(crate) fn office() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    b.set_read_timeout(Some(super::LONG)).unwrap();
    (a, b)
}

/// Sends a parcel. The descriptors here are closed; those on their way hold.
pub(crate) fn send(to: &UnixStream, (bytes, descriptors): Parcel) {
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    let sent = sendmsg(to, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, bytes.len());
}

/// Receives a parcel.
pub(crate) fn receive(from: &UnixStream) -> Parcel {
    let mut bytes = vec![0; 1000];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let got = recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    bytes.truncate(got);
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    (bytes, descriptors)
}
