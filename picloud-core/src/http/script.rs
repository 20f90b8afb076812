//! What scripts see of outbound HTTP: `http::get(url)`, `http::post(url, body)` and their siblings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use rhai::{Dynamic, Map};

use super::types::check_header_name;
use super::{
    HttpError, HttpService, MAX_BODY_BYTES, MAX_HEADERS, MAX_REDIRECTS, OutboundRequest, OutboundResponse,
    check_header,
};
use crate::engine::{Args, Content, FromScript, IntoScript, ScriptModule, convert, message, natives};
use crate::secrets::Secret;
use crate::values::Values;
use crate::{CallCx, Error, Result};

/// What a script can say beside URL and body. Read by hand, since a header may be a secret, which does not become JSON.
#[derive(Debug, Default)]
struct Options {
    headers: BTreeMap<String, Values>,
    secrets: Vec<(String, Secret)>,
    query: BTreeMap<String, Values>,
    timeout_ms: Option<i64>,
    max_redirects: Option<i64>,
}

impl FromScript for Options {
    fn take(args: &mut Args<'_, '_>) -> Result<Self> {
        let read = args.take().map_or_else(|| Ok(Options::default()), |value| Options::read(value));
        read.map_err(|error| args.mismatch(error))
    }
}

impl Options {
    fn read(value: &Dynamic) -> Result<Self> {
        let mut options = Options::default();
        if value.is_unit() {
            return Ok(options);
        }
        let Some(map) = value.read_lock::<Map>() else {
            return Err(Error::invalid(
                "invalid_argument",
                format!("expected a map, not {}", value.type_name()),
            ));
        };
        for (name, value) in map.iter() {
            match name.as_str() {
                "headers" => options.read_headers(value)?,
                "query" => options.query = convert::from_dynamic::<Option<_>>(value)?.unwrap_or_default(),
                "timeout_ms" => options.timeout_ms = convert::from_dynamic(value)?,
                "max_redirects" => options.max_redirects = convert::from_dynamic(value)?,
                other => {
                    let other: String = other.chars().take(80).collect();
                    let wrong = format!(
                        "there is no option {other:?}; there are headers, query, timeout_ms and max_redirects"
                    );
                    return Err(Error::invalid("invalid_argument", wrong));
                }
            }
        }
        Ok(options)
    }

    fn read_headers(&mut self, value: &Dynamic) -> Result<()> {
        let Some(map) = value.read_lock::<Map>() else {
            self.headers = convert::from_dynamic::<Option<_>>(value)?.unwrap_or_default();
            return Ok(());
        };
        for (name, value) in map.iter() {
            natives::turn()?;
            match value.read_lock::<Secret>() {
                Some(secret) => self.secrets.push((name.to_string(), secret.clone())),
                None => drop(self.headers.insert(name.to_string(), convert::from_dynamic(value)?)),
            }
        }
        Ok(())
    }
}

