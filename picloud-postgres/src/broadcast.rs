//! Messages that are not stored, from node to node.
//!
//! They go through a table without a log, in batches, each for some seconds; a notification says that there is something to
//! read. Through a pooler nodes look by themselves, often while somebody listens and seldom otherwise. So nodes that reach
//! the database in either way hear each other, a message may be as large as any, and what was sent is one order: batches of
//! a node are written one after the other, so that whoever has seen a number has seen all before it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use picloud_core::pubsub::{Broadcast, Ephemeral, Listener, Listeners, Topic, overloaded};
use picloud_core::{AppId, CallCx, Error, ErrorKind, EventId, Json, Result, async_trait, jittered};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::backend::Inner;
use crate::control::BETWEEN_NOTICES;
use crate::error::of_database;
use crate::lanes::PATIENCE;
use crate::source::Source;

/// What of one app may wait to be sent, in bytes: a flood of one tenant's leaves room for the others.
const MAX_WAITING_OF_APP: usize = 2 << 20;

/// What may wait in all.
const MAX_WAITING: usize = 32 << 20;

/// What a message costs besides its text.
const EACH: usize = 128;

/// A batch has at most so many messages and bytes.
const MAX_BATCH: usize = 512;
const MAX_BATCH_BYTES: usize = 1 << 20;

/// How long a message may wait to be sent while the database is away: later nobody expects it any more.
const TOO_OLD: Duration = Duration::from_secs(5);

/// How long a batch is there to be read.
const KEPT: Duration = Duration::from_secs(10);

/// How many batches are read at once.
const READ_AT_ONCE: i64 = 16;

/// How often a node looks that is not told, while somebody listens.
const LOOK: Duration = Duration::from_millis(100);

/// How many nodes are remembered before those that are gone are forgotten.
const MANY_NODES: usize = 64;

/// What publishers, listeners and the backend's thread share.
#[derive(Debug)]
pub(crate) struct Live {
    node: Uuid,
    listeners: Listeners,
    queue: Mutex<Queue>,
    queued: Notify,
    /// Something may be there to be read.
    pub(crate) told: Notify,
    /// Whether what is sent from now on will be read.
    hears: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Instant, Arc<Ephemeral>)>,
    bytes: usize,
    of_apps: HashMap<AppId, usize>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Live {
            node: Uuid::now_v7(),
            listeners: Listeners::default(),
            queue: Mutex::default(),
            queued: Notify::new(),
            told: Notify::new(),
            hears: watch::Sender::new(false),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(message: &Ephemeral) -> usize {
    message.message.len() + EACH
}

impl Queue {
    fn push(&mut self, message: &Arc<Ephemeral>) -> Result<()> {
        let (bytes, of_app) = (size(message), self.of_apps.get(&message.app).copied().unwrap_or(0));
        if of_app + bytes > MAX_WAITING_OF_APP || self.bytes + bytes > MAX_WAITING {
            return Err(overloaded());
        }
        self.bytes += bytes;
        self.of_apps.insert(message.app, of_app + bytes);
        self.messages.push_back((Instant::now(), message.clone()));
        Ok(())
    }

    fn pop(&mut self) -> Option<(Instant, Arc<Ephemeral>)> {
        let (at, message) = self.messages.pop_front()?;
        let bytes = size(&message);
        self.bytes -= bytes;
        if let Some(of_app) = self.of_apps.get_mut(&message.app) {
            *of_app -= bytes;
            if *of_app == 0 {
                self.of_apps.remove(&message.app);
            }
        }
        Some((at, message))
    }

    /// The next messages to send, and how many had become too old.
    fn batch(&mut self) -> (Vec<Arc<Ephemeral>>, usize) {
        let (mut batch, mut bytes, mut old) = (Vec::new(), 0, 0);
        while batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            let Some((at, message)) = self.pop() else { break };
            if at.elapsed() > TOO_OLD {
                old += 1;
            } else {
                bytes += size(&message);
                batch.push(message);
            }
        }
        (batch, old)
    }
}

#[derive(Debug)]
pub(crate) struct PostgresBroadcast(pub(crate) Arc<Inner>);

#[async_trait]
impl Broadcast for PostgresBroadcast {
    fn publish_ephemeral(&self, cx: &CallCx, topic: &Topic, message: &Json) -> Result<()> {
        let (live, message) = (&self.0.live, Arc::new(Ephemeral::new(cx, topic, message)));
        live.queue().push(&message)?;
        live.queued.notify_one();
        live.listeners.hear(&message);
        Ok(())
    }

    async fn listen(&self, listener: &Arc<dyn Listener>) -> Result<()> {
        let live = &self.0.live;
        live.listeners.add(listener);
        live.told.notify_one();
        let mut hears = live.hears.subscribe();
        let waits = async { hears.wait_for(|hears| *hears).await.is_ok() };
        if matches!(tokio::time::timeout(PATIENCE, waits).await, Ok(true)) {
            return Ok(());
        }
        // Why, the first read says best.
        marks(&self.0).await?;
        let text = "messages of other nodes cannot be heard";
        Err(Error::new(ErrorKind::Unavailable, "postgres.unavailable", text))
    }
}

/// Sends what is queued, until the end.
pub(crate) async fn send(inner: &Inner) {
    let (mut number, mut sent) = (0, VecDeque::new());
    loop {
        inner.live.queued.notified().await;
        loop {
            let (batch, old) = inner.live.queue().batch();
            if old > 0 {
                tracing::warn!(
                    messages = old,
                    "messages to other nodes became too old before they could be sent"
                );
            }
            if batch.is_empty() {
                break;
            }
            number += 1;
            let mut over = 0;
            while let Some((_, number)) =
                sent.pop_front_if(|(at, _): &mut (Instant, i64)| at.elapsed() > KEPT)
            {
                over = number;
            }
            if let Err(error) = send_batch(inner, number, &batch, over).await {
                tracing::warn!(%error, messages = batch.len(), "messages did not reach other nodes");
            }
            sent.push_back((Instant::now(), number));
            tokio::time::sleep(BETWEEN_NOTICES).await;
        }
    }
}

