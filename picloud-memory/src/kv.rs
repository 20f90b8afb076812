//! The KV service.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use picloud_core::kv::{Entry, Key, KvError, KvEvent, KvOp, KvService, ListOptions, SetOptions};
use picloud_core::outbox::EventKind;
use picloud_core::page::{ListId, Page, clamp_page_size};
use picloud_core::{AppId, CallCx, CollectionName, Json, Result, Timestamp, async_trait};

use crate::clock::later;
use crate::place::{Place, Store};
use crate::tables::rows_of;

/// Fewest writes between two sweeps.
const SWEEP_EVERY: usize = 1_024;

type Collection = BTreeMap<Key, Stored>;

#[derive(Debug, Clone)]
struct Stored {
    value: Json,
    expires_at: Option<Timestamp>,
}

/// All entries of all apps. Expired ones lie around, unseen, until they are written over or swept away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collections {
    apps: BTreeMap<AppId, BTreeMap<CollectionName, Collection>>,
    /// One for all keys, so that the versions of a key grow across delete and re-insert.
    last_version: u64,
    writes_until_sweep: usize,
}

impl Collections {
    fn collection(&self, app: AppId, name: &CollectionName) -> Option<&Collection> {
        self.apps.get(&app)?.get(name)
    }

    fn get(&self, at: &At<'_>, key: &Key) -> Option<&Stored> {
        self.collection(at.cx.app(), at.collection)?.get(key).filter(|stored| stored.lives(at.now))
    }

    fn put(&mut self, at: &At<'_>, key: &Key, change: Change) {
        let collection = self.apps.entry(at.cx.app()).or_default().entry(at.collection.clone()).or_default();
        match change {
            Change::Put(stored) => collection.insert(key.clone(), stored),
            Change::Remove => collection.remove(key),
        };
        self.last_version += 1;
        self.sweep(at.now);
    }

    /// Drops what has expired. As many writes lie between two sweeps as there are entries to look at, so that
    /// sweeping adds a constant to the price of a write.
    fn sweep(&mut self, now: Timestamp) {
        if let Some(left) = self.writes_until_sweep.checked_sub(1) {
            self.writes_until_sweep = left;
            return;
        }
        let mut kept = 0;
        self.apps.retain(|_, collections| {
            collections.retain(|_, collection| {
                collection.retain(|_, stored| stored.lives(now));
                kept += collection.len();
                !collection.is_empty()
            });
            !collections.is_empty()
        });
        self.writes_until_sweep = kept.max(SWEEP_EVERY);
    }
}

impl Stored {
    fn lives(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// Where and when a call happens.
struct At<'a> {
    cx: &'a CallCx,
    collection: &'a CollectionName,
    now: Timestamp,
}

impl<'a> At<'a> {
    fn new(cx: &'a CallCx, collection: &'a CollectionName) -> Self {
        At { cx, collection, now: cx.clock().now() }
    }
}

enum Change {
    Put(Stored),
    Remove,
}

impl Store<'_> {
    /// The one way in which an entry changes: `decide` sees the present entry and answers what becomes of it, `None` for
    /// nothing. Answers whether there was a change; its outbox rows are stored with it.
    fn change(
        &mut self,
        at: &At<'_>,
        key: &Key,
        decide: impl FnOnce(Option<&Stored>) -> Result<Option<Change>>,
    ) -> Result<bool> {
        self.check_revision(at.cx)?;
        let before = self.data.kv.get(at, key).cloned();
        let Some(change) = decide(before.as_ref())? else { return Ok(false) };
        let (op, value) = match (&before, &change) {
            (_, Change::Remove) => (KvOp::Delete, None),
            (None, Change::Put(stored)) => (KvOp::Insert, Some(stored.value.clone())),
            (Some(_), Change::Put(stored)) => (KvOp::Update, Some(stored.value.clone())),
        };
        let version = self.data.kv.last_version + 1;
        self.rows.extend(rows_of(at.cx, EventKind::Kv, op.as_str(), at.now, || {
            let (collection, key) = (at.collection.clone(), key.clone());
            let prev_value = before.map(|stored| stored.value);
            KvEvent { collection, key, op, value, prev_value, version }.to_json()
        }));
        self.data.kv.put(at, key, change);
        Ok(true)
    }
}

#[derive(Debug)]
pub(crate) struct MemoryKv(Place);

impl MemoryKv {
    pub(crate) fn new(place: Place) -> Self {
        MemoryKv(place)
    }
}

