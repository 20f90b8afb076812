//! The door: every service, as scripts and hosts reach it, behind the checks that no backend has to repeat.
//!
//! Here a call is checked against the capability it needs, its deadline and the limits on what it brings, and a
//! write is given the outbox rows that it must commit. A backend sees only what passed.

mod docs;
mod files;
mod http;
mod kv;
mod pubsub;
mod queue;
mod secrets;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use crate::authz::Capability;
use crate::execution::{
    ExecutionLog, ExecutionRecord, ExecutionStatus, Failure, FailureClass, Invocation, InvocationType,
    Outcome,
};
use crate::log::{LogLevel, LogLine};
use crate::metric::{self, Call};
use crate::outbox::{EventSource, Fanout};
use crate::pubsub::Broadcast;
use crate::script::ScriptRecord;
use crate::services::Services;
use crate::{AppId, CallCx, Error, ErrorKind, Result, ScriptId};

/// Matches triggers: which outbox rows must a write take along?
#[async_trait]
pub(crate) trait FanoutSource: Debug + Send + Sync + 'static {
    /// The rows for a write, from the snapshot that this node has; `None` when it knows no such app.
    fn fanout(&self, app: AppId, source: &EventSource<'_>) -> Option<Arc<Fanout>>;

    /// Reads the app again.
    async fn reload(&self, app: AppId) -> Result<()>;

    /// A script, from the snapshot that this node has.
    fn script(&self, app: AppId, script: ScriptId) -> Option<Arc<ScriptRecord>>;
}

/// How often a change is repeated because the app changed meanwhile. Each time somebody deployed between a read of
/// the snapshot and the write that followed it at once, so more than one or two repetitions are a sign of trouble.
pub(crate) const ATTEMPTS: usize = 8;

/// Wraps the services of a backend, or of a transaction.
pub(crate) fn guarded(services: Services, door: &Door) -> Services {
    let mut guarded = Services::new(
        Arc::new(kv::GuardedKv::new(services.kv, door.clone())),
        Arc::new(docs::GuardedDocs::new(services.docs, door.clone())),
        Arc::new(files::GuardedFiles::new(services.files, door.clone())),
        Arc::new(pubsub::GuardedPubsub::new(services.pubsub, door.clone())),
        Arc::new(queue::GuardedQueue::new(services.queue, door.clone())),
    );
    guarded.http = Arc::new(http::GuardedHttp::new(services.http));
    guarded.secrets = Arc::new(secrets::GuardedSecrets::new(services.secrets, door.clone()));
    guarded
}

/// Wraps what carries messages that are not stored. It takes part in no transaction.
pub(crate) fn guarded_broadcast(broadcast: Arc<dyn Broadcast>) -> Arc<dyn Broadcast> {
    Arc::new(pubsub::GuardedBroadcast::new(broadcast))
}

/// What all guarded services share.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) source: Arc<dyn FanoutSource>,
    /// How many events may lie between the first cause and a handler.
    pub(crate) max_depth: u32,
    pub(crate) log: ExecutionLog,
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
                // An event too deep is not enqueued: what fires itself comes to an end.
                let cut = cx.trigger_depth() >= self.max_depth && !fanout.rows.is_empty();
                let taken = if cut {
                    Arc::new(Fanout { revision: fanout.revision, rows: Vec::new() })
                } else {
                    fanout.clone()
                };
                match attempt(cx.with_fanout(taken)).await {
                    Err(error) if Fanout::is_stale(&error) => self.source.reload(cx.app()).await?,
                    Ok(answer) if cut => {
                        self.tell_of_loop(cx, call, &fanout);
                        return Ok(answer);
                    }
                    answer => return answer,
                }
            }
            Err(app_busy(ATTEMPTS))
        })
        .await
    }
}

impl Door {
    /// Says, to operator and script author, that handlers were not run: in the log of the script that wrote, and as a
    /// record of each script that would have handled the event.
    fn tell_of_loop(&self, cx: &CallCx, call: Call, fanout: &Fanout) {
        let depth = cx.trigger_depth().saturating_add(1);
        let text = format!(
            "not run: {depth} events lie between the first cause and this one, more than max_depth: {} (PICLOUD_MAX_TRIGGER_DEPTH)",
            self.max_depth
        );
        let script = cx.script().map(|(_, name)| name);
        tracing::warn!(app = %cx.app(), script, trace = %cx.trace(), call = call.name, depth, "an event loop was cut");
        let now = cx.clock().now();
        if let Some(log) = cx.log() {
            let message = format!("the handlers of this {} were {text}", call.name);
            log.push(LogLine { at: now, level: LogLevel::Warn, message, data: None });
        }
        let mut told = Vec::new();
        for row in &fanout.rows {
            if told.contains(&row.trigger) {
                continue;
            }
            told.push(row.trigger);
            metric::count!("picloud_outbox_loops_total");
            let Some(script) = self.source.script(cx.app(), row.script) else { continue };
            let mut invocation = Invocation::new(cx.app(), script);
            invocation.invocation_type = InvocationType::Trigger;
            invocation.request_id = cx.request();
            invocation.trace = cx.trace();
            invocation.parent = cx.execution();
            invocation.trigger_depth = depth;
            let failure = Failure::new(FailureClass::Cancelled, text.clone());
            let outcome = Outcome::refused(invocation.execution, failure);
            let mut record = ExecutionRecord::new(&invocation, &outcome, now);
            record.status = ExecutionStatus::Loop;
            record.class = None;
            record.trigger = Some(row.trigger);
            self.log.record(vec![record]);
        }
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

/// Runs a call until the deadline of its context, counts it, and tells the operator what went wrong inside.
pub(crate) async fn bounded<T>(
    cx: &CallCx,
    call: Call,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    told(cx, call, in_time(cx, call, future).await)
}

/// Runs a call until the deadline of its context, and counts it.
async fn in_time<T>(cx: &CallCx, call: Call, future: impl Future<Output = Result<T>>) -> Result<T> {
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
    answer
}

/// Runs a call that does not wait, counts it, and tells the operator what went wrong inside.
fn at_once<T>(cx: &CallCx, call: Call, answer: impl FnOnce() -> Result<T>) -> Result<T> {
    let answer = answer();
    (call.count)();
    told(cx, call, answer)
}

fn told<T>(cx: &CallCx, call: Call, answer: Result<T>) -> Result<T> {
    if let Err(error) = &answer
        && matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable)
        // A script that publishes too fast is no failure of ours, and could say so a hundred thousand times.
        && error.code() != "pubsub.overloaded"
    {
        // What went wrong inside is for the operator; a script sees code and message.
        tracing::error!(call = call.name, app = %cx.app(), error = %error.with_causes(), "a service call failed");
    }
    answer
}
