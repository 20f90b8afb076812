//! Declared indexes: which there are, how they are filled, and when a query may walk along one.
//!
//! A declared index is a table of keys, kept by the statements that write documents. None is made by the database on behalf
//! of a tenant, so that no text of theirs becomes SQL, and declaring one locks nobody out.
//!
//! Filling it is right because whoever writes while it is filled either sees the declaration, and keeps the index, or holds
//! the table since before the declaration was made, and is waited for. When no document is missing, it is complete.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use picloud_core::docs::filter::{
    Comparison, Filter, Path, Place, Test, Value, canonical_numbers, values_order,
};
use picloud_core::docs::{DocsError, DocsIndex, MAX_INDEXES, Query};
use picloud_core::{CallCx, CollectionName, Error, Json, Result, jittered};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{PostgresDocs, jsonpath, key};
use crate::backend::Inner;
use crate::error::of_database;
use crate::schema::not_migrated;
use crate::source::Source;
use crate::sql::FILLED_AT_ONCE;

/// How long a node goes by what it knows of indexes. One that was dropped is kept for a minute longer.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Of how many collections it is known.
const MOST_KNOWN: usize = 10_000;

/// From so many documents on the database is told that an index has grown.
const MANY: i64 = 1_000;

/// How often to look for indexes to fill that were declared elsewhere, or left by a node that is gone.
const LOOK: Duration = Duration::from_secs(10);

/// How long to wait before looking again for writers that are to end, and between batches.
const WAIT: Duration = Duration::from_millis(20);
const BREATH: Duration = Duration::from_millis(1);

/// How long to wait for writers: longer than any statement takes.
const WRITERS: Duration = Duration::from_secs(120);

const COMPLETE: i16 = 2;

/// What this node knows of indexes.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    complete: Mutex<HashMap<(Uuid, String), (Instant, Complete)>>,
    /// Collections that were seen to have some.
    indexed: RwLock<HashSet<(Uuid, String)>>,
    /// Some are to be filled.
    declared: Notify,
}

impl Indexes {
    /// Whether a write is to expect declared indexes. Whether there are any, its statement sees.
    pub(super) fn are_expected(&self, cx: &CallCx, collection: &CollectionName) -> bool {
        let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
        !indexed.is_empty() && indexed.contains(&(*cx.app().as_uuid(), collection.to_string()))
    }

    /// A write found some.
    pub(super) fn expect(&self, cx: &CallCx, collection: &CollectionName) {
        let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
        if indexed.len() >= MOST_KNOWN {
            indexed.clear();
        }
        indexed.insert((*cx.app().as_uuid(), collection.to_string()));
    }
}

/// The complete indexes of a collection: path and number.
type Complete = Arc<[(String, i64)]>;

struct Known {
    path: String,
    state: i16,
    documents: i64,
    number: i64,
}

impl Known {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Known {
            path: row.try_get(0)?,
            state: row.try_get(1)?,
            documents: row.try_get(2)?,
            number: row.try_get(3)?,
        })
    }
}

