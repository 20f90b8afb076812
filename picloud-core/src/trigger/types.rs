//! What a trigger is.

use serde::{Deserialize, Serialize};

use super::{CollectionTrigger, CronTrigger, RetryPolicy};
use crate::authz::{Principal, PrincipalKind};
use crate::dead_letters::DeadLetterTrigger;
use crate::docs::DocsOp;
use crate::files::FilesOp;
use crate::kv::KvOp;
use crate::pubsub::PubsubTrigger;
use crate::queue::QueueTrigger;
use crate::route::DispatchMode;
use crate::script::Owner;
use crate::{Error, Result, ScriptId, Timestamp, TriggerId};

/// A trigger as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRecord {
    /// Identifies the trigger.
    pub id: TriggerId,
    /// The script that handles its events.
    pub script: ScriptId,
    /// What it watches.
    pub kind: TriggerKind,
    /// Whether it matches. What waits for a trigger that was disabled meanwhile still runs.
    pub enabled: bool,
    /// Handlers run apart from what caused their event: always [`DispatchMode::Async`].
    pub dispatch_mode: DispatchMode,
    /// When a failed handler runs again.
    pub retry: RetryPolicy,
    /// Who registered it: the handler runs as this principal, with the roles it has at the time.
    pub registered_by: Registrant,
    /// Who made it, and hence who may remove it without being asked to.
    pub owner: Owner,
    /// Since when it watches what it watches.
    pub created_at: Timestamp,
}

impl TriggerRecord {
    /// Checks what no database can: the dispatch mode, the retry policy, a schedule, the
    /// numbers of a queue.
    ///
    /// # Errors
    /// `trigger.invalid_dispatch_mode`, `trigger.invalid_retry`, and those of [`CronTrigger::check`] and
    /// [`QueueTrigger::check`].
    pub fn check(&self) -> Result<()> {
        if self.dispatch_mode != DispatchMode::Async {
            return Err(Error::invalid(
                "trigger.invalid_dispatch_mode",
                "the dispatch_mode of a trigger is async: what causes an event does not wait for its handlers",
            ));
        }
        self.kind.check()?;
        self.retry.check()
    }
}

/// What a trigger watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TriggerKind {
    /// Writes to the KV service.
    Kv(KvTrigger),
    /// Writes to documents.
    Docs(DocsTrigger),
    /// Writes to files.
    Files(FilesTrigger),
    /// Published messages.
    Pubsub(PubsubTrigger),
    /// Times.
    Cron(CronTrigger),
    /// Messages of a queue.
    Queue(QueueTrigger),
    /// Events that are given up.
    DeadLetter(DeadLetterTrigger),
    /// A kind that this version of picloud does not know: stored by a newer one. It matches nothing here, and what
    /// waits for it is left to nodes that know it.
    #[serde(other)]
    Unknown,
}

impl TriggerKind {
    /// Checks what no database can: a schedule, the numbers of a queue.
    ///
    /// # Errors
    /// Those of [`CronTrigger::check`] and [`QueueTrigger::check`].
    pub fn check(&self) -> Result<()> {
        match self {
            TriggerKind::Cron(cron) => cron.check(),
            TriggerKind::Queue(queue) => queue.check(),
            _ => Ok(()),
        }
    }

    /// The word for the kind in storage, records and `ctx.event.kind`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            TriggerKind::Kv(_) => "kv",
            TriggerKind::Docs(_) => "docs",
            TriggerKind::Files(_) => "files",
            TriggerKind::Pubsub(_) => "pubsub",
            TriggerKind::Cron(_) => "cron",
            TriggerKind::Queue(_) => "queue",
            TriggerKind::DeadLetter(_) => "dead_letter",
            TriggerKind::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for TriggerKind {
    /// As a directive spells it: `kv orders:* insert,update`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            TriggerKind::Kv(kv) => write!(f, " {kv}"),
            TriggerKind::Docs(docs) => write!(f, " {docs}"),
            TriggerKind::Files(files) => write!(f, " {files}"),
            TriggerKind::Pubsub(pubsub) => write!(f, " {}", pubsub.topic),
            TriggerKind::Cron(cron) => write!(f, " {cron}"),
            TriggerKind::Queue(queue) => write!(f, " {queue}"),
            TriggerKind::DeadLetter(letters) => write!(f, " {letters}"),
            TriggerKind::Unknown => Ok(()),
        }
    }
}

