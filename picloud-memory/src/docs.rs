//! The docs service.

use std::collections::{BTreeMap, BTreeSet};

use picloud_core::docs::filter::Path;
use picloud_core::docs::{
    DocData, DocId, DocsError, DocsEvent, DocsIndex, DocsOp, DocsService, Document, Filter, MAX_INDEXES,
    Patch, Query, WriteOptions,
};
use picloud_core::outbox::EventKind;
use picloud_core::page::Page;
use picloud_core::{AppId, CallCx, CollectionName, Json, Result, Timestamp, async_trait};

use crate::place::{Place, Store};
use crate::tables::rows_of;

type Collection = BTreeMap<DocId, Document>;

/// All documents of all apps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Documents {
    apps: BTreeMap<AppId, BTreeMap<CollectionName, Collection>>,
    /// The paths of declared indexes, which nobody needs here.
    indexes: BTreeMap<(AppId, CollectionName), BTreeSet<Path>>,
}

impl Documents {
    fn collection(&self, app: AppId, name: &CollectionName) -> Option<&Collection> {
        self.apps.get(&app)?.get(name)
    }

    fn all(&self, cx: &CallCx, name: &CollectionName) -> impl Iterator<Item = &Document> {
        self.collection(cx.app(), name).into_iter().flat_map(BTreeMap::values)
    }

    fn get(&self, cx: &CallCx, name: &CollectionName, id: DocId) -> Option<&Document> {
        self.collection(cx.app(), name)?.get(&id)
    }
}

/// One document, as a write is about to change it.
struct At<'a> {
    cx: &'a CallCx,
    collection: &'a CollectionName,
    id: DocId,
    if_version: Option<u64>,
}

impl Store<'_> {
    /// The one way in which a document changes: `decide` sees the present data and answers the new one, `None` to remove
    /// it. Answers the document before and after.
    fn change_document(
        &mut self,
        at: &At<'_>,
        decide: impl FnOnce(Option<&Document>) -> Result<Option<Json>>,
    ) -> Result<(Option<Document>, Option<Document>)> {
        self.check_revision(at.cx)?;
        let before = self.data.docs.get(at.cx, at.collection, at.id).cloned();
        if let (Some(before), Some(expected)) = (&before, at.if_version)
            && before.version != expected
        {
            let found = before.version;
            return Err(DocsError::VersionMismatch { id: at.id, expected, found }.into());
        }
        let data = decide(before.as_ref())?;
        let op = match (&before, &data) {
            (None, None) => return Ok((None, None)),
            (None, Some(_)) => DocsOp::Create,
            (Some(_), Some(_)) => DocsOp::Update,
            (Some(_), None) => DocsOp::Delete,
        };
        let now = at.cx.clock().now();
        let after = data.clone().map(|data| Document {
            id: at.id,
            data,
            version: before.as_ref().map_or(0, |before| before.version) + 1,
            created_at: before.as_ref().map_or(precise(now), |before| before.created_at),
            updated_at: precise(now),
        });
        self.rows.extend(rows_of(at.cx, EventKind::Docs, op.as_str(), now, || {
            let prev_data = before.as_ref().map(|before| before.data.clone());
            DocsEvent { collection: at.collection.clone(), id: at.id, op, data, prev_data }.to_json()
        }));
        let collections = self.data.docs.apps.entry(at.cx.app()).or_default();
        let collection = collections.entry(at.collection.clone()).or_default();
        match &after {
            Some(after) => collection.insert(at.id, after.clone()),
            None => collection.remove(&at.id),
        };
        Ok((before, after))
    }
}

/// As precise as databases keep it.
fn precise(now: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// The service.
#[derive(Debug)]
pub(crate) struct MemoryDocs(Place);

impl MemoryDocs {
    pub(crate) fn new(place: Place) -> Self {
        MemoryDocs(place)
    }

    async fn write(
        &self,
        at: At<'_>,
        data: impl FnOnce(&Document) -> Result<Option<Json>>,
    ) -> Result<Document> {
        let not_found = DocsError::NotFound { id: at.id };
        let (_, after) = self
            .0
            .write(|store| {
                store.change_document(&at, |before| before.map_or(Err(not_found.clone().into()), data))
            })
            .await?;
        Ok(after.ok_or(not_found)?)
    }
}

#[async_trait]
impl DocsService for MemoryDocs {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, data: &DocData) -> Result<Document> {
        let at = At { cx, collection, id: DocId::new(), if_version: None };
        let create = |_: Option<&Document>| Ok(Some(data.json().clone()));
        let (_, after) = self.0.write(|store| store.change_document(&at, create)).await?;
        Ok(after.ok_or(DocsError::NotFound { id: at.id })?)
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: DocId) -> Result<Option<Document>> {
        self.0.read(|stored| Ok(stored.docs.get(cx, collection, id).cloned()))
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        data: &DocData,
        options: &WriteOptions,
    ) -> Result<Document> {
        let at = At { cx, collection, id, if_version: options.if_version };
        self.write(at, |_| Ok(Some(data.json().clone()))).await
    }

    async fn patch(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Document> {
        let at = At { cx, collection, id, if_version: options.if_version };
        self.write(at, |before| Ok(Some(patch.apply(&before.data)?.into_json()))).await
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        options: &WriteOptions,
    ) -> Result<bool> {
        let at = At { cx, collection, id, if_version: options.if_version };
        let (before, _) = self.0.write(|store| store.change_document(&at, |_| Ok(None))).await?;
        Ok(before.is_some())
    }

    async fn find(&self, cx: &CallCx, collection: &CollectionName, query: &Query) -> Result<Page<Document>> {
        let after = query.after(cx.app(), collection)?;
        let mut found = self.0.read(|stored| {
            let mut found = Vec::new();
            for document in stored.docs.all(cx, collection) {
                let data = document.data.to_value()?;
                let place = query.place_of(document, &data);
                let follows = after.as_ref().is_none_or(|after| after.compare(&place, query.sort()).is_lt());
                if follows && query.filter().holds(&data) {
                    found.push((place, document.clone()));
                }
            }
            Ok(found)
        })?;
        found.sort_by(|(one, _), (two, _)| one.compare(two, query.sort()));
        let mut pager = query.pager(cx.app(), collection);
        for (_, document) in found {
            if !pager.take(document)? {
                break;
            }
        }
        pager.page()
    }

    async fn count(&self, cx: &CallCx, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        self.0.read(|stored| {
            stored
                .docs
                .all(cx, collection)
                .try_fold(0, |count, document| Ok(count + u64::from(filter.matches(&document.data)?)))
        })
    }

    async fn declare_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<()> {
        self.0.refuse_inside(DocsError::IndexInTransaction)?;
        self.0
            .write(|store| {
                let key = (cx.app(), collection.clone());
                let known = store.data.docs.indexes.entry(key).or_default();
                if known.len() >= MAX_INDEXES && !known.contains(path) {
                    return Err(DocsError::TooManyIndexes.into());
                }
                known.insert(path.clone());
                Ok(())
            })
            .await
    }

    async fn drop_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<bool> {
        self.0.refuse_inside(DocsError::IndexInTransaction)?;
        self.0
            .write(|store| {
                let known = store.data.docs.indexes.get_mut(&(cx.app(), collection.clone()));
                Ok(known.is_some_and(|known| known.remove(path)))
            })
            .await
    }

    async fn indexes(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<DocsIndex>> {
        self.0.read(|data| {
            let known = data.docs.indexes.get(&(cx.app(), collection.clone()));
            Ok(known.into_iter().flatten().map(|path| DocsIndex::new(path.clone(), true, 0)).collect())
        })
    }
}
