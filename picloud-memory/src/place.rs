//! Where a service works: on the tables, or on the copy of a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use picloud_core::outbox::OutboxRow;
use picloud_core::{AppId, CallCx, Error, Result};

use crate::catalog::App;
use crate::docs::Documents;
use crate::files::Records;
use crate::kv::Collections;
use crate::outbox::{Message, Rows};
use crate::tables::{Shared, Tables, check_revision};
use crate::transaction::Inside;

/// What services store: what a transaction has a copy of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    pub(crate) kv: Collections,
    pub(crate) docs: Documents,
    pub(crate) files: Records,
}

#[derive(Debug, Clone)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    inside: Option<Arc<Inside>>,
}

/// What a write works on. Its rows are stored with it.
pub(crate) struct Store<'a> {
    apps: &'a BTreeMap<AppId, App>,
    pub(crate) data: &'a mut Data,
    pub(crate) rows: &'a mut Vec<OutboxRow>,
    pub(crate) messages: &'a mut Vec<Message>,
    /// What is stored already.
    pub(crate) outbox: &'a Rows,
}

impl Store<'_> {
    /// Refuses a write whose outbox rows were computed from another state of the app than the present one.
    pub(crate) fn check_revision(&self, cx: &CallCx) -> Result<()> {
        check_revision(self.apps, cx)
    }
}

impl Place {
    pub(crate) fn tables(shared: Arc<Shared>) -> Self {
        Place { shared, inside: None }
    }

    pub(crate) fn inside(shared: Arc<Shared>, inside: Arc<Inside>) -> Self {
        Place { shared, inside: Some(inside) }
    }

    /// Fails inside a transaction.
    pub(crate) fn refuse_inside(&self, error: impl Into<Error>) -> Result<()> {
        if self.inside.is_some() { Err(error.into()) } else { Ok(()) }
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&Data) -> Result<R>) -> Result<R> {
        match &self.inside {
            Some(inside) => inside.with(|work| read(&work.data)),
            None => read(&self.shared.lock().data),
        }
    }

    /// Writes, all of it or nothing: `write` changes nothing when it fails.
    pub(crate) async fn write<R>(&self, write: impl FnOnce(&mut Store<'_>) -> Result<R>) -> Result<R> {
        if let Some(inside) = &self.inside {
            let tables = self.shared.lock();
            return inside.with(|work| {
                let (rows, messages) = (&mut work.rows, &mut work.messages);
                let Tables { apps, outbox, .. } = &*tables;
                write(&mut Store { apps, data: &mut work.data, rows, messages, outbox })
            });
        }
        let (mut rows, mut messages) = (Vec::new(), Vec::new());
        let mut guard = self.shared.lock_to_write().await;
        let Tables { apps, data, outbox, .. } = &mut *guard;
        let answer = write(&mut Store { apps, data, rows: &mut rows, messages: &mut messages, outbox })?;
        let (is_silent, now) = (rows.is_empty() && messages.is_empty(), self.shared.clock.now());
        rows.into_iter().for_each(|row| outbox.push(row, now));
        messages.into_iter().for_each(|message| outbox.send(message, now));
        drop(guard);
        if !is_silent {
            self.shared.notice();
        }
        Ok(answer)
    }
}
