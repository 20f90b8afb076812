//! The KV service.

use std::sync::Arc;

use picloud_core::kv::{Entry, Key, KvError, KvOp, KvService, ListOptions, SetOptions};
use picloud_core::outbox::Fanout;
use picloud_core::page::{ListId, Page, clamp_page_size};
use picloud_core::{CallCx, CollectionName, Error, Json, Result, async_trait};
use sqlx::Postgres;
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use crate::backend::{Inner, WRITE_ATTEMPTS, contended, give_way};
use crate::error::{is_contended, of_database};
use crate::event_rows::EventRows;
use crate::source::Source;
use crate::sql::{EventStatement, Statement};

#[derive(Debug)]
pub(crate) struct PostgresKv {
    backend: Arc<Inner>,
    source: Source,
}

/// What a write came to.
enum Written {
    Done {
        value: String,
    },
    /// The entry is not such that it can be done.
    Not {
        code: String,
    },
}

/// What a statement tells. The quick one tells nothing when it has written nothing.
enum Told {
    Written {
        value: Option<String>,
        /// Rows were stored.
        fired: bool,
    },
    Not {
        /// Whether the entry is such that it can be written.
        code: String,
        /// The app is at the revision that was expected.
        fresh: bool,
    },
}

impl Told {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        if row.try_get(0)? {
            return Ok(Told::Written { value: row.try_get(1)?, fired: row.try_get(2)? });
        }
        Ok(Told::Not { code: row.try_get(3)?, fresh: row.try_get(4)? })
    }
}

impl PostgresKv {
    pub(crate) fn new(backend: Arc<Inner>, source: Source) -> Self {
        PostgresKv { backend, source }
    }

    async fn rows(&self, query: impl Fn() -> Query<'static, Postgres, PgArguments>) -> Result<Vec<PgRow>> {
        self.backend.read_all(&self.source, query).await
    }

    /// A write with one of the silent statements, which take effect at once or not at all.
    async fn write_silently(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        statement: &Statement,
        revision: Option<i64>,
        bind: impl FnOnce(Query<'static, Postgres, PgArguments>) -> Query<'static, Postgres, PgArguments>,
    ) -> Result<Written> {
        let query = statement.query().bind(*cx.app().as_uuid()).bind(collection.to_string());
        let query = bind(query.bind(key.to_string()).bind(revision));
        let rows = self.backend.write_once(&self.source, query).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a write without an answer"))?;
        let read = || -> sqlx::Result<(bool, Option<String>, bool)> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        };
        match read().map_err(of_database)? {
            (true, value, _) => Ok(Written::Done { value: value.unwrap_or_default() }),
            (false, _, true) => Ok(Written::Not { code: String::new() }),
            (false, _, false) => Err(Fanout::stale()),
        }
    }

