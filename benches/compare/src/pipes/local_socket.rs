//! `interprocess`: its local sockets, the part of it that works on all systems.

use super::fresh_name;
use interprocess::local_socket::{
    GenericNamespaced, Listener, ListenerOptions, Stream, prelude::*,
};
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::subject::Duplex;
use std::io::{Read, Write};

/// One end.
pub struct LocalSocket {
    /// Until the other side has come.
    listener: Option<Listener>,
    stream: Option<Stream>,
}

impl LocalSocket {
    fn stream(&mut self) -> Fallible<&mut Stream> {
        if let Some(listener) = self.listener.take() {
            self.stream = Some(listener.accept()?);
        }
        self.stream.as_mut().ok_or_else(|| "the other side has not come".into())
    }
}

impl Duplex for LocalSocket {
    const NAME: &'static str = "interprocess_local";

    fn create() -> Fallible<(Self, Parcel)> {
        let name = fresh_name("local");
        let listener = ListenerOptions::new();
        let listener =
            listener.name(name.clone().to_ns_name::<GenericNamespaced>()?).create_sync()?;
        let parcel = Parcel { bytes: name.into_bytes(), descriptors: Vec::new() };
        Ok((Self { listener: Some(listener), stream: None }, parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let name = String::from_utf8(parcel.bytes)?;
        let stream = Stream::connect(name.to_ns_name::<GenericNamespaced>()?)?;
        Ok(Self { listener: None, stream: Some(stream) })
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        Ok(self.stream()?.write_all(message)?)
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        Ok(self.stream()?.read_exact(message)?)
    }
}
