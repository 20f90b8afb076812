//! The sweeper: forgets what was kept for long enough.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::control::unless_ended;
use crate::execution::ExecutionStore;
#[cfg(feature = "files")]
use crate::files::{self, BlobStore, FilesService};
use crate::outbox::Outbox;
use crate::{Clock, Result, Timestamp, env, jittered};

/// For how long things are kept that nobody removes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionConfig {
    /// Dead letters, open or not, from when they were given up. `None`: for ever. Default: 30 days.
    pub dead_letters: Option<Duration>,
    /// Execution records, in the log of the backend, from when the run began. `None`: for ever. Default: 30 days.
    pub executions: Option<Duration>,
    /// How often to look, give or take a quarter; first a minute after start. Default: 1 h.
    pub every: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for RetentionConfig {
    fn default() -> Self {
        RetentionConfig {
            dead_letters: Some(DAY * 30),
            executions: Some(DAY * 30),
            every: Duration::from_secs(3_600),
        }
    }
}

impl RetentionConfig {
    /// The defaults, changed by `PICLOUD_DEAD_LETTER_RETENTION_DAYS` and `PICLOUD_EXECUTION_RETENTION_DAYS`; 0 stands for
    /// ever. An invalid value is warned about by name and skipped.
    pub fn from_env() -> Self {
        let mut config = RetentionConfig::default();
        let days = |name| {
            env::parsed::<u32>(name, "a whole number of days").map(|days| (days > 0).then(|| DAY * days))
        };
        if let Some(days) = days("PICLOUD_DEAD_LETTER_RETENTION_DAYS") {
            config.dead_letters = days;
        }
        if let Some(days) = days("PICLOUD_EXECUTION_RETENTION_DAYS") {
            config.executions = days;
        }
        config
    }
}

/// Most that are forgotten at once: a longer statement would hold others up.
const BATCH: usize = 5_000;

/// When to look for the first time: not while a node starts.
const FIRST: Duration = Duration::from_secs(60);

/// Forgets, now and then, until the end.
pub(super) async fn sweep(
    outbox: Arc<dyn Outbox>,
    executions: Arc<dyn ExecutionStore>,
    clock: Arc<dyn Clock>,
    config: RetentionConfig,
    mut ending: watch::Receiver<bool>,
) {
    let mut wait = FIRST.min(config.every);
    while unless_ended(&mut ending, clock.sleep(jittered(wait))).await.is_some() {
        wait = config.every;
        let now = clock.now();
        if let Err(error) = swept(&*outbox, &*executions, now, &config).await {
            tracing::warn!(%error, "what was kept for long enough could not be forgotten; the next time will do");
        }
    }
}

/// Removes the bytes that no file refers to, now and then, until the end. Beside [`sweep`], since a disk may be slow.
#[cfg(feature = "files")]
pub(super) async fn sweep_files(
    records: Arc<dyn FilesService>,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    (older_than, every): (Duration, Duration),
    mut ending: watch::Receiver<bool>,
) {
    let mut wait = FIRST.min(every);
    while unless_ended(&mut ending, clock.sleep(jittered(wait))).await.is_some() {
        wait = every;
        match files::sweep(&*records, &*blobs, older_than).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "bytes that no file refers to were removed"),
            Err(error) => {
                tracing::warn!(%error, "bytes that no file refers to are left; the next time will do")
            }
        }
    }
}

async fn swept(
    outbox: &dyn Outbox,
    executions: &dyn ExecutionStore,
    now: Timestamp,
    config: &RetentionConfig,
) -> Result<()> {
    let before = |kept: Option<Duration>| kept.and_then(|kept| now.checked_sub(kept).ok());
    if let Some(before) = before(config.dead_letters) {
        while outbox.forget_dead_letters(before, BATCH).await? >= BATCH {}
    }
    if let Some(before) = before(config.executions) {
        while executions.forget(before, BATCH).await? >= BATCH {}
    }
    Ok(())
}