    /// A write with the statements of [`KvWrite`](crate::sql): repeated as long as others are faster.
    async fn write(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        ops: &[&str],
        [quick, sure]: [&EventStatement; 2],
        bind: impl Fn(Query<'static, Postgres, PgArguments>) -> Query<'static, Postgres, PgArguments>,
    ) -> Result<Written> {
        let events = EventRows::new(cx, ops);
        // What the payload begins with: what happened is for the statement to see.
        let (quoted, quoted_key) = (Json::from_value(collection.as_str())?, Json::from_value(key.as_str())?);
        let begin = format!("{{\"collection\":{},\"key\":{},\"op\":\"", quoted.as_str(), quoted_key.as_str());
        for attempt in 0..WRITE_ATTEMPTS {
            let query = events
                .query(if attempt == 0 { quick } else { sure })
                .bind(*cx.app().as_uuid())
                .bind(collection.to_string())
                .bind(key.to_string());
            let query = bind(events.bind(query).bind(begin.clone()));
            let rows = match self.backend.write_once(&self.source, query).await {
                // The database gave way to another writer: the same as having been slower.
                Err(error) if is_contended(&error) && matches!(self.source, Source::Lanes(_)) => {
                    give_way(attempt).await;
                    continue;
                }
                answer => answer?,
            };
            let Some(row) = rows.first() else {
                if attempt == 0 {
                    continue;
                }
                return Err(Error::internal("a write without an answer"));
            };
            match Told::read(row).map_err(of_database)? {
                Told::Written { value, fired } => {
                    if fired {
                        self.source.note_fired(&self.backend);
                    }
                    return Ok(Written::Done { value: value.unwrap_or_default() });
                }
                Told::Not { code, .. } if code != "done" => return Ok(Written::Not { code }),
                Told::Not { fresh: false, .. } => return Err(Fanout::stale()),
                Told::Not { .. } => give_way(attempt).await,
            }
        }
        Err(contended("kv.contended", "key"))
    }
}

/// The revision to compare, of a write that will turn out to be one of `ops` and takes no rows along. Then nobody needs to
/// know what was there before, and a plain statement does, at half the cost.
fn silently(cx: &CallCx, ops: &[&str]) -> Option<Option<i64>> {
    let Some(fanout) = cx.fanout() else { return Some(None) };
    let Some(revision) = fanout.revision else { return Some(None) };
    let is_watched = fanout.rows.iter().any(|row| ops.contains(&row.op));
    (!is_watched).then(|| Some(revision.0.cast_signed()))
}

const PUT: &[&str] = &[KvOp::Insert.as_str(), KvOp::Update.as_str()];
const DELETE: &[&str] = &[KvOp::Delete.as_str()];

#[async_trait]
impl KvService for PostgresKv {
    async fn get(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<Option<Json>> {
        let rows = self
            .rows(|| {
                let query = self.backend.sql.kv_get.query().bind(*cx.app().as_uuid());
                query.bind(collection.to_string()).bind(key.to_string())
            })
            .await?;
        rows.first()
            .map(|row| row.try_get::<String, _>(0).map(Json::from_canonical))
            .transpose()
            .map_err(of_database)
    }

    async fn get_many(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        keys: &[Key],
    ) -> Result<Vec<Option<Json>>> {
        let texts: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
        let rows = self
            .rows(|| {
                let query = self.backend.sql.kv_get_many.query().bind(*cx.app().as_uuid());
                query.bind(collection.to_string()).bind(texts.clone())
            })
            .await?;
        let mut found = std::collections::HashMap::with_capacity(rows.len());
        for row in rows {
            let (key, value) = entry(&row).map_err(of_database)?;
            found.insert(key, Json::from_canonical(value));
        }
        Ok(texts.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        value: &Json,
        options: &SetOptions,
    ) -> Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "a hundred years in seconds are exact")]
        let ttl = options.ttl_seconds.map(|seconds| seconds as f64);
        let sql = &self.backend.sql;
        if let Some(revision) = silently(cx, PUT) {
            let query = sql.kv_set_silent.query().bind(*cx.app().as_uuid()).bind(collection.to_string());
            let query = query.bind(key.to_string()).bind(value.as_str().to_owned()).bind(ttl).bind(revision);
            let written = self.backend.write_once(&self.source, query).await?;
            return if written.is_empty() { Err(Fanout::stale()) } else { Ok(()) };
        }
        self.write(cx, collection, key, PUT, [&sql.kv_set, &sql.kv_set_sure], |query| {
            query.bind(value.as_str().to_owned()).bind(ttl)
        })
        .await?;
        Ok(())
    }

    async fn delete(&self, cx: &CallCx, collection: &CollectionName, key: &Key) -> Result<bool> {
        let sql = &self.backend.sql;
        let written = match silently(cx, DELETE) {
            Some(revision) => {
                let statement = &sql.kv_delete_silent;
                self.write_silently(cx, collection, key, statement, revision, |query| query).await?
            }
            None => {
                self.write(cx, collection, key, DELETE, [&sql.kv_delete, &sql.kv_delete_sure], |query| query)
                    .await?
            }
        };
        Ok(matches!(written, Written::Done { .. }))
    }

