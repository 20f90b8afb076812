//! Headers and bodies of HTTP messages as script values, for requests that came in and for responses that were asked for.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE};
use rhai::{Array, Blob, Dynamic, Map};

use super::{convert, natives};
use crate::Result;
use crate::http::OutboundResponse;

/// What a body is, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Text,
    Bytes,
}

fn kind(headers: &HeaderMap) -> Kind {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        Kind::Json
    } else if essence.starts_with("text/") || essence == "application/x-www-form-urlencoded" {
        Kind::Text
    } else {
        Kind::Bytes
    }
}

/// The body by its content type: parsed JSON, text, or a blob; `()` when there is none. A body that says it is JSON and
/// is not is handed over as text, so that the script can answer for itself.
pub(super) fn body(headers: &HeaderMap, bytes: &[u8], parse: impl Fn(&[u8]) -> Result<Dynamic>) -> Dynamic {
    if bytes.is_empty() {
        return Dynamic::UNIT;
    }
    let kind = kind(headers);
    if kind == Kind::Json
        && let Ok(value) = parse(bytes)
    {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if kind != Kind::Bytes => text.into(),
        _ => Dynamic::from_blob(Blob::from(bytes)),
    }
}

/// Each header once with its first value, and each with all of its values. Bytes that are not UTF-8 are
/// replaced.
pub(super) fn headers(headers: &HeaderMap) -> (Map, Map) {
    let (mut first, mut all) = (Map::new(), Map::new());
    for (name, value) in headers {
        let value: Dynamic = text(value.as_bytes()).into();
        first.entry(name.as_str().into()).or_insert_with(|| value.clone());
        append(&mut all, name.as_str(), value);
    }
    (first, all)
}

pub(super) fn append(all: &mut Map, name: &str, value: Dynamic) {
    let values = all.entry(name.into()).or_insert_with(|| Dynamic::from_array(Array::new()));
    if let Ok(mut values) = values.as_array_mut() {
        values.push(value);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `#{ status, headers, body, body_raw }`. A header that was sent several times has its values in one string with commas
/// between, which means the same; `set-cookie`, for which that is not so, is always an array.
pub(crate) fn response(response: &OutboundResponse) -> Result<Dynamic> {
    let bytes = &response.body;
    natives::spend(bytes.len())?;
    let mut map = Map::new();
    map.insert("status".into(), i64::from(response.status.as_u16()).into());
    let mut joined = Map::new();
    for name in response.headers.keys() {
        let mut values = response.headers.get_all(name).iter().map(|value| text(value.as_bytes()));
        let value: Dynamic = if *name == SET_COOKIE {
            Dynamic::from_array(values.map(Dynamic::from).collect())
        } else {
            let first = values.next().unwrap_or_default();
            values.fold(first, |joined, value| format!("{joined}, {value}")).into()
        };
        joined.insert(name.as_str().into(), value);
    }
    map.insert("headers".into(), Dynamic::from_map(joined));
    // What is compressed is not what its content type says.
    let is_plain = !response.headers.contains_key(CONTENT_ENCODING);
    let body = if is_plain {
        body(&response.headers, bytes, convert::parse_json_in_turns)
    } else {
        body(&HeaderMap::new(), bytes, convert::parse_json_in_turns)
    };
    map.insert("body".into(), body);
    map.insert("body_raw".into(), Dynamic::from_blob(natives::copied(bytes)?));
    Ok(Dynamic::from_map(map))
}
