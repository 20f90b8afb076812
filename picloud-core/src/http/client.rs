//! The service itself, on `reqwest`.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{HeaderValue, header};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;

use super::connect::{GuardedResolver, PeerLayer};
use super::redirect::{Message, is_redirect};
use super::ssrf::{Guard, Target};
use super::types::invalid_header;
use super::usage::{Place, Usage};
use super::{
    HttpConfig, HttpError, HttpService, MAX_BODY_BYTES, MAX_HEADERS, MAX_HEADERS_BYTES, MAX_REDIRECTS,
    OutboundRequest, OutboundResponse, check_headers,
};
use crate::per_runtime::PerRuntime;
use crate::route::normalize_host;
use crate::{CallCx, Error, Result};

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(20);

/// Unused connections kept for one server, on each runtime.
const IDLE_PER_HOST: usize = 8;

/// Connections after which a runtime begins with a new pool. A script can make a runtime keep an unused connection to
/// as many servers as it knows; so there are never many more than this.
const CONNECTIONS_PER_POOL: usize = 256;

/// Outbound HTTP/1.1, with the guard.
///
/// [`PicloudBuilder::http`](crate::PicloudBuilder::http) makes one; a host makes its own to wrap it, or to send requests
/// under the same rules.
pub struct HttpClient {
    config: HttpConfig,
    guard: Arc<Guard>,
    names: GuardedResolver,
    tls: rustls::ClientConfig,
    usage: Arc<Usage>,
    /// Connections and the tasks that drive them belong to the runtime that opened them.
    pools: PerRuntime<Pool>,
}

/// The connections of one runtime.
struct Pool {
    current: Mutex<(reqwest::Client, PeerLayer)>,
}

impl HttpClient {
    /// A client.
    ///
    /// # Errors
    /// `http.no_certificates` when the system has no certificates of authorities and none are given, or one that is
    /// given cannot be read.
    pub fn new(mut config: HttpConfig) -> Result<Self> {
        config.max_request_bytes = config.max_request_bytes.min(MAX_BODY_BYTES);
        config.max_response_bytes = config.max_response_bytes.min(MAX_BODY_BYTES);
        if config.allow_private {
            tracing::warn!(
                "scripts can send requests into private networks and to this machine: http.allow_private is on \
                 (PICLOUD_HTTP_ALLOW_PRIVATE); it is for development"
            );
        }
        let guard = Arc::new(config.guard());
        let names = GuardedResolver {
            guard: guard.clone(),
            resolver: config.resolver.clone(),
            #[cfg(test)]
            released: Arc::default(),
        };
        let tls = tls(&config.root_certificates)?;
        let usage = Arc::new(Usage::new(config.max_requests_per_app, config.max_buffered_bytes));
        Ok(HttpClient { config, guard, names, tls, usage, pools: PerRuntime::new(|_| {}) })
    }

