//! What goes into an execution and what comes out.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::authz::Principal;
use crate::files::FileAnswer;
use crate::log::LogLines;
use crate::outbox::{Claimed, EventKind};
use crate::pubsub::EventStream;
use crate::script::ScriptRecord;
use crate::{AppId, EventId, ExecutionId, Json, RequestId, Timestamp, TraceId, TriggerId, ids};

/// A request as a script sees it. Paths are below the mount point of picloud.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The host as sent, without port, lower case; empty when none was sent.
    pub host: String,
    /// The normalised path.
    pub path: String,
    /// The query as sent, without the `?`.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// What the route's pattern captured, decoded.
    pub params: Vec<(Arc<str>, String)>,
    /// What a prefix route left over, without leading slash.
    pub rest: String,
    /// The body.
    pub body: Bytes,
}

impl HttpRequest {
    /// A request without headers, query and body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        HttpRequest { method, path: path.into(), ..HttpRequest::default() }
    }
}

/// What a script answered.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, `content-type` included.
    pub headers: HeaderMap,
    /// The body; empty where a file or a stream takes its place.
    pub body: Bytes,
    /// The file whose bytes are the body. Whoever answers the request reads them, as
    /// [`App::request`](crate::App::request) and the router of `picloud-axum` do.
    pub file: Option<Box<FileAnswer>>,
    /// What the caller hears from now on, instead of a body: see [`App::subscribe`](crate::App::subscribe).
    pub stream: Option<EventStream>,
}

impl HttpResponse {
    /// A response with a body.
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        HttpResponse { status, headers, body, file: None, stream: None }
    }
}

/// What caused an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InvocationType {
    /// A request to a route, or to the execute endpoint.
    Http,
    /// An event.
    Trigger,
    /// A call by the host or by another script.
    Invoke,
}

impl InvocationType {
    /// The word that scripts see in `ctx.invocation_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            InvocationType::Http => "http",
            InvocationType::Trigger => "trigger",
            InvocationType::Invoke => "invoke",
        }
    }
}

/// The event that an execution handles: `ctx.event`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EventDelivery {
    /// Stable across attempts.
    pub id: EventId,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The trigger that matched; `None` for an async request.
    pub trigger: Option<TriggerId>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What happened, as the kind says.
    pub payload: Json,
}

impl From<&Claimed> for EventDelivery {
    fn from(claimed: &Claimed) -> Self {
        let row = &claimed.row;
        EventDelivery {
            id: row.id,
            kind: row.kind,
            trigger: row.trigger,
            attempt: claimed.attempt,
            occurred_at: row.occurred_at,
            payload: row.payload.clone(),
        }
    }
}

/// Everything that one run of a script starts from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Invocation {
    /// The app; services are called for it.
    pub app: AppId,
    /// The script, at the version to run.
    pub script: Arc<ScriptRecord>,
    /// What caused the run.
    pub invocation_type: InvocationType,
    /// The request, where there is one. With a request the answer is an [`Answer::Response`].
    pub request: Option<HttpRequest>,
    /// What an invoke passes: `ctx.request.body` of the script.
    pub payload: Option<Json>,
    /// The event, where the run handles one.
    pub event: Option<Box<EventDelivery>>,
    /// Who is behind it.
    pub principal: Option<Arc<Principal>>,
    /// The id of this run; the record carries it.
    pub execution: ExecutionId,
    /// The request that started it all.
    pub request_id: RequestId,
    /// The trace that this run is part of.
    pub trace: TraceId,
    /// The execution that caused this one.
    pub parent: Option<ExecutionId>,
    /// How many events lie between the first cause and this run.
    pub trigger_depth: u32,
    /// Whether a dropped future lets the script run on to its own deadline. For requests that change something
    /// and whose client has gone.
    pub detach_on_drop: bool,
    /// What the execution that waits for this one leaves to it.
    pub(crate) allowance: Option<Allowance>,
    /// Leaves no record: for picloud's own tests of itself.
    pub(crate) unrecorded: bool,
}

/// The part of its budget that an execution leaves to one that it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) deadline: Instant,
    pub(crate) operations: u64,
    pub(crate) memory: u64,
    /// How many executions wait for this one, each for the next.
    pub(crate) depth: u32,
}

