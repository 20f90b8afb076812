//! A wrong docs service: the memory backend's, except in one way.

mod wrong;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use picloud_core::docs::filter::Path;
use picloud_core::docs::{
    DocData, DocId, DocsError, DocsIndex, DocsService, DocsServiceExt, Document, Filter, Patch, Query,
    WriteOptions,
};
use picloud_core::outbox::Fanout;
use picloud_core::page::{Cursor, Page};
use picloud_core::{AppId, CallCx, CollectionName, Error, ErrorKind, Json, Result, async_trait};

pub(crate) use wrong::Wrong;

#[derive(Debug)]
pub(crate) struct WrongDocs {
    wrong: Option<Wrong>,
    inner: Arc<dyn DocsService>,
    /// An index was declared.
    declared: AtomicBool,
    /// And then something was written.
    written: AtomicBool,
}

impl WrongDocs {
    pub(crate) fn new(inner: Arc<dyn DocsService>, wrong: Option<Wrong>) -> Self {
        WrongDocs { wrong, inner, declared: AtomicBool::new(false), written: AtomicBool::new(false) }
    }

    /// The service inside a transaction, wrong in the same way.
    pub(crate) fn inside(&self, inner: Arc<dyn DocsService>) -> Self {
        WrongDocs::new(inner, self.wrong)
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

    fn options(&self, options: &WriteOptions) -> WriteOptions {
        if self.is(Wrong::VersionsAreNotCompared) { WriteOptions::default() } else { options.clone() }
    }

    fn written(&self, written: Result<Document>) -> Result<Document> {
        let mut document = written?;
        if self.is(Wrong::VersionsStandStill) {
            document.version = 0;
        }
        Ok(document)
    }

    fn read(&self, mut document: Document) -> Document {
        if self.is(Wrong::LargeFloatsBecomeIntegers) {
            document.data = Json::from_canonical(document.data.as_str().replace("1e16", "10000000000000000"));
        }
        document
    }

    fn check_options(&self, id: DocId, options: &WriteOptions) -> Result<()> {
        match options.if_version {
            Some(expected) if self.is(Wrong::VersionsNeverFit) => {
                Err(DocsError::VersionMismatch { id, expected, found: 0 }.into())
            }
            _ => Ok(()),
        }
    }

    fn is_made_all_the_same<T>(&self, answer: &Result<T>) -> bool {
        self.is(Wrong::StaleWritesAreMade) && answer.as_ref().is_err_and(Fanout::is_stale)
    }
}

#[async_trait]
impl DocsService for WrongDocs {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, data: &DocData) -> Result<Document> {
        if self.is(Wrong::RefusesLargeData) && data.json().len() > 100_000 {
            return Err(Error::new(ErrorKind::TooLarge, "docs.data_too_large", "too large"));
        }
        let (cx, collection) = &self.place(cx, collection);
        let answer = self.inner.create(cx, collection, data).await;
        self.written.store(self.declared.load(Ordering::Acquire), Ordering::Release);
        if self.is_made_all_the_same(&answer) {
            return self.inner.create(&cx.with_fanout(Arc::default()), collection, data).await;
        }
        self.written(answer)
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: DocId) -> Result<Option<Document>> {
        let (cx, collection) = &self.place(cx, collection);
        let found = self.inner.get(cx, collection, id).await?;
        if found.is_none() && self.is(Wrong::MissingIsAnError) {
            return Err(DocsError::NotFound { id }.into());
        }
        Ok(found.map(|document| self.read(document)))
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        data: &DocData,
        options: &WriteOptions,
    ) -> Result<Document> {
        if self.is(Wrong::RefusesLargeData) && data.json().len() > 100_000 {
            return Err(Error::new(ErrorKind::TooLarge, "docs.data_too_large", "too large"));
        }
        self.check_options(id, options)?;
        let (cx, collection) = &self.place(cx, collection);
        let options = &self.options(options);
        if self.is(Wrong::UpdateMerges) {
            let patch = Patch::parse(data.json())?;
            return self.inner.patch(cx, collection, id, &patch, options).await;
        }
        let answer = self.inner.update(cx, collection, id, data, options).await;
        if self.is(Wrong::UpdateCreates) && answer.is_err() {
            return self.inner.create(cx, collection, data).await;
        }
        self.written(answer)
    }

