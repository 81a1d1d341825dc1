//! Messages that were made up: decoding takes time, memory and stack in proportion to
//! bytes, and else does what postcard does.

use proptest::prelude::*;
use ringway_codec::{Codec, Postcard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    <Postcard as Codec<T>>::decode(bytes).map_err(|error| error.to_string())
}

fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
    <Postcard as Codec<T>>::encode(value, &mut Vec::new(), <[u8]>::to_vec).unwrap()
}

/// Takes a word in memory and no byte of a message.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Private {
    #[serde(skip)]
    number: u64,
}

/// A collection's length: nearly as many as there are numbers.
const ENDLESS: [u8; 10] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];

#[test]
fn elements_that_take_no_bytes_come_to_an_end() {
    let refused = |result: Result<(), String>| {
        let why = result.unwrap_err();
        assert!(why.contains("more elements"), "{why}");
    };
    refused(decode::<Vec<()>>(&ENDLESS).map(drop));
    refused(decode::<Vec<Private>>(&ENDLESS).map(drop));
    refused(decode::<BTreeSet<()>>(&ENDLESS).map(drop));
    refused(decode::<HashMap<(), ()>>(&ENDLESS).map(drop));
    refused(decode::<BTreeMap<(), [(); 3]>>(&ENDLESS).map(drop));
    // Many collections of many: all of a message together.
    let mut many = vec![100];
    for _ in 0..100 {
        many.extend([0x80, 0x80, 4]);
    }
    refused(decode::<Vec<Vec<()>>>(&many).map(drop));
}

#[test]
fn a_reasonable_number_of_nothings_comes_back() {
    for count in [0, 1, 1000, 1 << 16] {
        assert_eq!(decode::<Vec<()>>(&encode(&vec![(); count])).map(|v| v.len()), Ok(count));
    }
    // Those that take bytes are not limited by it.
    let many: Vec<(u8, ())> = vec![(1, ()); 1 << 20];
    assert!(decode::<Vec<(u8, ())>>(&encode(&many)).unwrap() == many);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum List {
    End,
    More(u8, Box<List>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

#[derive(Debug, Serialize, Deserialize)]
struct Maybe {
    more: Option<Box<Maybe>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Wrapped(BTreeMap<u8, Wrapped>);

#[test]
fn values_too_deep_in_each_other_are_an_error_and_no_end_of_the_process() {
    const MANY: usize = 1 << 20;
    let refused = |result: Result<(), String>| {
        let why = result.unwrap_err();
        assert!(why.contains("too deep"), "{why}");
    };
    // More(1, More(1, …
    refused(decode::<List>(&[1; 2 * MANY]).map(drop));
    // One inside the other.
    refused(decode::<Nested>(&[1; MANY]).map(drop));
    refused(decode::<Maybe>(&[1; MANY]).map(drop));
    refused(decode::<Wrapped>(&[1; MANY]).map(drop));
    // As deep as anybody may go.
    let mut list = List::End;
    for _ in 0..128 {
        list = List::More(7, Box::new(list));
    }
    assert_eq!(decode::<List>(&encode(&list)).unwrap(), list);
    assert!(decode::<List>(&encode(&List::More(7, Box::new(list)))).is_err());
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Point(i32, i64),
    Named { name: String, tags: Vec<Option<String>> },
    Only(u128),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Meters(f64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Job {
    id: i128,
    shape: Shape,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    letters: (char, bool, u16, i8),
    far: Meters,
    unit: Unit,
    numbers: Vec<u64>,
    map: BTreeMap<String, (f32, [u8; 3])>,
}

/// Ours and postcard's own give the same value, or both an error.
fn as_postcard<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Some(format!("{value:?}")),
        _ => None,
    };
    prop_assert_eq!(decode::<T>(bytes).ok().map(|value| format!("{value:?}")), theirs);
    Ok(())
}

prop_compose! {
    fn jobs()(
        id in any::<i128>(),
        shape in prop_oneof![
            Just(Shape::Nothing),
            any::<(i32, i64)>().prop_map(|(x, y)| Shape::Point(x, y)),
            (".{0,9}", prop::collection::vec(prop::option::of(".{0,5}"), 0..4))
                .prop_map(|(name, tags)| Shape::Named { name, tags }),
            any::<u128>().prop_map(Shape::Only),
        ],
        bytes in prop::collection::vec(any::<u8>(), 0..20),
        letters in any::<(char, bool, u16, i8)>(),
        far in -1e9..1e9,
        numbers in prop::collection::vec(any::<u64>(), 0..9),
        map in prop::collection::btree_map(".{0,5}", (-1e9_f32..1e9, any::<[u8; 3]>()), 0..4),
    ) -> Job {
        Job { id, shape, bytes, letters, far: Meters(far), unit: Unit, numbers, map }
    }
}

proptest! {
    #[test]
    fn values_come_back_as_from_postcard(job in jobs(), at in any::<usize>(), wrong in any::<u8>()) {
        let mut bytes = encode(&job);
        prop_assert_eq!(decode::<Job>(&bytes).unwrap(), job);
        as_postcard::<Job>(&bytes)?;
        let at = at % bytes.len();
        bytes[at] = wrong;
        as_postcard::<Job>(&bytes)?;
        as_postcard::<Job>(&bytes[..at])?;
    }

    #[test]
    fn any_bytes_are_what_they_are_to_postcard(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        as_postcard::<Job>(&bytes)?;
        as_postcard::<Shape>(&bytes)?;
        as_postcard::<(char, Option<String>, i16, Meters)>(&bytes)?;
        as_postcard::<Vec<Vec<u16>>>(&bytes)?;
        as_postcard::<BTreeMap<u8, Option<BTreeSet<i8>>>>(&bytes)?;
    }
}
