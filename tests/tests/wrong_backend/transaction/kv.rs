//! The KV service inside a wrong transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use picloud_core::kv::{Entry, Key, KvService, ListOptions, SetOptions};
use picloud_core::outbox::{EventKind, Fanout, OutboxRow};
use picloud_core::page::Page;
use picloud_core::{Backend, CallCx, CollectionName, CxInner, Json, Result, async_trait, tx_closed};

use super::{State, Wrong};
use crate::kv::Stopped;

#[derive(Debug)]
pub(super) struct TxKv {
    pub(super) inside: Arc<dyn KvService>,
    pub(super) state: Arc<State>,
    pub(super) is_good: bool,
}

impl TxKv {
    /// Where a call goes, and the call as it goes there.
    async fn call(&self, cx: &CallCx, is_read: bool) -> Result<(Arc<dyn KvService>, CallCx)> {
        let state = &self.state;
        if !self.is_good || state.is_broken.load(Ordering::Relaxed) {
            return Err(tx_closed());
        }
        let mut inner = cx.to_inner();
        match state.wrong {
            Some(Wrong::ExpiredIsSeenInside) => inner.clock = Arc::new(Stopped(state.born)),
            Some(Wrong::EventsForgetWhereTheyCameFrom) => {
                inner = CxInner::new(cx.app());
                inner.clock = cx.clock().clone();
            }
            _ => (),
        }
        let call = match cx.fanout() {
            Some(fanout) => {
                let fanout = self.fanout(cx, fanout).await?;
                CallCx::from(inner).with_fanout(Arc::new(fanout))
            }
            None => CallCx::from(inner),
        };
        let kv = match state.wrong {
            Some(Wrong::ReadsAreFromOutside) if is_read => state.memory.kv(),
            Some(Wrong::ServicesNeverClose) => self.open_one(cx).await,
            _ => self.inside.clone(),
        };
        Ok((kv, call))
    }

    /// The rows that are stored with a write.
    async fn fanout(&self, cx: &CallCx, fanout: &Fanout) -> Result<Fanout> {
        let (state, mut fanout) = (&self.state, fanout.clone());
        let payload = Json::from_canonical(r#"{"op":"insert","version":1}"#);
        let rows: Vec<_> = fanout
            .rows
            .iter()
            .filter(|row| row.op == "insert")
            .map(|row| OutboxRow::of(cx, EventKind::Kv, row, payload.clone(), state.memory.clock().now()))
            .collect();
        match state.wrong {
            Some(Wrong::CommitForgetsTheEvents) => fanout.rows.clear(),
            Some(Wrong::EventsAreStoredAtOnce) => {
                fanout.rows.clear();
                for row in rows {
                    state.memory.outbox().enqueue(&row).await?;
                }
            }
            Some(Wrong::EventsComeAfterTheCommit) => {
                fanout.rows.clear();
                state.work().rows.extend(rows);
            }
            Some(Wrong::StaleWritesAreMade) => {
                fanout.revision = state.memory.catalog().snapshot(cx.app()).await?.map(|app| app.revision);
            }
            _ => (),
        }
        Ok(fanout)
    }

    /// The service inside as long as it answers, then the one outside.
    async fn open_one(&self, cx: &CallCx) -> Arc<dyn KvService> {
        let probe = (CollectionName::new("probe").unwrap(), Key::new("probe").unwrap());
        match self.inside.get(cx, &probe.0, &probe.1).await {
            Ok(_) => self.inside.clone(),
            Err(_) => self.state.memory.kv(),
        }
    }

    /// Notes a write.
    async fn wrote(&self, cx: &CallCx, collection: &CollectionName, key: &Key) {
        self.state.work().keys.push((cx.app(), collection.clone(), key.clone()));
        if self.state.is(Wrong::ThereIsNone) {
            // Time for others to see it.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Passes an answer on; a failure may end the transaction.
    fn answered<T>(&self, answer: Result<T>, is_failure: impl FnOnce(&T) -> bool) -> Result<T> {
        let is_stale = answer.as_ref().is_err_and(Fanout::is_stale);
        let is_failure = answer.as_ref().map_or(!is_stale, is_failure);
        let ends = is_stale && self.state.is(Wrong::StaleWritesEndIt)
            || is_failure && self.state.is(Wrong::FailuresEndIt);
        self.state.is_broken.fetch_or(ends, Ordering::Relaxed);
        answer
    }

    fn is_from_inside(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> bool {
        let id = (cx.app(), collection.clone(), key.clone());
        !self.state.is(Wrong::InsideIsEmpty) || self.state.work().keys.contains(&id)
    }
}

#[async_trait]
impl KvService for TxKv {
    async fn get(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<Option<Json>> {
        let (kv, call) = self.call(cx, true).await?;
        let value = kv.get(&call, collection, key).await?;
        Ok(value.filter(|_| self.is_from_inside(cx, collection, key)))
    }

    async fn get_many(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        keys: &[Key],
    ) -> Result<Vec<Option<Json>>> {
        let (kv, call) = self.call(cx, true).await?;
        kv.get_many(&call, collection, keys).await
    }

    async fn set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        value: &Json,
        options: &SetOptions,
    ) -> Result<()> {
        let (kv, call) = self.call(cx, false).await?;
        let forgotten = SetOptions::default();
        let options = if self.state.is(Wrong::TimesToLiveAreForgotten) { &forgotten } else { options };
        let answer = self.answered(kv.set(&call, collection, key, value, options).await, |()| false);
        self.wrote(cx, collection, key).await;
        answer
    }

    async fn delete(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<bool> {
        let (kv, call) = self.call(cx, false).await?;
        let answer = self.answered(kv.delete(&call, collection, key).await, |deleted| !deleted);
        self.wrote(cx, collection, key).await;
        answer
    }

    async fn increment(&self, cx: &CallCx, collection: &CollectionName, key: &Key, by: i64) -> Result<i64> {
        let (kv, call) = self.call(cx, false).await?;
        if self.state.is(Wrong::TheLastCommitWins) {
            let before = kv.get(&call, collection, key).await?;
            let sum = before.map_or(Ok(0), |before| before.to_value::<i64>())? + by;
            self.state.work().sums.push((call, collection.clone(), key.clone(), sum));
            return Ok(sum);
        }
        let answer = self.answered(kv.increment(&call, collection, key, by).await, |_| false);
        self.wrote(cx, collection, key).await;
        answer
    }

    async fn compare_and_set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        expected: Option<&Json>,
        value: &Json,
    ) -> Result<bool> {
        let (kv, call) = self.call(cx, false).await?;
        let answer = kv.compare_and_set(&call, collection, key, expected, value).await;
        let answer = self.answered(answer, |written| !written);
        self.wrote(cx, collection, key).await;
        answer
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Entry>> {
        let (kv, call) = self.call(cx, true).await?;
        kv.list(&call, collection, options).await
    }
}
