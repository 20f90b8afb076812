//! The record that is kept of every execution, and where records go.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use serde::{Deserialize, Serialize};

use super::{FailureClass, InvocationType, Outcome, Position};
use crate::log::LogLines;
use crate::page::{Cursor, ListId, Page, clamp_page_size};
use crate::{AppId, EventId, ExecutionId, RequestId, Result, ScriptId, Timestamp, TraceId, TriggerId};

/// What an execution came to, as it is filtered and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

impl ExecutionStatus {
    /// The word for it in storage and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            ExecutionStatus::Success => "success",
            ExecutionStatus::Error => "error",
            ExecutionStatus::Timeout => "timeout",
            ExecutionStatus::BudgetExceeded => "budget_exceeded",
            ExecutionStatus::Overloaded => "overloaded",
            ExecutionStatus::Cancelled => "cancelled",
            ExecutionStatus::Loop => "loop",
        }
    }
}

/// The request, as far as a record keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// The method.
    #[serde(serialize_with = "method_as_text", deserialize_with = "method_from_text")]
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

fn method_from_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Method, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// The response, as far as a record keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResponseSummary {
    /// The status.
    pub status: u16,
    /// Length of the body in bytes; of the whole file where a file takes its place.
    pub body_bytes: u64,
}

/// One run of a script, whatever it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The trigger whose event was handled.
    pub trigger: Option<TriggerId>,
    /// The event that was handled.
    pub event: Option<EventId>,
    /// Which attempt at the event it was, from 1.
    pub attempt: Option<u32>,
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
            trigger: invocation.event.as_ref().and_then(|event| event.trigger),
            event: invocation.event.as_ref().map(|event| event.id),
            attempt: invocation.event.as_ref().map(|event| event.attempt),
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

/// The execution log of a backend: records are written in batches and read in pages.
///
/// # Contract
///
/// - A batch is stored whole or not at all; a record reads back as it was written, times in microseconds.
/// - Writing a record whose id is stored already changes nothing and is no error: a batch may be repeated.
/// - A page has at most [`MAX_EXECUTIONS_PAGE`] records of one app, the newest first by start and then by id. Records of
///   other apps are as if they did not exist.
/// - A cursor is only valid for the list that made it: same app, same script, same status.
/// - A backend may forget the oldest records.
#[async_trait]
pub trait ExecutionStore: ExecutionLogSink {
    /// A page of records.
    ///
    /// # Errors
    /// `executions.invalid_cursor`.
    async fn list(&self, app: AppId, options: &ExecutionListOptions) -> Result<Page<ExecutionRecord>>;

    /// One record; `None` when the app has none of that id.
    async fn get(&self, app: AppId, id: ExecutionId) -> Result<Option<ExecutionRecord>>;

    /// Forgets records of any app whose run began before then, at most `limit`; answers how many.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize>;
}

/// Most records on a page.
pub const MAX_EXECUTIONS_PAGE: usize = 200;

/// Which records to list. The default is the first page of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutionListOptions {
    /// Only those of this script.
    pub script: Option<ScriptId>,
    /// Only those with this status.
    pub status: Option<ExecutionStatus>,
    /// Where to go on, from the page before.
    pub cursor: Option<Cursor>,
    /// Records on a page; clamped to 1 ..= 200, 100 when `None`.
    pub limit: Option<usize>,
}

impl ExecutionListOptions {
    /// The page size in force.
    pub fn page_size(&self) -> usize {
        clamp_page_size(self.limit).min(MAX_EXECUTIONS_PAGE)
    }

    /// The cursor of the page that follows `last`, in this list of an app's records. For backends.
    pub fn cursor_after(&self, app: AppId, last: &ExecutionRecord) -> Cursor {
        self.list(app).cursor_at(last.started_at, last.id.as_uuid())
    }

    /// Where to go on: after the record that started then (to the microsecond) and has this id; `None` at the beginning.
    /// For backends.
    ///
    /// # Errors
    /// `executions.invalid_cursor` when this list of this app did not make the cursor.
    pub fn place(&self, app: AppId) -> Result<Option<(Timestamp, ExecutionId)>> {
        let place = self.list(app).place_of(self.cursor.as_ref(), "executions.invalid_cursor")?;
        Ok(place.map(|(at, id)| (at, ExecutionId::from_uuid(id))))
    }

    fn list(&self, app: AppId) -> ListId {
        let script = self.script.map(|script| script.to_string()).unwrap_or_default();
        let status = self.status.map_or("", ExecutionStatus::as_str);
        ListId::new(["executions", &app.to_string(), &script, status])
    }
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
