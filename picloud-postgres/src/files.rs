//! The files service: records, without bytes.

use std::sync::Arc;

use picloud_core::files::{
    BlobId, Checksum, ContentType, FileChange, FileId, FileInfo, FileName, FileRecord, FilesError,
    FilesEvent, FilesService, ListOptions, Metadata, NewFile, Updated,
};
use picloud_core::outbox::Fanout;
use picloud_core::page::{Page, clamp_page_size};
use picloud_core::{CallCx, CollectionName, Error, Json, Result, async_trait};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Postgres, Row};
use uuid::Uuid;

use crate::backend::{Inner, WRITE_ATTEMPTS, contended, give_way};
use crate::error::{is_contended, of_database};
use crate::event_rows::EventRows;
use crate::source::Source;
use crate::sql::EventStatement;
use crate::time::Time;

type Bound = sqlx::query::Query<'static, Postgres, PgArguments>;

#[derive(Debug)]
pub(crate) struct PostgresFiles {
    backend: Arc<Inner>,
    source: Source,
}

/// A record, and its version.
fn record(row: &PgRow) -> Result<(FileRecord, i64)> {
    let stored = |error: sqlx::Error| of_database(error);
    let text = |column: usize| row.try_get::<String, _>(column).map_err(stored);
    let time = |column: usize| Ok::<_, Error>(row.try_get::<Time, _>(column).map_err(stored)?.0);
    let sha256 = row.try_get::<Vec<u8>, _>(4).map_err(stored)?.try_into();
    let info = FileInfo {
        id: FileId::from_uuid(row.try_get(0).map_err(stored)?),
        name: FileName::new(text(1)?)?,
        content_type: ContentType::new(text(2)?)?,
        size: row.try_get::<i64, _>(3).map_err(stored)?.cast_unsigned(),
        sha256: Checksum(sha256.map_err(|_| Error::internal("a checksum of another length"))?),
        metadata: Metadata::new(Json::from_canonical(text(5)?))?,
        created_at: time(6)?,
        updated_at: time(7)?,
    };
    let blob = BlobId::from_uuid(row.try_get(8).map_err(stored)?);
    Ok((FileRecord { info, blob }, row.try_get(9).map_err(stored)?))
}

/// One record, about to be written.
struct At<'a> {
    cx: &'a CallCx,
    collection: &'a CollectionName,
    id: FileId,
}

impl PostgresFiles {
    pub(crate) fn new(backend: Arc<Inner>, source: Source) -> Self {
        PostgresFiles { backend, source }
    }

    async fn found(&self, at: &At<'_>) -> Result<Option<(FileRecord, i64)>> {
        let get = || {
            let query = self.backend.sql.files_get.query().bind(*at.cx.app().as_uuid());
            query.bind(at.collection.to_string()).bind(*at.id.as_uuid())
        };
        let rows = self.backend.read_all(&self.source, get).await?;
        rows.first().map(record).transpose()
    }

    /// Writes, if the record is still what `event` says it was; answers whether it did.
    async fn write_once(
        &self,
        at: &At<'_>,
        event: &FilesEvent<'_>,
        statement: &EventStatement,
        bind: impl FnOnce(Bound) -> Bound,
    ) -> Result<bool> {
        let events = EventRows::new(at.cx, &[event.op.as_str()]);
        let query = events
            .query(statement)
            .bind(*at.cx.app().as_uuid())
            .bind(at.collection.to_string())
            .bind(*at.id.as_uuid());
        let query = bind(events.bind(query).bind(event.to_json()?.as_str().to_owned()));
        let rows = match self.backend.write_once(&self.source, query).await {
            // The database gave way to another writer.
            Err(error) if is_contended(&error) && matches!(self.source, Source::Lanes(_)) => {
                return Ok(false);
            }
            answer => answer?,
        };
        let row = rows.first().ok_or_else(|| Error::internal("a write without an answer"))?;
        let read = || -> sqlx::Result<(bool, bool, bool)> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        };
        let (written, fired, fresh) = read().map_err(of_database)?;
        if fired {
            self.source.note_fired(&self.backend);
        }
        if written || fresh { Ok(written) } else { Err(Fanout::stale()) }
    }
}