/// Sends one batch. Tried twice: the same number is stored once.
async fn send_batch(inner: &Inner, number: i64, batch: &[Arc<Ephemeral>], over: i64) -> Result<()> {
    let query = || {
        let query = inner.sql.ephemeral_send.query().bind(inner.live.node).bind(number);
        query
            .bind(batch.iter().map(|message| *message.id.as_uuid()).collect::<Vec<_>>())
            .bind(batch.iter().map(|message| *message.app.as_uuid()).collect::<Vec<_>>())
            .bind(batch.iter().map(|message| message.topic.to_string()).collect::<Vec<_>>())
            .bind(batch.iter().map(|message| message.message.to_string()).collect::<Vec<_>>())
            .bind(over)
            .bind(inner.notices.ephemeral_channel.clone())
    };
    let lanes = Source::Lanes(inner.lanes.clone());
    inner.read_all(&lanes, query).await.map(drop)
}

/// The last batch that was read of each node.
type Marks = HashMap<Uuid, i64>;

async fn marks(inner: &Inner) -> Result<Marks> {
    let lanes = Source::Lanes(inner.lanes.clone());
    let rows = inner.read_all(&lanes, || inner.sql.ephemeral_marks.query()).await?;
    let read = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(of_database)
}

/// Reads what other nodes send, until the end.
pub(crate) async fn hear(inner: &Inner) {
    let mut seen = None;
    loop {
        match look(inner, &mut seen).await {
            Ok(true) => continue,
            Ok(false) => {}
            // It shows where somebody waits for an answer; here the next time will do.
            Err(error) => tracing::debug!(%error, "messages of other nodes could not be read"),
        }
        let often = inner.config.pooler && inner.live.listeners.are_wanted();
        let wait = if often { LOOK.min(inner.config.poll) } else { jittered(inner.config.poll) };
        tokio::select! {
            () = inner.live.told.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Reads what is there. Answers whether there may be more.
async fn look(inner: &Inner, seen: &mut Option<Marks>) -> Result<bool> {
    let live = &inner.live;
    let Some(known) = seen else {
        *seen = Some(marks(inner).await?);
        live.hears.send_replace(true);
        return Ok(false);
    };
    if !live.listeners.are_wanted() {
        let now = marks(inner).await?;
        // Whoever came meanwhile may wait for what these marks pass over.
        if !live.listeners.are_wanted() {
            *known = now;
            return Ok(false);
        }
    }
    let (nodes, numbers): (Vec<Uuid>, Vec<i64>) = known.iter().unzip();
    let lanes = Source::Lanes(inner.lanes.clone());
    let rows = inner
        .read_all(&lanes, || {
            let query = inner.sql.ephemeral_read.query().bind(live.node);
            query.bind(nodes.clone()).bind(numbers.clone()).bind(READ_AT_ONCE)
        })
        .await?;
    for row in &rows {
        let (node, number) = (row.try_get(0).map_err(of_database)?, row.try_get(1).map_err(of_database)?);
        known.insert(node, number);
        for message in batch(row)? {
            live.listeners.hear(&Arc::new(message));
        }
        // Many messages for many listeners take a while, and others are served on this thread.
        tokio::task::yield_now().await;
    }
    if known.len() > MANY_NODES {
        let present: HashSet<_> = marks(inner).await?.into_keys().collect();
        known.retain(|node, _| present.contains(node));
    }
    Ok(rows.len() as i64 == READ_AT_ONCE)
}

fn batch(row: &PgRow) -> Result<Vec<Ephemeral>> {
    let ids: Vec<Uuid> = row.try_get(2).map_err(of_database)?;
    let apps: Vec<Uuid> = row.try_get(3).map_err(of_database)?;
    let topics: Vec<String> = row.try_get(4).map_err(of_database)?;
    let messages: Vec<String> = row.try_get(5).map_err(of_database)?;
    let rows = ids.into_iter().zip(apps).zip(topics.into_iter().zip(messages));
    rows.map(|((id, app), (topic, message))| {
        let (id, app) = (EventId::from_uuid(id), AppId::from_uuid(app));
        Ok(Ephemeral::from_parts(id, app, Topic::new(topic)?, Json::from_canonical(message)))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn message(app: AppId, bytes: usize) -> Arc<Ephemeral> {
        let text = Json::from_value(&"x".repeat(bytes)).unwrap();
        Arc::new(Ephemeral::new(&CallCx::new(app), &Topic::new("a").unwrap(), &text))
    }

    #[test]
    fn a_flood_of_one_app_leaves_room_for_others() {
        let (mut queue, flood, other) = (Queue::default(), AppId::new(), AppId::new());
        let large = message(flood, 60_000);
        let refused = (0..1_000).find_map(|_| queue.push(&large).err());
        assert_eq!(refused.unwrap().code(), "pubsub.overloaded");
        queue.push(&message(other, 60_000)).unwrap();
        let mut sent = 0;
        loop {
            let (batch, old) = queue.batch();
            assert_eq!(old, 0);
            if batch.is_empty() {
                break;
            }
            assert!(batch.iter().map(|message| size(message)).sum::<usize>() < MAX_BATCH_BYTES + 70_000);
            sent += batch.len();
        }
        assert!(sent > 30, "{sent}");
        assert_eq!((queue.bytes, queue.of_apps.len()), (0, 0));
        queue.push(&large).unwrap();
    }
}
