//! The outbound HTTP room: requests that scripts send.
//!
//! Lacks `event`: a request fires nothing. Lacks `suite` and storage: no backend offers this service, so there is nothing
//! to prove of one. The implementation is here, behind feature `http`: `client`, with the guard in [`ssrf`]; a host that
//! replaces it ([`PicloudBuilder::services`](crate::PicloudBuilder::services)) answers for what it sends.
//!
//! Without the feature, or without [`PicloudBuilder::http`](crate::PicloudBuilder), scripts still find the module `http`;
//! its functions throw `http.not_enabled`.

#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod config;
#[cfg(feature = "http")]
mod connect;
#[cfg(feature = "http")]
mod hosts;
#[cfg(feature = "http")]
mod redirect;
mod script;
pub mod ssrf;
mod types;
#[cfg(feature = "http")]
mod usage;

use std::fmt::Debug;

use async_trait::async_trait;

#[cfg(feature = "http")]
pub use client::HttpClient;
#[cfg(feature = "http")]
pub use config::HttpConfig;
#[cfg(feature = "http")]
pub use connect::SystemResolver;
#[cfg(feature = "http")]
pub use hosts::{AllowedHosts, HostPolicy};
pub(crate) use script::module as script_module;
pub(crate) use types::check_headers;
pub use types::{
    MAX_BODY_BYTES, MAX_HEADERS, MAX_HEADERS_BYTES, MAX_REDIRECTS, OutboundRequest, OutboundResponse,
    check_header,
};

use crate::secrets::SecretName;
use crate::{CallCx, Result};

/// Sends requests to other servers.
///
/// # Contract
///
/// - Nothing is ever connected to that the guard refuses ([`ssrf`]): not by a literal address however spelled, not by a
///   name, not by a redirect, not by a name that resolves to something else the next time.
/// - Only hosts that the app may call are called, at each redirect.
/// - An answer with any status is an answer. What is thrown is that there was none.
/// - Bodies and headers are bounded both ways; reading stops at the bound.
/// - It ends by the request's timeout, and never after [`CallCx::deadline`].
/// - A secret goes to no host that it is not bound to, and over TLS only.
/// - Headers that a redirect to another origin must not see are left out of it.
///
/// Dropping the future closes the connection that it was waiting for; whether the request was received is open.
#[async_trait]
pub trait HttpService: Debug + Send + Sync + 'static {
    /// Sends a request, follows redirects, and answers the last response with all of its body.
    ///
    /// # Errors
    /// [`HttpError`].
    async fn send(&self, cx: &CallCx, request: OutboundRequest) -> Result<OutboundResponse>;
}

/// What can go wrong with an outbound request, with stable codes. None tells an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// `http.not_enabled`: the host has not enabled outbound HTTP.
    #[error("outbound HTTP is off; the host enables it with PicloudBuilder::http")]
    NotEnabled,
    /// `http.invalid_url`: not a URL, or one that is read in different ways by different readers.
    #[error("this is not a URL that can be requested: {0}")]
    InvalidUrl(&'static str),
    /// `http.scheme_not_allowed`: neither http nor https.
    #[error("only http:// and https:// can be requested")]
    SchemeNotAllowed,
    /// `http.credentials_in_url`: a user name or password before the host.
    #[error("credentials do not belong into a URL; send an authorization header")]
    CredentialsInUrl,
    /// `http.port_not_allowed`.
    #[error("port {0} cannot be requested; 80, 443 and those from 1024 on can")]
    PortNotAllowed(u16),
    /// `http.address_refused`: not a place of the public internet. The category is in the context.
    #[error("requests to this kind of address are refused: {0}")]
    AddressRefused(ssrf::Refused),
    /// `http.host_not_allowed`: not on the app's list of hosts.
    #[error("this app may not send requests to this host")]
    HostNotAllowed,
    /// `http.name_not_found`: no such name, or no answer about it.
    #[error("the host name has no address")]
    NameNotFound,
    /// `http.connect_failed`.
    #[error("no connection to the server")]
    ConnectFailed,
    /// `http.tls_failed`: no certificate that holds for this host, or no common version.
    #[error(
        "no secure connection to the server: its certificate is not valid for the host, or it speaks another version"
    )]
    TlsFailed,
    /// `http.timeout`: no whole answer in time.
    #[error("no whole answer within {0} ms")]
    Timeout(u128),
    /// `http.bad_response`: the answer is not HTTP, or it ended early.
    #[error("the server's answer is not HTTP/1.1, or it ended early")]
    BadResponse,
    /// `http.too_many_redirects`.
    #[error("more than {0} redirects")]
    TooManyRedirects(u32),
    /// `http.request_too_large`.
    #[error("a request has a body of at most {max} bytes, this one has {size}")]
    RequestTooLarge {
        /// Bytes of the body.
        size: usize,
        /// Most bytes.
        max: usize,
    },
    /// `http.response_too_large`.
    #[error("a response with a body of more than {0} bytes is not read")]
    ResponseTooLarge(usize),
    /// `http.headers_too_large`: of a request or of a response.
    #[error("there are at most {MAX_HEADERS} headers with {MAX_HEADERS_BYTES} bytes in all")]
    HeadersTooLarge,
    /// `http.invalid_header`: a name or value that cannot be sent.
    #[error("the header {0:?} cannot be sent: its name or value has characters that a header cannot carry")]
    InvalidHeader(String),
    /// `http.header_not_allowed`: a header that frames the message or says who sends it.
    #[error("the header {0} is not for scripts to set")]
    HeaderNotAllowed(String),
    /// `http.secret_not_for_host`: the secret of that name is not bound to the host of the URL.
    #[error("the secret {0:?} is not bound to this host")]
    SecretNotForHost(SecretName),
    /// `http.secret_needs_https`: secrets are not sent in the clear.
    #[error("the secret {0:?} is sent over https:// only")]
    SecretNeedsHttps(SecretName),
    /// `http.invalid_option`: a timeout or number of redirects out of its range.
    #[error("{0}")]
    InvalidOption(String),
    /// `http.too_many_requests`: the app has too many under way, or answers under way fill the memory set aside for them.
    #[error("too many requests are under way; try again")]
    TooManyRequests,
}

