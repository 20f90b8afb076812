//! The wrong service: the memory backend's, except in one way.

mod list;
mod rows;
mod values;
mod wrong;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picloud_core::kv::{Entry, Key, KvService, ListOptions, SetOptions};
use picloud_core::outbox::{Fanout, FanoutRow};
use picloud_core::page::Page;
use picloud_core::{
    AppId, Backend, CallCx, Clock, CollectionName, Error, Json, Result, Timestamp, async_trait,
};
use picloud_memory::MemoryBackend;

use list::Cursors;
pub(crate) use wrong::Wrong;

#[derive(Debug)]
pub(crate) struct WrongKv {
    pub(crate) wrong: Option<Wrong>,
    pub(crate) memory: MemoryBackend,
    pub(crate) inner: Arc<dyn KvService>,
    /// The app that everything is stored in when apps are not kept apart.
    only_app: AppId,
    born: Timestamp,
    /// How often anybody called.
    calls: Arc<AtomicU64>,
    notes: Arc<Mutex<Notes>>,
}

pub(crate) type Id = (AppId, CollectionName, Key);

/// What being wrong takes.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) ttls: HashMap<Id, u64>,
    deleted: HashSet<Id>,
    pub(crate) cursors: Cursors,
    pub(crate) apps: Vec<AppId>,
    pub(crate) invented: Vec<FanoutRow>,
}

/// A clock that stands still, so that nothing has expired yet.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep(&self, _duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

