//! The routes of scripts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::IntoResponse;
use axum::{BoxError, Router};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use picloud_core::app::AppState;
use picloud_core::authz::{Capability, Principal, PrincipalKind};
use picloud_core::execution::{Answer, HttpRequest, HttpResponse, Invocation, InvocationType, Outcome};
use picloud_core::executor::Execute;
use picloud_core::route::{Allow, DispatchMode, RouteMatch, is_reserved, normalize_host, normalize_path};
use picloud_core::{AppId, Picloud, script::ScriptRecord};

use crate::body::{ResponseBody, announced};
use crate::files::with_file;
use crate::{ApiError, RouterConfig, events};

/// What is sent to a client.
pub(crate) type Answered = Response<ResponseBody>;

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

#[derive(Debug, Clone)]
struct Inner {
    cloud: Picloud,
    config: RouterConfig,
}

pub(crate) fn router<S: Clone + Send + Sync + 'static>(cloud: &Picloud, config: &RouterConfig) -> Router<S> {
    let handler = Handler::new(cloud, config);
    Router::new().fallback(move |request: Request<Body>| {
        let answer = handler.answer(request);
        async move { answer.await.map(Body::from) }
    })
}

impl Handler {
    pub(crate) fn new(cloud: &Picloud, config: &RouterConfig) -> Self {
        Handler(Arc::new(Inner { cloud: cloud.clone(), config: config.clone() }))
    }

    /// The same, counted elsewhere: threads that count references in one place wait for each other.
    pub(crate) fn apart(&self) -> Self {
        Handler(Arc::new(Inner::clone(&self.0)))
    }

    pub(crate) fn cloud(&self) -> &Picloud {
        &self.0.cloud
    }

    pub(crate) fn config(&self) -> &RouterConfig {
        &self.0.config
    }

