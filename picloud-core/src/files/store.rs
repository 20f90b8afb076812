//! Files as wholes: records and bytes together.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::blobs::Pool;
use super::verified::Verified;
use super::{
    BlobId, BlobStore, ByteSource, Checksum, Content, ContentType, FileChange, FileId, FileInfo, FileName,
    FileRecord, FilesError, FilesService, ListOptions, Metadata, NewFile, Updated,
};
use crate::authz::Capability;
use crate::guard;
use crate::metric::call;
use crate::page::Page;
use crate::{CallCx, CollectionName, Error, ErrorKind, Result};

/// Joins the records of files with their bytes.
///
/// # Contract
///
/// - Bytes are stored before the record that names them is written, and removed after it is. What a crash in between leaves
///   is bytes that no record names: the [sweep](super::sweep()) removes them.
/// - Every write has bytes of its own: who reads while a file is updated gets what was there before, or what is there after.
/// - Bytes are compared with their checksum whenever they are read: wrong ones are [`FilesError::Corrupted`] and not
///   answered. Of a stream, the last piece is held back until the rest is known to be right.
/// - Inside a transaction, bytes that are not named any more after the commit are left to the sweep.
#[derive(Debug, Clone)]
pub struct Files {
    records: Arc<dyn FilesService>,
    blobs: Arc<dyn BlobStore>,
    max_bytes: u64,
    /// A transaction that does not commit still needs the bytes that it replaced.
    keeps_bytes: bool,
    pool: Pool,
}

/// How often a read looks at the record again because the bytes went away under it. Each time somebody else's write
/// succeeded.
const READ_ATTEMPTS: usize = 16;

/// What a read has tried so far.
#[derive(Debug, Default)]
pub(super) struct Tried {
    last: Option<BlobId>,
    times: usize,
}

impl Files {
    /// The files of which these are the records and the bytes, each of `max_bytes` at most.
    pub(crate) fn new(records: Arc<dyn FilesService>, blobs: Arc<dyn BlobStore>, max_bytes: u64) -> Self {
        Files { records, blobs, max_bytes, keeps_bytes: false, pool: Pool::default() }
    }

    /// The same files inside a transaction, whose records these are.
    pub(crate) fn inside(&self, records: Arc<dyn FilesService>) -> Self {
        Files { records, keeps_bytes: true, ..self.clone() }
    }

    /// The most bytes that a file may have.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Stores a new file.
    ///
    /// # Errors
    /// [`FilesError::TooLarge`], `files.store_failed`, `files.store_full`, those of the source and of the backend.
    pub async fn create(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        upload: &Upload,
        source: &mut dyn ByteSource,
    ) -> Result<FileInfo> {
        // Before anything is stored: who may not write fills no disk.
        cx.require(Capability::AppFilesWrite)?;
        let content = self.put(cx, source).await?;
        let Upload { name, content_type, metadata } = upload.clone();
        let file = NewFile { name, content_type, metadata, content };
        let answer = self.records.create(cx, collection, &file).await;
        Ok(self.written(answer, content).await?.info)
    }

