//! The outbox rows that a write may take along, as parameters of its statement.

use picloud_core::outbox::{EventKind, Fanout};
use picloud_core::{CallCx, Error, EventId, Json, Result};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use uuid::Uuid;

use crate::backend::Inner;
use crate::error::of_database;
use crate::fault::{self, Commit};
use crate::source::Source;
use crate::sql::EventStatement;

/// Up to one row for each trigger, whatever the write turns out to be.
pub(crate) struct EventRows {
    revision: Option<i64>,
    ids: Vec<Uuid>,
    ops: Vec<i16>,
    triggers: Vec<Uuid>,
    scripts: Vec<Uuid>,
    depth: i32,
    trace: Uuid,
    request: Uuid,
    parent: Option<Uuid>,
}

impl EventRows {
    /// The rows of a write that turns out to be one of `ops`. The statement knows each by its place among them: 1, 2, 4.
    pub(crate) fn new(cx: &CallCx, ops: &[&str]) -> Self {
        let fanout = cx.fanout().filter(|fanout| fanout.revision.is_some());
        let mut rows = EventRows {
            revision: fanout.and_then(|fanout| fanout.revision).map(|revision| revision.0.cast_signed()),
            ids: Vec::new(),
            ops: Vec::new(),
            triggers: Vec::new(),
            scripts: Vec::new(),
            depth: i32::try_from(cx.trigger_depth().saturating_add(1)).unwrap_or(i32::MAX),
            trace: *cx.trace().as_uuid(),
            request: *cx.request().as_uuid(),
            parent: cx.execution().map(|execution| *execution.as_uuid()),
        };
        for row in fanout.map_or(&[][..], |fanout| &fanout.rows) {
            let Some(place) = ops.iter().position(|op| *op == row.op) else { continue };
            let trigger = *row.trigger.as_uuid();
            let (last, bit) = (rows.triggers.last(), 1 << place);
            match rows.ops.last_mut() {
                // The rows of a trigger stand side by side.
                Some(ops) if last == Some(&trigger) && *ops & bit == 0 => *ops |= bit,
                _ => {
                    rows.ids.push(*EventId::new().as_uuid());
                    rows.ops.push(bit);
                    rows.triggers.push(trigger);
                    rows.scripts.push(*row.script.as_uuid());
                }
            }
        }
        rows
    }

    /// Whether there are none.
    pub(crate) fn is_silent(&self) -> bool {
        self.ids.is_empty()
    }

    /// The revision of the app that they are of, if that matters.
    pub(crate) fn revision(&self) -> Option<i64> {
        self.revision
    }

    /// Stores them by themselves, in one statement; answers how many they are.
    pub(crate) async fn store(
        &self,
        cx: &CallCx,
        backend: &Inner,
        source: &Source,
        kind: EventKind,
        payload: &Json,
    ) -> Result<u64> {
        let query = self.query(&backend.sql.events_store).bind(*cx.app().as_uuid()).bind(kind.as_str());
        let query = self.bind(query.bind(payload.as_str().to_owned()));
        let mut connection = source.acquire().await?;
        fault::point(Commit::Write, false);
        let rows = connection.rows(query).await?;
        fault::point(Commit::Write, true);
        let row = rows.first().ok_or_else(|| Error::internal("a write without an answer"))?;
        let read = || -> sqlx::Result<(bool, i64)> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        match read().map_err(of_database)? {
            (false, _) => Err(Fanout::stale()),
            (true, 0) => Ok(0),
            (true, fired) => {
                source.note_fired(backend);
                Ok(fired.cast_unsigned())
            }
        }
    }

    /// The statement for as many rows as there are.
    pub(crate) fn query(&self, statement: &EventStatement) -> Query<'static, Postgres, PgArguments> {
        statement.for_rows(self.ids.len()).query()
    }

    /// $4 to $12 of what [`query`](Self::query) answers.
    pub(crate) fn bind(
        &self,
        query: Query<'static, Postgres, PgArguments>,
    ) -> Query<'static, Postgres, PgArguments> {
        let query = query.bind(self.revision);
        let query = match (&self.ids[..], &self.ops[..], &self.triggers[..], &self.scripts[..]) {
            ([id], [ops], [trigger], [script]) => query.bind(*id).bind(*ops).bind(*trigger).bind(*script),
            (ids, ops, triggers, scripts) => {
                query.bind(ids.to_vec()).bind(ops.to_vec()).bind(triggers.to_vec()).bind(scripts.to_vec())
            }
        };
        query.bind(self.depth).bind(self.trace).bind(self.request).bind(self.parent)
    }
}