/// $14 to $21.
fn bind_record(query: Bound, record: &FileRecord) -> Bound {
    let info = &record.info;
    query
        .bind(info.name.as_str().to_owned())
        .bind(info.content_type.as_str().to_owned())
        .bind(info.size.cast_signed())
        .bind(info.sha256.0.to_vec())
        .bind(info.metadata.json().as_str().to_owned())
        .bind(Time(info.created_at))
        .bind(Time(info.updated_at))
        .bind(*record.blob.as_uuid())
}

#[async_trait]
impl FilesService for PostgresFiles {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, file: &NewFile) -> Result<FileRecord> {
        let at = At { cx, collection, id: FileId::new() };
        for attempt in 0..WRITE_ATTEMPTS {
            let record = FileRecord::created(at.id, file, cx.clock().now());
            let event = FilesEvent::between(collection, None, Some(&record.info));
            let event = event.ok_or_else(|| Error::internal("a write that is none"))?;
            let statement = &self.backend.sql.files_create;
            if self.write_once(&at, &event, statement, |query| bind_record(query, &record)).await? {
                return Ok(record);
            }
            give_way(attempt).await;
        }
        Err(contended("files.contended", "file"))
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: FileId) -> Result<Option<FileRecord>> {
        Ok(self.found(&At { cx, collection, id }).await?.map(|(record, _)| record))
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
        change: &FileChange,
    ) -> Result<Updated> {
        let at = At { cx, collection, id };
        for attempt in 0..WRITE_ATTEMPTS {
            let (before, version) = self.found(&at).await?.ok_or(FilesError::NotFound { id })?;
            let record = before.changed(change, cx.clock().now());
            let event = FilesEvent::between(collection, Some(&before.info), Some(&record.info));
            let event = event.ok_or_else(|| Error::internal("a write that is none"))?;
            let bind = |query| bind_record(query, &record).bind(version);
            if self.write_once(&at, &event, &self.backend.sql.files_update, bind).await? {
                return Ok(Updated { record, before: before.blob });
            }
            // Somebody else was faster.
            give_way(attempt).await;
        }
        Err(contended("files.contended", "file"))
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: FileId,
    ) -> Result<Option<FileRecord>> {
        let at = At { cx, collection, id };
        for attempt in 0..WRITE_ATTEMPTS {
            let Some((before, version)) = self.found(&at).await? else { return Ok(None) };
            let event = FilesEvent::between(collection, Some(&before.info), None);
            let event = event.ok_or_else(|| Error::internal("a write that is none"))?;
            let statement = &self.backend.sql.files_delete;
            if self.write_once(&at, &event, statement, |query| query.bind(version)).await? {
                return Ok(Some(before));
            }
            give_way(attempt).await;
        }
        Err(contended("files.contended", "file"))
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<FileRecord>> {
        let after = FileId::after(cx.app(), collection, options.cursor.as_ref())?;
        let after = after.map_or(Uuid::nil(), |after| *after.as_uuid());
        let limit = clamp_page_size(options.limit);
        let list = || {
            let query = self.backend.sql.files_list.query().bind(*cx.app().as_uuid());
            query.bind(collection.to_string()).bind(after).bind(i64::try_from(limit + 1).unwrap_or(i64::MAX))
        };
        let rows = self.backend.read_all(&self.source, list).await?;
        let items = rows.iter().map(|row| Ok(record(row)?.0)).collect::<Result<_>>()?;
        Ok(Page::cut(items, limit, |last: &FileRecord| last.info.id.cursor(cx.app(), collection)))
    }

    async fn in_use(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let ids: Vec<Uuid> = blobs.iter().map(|blob| *blob.as_uuid()).collect();
        let ask = || self.backend.sql.files_in_use.query().bind(ids.clone());
        let rows = self.backend.read_all(&self.source, ask).await?;
        rows.iter().map(|row| Ok(BlobId::from_uuid(row.try_get(0).map_err(of_database)?))).collect()
    }
}
