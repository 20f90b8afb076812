//! The routes of scripts.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use picloud_core::app::AppState;
use picloud_core::authz::{Capability, Principal, PrincipalKind};
use picloud_core::execution::{Answer, HttpRequest, HttpResponse, Invocation, Outcome};
use picloud_core::route::{Allow, DispatchMode, RouteMatch, is_reserved, normalize_host, normalize_path};
use picloud_core::{AppId, Picloud, script::ScriptRecord};

use crate::files::with_file;
use crate::{ApiError, RouterConfig, events};

/// What a route leads to.
struct Found {
    app: AppId,
    script: Arc<ScriptRecord>,
    path: String,
    params: Vec<(Arc<str>, String)>,
    rest: String,
    /// The caller does not wait for the script.
    later: bool,
}

/// What every handler needs.
#[derive(Debug, Clone)]
pub(crate) struct Handler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cloud: Picloud,
    config: RouterConfig,
}

pub(crate) fn router<S: Clone + Send + Sync + 'static>(cloud: &Picloud, config: &RouterConfig) -> Router<S> {
    let handler = Handler::new(cloud, config);
    Router::new().fallback(move |request: Request<Body>| handler.clone().answer(request))
}

impl Handler {
    pub(crate) fn new(cloud: &Picloud, config: &RouterConfig) -> Self {
        Handler(Arc::new(Inner { cloud: cloud.clone(), config: config.clone() }))
    }

    pub(crate) fn cloud(&self) -> &Picloud {
        &self.0.cloud
    }

    pub(crate) fn config(&self) -> &RouterConfig {
        &self.0.config
    }

    async fn answer(self, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let mut response = match self.route(&parts) {
            Ok(found) => self.respond(found, parts, body).await.unwrap_or_else(IntoResponse::into_response),
            Err(response) => *response,
        };
        if is_head {
            without_body(&mut response);
        }
        response
    }

    /// Which script answers; or the answer, where there is none.
    fn route(&self, parts: &request::Parts) -> Result<Found, Box<Response>> {
        let host = host_of(parts);
        let found = self.cloud().resolve_app(host, &parts.headers, |app| self.route_in(app, host, parts));
        found.unwrap_or_else(|| {
            let error = ApiError::new(StatusCode::NOT_FOUND, "app.not_found", "no app answers to this host");
            Err(Box::new(error.into_response()))
        })
    }

