//! Script values to canonical JSON and back.

mod read;
#[cfg(test)]
mod tests;
mod write;

use rhai::Dynamic;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use crate::json_canonical::{self, Failure, Writer};
use crate::{Json, Result};

/// What a script value may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvertLimits {
    /// Longest text, in bytes. It is also what ends values that share their parts over and over. Default 10 MiB.
    pub(crate) max_bytes: usize,
}

impl Default for ConvertLimits {
    fn default() -> Self {
        Self { max_bytes: 10 << 20 }
    }
}

/// A script value as JSON. `()` becomes `null`, a blob a base64 string, a character a string.
///
/// # Errors
/// `json.invalid` for functions, timestamps and values of Rust types, NaN and infinities, a NUL in a string or
/// key, and a value that is being changed right now; `json.too_deep` past [`Json::MAX_DEPTH`], which is where
/// values end that contain themselves; `json.too_large` past the limit. Each with `path`.
pub(crate) fn to_json(value: &Dynamic, limits: ConvertLimits) -> Result<Json> {
    to_json_text(value, limits).map(Json::from_canonical)
}

/// As [`to_json`], as text.
pub(crate) fn to_json_text(value: &Dynamic, limits: ConvertLimits) -> Result<String> {
    let mut out = Writer::new(limits.max_bytes);
    // A text makes its own room; of the rest, most are short.
    if !value.is_string() {
        out.reserve(64);
    }
    write::value(&mut out, value, 0)?;
    Ok(out.into_text())
}

/// JSON as a script value.
///
/// # Errors
/// As [`parse_json`]: none, when the text is canonical as it should be.
pub(crate) fn from_json(json: &Json) -> Result<Dynamic> {
    parse_text(json.as_str())
}

/// The payload of an event as a script value: a map that may hold values as deep as values may be.
///
/// # Errors
/// As [`from_json`].
pub(crate) fn from_payload(json: &Json) -> Result<Dynamic> {
    json_canonical::read(json.as_str(), |trace, deserializer| {
        // A dead letter's holds another, a batch holds several messages.
        trace.extra_depth = 3;
        read::Value::new(trace).deserialize(deserializer)
    })
}

/// An answer of ours as a script value: up to three containers, as a page has, around values that may be as deep as values
/// may be. Counts operations, and lets others run in between.
///
/// # Errors
/// As [`from_json`], and where the budget ends.
pub(crate) fn from_containers(json: &Json) -> Result<Dynamic> {
    super::natives::spend(json.len())?;
    json_canonical::read(json.as_str(), |trace, deserializer| {
        (trace.extra_depth, trace.takes_turns) = (3, true);
        read::Value::new(trace).deserialize(deserializer)
    })
}

/// Any JSON text as a script value. Integers stay integers and floats stay floats.
///
/// # Errors
/// As [`Json::parse`], and `json.invalid` for bytes that are not UTF-8.
pub(crate) fn parse_json(bytes: &[u8]) -> Result<Dynamic> {
    parse_text(utf8(bytes)?)
}

/// As [`parse_json`], for scripts that ask for it: counts operations, and lets others run in between.
pub(crate) fn parse_json_in_turns(bytes: &[u8]) -> Result<Dynamic> {
    let text = utf8(bytes)?;
    super::natives::spend(text.len())?;
    json_canonical::read(text, |trace, deserializer| {
        trace.takes_turns = true;
        read::Value::new(trace).deserialize(deserializer)
    })
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| Failure::invalid(format!("JSON text is UTF-8: {error}")).into())
}

fn parse_text(text: &str) -> Result<Dynamic> {
    json_canonical::read(text, |trace, deserializer| read::Value::new(trace).deserialize(deserializer))
}

/// A script value as a Rust value.
///
/// # Errors
/// As [`to_json`], and `json.mismatch` when the value has not the shape of `T`.
pub(crate) fn from_dynamic<T: DeserializeOwned>(value: &Dynamic) -> Result<T> {
    // By way of text: whatever a script built, what reads it is bounded in depth and size.
    let text = to_json_text(value, ConvertLimits::default())?;
    super::natives::spend(text.len())?;
    json_canonical::deserialize(&text)
}

/// A Rust value as a script value.
///
/// # Errors
/// As [`Json::from_value`], and `json.too_large` past [`MAX_ANSWER_BYTES`].
pub(crate) fn to_dynamic<T: Serialize>(value: &T) -> Result<Dynamic> {
    parse_json_in_turns(json_canonical::serialize_within(value, MAX_ANSWER_BYTES)?.as_bytes())
}

/// Longest answer of a function of the host's, as JSON: a page of a thousand values of a megabyte is not for a script.
const MAX_ANSWER_BYTES: usize = 16 << 20;
