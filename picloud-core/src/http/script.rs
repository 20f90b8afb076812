//! What scripts see of outbound HTTP: `http::get(url)`, `http::post(url, body)` and their siblings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use rhai::Dynamic;
use serde::Deserialize;

use super::{
    HttpError, HttpService, MAX_BODY_BYTES, MAX_REDIRECTS, OutboundRequest, OutboundResponse, check_header,
};
use crate::engine::{Content, IntoScript, ScriptModule, message};
use crate::values::Values;
use crate::{CallCx, Error, Result};

/// What a script can say beside URL and body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    #[serde(default)]
    query: BTreeMap<String, Values>,
    timeout_ms: Option<i64>,
    max_redirects: Option<i64>,
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
            move |cx: CallCx, url: String, options: Option<Options>| {
                send(http.clone(), cx, method.clone(), url, Content::None, options)
            },
        )
    });
    let with_body = [("post", Method::POST), ("put", Method::PUT), ("patch", Method::PATCH)];
    with_body.into_iter().fold(module, |module, (name, method)| {
        let http = http.clone();
        module.async_function(
            &format!("{name}(url: string, body: any, options?: #{{ headers, query, timeout_ms, max_redirects }}) -> #{{ status, headers, body, body_raw }}"),
            move |cx: CallCx, url: String, body: Content, options: Option<Options>| {
                send(http.clone(), cx, method.clone(), url, body, options)
            },
        )
    })
}

async fn send(
    http: Arc<dyn HttpService>,
    cx: CallCx,
    method: Method,
    url: String,
    body: Content,
    options: Option<Options>,
) -> Result<OutboundResponse> {
    http.send(&cx, request(method, url, body, options.unwrap_or_default())?).await
}

fn request(method: Method, url: String, body: Content, options: Options) -> Result<OutboundRequest> {
    let mut request = OutboundRequest::new(method, url);
    for (name, values) in &options.headers {
        for value in values.as_slice() {
            let (name, value) = check_header(name, &value.to_string())?;
            request.headers.append(name, value);
        }
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