    /// What is known about a file, or `None`.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn head(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<FileRecord>> {
        self.records.get(cx, collection, id).await
    }

    /// A file with all its bytes, or `None`.
    ///
    /// # Errors
    /// [`FilesError::Corrupted`], `files.store_failed`, those of the backend.
    pub async fn get(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<(FileInfo, Bytes)>> {
        let mut tried = Tried::default();
        while let Some(record) = self.current(cx, collection, id, &mut tried).await? {
            let Some(bytes) = self.blobs.get(record.blob).await? else { continue };
            if self.pool.checksum(&bytes).await? != record.info.sha256 {
                return Err(corrupted(&record));
            }
            return Ok(Some((record.info, bytes)));
        }
        Ok(None)
    }

    /// A file with a source of its bytes, or `None`. The last piece comes when all are known to be right.
    ///
    /// # Errors
    /// As [`get`](Self::get); the source may answer [`FilesError::Corrupted`] as well.
    pub async fn open(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<(FileInfo, Box<dyn ByteSource>)>> {
        let mut tried = Tried::default();
        while let Some(record) = self.current(cx, collection, id, &mut tried).await? {
            if let Some(source) = self.open_record(&record, 0..record.info.size).await? {
                return Ok(Some((record.info, source)));
            }
        }
        Ok(None)
    }

    /// The record, to read the bytes that it names; asked for again when they are not there: then somebody has replaced or
    /// removed them since, or they are lost.
    pub(super) async fn current(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        tried: &mut Tried,
    ) -> Result<Option<FileRecord>> {
        let Some(record) = self.records.get(cx, collection, id).await? else { return Ok(None) };
        if tried.last.replace(record.blob) == Some(record.blob) {
            return Err(corrupted(&record));
        }
        tried.times += 1;
        if tried.times > READ_ATTEMPTS {
            let text = format!("others wrote to the file {READ_ATTEMPTS} times while it was read; try again");
            return Err(Error::new(ErrorKind::Unavailable, "files.contended", text));
        }
        Ok(Some(record))
    }

    /// A part of the bytes of a file, or `None` when they are not there any more. A part is compared with what it was when
    /// all of them were found to be right, just before.
    pub(super) async fn open_record(
        &self,
        record: &FileRecord,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn ByteSource>>> {
        // Whatever is there: if it is more than was stored, that is wrong as well.
        const WHOLE: Range<u64> = 0..u64::MAX;
        let size = range.end - range.start;
        let (mut asked, mut expected) = (WHOLE, record.info.sha256);
        if range != (0..record.info.size) {
            let Some(source) = self.blobs.open(record.blob, WHOLE).await? else { return Ok(None) };
            let mut source = Verified::new(source, record.info.id, record.info.size, record.info.sha256);
            let (mut part, mut at) = (Sha256::new(), 0_u64);
            while let Some(piece) = source.next().await? {
                let end = at + piece.len() as u64;
                let place = |of: u64| usize::try_from(of.clamp(at, end) - at).unwrap_or(usize::MAX);
                part.update(piece.get(place(range.start)..place(range.end)).unwrap_or_default());
                at = end;
                // A store in memory never makes anybody wait.
                tokio::task::yield_now().await;
            }
            (asked, expected) = (range, Checksum(part.finalize().into()));
        }
        let source = self.blobs.open(record.blob, asked).await?;
        Ok(source.map(|source| {
            Box::new(Verified::new(source, record.info.id, size, expected)) as Box<dyn ByteSource>
        }))
    }

    /// Changes a file; its bytes too, if there is a source of others.
    ///
    /// # Errors
    /// [`FilesError::NotFound`], and as [`create`](Self::create).
    pub async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        mut change: FileChange,
        source: Option<&mut dyn ByteSource>,
    ) -> Result<FileInfo> {
        cx.require(Capability::AppFilesWrite)?;
        let Some(source) = source else {
            return Ok(self.records.update(cx, collection, id, &change).await?.record.info);
        };
        // For nothing, no bytes are stored.
        if self.records.get(cx, collection, id).await?.is_none() {
            return Err(FilesError::NotFound { id }.into());
        }
        let content = self.put(cx, source).await?;
        change.content = Some(content);
        let answer = self.records.update(cx, collection, id, &change).await;
        let Updated { record, before } = self.written(answer, content).await?;
        self.discard(before).await;
        Ok(record.info)
    }

    /// Removes a file; answers whether it was present.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn delete(&self, cx: &CallCx, collection: &CollectionName, id: FileId) -> Result<bool> {
        let Some(removed) = self.records.delete(cx, collection, id).await? else { return Ok(false) };
        self.discard(removed.blob).await;
        Ok(true)
    }

    /// A page of files in the order of their ids.
    ///
    /// # Errors
    /// [`FilesError::InvalidCursor`], those of the backend.
    pub async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<FileInfo>> {
        let page = self.records.list(cx, collection, options).await?;
        let items = page.items.into_iter().map(|record| record.info).collect();
        Ok(Page { items, cursor: page.cursor })
    }

    async fn put(&self, cx: &CallCx, source: &mut dyn ByteSource) -> Result<Content> {
        guard::bounded(cx, call!("files.put"), self.blobs.put(source, self.max_bytes)).await
    }

    /// The answer of a write whose bytes are stored. If it is sure that nothing was written, nobody needs them.
    async fn written<T>(&self, answer: Result<T>, content: Content) -> Result<T> {
        if let Err(error) = &answer {
            use ErrorKind::{Cancelled, Closed, Internal, Timeout, Unavailable};
            // With these it may have been.
            if !matches!(error.kind(), Cancelled | Closed | Internal | Timeout | Unavailable) {
                self.remove(content.blob).await;
            }
        }
        answer
    }

    /// Removes bytes that were replaced.
    async fn discard(&self, blob: BlobId) {
        if !self.keeps_bytes {
            self.remove(blob).await;
        }
    }

    async fn remove(&self, blob: BlobId) {
        if let Err(error) = self.blobs.delete(blob).await {
            tracing::warn!(%error, %blob, "bytes that nobody needs are left to the sweep");
        }
    }
}

fn corrupted(record: &FileRecord) -> Error {
    let (file, blob) = (record.info.id, record.blob);
    tracing::error!(%file, %blob, "the bytes of a file are missing, or not those that were stored");
    FilesError::Corrupted { id: file }.into()
}

/// A file about to be created, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its name.
    pub name: FileName,
    /// What its bytes are.
    pub content_type: ContentType,
    /// What the app notes about it.
    pub metadata: Metadata,
}

impl Upload {
    /// A file without metadata.
    ///
    /// # Errors
    /// `files.invalid_name`, `files.invalid_content_type`.
    pub fn new(name: impl Into<String>, content_type: impl Into<String>) -> Result<Self> {
        let (name, content_type) = (FileName::new(name)?, ContentType::new(content_type)?);
        Ok(Upload { name, content_type, metadata: Metadata::default() })
    }

    /// The same file with metadata.
    ///
    /// # Errors
    /// `files.invalid_metadata`, `files.metadata_too_large`, `json.invalid`.
    pub fn metadata(mut self, metadata: &(impl serde::Serialize + ?Sized)) -> Result<Self> {
        self.metadata = Metadata::new(crate::Json::from_value(metadata)?)?;
        Ok(self)
    }
}
