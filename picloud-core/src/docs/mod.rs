//! The docs room: JSON documents in collections, found by what is in them.
//!
//! All five files, and two more: [`filter`], the queries with their reference evaluator, and `patch`.

mod event;
pub mod filter;
mod patch;
mod script;
#[cfg(feature = "conformance")]
pub(crate) mod suite;
mod types;

use std::fmt::Debug;

use async_trait::async_trait;

use filter::Path;

pub use event::{DocsEvent, DocsOp};
pub use filter::{Filter, Query};
pub use patch::Patch;
pub(crate) use script::module as script_module;
pub use types::{
    CollectionName, DocData, DocId, DocsIndex, Document, ListOptions, MAX_DATA_BYTES, MAX_FOUND_BYTES,
    MAX_INDEXES, WriteOptions,
};

use crate::page::Page;
use crate::{CallCx, Result};

/// JSON documents with ids.
///
/// A document is identified by app, collection and id. The app is [`CallCx::app`], always: documents of another app
/// cannot be read, written, found or noticed.
///
/// # Contract
///
/// - Data reads back exactly as it was written.
/// - Each method is atomic: concurrent calls for one document take effect one after the other.
/// - A document has version 1 when it is created, and one more after each update and patch.
/// - A write, a delete and the outbox rows in [`CallCx::fanout`] of what it was are one commit.
/// - Writing equal data is an update like any other.
/// - With [`WriteOptions::if_version`] a write takes place only if the document has that version. A missing document has
///   none: updating it is [`DocsError::NotFound`], deleting it answers `false`.
/// - What a query finds is what [`Filter::matches`] says, in the order of [`Place::compare`](filter::Place::compare).
/// - A declared index changes how long a query takes and nothing else. A backend that needs none only keeps the list.
/// - Names, data, patches and queries were checked before a backend sees them.
///
/// Dropping the future of a write leaves it open whether the write took place; it is never half done.
#[async_trait]
pub trait DocsService: Debug + Send + Sync + 'static {
    /// Stores a new document, under a new id.
    async fn create(&self, cx: &CallCx, collection: &CollectionName, data: &DocData) -> Result<Document>;

    /// The document, or `None` when it is missing.
    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: DocId) -> Result<Option<Document>>;

    /// Replaces the data of a document.
    ///
    /// # Errors
    /// [`DocsError::NotFound`], [`DocsError::VersionMismatch`]; nothing is written.
    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        data: &DocData,
        options: &WriteOptions,
    ) -> Result<Document>;

    /// Changes the data of a document to what [`Patch::apply`] makes of it.
    ///
    /// # Errors
    /// As [`update`](DocsService::update), and those of [`Patch::apply`]; nothing is written.
    async fn patch(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Document>;

    /// Removes a document; answers whether it was present. Deleting a missing one succeeds.
    ///
    /// # Errors
    /// [`DocsError::VersionMismatch`]; nothing is removed.
    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        options: &WriteOptions,
    ) -> Result<bool>;

    /// A page of the documents that a query finds; its cursor is `None` when nothing follows. [`Query::pager`]
    /// makes it of the documents in their order.
    ///
    /// Documents that match and keep their place during the whole walk are found exactly once, whatever else changes.
    ///
    /// # Errors
    /// [`DocsError::InvalidCursor`] for a cursor of another app, collection, filter or order, and for one whose text was
    /// altered; [`DocsError::TooMuchFound`].
    async fn find(&self, cx: &CallCx, collection: &CollectionName, query: &Query) -> Result<Page<Document>>;

    /// How many documents match.
    async fn count(&self, cx: &CallCx, collection: &CollectionName, filter: &Filter) -> Result<u64>;

    /// Declares an index on what is at a path, for queries that sort by it. One that is there stays. The documents that are
    /// there are taken into it in the background; meanwhile, and afterwards, queries answer what they would without it.
    ///
    /// # Errors
    /// [`DocsError::TooManyIndexes`], [`DocsError::IndexInTransaction`].
    async fn declare_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<()>;

    /// Removes a declared index; answers whether it was there.
    ///
    /// # Errors
    /// [`DocsError::IndexInTransaction`].
    async fn drop_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<bool>;

    /// The declared indexes of a collection, in the order of their paths.
    async fn indexes(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<DocsIndex>>;
}

/// What is written as calls of [`DocsService`]; the same for every backend.
#[async_trait]
pub trait DocsServiceExt: DocsService {
    /// The first document that a query finds.
    ///
    /// # Errors
    /// As [`DocsService::find`].
    async fn find_one(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        query: &Query,
    ) -> Result<Option<Document>> {
        let page = self.find(cx, collection, &query.clone().with_limit(1)).await?;
        Ok(page.items.into_iter().next())
    }

    /// A page of all documents, in the order of their ids.
    ///
    /// # Errors
    /// As [`DocsService::find`].
    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Document>> {
        self.find(cx, collection, &Query::from(options.clone())).await
    }
}

impl<T: DocsService + ?Sized> DocsServiceExt for T {}

/// The errors that backends of the docs service raise, with their stable codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocsError {
    /// `docs.not_found`: there is no such document.
    #[error("there is no document {id}")]
    NotFound {
        /// The id.
        id: DocId,
    },
    /// `docs.version_mismatch`: the document has another version than `if_version`.
    #[error("the document {id} has version {found}, not {expected}")]
    VersionMismatch {
        /// The id.
        id: DocId,
        /// The version that it should have.
        expected: u64,
        /// The version that it has.
        found: u64,
    },
    /// `docs.not_an_object`: the data of a document, or a patch, is something else.
    #[error("the data of a document is an object, not {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// `docs.invalid_cursor`: the cursor was not handed out by this query.
    #[error("the cursor was not handed out by this query")]
    InvalidCursor,
    /// `docs.too_many_indexes`: the collection has [`MAX_INDEXES`].
    #[error("a collection has at most {MAX_INDEXES} declared indexes")]
    TooManyIndexes,
    /// `docs.index_in_transaction`: indexes are declared and dropped outside of transactions.
    #[error("an index is declared and dropped outside of transactions")]
    IndexInTransaction,
    /// `docs.found_too_much`: the documents of one answer are larger than [`MAX_FOUND_BYTES`] together.
    #[error("the documents found have more than {MAX_FOUND_BYTES} bytes; $limit and $select make them fewer")]
    TooMuchFound,
}

impl From<DocsError> for crate::Error {
    fn from(error: DocsError) -> Self {
        use crate::ErrorKind::{Conflict, InvalidInput, NotFound, TooLarge, Unsupported};
        let (kind, code) = match &error {
            DocsError::NotFound { .. } => (NotFound, "docs.not_found"),
            DocsError::VersionMismatch { .. } => (Conflict, "docs.version_mismatch"),
            DocsError::NotAnObject { .. } => (InvalidInput, "docs.not_an_object"),
            DocsError::TooManyIndexes => (TooLarge, "docs.too_many_indexes"),
            DocsError::IndexInTransaction => (Unsupported, "docs.index_in_transaction"),
            DocsError::InvalidCursor => (InvalidInput, "docs.invalid_cursor"),
            DocsError::TooMuchFound => (TooLarge, "docs.found_too_much"),
        };
        crate::Error::new(kind, code, error.to_string())
    }
}
