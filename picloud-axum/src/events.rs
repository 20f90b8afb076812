//! Messages as server-sent events: the body of a response that a script answered with a stream.

use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use hyper::body::Frame;
use picloud_core::App;
use picloud_core::execution::HttpResponse;
use picloud_core::pubsub::{Ephemeral, EventStream, Heard, Subscription, SubscriptionEnd};
use tokio::time::{Instant, Sleep, sleep};

use crate::{ApiError, RouterConfig};

/// Tells proxies that what is sent is to be passed on at once.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const NO: HeaderValue = HeaderValue::from_static("no");

/// A response with an open stream carries it, so that a server that stops can end it.
#[derive(Debug, Clone)]
struct OpenStream(SubscriptionEnd);

impl OpenStream {
    fn end(&self) {
        self.0.end();
    }
}

/// The stream that a connection has open, and whether the server stops.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<(Option<OpenStream>, bool)>);

impl UnderWay {
    /// Takes note of a response.
    pub(crate) fn note<B>(&self, response: &mut http::Response<B>) {
        if let Some(stream) = response.extensions_mut().remove::<OpenStream>() {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.1 {
                stream.end();
            }
            state.0 = Some(stream);
        }
    }

    /// Ends the stream that is open, and any that a request under way may still open.
    pub(crate) fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = true;
        if let Some(stream) = state.0.take() {
            stream.end();
        }
    }
}

/// The response: what is published from now on.
pub(crate) fn response(
    app: &App,
    answer: HttpResponse,
    stream: &EventStream,
    config: &RouterConfig,
) -> Response {
    let subscription = match app.subscribe(stream) {
        Ok(subscription) => subscription,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let open = OpenStream(subscription.end());
    let mut response = Response::new(Body::new(Events::new(subscription, stream, config)));
    *response.headers_mut() = answer.headers;
    response.headers_mut().insert(BUFFERING, NO);
    response.extensions_mut().insert(open);
    response
}

/// The body. It waits for messages and for time to pass; nothing of the script is there any more.
#[derive(Debug)]
struct Events {
    subscription: Subscription,
    /// What is sent before the first message, so that the client knows that it is being heard.
    opening: Option<String>,
    heartbeat: Duration,
    quiet: Pin<Box<Sleep>>,
    over: Pin<Box<Sleep>>,
}

impl Events {
    fn new(subscription: Subscription, stream: &EventStream, config: &RouterConfig) -> Self {
        let opening = match stream.retry() {
            Some(retry) => format!("retry: {}\n\n", retry.as_millis()),
            None => HEARTBEAT.to_owned(),
        };
        let heartbeat = config.heartbeat;
        Events {
            subscription,
            opening: Some(opening),
            heartbeat,
            quiet: Box::pin(sleep(heartbeat)),
            over: Box::pin(sleep(config.stream_lifetime)),
        }
    }
}

/// A comment: keeps proxies from closing the connection, and finds out whether the client is still there.
const HEARTBEAT: &str = ":\n\n";

/// Most that is put into one piece: what waits is sent together.
const PIECE: usize = 16 * 1024;

fn write(message: &Ephemeral, text: &mut String) {
    // Canonical text has no line breaks, and a topic nothing that needs care.
    let _ = write!(text, "id: {}\nevent: {}\ndata: {}\n\n", message.id, message.topic, message.message);
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let mut text = this.opening.take().unwrap_or_default();
        // At the end of its time a stream ends between messages, and the client comes again.
        let mut is_over = this.over.as_mut().poll(cx).is_ready();
        while !is_over && text.len() < PIECE {
            match this.subscription.poll_next(cx) {
                Poll::Ready(Some(Heard::Message(message))) => write(&message, &mut text),
                // No topic has that name.
                Poll::Ready(Some(Heard::Lost(count))) => {
                    let _ = write!(text, "event: $lagged\ndata: {{\"lost\":{count}}}\n\n");
                }
                Poll::Ready(None) => is_over = true,
                Poll::Pending => break,
            }
        }
        if text.is_empty() && !is_over && this.quiet.as_mut().poll(cx).is_ready() {
            text.push_str(HEARTBEAT);
        }
        if text.is_empty() {
            return if is_over { Poll::Ready(None) } else { Poll::Pending };
        }
        this.quiet.as_mut().reset(Instant::now() + this.heartbeat);
        // Asks for a wake-up at the new time.
        let _ = this.quiet.as_mut().poll(cx);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }
}
