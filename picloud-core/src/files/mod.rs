//! The files room: bytes with a name and a type, in collections.
//!
//! All five files, and more, since a file is two things in two stores. The record is a row of the backend: the trait, types
//! and event here. The bytes are in a [`BlobStore`]; what joins the two ([`Files`]), answers requests with files
//! ([`http`]) and removes bytes that nobody refers to ([`sweep()`]) is behind feature `files`, with the script module.

#[cfg(feature = "files")]
pub mod blobs;
#[cfg(feature = "files")]
mod config;
#[cfg(test)]
mod crash_tests;
mod event;
#[cfg(feature = "files")]
pub mod http;
#[cfg(feature = "files")]
mod script;
#[cfg(feature = "files")]
mod store;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
#[cfg(feature = "files")]
mod sweep;
mod types;
#[cfg(feature = "files")]
mod verified;

use std::fmt::Debug;

use async_trait::async_trait;

#[cfg(feature = "files")]
pub use self::http::FileResponse;
#[cfg(feature = "files")]
pub use blobs::{BlobStore, ByteSource, FilesystemBlobs, MemoryBlobs, StoredBlob};
#[cfg(feature = "files")]
pub use config::FilesConfig;
pub use event::{FilesEvent, FilesOp};
#[cfg(feature = "files")]
pub(crate) use script::module as script_module;
#[cfg(feature = "files")]
pub use store::{Files, Upload};
#[cfg(feature = "files")]
pub use sweep::sweep;
pub use types::{
    BlobId, Checksum, CollectionName, Content, ContentType, FileAnswer, FileChange, FileId, FileInfo,
    FileName, FileRecord, ListOptions, MAX_CONTENT_TYPE_BYTES, MAX_FILE_NAME_BYTES, MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH, Metadata, NewFile, ServedFile, Updated,
};

use crate::page::Page;
use crate::{CallCx, Result};

/// The records of files: everything but their bytes, which a record names by a [`BlobId`].
///
/// A file is identified by app, collection and id. The app is [`CallCx::app`], always: files of another app cannot be read,
/// written, listed or noticed.
///
/// # Contract
///
/// - A record reads back exactly as it was written.
/// - Each method is atomic: concurrent calls for one file take effect one after the other.
/// - A write, a delete and the outbox rows in [`CallCx::fanout`] of what it was are one commit; the payload is a
///   [`FilesEvent`].
/// - [`FileRecord::created`] and [`FileRecord::changed`] say what a write makes of a record.
/// - Each name of bytes that a write replaced or removed is told to one writer only.
/// - Whether the bytes are there is no concern of this service.
/// - Names, types and metadata were checked before a backend sees them.
///
/// Dropping the future of a write leaves it open whether the write took place; it is never half done.
#[async_trait]
pub trait FilesService: Debug + Send + Sync + 'static {
    /// Stores the record of a new file, under a new id.
    async fn create(&self, cx: &CallCx, collection: &CollectionName, file: &NewFile) -> Result<FileRecord>;

    /// The record, or `None` when it is missing.
    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: FileId) -> Result<Option<FileRecord>>;

    /// Changes a record; answers it, and which bytes it named before.
    ///
    /// # Errors
    /// [`FilesError::NotFound`]; nothing is written.
    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        change: &FileChange,
    ) -> Result<Updated>;

    /// Removes a record; answers it, or `None` when it was missing, which is no error.
    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<FileRecord>>;

    /// A page of records in the order of their ids; its cursor is `None` when nothing follows.
    ///
    /// Files that are there during the whole walk are listed exactly once, whatever else changes.
    ///
    /// # Errors
    /// [`FilesError::InvalidCursor`] for a cursor of another app or collection, and for one whose text was altered.
    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<FileRecord>>;

    /// Which of these bytes a record of any app names, in any order: for the sweep of what nobody names. What a
    /// transaction that is still open has written need not be seen.
    async fn in_use(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>>;
}

/// The errors of the files room, with their stable codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// `files.not_found`: there is no such file.
    #[error("there is no file {id}")]
    NotFound {
        /// The id.
        id: FileId,
    },
    /// `files.corrupted`: the bytes are not those that were stored, or are missing.
    #[error("the bytes of the file {id} are not those that were stored")]
    Corrupted {
        /// The id.
        id: FileId,
    },
    /// `files.too_large`: there are more bytes than a file may have.
    #[error("a file has at most {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// `files.missing_field`: a new file lacks something.
    #[error("a new file needs the field {field}")]
    MissingField {
        /// What it lacks.
        field: &'static str,
    },
    /// `files.unknown_field`: a file has no such field.
    #[error("a file has the fields name, content_type, data and metadata, not {field:?}")]
    UnknownField {
        /// What was given.
        field: String,
    },
    /// `files.invalid_cursor`: the cursor was not handed out by this list.
    #[error("the cursor was not handed out by this list")]
    InvalidCursor,
}

impl From<FilesError> for crate::Error {
    fn from(error: FilesError) -> Self {
        use crate::ErrorKind::{Internal, InvalidInput, NotFound, TooLarge};
        let (kind, code) = match &error {
            FilesError::NotFound { .. } => (NotFound, "files.not_found"),
            FilesError::Corrupted { .. } => (Internal, "files.corrupted"),
            FilesError::TooLarge { .. } => (TooLarge, "files.too_large"),
            FilesError::MissingField { .. } => (InvalidInput, "files.missing_field"),
            FilesError::UnknownField { .. } => (InvalidInput, "files.unknown_field"),
            FilesError::InvalidCursor => (InvalidInput, "files.invalid_cursor"),
        };
        crate::Error::new(kind, code, error.to_string())
    }
}
