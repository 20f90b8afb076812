//! The result of a script as a response: a map with `statusCode`, or any other value as JSON.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rhai::{Array, Blob, Dynamic, ImmutableString, Map};

use super::compile::ATTEMPT_BYTES;
use super::convert::{self, ConvertLimits};
use super::fiber;
use crate::Json;
use crate::execution::{Failure, FailureClass, HttpResponse};
use crate::files::{FileAnswer, ServedFile};
use crate::pubsub::EventStream;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn bad(message: String) -> Failure {
    Failure::new(FailureClass::Runtime, message)
}

/// A script's result as JSON.
pub(crate) fn json(value: &Dynamic) -> Result<Json, Failure> {
    json_text(value).map(Json::from_canonical)
}

fn json_text(value: &Dynamic) -> Result<String, Failure> {
    // Nothing looks at the clock while a result is written: an attempt leaves large ones to an executor thread.
    let attempt = fiber::current(|run| run.budget.is_attempt()) == Some(true);
    let default = ConvertLimits::default();
    let limits = if attempt { ConvertLimits { max_bytes: ATTEMPT_BYTES } } else { default };
    convert::to_json_text(value, limits)
        .inspect_err(|error| {
            if attempt && error.code() == "json.too_large" {
                fiber::current(|run| run.budget.give_up());
            }
        })
        .map_err(|error| bad(format!("the result cannot be returned: {}", error.message())))
}

/// A script's result as a response.
pub(crate) fn from_value(value: &Dynamic) -> Result<HttpResponse, Failure> {
    match value.read_lock::<Map>().filter(|map| map.contains_key("statusCode")) {
        Some(map) => full(&map),
        None => with_body(StatusCode::OK, HeaderMap::new(), Some(value)),
    }
}

fn full(map: &Map) -> Result<HttpResponse, Failure> {
    const KEYS: [&str; 4] = ["statusCode", "headers", "body", "file"];
    if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(bad(format!(
            "a response has statusCode, headers, and body or file; {unknown:?} is none of them"
        )));
    }
    let headers = match map.get("headers") {
        Some(headers) if !headers.is_unit() => header_map(headers)?,
        _ => HeaderMap::new(),
    };
    let status = status(map.get("statusCode"))?;
    match (map.get("file"), map.get("body")) {
        (Some(_), Some(_)) => Err(bad("a response has a body or a file, not both".to_owned())),
        (Some(value), None) => match value.read_lock::<ServedFile>() {
            Some(file) => {
                let file = Some(Box::new(answer(file.clone())));
                Ok(HttpResponse { file, ..HttpResponse::new(status, headers, Bytes::new()) })
            }
            None => Err(bad(format!("file must be what serve(id) answers, not {}", short(value)))),
        },
        (None, body) => with_body(status, headers, body),
    }
}

/// A file, with what the request asks for of it.
fn answer(file: ServedFile) -> FileAnswer {
    let asked = fiber::current(|run| {
        let request = run.invocation.request.as_ref()?;
        Some((request.method.clone(), request.headers.clone()))
    });
    let (method, asked) = asked.flatten().unwrap_or_default();
    FileAnswer { file, method, asked }
}

fn status(value: Option<&Dynamic>) -> Result<StatusCode, Failure> {
    let value = value.unwrap_or(&Dynamic::UNIT);
    value
        .as_int()
        .ok()
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (200..=599).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| bad(format!("statusCode must be an integer from 200 to 599, not {}", short(value))))
}

/// A value for people: what it is, not all of it.
fn short(value: &Dynamic) -> String {
    convert::to_json(value, ConvertLimits { max_bytes: 100 })
        .map_or_else(|_| format!("a value of type {}", value.type_name()), |json| json.to_string())
}

/// What the server sets: it frames the message, and a script that could would smuggle requests.
const FRAMING: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TRAILER,
    header::TE,
];

fn header_map(value: &Dynamic) -> Result<HeaderMap, Failure> {
    let map = value
        .read_lock::<Map>()
        .ok_or_else(|| bad(format!("headers must be a map, not {}", value.type_name())))?;
    let mut headers = HeaderMap::with_capacity(map.len().min(64));
    for (name, value) in map.iter() {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| bad(format!("{name:?} is not a header name")))?;
        if FRAMING.contains(&parsed) {
            return Err(bad(format!("the header {name} is set by the server, not by scripts")));
        }
        match value.read_lock::<Array>() {
            None => append(&mut headers, parsed, header_value(name, value)?)?,
            Some(values) => {
                for value in values.iter() {
                    append(&mut headers, parsed.clone(), header_value(name, value)?)?;
                }
            }
        }
    }
    Ok(headers)
}

/// Most headers of a response; clients and proxies take about this many.
const MAX_HEADERS: usize = 200;

fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), Failure> {
    if headers.len() >= MAX_HEADERS {
        return Err(bad(format!("a response has at most {MAX_HEADERS} headers")));
    }
    headers.append(name, value);
    Ok(())
}

fn header_value(name: &str, value: &Dynamic) -> Result<HeaderValue, Failure> {
    let text = match value.read_lock::<ImmutableString>() {
        Some(text) => text.to_string(),
        None if value.is_int() || value.is_float() || value.is_bool() => value.to_string(),
        None => {
            return Err(bad(format!(
                "the header {name} must be a string or an array of strings, not {}",
                value.type_name()
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
    body: Option<&Dynamic>,
) -> Result<HttpResponse, Failure> {
    let Some(value) = body else {
        return Ok(HttpResponse::new(status, headers, Bytes::new()));
    };
    if let Some(stream) = value.read_lock::<EventStream>() {
        return with_stream(status, headers, &stream);
    }
    let declared =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
    let is_json = declared.as_deref().is_none_or(|kind| {
        let essence = kind.split(';').next().unwrap_or("").trim();
        essence == "application/json" || essence.ends_with("+json")
    });
    let (bytes, implied) = if let Some(blob) = value.read_lock::<Blob>() {
        (Bytes::copy_from_slice(&blob), BYTES)
    } else if let Some(text) = value.read_lock::<ImmutableString>().filter(|_| !is_json) {
        (Bytes::copy_from_slice(text.as_bytes()), JSON)
    } else {
        (Bytes::from(json_text(value)?), JSON)
    };
    headers.entry(header::CONTENT_TYPE).or_insert(implied);
    Ok(HttpResponse::new(status, headers, bytes))
}

/// A response whose body is what is published from now on.
fn with_stream(
    status: StatusCode,
    mut headers: HeaderMap,
    stream: &EventStream,
) -> Result<HttpResponse, Failure> {
    if status != StatusCode::OK {
        return Err(bad(format!("a stream is answered with statusCode 200, not {}", status.as_u16())));
    }
    if headers.insert(header::CONTENT_TYPE, EVENTS).is_some_and(|declared| declared != EVENTS) {
        return Err(bad("the content-type of a stream is text/event-stream".to_owned()));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(NO_CACHE);
    let stream = Some(stream.clone());
    Ok(HttpResponse { stream, ..HttpResponse::new(status, headers, Bytes::new()) })
}
