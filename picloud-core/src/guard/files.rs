//! The door of the files room: of the records. Bytes are stored and read by [`Files`](crate::files::Files), which comes through
//! here for every record.

use std::sync::Arc;

use async_trait::async_trait;

use super::Door;
use crate::authz::Capability;
use crate::files::{BlobId, FileChange, FileId, FileRecord, FilesService, ListOptions, NewFile, Updated};
use crate::metric::call;
use crate::outbox::EventSource;
use crate::page::Page;
use crate::{CallCx, CollectionName, Result};

/// A files service behind the door.
#[derive(Debug)]
pub(super) struct GuardedFiles {
    inner: Arc<dyn FilesService>,
    door: Door,
}

impl GuardedFiles {
    pub(super) fn new(inner: Arc<dyn FilesService>, door: Door) -> Self {
        GuardedFiles { inner, door }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FilesService for GuardedFiles {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, file: &NewFile) -> Result<FileRecord> {
        self.door
            .write(
                cx,
                call!("files.create"),
                Capability::AppFilesWrite,
                EventSource::Files { collection },
                async |cx: CallCx| self.inner.create(&cx, collection, file).await,
            )
            .await
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: FileId) -> Result<Option<FileRecord>> {
        self.door
            .read(cx, call!("files.get"), Capability::AppFilesRead, self.inner.get(cx, collection, id))
            .await
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        change: &FileChange,
    ) -> Result<Updated> {
        self.door
            .write(
                cx,
                call!("files.update"),
                Capability::AppFilesWrite,
                EventSource::Files { collection },
                async |cx: CallCx| self.inner.update(&cx, collection, id, change).await,
            )
            .await
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<FileRecord>> {
        self.door
            .write(
                cx,
                call!("files.delete"),
                Capability::AppFilesWrite,
                EventSource::Files { collection },
                async |cx: CallCx| self.inner.delete(&cx, collection, id).await,
            )
            .await
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<FileRecord>> {
        self.door
            .read(cx, call!("files.list"), Capability::AppFilesRead, self.inner.list(cx, collection, options))
            .await
    }

    async fn in_use(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        // Nobody's in particular: for the sweep.
        self.inner.in_use(blobs).await
    }
}
