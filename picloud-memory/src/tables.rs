//! What the services share: one lock, so that a write and its events are one commit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use picloud_core::outbox::{Fanout, FanoutRow};
use picloud_core::{AppId, CallCx, Json, Result};
use tokio::sync::watch;

use crate::catalog::App;
use crate::kv::Collections;

#[derive(Debug)]
pub(crate) struct Shared {
    tables: Mutex<Tables>,
    pub(crate) changes: watch::Sender<u64>,
}

/// Every table is keyed by app first: no read or write can stray into another app.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) kv: Collections,
    pub(crate) outbox: BTreeMap<AppId, Vec<(FanoutRow, Json)>>,
}

impl Default for Shared {
    fn default() -> Self {
        Shared { tables: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Shared {
    /// The tables. Nothing awaits while it holds them, and nothing is left half done by a panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Refuses a write whose outbox rows were computed from another state of the app than the present one.
    pub(crate) fn check_revision(&self, cx: &CallCx) -> Result<()> {
        let computed_from = cx.fanout().and_then(|fanout| fanout.revision);
        match computed_from {
            Some(revision) if self.apps.get(&cx.app()).is_none_or(|app| app.revision != revision) => {
                Err(Fanout::stale())
            }
            _ => Ok(()),
        }
    }

    /// Adds the outbox rows for `op`. The payload is computed only if there are any.
    pub(crate) fn emit(
        &mut self,
        cx: &CallCx,
        op: &'static str,
        payload: impl FnOnce() -> Result<Json>,
    ) -> Result<()> {
        let Some(fanout) = cx.fanout().filter(|fanout| fanout.revision.is_some()) else { return Ok(()) };
        let mut rows = fanout.rows.iter().filter(|row| row.op == op).peekable();
        if rows.peek().is_some() {
            let payload = payload()?;
            let outbox = self.outbox.entry(cx.app()).or_default();
            outbox.extend(rows.map(|row| (row.clone(), payload.clone())));
        }
        Ok(())
    }
}
