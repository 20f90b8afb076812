//! JSON text straight into script values.

use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use rhai::{Array, Dynamic, Map};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::engine::budget::Stop;
use crate::engine::{fiber, natives};
use crate::json_canonical::{Failure, Step, Trace};

/// Reads one value.
pub(super) struct Value<'t> {
    trace: &'t mut Trace,
    depth: usize,
}

impl<'t> Value<'t> {
    pub(super) fn new(trace: &'t mut Trace) -> Self {
        Value { trace, depth: 0 }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Dynamic;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Dynamic, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Dynamic, E> {
        Ok(Dynamic::from_bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Dynamic, E> {
        Ok(Dynamic::from_int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Dynamic, E> {
        self.trace.integer(value).map(Dynamic::from_int)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Dynamic, E> {
        Ok(Dynamic::from_float(self.trace.float(value)))
    }

    #[inline]
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Dynamic, E> {
        // A NUL is always escaped in JSON text, and a string with escapes is never borrowed.
        Ok(text.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Dynamic, E> {
        if text.as_bytes().contains(&0) {
            return Err(self.trace.refuse(Failure::nul()));
        }
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Dynamic, A::Error> {
        let trace = self.trace;
        let depth = trace.enter(self.depth)?;
        // What a reader claims to know of the length is trusted for a few items only.
        let mut items = Array::with_capacity(access.size_hint().unwrap_or(0).min(64));
        loop {
            match access.next_element_seed(Value { trace, depth }) {
                Ok(Some(item)) => {
                    items.push(item);
                    go_on(trace)?;
                }
                Ok(None) => return Ok(Dynamic::from_array(items)),
                Err(error) => {
                    trace.left(Step::Index(items.len()));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Dynamic, A::Error> {
        let trace = self.trace;
        let depth = trace.enter(self.depth)?;
        let mut entries = Map::new();
        while let Some(key) = access.next_key_seed(Key { trace, key: PhantomData })? {
            match entries.entry(key) {
                Entry::Occupied(entry) => {
                    trace.left(Step::key(entry.key()));
                    return Err(trace.refuse(Failure::duplicate()));
                }
                Entry::Vacant(entry) => match access.next_value_seed(Value { trace, depth }) {
                    Ok(value) => {
                        entry.insert(value);
                        go_on(trace)?;
                    }
                    Err(error) => {
                        trace.left(Step::key(entry.key()));
                        return Err(error);
                    }
                },
            }
        }
        Ok(Dynamic::from_map(entries))
    }
}

/// Elements and entries that are read in about the time of one operation or a few.
const ITEMS_PER_OPERATION: u32 = 16;

/// The look after each element and entry.
#[inline]
fn go_on<E: de::Error>(trace: &mut Trace) -> Result<(), E> {
    if memory_is_spent() {
        return Err(trace.refuse(Failure::invalid("the memory of the execution is used up")));
    }
    if trace.takes_turns {
        trace.items = trace.items.wrapping_add(1);
        if trace.items.is_multiple_of(ITEMS_PER_OPERATION) && natives::turn().is_err() {
            return Err(trace.refuse(Failure::invalid("the execution is ending")));
        }
    }
    Ok(())
}

/// Whether the script that this is read for has used up its memory. It ends then, whatever it makes of the error: a text
/// of a few megabytes can become a value of hundreds, and nothing else looks meanwhile.
fn memory_is_spent() -> bool {
    let spent = fiber::current(|run| {
        let spent = run.budget.memory_left() == 0;
        if spent {
            run.budget.stop(Stop::Memory);
        }
        spent
    });
    spent == Some(true)
}

/// Reads a key, as whatever type maps of scripts have for keys.
struct Key<'t, K> {
    trace: &'t mut Trace,
    key: PhantomData<K>,
}

impl<'de, K: for<'a> From<&'a str>> DeserializeSeed<'de> for Key<'_, K> {
    type Value = K;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, K: for<'a> From<&'a str>> Visitor<'de> for Key<'_, K> {
    type Value = K;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string as key")
    }

    #[inline]
    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<K, E> {
        Ok(key.into())
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<K, E> {
        if key.as_bytes().contains(&0) {
            return Err(self.trace.refuse(Failure::nul()));
        }
        Ok(key.into())
    }
}