impl PostgresDocs {
    async fn known(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<Known>> {
        let rows = self
            .rows(|| {
                let query = self.backend.sql.docs_indexes.query();
                query.bind(*cx.app().as_uuid()).bind(collection.to_string())
            })
            .await?;
        rows.iter().map(Known::read).collect::<sqlx::Result<_>>().map_err(of_database)
    }

    pub(super) async fn declare(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<()> {
        self.refuse_inside()?;
        let scope = jsonpath::scope(cx.app(), collection);
        let (only, any) = (jsonpath::sort_path(&scope, path)?, jsonpath::any_path(&scope, path)?);
        let rows = self
            .backend
            .write(|| {
                let query = self.backend.sql.docs_index_declare.query().bind(*cx.app().as_uuid());
                let query = query.bind(collection.to_string()).bind(path.to_string());
                query
                    .bind(only.clone())
                    .bind(any.clone())
                    .bind(i64::try_from(MAX_INDEXES).unwrap_or(i64::MAX))
            })
            .await?;
        match rows.first().map(|row| row.try_get(0)) {
            Some(Ok(true)) => {
                self.backend.indexes.declared.notify_one();
                Ok(())
            }
            Some(Err(error)) => Err(of_database(error)),
            _ => Err(DocsError::TooManyIndexes.into()),
        }
    }

    pub(super) async fn forget(&self, cx: &CallCx, collection: &CollectionName, path: &Path) -> Result<bool> {
        self.refuse_inside()?;
        let rows = self
            .backend
            .write(|| {
                let query = self.backend.sql.docs_index_drop.query().bind(*cx.app().as_uuid());
                query.bind(collection.to_string()).bind(path.to_string())
            })
            .await?;
        Ok(!rows.is_empty())
    }

    pub(super) async fn declared(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<DocsIndex>> {
        let known = self.known(cx, collection).await?;
        let told = known.into_iter().map(|known| {
            let (is_complete, documents) = (known.state == COMPLETE, known.documents.cast_unsigned());
            Ok(DocsIndex::new(Path::parse(&known.path)?, is_complete, documents))
        });
        told.collect()
    }

    fn refuse_inside(&self) -> Result<()> {
        match self.source {
            Source::Lanes(_) => Ok(()),
            Source::Inside(_) => Err(DocsError::IndexInTransaction.into()),
        }
    }

    /// The number of a complete index in whose order a query asks for documents.
    pub(super) async fn index_for(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        query: &Query,
    ) -> Result<Option<i64>> {
        let [sort] = query.sort() else { return Ok(None) };
        let place = (*cx.app().as_uuid(), collection.to_string());
        let indexes = &self.backend.indexes.complete;
        let known = {
            let known = indexes.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&place).filter(|(at, _)| at.elapsed() < KNOWN_FOR).map(|(_, known)| known.clone())
        };
        let complete = match known {
            Some(complete) => complete,
            None => {
                // Not what was true when the answer came, but when it was asked for.
                let now = Instant::now();
                let all = self.known(cx, collection).await?.into_iter();
                let complete: Complete =
                    all.filter(|one| one.state == COMPLETE).map(|one| (one.path, one.number)).collect();
                let mut known = indexes.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MOST_KNOWN {
                    known.clear();
                }
                known.insert(place, (now, complete.clone()));
                complete
            }
        };
        let path = sort.path.to_string();
        Ok(complete.iter().find(|(indexed, _)| *indexed == path).map(|(_, number)| *number))
    }
}

/// A place in an index: rank, number, text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) rank: i16,
    pub(crate) number: String,
    pub(crate) text: String,
}

/// Before all numbers.
const LEAST: &str = "-Infinity";

impl Key {
    fn new(rank: i16, number: &str, text: &str) -> Self {
        Key { rank, number: number.to_owned(), text: text.to_owned() }
    }

    fn compare(&self, other: &Key) -> Ordering {
        let number = |key: &Key| serde_json::from_str::<Value>(&key.number).ok();
        let numbers = match (number(self), number(other)) {
            (Some(one), Some(two)) => values_order(&one, &two),
            (one, two) => one.is_some().cmp(&two.is_some()),
        };
        self.rank.cmp(&other.rank).then(numbers).then_with(|| self.text.cmp(&other.text))
    }

