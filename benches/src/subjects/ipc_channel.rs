//! Rival: `ipc-channel`, with its channels of bytes. One direction is enough here. The
//! sides meet by its one-shot server.

use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};

/// One end: the sending one where it was made, the receiving one at the partner's.
pub struct IpcChannel {
    /// Until the partner has come.
    server: Option<IpcOneShotServer<IpcBytesSender>>,
    sender: Option<IpcBytesSender>,
    receiver: Option<IpcBytesReceiver>,
}

impl Duplex for IpcChannel {
    const NAME: &'static str = "ipc_channel";

    fn create() -> Fallible<(Self, Parcel)> {
        let (server, name) = IpcOneShotServer::new()?;
        let parcel = Parcel { bytes: name.into_bytes(), descriptors: Vec::new() };
        Ok((Self { server: Some(server), sender: None, receiver: None }, parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let server = IpcSender::connect(String::from_utf8(parcel.bytes)?)?;
        let (sender, receiver) = ipc::bytes_channel()?;
        server.send(sender)?;
        Ok(Self { server: None, sender: None, receiver: Some(receiver) })
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        if let Some(server) = self.server.take() {
            self.sender = Some(server.accept()?.1);
        }
        Ok(self.sender.as_ref().ok_or("this end receives")?.send(message)?)
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        let got = self.receiver.as_ref().ok_or("this end sends")?.recv()?;
        if got.len() != message.len() {
            return Err(format!("a message of {} bytes came", got.len()).into());
        }
        message.copy_from_slice(&got);
        Ok(())
    }
}
