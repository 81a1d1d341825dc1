//! How values become bytes.
//!
//! A [`Codec`] is chosen by type parameter:
//!
//! * [`Postcard`], the default: any `T: Serialize + DeserializeOwned`. For byte
//!   payloads inside such a type use `serde_bytes`: without it serde handles a
//!   `Vec<u8>` one element at a time, 28 times slower to decode at 4 KiB.
//! * [`Pod`]: plain old data, copied as it lies in memory, without a serializer.
//! * [`Raw`]: `Vec<u8>` as it is.
//!
//! Codecs see private memory only: messages are copied out of the segment before they
//! are decoded, so a peer cannot change bytes between check and use.

mod bounded;
mod pod;
mod postcard_codec;
mod raw;
mod signature;
mod values;

pub use pod::Pod;
pub use postcard_codec::Postcard;
pub use raw::Raw;
pub use signature::{signature_of, signature_of_tag};
pub use values::values;

/// Why a value could not become bytes.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode: {0}")]
pub struct EncodeError(pub Box<dyn std::error::Error + Send + Sync>);

/// Why bytes could not become a value. The message was consumed.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode: {0}")]
pub struct DecodeError(pub Box<dyn std::error::Error + Send + Sync>);

/// A way to turn values of type `T` into bytes and back.
pub trait Codec<T> {
    /// A name for the encoding; part of the type signature of a segment.
    const NAME: &'static str;

    /// The length of every encoding in bytes, if all values have the same. Slots are
    /// made to fit it.
    const FIXED_LEN: Option<usize> = None;

    /// Whether `scratch` is ever touched. Where it is not, callers save getting one.
    const USES_SCRATCH: bool = true;

    /// Calls `sink` with the encoding of `value`. `scratch` is reused between calls so
    /// that steady traffic allocates nothing.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the value has no encoding; `sink` was not called then.
    fn encode<R>(
        value: &T,
        scratch: &mut Vec<u8>,
        sink: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, EncodeError>;

    /// Decodes a whole message in private memory.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are no encoding of a `T`, or if some are left over.
    fn decode(bytes: &[u8]) -> Result<T, DecodeError>;

    /// Has `fill` write an encoding to where the value will be, for codecs whose
    /// [encodings have one length](Self::FIXED_LEN) and need no decoding: the shortest way
    /// there is. `fill` says whether it did. `None` if it did not, or was not asked.
    #[inline]
    fn decode_in_place(fill: impl FnOnce(&mut [u8]) -> bool) -> Option<T> {
        let _ = fill;
        None
    }

    /// The encodings of all `values`, one after the other, for codecs whose
    /// [encodings have one length](Self::FIXED_LEN) and are what lies in memory anyway.
    /// `None` for all others: [encode](Self::encode) them one by one.
    #[inline]
    fn encode_all(values: &[T]) -> Option<&[u8]> {
        let _ = values;
        None
    }

    /// Has `fill` write up to `max` encodings, one after the other, to where the values will
    /// be, behind those in `into`; it says how many it wrote, and so does this. For codecs
    /// with [`encode_all`](Self::encode_all). 0 if it was not asked.
    #[inline]
    fn decode_all(into: &mut Vec<T>, max: usize, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let _ = (into, max, fill);
        0
    }

    /// Decodes a whole message in memory that the value may keep: large ones need not be
    /// there twice. The default [decodes](Self::decode) and drops it.
    ///
    /// # Errors
    ///
    /// As there.
    fn decode_owned(bytes: Vec<u8>) -> Result<T, DecodeError> {
        Self::decode(&bytes)
    }

    /// Decodes a message of `len` bytes that `fill` copies to where it is told. `Err`
    /// is the answer of `fill`. The default copies to `scratch`.
    ///
    /// # Errors
    ///
    /// What `fill` returned; inside, as [`decode`](Self::decode).
    fn decode_from<E>(
        len: usize,
        scratch: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Result<T, DecodeError>, E> {
        if scratch.len() < len {
            scratch.resize(len, 0);
        }
        fill(&mut scratch[..len])?;
        Ok(Self::decode(&scratch[..len]))
    }
}