/// Watches writes to the KV service.
pub type KvTrigger = CollectionTrigger<KvOp>;

/// Watches writes to documents.
pub type DocsTrigger = CollectionTrigger<DocsOp>;

/// Watches writes to files.
pub type FilesTrigger = CollectionTrigger<FilesOp>;

/// Who registered a trigger: enough to look the principal up at each run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registrant {
    /// What kind of principal it is.
    pub kind: PrincipalKind,
    /// Its id.
    pub id: String,
}

impl From<&Principal> for Registrant {
    fn from(principal: &Principal) -> Self {
        Registrant { kind: principal.kind, id: principal.id.clone() }
    }
}

/// Settings of triggers and of async routes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriggerConfig {
    /// What a trigger gets that says nothing about retries, and what async routes have.
    pub retry: RetryPolicy,
    /// How many events may lie between the first cause and a handler. An event past it is not enqueued, but counted and
    /// logged: what fires itself comes to an end. Default: 8.
    pub max_depth: u32,
}

impl Default for TriggerConfig {
    fn default() -> Self {
        TriggerConfig { retry: RetryPolicy::default(), max_depth: 8 }
    }
}

impl TriggerConfig {
    /// The defaults, changed by `PICLOUD_MAX_TRIGGER_DEPTH` and
    /// `PICLOUD_TRIGGER_RETRY_{MAX_ATTEMPTS,BACKOFF,BASE_MS,MAX_MS,JITTER}` (jitter in percent). An invalid value is
    /// warned about by name and skipped.
    pub fn from_env() -> Self {
        use crate::env::{parsed, positive};
        const MILLISECONDS: &str = "a whole number of milliseconds";
        let mut config = TriggerConfig::default();
        let mut retry = config.retry;
        if let Some(depth) = positive("PICLOUD_MAX_TRIGGER_DEPTH") {
            config.max_depth = depth;
        }
        if let Some(attempts) = positive("PICLOUD_TRIGGER_RETRY_MAX_ATTEMPTS") {
            retry.max_attempts = attempts;
        }
        if let Some(backoff) = parsed("PICLOUD_TRIGGER_RETRY_BACKOFF", "exponential, linear or constant") {
            retry.backoff = backoff;
        }
        if let Some(base) = parsed("PICLOUD_TRIGGER_RETRY_BASE_MS", MILLISECONDS) {
            retry.base_ms = base;
        }
        if let Some(max) = parsed("PICLOUD_TRIGGER_RETRY_MAX_MS", MILLISECONDS) {
            retry.max_ms = max;
        }
        if let Some(jitter) = parsed("PICLOUD_TRIGGER_RETRY_JITTER", "a percentage from 0 to 100") {
            retry.jitter_percent = jitter;
        }
        match retry.check() {
            Ok(()) => config.retry = retry,
            Err(error) => tracing::warn!(%error, "PICLOUD_TRIGGER_RETRY_… ignored: they do not go together"),
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_newer_version_is_read_as_unknown() {
        let kind: TriggerKind = serde_json::from_str(r#"{"kind":"comet","tail":3}"#).unwrap();
        assert_eq!(kind, TriggerKind::Unknown);
    }

    #[test]
    fn a_kind_reads_back_as_it_was_written() {
        let kind = TriggerKind::Kv(KvTrigger {
            collection: "orders:*".parse().unwrap(),
            ops: vec![KvOp::Insert, KvOp::Delete],
        });
        let text = serde_json::to_string(&kind).unwrap();
        assert_eq!(text, r#"{"kind":"kv","collection":"orders:*","ops":["insert","delete"]}"#);
        assert_eq!(serde_json::from_str::<TriggerKind>(&text).unwrap(), kind);
        assert_eq!(kind.to_string(), "kv orders:* insert,delete");
    }
}
