//! The docs service.

pub(crate) mod indexes;
pub(crate) mod jsonpath;

use std::sync::Arc;

use picloud_core::docs::filter::{Filter, Path, Place, Value, canonical_numbers};
use picloud_core::docs::{
    DocData, DocId, DocsError, DocsIndex, DocsOp, DocsService, Document, Patch, Query, WriteOptions,
};
use picloud_core::outbox::Fanout;
use picloud_core::page::Page;
use picloud_core::{CallCx, CollectionName, Error, Json, Result, Timestamp, async_trait};
use sqlx::Postgres;
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};
use uuid::Uuid;

use crate::backend::{Inner, WRITE_ATTEMPTS, contended, give_way};
use crate::error::{is_contended, of_database};
use crate::event_rows::EventRows;
use crate::source::Source;
use crate::sql::{EventStatement, Filtered, MOST_WALKED, Statement, Walk};
use crate::time::Time;
use jsonpath::Condition;

/// How many documents are fetched at once: together with the largest that is the memory that a query takes.
const BATCH: usize = MOST_WALKED;

type Bound = sqlx::query::Query<'static, Postgres, PgArguments>;

#[derive(Debug)]
pub(crate) struct PostgresDocs {
    backend: Arc<Inner>,
    source: Source,
}

/// Version and times of what was written.
type Written = (u64, Timestamp, Timestamp);

/// What a statement that writes tells.
enum Told {
    Written {
        written: Written,
        /// Rows were stored.
        fired: bool,
    },
    Not {
        /// The version that was there.
        found: Option<u64>,
        /// The app is at the revision that was expected.
        fresh: bool,
        /// The collection has no declared indexes, or they were kept.
        bare: bool,
    },
}

impl Told {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        if row.try_get(0)? {
            let (created_at, updated_at): (Time, Time) = (row.try_get(2)?, row.try_get(3)?);
            let written = (row.try_get::<i64, _>(1)?.cast_unsigned(), created_at.0, updated_at.0);
            return Ok(Told::Written { written, fired: row.try_get(4)? });
        }
        let found = row.try_get::<Option<i64>, _>(5)?.map(i64::cast_unsigned);
        Ok(Told::Not { found, fresh: row.try_get(6)?, bare: row.try_get(7)? })
    }
}

fn document(row: &PgRow) -> Result<Document> {
    let read = || -> sqlx::Result<Document> {
        let (created_at, updated_at): (Time, Time) = (row.try_get(3)?, row.try_get(4)?);
        Ok(Document {
            id: DocId::from_uuid(row.try_get(0)?),
            data: Json::from_canonical(row.try_get::<String, _>(1)?),
            version: row.try_get::<i64, _>(2)?.cast_unsigned(),
            created_at: created_at.0,
            updated_at: updated_at.0,
        })
    };
    read().map_err(of_database)
}

/// The statements of one kind of write.
struct Statements<'a> {
    /// Where there are no declared indexes and nobody else writes: where nothing matches, and where something does.
    quick: Option<(&'a Statement, &'a EventStatement)>,
    /// Where there are no declared indexes.
    bare: &'a EventStatement,
    indexed: &'a EventStatement,
}

/// One document, about to be written.
struct At<'a> {
    cx: &'a CallCx,
    collection: &'a CollectionName,
    id: DocId,
    if_version: Option<u64>,
}

impl PostgresDocs {
    pub(crate) fn new(backend: Arc<Inner>, source: Source) -> Self {
        PostgresDocs { backend, source }
    }

    async fn rows(&self, query: impl Fn() -> Bound) -> Result<Vec<PgRow>> {
        self.backend.read_all(&self.source, query).await
    }

