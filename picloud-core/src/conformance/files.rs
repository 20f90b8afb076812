//! A collection of files as cases write it: records of bytes that nobody stored.

use std::sync::Arc;

use crate::files::{
    BlobId, Checksum, Content, ContentType, FileChange, FileId, FileName, FileRecord, FilesService,
    ListOptions, Metadata, NewFile, Updated,
};
use crate::outbox::Fanout;
use crate::page::{Cursor, Page};
use crate::{AppId, CallCx, CollectionName, Json, Result};

#[derive(Debug, Clone)]
pub(crate) struct Records {
    files: Arc<dyn FilesService>,
    cx: CallCx,
    name: CollectionName,
}

/// Bytes of a size, which no others are.
pub(crate) fn content(size: u64) -> Content {
    let blob = BlobId::new();
    let mut sum = [0; 32];
    sum[..16].copy_from_slice(blob.as_uuid().as_bytes());
    Content { blob, size, sha256: Checksum(sum) }
}

/// A file of that name, with all that a file may have.
pub(crate) fn new_file(name: &str) -> Result<NewFile> {
    Ok(NewFile {
        name: FileName::new(name)?,
        content_type: ContentType::new("text/plain; charset=\"utf-8\"")?,
        metadata: Metadata::new(Json::parse(r#"{"a":[1.0,1e16,"ü\""],"b":null}"#)?)?,
        content: content(7),
    })
}

impl Records {
    pub(crate) fn new(files: Arc<dyn FilesService>, cx: CallCx, name: &str) -> Result<Self> {
        Ok(Records { files, cx, name: CollectionName::new(name)? })
    }

    /// Another collection of the same app.
    pub(crate) fn other(&self, name: &str) -> Result<Self> {
        Records::new(self.files.clone(), self.cx.clone(), name)
    }

    /// The same collection, whose writes take these outbox rows along.
    pub(crate) fn with_fanout(&self, fanout: &Fanout) -> Self {
        Records { cx: self.cx.with_fanout(Arc::new(fanout.clone())), ..self.clone() }
    }

    pub(crate) fn app(&self) -> AppId {
        self.cx.app()
    }

    pub(crate) async fn create(&self, name: &str) -> Result<FileRecord> {
        self.create_file(&new_file(name)?).await
    }

    pub(crate) async fn create_file(&self, file: &NewFile) -> Result<FileRecord> {
        self.files.create(&self.cx, &self.name, file).await
    }

    pub(crate) async fn get(&self, id: FileId) -> Result<Option<FileRecord>> {
        self.files.get(&self.cx, &self.name, id).await
    }

    pub(crate) async fn update(&self, id: FileId, change: &FileChange) -> Result<Updated> {
        self.files.update(&self.cx, &self.name, id, change).await
    }

    /// Gives a file other bytes.
    pub(crate) async fn replace(&self, id: FileId) -> Result<Updated> {
        self.update(id, &FileChange { content: Some(content(9)), ..FileChange::default() }).await
    }

    pub(crate) async fn delete(&self, id: FileId) -> Result<Option<FileRecord>> {
        self.files.delete(&self.cx, &self.name, id).await
    }

    pub(crate) async fn page(&self, limit: usize, cursor: Option<Cursor>) -> Result<Page<FileRecord>> {
        self.files.list(&self.cx, &self.name, &ListOptions { cursor, limit: Some(limit) }).await
    }

    pub(crate) async fn in_use(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let mut used = self.files.in_use(blobs).await?;
        used.sort_unstable();
        Ok(used)
    }

    /// The files of each page of a whole walk, at most `pages` of them.
    pub(crate) async fn walk(&self, limit: usize, pages: usize) -> Result<Vec<Vec<FileRecord>>> {
        let (mut walked, mut cursor) = (Vec::new(), None);
        loop {
            assert!(walked.len() < pages, "the walk does not end after {pages} pages: {walked:?}");
            let page = self.page(limit, cursor).await?;
            walked.push(page.items);
            match page.cursor {
                None => return Ok(walked),
                next => cursor = next,
            }
        }
    }
}
