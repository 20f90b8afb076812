//! What the services share: one lock, so that a write and its events are one commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use picloud_core::outbox::{EventKind, Fanout, OutboxRow};
use picloud_core::secrets::{SealedSecret, SecretName};
use picloud_core::{AppId, CallCx, Clock, Json, Result};
use tokio::sync::watch;

use crate::catalog::App;
use crate::outbox::Rows;
use crate::place::Data;

#[derive(Debug)]
pub(crate) struct Shared {
    tables: Mutex<Tables>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Changes with the catalog.
    pub(crate) changes: watch::Sender<u64>,
    /// Changes when rows are stored or put back.
    pub(crate) notices: watch::Sender<u64>,
    /// Changes when a transaction ends.
    ended: watch::Sender<u64>,
}

/// Every table is keyed by app first, but for the outbox, which workers see whole.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) data: Data,
    pub(crate) outbox: Rows,
    pub(crate) secrets: BTreeMap<(AppId, SecretName), SealedSecret>,
    /// The transaction that writes wait for.
    open: Option<Open>,
    transactions: u64,
}

/// An open transaction: nobody else writes to services meanwhile, so that its copy of them can take their place.
#[derive(Debug)]
struct Open {
    number: u64,
    until: Instant,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Shared {
            tables: Mutex::default(),
            clock,
            changes: watch::Sender::new(0),
            notices: watch::Sender::new(0),
            ended: watch::Sender::new(0),
        }
    }

    /// The tables. Nothing awaits while it holds them, and nothing is left half done by a panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, when no transaction is open, or the one that was has had its time.
    pub(crate) async fn lock_to_write(&self) -> MutexGuard<'_, Tables> {
        loop {
            let mut ended = self.ended.subscribe();
            let until = {
                let mut tables = self.lock();
                match &tables.open {
                    Some(open) if Instant::now() < open.until => open.until,
                    _ => {
                        tables.open = None;
                        return tables;
                    }
                }
            };
            // Either way: look again.
            let _ = tokio::time::timeout_at(until.into(), ended.changed()).await;
        }
    }

    /// Opens a transaction, after the one before.
    pub(crate) async fn begin(&self, until: Instant) -> (u64, Data) {
        let mut tables = self.lock_to_write().await;
        tables.transactions += 1;
        let number = tables.transactions;
        tables.open = Some(Open { number, until });
        (number, tables.data.clone())
    }

    /// Ends a transaction: `take` gets the tables if it was still open.
    pub(crate) fn end<R>(&self, number: u64, take: impl FnOnce(&mut Tables) -> R) -> Option<R> {
        let taken = {
            let mut tables = self.lock();
            match &tables.open {
                Some(open) if open.number == number => {
                    let in_time = Instant::now() < open.until;
                    tables.open = None;
                    in_time.then(|| take(&mut tables))
                }
                _ => None,
            }
        };
        bump(&self.ended);
        taken
    }

    /// Says that rows may be due.
    pub(crate) fn notice(&self) {
        bump(&self.notices);
    }

    pub(crate) fn changed(&self) {
        bump(&self.changes);
    }
}

fn bump(number: &watch::Sender<u64>) {
    number.send_modify(|number| *number = number.wrapping_add(1));
}

/// Refuses a write whose outbox rows were computed from another state of the app than the present one.
pub(crate) fn check_revision(apps: &BTreeMap<AppId, App>, cx: &CallCx) -> Result<()> {
    let computed_from = cx.fanout().and_then(|fanout| fanout.revision);
    match computed_from {
        Some(revision) if apps.get(&cx.app()).is_none_or(|app| app.revision != revision) => {
            Err(Fanout::stale())
        }
        _ => Ok(()),
    }
}

/// The outbox rows of a write that turned out to be `op`. The payload is computed only if there are any.
pub(crate) fn rows_of(
    cx: &CallCx,
    kind: EventKind,
    op: &'static str,
    now: picloud_core::Timestamp,
    payload: impl FnOnce() -> Json,
) -> Vec<OutboxRow> {
    let Some(fanout) = cx.fanout().filter(|fanout| fanout.revision.is_some()) else { return Vec::new() };
    let mut matching = fanout.rows.iter().filter(|row| row.op == op).peekable();
    if matching.peek().is_none() {
        return Vec::new();
    }
    let payload = payload();
    matching.map(|row| OutboxRow::of(cx, kind, row, payload.clone(), now)).collect()
}