    /// One write. Answers what it tells when it has written, or `None` when there is no such document.
    async fn write(
        &self,
        at: &At<'_>,
        op: DocsOp,
        statements: &Statements<'_>,
        bind: impl Fn(Bound) -> Bound,
    ) -> Result<Option<Written>> {
        let events = EventRows::new(at.cx, &[op.as_str()]);
        // The payload around the data and what was there before.
        let payload = [
            format!("{{\"collection\":{},\"data\":", Json::from_value(at.collection.as_str())?),
            format!(",\"id\":\"{}\",\"op\":\"{}\",\"prev_data\":", at.id, op.as_str()),
        ];
        let begin = |query: Bound| {
            query.bind(*at.cx.app().as_uuid()).bind(at.collection.to_string()).bind(*at.id.as_uuid())
        };
        let with_events = |statement: &EventStatement| {
            let [before, between] = payload.clone();
            bind(events.bind(begin(events.query(statement))).bind(before).bind(between))
        };
        let mut indexed = self.backend.indexes.are_expected(at.cx, at.collection);
        let mut quick = statements.quick.filter(|_| !indexed);
        for attempt in 0..WRITE_ATTEMPTS {
            let is_quick = quick.is_some();
            let query = match quick.take() {
                Some((silent, _)) if events.is_silent() => {
                    bind(begin(silent.query()).bind(events.revision()))
                }
                Some((_, quick)) => with_events(quick),
                None => with_events(if indexed { statements.indexed } else { statements.bare }),
            };
            let rows = match self.backend.write_once(&self.source, query).await {
                // The database gave way to another writer.
                Err(error) if is_contended(&error) && matches!(self.source, Source::Lanes(_)) => {
                    give_way(attempt).await;
                    continue;
                }
                answer => answer?,
            };
            // Why not, the other statement tells.
            if is_quick && rows.is_empty() {
                continue;
            }
            let row = rows.first().ok_or_else(|| Error::internal("a write without an answer"))?;
            let (found, fresh, bare) = match Told::read(row).map_err(of_database)? {
                Told::Written { written, fired } => {
                    if fired {
                        self.source.note_fired(&self.backend);
                    }
                    return Ok(Some(written));
                }
                Told::Not { found, fresh, bare } => (found, fresh, bare),
            };
            match (found, at.if_version) {
                (Some(found), Some(expected)) if found != expected => {
                    return Err(DocsError::VersionMismatch { id: at.id, expected, found }.into());
                }
                (None, _) if op != DocsOp::Create => return Ok(None),
                _ if !fresh => return Err(Fanout::stale()),
                _ if !bare => {
                    indexed = true;
                    self.backend.indexes.expect(at.cx, at.collection);
                }
                // The app was seen to be fresh a moment too late, or the document went meanwhile.
                _ => give_way(attempt).await,
            }
        }
        Err(contended("docs.contended", "document"))
    }

    async fn replace(&self, at: &At<'_>, data: &DocData) -> Result<Document> {
        let form = jsonpath::form(&jsonpath::scope(at.cx.app(), at.collection), data.json())?;
        let sql = &self.backend.sql;
        let statements = Statements {
            quick: Some((&sql.docs_update_silent, &sql.docs_update_quick)),
            bare: &sql.docs_update,
            indexed: &sql.docs_update_indexed,
        };
        let version = at.if_version.map(u64::cast_signed);
        let bind =
            |query: Bound| query.bind(data.json().as_str().to_owned()).bind(form.clone()).bind(version);
        let written = self.write(at, DocsOp::Update, &statements, bind).await?;
        let written = written.ok_or(DocsError::NotFound { id: at.id })?;
        Ok(at.document(data, written))
    }

    /// The filter as the database applies it.
    fn condition(cx: &CallCx, collection: &CollectionName, filter: &Filter) -> Result<(Filtered, Condition)> {
        let condition = jsonpath::condition(&jsonpath::scope(cx.app(), collection), filter)?;
        let filtered = match filter {
            Filter::All(filters) if filters.is_empty() => Filtered::Not,
            _ if condition.is_indexed => Filtered::ByIndex,
            _ => Filtered::EachLookedAt,
        };
        Ok((filtered, condition))
    }

