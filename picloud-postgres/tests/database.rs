//! What only a database can get wrong: migrations, several processes, poolers, outages, plans.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::catalog::CatalogChange;
use picloud_core::kv::{Key, ListOptions, SetOptions};
use picloud_core::outbox::{Fanout, FanoutRow, Revision, WorkerId};
use picloud_core::script::Bundle;
use picloud_core::{
    AppId, Backend, CallCx, CollectionName, ErrorKind, Json, Picloud, PicloudConfig, RouteId, ScriptId,
    Timestamp, TriggerId,
};
use picloud_postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection, Row};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use picloud_test_postgres::{unused_schema, url};

/// A schema of its own; as many backends on it as there are processes to play.
struct Database {
    schema: SchemaName,
}

impl Database {
    async fn new() -> Self {
        let database = Database { schema: SchemaName::new(unused_schema()).unwrap() };
        database.backend().await.migrate().await.unwrap();
        database
    }

    async fn backend(&self) -> PostgresBackend {
        let config = PostgresConfig::default().schema(self.schema.clone());
        PostgresBackend::connect_url(&url(), config).await.unwrap()
    }

    /// The statement with the schema filled in, on a connection beside all backends.
    async fn run(&self, statement: &str) {
        let mut connection = PgConnection::connect(&url()).await.unwrap();
        let statement = statement.replace("{s}", self.schema.as_str());
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
}

async fn app(backend: &dyn Backend) -> AppId {
    let id = AppId::new();
    let slug = AppSlug::new(format!("app-{id}")).unwrap();
    let record = AppRecord { id, slug, created_at: Timestamp::UNIX_EPOCH };
    backend.catalog().create_app(&record).await.unwrap();
    id
}

/// One trigger for each operation.
fn watched(app: AppId) -> CallCx {
    let row = |op| FanoutRow { op, trigger: TriggerId::new(), script: ScriptId::new() };
    let rows = ["insert", "update", "delete"].map(row).into();
    CallCx::new(app).with_fanout(Arc::new(Fanout { revision: Some(Revision(0)), rows }))
}

fn things() -> CollectionName {
    CollectionName::new("things").unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

#[tokio::test]
async fn a_schema_that_was_not_migrated_is_told_so() {
    let schema = SchemaName::new(unused_schema()).unwrap();
    let config = PostgresConfig::default().schema(schema);
    let backend = PostgresBackend::connect_url(&url(), config).await.unwrap();
    let error = backend.catalog().apps().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, "postgres.not_migrated"));
    assert_eq!(backend.ready().await.unwrap_err().code(), "postgres.not_migrated");
    backend.migrate().await.unwrap();
    backend.ready().await.unwrap();
}

#[tokio::test]
async fn migrating_at_the_same_time_and_again_does_no_harm() {
    let database = Database { schema: SchemaName::new(unused_schema()).unwrap() };
    let backends = [database.backend().await, database.backend().await, database.backend().await];
    let answers = tokio::join!(backends[0].migrate(), backends[1].migrate(), backends[2].migrate());
    answers.0.unwrap();
    answers.1.unwrap();
    answers.2.unwrap();
    backends[0].migrate().await.unwrap();
    backends[0].ready().await.unwrap();
}

#[tokio::test]
async fn a_schema_of_a_newer_version_and_an_edited_one_are_refused() {
    let newer = Database::new().await;
    newer.run("INSERT INTO {s}.migrations (version, name, checksum) VALUES (99, 'later', '')").await;
    assert_eq!(newer.backend().await.migrate().await.unwrap_err().code(), "postgres.newer_schema");
    assert_eq!(newer.backend().await.ready().await.unwrap_err().code(), "postgres.newer_schema");
    let edited = Database::new().await;
    edited.run("UPDATE {s}.migrations SET checksum = 'x'").await;
    assert_eq!(edited.backend().await.migrate().await.unwrap_err().code(), "postgres.edited_migration");
}

