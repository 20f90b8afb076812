//! The record that is kept of every execution, and where records go.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use serde::Serialize;

use super::{FailureClass, InvocationType, Outcome, Position};
use crate::log::LogLines;
use crate::{AppId, ExecutionId, RequestId, Result, ScriptId, Timestamp, TraceId};

/// What an execution came to, as it is filtered and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExecutionStatus {
    /// The script answered.
    Success,
    /// It failed: classes compile, runtime and internal.
    Error,
    /// The deadline passed.
    Timeout,
    /// A limit was reached.
    BudgetExceeded,
    /// There was no room to start.
    Overloaded,
    /// The caller went away, or the host shut down.
    Cancelled,
    /// An event loop was cut.
    Loop,
}

impl From<Option<FailureClass>> for ExecutionStatus {
    fn from(class: Option<FailureClass>) -> Self {
        match class {
            None => ExecutionStatus::Success,
            Some(FailureClass::Compile | FailureClass::Runtime | FailureClass::Internal) => {
                ExecutionStatus::Error
            }
            Some(FailureClass::Budget) => ExecutionStatus::BudgetExceeded,
            Some(FailureClass::Timeout) => ExecutionStatus::Timeout,
            Some(FailureClass::Overloaded) => ExecutionStatus::Overloaded,
            Some(FailureClass::Cancelled) => ExecutionStatus::Cancelled,
        }
    }
}

/// The request, as far as a record keeps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestSummary {
    /// The method.
    #[serde(serialize_with = "method_as_text")]
    pub method: Method,
    /// The host.
    pub host: String,
    /// The path, below the mount point.
    pub path: String,
    /// Length of the body in bytes.
    pub body_bytes: u64,
}

fn method_as_text<S: serde::Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}

/// The response, as far as a record keeps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResponseSummary {
    /// The status.
    pub status: u16,
    /// Length of the body in bytes.
    pub body_bytes: u64,
}

/// One run of a script, whatever it came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExecutionRecord {
    /// The run.
    pub id: ExecutionId,
    /// The app.
    pub app: AppId,
    /// The script.
    pub script: ScriptId,
    /// Its name at the time.
    pub script_name: Arc<str>,
    /// The version that ran.
    pub script_version: u64,
    /// What caused the run.
    pub invocation_type: InvocationType,
    /// The request that started it all.
    pub request_id: RequestId,
    /// The trace that the run is part of.
    pub trace: TraceId,
    /// The execution that caused this one.
    pub parent: Option<ExecutionId>,
    /// How many events lie between the first cause and this run.
    pub trigger_depth: u32,
    /// What it came to.
    pub status: ExecutionStatus,
    /// The class of the failure.
    pub class: Option<FailureClass>,
    /// The message of the failure.
    pub error: Option<String>,
    /// Where in the source it failed.
    pub position: Option<Position>,
    /// The request.
    pub request: Option<RequestSummary>,
    /// The response.
    pub response: Option<ResponseSummary>,
    /// What the script logged.
    pub log: LogLines,
    /// When the run started.
    pub started_at: Timestamp,
    /// Wall-clock time in microseconds, waiting included.
    pub duration_us: u64,
    /// Operations used.
    pub operations: u64,
}

impl ExecutionRecord {
    /// The record of `outcome`. `request` and `response` are filled in by whoever knows them.
    pub fn new(invocation: &super::Invocation, outcome: &Outcome, started_at: Timestamp) -> Self {
        let failure = outcome.result.as_ref().err();
        ExecutionRecord {
            id: outcome.execution,
            app: invocation.app,
            script: invocation.script.id,
            script_name: invocation.script.name.to_shared(),
            script_version: invocation.script.version,
            invocation_type: invocation.invocation_type,
            request_id: invocation.request_id,
            trace: invocation.trace,
            parent: invocation.parent,
            trigger_depth: invocation.trigger_depth,
            status: failure.map(|failure| failure.class).into(),
            class: failure.map(|failure| failure.class),
            error: failure.map(|failure| failure.message.clone()),
            position: failure.and_then(|failure| failure.position),
            request: None,
            response: None,
            log: outcome.log.clone(),
            started_at,
            duration_us: u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX),
            operations: outcome.operations,
        }
    }

    /// About how many bytes of memory the record takes: what bounds whoever keeps many.
    pub fn weight(&self) -> usize {
        let texts = [self.error.as_deref(), self.request.as_ref().map(|request| request.path.as_str())];
        let lines = self.log.lines.iter().map(|line| {
            size_of_val(line) + line.message.len() + line.data.as_ref().map_or(0, crate::Json::len)
        });
        size_of_val(self) + texts.into_iter().flatten().map(str::len).sum::<usize>() + lines.sum::<usize>()
    }
}

/// Where execution records go.
///
/// Called from one task with batches, in the order in which executions ended. A failing sink is warned about
/// and never changes what a caller gets; its batch is lost and counted.
#[async_trait]
pub trait ExecutionLogSink: Debug + Send + Sync + 'static {
    /// Stores a batch.
    async fn write(&self, records: Vec<ExecutionRecord>) -> Result<()>;
}

/// Forgets every record, but for what [`tracing`] subscribers see of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingSink;

#[async_trait]
impl ExecutionLogSink for TracingSink {
    async fn write(&self, records: Vec<ExecutionRecord>) -> Result<()> {
        for record in records {
            tracing::info!(
                app = %record.app, script = %record.script_name, execution = %record.id,
                status = ?record.status, duration_us = record.duration_us, error = record.error,
                "execution"
            );
        }
        Ok(())
    }
}