/// The script module `http` on top of a (guarded) service.
pub(crate) fn module(http: Arc<dyn HttpService>) -> ScriptModule {
    let module = ScriptModule::new("http").doc("Requests to other servers.");
    let without_body = [
        ("get", Method::GET),
        ("head", Method::HEAD),
        ("delete", Method::DELETE),
        ("options", Method::OPTIONS),
    ];
    let module = without_body.into_iter().fold(module, |module, (name, method)| {
        let http = http.clone();
        module.async_function(
            &format!("{name}(url: string, options?: #{{ headers, query, timeout_ms, max_redirects }}) -> #{{ status, headers, body, body_raw }}"),
            move |cx: CallCx, url: String, options: Options| {
                send(http.clone(), cx, method.clone(), url, Content::None, options)
            },
        )
    });
    let with_body = [("post", Method::POST), ("put", Method::PUT), ("patch", Method::PATCH)];
    let module = with_body.into_iter().fold(module, |module, (name, method)| {
        let http = http.clone();
        module.async_function(
            &format!("{name}(url: string, body: any, options?: #{{ headers, query, timeout_ms, max_redirects }}) -> #{{ status, headers, body, body_raw }}"),
            move |cx: CallCx, url: String, body: Content, options: Options| {
                send(http.clone(), cx, method.clone(), url, body, options)
            },
        )
    });
    module
        .about("get", "Asks for a URL. Answers `#{ status, headers, body, body_raw }`, whatever the status; `body` is parsed by its type. `options` may have `headers`, `query` (a map), `timeout_ms`, `max_redirects` (5 at most). Throws, when there is no answer, `http.not_enabled`, `http.invalid_url`, `http.address_refused` (what is not on the public internet), `http.host_not_allowed`, `http.name_not_found`, `http.connect_failed`, `http.timeout`, `http.response_too_large`, …")
        .about("head", "As `get`, with this method.")
        .about("delete", "As `get`, with this method.")
        .about("options", "As `get`, with this method.")
        .about("post", "Sends `body`: a map, array, number or bool as JSON, a string as text, a blob as bytes, `()` as nothing. Answers `#{ status, headers, body, body_raw }`, whatever the status; `body` is parsed by its type. `options` may have `headers`, `query` (a map), `timeout_ms`, `max_redirects` (5 at most). Throws as `get`, and `http.request_too_large`.")
        .about("put", "As `post`, with this method.")
        .about("patch", "As `post`, with this method.")
}

async fn send(
    http: Arc<dyn HttpService>,
    cx: CallCx,
    method: Method,
    url: String,
    body: Content,
    options: Options,
) -> Result<OutboundResponse> {
    http.send(&cx, request(method, url, body, options)?).await
}

fn request(method: Method, url: String, body: Content, options: Options) -> Result<OutboundRequest> {
    let mut request = OutboundRequest::new(method, url);
    for (name, values) in &options.headers {
        for value in values.as_slice() {
            let (name, value) = check_header(name, &value.to_string())?;
            request.headers.append(name, value);
        }
    }
    if options.secrets.len() > MAX_HEADERS {
        return Err(HttpError::HeadersTooLarge.into());
    }
    for (name, secret) in options.secrets {
        request.secrets.push((check_header_name(&name)?, secret));
    }
    for (name, values) in &options.query {
        request.query.extend(values.as_slice().iter().map(|value| (name.clone(), value.to_string())));
    }
    if let Some(millis) = options.timeout_ms {
        let millis = u64::try_from(millis).map_err(|_| out_of_range("timeout_ms", "1 or more", millis))?;
        request.timeout = Some(Duration::from_millis(millis));
    }
    if let Some(most) = options.max_redirects {
        request.max_redirects = u32::try_from(most)
            .map_err(|_| out_of_range("max_redirects", &format!("from 0 to {MAX_REDIRECTS}"), most))?;
    }
    set_body(&mut request, body)?;
    Ok(request)
}

fn out_of_range(option: &str, range: &str, given: i64) -> Error {
    HttpError::InvalidOption(format!("{option} is {range}, not {given}")).into()
}

/// A map, an array, a number or a bool as JSON, a string as text, a blob as it is; each says so unless the script did.
fn set_body(request: &mut OutboundRequest, body: Content) -> Result<()> {
    let (bytes, content_type) = match body {
        Content::None => return Ok(()),
        Content::Text(text) => (text.into_bytes(), "text/plain; charset=utf-8"),
        Content::Blob(bytes) => (bytes, "application/octet-stream"),
        Content::Json(json) => (json.as_str().as_bytes().to_vec(), "application/json"),
    };
    if bytes.len() > MAX_BODY_BYTES {
        return Err(HttpError::RequestTooLarge { size: bytes.len(), max: MAX_BODY_BYTES }.into());
    }
    request.body = bytes.into();
    let headers: &mut HeaderMap = &mut request.headers;
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    Ok(())
}

impl IntoScript for OutboundResponse {
    fn to_script(&self) -> Result<Dynamic> {
        message::response(self)
    }
}
