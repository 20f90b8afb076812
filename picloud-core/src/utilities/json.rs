//! The script module `json`.

use std::io;

use serde::Deserialize;
use serde_json::Value;

use super::{may_build, within};
use crate::engine::natives::Sizes;
use crate::engine::{Bytes, JsonText, Raw, ScriptModule};
use crate::{CallCx, Error, Result};

/// Longest JSON text that is parsed, as long as the longest stored value. A body is parsed without this.
const MAX_TEXT_BYTES: usize = 1 << 20;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Options {
    pretty: bool,
}

pub(super) fn module() -> ScriptModule {
    ScriptModule::new("json")
        .doc("Values from JSON text, and JSON text from values.")
        .small_answers()
        .function("parse(text: string | blob) -> any", |_cx: CallCx, text: Bytes| {
            within("json.too_large", "the text", text.as_slice().len(), MAX_TEXT_BYTES)?;
            Ok::<_, Error>(JsonText(text))
        })
        .function(
            "stringify(value: any, options?: #{ pretty }) -> string",
            |_cx: CallCx, value: Raw, options: Option<Options>| {
                let json = value.or_null();
                may_build("json.too_large", 0, json.len())?;
                let text = match options.unwrap_or_default().pretty {
                    true => pretty(json.as_str())?,
                    false => json.as_str().to_owned(),
                };
                Ok::<_, Error>(Bytes::from(text))
            },
        )
        .about("parse", "The value; integers stay integers and floats stay floats. Throws `json.invalid` with the place.")
        .about("stringify", "JSON text with sorted keys; with `pretty: true` in lines. Throws `json.invalid` for what JSON cannot hold.")
}

/// The same on many lines. Indentation can make it a hundred times as long.
fn pretty(canonical: &str) -> Result<String> {
    let max = usize::try_from(Sizes::current().string).unwrap_or(usize::MAX);
    let unreadable =
        |error: serde_json::Error| Error::internal("canonical JSON cannot be read").caused_by(error);
    let value: Value = serde_json::from_str(canonical).map_err(unreadable)?;
    let mut out = Bounded { bytes: Vec::new(), max, refused: None };
    let written = serde_json::to_writer_pretty(&mut out, &value);
    if let Some(size) = out.refused {
        return may_build("json.too_large", 0, size).map(|()| String::new());
    }
    written.map_err(unreadable)?;
    String::from_utf8(out.bytes).map_err(|error| Error::internal("JSON is not UTF-8").caused_by(error))
}

/// A writer that refuses to grow past a size.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    refused: Option<usize>,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.bytes.len() + bytes.len();
        if size > self.max {
            self.refused = Some(size);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