    async fn increment(&self, cx: &CallCx, collection: &CollectionName, key: &Key, by: i64) -> Result<i64> {
        let sql = &self.backend.sql;
        let mut written = Written::Not { code: String::new() };
        if let Some(revision) = silently(cx, PUT) {
            let statement = &sql.kv_increment_silent;
            let bind = |query: Query<'static, Postgres, PgArguments>| query.bind(by);
            written = self.write_silently(cx, collection, key, statement, revision, bind).await?;
        }
        if matches!(written, Written::Not { .. }) {
            // This one also tells why it cannot be done.
            written = self
                .write(cx, collection, key, PUT, [&sql.kv_increment, &sql.kv_increment_sure], |query| {
                    query.bind(by)
                })
                .await?;
        }
        match written {
            Written::Done { value } => value.parse().map_err(|error: std::num::ParseIntError| {
                Error::internal("a sum is not an integer").caused_by(error)
            }),
            Written::Not { code } if code == "overflow" => Err(KvError::Overflow.into()),
            Written::Not { .. } => Err(KvError::NotAnInteger.into()),
        }
    }

    async fn compare_and_set(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        key: &Key,
        expected: Option<&Json>,
        value: &Json,
    ) -> Result<bool> {
        let sql = &self.backend.sql;
        let expected = expected.map(|expected| expected.as_str().to_owned());
        let op = if expected.is_some() { KvOp::Update } else { KvOp::Insert }.as_str();
        if let Some(revision) = silently(cx, &[op]) {
            let statement = if expected.is_some() { &sql.kv_replace_silent } else { &sql.kv_add_silent };
            let bind = |query: Query<'static, Postgres, PgArguments>| {
                let query = query.bind(value.as_str().to_owned());
                if let Some(expected) = &expected { query.bind(expected.clone()) } else { query }
            };
            let written = self.write_silently(cx, collection, key, statement, revision, bind).await?;
            return Ok(matches!(written, Written::Done { .. }));
        }
        let statements = [&sql.kv_compare_and_set, &sql.kv_compare_and_set_sure];
        let bind = |query: Query<'static, Postgres, PgArguments>| {
            query.bind(expected.clone()).bind(value.as_str().to_owned())
        };
        let written = self.write(cx, collection, key, PUT, statements, bind).await?;
        Ok(matches!(written, Written::Done { .. }))
    }

    async fn list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Entry>> {
        let prefix = options.prefix.as_deref().unwrap_or_default();
        let list = ListId::new(["kv", &cx.app().to_string(), collection.as_str(), prefix]);
        if prefix.contains('\0') {
            // No key begins with what no key can hold.
            return Ok(Page { items: Vec::new(), cursor: None });
        }
        let from = match &options.cursor {
            // The next text in byte order among those without NUL.
            Some(cursor) => list.last(cursor).ok_or(KvError::InvalidCursor)? + "\u{1}",
            None => prefix.to_owned(),
        };
        let to = end_of(prefix);
        let limit = clamp_page_size(options.limit);
        let rows = self
            .rows(|| {
                let query = self.backend.sql.kv_list.query().bind(*cx.app().as_uuid());
                let query = query.bind(collection.to_string()).bind(from.clone()).bind(to.clone());
                query.bind(i64::try_from(limit).unwrap_or(i64::MAX) + 1)
            })
            .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let (key, value) = entry(row).map_err(of_database)?;
            items.push(Entry { key: Key::new(key)?, value: Json::from_canonical(value) });
        }
        Ok(Page::cut(items, limit, |last| list.cursor(last.key.as_str())))
    }
}

fn entry(row: &PgRow) -> sqlx::Result<(String, String)> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// A text after every key that begins with `prefix`, and before every other key that comes after those.
fn end_of(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // In UTF-8 the order of bytes is that of characters; between these two there are none.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            end.push(next);
            return end;
        }
    }
    // Longer than any key of nothing but the last character.
    "\u{10ffff}".repeat(picloud_core::kv::MAX_KEY_BYTES / 4 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_that_begin_with_it_and_before_the_rest() {
        for prefix in ["a", "a\u{10ffff}", "\u{d7ff}", "user:", "\u{10ffff}"] {
            let end = end_of(prefix);
            assert!(end.as_str() > prefix);
            assert!(format!("{prefix}\u{10ffff}\u{10ffff}") < end, "{prefix:?} {end:?}");
        }
        assert_eq!(end_of("user:"), "user;");
        assert_eq!(end_of("a\u{10ffff}"), "b");
        assert!("\u{10ffff}".repeat(128) < end_of(""));
    }
}