impl HttpError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            HttpError::NotEnabled => "http.not_enabled",
            HttpError::InvalidUrl(_) => "http.invalid_url",
            HttpError::SchemeNotAllowed => "http.scheme_not_allowed",
            HttpError::CredentialsInUrl => "http.credentials_in_url",
            HttpError::PortNotAllowed(_) => "http.port_not_allowed",
            HttpError::AddressRefused(_) => "http.address_refused",
            HttpError::HostNotAllowed => "http.host_not_allowed",
            HttpError::NameNotFound => "http.name_not_found",
            HttpError::ConnectFailed => "http.connect_failed",
            HttpError::TlsFailed => "http.tls_failed",
            HttpError::Timeout(_) => "http.timeout",
            HttpError::BadResponse => "http.bad_response",
            HttpError::TooManyRedirects(_) => "http.too_many_redirects",
            HttpError::RequestTooLarge { .. } => "http.request_too_large",
            HttpError::ResponseTooLarge(_) => "http.response_too_large",
            HttpError::HeadersTooLarge => "http.headers_too_large",
            HttpError::InvalidHeader(_) => "http.invalid_header",
            HttpError::HeaderNotAllowed(_) => "http.header_not_allowed",
            HttpError::SecretNotForHost(_) => "http.secret_not_for_host",
            HttpError::SecretNeedsHttps(_) => "http.secret_needs_https",
            HttpError::InvalidOption(_) => "http.invalid_option",
            HttpError::TooManyRequests => "http.too_many_requests",
        }
    }

    fn kind(&self) -> crate::ErrorKind {
        use crate::ErrorKind::{Forbidden, InvalidInput, TooLarge, Unavailable, Unsupported};
        match self {
            HttpError::NotEnabled => Unsupported,
            HttpError::PortNotAllowed(_)
            | HttpError::AddressRefused(_)
            | HttpError::HostNotAllowed
            | HttpError::SecretNotForHost(_)
            | HttpError::SecretNeedsHttps(_) => Forbidden,
            HttpError::NameNotFound
            | HttpError::ConnectFailed
            | HttpError::TlsFailed
            | HttpError::BadResponse
            | HttpError::TooManyRedirects(_)
            | HttpError::TooManyRequests => Unavailable,
            HttpError::Timeout(_) => crate::ErrorKind::Timeout,
            HttpError::RequestTooLarge { .. }
            | HttpError::ResponseTooLarge(_)
            | HttpError::HeadersTooLarge => TooLarge,
            _ => InvalidInput,
        }
    }
}

impl From<HttpError> for crate::Error {
    fn from(error: HttpError) -> Self {
        let told = crate::Error::new(error.kind(), error.code(), error.to_string());
        match error {
            HttpError::AddressRefused(refused) => told.with("category", refused.category.name()),
            _ => told,
        }
    }
}

/// The service of a host that has enabled none.
#[derive(Debug)]
pub(crate) struct NotEnabled;

#[async_trait]
impl HttpService for NotEnabled {
    async fn send(&self, _cx: &CallCx, _request: OutboundRequest) -> Result<OutboundResponse> {
        Err(HttpError::NotEnabled.into())
    }
}
