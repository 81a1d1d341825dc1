//! Every codec gives back what it was given and refuses what it was not.

use ringway_codec::{Codec, Pod, Postcard, Raw};
use serde::{Deserialize, Serialize};

fn round_trip<T: PartialEq + std::fmt::Debug, C: Codec<T>>(value: &T) {
    let mut scratch = Vec::new();
    let bytes = C::encode(value, &mut scratch, <[u8]>::to_vec).unwrap();
    assert_eq!(C::decode(&bytes).unwrap(), *value);
    let copied = C::decode_from(bytes.len(), &mut scratch, |to| {
        to.copy_from_slice(&bytes);
        Ok::<(), ()>(())
    });
    assert_eq!(copied.unwrap().unwrap(), *value);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    parts: Vec<Option<(u8, i64)>>,
}

#[test]
fn values_come_back() {
    round_trip::<_, Postcard>(&Job { name: "a".into(), parts: vec![None, Some((1, -5))] });
    round_trip::<_, Postcard>(&());
    round_trip::<u64, Pod>(&7);
    round_trip::<[u32; 5], Pod>(&[1, 2, 3, 4, 5]);
    round_trip::<Vec<u8>, Raw>(&vec![]);
    round_trip::<Vec<u8>, Raw>(&vec![1, 2, 3]);
}

#[test]
fn plain_old_data_comes_back_many_at_a_time() {
    let values = [1_u64, 2, 3];
    let bytes = <Pod as Codec<u64>>::encode_all(&values).unwrap();
    assert_eq!(bytes.len(), 24);
    let mut into = vec![0];
    let two = |to: &mut [u8]| {
        assert_eq!(to.len(), 32);
        to[..16].copy_from_slice(&bytes[8..]);
        2
    };
    assert_eq!(<Pod as Codec<u64>>::decode_all(&mut into, 4, two), 2);
    assert_eq!(into, [0, 2, 3]);
    assert_eq!(<Pod as Codec<u64>>::decode_all(&mut into, 4, |_| 0), 0);
    assert_eq!(into, [0, 2, 3]);
    assert_eq!(<Postcard as Codec<u64>>::encode_all(&values), None);
    assert_eq!(<Postcard as Codec<u64>>::decode_all(&mut into, 4, |_| 4), 0);
}

#[test]
fn bytes_left_over_are_an_error() {
    let error = <Postcard as Codec<u8>>::decode(&[1, 2]).unwrap_err();
    assert!(error.to_string().contains("1 bytes left over"), "{error}");
}

#[test]
fn plain_old_data_of_another_size_is_an_error_and_is_consumed() {
    let mut consumed = 0;
    let decoded = <Pod as Codec<u64>>::decode_from(5, &mut Vec::new(), |to| {
        consumed = to.len();
        Ok::<(), ()>(())
    });
    assert!(decoded.unwrap().unwrap_err().to_string().contains("5 bytes"));
    assert_eq!(consumed, 5);
}

#[test]
fn a_failing_serializer_is_an_error() {
    struct Bad;
    impl Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("on purpose"))
        }
    }
    impl<'de> Deserialize<'de> for Bad {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    assert!(<Postcard as Codec<Bad>>::encode(&Bad, &mut Vec::new(), |_| ()).is_err());
}