    fn route_in(&self, app: &AppState, host: &str, parts: &request::Parts) -> Result<Found, Box<Response>> {
        let refuse = |error: ApiError| Box::new(error.into_response());
        let path = normalize_path(parts.uri.path()).map_err(|error| {
            refuse(ApiError::new(StatusCode::BAD_REQUEST, "route.invalid_path", error.to_string()))
        })?;
        // A capture could match it, but what the host keeps to itself no script answers.
        if is_reserved(&path, &self.cloud().config().reserved_prefixes) {
            return Err(refuse(not_found()));
        }
        match app.routes().find(host, &path, &parts.method) {
            RouteMatch::Found { route, params, rest } => {
                // The table and the scripts are one snapshot.
                let script = app.script_by_id(route.script).ok_or_else(|| refuse(not_found()))?;
                let later = route.dispatch_mode == DispatchMode::Async;
                Ok(Found { app: app.record.id, path: path.into_string(), script, params, rest, later })
            }
            RouteMatch::MethodNotAllowed { allow } => {
                let text = format!("this path answers {allow}, not {}", parts.method);
                let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "route.method_not_allowed", text);
                Err(refuse(error.header(header::ALLOW, allow_header(&allow))))
            }
            RouteMatch::Options { allow } => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response.headers_mut().insert(header::ALLOW, allow_header(&allow));
                Err(Box::new(response))
            }
            RouteMatch::NotFound => Err(refuse(not_found())),
        }
    }

    async fn respond(&self, found: Found, parts: request::Parts, body: Body) -> Result<Response, ApiError> {
        let principal = self.principal(&parts).await;
        let body = self.body(&parts.headers, body).await?;
        let mut http = HttpRequest::new(parts.method, found.path);
        http.host = normalize_host(host_in(&parts.uri, &parts.headers)).into_owned();
        http.query = parts.uri.query().map(str::to_owned);
        http.params = found.params;
        http.rest = found.rest;
        http.headers = parts.headers;
        http.body = body;
        if found.later {
            let app = self.cloud().app(found.app);
            let accepted = app.accept(&found.script, &http, principal.as_deref()).await?;
            return Ok(into_response(accepted.into_response()?));
        }
        Ok(self.run(found.app, found.script, http, principal).await)
    }

    /// Runs a script and makes a response of what it came to.
    pub(crate) async fn run(
        &self,
        app: AppId,
        script: Arc<ScriptRecord>,
        request: HttpRequest,
        principal: Option<Arc<Principal>>,
    ) -> Response {
        // A request that changes something runs on when its client has gone.
        let detach = !request.method.is_safe();
        let may_read_logs = principal.as_ref().is_some_and(|principal| {
            principal.kind != PrincipalKind::Caller && principal.allows(Capability::AppLogRead, Some(app))
        });
        let mut invocation = Invocation::new(app, script).request(request);
        invocation.principal = principal;
        invocation.detach_on_drop = detach;
        let Outcome { execution, result, .. } = self.cloud().executor().run(invocation).await;
        match result {
            Ok(Answer::Response(mut response)) => match (response.stream.take(), response.file.take()) {
                (Some(stream), _) => {
                    events::response(&self.cloud().app(app), response, &stream, self.config())
                }
                (None, Some(file)) => with_file(self.cloud().files(), &file, response).await,
                (None, None) => into_response(response),
            },
            Ok(Answer::Value(value)) => {
                let json = HeaderValue::from_static("application/json");
                let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
                into_response(HttpResponse::new(
                    StatusCode::OK,
                    headers,
                    Bytes::from(value.as_str().to_owned()),
                ))
            }
            Err(failure) => {
                ApiError::of_script(&failure, execution, self.config().expose_errors || may_read_logs)
                    .into_response()
            }
        }
    }

    /// Who is calling: what a layer of the host's put into the request, or what the resolver says.
    pub(crate) async fn principal(&self, parts: &request::Parts) -> Option<Arc<Principal>> {
        match parts.extensions.get::<Arc<Principal>>() {
            Some(principal) => Some(principal.clone()),
            None => self.cloud().resolve_principal(&parts.headers).await,
        }
    }

    /// The whole body, within its limits.
    pub(crate) async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
        let most = self.config().max_body_bytes;
        let too_large = || {
            let text = format!("a request body has at most {most} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request.too_large", text)
        };
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        match announced {
            // Nothing to wait for.
            Some(0) => return Ok(Bytes::new()),
            Some(length) if length > most => return Err(too_large()),
            None if !headers.contains_key(header::TRANSFER_ENCODING) && is_empty(&body) => {
                return Ok(Bytes::new());
            }
            _ => {}
        }
        match tokio::time::timeout(self.config().body_timeout, Limited::new(body, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "request.unreadable",
                format!("the body ended early: {error}"),
            )),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "request.timeout",
                "the body did not arrive in time",
            )),
        }
    }
}

fn is_empty(body: &Body) -> bool {
    axum::body::HttpBody::is_end_stream(body)
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "route.not_found", "no route for this path")
}

fn allow_header(allow: &Allow) -> HeaderValue {
    HeaderValue::from_str(&allow.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// The host that a request names, as sent: in the target, or in the header.
pub(crate) fn host_of(parts: &request::Parts) -> &str {
    host_in(&parts.uri, &parts.headers)
}

fn host_in<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let in_header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.host().or_else(in_header).unwrap_or("")
}

fn into_response(answer: HttpResponse) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// `HEAD`: everything but the body.
fn without_body(response: &mut Response) {
    use axum::body::HttpBody;
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
}
