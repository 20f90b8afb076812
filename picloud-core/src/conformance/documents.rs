//! A collection of documents as cases write it: data, patches and queries as text.

use std::sync::Arc;

use crate::docs::filter::Path;
use crate::docs::{DocData, DocId, DocsService, Document, Filter, Patch, Query, WriteOptions};
use crate::outbox::Fanout;
use crate::page::{Cursor, Page};
use crate::{AppId, CallCx, CollectionName, Json, Result};

#[derive(Debug, Clone)]
pub(crate) struct Documents {
    docs: Arc<dyn DocsService>,
    cx: CallCx,
    name: CollectionName,
}

fn options(if_version: Option<u64>) -> WriteOptions {
    WriteOptions { if_version }
}

impl Documents {
    pub(crate) fn new(docs: Arc<dyn DocsService>, cx: CallCx, name: &str) -> Result<Self> {
        Ok(Documents { docs, cx, name: CollectionName::new(name)? })
    }

    /// Another collection of the same app.
    pub(crate) fn other(&self, name: &str) -> Result<Self> {
        Documents::new(self.docs.clone(), self.cx.clone(), name)
    }

    /// The same collection, whose writes take these outbox rows along.
    pub(crate) fn with_fanout(&self, fanout: &Fanout) -> Self {
        Documents { cx: self.cx.with_fanout(Arc::new(fanout.clone())), ..self.clone() }
    }

    pub(crate) fn app(&self) -> AppId {
        self.cx.app()
    }

    pub(crate) async fn create(&self, data: &str) -> Result<Document> {
        self.docs.create(&self.cx, &self.name, &DocData::new(Json::parse(data)?)?).await
    }

    /// Creates documents, one after the other.
    pub(crate) async fn fill(&self, all: &[&str]) -> Result<Vec<DocId>> {
        let mut ids = Vec::with_capacity(all.len());
        for data in all {
            ids.push(self.create(data).await?.id);
        }
        Ok(ids)
    }

    pub(crate) async fn read(&self, id: DocId) -> Result<Option<Document>> {
        self.docs.get(&self.cx, &self.name, id).await
    }

    /// The data of a document, as text.
    pub(crate) async fn get(&self, id: DocId) -> Result<Option<String>> {
        Ok(self.read(id).await?.map(|document| document.data.as_str().to_owned()))
    }

    pub(crate) async fn update(&self, id: DocId, data: &str) -> Result<Document> {
        self.update_if(id, data, None).await
    }

    pub(crate) async fn update_if(&self, id: DocId, data: &str, version: Option<u64>) -> Result<Document> {
        let data = DocData::new(Json::parse(data)?)?;
        self.docs.update(&self.cx, &self.name, id, &data, &options(version)).await
    }

    pub(crate) async fn patch(&self, id: DocId, patch: &str) -> Result<Document> {
        self.patch_if(id, patch, None).await
    }

    pub(crate) async fn patch_if(&self, id: DocId, patch: &str, version: Option<u64>) -> Result<Document> {
        let patch = Patch::parse(&Json::parse(patch)?)?;
        self.docs.patch(&self.cx, &self.name, id, &patch, &options(version)).await
    }

    pub(crate) async fn delete(&self, id: DocId) -> Result<bool> {
        self.delete_if(id, None).await
    }

    pub(crate) async fn delete_if(&self, id: DocId, version: Option<u64>) -> Result<bool> {
        self.docs.delete(&self.cx, &self.name, id, &options(version)).await
    }

    pub(crate) async fn page(&self, query: &str, cursor: Option<Cursor>) -> Result<Page<Document>> {
        let mut query = Query::parse(&Json::parse(query)?)?;
        if let Some(cursor) = cursor {
            query = query.with_cursor(cursor);
        }
        self.docs.find(&self.cx, &self.name, &query).await
    }

    /// The ids that a query finds on its first page.
    pub(crate) async fn find(&self, query: &str) -> Result<Vec<DocId>> {
        Ok(self.page(query, None).await?.items.into_iter().map(|document| document.id).collect())
    }

    /// The ids of each page of a whole walk, at most `pages` of them.
    pub(crate) async fn walk(&self, query: &str, pages: usize) -> Result<Vec<Vec<DocId>>> {
        let (mut walked, mut cursor) = (Vec::new(), None);
        loop {
            assert!(walked.len() < pages, "the walk does not end after {pages} pages: {walked:?}");
            let page = self.page(query, cursor).await?;
            walked.push(page.items.into_iter().map(|document| document.id).collect());
            match page.cursor {
                None => return Ok(walked),
                next => cursor = next,
            }
        }
    }

    pub(crate) async fn declare_index(&self, path: &str) -> Result<()> {
        self.docs.declare_index(&self.cx, &self.name, &Path::parse(path)?).await
    }

    pub(crate) async fn drop_index(&self, path: &str) -> Result<bool> {
        self.docs.drop_index(&self.cx, &self.name, &Path::parse(path)?).await
    }

    /// The path of each index, and whether it is complete.
    pub(crate) async fn indexes(&self) -> Result<Vec<(String, bool)>> {
        let indexes = self.docs.indexes(&self.cx, &self.name).await?;
        Ok(indexes.into_iter().map(|index| (index.path.to_string(), index.is_complete)).collect())
    }

    pub(crate) async fn count(&self, filter: &str) -> Result<u64> {
        self.docs.count(&self.cx, &self.name, &Filter::parse(&Json::parse(filter)?)?).await
    }
}
