//! `ipc-channel`, with its channels of bytes, which its documentation recommends where
//! nothing needs to be serialized. The sides meet by its one-shot server.

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::subject::Duplex;

type Ends = (IpcBytesSender, IpcBytesReceiver);

/// One end.
pub struct IpcChannel {
    /// Until the other side has come.
    server: Option<IpcOneShotServer<Ends>>,
    ends: Option<Ends>,
}

impl IpcChannel {
    fn ends(&mut self) -> Fallible<&Ends> {
        if let Some(server) = self.server.take() {
            self.ends = Some(server.accept()?.1);
        }
        self.ends.as_ref().ok_or_else(|| "the other side has not come".into())
    }
}

impl Duplex for IpcChannel {
    const NAME: &'static str = "ipc_channel";

    fn create() -> Fallible<(Self, Parcel)> {
        let (server, name) = IpcOneShotServer::new()?;
        let parcel = Parcel { bytes: name.into_bytes(), descriptors: Vec::new() };
        Ok((Self { server: Some(server), ends: None }, parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let server = IpcSender::<Ends>::connect(String::from_utf8(parcel.bytes)?)?;
        let (there, theirs) = ipc::bytes_channel()?;
        let (back, ours) = ipc::bytes_channel()?;
        server.send((back, theirs))?;
        Ok(Self { server: None, ends: Some((there, ours)) })
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        Ok(self.ends()?.0.send(message)?)
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        let got = self.ends()?.1.recv()?;
        if got.len() != message.len() {
            return Err(format!("a message of {} bytes came", got.len()).into());
        }
        message.copy_from_slice(&got);
        Ok(())
    }
}
