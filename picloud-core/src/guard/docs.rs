//! The door of the docs room. Data, patches and queries were checked when they were made.

use std::sync::Arc;

use async_trait::async_trait;

use super::Door;
use crate::authz::Capability;
use crate::docs::filter::Path;
use crate::docs::{DocData, DocId, DocsIndex, DocsService, Document, Filter, Patch, Query, WriteOptions};
use crate::metric::call;
use crate::outbox::EventSource;
use crate::page::Page;
use crate::{CallCx, CollectionName, Result};

/// A docs service behind the door.
#[derive(Debug)]
pub(super) struct GuardedDocs {
    inner: Arc<dyn DocsService>,
    door: Door,
}

impl GuardedDocs {
    pub(super) fn new(inner: Arc<dyn DocsService>, door: Door) -> Self {
        GuardedDocs { inner, door }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DocsService for GuardedDocs {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, data: &DocData) -> Result<Document> {
        self.door
            .write(
                cx,
                call!("docs.create"),
                Capability::AppDocsWrite,
                EventSource::Docs { collection },
                async |cx: CallCx| self.inner.create(&cx, collection, data).await,
            )
            .await
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: DocId) -> Result<Option<Document>> {
        self.door
            .read(cx, call!("docs.get"), Capability::AppDocsRead, self.inner.get(cx, collection, id))
            .await
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        data: &DocData,
        options: &WriteOptions,
    ) -> Result<Document> {
        self.door
            .write(
                cx,
                call!("docs.update"),
                Capability::AppDocsWrite,
                EventSource::Docs { collection },
                async |cx: CallCx| self.inner.update(&cx, collection, id, data, options).await,
            )
            .await
    }

    async fn patch(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Document> {
        // It answers what is stored, and it writes.
        cx.require(Capability::AppDocsRead)?;
        self.door
            .write(
                cx,
                call!("docs.patch"),
                Capability::AppDocsWrite,
                EventSource::Docs { collection },
                async |cx: CallCx| self.inner.patch(&cx, collection, id, patch, options).await,
            )
            .await
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        options: &WriteOptions,
    ) -> Result<bool> {
        self.door
            .write(
                cx,
                call!("docs.delete"),
                Capability::AppDocsWrite,
                EventSource::Docs { collection },
                async |cx: CallCx| self.inner.delete(&cx, collection, id, options).await,
            )
            .await
    }

    async fn find(&self, cx: &CallCx, collection: &CollectionName, query: &Query) -> Result<Page<Document>> {
        self.door
            .read(cx, call!("docs.find"), Capability::AppDocsRead, self.inner.find(cx, collection, query))
            .await
    }

    async fn count(&self, cx: &CallCx, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        self.door
            .read(cx, call!("docs.count"), Capability::AppDocsRead, self.inner.count(cx, collection, filter))
            .await
    }

    async fn declare_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<()> {
        let call = self.inner.declare_index(cx, collection, path);
        self.door.read(cx, call!("docs.declare_index"), Capability::AppDocsWrite, call).await
    }

    async fn drop_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<bool> {
        let call = self.inner.drop_index(cx, collection, path);
        self.door.read(cx, call!("docs.drop_index"), Capability::AppDocsWrite, call).await
    }

    async fn indexes(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<DocsIndex>> {
        let call = self.inner.indexes(cx, collection);
        self.door.read(cx, call!("docs.indexes"), Capability::AppDocsRead, call).await
    }
}
