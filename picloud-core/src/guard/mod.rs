//! The door: every service, as scripts and hosts reach it, behind the checks that no backend has to repeat.
//!
//! Here a call is checked against the capability it needs, its deadline and the limits on what it brings, and a
//! write is given the outbox rows that it must commit. A backend sees only what passed.

mod kv;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use crate::authz::Capability;
use crate::metric::Call;
use crate::outbox::{EventSource, Fanout};
use crate::services::Services;
use crate::{AppId, CallCx, Error, ErrorKind, Result};

/// Matches triggers: which outbox rows must a write take along?
#[async_trait]
pub(crate) trait FanoutSource: Debug + Send + Sync + 'static {
    /// The rows for a write, from the snapshot that this node has; `None` when it knows no such app.
    fn fanout(&self, app: AppId, source: &EventSource<'_>) -> Option<Arc<Fanout>>;

    /// Reads the app again.
    async fn reload(&self, app: AppId) -> Result<()>;
}

/// How often a change is repeated because the app changed meanwhile. Each time somebody deployed between a read of
/// the snapshot and the write that followed it at once, so more than one or two repetitions are a sign of trouble.
pub(crate) const ATTEMPTS: usize = 8;

/// Wraps the services of a backend.
pub(crate) fn guarded(services: Services, source: Arc<dyn FanoutSource>) -> Services {
    let door = Door { source };
    Services { kv: Arc::new(kv::GuardedKv::new(services.kv, door)) }
}

/// What all guarded services share.
#[derive(Debug, Clone)]
struct Door {
    source: Arc<dyn FanoutSource>,
}

impl Door {
    /// Lets a call that reads through.
    async fn read<T>(
        &self,
        cx: &CallCx,
        call: Call,
        capability: Capability,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        cx.require(capability)?;
        bounded(cx, call, future).await
    }

    /// Lets a call that writes through, with its outbox rows; repeats it while the app changes under it.
    async fn write<'a, T, F>(
        &'a self,
        cx: &'a CallCx,
        call: Call,
        capability: Capability,
        source: EventSource<'a>,
        mut attempt: impl FnMut(CallCx) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        cx.require(capability)?;
        bounded(cx, call, async {
            for _ in 0..ATTEMPTS {
                let fanout = match self.source.fanout(cx.app(), &source) {
                    Some(fanout) => fanout,
                    None => {
                        // Created by another node, perhaps, which this one has not heard of yet.
                        self.source.reload(cx.app()).await?;
                        self.source.fanout(cx.app(), &source).ok_or_else(|| no_such_app(cx.app()))?
                    }
                };
                match attempt(cx.with_fanout(fanout)).await {
                    Err(error) if Fanout::is_stale(&error) => self.source.reload(cx.app()).await?,
                    answer => return answer,
                }
            }
            Err(app_busy(ATTEMPTS))
        })
        .await
    }
}

/// The app changed whenever something was to be written.
pub(crate) fn app_busy(attempts: usize) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "app.busy",
        format!("the app's scripts changed {attempts} times during one change; try again"),
    )
}

pub(crate) fn no_such_app(app: AppId) -> Error {
    Error::not_found("app.not_found", "there is no such app").with("app", app)
}

/// Runs a call until the deadline of its context, and counts it.
async fn bounded<T>(cx: &CallCx, call: Call, future: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = match cx.deadline() {
        // An execution is stopped by its executor, host calls included.
        None => future.await,
        Some(_) if cx.execution().is_some() => future.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), future).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(ErrorKind::Timeout, "timeout", "the deadline of the call passed")),
        },
    };
    (call.count)();
    if let Err(error) = &answer
        && matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable)
    {
        // What went wrong inside is for the operator; a script sees code and message.
        tracing::error!(call = call.name, app = %cx.app(), error = ?error, "a service call failed");
    }
    answer
}