    /// Up to `limit` documents after a place that pass the condition.
    async fn batch(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        query: &Query,
        (filtered, condition): &(Filtered, Condition),
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        let falls: Vec<bool> = query.sort().iter().map(|sort| sort.descending).collect();
        let statement = self.backend.sql.docs.find(*filtered, &falls, after.is_some());
        let scope = jsonpath::scope(cx.app(), collection);
        let paths = query.sort().iter().map(|sort| jsonpath::sort_path(&scope, &sort.path));
        let paths = paths.collect::<Result<Vec<_>>>()?;
        let keys: Vec<(i32, String, String)> = after
            .map(|after| after.keys.iter().map(key).collect::<Result<_>>())
            .transpose()?
            .unwrap_or_default();
        let id: Option<Uuid> = after.map(|after| *after.id.as_uuid());
        let rows = self
            .rows(|| {
                let mut query = statement.query().bind(*cx.app().as_uuid()).bind(collection.to_string());
                if *filtered != Filtered::Not {
                    query = query.bind(condition.text.clone());
                }
                query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
                for path in &paths {
                    query = query.bind(path.clone());
                }
                for (rank, number, text) in &keys {
                    query = query.bind(*rank).bind(number.clone()).bind(text.clone());
                }
                match id {
                    Some(id) => query.bind(id),
                    None => query,
                }
            })
            .await?;
        rows.iter().map(document).collect()
    }
}

impl PostgresDocs {
    /// As [`batch`](Self::batch), along a declared index.
    #[allow(clippy::too_many_arguments, reason = "all of them say which documents")]
    async fn walk(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        query: &Query,
        (filtered, condition): &(Filtered, Condition),
        index: i64,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        let Some(sort) = query.sort().first() else { return Ok(Vec::new()) };
        let walk = Walk { filtered: *filtered, falls: sort.descending, goes_on: after.is_some() };
        let statement = self.backend.sql.docs.walk(walk);
        let path = jsonpath::sort_path(&jsonpath::scope(cx.app(), collection), &sort.path)?;
        let (least, greatest) = indexes::bounds(query, after)?;
        let place = match after.and_then(|after| Some((after.keys.first()?, *after.id.as_uuid()))) {
            Some((at, id)) => Some((key(at)?, id)),
            None => None,
        };
        let rows = self
            .rows(|| {
                let mut query = statement.query().bind(*cx.app().as_uuid()).bind(collection.to_string());
                if *filtered != Filtered::Not {
                    query = query.bind(condition.text.clone());
                }
                query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).bind(path.clone()).bind(index);
                for bound in [&least, &greatest] {
                    query = query.bind(bound.rank).bind(bound.number.clone()).bind(bound.text.clone());
                }
                if let Some(((rank, number, text), id)) = &place {
                    let rank = i16::try_from(*rank).unwrap_or_default();
                    query = query.bind(rank).bind(number.clone()).bind(text.clone()).bind(*id);
                }
                query
            })
            .await?;
        rows.iter().map(document).collect()
    }
}

/// What a sort key is to the database: rank, number, text.
fn key(key: &picloud_core::docs::filter::SortKey) -> Result<(i32, String, String)> {
    let (mut number, mut text) = ("0".to_owned(), String::new());
    match key.value() {
        Value::String(value) => text.clone_from(value),
        value @ Value::Number(_) => {
            number = canonical_numbers(&Json::from_value(value)?)?.as_str().to_owned();
        }
        _ => {}
    }
    Ok((i32::from(key.rank()), number, text))
}

impl At<'_> {
    fn document(&self, data: &DocData, written: Written) -> Document {
        let (version, created_at, updated_at) = written;
        Document { id: self.id, data: data.json().clone(), version, created_at, updated_at }
    }
}

#[async_trait]
impl DocsService for PostgresDocs {
    async fn create(&self, cx: &CallCx, collection: &CollectionName, data: &DocData) -> Result<Document> {
        let at = At { cx, collection, id: DocId::new(), if_version: None };
        let form = jsonpath::form(&jsonpath::scope(cx.app(), collection), data.json())?;
        let bind = |query: Bound| query.bind(data.json().as_str().to_owned()).bind(form.clone());
        let sql = &self.backend.sql;
        let statements = Statements {
            quick: Some((&sql.docs_create_silent, &sql.docs_create_quick)),
            bare: &sql.docs_create,
            indexed: &sql.docs_create_indexed,
        };
        let written = self.write(&at, DocsOp::Create, &statements, bind).await?;
        let written = written.ok_or_else(|| Error::internal("a new document is missing"))?;
        Ok(at.document(data, written))
    }

    async fn get(&self, cx: &CallCx, collection: &CollectionName, id: DocId) -> Result<Option<Document>> {
        let rows = self
            .rows(|| {
                let query = self.backend.sql.docs_get.query().bind(*cx.app().as_uuid());
                query.bind(collection.to_string()).bind(*id.as_uuid())
            })
            .await?;
        rows.first().map(document).transpose()
    }

