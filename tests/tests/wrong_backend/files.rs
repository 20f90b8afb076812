//! A wrong files service: the memory backend's, except in one way.

mod wrong;

use std::sync::Arc;
use std::time::Duration;

use picloud_core::files::{
    BlobId, Checksum, Content, ContentType, FileChange, FileId, FileName, FileRecord, FilesError,
    FilesService, ListOptions, Metadata, NewFile, Updated,
};
use picloud_core::outbox::Fanout;
use picloud_core::page::{Cursor, Page};
use picloud_core::{AppId, CallCx, CollectionName, Error, ErrorKind, Result, Timestamp, async_trait};

pub(crate) use wrong::Wrong;

#[derive(Debug)]
pub(crate) struct WrongFiles {
    wrong: Option<Wrong>,
    inner: Arc<dyn FilesService>,
}

impl WrongFiles {
    pub(crate) fn new(inner: Arc<dyn FilesService>, wrong: Option<Wrong>) -> Self {
        WrongFiles { wrong, inner }
    }

    /// The service inside a transaction, wrong in the same way.
    pub(crate) fn inside(&self, inner: Arc<dyn FilesService>) -> Self {
        WrongFiles { wrong: self.wrong, inner }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// Where the call goes.
    fn place(&self, cx: &CallCx, collection: &CollectionName) -> (CallCx, CollectionName) {
        let (mut cx, mut collection) = (cx.clone(), collection.clone());
        if self.is(Wrong::AppsAreOne) {
            // No app has this id, so there is nothing to match.
            let mut inner = cx.to_inner();
            inner.app = "00000000-0000-7000-8000-000000000001".parse::<AppId>().unwrap();
            cx = CallCx::from(inner);
        }
        if self.is(Wrong::CollectionsAreOne) {
            collection = CollectionName::new("one").unwrap();
        }
        if self.is(Wrong::EventsAreForgotten) {
            cx = cx.with_fanout(Arc::default());
        }
        (cx, collection)
    }

    fn told(&self, mut record: FileRecord) -> FileRecord {
        if self.is(Wrong::TimesStandStill) {
            (record.info.created_at, record.info.updated_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        }
        record
    }

    fn is_made_all_the_same<T>(&self, answer: &Result<T>) -> bool {
        self.is(Wrong::StaleWritesAreMade) && answer.as_ref().is_err_and(Fanout::is_stale)
    }

    /// Fires the events of a file that comes and goes.
    async fn fire(&self, cx: &CallCx, collection: &CollectionName) -> Result<()> {
        let content = Content { blob: BlobId::new(), size: 1, sha256: Checksum([0; 32]) };
        let (name, content_type) = (FileName::new("x")?, ContentType::new("a/b")?);
        let file = NewFile { name, content_type, metadata: Metadata::default(), content };
        let record = self.inner.create(cx, collection, &file).await?;
        self.inner.delete(cx, collection, record.info.id).await?;
        Ok(())
    }
}

#[async_trait]
impl FilesService for WrongFiles {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, file: &NewFile) -> Result<FileRecord> {
        if self.is(Wrong::RefusesLargeMetadata) && file.metadata.json().len() > 10_000 {
            return Err(Error::new(ErrorKind::TooLarge, "files.metadata_too_large", "too large"));
        }
        let (cx, collection) = &self.place(cx, collection);
        let mut file = file.clone();
        if self.is(Wrong::NamesAreMadePlain) {
            file.name = FileName::new(file.name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "_"))?;
        }
        let answer = self.inner.create(cx, collection, &file).await;
        if self.is_made_all_the_same(&answer) {
            return self.inner.create(&cx.with_fanout(Arc::default()), collection, &file).await;
        }
        Ok(self.told(answer?))
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: FileId) -> Result<Option<FileRecord>> {
        let (cx, collection) = &self.place(cx, collection);
        let found = self.inner.get(cx, collection, id).await?;
        if found.is_none() && self.is(Wrong::MissingIsAnError) {
            return Err(FilesError::NotFound { id }.into());
        }
        Ok(found.map(|record| self.told(record)))
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        change: &FileChange,
    ) -> Result<Updated> {
        let (cx, collection) = &self.place(cx, collection);
        let mut change = change.clone();
        let before = self.inner.get(cx, collection, id).await?;
        if self.is(Wrong::UpdatesAreNotAtomic) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match &before {
            None if self.is(Wrong::UpdateCreates) => {
                self.fire(cx, collection).await?;
                let content = Content { blob: BlobId::new(), size: 1, sha256: Checksum([0; 32]) };
                let (name, content_type) = (FileName::new("x")?, ContentType::new("a/b")?);
                let file = NewFile { name, content_type, metadata: Metadata::default(), content };
                let record = self.inner.create(cx, collection, &file).await?;
                return Ok(Updated { before: record.blob, record });
            }
            None if self.is(Wrong::WritesWithoutEffectFire) => self.fire(cx, collection).await?,
            _ => {}
        }
        if self.is(Wrong::UpdateDoesNothing) {
            change = FileChange::default();
        }
        if self.is(Wrong::UpdateResetsMetadata) {
            change.metadata.get_or_insert_default();
        }
        let answer = self.inner.update(cx, collection, id, &change).await;
        if self.is_made_all_the_same(&answer) {
            return self.inner.update(&cx.with_fanout(Arc::default()), collection, id, &change).await;
        }
        let mut updated = answer?;
        updated.record = self.told(updated.record);
        if self.is(Wrong::UpdateTellsWhatIsThereNow) {
            updated.before = updated.record.blob;
        }
        if self.is(Wrong::UpdatesAreNotAtomic) {
            updated.before = before.map_or(updated.before, |before| before.blob);
        }
        Ok(updated)
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<FileRecord>> {
        let (cx, collection) = &self.place(cx, collection);
        let before = self.inner.get(cx, collection, id).await?;
        if self.is(Wrong::DeleteDoesNothing) {
            return Ok(before);
        }
        if self.is(Wrong::DeletesAreNotAtomic) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if before.is_none() && self.is(Wrong::DeletingMissingIsAnError) {
            return Err(FilesError::NotFound { id }.into());
        }
        let answer = self.inner.delete(cx, collection, id).await;
        if self.is_made_all_the_same(&answer) {
            return self.inner.delete(&cx.with_fanout(Arc::default()), collection, id).await;
        }
        let removed = answer?;
        match self.wrong {
            Some(Wrong::DeleteTellsNothing) => Ok(None),
            Some(Wrong::DeletesAreNotAtomic) => Ok(before),
            _ => Ok(removed),
        }
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<FileRecord>> {
        let (cx, collection) = &self.place(cx, collection);
        if self.is(Wrong::OneLessOnAPage) && options.limit == Some(0) {
            return Ok(Page { items: Vec::new(), cursor: None });
        }
        let mut answer = self.inner.list(cx, collection, options).await;
        if self.is(Wrong::CursorsAreNotChecked) && answer.is_err() {
            answer = self.inner.list(cx, collection, &ListOptions::default()).await;
        }
        let mut page = answer?;
        if self.is(Wrong::ListMissesTheFirst) && !page.items.is_empty() {
            page.items.remove(0);
        }
        if self.is(Wrong::ListsInReverse) {
            page.items.reverse();
        }
        if self.is(Wrong::TheLastPageHasACursor) {
            page.cursor.get_or_insert(Cursor::new("more"));
        }
        Ok(page)
    }

    async fn in_use(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        match self.wrong {
            Some(Wrong::NothingIsInUse) => Ok(Vec::new()),
            Some(Wrong::EverythingIsInUse) => Ok(blobs.to_vec()),
            _ => self.inner.in_use(blobs).await,
        }
    }
}
