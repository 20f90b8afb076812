//! The script module `base64`.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};

use super::{decoded, encoded};
use crate::engine::{Bytes, ScriptModule};
use crate::{CallCx, Result};

pub(super) fn module() -> ScriptModule {
    ScriptModule::new("base64")
        .doc("Bytes as base64 text (RFC 4648), and back.")
        .function("encode(data: string | blob) -> string", |_cx: CallCx, data: Bytes| {
            encoded("base64.too_large", &BASE64, data.as_slice())
        })
        .function("encode_url(data: string | blob) -> string", |_cx: CallCx, data: Bytes| {
            encoded("base64.too_large", &BASE64URL_NOPAD, data.as_slice())
        })
        .function("decode(text: string | blob) -> blob", |_cx: CallCx, text: Bytes| decode(text.as_slice()))
        .about("encode", "Text with padding.")
        .about("encode_url", "Text of the URL alphabet, without padding.")
        .about("decode", "The bytes of either. Throws `base64.invalid` with the place.")
}

/// Reads both alphabets, with padding and without, but no text that mixes them, no white space, and no second spelling of
/// the same bytes.
pub(super) fn decode(text: &[u8]) -> Result<Bytes> {
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let body = match text.len() % 4 {
        0 => text.get(..text.len() - padding).unwrap_or_default(),
        // Padding in the wrong place is a character that is no digit.
        _ => text,
    };
    let is_url = body.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let encoding = if is_url { &BASE64URL_NOPAD } else { &BASE64_NOPAD };
    decoded(["base64.invalid", "base64.too_large"], "base64", encoding, body)
}
