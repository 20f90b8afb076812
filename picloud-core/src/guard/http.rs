//! The door of the outbound HTTP room.

use std::sync::Arc;

use async_trait::async_trait;

use super::in_time;
use crate::authz::Capability;
use crate::http::{HttpError, HttpService, MAX_BODY_BYTES, OutboundRequest, OutboundResponse, check_headers};
use crate::metric::call;
use crate::{CallCx, ErrorKind, Result};

/// An HTTP service behind the door.
#[derive(Debug)]
pub(super) struct GuardedHttp {
    inner: Arc<dyn HttpService>,
}

impl GuardedHttp {
    pub(super) fn new(inner: Arc<dyn HttpService>) -> Self {
        GuardedHttp { inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl HttpService for GuardedHttp {
    async fn send(&self, cx: &CallCx, request: OutboundRequest) -> Result<OutboundResponse> {
        cx.require(Capability::AppHttpRequest)?;
        check_headers(&request.headers)?;
        let size = request.body.len();
        if size > MAX_BODY_BYTES {
            return Err(HttpError::RequestTooLarge { size, max: MAX_BODY_BYTES }.into());
        }
        let call = call!("http.send");
        let answer = in_time(cx, call, self.inner.send(cx, request)).await;
        // That another server does not answer is the script's affair, not the operator's.
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Internal
        {
            tracing::error!(call = call.name, app = %cx.app(), error = %error.with_causes(), "a service call failed");
        }
        answer
    }
}