    /// What a request is answered with. What need not wait for its caller or its body begins at once.
    pub(crate) fn answer<B>(&self, request: Request<B>) -> Answering
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let progress = match self.route(&parts) {
            Ok(found) if found.later || self.must_wait(&parts, &body) => {
                Progress::Waits(Box::pin(self.clone().prepared(found, parts, body)))
            }
            Ok(found) => {
                let principal = parts.extensions.get().cloned();
                let (script, request) = found.request(parts, Bytes::new());
                Progress::Runs(self.begin(script, request, principal))
            }
            Err(response) => Progress::Ends(Some(response)),
        };
        Answering { progress, is_head }
    }

    /// Whether there is something to wait for before the script can begin.
    fn must_wait<B: HttpBody>(&self, parts: &request::Parts, body: &B) -> bool {
        !is_empty(&parts.headers, body)
            || parts.extensions.get::<Arc<Principal>>().is_none() && self.cloud().resolves_principals()
    }

    /// Which script answers; or the answer, where there is none.
    fn route(&self, parts: &request::Parts) -> Result<Found, Box<Answered>> {
        let host = host_of(parts);
        let found = self.cloud().resolve_app(host, &parts.headers, |app| self.route_in(app, host, parts));
        found.unwrap_or_else(|| {
            let error = ApiError::new(StatusCode::NOT_FOUND, "app.not_found", "no app answers to this host");
            Err(Box::new(error.into_response().map(ResponseBody::from)))
        })
    }

    fn route_in(&self, app: &AppState, host: &str, parts: &request::Parts) -> Result<Found, Box<Answered>> {
        let refuse = |error: ApiError| Box::new(error.into_response().map(ResponseBody::from));
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
                let mut response = Response::new(ResponseBody::from(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                response.headers_mut().insert(header::ALLOW, allow_header(&allow));
                Err(Box::new(response))
            }
            RouteMatch::NotFound => Err(refuse(not_found())),
        }
    }

    /// Waits for what the script needs, and then for its answer.
    async fn prepared<B>(self, found: Found, parts: request::Parts, body: B) -> Answered
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
    {
        let principal = self.principal(&parts).await;
        let body = match self.body(&parts.headers, body).await {
            Ok(body) => body,
            Err(error) => return error.into_response().map(ResponseBody::from),
        };
        let later = found.later;
        let ((app, script), request) = found.request(parts, body);
        if later {
            let accepted = self.cloud().app(app).accept(&script, &request, principal.as_deref()).await;
            let response = accepted.and_then(|accepted| accepted.into_response());
            return response.map_or_else(
                |error| ApiError::from(error).into_response().map(ResponseBody::from),
                into_response,
            );
        }
        self.begin((app, script), request, principal).await
    }

    /// Runs a script and makes a response of what it comes to.
    pub(crate) fn begin(
        &self,
        (app, script): (AppId, Arc<ScriptRecord>),
        request: HttpRequest,
        principal: Option<Arc<Principal>>,
    ) -> Running {
        // A request that changes something runs on when its client has gone.
        let detach = !request.method.is_safe();
        let may_read_logs = principal.as_ref().is_some_and(|principal| {
            principal.kind != PrincipalKind::Caller && principal.allows(Capability::AppLogRead, Some(app))
        });
        let mut invocation = Invocation::new(app, script);
        invocation.invocation_type = InvocationType::Http;
        invocation.request = Some(request);
        invocation.principal = principal;
        invocation.detach_on_drop = detach;
        let execute = self.cloud().executor().run(invocation);
        Running { handler: self.clone(), app, may_read_logs, execute, sends: None }
    }

    /// Who is calling: what a layer of the host's put into the request, or what the resolver says.
    pub(crate) async fn principal(&self, parts: &request::Parts) -> Option<Arc<Principal>> {
        match parts.extensions.get::<Arc<Principal>>() {
            Some(principal) => Some(principal.clone()),
            None => self.cloud().resolve_principal(&parts.headers).await,
        }
    }

    /// The whole body, within its limits.
    pub(crate) async fn body<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, ApiError>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
    {
        let most = self.config().max_body_bytes;
        let too_large = || {
            let text = format!("a request body has at most {most} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request.too_large", text)
        };
        if is_empty(headers, &body) {
            return Ok(Bytes::new());
        }
        if announced(headers).is_some_and(|length| length > most as u64) {
            return Err(too_large());
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

/// Whether a request has no body to wait for.
fn is_empty(headers: &HeaderMap, body: &impl HttpBody) -> bool {
    body.is_end_stream() || announced(headers) == Some(0)
}

impl Found {
    /// The script, and the request as it sees it.
    fn request(self, parts: request::Parts, body: Bytes) -> ((AppId, Arc<ScriptRecord>), HttpRequest) {
        let mut request = HttpRequest::new(parts.method, self.path);
        request.host = normalize_host(host_in(&parts.uri, &parts.headers)).into_owned();
        request.query = parts.uri.query().map(str::to_owned);
        request.params = self.params;
        request.rest = self.rest;
        request.headers = parts.headers;
        request.body = body;
        ((self.app, self.script), request)
    }
}

type Waiting = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// The future of [`Handler::answer`]. Small: a server moves it, and keeps room for it in every connection.
pub(crate) struct Answering {
    progress: Progress,
    is_head: bool,
}

enum Progress {
    Waits(Waiting),
    Runs(Running),
    Ends(Option<Box<Answered>>),
}

impl Future for Answering {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let mut response = match &mut self.progress {
            Progress::Waits(waiting) => ready!(waiting.as_mut().poll(cx)),
            Progress::Runs(running) => ready!(Pin::new(running).poll(cx)),
            Progress::Ends(response) => match response.take() {
                Some(response) => *response,
                // Nobody polls a future after its end.
                None => return Poll::Pending,
            },
        };
        if self.is_head {
            without_body(&mut response);
        }
        Poll::Ready(response)
    }
}

/// A script under way, and then the response that is made of what it came to.
pub(crate) struct Running {
    handler: Handler,
    app: AppId,
    may_read_logs: bool,
    execute: Execute,
    /// A file is being opened.
    sends: Option<Waiting>,
}

impl Future for Running {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = &mut *self;
        if let Some(sends) = &mut this.sends {
            return sends.as_mut().poll(cx);
        }
        let Outcome { execution, result, .. } = ready!(Pin::new(&mut this.execute).poll(cx));
        let handler = &this.handler;
        Poll::Ready(match result {
            Ok(Answer::Response(mut response)) => match (response.stream.take(), response.file.take()) {
                (Some(stream), _) => {
                    let app = handler.cloud().app(this.app);
                    events::response(&app, response, &stream, handler.config()).map(ResponseBody::from)
                }
                (None, Some(file)) => {
                    let files = handler.cloud().files().clone();
                    let sends =
                        async move { with_file(&files, &file, response).await.map(ResponseBody::from) };
                    return this.sends.insert(Box::pin(sends)).as_mut().poll(cx);
                }
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
                let expose = handler.config().expose_errors || this.may_read_logs;
                ApiError::of_script(&failure, execution, expose).into_response().map(ResponseBody::from)
            }
        })
    }
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

fn into_response(answer: HttpResponse) -> Answered {
    let mut response = Response::new(ResponseBody::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

/// `HEAD`: everything but the body.
fn without_body(response: &mut Answered) {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    *response.body_mut() = ResponseBody::from(Bytes::new());
}
