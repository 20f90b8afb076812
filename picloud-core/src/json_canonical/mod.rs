//! Any JSON text, and any Rust value, to canonical text.

mod embed;
mod failure;
mod locate;
mod read;
mod ser;
#[cfg(test)]
mod tests;
mod writer;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

pub(crate) use failure::{Failure, Step, clip};
pub(crate) use read::{Trace, read};
pub(crate) use writer::Writer;

use crate::Result;

/// Rewrites any JSON text as canonical text.
pub(crate) fn canonicalize(text: &str) -> Result<String> {
    let mut out = Writer::new(usize::MAX);
    out.reserve(text.len());
    read(text, |trace, deserializer| read::Transcode::new(trace, &mut out).deserialize(deserializer))?;
    Ok(out.into_text())
}

/// Any Rust value as canonical text.
pub(crate) fn serialize<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serialize_within(value, usize::MAX)
}

/// As [`serialize`], refusing text that is longer.
pub(crate) fn serialize_within<T: Serialize + ?Sized>(value: &T, max_bytes: usize) -> Result<String> {
    let mut out = Writer::new(max_bytes);
    value.serialize(ser::Serializer::new(&mut out))?;
    Ok(out.into_text())
}

/// Canonical text as a Rust value; an error tells where in the text the value has not the shape of `T`.
pub(crate) fn deserialize<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| locate::mismatch(text, &error).into())
}
