//! The result of a script as a response: a map with `statusCode`, or any other value as JSON.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rhai::{Dynamic, Map};

use super::convert::{self, ConvertLimits};
use crate::Json;
use crate::execution::{Failure, FailureClass, HttpResponse};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn bad(message: String) -> Failure {
    Failure::new(FailureClass::Runtime, message)
}

/// A script's result as JSON.
pub(crate) fn json(value: &Dynamic) -> Result<Json, Failure> {
    convert::to_json(value, ConvertLimits::default())
        .map_err(|error| bad(format!("the result cannot be returned: {}", error.message())))
}

/// A script's result as a response.
pub(crate) fn from_value(value: Dynamic) -> Result<HttpResponse, Failure> {
    let value = value.flatten();
    let is_full = value.read_lock::<Map>().is_some_and(|map| map.contains_key("statusCode"));
    if !is_full {
        return with_body(StatusCode::OK, HeaderMap::new(), Some(value));
    }
    let mut map = value.try_cast::<Map>().unwrap_or_default();
    let status = status(map.remove("statusCode"))?;
    let headers = match map.remove("headers") {
        None => HeaderMap::new(),
        Some(headers) if headers.is_unit() => HeaderMap::new(),
        Some(headers) => header_map(headers)?,
    };
    let body = map.remove("body");
    if let Some(unknown) = map.keys().next() {
        return Err(bad(format!("a response has statusCode, headers and body; {unknown:?} is none of them")));
    }
    with_body(status, headers, body)
}

fn status(value: Option<Dynamic>) -> Result<StatusCode, Failure> {
    let value = value.unwrap_or(Dynamic::UNIT);
    value
        .as_int()
        .ok()
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (200..=599).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| bad(format!("statusCode must be an integer from 200 to 599, not {value}")))
}

fn header_map(value: Dynamic) -> Result<HeaderMap, Failure> {
    let kind = value.type_name();
    let map = value.try_cast::<Map>().ok_or_else(|| bad(format!("headers must be a map, not {kind}")))?;
    let mut headers = HeaderMap::with_capacity(map.len());
    for (name, value) in map {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| bad(format!("{name:?} is not a header name")))?;
        // The server frames the message; a script that could would smuggle requests.
        if [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::UPGRADE,
            header::TRAILER,
            header::TE,
        ]
        .contains(&parsed)
        {
            return Err(bad(format!("the header {name} is set by the server, not by scripts")));
        }
        let value = value.flatten();
        if value.is_array() {
            for item in value.into_array().unwrap_or_default() {
                headers.append(parsed.clone(), header_value(&name, &item)?);
            }
        } else {
            headers.append(parsed, header_value(&name, &value)?);
        }
    }
    Ok(headers)
}

fn header_value(name: &str, value: &Dynamic) -> Result<HeaderValue, Failure> {
    let text = match value.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) if value.is_int() || value.is_float() || value.is_bool() => value.to_string(),
        Err(kind) => {
            return Err(bad(format!(
                "the header {name} must be a string or an array of strings, not {kind}"
            )));
        }
    };
    HeaderValue::from_str(&text).map_err(|_| {
        bad(format!(
            "the header {name} holds characters that a header cannot carry (line breaks, NUL): {text:?}"
        ))
    })
}

fn with_body(
    status: StatusCode,
    mut headers: HeaderMap,
    body: Option<Dynamic>,
) -> Result<HttpResponse, Failure> {
    let Some(value) = body else {
        return Ok(HttpResponse { status, headers, body: Bytes::new() });
    };
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
    let is_json = declared.as_deref().is_none_or(|kind| {
        let essence = kind.split(';').next().unwrap_or("").trim();
        essence == "application/json" || essence.ends_with("+json")
    });
    let (bytes, implied) = if value.is_blob() {
        (Bytes::from(value.into_blob().unwrap_or_default()), BYTES)
    } else if value.is_string() && !is_json {
        (Bytes::from(value.into_string().unwrap_or_default()), JSON)
    } else {
        (Bytes::from(json(&value)?.as_str().to_owned()), JSON)
    };
    headers.entry(header::CONTENT_TYPE).or_insert(implied);
    Ok(HttpResponse { status, headers, body: bytes })
}