    /// Of an operand of a range.
    fn of(operand: &Value) -> Result<Option<Self>> {
        Ok(match operand {
            Value::Number(_) => {
                Some(Key::new(2, canonical_numbers(&Json::from_value(operand)?)?.as_str(), ""))
            }
            Value::String(text) => Some(Key::new(3, "0", text)),
            _ => None,
        })
    }
}

/// The least and the greatest place in which a document may be that a query finds and whose key says all. Those are let
/// through as well that are just at the bounds.
pub(crate) fn bounds(query: &Query, after: Option<&Place>) -> Result<(Key, Key)> {
    let (mut least, mut greatest) = (None, None);
    let Some(sort) = query.sort().first() else { return Ok((Key::new(0, "0", ""), Key::new(8, "0", ""))) };
    narrow(query.filter(), &sort.path, &mut least, &mut greatest)?;
    // Of one type, if one end is.
    let (mut least, mut greatest) = match (least, greatest) {
        (None, None) => (Key::new(0, "0", ""), Key::new(8, "0", "")),
        (Some(least), None) => {
            let next = Key::new(least.rank + 1, LEAST, "");
            (least, next)
        }
        (None, Some(greatest)) => (Key::new(greatest.rank, LEAST, ""), greatest),
        (Some(least), Some(greatest)) => (least, greatest),
    };
    if let Some(after) = after.and_then(|after| after.keys.first()) {
        let (rank, number, text) = key(after)?;
        let place = Key { rank: i16::try_from(rank).unwrap_or_default(), number, text };
        if sort.descending && place.compare(&greatest).is_lt() {
            greatest = place;
        } else if !sort.descending && place.compare(&least).is_gt() {
            least = place;
        }
    }
    Ok((least, greatest))
}

fn narrow(filter: &Filter, path: &Path, least: &mut Option<Key>, greatest: &mut Option<Key>) -> Result<()> {
    match filter {
        Filter::All(filters) => {
            for filter in filters {
                narrow(filter, path, least, greatest)?;
            }
        }
        Filter::At(at, Test::Compare(comparison, operand)) if at == path => {
            let end = match comparison {
                Comparison::Greater | Comparison::GreaterOrEqual => least,
                Comparison::Less | Comparison::LessOrEqual => greatest,
            };
            // The first will do: the whole filter is looked at in the end.
            if end.is_none() {
                *end = Key::of(operand)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Fills declared indexes, until the end.
pub(crate) async fn fill(inner: &Inner) {
    loop {
        loop {
            match fill_next(inner).await {
                Ok(true) => {}
                Ok(false) => break,
                // There is nothing to fill before there is a schema, and who works without one is told by other calls.
                Err(error) if error.code() == not_migrated().code() => break,
                Err(error) => {
                    let error = error.with_causes();
                    tracing::warn!(%error, "a declared index could not be filled further; trying again");
                    break;
                }
            }
        }
        tokio::select! {
            () = inner.indexes.declared.notified() => {}
            () = tokio::time::sleep(jittered(LOOK)) => {}
        }
    }
}

fn told<T>(rows: &[PgRow], read: impl Fn(&PgRow) -> sqlx::Result<T>) -> Result<T> {
    let row = rows.first().ok_or_else(|| Error::internal("a statement without an answer"))?;
    read(row).map_err(of_database)
}

/// Fills one index, whoever declared it; answers whether there was one. Nodes that fill the same one share the work.
async fn fill_next(inner: &Inner) -> Result<bool> {
    let next = inner.write(|| inner.sql.docs_index_next.query()).await?;
    if next.is_empty() {
        return Ok(false);
    }
    let (app, number, state): (Uuid, i64, i16) =
        told(&next, |row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))?;
    if state == 0 {
        writers_are_gone(inner).await?;
        inner.write(|| inner.sql.docs_index_begin.query().bind(app).bind(number)).await?;
    }
    let mut all = 0;
    loop {
        let query = || inner.sql.docs_index_fill.query().bind(app).bind(number);
        let filled: i64 = told(&inner.write(query).await?, |row| row.try_get(0))?;
        all += filled;
        if filled < FILLED_AT_ONCE as i64 {
            break;
        }
        tokio::time::sleep(BREATH).await;
    }
    // What somebody was writing is missing unless they wrote it: then it begins again.
    let finished = inner.write(|| inner.sql.docs_index_finish.query().bind(app).bind(number)).await?;
    let is_complete =
        finished.first().is_none_or(|row| row.try_get::<i16, _>(0).is_ok_and(|now| now == COMPLETE));
    if !is_complete {
        tokio::time::sleep(WAIT).await;
    } else if all > MANY {
        // The database looks by itself, but only now and then; until it has, it takes the table for small.
        inner.write(|| inner.sql.docs_keys_analyze.query()).await?;
    }
    Ok(true)
}

/// Waits until everybody is done who wrote to documents when this began.
async fn writers_are_gone(inner: &Inner) -> Result<()> {
    let begin = Instant::now();
    let mut left: Option<HashSet<String>> = None;
    while begin.elapsed() < WRITERS {
        let rows = inner.write(|| inner.sql.docs_writers.query()).await?;
        let now = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<HashSet<String>>>();
        let now = now.map_err(of_database)?;
        left = Some(match left {
            None => now,
            Some(left) => left.intersection(&now).cloned().collect(),
        });
        if left.as_ref().is_some_and(HashSet::is_empty) {
            return Ok(());
        }
        tokio::time::sleep(WAIT).await;
    }
    Err(Error::internal("a transaction that writes documents does not end; declared indexes wait for it"))
}

/// Removes the keys of indexes that were dropped.
pub(crate) async fn sweep(inner: &Inner) -> Result<()> {
    inner.write(|| inner.sql.docs_index_bury.query()).await?;
    loop {
        let gone = inner.write(|| inner.sql.docs_index_clear.query()).await?;
        let gone: i64 = told(&gone, |row| row.try_get(0))?;
        if gone < 5_000 {
            break;
        }
    }
    inner.write(|| inner.sql.docs_index_remove.query()).await.map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn of(query: &str) -> (Key, Key) {
        bounds(&Query::parse(&Json::parse(query).unwrap()).unwrap(), None).unwrap()
    }

    #[test]
    fn a_range_bounds_the_walk_to_its_type() {
        let numbers = of("{\"n\":{\"$gt\":5},\"$sort\":\"n\"}");
        assert_eq!(numbers, (Key::new(2, "5", ""), Key::new(3, LEAST, "")));
        let texts = of("{\"n\":{\"$lte\":\"b\"},\"m\":{\"$gt\":1},\"$sort\":\"n\"}");
        assert_eq!(texts, (Key::new(3, LEAST, ""), Key::new(3, "0", "b")));
        let both = of("{\"n\":{\"$gte\":1e16,\"$lt\":1e300},\"$sort\":{\"n\":-1}}");
        assert_eq!((both.0.number.as_str(), both.1.number.as_str()), ("10000000000000000", "1e300"));
    }

    #[test]
    fn what_does_not_narrow_bounds_nothing() {
        for query in [
            "{\"$sort\":\"n\"}",
            "{\"m\":{\"$gt\":5},\"$sort\":\"n\"}",
            "{\"$or\":[{\"n\":{\"$gt\":5}},{\"m\":1}],\"$sort\":\"n\"}",
            "{\"n\":{\"$gt\":true},\"$sort\":\"n\"}",
            "{\"n\":{\"$not\":{\"$gt\":5}},\"$sort\":\"n\"}",
        ] {
            assert_eq!(of(query), (Key::new(0, "0", ""), Key::new(8, "0", "")), "{query}");
        }
    }

    #[test]
    fn keys_are_in_the_order_of_the_database() {
        let keys = [
            Key::new(1, "0", ""),
            Key::new(2, LEAST, ""),
            Key::new(2, "-1.5", ""),
            Key::new(2, "9007199254740993", ""),
            Key::new(3, "0", ""),
            Key::new(3, "0", "Z"),
            Key::new(3, "0", "a"),
        ];
        assert!(keys.is_sorted_by(|one, two| one.compare(two).is_lt()));
    }
}
