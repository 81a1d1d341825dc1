//! Handles on their way to another process: serialized with a descriptor beside.
//!
//! Serializing a handle outside a hand-over is an error. The giver keeps its own: queues
//! are shared. The receiver attaches when it deserializes.

use crate::error::OpenError;
use crate::inner::Inner;
use crate::shape::{Kind, Shape};
use crate::{JoinableQueue, Queue, SimpleQueue};
use ringway_codec::{Codec, signature_of};
use ringway_core::Error;
use ringway_core::handover::{give, take};
use ringway_core::segment::{self, Segment};
use ringway_core::wait::WaitPolicy;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::io;

/// What goes as bytes.
#[derive(Serialize, Deserialize)]
struct Parcel {
    /// Place of the descriptor.
    segment: u32,
    /// Whether it is of a file with a name, which cannot be sealed.
    named: bool,
    policy: u8,
}

fn pack(inner: &Inner) -> Result<Parcel, OpenError> {
    let (fd, named) = inner.share()?;
    let label = inner.ring.label();
    let segment = give(fd).map_err(|e| Error::os("hand over", label, io::Error::other(e)))?;
    let policy = match inner.policy {
        WaitPolicy::Spin => 1,
        WaitPolicy::Block => 2,
        _ => 0,
    };
    Ok(Parcel { segment, named, policy })
}

fn unpack(parcel: &Parcel, kind: Kind, of_types: u64) -> Result<Inner, OpenError> {
    let other = |e| Error::os("receive", "a queue", io::Error::other(e));
    let fd = take(parcel.segment).map_err(other)?;
    let segment = if parcel.named { Segment::from_named_fd(fd) } else { Segment::from_fd(fd) }?;
    let (header, label) = (segment.header(), segment.label());
    // Whoever handed it over agreed on the tag, which only the creator's options hold.
    let tagged = Shape::read(header, label)?.tagged;
    let signature = if tagged { header.signature } else { of_types };
    header.expect(label, segment::Kind::Queue, signature)?;
    let policy = match parcel.policy {
        1 => WaitPolicy::Spin,
        2 => WaitPolicy::Block,
        _ => WaitPolicy::Adaptive,
    };
    Inner::attach(segment, kind, parcel.named, policy)
}

macro_rules! handed_over {
    ($queue:ident, $($inner:ident).+) => {
        impl<T, C> Serialize for $queue<T, C> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                pack(&self.$($inner).+).map_err(ser::Error::custom)?.serialize(serializer)
            }
        }

        impl<'de, T, C: Codec<T>> Deserialize<'de> for $queue<T, C> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let parcel = Parcel::deserialize(deserializer)?;
                unpack(&parcel, Kind::$queue, signature_of::<T, C>())
                    .map(Self::new)
                    .map_err(de::Error::custom)
            }
        }
    };
}

handed_over!(Queue, inner);
handed_over!(JoinableQueue, inner);
handed_over!(SimpleQueue, queue.inner);