#[async_trait]
impl KvService for MemoryKv {
    async fn get(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<Option<Json>> {
        let at = At::new(cx, collection);
        self.0.read(|data| Ok(data.kv.get(&at, key).map(|stored| stored.value.clone())))
    }

    async fn get_many(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        keys: &[Key],
    ) -> Result<Vec<Option<Json>>> {
        let at = At::new(cx, collection);
        self.0.read(|data| {
            Ok(keys.iter().map(|key| data.kv.get(&at, key).map(|stored| stored.value.clone())).collect())
        })
    }

    async fn set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        value: &Json,
        options: &SetOptions,
    ) -> Result<()> {
        let at = At::new(cx, collection);
        let expires_at = options.ttl_seconds.map(|seconds| later(at.now, Duration::from_secs(seconds)));
        let put = Change::Put(Stored { value: value.clone(), expires_at });
        self.0.write(|store| store.change(&at, key, |_| Ok(Some(put)))).await?;
        Ok(())
    }

    async fn delete(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<bool> {
        let at = At::new(cx, collection);
        self.0.write(|store| store.change(&at, key, |before| Ok(before.map(|_| Change::Remove)))).await
    }

    async fn increment(&self, cx: &CallCx, collection: &CollectionName, key: &Key, by: i64) -> Result<i64> {
        let at = At::new(cx, collection);
        let mut sum = by;
        self.0
            .write(|store| {
                store.change(&at, key, |before| {
                    if let Some(before) = before {
                        // Canonical text of an integer is what `i64` reads and nothing else.
                        let number: i64 = before.value.as_str().parse().map_err(|_| KvError::NotAnInteger)?;
                        sum = number.checked_add(by).ok_or(KvError::Overflow)?;
                    }
                    let expires_at = before.and_then(|before| before.expires_at);
                    Ok(Some(Change::Put(Stored { value: Json::from_canonical(sum.to_string()), expires_at })))
                })
            })
            .await?;
        Ok(sum)
    }

    async fn compare_and_set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        expected: Option<&Json>,
        value: &Json,
    ) -> Result<bool> {
        let at = At::new(cx, collection);
        self.0
            .write(|store| {
                store.change(&at, key, |before| {
                    let as_expected = before.map(|before| &before.value) == expected;
                    let expires_at = before.and_then(|before| before.expires_at);
                    Ok(as_expected.then(|| Change::Put(Stored { value: value.clone(), expires_at })))
                })
            })
            .await
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Entry>> {
        let at = At::new(cx, collection);
        let prefix = options.prefix.as_deref().unwrap_or_default();
        let list = ListId::new(["kv", &cx.app().to_string(), collection.as_str(), prefix]);
        let after = match &options.cursor {
            Some(cursor) => Some(
                Key::new(list.last(cursor).ok_or(KvError::InvalidCursor)?)
                    .map_err(|_| KvError::InvalidCursor)?,
            ),
            None => None,
        };
        let first = match Key::new(prefix) {
            Ok(first) => Some(first),
            Err(_) if prefix.is_empty() => None,
            // No key begins with what no key can hold.
            Err(_) => return Ok(Page { items: Vec::new(), cursor: None }),
        };
        let start = match (&after, &first) {
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(first)) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        self.0.read(|data| {
            let found = data
                .kv
                .collection(cx.app(), collection)
                .into_iter()
                .flat_map(|collection| collection.range((start, Bound::Unbounded)))
                .take_while(|(key, _)| key.as_str().starts_with(prefix))
                .filter(|(_, stored)| stored.lives(at.now))
                .map(|(key, stored)| Entry { key: key.clone(), value: stored.value.clone() });
            let limit = clamp_page_size(options.limit);
            Ok(Page::cut(found.take(limit + 1).collect(), limit, |last: &Entry| {
                list.cursor(last.key.as_str())
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use picloud_core::{Backend, CxInner};

    use super::*;
    use crate::MemoryBackend;
    use crate::tables::Shared;

    #[tokio::test]
    async fn expired_entries_do_not_pile_up() {
        let (backend, clock) = MemoryBackend::with_test_clock();
        let shared = Arc::new(Shared::new(backend.clock()));
        let kv = MemoryKv::new(Place::tables(shared.clone()));
        let mut inner = CxInner::new(AppId::new());
        inner.clock = backend.clock();
        let cx = CallCx::from(inner);
        let collection = CollectionName::new("sessions").unwrap();

        for i in 0..20 * SWEEP_EVERY {
            let key = Key::new(i.to_string()).unwrap();
            kv.set(&cx, &collection, &key, &Json::null(), &SetOptions::ttl(1)).await.unwrap();
            clock.advance(Duration::from_millis(100));
        }

        let held = shared.lock().data.kv.collection(cx.app(), &collection).unwrap().len();
        assert!(held < 3 * SWEEP_EVERY, "{held} entries are held although only ten are alive");
    }
}
