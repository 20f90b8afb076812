//! The queue service, and how its messages become due.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use picloud_core::outbox::{EventKind, Fanout};
use picloud_core::queue::{QueueEvent, QueueName, QueueService, SEND, SendOptions};
use picloud_core::{CallCx, Error, EventId, Json, Result, async_trait};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::backend::Inner;
use crate::error::of_database;
use crate::event_rows::EventRows;
use crate::outbox::micros;
use crate::source::Source;

#[derive(Debug)]
pub(crate) struct PostgresQueue {
    backend: Arc<Inner>,
    source: Source,
}

impl PostgresQueue {
    pub(crate) fn new(backend: Arc<Inner>, source: Source) -> Self {
        PostgresQueue { backend, source }
    }
}

#[async_trait]
impl QueueService for PostgresQueue {
    async fn send(
        &self,
        cx: &CallCx,
        queue: &QueueName,
        message: &Json,
        options: &SendOptions,
    ) -> Result<Option<EventId>> {
        let payload = QueueEvent { message, name: queue }.to_json();
        let query =
            self.backend.sql.queue_send.query().bind(*cx.app().as_uuid()).bind(EventKind::Queue.as_str());
        let query = EventRows::new(cx, &[SEND]).bind(query.bind(payload.as_str().to_owned()));
        let query = query.bind(micros(options.delay())).bind(options.priority.get());
        let query = query.bind(options.key.as_ref().map(|key| key.as_str().to_owned()));
        let query = query.bind(options.dedupe_key.as_ref().map(|key| key.as_str().to_owned()));
        let rows = self.backend.write_once(&self.source, query).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a write without an answer"))?;
        let read = || -> sqlx::Result<(bool, Option<Uuid>)> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        match read().map_err(of_database)? {
            (false, _) => Err(Fanout::stale()),
            (true, sent) => {
                if sent.is_some() {
                    self.source.note_fired(&self.backend);
                }
                Ok(sent.map(EventId::from_uuid))
            }
        }
    }
}

/// Keys of messages that are gone: app, trigger and key. Only what this process settled: what others did not get to is found
/// by a thorough look.
#[derive(Debug, Default)]
pub(crate) struct Freed(Mutex<HashSet<(Uuid, Uuid, String)>>);

impl Freed {
    /// Notes the key of a settled row, if it had one: columns 1 to 3 of its answer.
    pub(crate) fn note(&self, rows: &[PgRow]) -> Result<()> {
        for row in rows {
            let read = || -> sqlx::Result<_> { Ok((row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)) };
            let key: (Option<Uuid>, Option<Uuid>, Option<String>) = read().map_err(of_database)?;
            if let (Some(app), Some(trigger), Some(key)) = key {
                self.put([(app, trigger, key)]);
            }
        }
        Ok(())
    }

    fn put(&self, keys: impl IntoIterator<Item = (Uuid, Uuid, String)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }

    fn take(&self) -> HashSet<(Uuid, Uuid, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How often messages are looked through in one go, when all that were looked at wait behind others.
const LOOKS: usize = 50;

/// Makes messages due for which there is room. One process at a time does: what it counts must not change meanwhile, but for
/// what ends.
pub(crate) async fn promote(backend: &Inner, thoroughly: bool) -> Result<usize> {
    let sql = &backend.sql;
    let freed = backend.freed.take();
    if freed.is_empty() && !thoroughly {
        let rows = backend.lanes.acquire().await?.rows(sql.queue_waits.query()).await?;
        if !rows.first().is_some_and(|row| row.try_get(0).unwrap_or(true)) {
            return Ok(0);
        }
    }
    let done = promote_freed(backend, &freed, thoroughly).await;
    if done.is_err() {
        backend.freed.put(freed);
    }
    done
}

async fn promote_freed(
    backend: &Inner,
    freed: &HashSet<(Uuid, Uuid, String)>,
    thoroughly: bool,
) -> Result<usize> {
    let sql = &backend.sql;
    let mut connection = backend.lanes.acquire_bare().await?;
    connection.begin(backend.config.statement_timeout).await?;
    // Alone first: what comes after it sees all that others did before they let go of it.
    connection.rows_within(sql.queue_lock.query().bind(backend.config.schema.as_str().to_owned())).await?;
    connection.rows_within(sql.queue_delayed.query()).await?;
    if !freed.is_empty() {
        let apps: Vec<Uuid> = freed.iter().map(|(app, ..)| *app).collect();
        let triggers: Vec<Uuid> = freed.iter().map(|(_, trigger, _)| *trigger).collect();
        let keys: Vec<String> = freed.iter().map(|(.., key)| key.clone()).collect();
        connection.rows_within(sql.queue_next_of_keys.query().bind(apps).bind(triggers).bind(keys)).await?;
    }
    if thoroughly {
        connection.rows_within(sql.queue_next_of_any_key.query()).await?;
    }
    let mut promoted = 0;
    for _ in 1..LOOKS {
        let rows = connection.rows_within(sql.queue_promote.query()).await?;
        let behind =
            rows.iter().filter(|row| row.try_get::<i16, _>(0).is_ok_and(|state| state == BEHIND)).count();
        promoted += rows.len() - behind;
        if behind == 0 {
            break;
        }
    }
    connection.rows(sql.queue_done.query()).await?;
    Ok(promoted)
}

/// The state of a message that waits behind another of its key.
const BEHIND: i16 = 4;