fn cut(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

impl WrongKv {
    pub(crate) fn new(memory: MemoryBackend, wrong: Option<Wrong>) -> Self {
        WrongKv {
            wrong,
            inner: memory.kv(),
            only_app: AppId::new(),
            born: memory.clock().now(),
            calls: Arc::default(),
            notes: Arc::default(),
            memory,
        }
    }

    /// The same service, inside a transaction: as wrong as it is, on top of `inner`.
    pub(crate) fn inside(&self, inner: Arc<dyn KvService>) -> Self {
        WrongKv {
            wrong: self.wrong,
            memory: self.memory.clone(),
            inner,
            only_app: self.only_app,
            born: self.born,
            calls: self.calls.clone(),
            notes: self.notes.clone(),
        }
    }

    pub(crate) fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// Lets others come in between: comes back after so many calls of theirs, or when nobody calls.
    async fn dawdle(&self, calls: u64) {
        let enough = self.calls.load(Ordering::Relaxed) + calls;
        for _ in 0..50_000 {
            if self.calls.load(Ordering::Relaxed) >= enough {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call as the memory backend gets it. `blind` is the way of being wrong in which expiry goes unseen.
    async fn call(&self, cx: &CallCx, blind: Wrong) -> Result<CallCx> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut inner = cx.to_inner();
        if self.is(Wrong::LeaksAcrossApps) {
            inner.app = self.only_app;
        }
        if self.is(blind) {
            inner.clock = Arc::new(Stopped(self.born));
        }
        let call = CallCx::from(inner);
        match cx.fanout() {
            Some(fanout) => self.fanout(cx, Fanout::clone(fanout)).await.map(|fanout| match fanout {
                Some(fanout) => call.with_fanout(Arc::new(fanout)),
                None => call,
            }),
            None => Ok(call),
        }
    }

    async fn fanout(&self, cx: &CallCx, mut fanout: Fanout) -> Result<Option<Fanout>> {
        self.notes().apps.push(cx.app());
        let present = self.memory.catalog().snapshot(cx.app()).await?.map(|app| app.revision);
        match self.wrong {
            Some(Wrong::FanoutForgotten) => fanout.rows.clear(),
            Some(Wrong::FanoutToOneTriggerOnly) => {
                let mut ops = HashSet::new();
                fanout.rows.retain(|row| ops.insert(row.op));
            }
            Some(Wrong::FanoutOfEveryOperation) => {
                let every =
                    |row: FanoutRow| ["insert", "update", "delete"].map(|op| FanoutRow { op, ..row.clone() });
                fanout.rows = fanout.rows.into_iter().flat_map(every).collect();
            }
            Some(Wrong::StoresRowsWithoutARevision) => fanout.revision = fanout.revision.or(present),
            Some(Wrong::NeedsARevision) if fanout.revision.is_none() => return Err(Fanout::stale()),
            Some(Wrong::WritesDespiteStaleRevision) => fanout.revision = None,
            Some(Wrong::StoresRowsOfStaleWrites) => fanout.revision = present,
            Some(Wrong::StalenessNeedsRows) if fanout.rows.is_empty() => return Ok(None),
            Some(Wrong::OnlyOldRevisionsAreStale) => {
                fanout.revision =
                    fanout.revision.map(|revision| Some(revision).min(present).unwrap_or(revision));
            }
            _ => (),
        }
        Ok(Some(fanout))
    }

    fn name(&self, name: &CollectionName) -> Result<CollectionName> {
        match self.wrong {
            Some(Wrong::LeaksAcrossCollections) => CollectionName::new("only"),
            Some(Wrong::NameCaseFolded) => CollectionName::new(name.as_str().to_lowercase()),
            Some(Wrong::NameCut) => CollectionName::new(cut(name.as_str(), 64)),
            _ => Ok(name.clone()),
        }
    }

    fn key(&self, key: &Key) -> Result<Key> {
        let text = key.as_str();
        match self.wrong {
            Some(Wrong::KeyCaseFolded) => Key::new(text.to_lowercase()),
            Some(Wrong::KeyTrimmed) => Key::new(text.trim()),
            Some(Wrong::KeyNormalised) => Key::new(text.replace("a\u{308}", "ä")),
            Some(Wrong::KeyCut) => Key::new(cut(text, 100)),
            _ => Ok(key.clone()),
        }
    }
}

#[async_trait]
impl KvService for WrongKv {
    async fn get(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<Option<Json>> {
        let (call, name, key) =
            (self.call(cx, Wrong::ExpiryVisibleToGet).await?, self.name(collection)?, self.key(key)?);
        let value = self.inner.get(&call, &name, &key).await?;
        if self.is(Wrong::FanoutOfExpiry) && value.is_none() {
            self.invent(cx);
        }
        Ok(self.read(value))
    }

    async fn get_many(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        keys: &[Key],
    ) -> Result<Vec<Option<Json>>> {
        let (call, name) = (self.call(cx, Wrong::ExpiryVisibleToGetMany).await?, self.name(collection)?);
        let mut keys = keys.iter().map(|key| self.key(key)).collect::<Result<Vec<_>>>()?;
        match self.wrong {
            Some(Wrong::GetManySorts) => keys.sort(),
            Some(Wrong::GetManyDropsDuplicates) => {
                let mut seen = HashSet::new();
                keys.retain(|key| seen.insert(key.clone()));
            }
            Some(Wrong::GetManyOfNothingIsEverything) if keys.is_empty() => return Ok(vec![None]),
            Some(Wrong::GetManyReadsOneByOne) => {
                let mut values = Vec::new();
                for key in &keys {
                    values.push(self.inner.get(&call, &name, key).await?);
                    self.dawdle(4).await;
                }
                return Ok(values);
            }
            _ => (),
        }
        let mut values = self.inner.get_many(&call, &name, &keys).await?;
        if self.is(Wrong::GetManySkipsMissing) {
            values.retain(Option::is_some);
        }
        Ok(values.into_iter().map(|value| self.read(value)).collect())
    }

    async fn set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        value: &Json,
        options: &SetOptions,
    ) -> Result<()> {
        let call = self.call(cx, Wrong::ExpiryVisibleToSet).await?;
        let id = (call.app(), self.name(collection)?, self.key(key)?);
        let (_, name, key) = &id;
        let value = self.stored(value)?;
        let plain = CallCx::from(call.to_inner());
        match self.wrong {
            Some(Wrong::KeepsTheFirstWrite) if self.inner.get(&plain, name, key).await?.is_some() => {
                return Ok(());
            }
            Some(Wrong::SkipsEqualWrites)
                if self.inner.get(&plain, name, key).await? == Some(value.clone()) =>
            {
                return Ok(());
            }
            Some(Wrong::DeletesForGood) if self.notes().deleted.contains(&id) => return Ok(()),
            Some(Wrong::WritesInHalves) => {
                let text: String = value.to_value().unwrap_or_default();
                let half = Json::from_value(cut(&text, text.len() / 2))?;
                self.inner.set(&plain, name, key, &half, options).await?;
                self.dawdle(20).await;
            }
            Some(Wrong::WritesBeforeItRefuses) => self.inner.set(&plain, name, key, &value, options).await?,
            Some(Wrong::FanoutInvented) => self.invent(cx),
            _ => (),
        }
        let ttl = self.ttl(&id, options.ttl_seconds)?;
        let options = ttl.map_or_else(SetOptions::default, SetOptions::ttl);
        self.inner.set(&call, name, key, &value, &options).await
    }

    async fn delete(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<bool> {
        let call = self.call(cx, Wrong::ExpiryVisibleToDelete).await?;
        let id = (call.app(), self.name(collection)?, self.key(key)?);
        let (_, name, key) = &id;
        let before = self.inner.get(&CallCx::from(call.to_inner()), name, key).await?;
        if self.is(Wrong::DeleteDoesNothing) {
            return Ok(before.is_some());
        }
        if self.is(Wrong::DeleteRaces) {
            self.dawdle(4).await;
        }
        let deleted = self.inner.delete(&call, name, key).await?;
        self.notes().deleted.insert(id);
        match self.wrong {
            Some(Wrong::FanoutWhenNothingHappened) if !deleted => self.invent(cx),
            Some(Wrong::DeleteOfMissingIsAnError) if !deleted => {
                return Err(Error::not_found("kv.not_found", "there is no such key"));
            }
            _ => (),
        }
        Ok(match self.wrong {
            Some(Wrong::DeleteAlwaysTrue) => true,
            Some(Wrong::DeleteAlwaysFalse) => false,
            Some(Wrong::DeleteRaces) => before.is_some(),
            _ => deleted,
        })
    }

    async fn increment(&self, cx: &CallCx, collection: &CollectionName, key: &Key, by: i64) -> Result<i64> {
        let call = self.call(cx, Wrong::ExpiryVisibleToIncrement).await?;
        let id = (call.app(), self.name(collection)?, self.key(key)?);
        let (_, name, key) = &id;
        if let Some(sum) = self.wrong_sum(&call, &id, by).await? {
            if self.is(Wrong::LosesUpdates) {
                self.dawdle(10).await;
            }
            self.inner.set(&call, name, key, &Json::from_value(&sum)?, &SetOptions::default()).await?;
            return Ok(sum);
        }
        let by = if self.is(Wrong::IncrementIgnoresTheSign) { by.saturating_abs() } else { by };
        let answer = self.inner.increment(&call, name, key, by).await;
        match (self.wrong, &answer) {
            (Some(Wrong::FailedIncrementWrites), Err(_)) => {
                self.inner.set(&call, name, key, &Json::from_value(&by)?, &SetOptions::default()).await?;
            }
            (Some(Wrong::FanoutWhenNothingHappened), Err(_)) => self.invent(cx),
            (_, Ok(_)) => self.after_write(&call, &id, Wrong::IncrementClearsTtl).await?,
            _ => (),
        }
        answer.map(|sum| if self.is(Wrong::IncrementAnswersTheOldValue) { sum.wrapping_sub(by) } else { sum })
    }

    async fn compare_and_set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        expected: Option<&Json>,
        value: &Json,
    ) -> Result<bool> {
        let call = self.call(cx, Wrong::ExpiryVisibleToCas).await?;
        let id = (call.app(), self.name(collection)?, self.key(key)?);
        let (_, name, key) = &id;
        let stored = self.inner.get(&CallCx::from(call.to_inner()), name, key).await?;
        let matches = self.matches(stored.as_ref(), expected);
        if self.is(Wrong::CasRaces) {
            self.dawdle(4).await;
            if matches {
                self.inner.set(&call, name, key, value, &SetOptions::default()).await?;
            }
            return Ok(matches);
        }
        if matches != (stored.as_ref() == expected) {
            if matches {
                self.inner.set(&call, name, key, value, &SetOptions::default()).await?;
            }
            return Ok(matches);
        }
        let written = self.inner.compare_and_set(&call, name, key, expected, value).await?;
        if written {
            self.after_write(&call, &id, Wrong::CasClearsTtl).await?;
        } else if self.is(Wrong::FanoutWhenNothingHappened) {
            self.invent(cx);
        }
        Ok(written)
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Entry>> {
        let (call, name) = (self.call(cx, Wrong::ExpiryVisibleInList).await?, self.name(collection)?);
        if !self.is(Wrong::ExpiryFilteredAfterTheLimit) {
            return self.wrong_list(&call, &name, options).await;
        }
        let mut blind = call.to_inner();
        blind.clock = Arc::new(Stopped(self.born));
        let mut page = self.wrong_list(&blind.into(), &name, options).await?;
        let mut alive = Vec::new();
        for entry in page.items {
            if self.inner.get(&call, &name, &entry.key).await?.is_some() {
                alive.push(entry);
            }
        }
        page.items = alive;
        Ok(page)
    }
}