    /// The settings in force.
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }

    fn connector(&self) -> PeerLayer {
        PeerLayer { guard: self.guard.clone(), attempts: Arc::new(AtomicUsize::new(0)) }
    }

    fn make(&self) -> Result<(reqwest::Client, PeerLayer)> {
        let connector = self.connector();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(self.names.clone())
            .connector_layer(connector.clone())
            .connect_timeout(self.config.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build()
            .map_err(|error| Error::internal("no HTTP client").caused_by(error))?;
        Ok((client, connector))
    }

    /// The client of the runtime that this is called on.
    fn client(&self) -> Result<reqwest::Client> {
        let pool = self.pools.get(|| Ok(Pool { current: Mutex::new(self.make()?) }))?;
        let mut current = pool.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1.attempts.load(Ordering::Relaxed) >= CONNECTIONS_PER_POOL {
            // What is under way goes on; what is unused is closed with the old one.
            *current = self.make()?;
        }
        Ok(current.0.clone())
    }

    async fn follow(&self, cx: &CallCx, request: OutboundRequest, place: &Place) -> Result<OutboundResponse> {
        let OutboundRequest { method, url, query, headers, secrets, body, max_redirects, .. } = request;
        let pairs = query.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let mut target = Guard::with_query(self.guard.check_url(&url)?, pairs)?;
        let mut message = Message { method, headers, secrets, body };
        let client = self.client()?;
        let agent = agent(cx);
        for followed in 0..=max_redirects {
            let hop = |error: HttpError| {
                let error = Error::from(error);
                if followed > 0 { error.with("redirect", followed) } else { error }
            };
            if !self.config.hosts.allows(cx.app(), &normalize_host(target.host())) {
                return Err(hop(HttpError::HostNotAllowed).with("host", target.host()));
            }
            self.check_secrets(&target, &message).map_err(hop)?;
            let response = exchange(&client, &target, &message, &agent).await.map_err(hop)?;
            let status = response.status();
            let location = response.headers().get(header::LOCATION).filter(|_| is_redirect(status));
            let Some(location) = location.filter(|_| max_redirects > 0) else {
                return self.read(response, place).await.map_err(hop);
            };
            let next = std::str::from_utf8(location.as_bytes())
                .map_err(|_| HttpError::InvalidUrl("a redirect leads to text that is not UTF-8"))
                .and_then(|location| self.guard.check_location(&target, location))
                .map_err(|error| Error::from(error).with("redirect", followed + 1))?;
            message.redirected(status, target.same_origin(&next));
            target = next;
        }
        Err(HttpError::TooManyRedirects(max_redirects).into())
    }

    /// Each secret only to where it belongs, and not for everybody on the way to read. What a host has opened for
    /// development is near enough.
    fn check_secrets(&self, target: &Target, message: &Message) -> Result<(), HttpError> {
        for (_, secret) in &message.secrets {
            if !secret.is_for(target.host()) {
                return Err(HttpError::SecretNotForHost(secret.name().clone()));
            }
            if target.url().scheme() != "https" && !self.guard.is_opened(target) {
                return Err(HttpError::SecretNeedsHttps(secret.name().clone()));
            }
        }
        Ok(())
    }

    /// Reads a response, up to the limit.
    async fn read(
        &self,
        mut response: reqwest::Response,
        place: &Place,
    ) -> Result<OutboundResponse, HttpError> {
        check_headers(response.headers())?;
        let max = self.config.max_response_bytes;
        // That of the body: not what the header of a response to HEAD says of what was not sent.
        if response.content_length().is_some_and(|length| length > max as u64) {
            return Err(HttpError::ResponseTooLarge(max));
        }
        let mut answer = OutboundResponse::new(response.status());
        let mut buffer = place.buffer(max);
        while let Some(piece) =
            response.chunk().await.map_err(|error| of_client(&error, HttpError::BadResponse))?
        {
            buffer.push(&piece)?;
        }
        answer.headers = std::mem::take(response.headers_mut());
        answer.body = buffer.finish();
        Ok(answer)
    }

    /// When it must be over, and how long that is.
    fn limit(&self, cx: &CallCx, asked: Option<Duration>) -> Result<(Instant, Duration), HttpError> {
        let longest = self.config.timeout;
        let limit = match asked {
            None => longest,
            Some(asked) if !asked.is_zero() && asked <= longest => asked,
            Some(asked) => {
                return Err(HttpError::InvalidOption(format!(
                    "timeout_ms is from 1 to {}, not {}",
                    longest.as_millis(),
                    asked.as_millis()
                )));
            }
        };
        // An execution is ended by its executor, host calls included: if this ended at the same moment, the script could
        // catch it and be taken for one that ended by itself.
        let left = cx.remaining().filter(|_| cx.execution().is_none());
        let limit = left.map_or(limit, |left| left.min(limit));
        Ok((Instant::now() + limit, limit))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl HttpService for HttpClient {
    async fn send(&self, cx: &CallCx, request: OutboundRequest) -> Result<OutboundResponse> {
        let (size, max) = (request.body.len(), self.config.max_request_bytes);
        if size > max {
            return Err(HttpError::RequestTooLarge { size, max }.into());
        }
        check_headers(&request.headers)?;
        let secrets = &request.secrets;
        let bytes: usize =
            secrets.iter().map(|(name, secret)| name.as_str().len() + secret.expose().len()).sum();
        if secrets.len() > MAX_HEADERS || bytes > MAX_HEADERS_BYTES {
            return Err(HttpError::HeadersTooLarge.into());
        }
        if request.max_redirects > MAX_REDIRECTS {
            let text = format!("max_redirects is from 0 to {MAX_REDIRECTS}, not {}", request.max_redirects);
            return Err(HttpError::InvalidOption(text).into());
        }
        let (until, limit) = self.limit(cx, request.timeout)?;
        let place = self.usage.enter(cx.app())?;
        match tokio::time::timeout_at(until.into(), self.follow(cx, request, &place)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Timeout(limit.as_millis()).into()),
        }
    }
}

async fn exchange(
    client: &reqwest::Client,
    target: &Target,
    message: &Message,
    agent: &HeaderValue,
) -> Result<reqwest::Response, HttpError> {
    let mut request = reqwest::Request::new(message.method.clone(), target.url().clone());
    *request.headers_mut() = message.headers.clone();
    for (name, secret) in &message.secrets {
        let value = HeaderValue::from_bytes(secret.expose());
        let mut value = value.map_err(|_| invalid_header(name.as_str()))?;
        value.set_sensitive(true);
        request.headers_mut().append(name.clone(), value);
    }
    request.headers_mut().insert(header::USER_AGENT, agent.clone());
    if !message.body.is_empty() {
        *request.body_mut() = Some(message.body.clone().into());
    }
    client.execute(request).await.map_err(|error| {
        let otherwise = if error.is_connect() {
            HttpError::ConnectFailed
        } else if error.is_builder() {
            HttpError::InvalidUrl("the client does not take it")
        } else {
            HttpError::BadResponse
        };
        of_client(&error, otherwise)
    })
}

/// What an error of the client comes from: our own refusal, a name, TLS, or something else.
fn of_client(error: &reqwest::Error, otherwise: HttpError) -> HttpError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<HttpError>() {
            return refused.clone();
        }
        if error.is::<rustls::Error>() {
            return HttpError::TlsFailed;
        }
        // An error inside an I/O error is not its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    otherwise
}

/// Who sends it: receivers must be able to tell whom to ask.
fn agent(cx: &CallCx) -> HeaderValue {
    let version = env!("CARGO_PKG_VERSION");
    let text = match cx.script() {
        Some((_, name)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
            let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
            format!("picloud/{version} (script {name})")
        }
        None => format!("picloud/{version}"),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("picloud"))
}

/// TLS with the authorities of the system, and HTTP/1.1 on it.
fn tls(roots: &[Vec<u8>]) -> Result<rustls::ClientConfig> {
    let failed = |error: rustls::Error| Error::internal("no TLS").with("reason", &error).caused_by(error);
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    let roots: Vec<_> = roots.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let verifier = Verifier::new_with_extra_roots(roots, provider.clone()).map_err(|error| {
        Error::invalid(
            "http.no_certificates",
            "there are no certificates of authorities to trust: install those of the system (ca-certificates), or \
             give valid ones in HttpConfig::root_certificates",
        )
        .caused_by(error)
    })?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
