//! serde through postcard.

use crate::{Codec, DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The postcard format: small, quick, stable, works with every serde type that does not
/// ask the format to describe itself.
///
/// Decoding takes time and memory in proportion to the bytes, with one exception: a
/// collection of a type that takes no bytes, such as `Vec<()>`, is as long as its first
/// bytes say. Do not receive such from those you do not trust.
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
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(DecodeError(format!("{} bytes left over", rest.len()).into())),
            Err(e) => Err(DecodeError(e.into())),
        }
    }
}
