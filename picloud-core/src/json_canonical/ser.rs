//! Rust values to canonical text, shaped as serde users expect of JSON.

use serde::ser::{self, Serialize};

use super::failure::{Failure, Step};
use super::writer::{Object, Writer};
use crate::Json;

type Done = Result<(), Failure>;

/// Writes one value. Unlike the writer of `serde_json` it refuses NaN instead of writing `null`.
pub(super) struct Serializer<'w> {
    out: &'w mut Writer,
    depth: usize,
}

impl<'w> Serializer<'w> {
    pub(super) fn new(out: &'w mut Writer) -> Self {
        Serializer { out, depth: 0 }
    }

    fn integer(self, value: impl TryInto<i64> + Copy + std::fmt::Display) -> Done {
        self.out.int(value.try_into().map_err(|_| Failure::integer(value))?)
    }

    fn enter(&self) -> Result<usize, Failure> {
        if self.depth < Json::MAX_DEPTH { Ok(self.depth + 1) } else { Err(Failure::too_deep()) }
    }

    fn array(self, variant: Option<&'static str>) -> Result<Array<'w>, Failure> {
        let Serializer { out, depth } = self.within_variant(variant)?;
        let depth = Serializer { out: &mut *out, depth }.enter()?;
        out.mark('[')?;
        Ok(Array { out, depth, index: 0, variant })
    }

    fn object(self, variant: Option<&'static str>) -> Result<Entries<'w>, Failure> {
        let Serializer { out, depth } = self.within_variant(variant)?;
        let depth = Serializer { out: &mut *out, depth }.enter()?;
        let object = out.open_object()?;
        Ok(Entries { out, depth, object, variant })
    }

    /// An enum's variant with content is an object of one entry.
    fn within_variant(self, variant: Option<&'static str>) -> Result<Self, Failure> {
        let Some(variant) = variant else { return Ok(self) };
        let depth = self.enter()?;
        self.out.mark('{')?;
        self.out.string(variant)?;
        self.out.mark(':')?;
        Ok(Serializer { out: self.out, depth })
    }
}

fn in_variant(failure: Failure, variant: Option<&'static str>) -> Failure {
    match variant {
        Some(variant) => failure.inside(Step::key(variant)),
        None => failure,
    }
}

impl<'w> ser::Serializer for Serializer<'w> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Array<'w>;
    type SerializeTuple = Array<'w>;
    type SerializeTupleStruct = Array<'w>;
    type SerializeTupleVariant = Array<'w>;
    type SerializeMap = Entries<'w>;
    type SerializeStruct = Entries<'w>;
    type SerializeStructVariant = Entries<'w>;

    fn serialize_bool(self, value: bool) -> Done {
        self.out.bool(value)
    }

    fn serialize_i8(self, value: i8) -> Done {
        self.out.int(value.into())
    }

    fn serialize_i16(self, value: i16) -> Done {
        self.out.int(value.into())
    }

    fn serialize_i32(self, value: i32) -> Done {
        self.out.int(value.into())
    }

    fn serialize_i64(self, value: i64) -> Done {
        self.out.int(value)
    }

    fn serialize_i128(self, value: i128) -> Done {
        self.integer(value)
    }

    fn serialize_u8(self, value: u8) -> Done {
        self.out.int(value.into())
    }

    fn serialize_u16(self, value: u16) -> Done {
        self.out.int(value.into())
    }

    fn serialize_u32(self, value: u32) -> Done {
        self.out.int(value.into())
    }

    fn serialize_u64(self, value: u64) -> Done {
        self.integer(value)
    }

    fn serialize_u128(self, value: u128) -> Done {
        self.integer(value)
    }

    fn serialize_f32(self, value: f32) -> Done {
        // By way of its shortest text: `0.1_f32` is to be `0.1`, not the double next to it.
        self.out.float(value.to_string().parse().unwrap_or(f64::from(value)))
    }

    fn serialize_f64(self, value: f64) -> Done {
        self.out.float(value)
    }

    fn serialize_char(self, value: char) -> Done {
        self.out.string(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Done {
        self.out.string(value)
    }

    /// An array of numbers: what readers of bytes expect of JSON.
    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Done {
        self.out.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        self.out.null()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        self.out.null()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.out.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        let Serializer { out, depth } = self.within_variant(Some(variant))?;
        value
            .serialize(Serializer { out: &mut *out, depth })
            .map_err(|failure| in_variant(failure, Some(variant)))?;
        out.mark('}')
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Array<'w>, Failure> {
        self.array(None)
    }

    fn serialize_tuple(self, _: usize) -> Result<Array<'w>, Failure> {
        self.array(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Array<'w>, Failure> {
        self.array(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Array<'w>, Failure> {
        self.array(Some(variant))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'w>, Failure> {
        self.object(None)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries<'w>, Failure> {
        self.object(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Entries<'w>, Failure> {
        self.object(Some(variant))
    }
}

pub(super) struct Array<'w> {
    out: &'w mut Writer,
    depth: usize,
    index: usize,
    variant: Option<&'static str>,
}

impl Array<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        if self.index > 0 {
            self.out.mark(',')?;
        }
        let element = Serializer { out: &mut *self.out, depth: self.depth };
        value
            .serialize(element)
            .map_err(|failure| in_variant(failure.inside(Step::Index(self.index)), self.variant))?;
        self.index += 1;
        Ok(())
    }

    fn close(self) -> Done {
        self.out.put(if self.variant.is_some() { "]}" } else { "]" })
    }
}

pub(super) struct Entries<'w> {
    out: &'w mut Writer,
    depth: usize,
    object: Object,
    variant: Option<&'static str>,
}

impl Entries<'_> {
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let entry = Serializer { out: &mut *self.out, depth: self.depth };
        value.serialize(entry).map_err(|failure| {
            let key = self.out.current_key(&self.object);
            in_variant(failure.inside(Step::key(&key)), self.variant)
        })
    }

    fn close(self) -> Done {
        self.out.close_object(&self.object).map_err(|failure| in_variant(failure, self.variant))?;
        if self.variant.is_some() { self.out.mark('}') } else { Ok(()) }
    }
}

