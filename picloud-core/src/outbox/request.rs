//! Requests to async routes as payloads.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::authz::{Principal, PrincipalKind};
use crate::execution::HttpRequest;
use crate::{Error, Json, Result, hex};

/// A request as it is stored. Bytes that need not be text are written in hexadecimal: bodies are small or else the
/// request is better handled at once, and a payload is text.
#[derive(Serialize, Deserialize)]
struct Stored {
    method: String,
    host: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    params: Vec<(String, String)>,
    rest: String,
    /// As text where it is text.
    body: Option<String>,
    body_hex: Option<String>,
    principal: Option<Sender>,
}

/// Who sent it.
#[derive(Serialize, Deserialize)]
struct Sender {
    kind: PrincipalKind,
    id: String,
    name: String,
}

/// The payload of a request.
///
/// # Errors
/// `json.invalid` when host, path or parameters hold what JSON text here cannot, a NUL character.
pub(crate) fn to_payload(request: &HttpRequest, principal: Option<&Principal>) -> Result<Json> {
    let text = std::str::from_utf8(&request.body).ok().filter(|text| !text.contains('\0'));
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        // One character for each byte: header values are bytes.
        (name.as_str().to_owned(), value.as_bytes().iter().map(|byte| char::from(*byte)).collect())
    };
    Json::from_value(&Stored {
        method: request.method.to_string(),
        host: request.host.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: request.headers.iter().map(header).collect(),
        params: request.params.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        rest: request.rest.clone(),
        body: text.map(str::to_owned),
        body_hex: text.is_none().then(|| hex::encode(&request.body)),
        principal: principal.map(|principal| Sender {
            kind: principal.kind,
            id: principal.id.clone(),
            name: principal.name.clone(),
        }),
    })
}

/// The request of a payload, and who sent it: without roles, they are looked up when it runs.
pub(super) fn from_payload(payload: &Json) -> Result<(HttpRequest, Option<Principal>)> {
    let broken = |what: &str| Error::internal(format!("a stored request has a broken {what}"));
    let stored: Stored = payload.to_value()?;
    let mut request = HttpRequest::new(stored.method.parse().map_err(|_| broken("method"))?, stored.path);
    request.host = stored.host;
    request.query = stored.query;
    request.headers = HeaderMap::with_capacity(stored.headers.len());
    for (name, value) in stored.headers {
        let bytes: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        let value = bytes.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        let name = HeaderName::try_from(name).map_err(|_| broken("header name"))?;
        request.headers.append(name, value.ok_or_else(|| broken("header value"))?);
    }
    request.params = stored.params.into_iter().map(|(name, value)| (name.into(), value)).collect();
    request.rest = stored.rest;
    request.body = match (stored.body, stored.body_hex) {
        (Some(text), _) => Bytes::from(text),
        (None, Some(text)) => Bytes::from(hex::decode(text.as_bytes()).ok_or_else(|| broken("body"))?),
        (None, None) => Bytes::new(),
    };
    let principal = stored.principal.map(|sender| Principal::new(sender.kind, sender.id, sender.name));
    Ok((request, principal))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_request_reads_back_as_it_was_stored() {
        let bodies: [&[u8]; 4] = [b"", b"{\"a\":1}", b"nul \0", &[0, 255, 128, 10]];
        for body in bodies {
            let mut request = HttpRequest::new(Method::POST, "/hooks/a");
            request.host = "example.com".into();
            request.query = Some("a=1&b=%20".into());
            request.headers.append("x-one", HeaderValue::from_bytes(b"caf\xe9").unwrap());
            request.headers.append("x-one", HeaderValue::from_static("two"));
            request.params = vec![("name".into(), "ada \u{fc}".into())];
            request.rest = "a/b".into();
            request.body = Bytes::copy_from_slice(body);
            let sender = Principal::caller("7", "Ada");

            let payload = to_payload(&request, Some(&sender)).unwrap();
            let (back, who) = from_payload(&payload).unwrap();

            assert_eq!(format!("{back:?}"), format!("{request:?}"));
            assert_eq!(who, Some(sender));
        }
    }

    #[test]
    fn a_broken_payload_is_an_error() {
        for text in ["{}", "null", "[]"] {
            assert!(from_payload(&Json::parse(text).unwrap()).is_err());
        }
    }
}
