//! Plain old data.

use crate::{Codec, DecodeError, EncodeError};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Copies values as they lie in memory. For types without padding or pointers, every
/// bit pattern of which is a value: what `zerocopy` can derive. Both sides must be the
/// same build, or the type `repr(C)`.
#[derive(Debug, Clone, Copy)]
pub struct Pod;

impl<T: FromBytes + IntoBytes + Immutable> Codec<T> for Pod {
    const NAME: &'static str = "pod";
    const FIXED_LEN: Option<usize> = Some(size_of::<T>());
    const USES_SCRATCH: bool = false;

    #[inline]
    fn encode<R>(
        value: &T,
        _scratch: &mut Vec<u8>,
        sink: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, EncodeError> {
        Ok(sink(value.as_bytes()))
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        T::read_from_bytes(bytes).map_err(|_| wrong_size(bytes.len(), size_of::<T>()))
    }

    #[inline]
    fn decode_in_place(fill: impl FnOnce(&mut [u8]) -> bool) -> Option<T> {
        let mut value = T::new_zeroed();
        fill(value.as_mut_bytes()).then_some(value)
    }

    #[inline]
    fn encode_all(values: &[T]) -> Option<&[u8]> {
        Some(values.as_bytes())
    }

    #[inline]
    fn decode_all(into: &mut Vec<T>, max: usize, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let before = into.len();
        into.resize_with(before + max, T::new_zeroed);
        let got = fill(into[before..].as_mut_bytes()).min(max);
        into.truncate(before + got);
        got
    }

    #[inline]
    fn decode_from<E>(
        len: usize,
        _scratch: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Result<T, DecodeError>, E> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        if bytes.len() != len {
            // The message is consumed all the same; nobody needs its bytes.
            let size = bytes.len();
            let mut unwanted = vec![0; len];
            fill(&mut unwanted)?;
            return Ok(Err(wrong_size(len, size)));
        }
        fill(bytes)?;
        Ok(Ok(value))
    }
}

#[cold]
fn wrong_size(found: usize, expected: usize) -> DecodeError {
    DecodeError(format!("{found} bytes where the type has {expected}").into())
}
