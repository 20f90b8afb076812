//! Requests, responses, and their limits.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::HttpError;
use crate::secrets::Secret;

/// Largest body, either way: as large as a blob of a script may be.
pub const MAX_BODY_BYTES: usize = 10 << 20;

/// Most headers of a request or a response.
pub const MAX_HEADERS: usize = 100;

/// Most bytes of the names and values of all headers.
pub const MAX_HEADERS_BYTES: usize = 64 << 10;

/// Most redirects that are followed.
pub const MAX_REDIRECTS: u32 = 5;

/// A request to another server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboundRequest {
    /// The method.
    pub method: Method,
    /// The URL, at most 8 KiB with the query.
    pub url: String,
    /// Added to the query of the URL, encoded as forms are, in this order.
    pub query: Vec<(String, String)>,
    /// Headers, each checked by [`check_header`].
    pub headers: HeaderMap,
    /// Headers whose values are secrets: sent only to the hosts that each is bound to, over TLS, and never on to another
    /// origin.
    pub secrets: Vec<(HeaderName, Secret)>,
    /// The body, at most [`MAX_BODY_BYTES`].
    pub body: Bytes,
    /// For the whole of it, redirects and body included. `None` takes the longest that the host allows, 30 s by default.
    pub timeout: Option<Duration>,
    /// How many redirects are followed, at most [`MAX_REDIRECTS`]. With 0 a redirect is the response.
    pub max_redirects: u32,
}

impl OutboundRequest {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        OutboundRequest {
            method,
            url: url.into(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            secrets: Vec::new(),
            body: Bytes::new(),
            timeout: None,
            max_redirects: MAX_REDIRECTS,
        }
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboundResponse {
    /// The status, whichever.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it was sent: nothing is decompressed.
    pub body: Bytes,
}

impl OutboundResponse {
    /// A response without headers and body, for services that replace ours.
    pub fn new(status: StatusCode) -> Self {
        OutboundResponse { status, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// What the client sets: it frames the message, is about one connection, or says who sends it.
const REFUSED: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
];

/// Checks a header of a request.
///
/// # Errors
/// [`HttpError::InvalidHeader`] for characters that a header cannot carry (line breaks, NUL, anything that is not
/// ASCII), [`HttpError::HeaderNotAllowed`] for `host`, `user-agent`, and those that frame a message or are for a proxy.
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HttpError> {
    let parsed = check_header_name(name)?;
    let value = HeaderValue::from_str(value).map_err(|_| invalid_header(name))?;
    Ok((parsed, value))
}

pub(super) fn invalid_header(name: &str) -> HttpError {
    HttpError::InvalidHeader(name.chars().take(80).collect())
}

/// Checks the name alone.
pub(super) fn check_header_name(name: &str) -> Result<HeaderName, HttpError> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid_header(name))?;
    let text = parsed.as_str();
    if REFUSED.contains(&parsed)
        || text.starts_with("proxy-")
        || matches!(text, "keep-alive" | "http2-settings")
    {
        return Err(HttpError::HeaderNotAllowed(text.to_owned()));
    }
    Ok(parsed)
}

/// Checks number and size of headers.
pub(crate) fn check_headers(headers: &HeaderMap) -> Result<(), HttpError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADERS_BYTES {
        return Err(HttpError::HeadersTooLarge);
    }
    Ok(())
}
