//! Bytes as they are.

use crate::{Codec, DecodeError, EncodeError};

/// The message is the value.
#[derive(Debug, Clone, Copy)]
pub struct Raw;

impl Codec<Vec<u8>> for Raw {
    const NAME: &'static str = "raw";

    fn encode<R>(
        value: &Vec<u8>,
        _scratch: &mut Vec<u8>,
        sink: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, EncodeError> {
        Ok(sink(value))
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        Ok(bytes.to_vec())
    }

    fn decode_owned(bytes: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
        Ok(bytes)
    }

    fn decode_from<E>(
        len: usize,
        _scratch: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Result<Vec<u8>, DecodeError>, E> {
        let mut value = vec![0; len];
        fill(&mut value)?;
        Ok(Ok(value))
    }
}
