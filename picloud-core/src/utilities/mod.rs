//! The utilities room: what every receiver of webhooks needs and the language lacks, as script modules.
//!
//! Lacks trait, types, event and suite: nothing here is stored, belongs to an app, or fires anything. Each file is one
//! module, made through the same door as those of hosts. Behind feature `utilities`.
//!
//! All of them keep the rules of natives: sizes are checked before the work, long inputs are counted as operations and
//! worked on piece by piece, and what cannot be interrupted (a search for a pattern) is bounded or leaves the thread.

mod base64;
mod crypto;
mod hex;
mod json;
mod pattern;
mod regex;
mod time;
mod url;

use data_encoding::{DecodeKind, Encoding};
use tokio::runtime::Handle;

use crate::engine::natives::{self, Sizes};
use crate::engine::{Bytes, ScriptModule};
use crate::{Error, ErrorKind, Result};

/// All modules of the room. `blocking` runs what takes long.
pub(crate) fn script_modules(blocking: &Handle) -> Vec<ScriptModule> {
    vec![
        json::module(),
        time::module(),
        crypto::module(),
        base64::module(),
        hex::module(),
        url::module(),
        regex::module(blocking),
    ]
}

fn too_large(code: &'static str, what: &str, size: usize, limit: &str, max: u64) -> Error {
    Error::new(ErrorKind::TooLarge, code, format!("{what} has {size} bytes, more than {limit}: {max}"))
}

/// Refuses an argument that is longer than `max` bytes.
fn within(code: &'static str, what: &str, size: usize, max: usize) -> Result<()> {
    if size > max { Err(too_large(code, what, size, "the limit", max as u64)) } else { Ok(()) }
}

/// Refuses a string that a script may not build. One that is no longer than the one it is made of passes.
fn may_build(code: &'static str, before: usize, after: usize) -> Result<()> {
    let max = Sizes::current().string;
    if after > before && after as u64 > max {
        return Err(too_large(code, "the answer", after, "max_string_size", max));
    }
    Ok(())
}

/// An argument that must be text.
fn text<'b>(code: &'static str, what: &str, bytes: &'b Bytes) -> Result<&'b str> {
    bytes.as_text().map_err(|error| {
        Error::invalid(code, format!("{what} is not UTF-8"))
            .with("position", error.valid_up_to())
            .caused_by(error)
    })
}

/// Bytes of text that are encoded or decoded in about the time of a few operations: whole groups of digits of either
/// encoding.
const DIGITS_PER_OPERATION: usize = 4 << 10;

/// Bytes as text, in an encoding whose groups are of three bytes at most.
fn encoded(code: &'static str, encoding: &Encoding, bytes: &[u8]) -> Result<Bytes> {
    let length = encoding.encode_len(bytes.len());
    may_build(code, 0, length)?;
    let mut text = String::with_capacity(length);
    natives::in_pieces(bytes, DIGITS_PER_OPERATION / 4 * 3, |piece| {
        encoding.encode_append(piece, &mut text)
    })?;
    Ok(Bytes::from(text))
}

/// The bytes that text without padding stands for. A position in an error is that of the byte in the text.
fn decoded(codes: [&'static str; 2], name: &str, encoding: &Encoding, text: &[u8]) -> Result<Bytes> {
    let [invalid, too_long] = codes;
    let (size, max) = (text.len() / encoding.encode_len(1), Sizes::current().blob);
    if size as u64 > max {
        return Err(too_large(too_long, "the answer", size, "max_blob_size", max));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let (mut before, mut wrong) = (0, None);
    natives::in_pieces(text, DIGITS_PER_OPERATION, |piece| {
        match encoding.decode(piece) {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(error) => wrong = wrong.or(Some((error.kind, before + error.position))),
        }
        before += piece.len();
    })?;
    let Some((kind, position)) = wrong else { return Ok(Bytes::from(bytes)) };
    let why = match kind {
        DecodeKind::Symbol => "this character is none of its digits",
        DecodeKind::Length => "the text ends in the middle of a byte",
        DecodeKind::Trailing => "the last digit has bits that belong to no byte",
        DecodeKind::Padding => "the padding is wrong",
    };
    Err(Error::invalid(invalid, format!("not {name}: {why}")).with("position", position))
}

#[cfg(test)]
mod tests;
