//! Reading postcard's format from those whom one does not trust: postcard's own reading,
//! with bounds on what its compound types ask for.
//!
//! Two things in the format are not paid for by bytes. A collection is as long as its first
//! bytes say, and elements that take no bytes (`Vec<()>`) follow for nothing: ten bytes ask
//! for 2^64 of them. And a type that contains itself nests as deep as a message is long,
//! which overflows the stack: no error, the end of the process.

use postcard::de_flavors::Slice;
use postcard::{Deserializer, Error, Result};
use serde::Deserialize;
use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// How many elements of collections a message may have beyond one for each of its bytes.
pub(crate) const SPARE_ELEMENTS: usize = 1 << 16;
/// How deep its compound values may lie in each other. `serde_json` has the same limit.
pub(crate) const DEPTH: u32 = 128;

/// A message being read.
pub(crate) struct Input<'de> {
    bytes: Deserializer<'de, Slice<'de>>,
    /// How many elements may still come.
    elements: usize,
    /// Which bound was met.
    pub(crate) refused: Option<&'static str>,
}

impl<'de> Input<'de> {
    pub(crate) fn new(bytes: &'de [u8]) -> Self {
        let elements = bytes.len().saturating_add(SPARE_ELEMENTS);
        Self { bytes: Deserializer::from_bytes(bytes), elements, refused: None }
    }

    /// Reads a value; what is left is [the rest](Self::rest).
    pub(crate) fn read<T: Deserialize<'de>>(&mut self) -> Result<T> {
        T::deserialize(Bounded { input: self, depth: 0 })
    }

    pub(crate) fn rest(self) -> Result<&'de [u8]> {
        self.bytes.finalize()
    }

    fn refuse(&mut self, why: &'static str) -> Error {
        self.refused = Some(why);
        Error::SerdeDeCustom
    }
}

/// What is read next, so many values deep.
struct Bounded<'a, 'de> {
    input: &'a mut Input<'de>,
    depth: u32,
}

impl<'a, 'de> Bounded<'a, 'de> {
    /// What lies one deeper.
    fn deeper(self) -> Result<Self> {
        if self.depth == DEPTH {
            return Err(self.input.refuse("values too deep in each other"));
        }
        Ok(Self { input: self.input, depth: self.depth + 1 })
    }

    /// So many values in it.
    fn row(self, left: usize) -> Result<Row<'a, 'de>> {
        Ok(Row { of: self.deeper()?, left })
    }

    /// The values of a collection, whose number the message says.
    fn collection(self) -> Result<Row<'a, 'de>> {
        // Read as postcard does: 64 bits here are a `usize` there.
        let len = u64::deserialize(&mut self.input.bytes)?;
        let len = usize::try_from(len).map_err(|_| Error::DeserializeBadVarint)?;
        match self.input.elements.checked_sub(len) {
            Some(left) => self.input.elements = left,
            None => return Err(self.input.refuse("more elements than its bytes can be")),
        }
        self.row(len)
    }
}

/// Values in a row, within what is `of` their depth.
struct Row<'a, 'de> {
    of: Bounded<'a, 'de>,
    left: usize,
}

impl<'de> Row<'_, 'de> {
    #[inline]
    fn value<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(Bounded { input: &mut *self.of.input, depth: self.of.depth })
    }

    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.value(seed).map(Some)
    }
}

impl<'de> de::SeqAccess<'de> for Row<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Row<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        self.value(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'a, 'de> de::EnumAccess<'de> for Bounded<'a, 'de> {
    type Error = Error;
    type Variant = Bounded<'a, 'de>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let number = u32::deserialize(&mut self.input.bytes)?;
        let variant: U32Deserializer<Error> = number.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Bounded<'_, 'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self.deeper()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(self.row(len)?)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_seq(self.row(fields.len())?)
    }
}

/// What contains no other values is postcard's.
macro_rules! as_postcard {
    ($($method:ident($($name:ident: $of:ty),*);)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $($name: $of,)* visitor: V) -> Result<V::Value> {
                de::Deserializer::$method(&mut self.input.bytes, $($name,)* visitor)
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for Bounded<'_, 'de> {
    type Error = Error;

    as_postcard! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match u8::deserialize(&mut self.input.bytes)? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.deeper()?),
            _ => Err(Error::DeserializeBadOption),
        }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self.deeper()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(self.collection()?)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_map(self.collection()?)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(self.row(len)?)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self)
    }
}
