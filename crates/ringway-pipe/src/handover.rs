//! Ends on their way to another process: serialized with their descriptors beside.
//!
//! Serializing an end outside a hand-over is an error; so is one that is in the middle of
//! a message. The end is closed here once it is serialized: its descriptors, on their
//! way, hold it for the receiver, so the pipe never ends too early.

use crate::builder::{Expected, connection, duplex_signature};
use crate::end::{BOTH, End, Hold};
use crate::error::OpenError;
use crate::layout::{Reach, Side};
use crate::recv::RecvHalf;
use crate::send::SendHalf;
use crate::{Connection, Receiver, Sender};
use ringway_codec::{Codec, signature_of};
use ringway_core::Error;
use ringway_core::handover::{explain, give, take};
use ringway_core::segment::Segment;
use ringway_core::wait::WaitPolicy;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// What goes as bytes.
#[derive(Serialize, Deserialize)]
struct Parcel {
    side: u8,
    policy: u8,
    /// Places of the descriptors.
    segment: u32,
    token: u32,
}

fn pack(end: &End, policy: WaitPolicy, mid_message: bool) -> Result<Parcel, OpenError> {
    if mid_message {
        return Err(OpenError::MidMessage);
    }
    let [segment, token] = end.duplicate()?;
    let place =
        |fd| give(fd).map_err(|e| Error::os("hand over", &end.label, std::io::Error::other(e)));
    let (segment, token) = (place(segment)?, place(token)?);
    // Not before the descriptors are in a parcel: without one the end stays here.
    // The caller has all of it, and is in no other call.
    end.close(BOTH);
    Ok(Parcel {
        side: end.side as u8,
        policy: match policy {
            WaitPolicy::Spin => 1,
            WaitPolicy::Block => 2,
            _ => 0,
        },
        segment,
        token,
    })
}

fn unpack(parcel: &Parcel, expected: &Expected) -> Result<(Hold, WaitPolicy), OpenError> {
    let place = |place| {
        let other = |e| Error::os("receive", "a pipe end", std::io::Error::other(e));
        take(place).map_err(other)
    };
    let (segment, token) = (place(parcel.segment)?, place(parcel.token)?);
    let segment = Segment::from_fd(segment)?;
    let shape = expected.check(&segment)?;
    let side = Side::from_number(parcel.side.into())
        .ok_or_else(|| Error::corrupted(segment.label(), "which end it is"))?;
    let policy = match parcel.policy {
        1 => WaitPolicy::Spin,
        2 => WaitPolicy::Block,
        _ => WaitPolicy::Adaptive,
    };
    let (memory, _, fd, label) = segment.into_parts();
    Ok((End::hold(&memory, shape, side, fd, Some(token), &label)?, policy))
}

/// Half of a two-way end cannot go without the other half.
fn one_way(end: &End) -> Result<(), OpenError> {
    if end.shape.duplex {
        let (is, wanted) = ("is half of a two-way end", "is whole");
        return Err(OpenError::WrongDirection { is, wanted });
    }
    Ok(())
}

impl<T, C> Serialize for Sender<T, C> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let end = self.half.end();
        let parcel = one_way(end)
            .and_then(|()| pack(end, self.policy(), self.half.mid_message()))
            .map_err(refuse_to_give)?;
        parcel.serialize(serializer)
    }
}

impl<T, C> Serialize for Receiver<T, C> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let end = &self.half.end;
        let parcel = one_way(end)
            .and_then(|()| pack(end, self.policy(), self.half.mid_message()))
            .map_err(refuse_to_give)?;
        parcel.serialize(serializer)
    }
}

impl<S, R, C> Serialize for Connection<S, R, C> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mid = self.sender.half.mid_message() || self.receiver.half.mid_message();
        let parcel = pack(self.sender.half.end(), self.policy(), mid).map_err(refuse_to_give)?;
        parcel.serialize(serializer)
    }
}

/// The error for a serializer. Formats may drop its text: it is also left for whoever
/// runs the hand-over.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refuse_to_give<E: ser::Error>(error: OpenError) -> E {
    explain(&error);
    E::custom(&error)
}

/// The error for a deserializer, likewise.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refuse_to_take<E: de::Error>(error: OpenError) -> E {
    explain(&error);
    E::custom(&error)
}

fn wrong_side(is: &'static str, wanted: &'static str) -> OpenError {
    OpenError::WrongDirection { is, wanted }
}

impl<'de, T, C: Codec<T>> Deserialize<'de> for Sender<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parcel = Parcel::deserialize(deserializer)?;
        let signature = signature_of::<T, C>();
        let expected = Expected { duplex: false, reach: Reach::Handed, signature };
        let (end, policy) = unpack(&parcel, &expected).map_err(refuse_to_take)?;
        if end.outgoing.is_none() {
            return Err(refuse_to_take(wrong_side("receives", "sends")));
        }
        Ok(Self::new(SendHalf::new(end, policy)))
    }
}

impl<'de, T, C: Codec<T>> Deserialize<'de> for Receiver<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parcel = Parcel::deserialize(deserializer)?;
        let signature = signature_of::<T, C>();
        let expected = Expected { duplex: false, reach: Reach::Handed, signature };
        let (end, policy) = unpack(&parcel, &expected).map_err(refuse_to_take)?;
        if end.incoming.is_none() {
            return Err(refuse_to_take(wrong_side("sends", "receives")));
        }
        Ok(Self::new(RecvHalf::new(end, policy)))
    }
}

impl<'de, S, R, C: Codec<S> + Codec<R>> Deserialize<'de> for Connection<S, R, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parcel = Parcel::deserialize(deserializer)?;
        let a = parcel.side == Side::A as u8;
        let signature =
            if a { duplex_signature::<R, S, C>() } else { duplex_signature::<S, R, C>() };
        let expected = Expected { duplex: true, reach: Reach::Handed, signature };
        let (end, policy) = unpack(&parcel, &expected).map_err(refuse_to_take)?;
        Ok(connection(&end, policy))
    }
}
