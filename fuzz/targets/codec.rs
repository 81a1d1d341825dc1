//! Decoding: any bytes as messages of several types, by every codec.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_codec::{Codec, Pod, Postcard, Raw};
use ringway_fuzz::bounded;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fmt::Debug;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Point(i32, i64),
    Named { name: String, tags: Vec<Option<String>> },
    Nested(Box<Shape>, char),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum List {
    End,
    More(Option<u8>, Box<List>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    id: u128,
    shape: Shape,
    bytes: Vec<u8>,
    numbers: Vec<u64>,
    map: BTreeMap<String, (bool, u16)>,
}

#[derive(Debug, PartialEq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
struct Plain {
    a: u64,
    b: [u16; 3],
    c: [u8; 2],
}

/// Decodes in both ways; what has a value goes there and back again.
fn both_ways<T: Debug + PartialEq, C: Codec<T>>(bytes: &[u8]) {
    let (mut scratch, mut again) = (Vec::new(), Vec::new());
    let decoded = bounded(|| C::decode(bytes)).ok();
    let fill = |dst: &mut [u8]| {
        assert_eq!(dst.len(), bytes.len(), "{}", C::NAME);
        dst.copy_from_slice(bytes);
        Ok::<(), ()>(())
    };
    let filled = bounded(|| C::decode_from(bytes.len(), &mut scratch, fill)).expect("it fills");
    assert_eq!(filled.ok(), decoded, "{}: two ways, two answers", C::NAME);
    // A message that cannot be copied out is that error and nothing else.
    assert_eq!(C::decode_from(bytes.len(), &mut scratch, |_| Err(7)).unwrap_err(), 7);
    if let Some(value) = decoded {
        let len = C::encode(&value, &mut scratch, |encoded| again.extend_from_slice(encoded));
        assert!(len.is_ok(), "{}: what was decoded can be encoded", C::NAME);
        assert_eq!(C::decode(&again).expect("its own encoding"), value, "{}", C::NAME);
        assert!(C::FIXED_LEN.is_none_or(|len| len == again.len()), "{}", C::NAME);
    }
}

fn with_postcard<T: Debug + PartialEq + Serialize + DeserializeOwned>(bytes: &[u8]) {
    both_ways::<T, Postcard>(bytes);
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind {
        0xFC => return with_postcard::<Vec<()>>(bytes),
        0xFD => return with_postcard::<List>(bytes),
        0xFE => return with_postcard::<BTreeMap<u8, Vec<Option<()>>>>(bytes),
        _ => {}
    }
    match kind % 8 {
        0 => with_postcard::<Job>(bytes),
        1 => with_postcard::<Shape>(bytes),
        2 => with_postcard::<(u32, String, Option<Vec<String>>)>(bytes),
        3 => with_postcard::<Vec<Vec<u16>>>(bytes),
        4 => both_ways::<u64, Pod>(bytes),
        5 => both_ways::<Plain, Pod>(bytes),
        6 => both_ways::<[u8; 0], Pod>(bytes),
        _ => both_ways::<Vec<u8>, Raw>(bytes),
    }
});
