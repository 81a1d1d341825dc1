//! `ipmpsc`: a ring in a temporary file with a lock in it. Bytes are received without a
//! copy of its own, as its documentation advises, and then copied out as by all here.

use ipmpsc::{Receiver, Sender, SharedRingBuffer};
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::subject::Duplex;
use serde_bytes::Bytes;

/// Bytes in a ring. A message has to fit in one piece.
const CAPACITY: u32 = 256 << 10;

/// One end.
pub struct Ipmpsc {
    to: Sender,
    from: Receiver,
}

impl Duplex for Ipmpsc {
    const NAME: &'static str = "ipmpsc";

    fn create() -> Fallible<(Self, Parcel)> {
        let (there, to) = SharedRingBuffer::create_temp(CAPACITY)?;
        let (back, from) = SharedRingBuffer::create_temp(CAPACITY)?;
        let parcel =
            Parcel { bytes: format!("{there}\n{back}").into_bytes(), descriptors: Vec::new() };
        Ok((Self { to: Sender::new(to), from: Receiver::new(from) }, parcel))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let names = String::from_utf8(parcel.bytes)?;
        let (there, back) = names.split_once('\n').ok_or("two names are needed")?;
        let (to, from) = (SharedRingBuffer::open(back)?, SharedRingBuffer::open(there)?);
        Ok(Self { to: Sender::new(to), from: Receiver::new(from) })
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        Ok(self.to.send(&Bytes::new(message))?)
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        let mut context = self.from.zero_copy_context();
        let got: &[u8] = context.recv()?;
        if got.len() != message.len() {
            return Err(format!("a message of {} bytes came", got.len()).into());
        }
        message.copy_from_slice(got);
        Ok(())
    }
}
