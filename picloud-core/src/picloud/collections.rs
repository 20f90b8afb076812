//! Collections of an app, as host code uses them.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::docs::filter::Path;
use crate::docs::{
    DocData, DocId, DocsIndex, DocsService, DocsServiceExt, Document, Filter, Patch, Query, WriteOptions,
};
#[cfg(feature = "files")]
use crate::files::{ByteSource, FileChange, FileId, FileInfo, Files, Upload};
use crate::kv::{Key, KvService, KvServiceExt, ListOptions, SetOptions};
use crate::page::Page;
use crate::{CallCx, CollectionName, Json, Result, Services};

/// A collection of an app's KV, for host code: keys as text, values as anything that serde knows. The contract is
/// that of [`KvService`].
#[derive(Debug, Clone)]
pub struct KvCollection {
    kv: Arc<dyn KvService>,
    cx: CallCx,
    name: CollectionName,
}

impl KvCollection {
    pub(super) fn new(services: &Services, cx: CallCx, name: &str) -> Result<Self> {
        Ok(KvCollection { kv: services.kv.clone(), cx, name: CollectionName::new(name)? })
    }

    /// The value, or `None`.
    ///
    /// # Errors
    /// `kv.invalid_key`, `json.mismatch`, and those of the backend.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.kv.get(&self.cx, &self.name, &Key::new(key)?).await?;
        value.map(|value| value.to_value()).transpose()
    }

    /// Whether the key is present.
    ///
    /// # Errors
    /// `kv.invalid_key`, and those of the backend.
    pub async fn has(&self, key: &str) -> Result<bool> {
        self.kv.has(&self.cx, &self.name, &Key::new(key)?).await
    }

    /// Writes a value, without a time to live.
    ///
    /// # Errors
    /// `kv.invalid_key`, `kv.value_too_large`, `json.invalid`, and those of the backend.
    pub async fn set(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.set_with(key, value, &SetOptions::default()).await
    }

    /// Writes a value, with options.
    ///
    /// # Errors
    /// As [`set`](Self::set), and `kv.invalid_ttl`.
    pub async fn set_with(
        &self,
        key: &str,
        value: &(impl Serialize + ?Sized),
        options: &SetOptions,
    ) -> Result<()> {
        self.kv.set(&self.cx, &self.name, &Key::new(key)?, &Json::from_value(value)?, options).await
    }

    /// Removes an entry; answers whether it was present.
    ///
    /// # Errors
    /// `kv.invalid_key`, and those of the backend.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        self.kv.delete(&self.cx, &self.name, &Key::new(key)?).await
    }

    /// Adds to an integer and answers the sum.
    ///
    /// # Errors
    /// `kv.not_an_integer`, `kv.overflow`, `kv.invalid_key`, and those of the backend.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64> {
        self.kv.increment(&self.cx, &self.name, &Key::new(key)?, by).await
    }

    /// A page of entries in byte order of the key.
    ///
    /// # Errors
    /// `kv.invalid_cursor`, and those of the backend.
    pub async fn list(&self, options: &ListOptions) -> Result<Page<crate::kv::Entry>> {
        self.kv.list(&self.cx, &self.name, options).await
    }
}

/// A collection of documents of an app, for host code: data and queries are anything that serde writes, such as
/// `serde_json::json!`. The contract is that of [`DocsService`], queries are those of [`filter`](crate::docs::filter).
#[derive(Debug, Clone)]
pub struct DocsCollection {
    docs: Arc<dyn DocsService>,
    cx: CallCx,
    name: CollectionName,
}

fn query_of(query: &(impl Serialize + ?Sized)) -> Result<Query> {
    Query::parse(&Json::from_value(query)?)
}

impl DocsCollection {
    pub(super) fn new(services: &Services, cx: CallCx, name: &str) -> Result<Self> {
        Ok(DocsCollection { docs: services.docs.clone(), cx, name: CollectionName::new(name)? })
    }