    async fn patch(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Document> {
        self.check_options(id, options)?;
        let (cx, collection) = &self.place(cx, collection);
        let options = &self.options(options);
        if self.is(Wrong::PatchDoesNothing) || self.is(Wrong::PatchesAreNotAtomic) {
            let found = self.inner.get(cx, collection, id).await?.ok_or(DocsError::NotFound { id })?;
            if self.is(Wrong::PatchDoesNothing) {
                return Ok(found);
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let data = patch.apply(&found.data)?;
            return self.inner.update(cx, collection, id, &data, options).await;
        }
        let answer = self.inner.patch(cx, collection, id, patch, options).await;
        if self.is(Wrong::FailedPatchesCount) && answer.is_err() {
            self.inner.patch(cx, collection, id, &Patch::parse(&Json::parse("{}")?)?, options).await?;
        }
        self.written(answer)
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        options: &WriteOptions,
    ) -> Result<bool> {
        self.check_options(id, options)?;
        let (cx, collection) = &self.place(cx, collection);
        if self.is(Wrong::DeleteDoesNothing) {
            return Ok(self.inner.get(cx, collection, id).await?.is_some());
        }
        let was_there = self.inner.delete(cx, collection, id, &self.options(options)).await?;
        if let Some(expected) = options.if_version
            && self.is(Wrong::MissingHasNoVersion)
            && !was_there
        {
            return Err(DocsError::VersionMismatch { id, expected, found: 0 }.into());
        }
        Ok(was_there || self.is(Wrong::DeleteSaysYes))
    }

    async fn find(&self, cx: &CallCx, collection: &CollectionName, query: &Query) -> Result<Page<Document>> {
        let (cx, collection) = &self.place(cx, collection);
        let mut query = query.clone();
        if self.is(Wrong::OneLessOnAPage) {
            let less = query.limit().saturating_sub(1);
            if less == 0 {
                return Ok(Page { items: Vec::new(), cursor: None });
            }
            let mut page = self.inner.find(cx, collection, &query).await?;
            page.items.truncate(less);
            return Ok(page);
        }
        if self.is(Wrong::FindIgnoresTheFilter) {
            query = Query::default();
        }
        if self.is(Wrong::SortIsIgnored) {
            return self.inner.list(cx, collection, &Default::default()).await;
        }
        let mut answer = self.inner.find(cx, collection, &query).await;
        if self.is(Wrong::CursorsAreNotChecked) && answer.is_err() {
            answer = self.inner.list(cx, collection, &Default::default()).await;
        }
        let mut page = answer?;
        if self.is(Wrong::SelectIsIgnored) {
            for document in &mut page.items {
                *document = self.inner.get(cx, collection, document.id).await?.unwrap_or(document.clone());
            }
        }
        let indexed_badly = self.is(Wrong::IndexesMissTheFirst) && self.declared.load(Ordering::Acquire)
            || self.is(Wrong::IndexesMissTheLastWrite) && self.written.load(Ordering::Acquire);
        if (self.is(Wrong::FindMissesTheFirst) || indexed_badly) && !page.items.is_empty() {
            page.items.remove(0);
        }
        if self.is(Wrong::FindsInReverse) {
            page.items.reverse();
        }
        if self.is(Wrong::TheLastPageHasACursor) {
            page.cursor.get_or_insert(Cursor::new("more"));
        }
        page.items = page.items.into_iter().map(|document| self.read(document)).collect();
        Ok(page)
    }

    async fn count(&self, cx: &CallCx, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        let (cx, collection) = &self.place(cx, collection);
        let count = self.inner.count(cx, collection, filter).await?;
        Ok(if self.is(Wrong::CountsOnePage) { count.min(100) } else { count })
    }

    async fn declare_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<()> {
        let answer = self.inner.declare_index(cx, collection, path).await;
        if self.is(Wrong::AnyNumberOfIndexes) && answer.is_err() {
            return Ok(());
        }
        self.declared.store(true, Ordering::Release);
        answer
    }

    async fn drop_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<bool> {
        if self.is(Wrong::DroppedIndexesStay) {
            return Ok(true);
        }
        self.inner.drop_index(cx, collection, path).await
    }

    async fn indexes(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<DocsIndex>> {
        let mut indexes = self.inner.indexes(cx, collection).await?;
        if self.is(Wrong::IndexesAreListedInReverse) {
            indexes.reverse();
        }
        if self.is(Wrong::IndexesAreForgotten) {
            indexes.clear();
        }
        if self.is(Wrong::IndexesAreOfEveryone) && self.declared.load(Ordering::Acquire) {
            indexes = vec![DocsIndex::new(Path::parse("n")?, true, 0)];
        }
        Ok(indexes)
    }
}
