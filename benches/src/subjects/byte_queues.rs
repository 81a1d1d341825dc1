//! Two of Ringway's queues of bytes as one connection, with room for several long messages: as
//! others that keep whole messages in shared memory have.

use crate::Fallible;
use crate::control::Parcel;
use crate::subject::Duplex;
use ringway_core::handover;
use ringway_queue::{Builder, Queue, Raw};

type Items = Queue<Vec<u8>, Raw>;

/// Items that each queue holds at most.
const PLACES: usize = 4;
/// Bytes of each queue for them: four of 1 MiB, and as many that have just been taken.
const POOL: u64 = 8 << 20;

/// Queues of bytes.
#[derive(Debug)]
pub struct ByteQueues {
    out: Items,
    back: Items,
}

impl Duplex for ByteQueues {
    const NAME: &'static str = "ringway_queue";

    fn create() -> Fallible<(Self, Parcel)> {
        let make = || Builder::new().pool_size(POOL).bounded(PLACES);
        let (out, back): (Items, Items) = (make()?, make()?);
        let (bytes, descriptors) = handover::collect(|| postcard::to_stdvec(&(&back, &out)));
        Ok((Self { out, back }, Parcel { bytes: bytes?, descriptors }))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let Parcel { bytes, descriptors } = parcel;
        let (out, back) = handover::unpack(descriptors, || postcard::from_bytes(&bytes))?;
        Ok(Self { out, back })
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Fallible {
        Ok(self.out.put_bytes(message)?)
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        let item = self.back.get_ref()?;
        if item.len() != message.len() {
            return Err(format!("an item of {} bytes came", item.len()).into());
        }
        item.read_at(0, message)?;
        item.release();
        Ok(())
    }
}
