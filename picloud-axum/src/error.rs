//! Errors as responses: one JSON shape.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use picloud_core::execution::{Failure, FailureClass};
use picloud_core::{Error, ErrorKind, ExecutionId};
use serde_json::{Map, Value, json};

/// An error as a response: `{ "error": { "code", "message", … } }`.
///
/// Made from a [`picloud_core::Error`] with `?` in a host's own handlers.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    body: Map<String, Value>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// What a caller is asked to wait before it tries again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    /// An error with a stable code and a sentence for people.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("code".into(), code.into());
        body.insert("message".into(), message.into().into());
        ApiError { status, body, header: None }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Adds a field beside code and message.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.into(), value.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// A script's failure; its message, position and limit only if `expose`.
    pub(crate) fn of_script(failure: &Failure, execution: ExecutionId, expose: bool) -> Self {
        let class = failure.class;
        let general = match class {
            FailureClass::Compile => "the script does not compile",
            FailureClass::Runtime => "the script failed",
            FailureClass::Budget => "the script reached a limit",
            FailureClass::Timeout => "the script took too long",
            FailureClass::Overloaded => "the server is busy; try again",
            FailureClass::Cancelled => "the script was ended; try again",
            _ => "something went wrong",
        };
        let message = if expose { failure.message.clone() } else { general.to_owned() };
        let mut error = ApiError::new(class.status(), &format!("script.{}", class.as_str()), message)
            .with("class", class.as_str())
            .with("execution_id", execution.to_string());
        if expose {
            if let Some(position) = failure.position {
                error = error.with("position", json!({ "line": position.line, "column": position.column }));
            }
            if let Some(limit) = &failure.limit {
                error = error.with("limit", json!({ "name": limit.limit, "max": limit.max }));
            }
        }
        if class.status() == StatusCode::SERVICE_UNAVAILABLE {
            error = error.header(header::RETRY_AFTER, RETRY_AFTER);
        }
        error
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::AlreadyExists | ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Unavailable | ErrorKind::Cancelled | ErrorKind::Closed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %error.with_causes(), "a request failed");
            return ApiError::new(status, "internal", "something went wrong; the server's log knows more");
        }
        let mut answer = ApiError::new(status, error.code(), error.message());
        for (name, value) in error.context() {
            answer = answer.with(name, value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer = answer.header(header::RETRY_AFTER, RETRY_AFTER);
        }
        answer
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.body }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
