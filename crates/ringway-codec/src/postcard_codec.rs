//! serde through postcard.

use crate::bounded::Input;
use crate::{Codec, DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The postcard format: small, quick, stable, works with every serde type that does not
/// ask the format to describe itself.
///
/// Decoding takes time and memory in proportion to the bytes, also of a message that was
/// made up. For that a message may have one element of a collection for each of its bytes
/// and 65,536 more, which only elements that take no bytes come to (`Vec<()>`), and its values
/// may lie 128 deep in each other, which only types that contain themselves come to.
/// What goes beyond can be sent, and is a [`DecodeError`] to the receiver.
#[derive(Debug, Clone, Copy)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    const NAME: &'static str = "postcard";

    fn encode<R>(
        value: &T,
        scratch: &mut Vec<u8>,
        sink: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, EncodeError> {
        let mut bytes = std::mem::take(scratch);
        bytes.clear();
        let bytes = postcard::to_extend(value, bytes).map_err(|e| EncodeError(e.into()))?;
        let result = sink(&bytes);
        *scratch = bytes;
        Ok(result)
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        let mut input = Input::new(bytes);
        let value = input.read().map_err(|e| match input.refused {
            Some(why) => DecodeError(why.into()),
            None => DecodeError(e.into()),
        })?;
        match input.rest() {
            Ok([]) => Ok(value),
            Ok(rest) => Err(DecodeError(format!("{} bytes left over", rest.len()).into())),
            Err(e) => Err(DecodeError(e.into())),
        }
    }
}