#[tokio::test]
async fn nothing_is_made_outside_the_schema() {
    let database = Database::new().await;
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    let outside: i64 =
        sqlx::query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            .fetch_one(&mut connection)
            .await
            .unwrap()
            .get(0);
    assert_eq!(outside, 0, "{:?}", database.schema);
}

#[tokio::test]
async fn the_words_of_a_column_are_told_in_its_comment() {
    let database = Database::new().await;
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    let words = [
        ("executions.status", "success error timeout budget_exceeded overloaded cancelled loop"),
        ("outbox.kind", "kv docs files pubsub cron queue dead_letter http"),
        ("dead_letters.reason", "failed crash registrant_invalid"),
        ("dead_letters.resolution", "replayed ignored handled_by_script handler_failed"),
        ("routes.dispatch_mode", "sync async"),
        ("triggers.owner", "api folder directive"),
        ("dead_letters.died_at", "last_at"),
        ("kv.version", "sequence"),
    ];
    for (column, words) in words {
        let (table, name) = column.split_once('.').unwrap();
        let comment: Option<String> = sqlx::query_scalar(
            "SELECT col_description(a.attrelid, a.attnum) FROM pg_attribute a
             WHERE a.attrelid = ($1 || '.' || $2)::regclass AND a.attname = $3",
        )
        .bind(database.schema.as_str())
        .bind(table)
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let comment = comment.unwrap_or_default();
        let missing: Vec<_> = words.split(' ').filter(|word| !comment.contains(word)).collect();
        assert!(missing.is_empty(), "{column}: {missing:?} in {comment:?}");
    }
}

