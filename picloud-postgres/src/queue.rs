//! The queue service, and how its messages become due.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picloud_core::outbox::{EventKind, Fanout, Promoted};
use picloud_core::queue::{QueueEvent, QueueName, QueueService, SEND, SendOptions};
use picloud_core::{CallCx, Error, EventId, Json, Result, async_trait};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::backend::{Inner, WRITE_ATTEMPTS, contended, give_way};
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
        let rows = EventRows::new(cx, &[SEND]);
        for attempt in 0..WRITE_ATTEMPTS {
            let query = rows.query(&self.backend.sql.queue_send);
            let query = query.bind(*cx.app().as_uuid()).bind(EventKind::Queue.as_str());
            let query = rows.bind(query.bind(payload.as_str().to_owned()));
            let query = query.bind(micros(options.delay())).bind(options.priority.get());
            let query = query.bind(options.key.as_ref().map(|key| key.as_str().to_owned()));
            let query = query.bind(options.dedupe_key.as_ref().map(|key| key.as_str().to_owned()));
            let answer = self.backend.write_once(&self.source, query).await?;
            let row = answer.first().ok_or_else(|| Error::internal("a write without an answer"))?;
            let read = || -> sqlx::Result<(bool, bool, Option<Uuid>)> {
                Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
            };
            match read().map_err(of_database)? {
                (false, ..) => return Err(Fanout::stale()),
                (true, false, _) => return Ok(None),
                (true, true, Some(id)) => {
                    self.source.note_fired(&self.backend);
                    return Ok(Some(EventId::from_uuid(id)));
                }
                // Somebody stored the same a moment ago.
                (true, true, None) => give_way(attempt).await,
            }
        }
        Err(contended("queue.contended", "message's dedupe_key"))
    }
}

/// What this process settled: whose messages may have room now, and behind which keys others may wait. What other processes
/// did not get to is found by going round.
#[derive(Debug, Default)]
pub(crate) struct Freed(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    consumers: HashSet<Consumer>,
    keys: HashSet<(Uuid, Uuid, String)>,
    /// How far consumers were gone round.
    consumer: Consumer,
    /// How far keys were gone round.
    key: (Uuid, Uuid, String),
}

/// App and trigger.
type Consumer = (Uuid, Uuid);

