//! A bare descriptor that can be handed over.

use ringway_core::handover;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::os::fd::OwnedFd;

/// Serializes to its place in the parcel; what travels is a duplicate.
#[derive(Debug)]
pub(crate) struct Descriptor(pub(crate) OwnedFd);

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let duplicate = self.0.try_clone().map_err(ser::Error::custom)?;
        handover::give(duplicate).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = u32::deserialize(deserializer)?;
        handover::take(place).map(Self).map_err(de::Error::custom)
    }
}
