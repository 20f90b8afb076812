//! What goes wrong around a database rather than in it: runtimes that end, silence, limits of names and of rights.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::catalog::CatalogChange;
use picloud_core::kv::{Key, KvService, SetOptions};
use picloud_core::outbox::Revision;
use picloud_core::{AppId, Backend, CallCx, CollectionName, ErrorKind, Json, RouteId, Timestamp};
use picloud_postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection, Row};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use picloud_test_postgres::{unused_schema, url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

fn schema() -> SchemaName {
    SchemaName::new(unused_schema()).unwrap()
}

/// The URL, and the name by which the database knows connections made with it.
fn named_url() -> (String, String) {
    let name = unused_schema();
    (format!("{}?application_name={name}", url()), name)
}

async fn migrated(url: &str, schema: SchemaName) -> PostgresBackend {
    let config = PostgresConfig::default().schema(schema);
    let backend = PostgresBackend::connect_url(url, config).await.unwrap();
    backend.migrate().await.unwrap();
    backend
}

/// The first column of the first row, asked for beside all backends.
async fn ask<T>(statement: String) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    sqlx::query(AssertSqlSafe(statement)).fetch_one(&mut connection).await.unwrap().get(0)
}

async fn run(statement: &str) {
    let mut connection = PgConnection::connect(&url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
}

/// Asks again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(10), "not in ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn app(backend: &dyn Backend) -> AppId {
    let id = AppId::new();
    let slug = AppSlug::new(format!("app-{id}")).unwrap();
    let record = AppRecord { id, slug, created_at: Timestamp::UNIX_EPOCH };
    backend.catalog().create_app(&record).await.unwrap();
    id
}

async fn set(kv: &dyn KvService, cx: &CallCx, key: &str, value: &str) -> picloud_core::Result<()> {
    let (things, key) = (CollectionName::new("things").unwrap(), Key::new(key).unwrap());
    kv.set(cx, &things, &key, &Json::parse(value).unwrap(), &SetOptions::default()).await
}

async fn get(kv: &dyn KvService, cx: &CallCx, key: &str) -> picloud_core::Result<Option<String>> {
    let (things, key) = (CollectionName::new("things").unwrap(), Key::new(key).unwrap());
    Ok(kv.get(cx, &things, &key).await?.map(|value| value.as_str().to_owned()))
}