impl Invocation {
    /// An invocation by the host.
    pub fn new(app: AppId, script: Arc<ScriptRecord>) -> Self {
        let [request_id, execution] = ids::many();
        Invocation {
            app,
            script,
            invocation_type: InvocationType::Invoke,
            request: None,
            payload: None,
            event: None,
            principal: None,
            execution: ExecutionId::from_uuid(execution),
            request_id: RequestId::from_uuid(request_id),
            // A trace is named after the request that began it.
            trace: TraceId::from_uuid(request_id),
            parent: None,
            trigger_depth: 0,
            detach_on_drop: false,
            allowance: None,
            unrecorded: false,
        }
    }

    /// An invocation by a request.
    #[must_use]
    pub fn request(mut self, request: HttpRequest) -> Self {
        self.invocation_type = InvocationType::Http;
        self.request = Some(request);
        self
    }

    /// An invocation by an event.
    #[must_use]
    pub fn event(mut self, event: EventDelivery) -> Self {
        self.invocation_type = InvocationType::Trigger;
        self.event = Some(Box::new(event));
        self
    }

    /// An invocation with a payload.
    #[must_use]
    pub fn payload(mut self, payload: Json) -> Self {
        self.payload = Some(payload);
        self
    }
}

/// What an execution came to. A script's failure is an outcome, not an error of ours.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The run.
    pub execution: ExecutionId,
    /// The answer, or why there is none.
    pub result: Result<Answer, Failure>,
    /// Whether the script began: `false` when there was no room for it or it does not compile.
    pub began: bool,
    /// What the script logged.
    pub log: LogLines,
    /// Operations used.
    pub operations: u64,
    /// Wall-clock time from start to end, waiting included.
    pub duration: Duration,
    /// Most memory held at once, in bytes; 0 where memory is not counted.
    pub peak_memory: u64,
}

impl Outcome {
    /// The outcome of an execution that never began.
    pub fn refused(execution: ExecutionId, failure: Failure) -> Self {
        Outcome {
            execution,
            result: Err(failure),
            began: false,
            log: LogLines::default(),
            operations: 0,
            duration: Duration::ZERO,
            peak_memory: 0,
        }
    }
}

/// What a script answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To a request.
    Response(HttpResponse),
    /// To anything else.
    Value(Json),
}

/// Why a script gave no answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of failure.
    pub class: FailureClass,
    /// One line for people: message, and code of a service error.
    pub message: String,
    /// Where in the source, if known.
    pub position: Option<Position>,
    /// For [`FailureClass::Budget`]: which limit.
    pub limit: Option<LimitExceeded>,
}

impl Failure {
    /// A failure without position.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Failure { class, message: message.into(), position: None, limit: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.as_str(), self.message)?;
        match self.position {
            Some(position) => write!(f, " (line {}, column {})", position.line, position.column),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// The class of a failure: what HTTP status, retry and record follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// The source does not compile.
    Compile,
    /// The script threw, or did what the language forbids.
    Runtime,
    /// A limit of the sandbox was reached.
    Budget,
    /// The deadline passed.
    Timeout,
    /// There was no room to start; nothing ran.
    Overloaded,
    /// The caller went away, or the host is shutting down.
    Cancelled,
    /// A defect of ours or of a host function.
    Internal,
}

impl FailureClass {
    /// The word used in responses, records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailureClass::Compile => "compile",
            FailureClass::Runtime => "runtime",
            FailureClass::Budget => "budget",
            FailureClass::Timeout => "timeout",
            FailureClass::Overloaded => "overloaded",
            FailureClass::Cancelled => "cancelled",
            FailureClass::Internal => "internal",
        }
    }

    /// The status of a response that reports it.
    pub const fn status(self) -> StatusCode {
        match self {
            FailureClass::Compile => StatusCode::UNPROCESSABLE_ENTITY,
            FailureClass::Runtime => StatusCode::BAD_GATEWAY,
            FailureClass::Budget => StatusCode::INSUFFICIENT_STORAGE,
            FailureClass::Timeout => StatusCode::GATEWAY_TIMEOUT,
            FailureClass::Overloaded | FailureClass::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            FailureClass::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A place in a source text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitExceeded {
    /// The setting, such as `max_operations`.
    pub limit: String,
    /// Its value.
    pub max: u64,
}