impl Freed {
    /// Notes settled rows that were messages: columns 1 to 3 of their answer.
    pub(crate) fn note(&self, rows: &[PgRow]) -> Result<()> {
        for row in rows {
            let read = || -> sqlx::Result<_> { Ok((row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)) };
            let told: (Option<Uuid>, Option<Uuid>, Option<String>) = read().map_err(of_database)?;
            if let (Some(app), Some(trigger), key) = told {
                let mut known = self.known();
                known.consumers.insert((app, trigger));
                known.keys.extend(key.map(|key| (app, trigger, key)));
            }
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one call goes through at most: of consumers and of keys.
const CONSUMERS_AT_ONCE: i32 = 200;
const KEYS_AT_ONCE: i32 = 500;

/// How often messages are looked through in one go, when all that were looked at wait behind others.
const LOOKS: usize = 5;

/// How soon to go on when there was more than one call does.
const SOON: Duration = Duration::from_millis(5);

/// The state of a message that waits behind another of its key.
const BEHIND: i16 = 4;

/// Makes messages due for which there is room. To find whose they may be takes no lock; to make them due does: one process at a
/// time, since what it counts must not change meanwhile, but for what ends.
pub(crate) async fn promote(backend: &Inner, thoroughly: bool) -> Result<Promoted> {
    let sql = &backend.sql;
    let (mut consumers, keys, from) = {
        let mut known = backend.freed.known();
        (std::mem::take(&mut known.consumers), std::mem::take(&mut known.keys), known.consumer)
    };
    let restore = |consumers: HashSet<Consumer>, keys: HashSet<(Uuid, Uuid, String)>| {
        let mut known = backend.freed.known();
        known.consumers.extend(consumers);
        known.keys.extend(keys);
    };
    let look = async {
        let query = sql.queue_consumers.query().bind(from.0).bind(from.1).bind(CONSUMERS_AT_ONCE);
        let rows = backend.lanes.acquire().await?.rows(query).await?;
        let (mut found, mut last) = (Vec::new(), None);
        for row in &rows {
            let read = || -> sqlx::Result<(Uuid, Uuid, i64)> {
                Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
            };
            let (app, trigger, room) = read().map_err(of_database)?;
            last = Some((app, trigger));
            found.extend((room > 0).then_some((app, trigger)));
        }
        let is_whole = rows.len() < usize::try_from(CONSUMERS_AT_ONCE).unwrap_or(usize::MAX);
        let (stuck, keys_go_on) = if thoroughly { stuck_keys(backend).await? } else { (Vec::new(), false) };
        Ok::<_, Error>((found, last.filter(|_| !is_whole), stuck, keys_go_on, next_delay(backend).await?))
    };
    let (found, last, stuck, keys_go_on, delay) = match look.await {
        Ok(looked) => looked,
        Err(error) => {
            restore(consumers, keys);
            return Err(error);
        }
    };
    backend.freed.known().consumer = last.unwrap_or_default();
    let more = last.is_some() || from != Consumer::default();
    consumers.extend(found);
    let mut freed = keys.clone();
    freed.extend(stuck);
    let has_delayed = delay.is_some_and(|delay| delay.is_zero());
    let mut promoted = Promoted { count: 0, again: delay, more: last.is_some() || keys_go_on };
    if !consumers.is_empty() || !freed.is_empty() || has_delayed {
        match make_due(backend, &consumers, &freed, has_delayed).await {
            Ok((count, left)) => {
                promoted.count = count;
                // What else waits for its time is looked up by the next call, if there is anything left to ask about.
                promoted.again = if left || has_delayed { Some(SOON) } else { delay };
                promoted.more |= left || has_delayed;
            }
            Err(error) => {
                restore(consumers, keys);
                return Err(error);
            }
        }
    }
    if more {
        promoted.again = Some(promoted.again.map_or(SOON, |again| again.min(SOON)));
    }
    if promoted.count > 0 {
        // Rows are due: for those of this process who claim, and, if they have no room, others.
        backend.notices.bump_stored();
    }
    Ok(promoted)
}

async fn next_delay(backend: &Inner) -> Result<Option<Duration>> {
    let rows = backend.lanes.acquire().await?.rows(backend.sql.queue_next_delay.query()).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let micros: i64 = row.try_get(0).map_err(of_database)?;
    Ok(Some(Duration::from_micros(micros.unsigned_abs())))
}

/// Goes on round all keys, and answers those whose first message has been put aside: whoever settled the one before it died
/// before it could let it go. And whether the round goes on.
async fn stuck_keys(backend: &Inner) -> Result<(Vec<(Uuid, Uuid, String)>, bool)> {
    let (app, trigger, key) = backend.freed.known().key.clone();
    let query = backend.sql.queue_keys.query().bind(app).bind(trigger).bind(key).bind(KEYS_AT_ONCE);
    let rows = backend.lanes.acquire().await?.rows(query).await?;
    let (mut stuck, mut last) = (Vec::new(), None);
    for row in &rows {
        let read = || -> sqlx::Result<_> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
        };
        let (app, trigger, key, is_stuck): (Uuid, Uuid, String, bool) = read().map_err(of_database)?;
        if is_stuck {
            stuck.push((app, trigger, key.clone()));
        }
        last = Some((app, trigger, key));
    }
    let is_whole = rows.len() < usize::try_from(KEYS_AT_ONCE).unwrap_or(usize::MAX);
    backend.freed.known().key = last.filter(|_| !is_whole).unwrap_or_default();
    Ok((stuck, !is_whole))
}

/// Answers how many messages are due now, and whether there may be more.
async fn make_due(
    backend: &Inner,
    consumers: &HashSet<Consumer>,
    freed: &HashSet<(Uuid, Uuid, String)>,
    has_delayed: bool,
) -> Result<(usize, bool)> {
    let sql = &backend.sql;
    let mut consumers = consumers.clone();
    let mut connection = backend.lanes.acquire_bare().await?;
    connection.begin(backend.config.statement_timeout).await?;
    // Alone first: what comes after it sees all that others did before they let go of it.
    connection.rows_within(sql.queue_lock.query().bind(backend.config.schema.as_str().to_owned())).await?;
    if has_delayed {
        for row in connection.rows_within(sql.queue_delayed.query()).await? {
            let read = || -> sqlx::Result<Consumer> { Ok((row.try_get(0)?, row.try_get(1)?)) };
            consumers.insert(read().map_err(of_database)?);
        }
    }
    if !freed.is_empty() {
        let apps: Vec<Uuid> = freed.iter().map(|(app, ..)| *app).collect();
        let triggers: Vec<Uuid> = freed.iter().map(|(_, trigger, _)| *trigger).collect();
        let keys: Vec<String> = freed.iter().map(|(.., key)| key.clone()).collect();
        connection.rows_within(sql.queue_next_of_keys.query().bind(apps).bind(triggers).bind(keys)).await?;
        consumers.extend(freed.iter().map(|(app, trigger, _)| (*app, *trigger)));
    }
    let (apps, triggers): (Vec<Uuid>, Vec<Uuid>) = consumers.into_iter().unzip();
    let (mut promoted, mut left) = (0, true);
    for _ in 0..LOOKS {
        let query = sql.queue_promote.query().bind(apps.clone()).bind(triggers.clone());
        let rows = connection.rows_within(query).await?;
        let is_behind = |row: &&PgRow| row.try_get::<i16, _>(0).is_ok_and(|state| state == BEHIND);
        let behind = rows.iter().filter(is_behind).count();
        promoted += rows.len() - behind;
        left = behind > 0;
        if !left {
            break;
        }
    }
    connection.settled(Ok(())).await?;
    Ok((promoted, left))
}