    /// Stores a new document.
    ///
    /// # Errors
    /// `docs.not_an_object`, `docs.data_too_large`, `json.invalid`, and those of the backend.
    pub async fn create(&self, data: &(impl Serialize + ?Sized)) -> Result<Document> {
        self.docs.create(&self.cx, &self.name, &DocData::new(Json::from_value(data)?)?).await
    }

    /// The document, or `None`.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn get(&self, id: DocId) -> Result<Option<Document>> {
        self.docs.get(&self.cx, &self.name, id).await
    }

    /// Replaces the data of a document.
    ///
    /// # Errors
    /// `docs.not_found`, `docs.version_mismatch`, and as [`create`](Self::create).
    pub async fn update(
        &self,
        id: DocId,
        data: &(impl Serialize + ?Sized),
        options: &WriteOptions,
    ) -> Result<Document> {
        let data = DocData::new(Json::from_value(data)?)?;
        self.docs.update(&self.cx, &self.name, id, &data, options).await
    }

    /// Changes the data of a document by a [`Patch`].
    ///
    /// # Errors
    /// As [`update`](Self::update), and those of [`Patch`].
    pub async fn patch(
        &self,
        id: DocId,
        patch: &(impl Serialize + ?Sized),
        options: &WriteOptions,
    ) -> Result<Document> {
        let patch = Patch::parse(&Json::from_value(patch)?)?;
        self.docs.patch(&self.cx, &self.name, id, &patch, options).await
    }

    /// Removes a document; answers whether it was present.
    ///
    /// # Errors
    /// `docs.version_mismatch`, and those of the backend.
    pub async fn delete(&self, id: DocId, options: &WriteOptions) -> Result<bool> {
        self.docs.delete(&self.cx, &self.name, id, options).await
    }

    /// A page of the documents that a query finds.
    ///
    /// # Errors
    /// Those of [`Query::parse`], `docs.invalid_cursor`, `docs.found_too_much`, and those of the backend.
    pub async fn find(&self, query: &(impl Serialize + ?Sized)) -> Result<Page<Document>> {
        self.docs.find(&self.cx, &self.name, &query_of(query)?).await
    }

    /// The first document that a query finds.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn find_one(&self, query: &(impl Serialize + ?Sized)) -> Result<Option<Document>> {
        self.docs.find_one(&self.cx, &self.name, &query_of(query)?).await
    }

    /// How many documents match.
    ///
    /// # Errors
    /// Those of [`Filter::parse`], and those of the backend.
    pub async fn count(&self, filter: &(impl Serialize + ?Sized)) -> Result<u64> {
        self.docs.count(&self.cx, &self.name, &Filter::parse(&Json::from_value(filter)?)?).await
    }

    /// Declares an index on what is at a path, such as `"address.city"`: where the database has many documents it makes
    /// queries quick that sort by this path alone, with a range of it or without. At most
    /// [`MAX_INDEXES`](crate::docs::MAX_INDEXES) for a collection; each write keeps all of them. Documents that are there are
    /// taken into it in the background: [`indexes`](Self::indexes) tells how far it is. Declaring it again does nothing, so
    /// programs may do so whenever they start. Scripts declare one with `//! index COLLECTION FIELD`.
    ///
    /// # Errors
    /// `docs.invalid_path`, `docs.too_many_indexes`, `docs.index_in_transaction`, and those of the backend.
    pub async fn declare_index(&self, path: &str) -> Result<()> {
        self.docs.declare_index(&self.cx, &self.name, &Path::parse(path)?).await
    }

    /// Removes a declared index, whoever declared it; answers whether it was there. A script that still names it declares it
    /// again when it is deployed the next time.
    ///
    /// # Errors
    /// `docs.invalid_path`, `docs.index_in_transaction`, and those of the backend.
    pub async fn drop_index(&self, path: &str) -> Result<bool> {
        self.docs.drop_index(&self.cx, &self.name, &Path::parse(path)?).await
    }

    /// The declared indexes.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn indexes(&self) -> Result<Vec<DocsIndex>> {
        self.docs.indexes(&self.cx, &self.name).await
    }
}

