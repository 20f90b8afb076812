//! Bytes between requests, responses and files, piece by piece.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use picloud_core::files::{ByteSource, FileResponse};
use picloud_core::{Error, ErrorKind, Result, async_trait};
use tokio::time::Instant;

/// The body of a response: at hand, as what most scripts answer, or still to come.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    Whole(Full<Bytes>),
    Piecewise(Body),
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        ResponseBody::Whole(Full::new(bytes))
    }
}

impl From<Body> for ResponseBody {
    fn from(body: Body) -> Self {
        ResponseBody::Piecewise(body)
    }
}

impl From<ResponseBody> for Body {
    fn from(body: ResponseBody) -> Self {
        match body {
            ResponseBody::Whole(body) => Body::new(body),
            ResponseBody::Piecewise(body) => body,
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            ResponseBody::Whole(body) => {
                Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {})
            }
            ResponseBody::Piecewise(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Whole(body) => body.is_end_stream(),
            ResponseBody::Piecewise(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(body) => body.size_hint(),
            ResponseBody::Piecewise(body) => body.size_hint(),
        }
    }
}

/// A response with a file.
pub(crate) fn file_response(answer: FileResponse) -> Response {
    let body = match answer.body {
        Some(source) => Body::new(FileBody { state: State::Idle(source), left: answer.length }),
        None => Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

type Pulled = (Box<dyn ByteSource>, Result<Option<Bytes>>);

enum State {
    Idle(Box<dyn ByteSource>),
    Pulling(Pin<Box<dyn Future<Output = Pulled> + Send>>),
    Over,
}

/// The body of a response that is a file. An error breaks the connection off before the last byte, so that no client takes
/// what it has for the file.
struct FileBody {
    state: State,
    left: u64,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Idle(mut source) => {
                    self.state = State::Pulling(Box::pin(async move {
                        let piece = source.next().await;
                        (source, piece)
                    }));
                }
                State::Pulling(mut pulling) => {
                    let Poll::Ready((source, piece)) = pulling.as_mut().poll(cx) else {
                        self.state = State::Pulling(pulling);
                        return Poll::Pending;
                    };
                    let Some(piece) = piece.transpose() else { return Poll::Ready(None) };
                    return Poll::Ready(Some(piece.map(|piece| {
                        self.left = self.left.saturating_sub(piece.len() as u64);
                        self.state = State::Idle(source);
                        Frame::data(piece)
                    })));
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of a request, as long as there is time for it.
pub(crate) struct RequestBody {
    body: Body,
    until: Instant,
}

impl RequestBody {
    pub(crate) fn new(body: Body, timeout: Duration) -> Self {
        RequestBody { body, until: Instant::now() + timeout }
    }
}

#[async_trait]
impl ByteSource for RequestBody {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout_at(self.until, self.body.frame()).await;
            match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
                Ok(Some(Err(error))) => {
                    let text = format!("the body ended early: {error}");
                    return Err(Error::invalid("request.unreadable", text));
                }
                Err(_) => {
                    let text = "the body did not arrive in time";
                    return Err(Error::new(ErrorKind::Timeout, "request.timeout", text));
                }
            }
        }
    }
}

/// How long the body says that it is.
pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// A response of JSON.
pub(crate) fn json(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
