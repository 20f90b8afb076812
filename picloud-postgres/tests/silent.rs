//! Writes that no trigger matches take a shorter way than those that the suite watches: the same contract holds there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::kv::{Key, KvService, SetOptions};
use picloud_core::outbox::{Fanout, FanoutRow, Revision};
use picloud_core::{AppId, Backend, CallCx, CollectionName, Json, ScriptId, Timestamp, TriggerId};
use picloud_postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection, Row};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use picloud_test_postgres::{unused_schema, url};

struct Shop {
    schema: SchemaName,
    kv: Arc<dyn KvService>,
    _backend: PostgresBackend,
    app: AppId,
}

impl Shop {
    async fn new() -> Self {
        let schema = SchemaName::new(unused_schema()).unwrap();
        let config = PostgresConfig::default().schema(schema.clone());
        let backend = PostgresBackend::connect_url(&url(), config).await.unwrap();
        backend.migrate().await.unwrap();
        let app = AppId::new();
        let slug = AppSlug::new("shop").unwrap();
        let record = AppRecord { id: app, slug, created_at: Timestamp::UNIX_EPOCH };
        backend.catalog().create_app(&record).await.unwrap();
        Shop { schema, kv: backend.kv(), _backend: backend, app }
    }

    /// A call whose write takes along a row of each of `ops`.
    fn cx(&self, revision: u64, ops: &[&'static str]) -> CallCx {
        let row = |op: &&'static str| FanoutRow { op, trigger: TriggerId::new(), script: ScriptId::new() };
        let rows = ops.iter().map(row).collect();
        CallCx::new(self.app).with_fanout(Arc::new(Fanout { revision: Some(Revision(revision)), rows }))
    }

    async fn set(&self, cx: &CallCx, value: &str) -> picloud_core::Result<()> {
        let value = Json::parse(value).unwrap();
        self.kv.set(cx, &things(), &key(), &value, &SetOptions::default()).await
    }

    async fn compare_and_set(
        &self,
        cx: &CallCx,
        expected: Option<&str>,
        value: &str,
    ) -> picloud_core::Result<bool> {
        let expected = expected.map(|expected| Json::parse(expected).unwrap());
        let value = Json::parse(value).unwrap();
        self.kv.compare_and_set(cx, &things(), &key(), expected.as_ref(), &value).await
    }

    async fn ask<T>(&self, statement: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let mut connection = PgConnection::connect(&url()).await.unwrap();
        let statement = AssertSqlSafe(statement.replace("{s}", self.schema.as_str()));
        sqlx::query(statement).fetch_one(&mut connection).await.unwrap().get(0)
    }

    async fn version(&self) -> i64 {
        self.ask("SELECT coalesce(max(version), 0) FROM {s}.kv").await
    }
}

fn things() -> CollectionName {
    CollectionName::new("things").unwrap()
}

fn key() -> Key {
    Key::new("key").unwrap()
}

#[tokio::test]
async fn a_stale_write_is_refused_whether_or_not_anything_matches() {
    let shop = Shop::new().await;
    shop.set(&shop.cx(0, &[]), "1").await.unwrap();
    for ops in [&[] as &[&'static str], &["insert", "update", "delete"]] {
        let stale = shop.cx(1, ops);
        let answers = [
            shop.set(&stale, "2").await,
            shop.kv.delete(&stale, &things(), &key()).await.map(drop),
            shop.kv.increment(&stale, &things(), &key(), 1).await.map(drop),
            shop.compare_and_set(&stale, Some("1"), "2").await.map(drop),
        ];
        for (at, answer) in answers.iter().enumerate() {
            assert!(answer.as_ref().is_err_and(Fanout::is_stale), "{at} with {ops:?}: {answer:?}");
        }
        let there = shop.kv.get(&stale, &things(), &key()).await.unwrap();
        assert_eq!(there.unwrap().as_str(), "1");
    }
}

#[tokio::test]
async fn the_version_grows_with_every_write_of_either_kind() {
    let shop = Shop::new().await;
    for ops in [&[] as &[&'static str], &["insert", "update", "delete"], &[]] {
        let cx = shop.cx(0, ops);
        let mut before = shop.version().await;
        for step in 0..6 {
            match step {
                0 => assert!(shop.compare_and_set(&cx, None, "1").await.unwrap()),
                1 => assert!(shop.compare_and_set(&cx, Some("1"), "2").await.unwrap()),
                2 => assert_eq!(shop.kv.increment(&cx, &things(), &key(), 1).await.unwrap(), 3),
                3 => shop.set(&cx, "4").await.unwrap(),
                4 => assert!(shop.kv.delete(&cx, &things(), &key()).await.unwrap()),
                _ => assert_eq!(shop.kv.increment(&cx, &things(), &key(), 7).await.unwrap(), 7),
            }
            let now = shop.version().await;
            assert!(now > before, "step {step} with {ops:?}: {now} after {before}");
            before = now;
        }
        assert!(shop.kv.delete(&cx, &things(), &key()).await.unwrap());
        let before = shop.version().await;
        // Without effect.
        assert!(!shop.kv.delete(&cx, &things(), &key()).await.unwrap());
        assert!(!shop.compare_and_set(&cx, Some("1"), "2").await.unwrap());
        assert_eq!(shop.version().await, before, "with {ops:?}");
    }
}

#[tokio::test]
async fn rows_are_stored_of_what_the_write_is_however_few_are_watched() {
    let shop = Shop::new().await;
    let count = "SELECT count(*) FROM {s}.outbox";
    // Each operation, once watched by what does not match it, once by what does.
    shop.set(&shop.cx(0, &["delete"]), "1").await.unwrap();
    shop.kv.increment(&shop.cx(0, &["insert"]), &things(), &key(), 1).await.unwrap();
    shop.compare_and_set(&shop.cx(0, &["insert", "delete"]), Some("2"), "3").await.unwrap();
    shop.kv.delete(&shop.cx(0, &["insert", "update"]), &things(), &key()).await.unwrap();
    assert_eq!(shop.ask::<i64>(count).await, 0);
    shop.compare_and_set(&shop.cx(0, &["insert"]), None, "1").await.unwrap();
    shop.kv.increment(&shop.cx(0, &["update"]), &things(), &key(), 1).await.unwrap();
    shop.set(&shop.cx(0, &["update"]), "1").await.unwrap();
    shop.compare_and_set(&shop.cx(0, &["update"]), Some("1"), "3").await.unwrap();
    shop.kv.delete(&shop.cx(0, &["delete"]), &things(), &key()).await.unwrap();
    assert_eq!(shop.ask::<i64>(count).await, 5);
}
