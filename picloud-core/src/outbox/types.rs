//! Rows of the outbox, and what becomes of them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FanoutRow;
use crate::ids::id;
use crate::page::{Cursor, ListId};
use crate::{
    AppId, CallCx, Error, ErrorKind, EventId, ExecutionId, Json, RequestId, Result, ScriptId, Timestamp,
    TraceId, TriggerId,
};

id!(
    /// Identifies a worker: one process at one run.
    WorkerId, "worker"
);

/// What kind of event a row carries: which map of `ctx.event` its payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A write to the KV service; the payload is a [`KvEvent`](crate::kv::KvEvent).
    Kv,
    /// A write to a document; the payload is a [`DocsEvent`](crate::docs::DocsEvent).
    Docs,
    /// A write to a file; the payload is a [`FilesEvent`](crate::files::FilesEvent).
    Files,
    /// A published message; the payload is a [`PubsubEvent`](crate::pubsub::PubsubEvent).
    Pubsub,
    /// A scheduled time; the payload is `schedule`, `timezone`, `scheduled_for` and `fired_at`.
    Cron,
    /// A message of a queue; the payload is a [`QueueEvent`](crate::queue::QueueEvent).
    Queue,
    /// An event that was given up; the payload is a [`DeadLetterEvent`](crate::dead_letters::DeadLetterEvent).
    DeadLetter,
    /// A request to an async route.
    Http,
    /// A kind that this version does not know: written by a newer one, and left to nodes that know it.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// The word for it in storage and in `ctx.event.kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Kv => "kv",
            EventKind::Docs => "docs",
            EventKind::Files => "files",
            EventKind::Pubsub => "pubsub",
            EventKind::Cron => "cron",
            EventKind::Queue => "queue",
            EventKind::DeadLetter => "dead_letter",
            EventKind::Http => "http",
            EventKind::Unknown => "unknown",
        }
    }

    /// The kind that a stored word stands for.
    pub fn from_word(word: &str) -> Self {
        match word {
            "kv" => EventKind::Kv,
            "docs" => EventKind::Docs,
            "files" => EventKind::Files,
            "pubsub" => EventKind::Pubsub,
            "cron" => EventKind::Cron,
            "queue" => EventKind::Queue,
            "dead_letter" => EventKind::DeadLetter,
            "http" => EventKind::Http,
            _ => EventKind::Unknown,
        }
    }
}

/// An event on its way to one script.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Stable across attempts, so that handlers can deduplicate.
    pub id: EventId,
    /// The app.
    pub app: AppId,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The trigger that matched; `None` for an async request.
    pub trigger: Option<TriggerId>,
    /// The script to run.
    pub script: ScriptId,
    /// What happened, as the kind says.
    pub payload: Json,
    /// How many events lie between the first cause and the handler, this one included.
    pub trigger_depth: u32,
    /// The trace of what caused it.
    pub trace: TraceId,
    /// The request that started it all.
    pub request: RequestId,
    /// The execution that caused it; `None` when the host or a request did.
    pub parent: Option<ExecutionId>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

impl OutboxRow {
    /// The row that a write by `cx` stores for a trigger that matched it. A backend that makes its rows elsewhere, in a
    /// database say, fills them in the same way.
    pub fn of(cx: &CallCx, kind: EventKind, row: &FanoutRow, payload: Json, now: Timestamp) -> Self {
        OutboxRow {
            id: EventId::new(),
            app: cx.app(),
            kind,
            trigger: Some(row.trigger),
            script: row.script,
            payload,
            trigger_depth: cx.trigger_depth().saturating_add(1),
            trace: cx.trace(),
            request: cx.request(),
            parent: cx.execution(),
            occurred_at: now,
        }
    }
}

/// A row that is with a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The row.
    pub row: OutboxRow,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The fencing token: a number that this row never had before.
    pub claim: u64,
    /// The row was a dead letter before: its first attempt is not the first run of the event.
    pub replayed: bool,
}

/// Whose rows a [claim](super::Outbox::claim_except) leaves where they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Except {
    /// All rows of these apps.
    pub apps: Vec<AppId>,
    /// All rows of these scripts.
    pub scripts: Vec<ScriptId>,
}

/// What [`Outbox::promote`](super::Outbox::promote) came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promoted {
    /// So many messages are due now.
    pub count: usize,
    /// After how long there may be more to do without anything new: the next delay is over then, or there was more than one
    /// call does. `None`: nothing is known to wait for its time.
    pub again: Option<Duration>,
    /// Not everything that may have become due was looked at: the next call goes on.
    pub more: bool,
}

/// What a worker says of a row that it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The row.
    pub id: EventId,
    /// The claim under which the worker has it.
    pub claim: u64,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Handled: the row is removed.
    Done,
    /// The attempt failed: the row is due again after a while.
    Retry {
        /// How long from now.
        after: Duration,
    },
    /// The attempt did not begin, and is given back: the row is due again after a while.
    Release {
        /// How long from now.
        after: Duration,
    },
    /// Given up: the row becomes a dead letter.
    Dead {
        /// Why.
        reason: DeadLetterReason,
        /// The last failure, for people.
        error: String,
        /// The events of this for triggers that watch dead letters, due at once. Stored with the letter, and not without it.
        handlers: Vec<OutboxRow>,
    },
    /// The handler of a dead letter failed: the row is removed, and its letter, if it is still open, is
    /// [`Resolution::HandlerFailed`].
    HandlerFailed {
        /// The letter, of the app of the row.
        letter: EventId,
    },
    /// Nobody wants it any more, since its trigger or script is gone: the row is removed.
    Drop,
}