macro_rules! arrays {
    ($($trait:ident $method:ident)*) => {$(
        impl ser::$trait for Array<'_> {
            type Ok = ();
            type Error = Failure;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.element(value)
            }

            fn end(self) -> Done {
                self.close()
            }
        }
    )*};
}

arrays! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! structs {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Entries<'_> {
            type Ok = ();
            type Error = Failure;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
                self.out.key(&mut self.object, key).map_err(|failure| in_variant(failure, self.variant))?;
                self.value(value)
            }

            fn end(self) -> Done {
                self.close()
            }
        }
    )*};
}

structs! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        key.serialize(Key(self))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.value(value)
    }

    fn end(self) -> Done {
        self.close()
    }
}

/// A key: a string, or what has one obvious spelling.
struct Key<'k, 'w>(&'k mut Entries<'w>);

macro_rules! spelt {
    ($($method:ident $type:ty)*) => {$(
        fn $method(self, key: $type) -> Done {
            self.serialize_str(&key.to_string())
        }
    )*};
}

macro_rules! not_a_key {
    ($($method:ident ( $($param:ty),* ) -> $answer:ty)*) => {$(
        fn $method(self, $(_: $param),*) -> Result<$answer, Failure> {
            Err(not_a_string())
        }
    )*};
}

fn not_a_string() -> Failure {
    Failure::invalid("the keys of a JSON object are strings")
}

type Never = ser::Impossible<(), Failure>;

impl ser::Serializer for Key<'_, '_> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_str(self, key: &str) -> Done {
        self.0.out.key(&mut self.0.object, key)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, key: &T) -> Done {
        key.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Done {
        Err(not_a_string())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Done {
        Err(not_a_string())
    }

    spelt! {
        serialize_bool bool
        serialize_char char
        serialize_i8 i8
        serialize_i16 i16
        serialize_i32 i32
        serialize_i64 i64
        serialize_i128 i128
        serialize_u8 u8
        serialize_u16 u16
        serialize_u32 u32
        serialize_u64 u64
        serialize_u128 u128
    }

    not_a_key! {
        serialize_f32(f32) -> ()
        serialize_f64(f64) -> ()
        serialize_bytes(&[u8]) -> ()
        serialize_none() -> ()
        serialize_unit() -> ()
        serialize_unit_struct(&'static str) -> ()
        serialize_seq(Option<usize>) -> Never
        serialize_tuple(usize) -> Never
        serialize_tuple_struct(&'static str, usize) -> Never
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never
        serialize_map(Option<usize>) -> Never
        serialize_struct(&'static str, usize) -> Never
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never
    }
}
