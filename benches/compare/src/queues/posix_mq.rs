//! One POSIX message queue, ten items long: more is for root.

use crate::pipes::{Mq, fresh_name, posix_open};
use nix::mqueue::mq_unlink;
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::shape::Queued;

/// The queue. Its maker takes the name away.
pub struct MqQueue {
    queue: Mq,
    name: String,
    made: bool,
}

impl Queued<1> for MqQueue {
    const NAME: &'static str = "posix_mq";

    fn create() -> Fallible<Self> {
        let name = format!("/{}", fresh_name("mqueue"));
        Ok(Self { queue: posix_open(&name, 8)?, name, made: true })
    }

    fn parcel(&self, _place: usize) -> Fallible<Parcel> {
        Ok(Parcel { bytes: self.name.clone().into_bytes(), descriptors: Vec::new() })
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        let name = String::from_utf8(parcel.bytes)?;
        Ok(Self { queue: posix_open(&name, 8)?, name, made: false })
    }

    fn put(&mut self, item: &[u64; 1]) -> Fallible {
        self.queue.send(&item[0].to_ne_bytes())
    }

    fn get(&mut self) -> Fallible<[u64; 1]> {
        let mut bytes = [0; 8];
        self.queue.recv(&mut bytes)?;
        Ok([u64::from_ne_bytes(bytes)])
    }
}

impl Drop for MqQueue {
    fn drop(&mut self) {
        if self.made {
            // Nothing can be done about a name that stays.
            let _ = mq_unlink(self.name.as_str());
        }
    }
}