#[tokio::test]
async fn a_password_is_not_in_debug_output_nor_in_errors() {
    let database = Database::new().await;
    let secret = url().replace("picloud@", "picloud:hush@");
    let config = PostgresConfig::default().schema(database.schema.clone());
    let backend = PostgresBackend::connect_url(&secret, config).await.unwrap();
    assert!(!format!("{backend:?}").contains("hush"));
    let error = PostgresBackend::connect("postgres://picloud:hush@127.0.0.1:1/x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contended_writes_of_two_processes_know_what_they_replaced() {
    let database = Database::new().await;
    let (one, two) = (database.backend().await, database.backend().await);
    let app = app(&one).await;
    let key = Key::new("key").unwrap();
    let mut tasks = Vec::new();
    for writer in 0..8_i64 {
        let kv = if writer % 2 == 0 { one.kv() } else { two.kv() };
        let (cx, key) = (watched(app), key.clone());
        tasks.push(tokio::spawn(async move {
            for n in 0..40_i64 {
                let value = json(&(writer * 1_000 + n).to_string());
                match n % 4 {
                    3 => drop(kv.delete(&cx, &things(), &key).await.unwrap()),
                    _ => kv.set(&cx, &things(), &key, &value, &SetOptions::default()).await.unwrap(),
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut events: Vec<(u64, serde_json::Value)> = one
        .outbox()
        .waiting(app, 10_000)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.payload.to_value::<serde_json::Value>().unwrap())
        .map(|event| (event["version"].as_u64().unwrap(), event))
        .collect();
    events.sort_by_key(|(version, _)| *version);
    assert!(events.len() >= 240, "only {} events", events.len());
    let mut before = serde_json::Value::Null;
    for (version, event) in events {
        assert_eq!(event["prev_value"], before, "version {version}: {event}");
        let op = if event["op"] == "delete" {
            assert!(!before.is_null());
            "delete"
        } else if before.is_null() {
            "insert"
        } else {
            "update"
        };
        assert_eq!(event["op"], op, "version {version}: {event}");
        before = event["value"].clone();
    }
}

#[tokio::test]
async fn a_change_of_an_app_reaches_another_process_within_a_second() {
    let database = Database::new().await;
    let (one, two) = (database.backend().await, database.backend().await);
    let mut changes = two.catalog().changes();
    // What the listener says when it begins.
    let _ = tokio::time::timeout(Duration::from_secs(2), changes.changed()).await;
    changes.mark_unchanged();
    let app = app(&one).await;
    tokio::time::timeout(Duration::from_secs(1), changes.changed()).await.unwrap().unwrap();
    changes.mark_unchanged();
    one.catalog().apply(app, &[CatalogChange::DeleteRoute(RouteId::new())], Revision(0)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(1), changes.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_announced_row_is_noticed_by_another_process() {
    let database = Database::new().await;
    let (one, two) = (database.backend().await, database.backend().await);
    let mut notices = two.outbox().notices();
    let _ = tokio::time::timeout(Duration::from_secs(2), notices.changed()).await;
    notices.mark_unchanged();
    one.outbox().announce();
    tokio::time::timeout(Duration::from_secs(1), notices.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn nodes_that_handle_nothing_do_not_tell_each_other_for_ever() {
    let database = Database::new().await;
    let mut config = PicloudConfig::default();
    config.dispatcher.enabled = false;
    let start =
        async || Picloud::builder(database.backend().await).config(config.clone()).start().await.unwrap();
    let (one, two) = (start().await, start().await);
    let observer = database.backend().await;
    let mut notices = observer.outbox().notices();
    let _ = tokio::time::timeout(Duration::from_secs(2), notices.changed()).await;
    let before = *notices.borrow_and_update();
    let app = one.create_app("shop").await.unwrap();
    app.deploy(&Bundle::new().file("handler", "//! on kv orders\n1").unwrap()).await.unwrap();
    app.kv("orders").unwrap().set("a", &1).await.unwrap();
    tokio::time::timeout(Duration::from_secs(2), notices.changed()).await.unwrap().unwrap();
    // Told again and again they would be hundreds by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let told = *notices.borrow() - before;
    assert!(told <= 2, "one event was told {told} times");
    one.shutdown(Duration::from_secs(5)).await;
    two.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_database_that_went_away_and_came_back_is_used_again() {
    let database = Database::new().await;
    let backend = database.backend().await;
    let (kv, cx, key) = (backend.kv(), CallCx::new(app(&backend).await), Key::new("key").unwrap());
    kv.set(&cx, &things(), &key, &json("1"), &SetOptions::default()).await.unwrap();
    // What an operator does, or a restart: every connection of this backend ends.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'picloud'
               AND pid <> pg_backend_pid() AND query LIKE '%{s}%'";
    database.run(end).await;
    let read = kv.get(&cx, &things(), &key).await.unwrap();
    assert_eq!(read, Some(json("1")), "a read notices nothing");
    database.run(end).await;
    // Whether a write took place nobody could know, so it is said to have failed, once.
    let answers = [
        kv.set(&cx, &things(), &key, &json("2"), &SetOptions::default()).await,
        kv.set(&cx, &things(), &key, &json("3"), &SetOptions::default()).await,
    ];
    if let Err(error) = &answers[0] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    answers[1].as_ref().unwrap();
    assert_eq!(kv.get(&cx, &things(), &key).await.unwrap(), Some(json("3")));
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_answer_to_the_next() {
    let database = Database::new().await;
    let backend = database.backend().await;
    let (kv, cx) = (backend.kv(), CallCx::new(app(&backend).await));
    for n in 0..200 {
        let (mine, other) = (Key::new(n.to_string()).unwrap(), Key::new("other").unwrap());
        kv.set(&cx, &things(), &mine, &json(&n.to_string()), &SetOptions::default()).await.unwrap();
        let given_up = async { kv.get(&cx, &things(), &other).await };
        let _ = tokio::time::timeout(Duration::from_micros(n), given_up).await;
        assert_eq!(kv.get(&cx, &things(), &mine).await.unwrap(), Some(json(&n.to_string())));
    }
}

#[tokio::test]
async fn a_transaction_that_is_open_for_too_long_is_ended() {
    let database = Database::new().await;
    let backend = database.backend().await;
    let (cx, key) = (CallCx::new(app(&backend).await), Key::new("key").unwrap());
    let tx = backend.transaction().await.unwrap();
    let inside = tx.services().kv;
    inside.set(&cx, &things(), &key, &json("1"), &SetOptions::default()).await.unwrap();
    // Whoever waits for the key gets it when the time is over, and not much later.
    let kv = backend.kv();
    let waited = Instant::now();
    let outside = async { kv.set(&cx, &things(), &key, &json("2"), &SetOptions::default()).await };
    tokio::time::timeout(Duration::from_secs(12), outside).await.unwrap().unwrap();
    assert!(waited.elapsed() > Duration::from_secs(3), "it was held while the transaction was open");
    let error = inside.set(&cx, &things(), &key, &json("3"), &SetOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), "tx.closed");
    assert_eq!(tx.commit().await.unwrap_err().code(), "tx.closed");
    assert_eq!(kv.get(&cx, &things(), &key).await.unwrap(), Some(json("2")));
}

#[tokio::test]
async fn lists_end_where_their_prefix_does() {
    let database = Database::new().await;
    let backend = database.backend().await;
    let (kv, cx) = (backend.kv(), CallCx::new(app(&backend).await));
    for key in ["a", "a\u{10ffff}", "a\u{10ffff}b", "b", "\u{d7ff}x", "\u{e000}"] {
        kv.set(&cx, &things(), &Key::new(key).unwrap(), &json("1"), &SetOptions::default()).await.unwrap();
    }
    for (prefix, count) in [("a", 3), ("a\u{10ffff}", 2), ("\u{d7ff}", 1), ("", 6)] {
        let page = kv.list(&cx, &things(), &ListOptions::default().prefix(prefix)).await.unwrap();
        assert_eq!(page.items.len(), count, "{prefix:?}");
    }
}

#[tokio::test]
async fn a_swept_entry_is_one_that_was_dead_for_a_minute() {
    let database = Database::new().await;
    let mut config = PostgresConfig::default().schema(database.schema.clone());
    config.sweep = Duration::from_millis(50);
    let backend = PostgresBackend::connect_url(&url(), config).await.unwrap();
    let (kv, cx) = (backend.kv(), CallCx::new(app(&backend).await));
    for key in ["alive", "deleted", "expired", "just deleted"] {
        kv.set(&cx, &things(), &Key::new(key).unwrap(), &json("1"), &SetOptions::default()).await.unwrap();
    }
    for key in ["deleted", "just deleted"] {
        kv.delete(&cx, &things(), &Key::new(key).unwrap()).await.unwrap();
    }
    // A writer that drew its version before the entry was deleted may still be on its way to write it.
    let old =
        "UPDATE {s}.kv SET expires_at = now() - interval '2 minutes' WHERE key IN ('deleted', 'expired')";
    database.run(old).await;
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    let keys = format!("SELECT string_agg(key, ' ' ORDER BY key) FROM {}.kv", database.schema);
    let began = Instant::now();
    loop {
        let left: String =
            sqlx::query(AssertSqlSafe(keys.clone())).fetch_one(&mut connection).await.unwrap().get(0);
        if left == "alive just deleted" {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "left: {left}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    backend.close().await;
}

#[tokio::test]
async fn what_a_worker_of_another_process_lost_is_not_settled_by_it() {
    let database = Database::new().await;
    let (one, two) = (database.backend().await, database.backend().await);
    let app = app(&one).await;
    let cx = watched(app);
    for n in 0..50 {
        let key = Key::new(n.to_string()).unwrap();
        one.kv().set(&cx, &things(), &key, &json("1"), &SetOptions::default()).await.unwrap();
    }
    let (first, second) = (WorkerId::new(), WorkerId::new());
    let (outbox_one, outbox_two) = (one.outbox(), two.outbox());
    outbox_one.beat(first).await.unwrap();
    outbox_two.beat(second).await.unwrap();
    let (a, b) = tokio::join!(outbox_one.claim(first, 25), outbox_two.claim(second, 25));
    let ids: BTreeSet<_> = a.unwrap().into_iter().chain(b.unwrap()).map(|claimed| claimed.row.id).collect();
    let rest = outbox_one.claim(first, 100).await.unwrap().len();
    assert_eq!(ids.len() + rest, 50, "each row is with one of them");
}
