//! Triggers: which script handles an event.
//!
//! A trigger is stored as a [`TriggerRecord`]: a common part, and a detail for its kind. Core matches triggers, once for
//! all backends: it keeps each app's triggers as a table, and the write that causes an event takes the
//! [rows](crate::outbox::Fanout) of what matched along.
//!
//! Lacks `suite`: its storage is part of the [catalog](crate::catalog).

mod collection;
mod cron;
mod glob;
mod retry;
mod table;
mod types;

pub use collection::{CollectionOp, CollectionTrigger};
#[cfg(feature = "cron")]
pub(crate) use cron::Schedule;
pub use cron::{CronTrigger, Missed};
pub use glob::CollectionGlob;
pub use retry::{Backoff, RetryPolicy};
pub(crate) use table::TriggerTable;
pub use types::{
    DocsTrigger, FilesTrigger, KvTrigger, Registrant, TriggerConfig, TriggerKind, TriggerRecord,
};

/// Most triggers that a deployment leaves an app with, schedules aside: one event may match all of them. What a host makes
/// with [`App::create_trigger`](crate::App::create_trigger) counts, and is not refused.
pub const MAX_TRIGGERS: usize = 1_000;

/// Most schedules that a deployment leaves an app with, counted likewise.
pub const MAX_SCHEDULES: usize = 10_000;