/// A collection of files of an app, for host code. The contract is that of [`Files`].
///
/// ```
/// # use picloud_core::Picloud;
/// # use picloud_memory::MemoryBackend;
/// use picloud_core::files::Upload;
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cloud = Picloud::builder(MemoryBackend::new()).start().await?;
/// # let app = cloud.create_app("shop").await?;
/// let letters = app.files("letters")?;
/// let file = letters.create(&Upload::new("hello.txt", "text/plain")?, "hello").await?;
/// assert_eq!(letters.get(file.id).await?.unwrap(), "hello");
///
/// // The checksum is computed on the way in, and compared on the way out.
/// assert_eq!(file.sha256.to_string()[..8], *"2cf24dba");
/// # cloud.shutdown(std::time::Duration::from_secs(5)).await;
/// # Ok(()) }
/// ```
#[cfg(feature = "files")]
#[derive(Debug, Clone)]
pub struct FilesCollection {
    files: Files,
    cx: CallCx,
    name: CollectionName,
}

#[cfg(feature = "files")]
impl FilesCollection {
    pub(super) fn new(files: Files, cx: CallCx, name: &str) -> Result<Self> {
        Ok(FilesCollection { files, cx, name: CollectionName::new(name)? })
    }

    /// Stores a new file.
    ///
    /// # Errors
    /// `files.too_large`, `files.store_failed`, `files.store_full`, and those of the backend.
    pub async fn create(&self, upload: &Upload, bytes: impl Into<bytes::Bytes>) -> Result<FileInfo> {
        self.create_from_stream(upload, &mut bytes.into()).await
    }

    /// Stores a new file whose bytes come piece by piece: a few of them are held at a time.
    ///
    /// # Errors
    /// As [`create`](Self::create), and those of the source.
    pub async fn create_from_stream(&self, upload: &Upload, source: &mut dyn ByteSource) -> Result<FileInfo> {
        self.files.create(&self.cx, &self.name, upload, source).await
    }

    /// What is known about a file, or `None`.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn head(&self, id: FileId) -> Result<Option<FileInfo>> {
        Ok(self.files.head(&self.cx, &self.name, id).await?.map(|record| record.info))
    }

    /// All bytes of a file, or `None`.
    ///
    /// # Errors
    /// `files.corrupted`, `files.store_failed`, and those of the backend.
    pub async fn get(&self, id: FileId) -> Result<Option<bytes::Bytes>> {
        Ok(self.files.get(&self.cx, &self.name, id).await?.map(|(_, bytes)| bytes))
    }

    /// A file, and its bytes piece by piece, or `None`. The last piece comes when all are known to be right.
    ///
    /// # Errors
    /// As [`get`](Self::get); the source may answer `files.corrupted` as well.
    pub async fn open(&self, id: FileId) -> Result<Option<(FileInfo, Box<dyn ByteSource>)>> {
        self.files.open(&self.cx, &self.name, id).await
    }

    /// Changes what is known about a file.
    ///
    /// # Errors
    /// `files.not_found`, and those of the backend.
    pub async fn update(&self, id: FileId, change: FileChange) -> Result<FileInfo> {
        self.files.update(&self.cx, &self.name, id, change, None).await
    }

    /// Replaces the bytes of a file, and changes what is known about it.
    ///
    /// # Errors
    /// `files.not_found`, and as [`create_from_stream`](Self::create_from_stream).
    pub async fn replace(
        &self,
        id: FileId,
        change: FileChange,
        source: &mut dyn ByteSource,
    ) -> Result<FileInfo> {
        self.files.update(&self.cx, &self.name, id, change, Some(source)).await
    }

    /// Removes a file; answers whether it was present.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn delete(&self, id: FileId) -> Result<bool> {
        self.files.delete(&self.cx, &self.name, id).await
    }

    /// A page of files in the order of their ids.
    ///
    /// # Errors
    /// `files.invalid_cursor`, and those of the backend.
    pub async fn list(&self, options: &crate::files::ListOptions) -> Result<Page<FileInfo>> {
        self.files.list(&self.cx, &self.name, options).await
    }
}
