//! The files service: records, without bytes.

use std::collections::{BTreeMap, HashSet};

use picloud_core::files::{
    BlobId, FileChange, FileId, FileRecord, FilesError, FilesEvent, FilesService, ListOptions, NewFile,
    Updated,
};
use picloud_core::outbox::EventKind;
use picloud_core::page::{Page, clamp_page_size};
use picloud_core::{AppId, CallCx, CollectionName, Result, Timestamp, async_trait};

use crate::place::{Place, Store};
use crate::tables::rows_of;

/// The records of all apps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    apps: BTreeMap<AppId, BTreeMap<CollectionName, BTreeMap<FileId, FileRecord>>>,
}

impl Records {
    fn collection(&self, cx: &CallCx, name: &CollectionName) -> Option<&BTreeMap<FileId, FileRecord>> {
        self.apps.get(&cx.app())?.get(name)
    }

    fn all(&self) -> impl Iterator<Item = &FileRecord> {
        self.apps.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }
}

impl Store<'_> {
    /// The one way in which a record changes: `decide` sees the present one and answers the new one, `None` to remove it.
    /// Answers the record before and after.
    fn change_file(
        &mut self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        decide: impl FnOnce(Option<&FileRecord>, Timestamp) -> Result<Option<FileRecord>>,
    ) -> Result<(Option<FileRecord>, Option<FileRecord>)> {
        self.check_revision(cx)?;
        let now = cx.clock().now();
        let files = self.data.files.apps.entry(cx.app()).or_default().entry(collection.clone()).or_default();
        let before = files.get(&id).cloned();
        let after = decide(before.as_ref(), now)?;
        let infos = [&before, &after].map(|record| record.as_ref().map(|record| &record.info));
        let Some(event) = FilesEvent::between(collection, infos[0], infos[1]) else {
            return Ok((None, None));
        };
        let payload = event.to_json()?;
        self.rows.extend(rows_of(cx, EventKind::Files, event.op.as_str(), now, || payload));
        match &after {
            Some(after) => files.insert(id, after.clone()),
            None => files.remove(&id),
        };
        Ok((before, after))
    }
}

/// The service.
#[derive(Debug)]
pub(crate) struct MemoryFiles(Place);

impl MemoryFiles {
    pub(crate) fn new(place: Place) -> Self {
        MemoryFiles(place)
    }
}

#[async_trait]
impl FilesService for MemoryFiles {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, file: &NewFile) -> Result<FileRecord> {
        let id = FileId::new();
        let create = |_: Option<&FileRecord>, now| Ok(Some(FileRecord::created(id, file, now)));
        let (_, after) = self.0.write(|store| store.change_file(cx, collection, id, create)).await?;
        Ok(after.ok_or(FilesError::NotFound { id })?)
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: FileId) -> Result<Option<FileRecord>> {
        self.0.read(|stored| {
            Ok(stored.files.collection(cx, collection).and_then(|files| files.get(&id)).cloned())
        })
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        change: &FileChange,
    ) -> Result<Updated> {
        let update = |before: Option<&FileRecord>, now| {
            let before = before.ok_or(FilesError::NotFound { id })?;
            Ok(Some(before.changed(change, now)))
        };
        let written = self.0.write(|store| store.change_file(cx, collection, id, update)).await?;
        let (Some(before), Some(record)) = written else { return Err(FilesError::NotFound { id }.into()) };
        Ok(Updated { record, before: before.blob })
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<FileRecord>> {
        let (before, _) =
            self.0.write(|store| store.change_file(cx, collection, id, |_, _| Ok(None))).await?;
        Ok(before)
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<FileRecord>> {
        let after = FileId::after(cx.app(), collection, options.cursor.as_ref())?;
        let limit = clamp_page_size(options.limit);
        self.0.read(|stored| {
            let files = stored.files.collection(cx, collection).into_iter().flatten();
            let follow = files.filter(|(id, _)| after.is_none_or(|after| **id > after));
            let items = follow.take(limit + 1).map(|(_, record)| record.clone()).collect();
            Ok(Page::cut(items, limit, |last: &FileRecord| last.info.id.cursor(cx.app(), collection)))
        })
    }

    async fn in_use(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let asked: HashSet<_> = blobs.iter().collect();
        self.0.read(|stored| {
            Ok(stored.files.all().map(|record| record.blob).filter(|blob| asked.contains(blob)).collect())
        })
    }
}