/// Programs and tests make runtimes for a moment. What was opened there is of no use to anybody else.
#[tokio::test]
async fn the_connections_of_a_runtime_end_with_it() {
    let (url, name) = named_url();
    let backend = migrated(&url, schema()).await;
    let cx = CallCx::new(app(&backend).await);
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
    set(&*backend.kv(), &cx, "key", "1").await.unwrap();
    let threads = (0..12).map(|_| {
        let (backend, cx) = (backend.clone(), cx.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            assert_eq!(runtime.block_on(get(&*backend.kv(), &cx, "key")).unwrap().as_deref(), Some("1"));
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    until("only this runtime and the backend's own are connected", async || {
        ask::<i64>(count.clone()).await <= 5
    })
    .await;
}

#[tokio::test]
async fn a_closed_backend_leaves_no_connection() {
    let (url, name) = named_url();
    let backend = migrated(&url, schema()).await;
    app(&backend).await;
    backend.close().await;
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
    until("no connection is left", async || ask::<i64>(count.clone()).await == 0).await;
}

#[tokio::test]
async fn a_schema_with_the_longest_name_works() {
    let name = unused_schema();
    let longest = SchemaName::new(format!("{name}{}", "x".repeat(63 - name.len()))).unwrap();
    let (one, two) = (migrated(&url(), longest.clone()).await, migrated(&url(), longest).await);
    let app = app(&one).await;
    let mut notices = two.outbox().notices();
    until("the listener is there", async || {
        one.outbox().announce();
        tokio::time::timeout(Duration::from_millis(50), notices.changed()).await.is_ok()
    })
    .await;
    one.catalog().apply(app, &[CatalogChange::DeleteRoute(RouteId::new())], Revision(0)).await.unwrap();
}

/// As administrators hand out databases: a schema, and nothing beside it.
#[tokio::test]
async fn a_role_that_may_not_create_schemas_migrates_its_own() {
    let (schema, role) = (schema(), unused_schema());
    run(&format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA {schema} AUTHORIZATION {role}")).await;
    let backend = migrated(&url().replace("picloud@", &format!("{role}@")), schema).await;
    backend.ready().await.unwrap();
}

/// A row lock is held for a short while by a transaction, and calls outside are not held up by there being some.
#[tokio::test]
async fn open_transactions_leave_room_for_calls() {
    let backend = migrated(&url(), schema()).await;
    let cx = CallCx::new(app(&backend).await);
    let mut open = Vec::new();
    for _ in 0..PostgresConfig::default().connections_per_runtime {
        open.push(backend.transaction().await.unwrap());
    }
    let kv = backend.kv();
    let call = tokio::time::timeout(Duration::from_secs(2), set(&*kv, &cx, "key", "1"));
    call.await.expect("no call waits for transactions").unwrap();
    drop(open);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_during_a_call_is_over_with_it() {
    let backend = migrated(&url(), schema()).await;
    let cx = CallCx::new(app(&backend).await);
    let holder = backend.transaction().await.unwrap();
    let held = holder.services();
    set(&*held.kv, &cx, "held", "1").await.unwrap();

    let tx = backend.transaction().await.unwrap();
    let services = tx.services();
    set(&*services.kv, &cx, "own", "1").await.unwrap();
    let waits = tokio::spawn({
        let (kv, cx) = (services.kv.clone(), cx.clone());
        async move { set(&*kv, &cx, "held", "2").await }
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted".to_owned();
    until("the call waits", async || ask::<i64>(waiting.clone()).await > 0).await;
    drop(tx);
    drop(holder);
    let _ = waits.await.unwrap();

    let late = set(&*services.kv, &cx, "late", "1").await.unwrap_err();
    assert_eq!(late.code(), "tx.closed");
    let kv = backend.kv();
    let own = tokio::time::timeout(Duration::from_secs(2), set(&*kv, &cx, "own", "3"));
    own.await.expect("the locks are gone").unwrap();
}

/// Forwards bytes until it is told to fall silent: connections stay open, nothing arrives.
async fn silenceable() -> (String, watch::Sender<bool>) {
    let url = url();
    let server = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = url.replace(&server, &listener.local_addr().unwrap().to_string());
    let (silence, silent) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = TcpStream::connect(&server).await.unwrap().into_split();
            tokio::spawn(forward(client_in, server_out, silent.clone()));
            tokio::spawn(forward(server_in, client_out, silent.clone()));
        }
    });
    (front, silence)
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut silent: watch::Receiver<bool>,
) {
    let mut bytes = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// A network that loses everything is not noticed by a socket for a quarter of an hour.
#[tokio::test]
async fn a_database_that_falls_silent_is_unavailable_and_then_used_again() {
    let (front, silence) = silenceable().await;
    let mut config = PostgresConfig::default().schema(schema());
    config.statement_timeout = Duration::from_millis(500);
    let backend = PostgresBackend::connect_url(&front, config).await.unwrap();
    backend.migrate().await.unwrap();
    let (kv, cx) = (backend.kv(), CallCx::new(app(&backend).await));
    set(&*kv, &cx, "key", "1").await.unwrap();

    silence.send_replace(true);
    let call = tokio::time::timeout(Duration::from_secs(20), set(&*kv, &cx, "key", "2"));
    let error = call.await.expect("no call waits for ever").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");

    silence.send_replace(false);
    until("it works again", async || set(&*kv, &cx, "key", "3").await.is_ok()).await;
    assert_eq!(get(&*kv, &cx, "key").await.unwrap().as_deref(), Some("3"));
}

/// What lay idle while the database was restarted is tried before it is used for anything that counts.
#[tokio::test]
async fn a_restart_between_two_calls_is_not_noticed() {
    let (url, name) = named_url();
    let backend = migrated(&url, schema()).await;
    let (kv, cx) = (backend.kv(), CallCx::new(app(&backend).await));
    let end = format!(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = '{name}'"
    );
    for n in 0..3 {
        set(&*kv, &cx, "key", &n.to_string()).await.unwrap();
        ask::<i64>(end.clone()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        set(&*kv, &cx, "key", "7").await.unwrap();
        ask::<i64>(end.clone()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(backend.catalog().snapshot(cx.app()).await.unwrap().is_some());
    }
}
