//! What the services share: where they read and write, in the tables or in the copy of a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_core::outbox::OutboxRow;
use picloud_core::{AppId, Result};

use crate::catalog::App;
use crate::docs::Documents;
use crate::kv::Collections;
use crate::tables::{Shared, Tables};
use crate::transaction::Inside;

/// What services store: what a transaction has a copy of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    pub(crate) kv: Collections,
    pub(crate) docs: Documents,
}

/// What a write works on.
pub(crate) struct Store<'a> {
    pub(crate) apps: &'a BTreeMap<AppId, App>,
    pub(crate) data: &'a mut Data,
    pub(crate) rows: &'a mut Vec<OutboxRow>,
}

/// Where a service reads and writes.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    shared: Arc<Shared>,
    inside: Option<Arc<Inside>>,
}

impl Room {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Room { shared, inside: None }
    }

    /// Inside a transaction.
    pub(crate) fn inside(shared: Arc<Shared>, inside: Arc<Inside>) -> Self {
        Room { shared, inside: Some(inside) }
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&Data) -> Result<R>) -> Result<R> {
        match &self.inside {
            Some(inside) => inside.with(|work| read(&work.data)),
            None => read(&self.shared.lock().data),
        }
    }

    pub(crate) async fn write<R>(&self, write: impl FnOnce(&mut Store<'_>) -> Result<R>) -> Result<R> {
        if let Some(inside) = &self.inside {
            let tables = self.shared.lock();
            return inside.with(|work| {
                write(&mut Store { apps: &tables.apps, data: &mut work.data, rows: &mut work.rows })
            });
        }
        let mut rows = Vec::new();
        let mut guard = self.shared.lock_to_write().await;
        let Tables { apps, data, outbox, .. } = &mut *guard;
        let answer = write(&mut Store { apps, data, rows: &mut rows })?;
        let is_silent = rows.is_empty();
        rows.into_iter().for_each(|row| outbox.push(row, self.shared.clock.now()));
        drop(guard);
        if !is_silent {
            self.shared.notice();
        }
        Ok(answer)
    }
}
