//! A number that stands for a type and its encoding.

use crate::Codec;

/// The signature of `T` under `C`: from the type's name, size and alignment and the
/// encoding's name. Best effort: it turns an honest mix-up into a clear error. Programs
/// that share a type under different paths agree on a tag ([`signature_of_tag`]).
pub fn signature_of<T, C: Codec<T>>() -> u64 {
    let hash = fnv1a(FNV_START, C::NAME.as_bytes());
    let hash = fnv1a(hash, &[0]);
    let hash = fnv1a(hash, std::any::type_name::<T>().as_bytes());
    let hash = fnv1a(hash, &(size_of::<T>() as u64).to_le_bytes());
    fnv1a(hash, &(align_of::<T>() as u64).to_le_bytes())
}

/// The signature for a tag that the programs agreed on.
pub fn signature_of_tag(tag: &str) -> u64 {
    fnv1a(fnv1a(FNV_START, b"tag\0"), tag.as_bytes())
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The 64-bit FNV-1a hash: the same on every machine and in every build.
fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pod, Postcard};

    #[test]
    fn types_encodings_and_tags_differ() {
        let all = [
            signature_of::<u64, Postcard>(),
            signature_of::<i64, Postcard>(),
            signature_of::<u64, Pod>(),
            signature_of_tag("u64"),
            signature_of_tag("i64"),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