    async fn update(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        data: &DocData,
        options: &WriteOptions,
    ) -> Result<Document> {
        self.replace(&At { cx, collection, id, if_version: options.if_version }, data).await
    }

    async fn patch(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Document> {
        for attempt in 0..WRITE_ATTEMPTS {
            let before = self.get(cx, collection, id).await?.ok_or(DocsError::NotFound { id })?;
            let found = before.version;
            if let Some(expected) = options.if_version.filter(|expected| *expected != found) {
                return Err(DocsError::VersionMismatch { id, expected, found }.into());
            }
            let data = patch.apply(&before.data)?;
            match self.replace(&At { cx, collection, id, if_version: Some(found) }, &data).await {
                // Somebody else was faster.
                Err(error) if error.code() == "docs.version_mismatch" => give_way(attempt).await,
                answer => return answer,
            }
        }
        Err(contended("docs.contended", "document"))
    }

    async fn delete(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        id: DocId,
        options: &WriteOptions,
    ) -> Result<bool> {
        let at = At { cx, collection, id, if_version: options.if_version };
        let version = at.if_version.map(u64::cast_signed);
        let bind = |query: Bound| query.bind(version);
        let delete = &self.backend.sql.docs_delete;
        let statements = Statements { quick: None, bare: delete, indexed: delete };
        let written = self.write(&at, DocsOp::Delete, &statements, bind).await?;
        Ok(written.is_some())
    }

    async fn find(&self, cx: &CallCx, collection: &CollectionName, query: &Query) -> Result<Page<Document>> {
        let condition = Self::condition(cx, collection, query.filter())?;
        let is_exact = condition.1.is_exact;
        // What equality leaves is sorted; else the order may be found.
        let index = match condition.0 {
            Filtered::ByIndex => None,
            _ => self.index_for(cx, collection, query).await?,
        };
        let mut after = query.after(cx.app(), collection)?;
        let mut pager = query.pager(cx.app(), collection);
        loop {
            let limit = if is_exact { pager.missing().min(BATCH) } else { BATCH };
            let batch = match index {
                Some(index) => {
                    let after = after.as_ref();
                    self.walk(cx, collection, query, &condition, index, after, limit).await?
                }
                None => self.batch(cx, collection, query, &condition, after.as_ref(), limit).await?,
            };
            let is_last = batch.len() < limit;
            if let Some(last) = batch.last() {
                after = Some(query.place_of(last, &last.data.to_value()?));
            }
            for document in batch {
                let is_found = is_exact || query.filter().matches(&document.data)?;
                if is_found && !pager.take(document)? {
                    return pager.page();
                }
            }
            if is_last {
                return pager.page();
            }
        }
    }

    async fn count(&self, cx: &CallCx, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        let condition = Self::condition(cx, collection, filter)?;
        if condition.1.is_exact {
            let (filtered, condition) = condition;
            let statement = self.backend.sql.docs.count(filtered);
            let rows = self
                .rows(|| {
                    let query = statement.query().bind(*cx.app().as_uuid()).bind(collection.to_string());
                    if filtered == Filtered::Not { query } else { query.bind(condition.text.clone()) }
                })
                .await?;
            let row = rows.first().ok_or_else(|| Error::internal("a count without an answer"))?;
            return Ok(row.try_get::<i64, _>(0).map_err(of_database)?.cast_unsigned());
        }
        let (all, mut count, mut after) = (Query::default(), 0, None);
        loop {
            let batch = self.batch(cx, collection, &all, &condition, after.as_ref(), BATCH).await?;
            for document in &batch {
                count += u64::from(filter.matches(&document.data)?);
            }
            match batch.last() {
                Some(last) if batch.len() == BATCH => after = Some(Place { keys: Vec::new(), id: last.id }),
                _ => return Ok(count),
            }
        }
    }

    async fn declare_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<()> {
        self.declare(cx, collection, path).await
    }

    async fn drop_index(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<bool> {
        self.forget(cx, collection, path).await
    }

    async fn indexes(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<DocsIndex>> {
        self.declared(cx, collection).await
    }
}