impl Verdict {
    /// The events that are stored along.
    pub fn handlers(&self) -> &[OutboxRow] {
        match self {
            Verdict::Dead { handlers, .. } => handlers,
            _ => &[],
        }
    }
}

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The handler failed as often as it may.
    Failed,
    /// The process died while the handler ran, as often as it may.
    Crash,
    /// Whoever registered the trigger is gone or has no role in the app any more.
    RegistrantInvalid,
}

impl DeadLetterReason {
    /// The word for it in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadLetterReason::Failed => "failed",
            DeadLetterReason::Crash => "crash",
            DeadLetterReason::RegistrantInvalid => "registrant_invalid",
        }
    }

    /// The reason that a stored word stands for; `None` for a word that this version does not know.
    pub fn from_word(word: &str) -> Option<Self> {
        [DeadLetterReason::Failed, DeadLetterReason::Crash, DeadLetterReason::RegistrantInvalid]
            .into_iter()
            .find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event that was given up, with all that is needed to look into it and to try it again.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The event as it was; its id is that of the letter.
    pub row: OutboxRow,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: DeadLetterReason,
    /// The last failure, for people.
    pub error: String,
    /// When it was given up.
    pub died_at: Timestamp,
    /// What became of it; `None` while it is open.
    pub resolution: Option<Resolution>,
    /// Since when it is no longer open.
    pub resolved_at: Option<Timestamp>,
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resolution {
    /// Its event was sent again.
    Replayed,
    /// Nothing is to be done.
    Ignored,
    /// A script did what was to be done.
    HandledByScript,
    /// A script that handles dead letters failed.
    HandlerFailed,
}

impl Resolution {
    const ALL: [Self; 4] =
        [Resolution::Replayed, Resolution::Ignored, Resolution::HandledByScript, Resolution::HandlerFailed];

    /// The word for it in storage and for scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Resolution::Replayed => "replayed",
            Resolution::Ignored => "ignored",
            Resolution::HandledByScript => "handled_by_script",
            Resolution::HandlerFailed => "handler_failed",
        }
    }

    /// The resolution that a stored word stands for; `None` for a word that this version does not know.
    pub fn from_word(word: &str) -> Option<Self> {
        Resolution::ALL.into_iter().find(|resolution| resolution.as_str() == word)
    }
}

/// Which dead letters to list. The default is the first page of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DeadLetterListOptions {
    /// Only those that are open.
    pub unresolved: bool,
    /// Where to go on, from the page before.
    pub cursor: Option<Cursor>,
    /// Letters on a page; clamped to 1 ..= 1 000, 100 when `None`.
    pub limit: Option<usize>,
}

impl DeadLetterListOptions {
    /// The cursor of the page that follows `last`, in this list of an app's letters. For backends.
    pub fn cursor_after(&self, app: AppId, last: &DeadLetter) -> Cursor {
        self.list(app).cursor_at(last.died_at, last.row.id.as_uuid())
    }

    /// Where to go on: after the letter of then (to the microsecond) with this id; `None` at the beginning. For backends.
    ///
    /// # Errors
    /// `dead_letters.invalid_cursor` when this list of this app did not make the cursor.
    pub fn place(&self, app: AppId) -> Result<Option<(Timestamp, EventId)>> {
        let place = self.list(app).place_of(self.cursor.as_ref(), "dead_letters.invalid_cursor")?;
        Ok(place.map(|(at, id)| (at, EventId::from_uuid(id))))
    }

    fn list(&self, app: AppId) -> ListId {
        let which = if self.unresolved { "unresolved" } else { "all" };
        ListId::new(["dead_letters", &app.to_string(), which])
    }
}

/// The errors of dead letters, with their stable codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// `dead_letters.not_found`: the app has none of that id.
    #[error("there is no such dead letter")]
    NotFound,
    /// `dead_letters.already_resolved`: it is not open any more.
    #[error("the dead letter was resolved before")]
    AlreadyResolved,
    /// `dead_letters.target_gone`: the trigger or script is gone that would get the event.
    #[error("the trigger or the script that the event was for is gone")]
    TargetGone,
}

impl From<DeadLetterError> for Error {
    fn from(error: DeadLetterError) -> Self {
        use ErrorKind::{Conflict, NotFound};
        let (kind, code) = match error {
            DeadLetterError::NotFound => (NotFound, "dead_letters.not_found"),
            DeadLetterError::AlreadyResolved => (Conflict, "dead_letters.already_resolved"),
            DeadLetterError::TargetGone => (Conflict, "dead_letters.target_gone"),
        };
        Error::new(kind, code, error.to_string())
    }
}

impl DeadLetter {
    /// The same, no longer open.
    #[must_use]
    pub fn resolved(mut self, resolution: Resolution, at: Timestamp) -> Self {
        (self.resolution, self.resolved_at) = (Some(resolution), Some(at));
        self
    }

    /// The letter of an event.
    pub fn new(
        row: OutboxRow,
        attempts: u32,
        reason: DeadLetterReason,
        error: impl Into<String>,
        died_at: Timestamp,
    ) -> Self {
        let error = error.into();
        DeadLetter { row, attempts, reason, error, died_at, resolution: None, resolved_at: None }
    }
}
