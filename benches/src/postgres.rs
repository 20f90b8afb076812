//! Events and KV on Postgres, beside the plain statements.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use picloud_core::execution::{ExecutionLogSink, ExecutionRecord};
use picloud_core::script::Bundle;
use picloud_core::{App, CallCx, Picloud, PicloudConfig, Result, ScriptModule, async_trait};
use picloud_postgres::sqlx::{self, AssertSqlSafe, Connection, PgConnection, Row};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use tokio::runtime::Runtime;

use crate::documents;
use crate::hello::runtime;
use crate::measure::{
    ALL_CORES, Goal, Table, in_turns, median, nanos, per_second, pin, show, taskset, unpin,
};

pub(crate) const TASKS: u64 = 8;
pub(crate) const WRITES: u64 = 500;
const ROWS: u64 = 100_000;
const BATCH: i64 = 200;

/// Forgets records: what is left is the cost of the rest.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl ExecutionLogSink for Nowhere {
    async fn write(&self, _records: Vec<ExecutionRecord>) -> Result<()> {
        Ok(())
    }
}

/// A schema of its own on the server.
#[derive(Clone)]
pub(crate) struct Database {
    url: String,
    schema: String,
}

impl Database {
    pub(crate) fn new(url: &str, runtime: &Runtime) -> Self {
        let database =
            Database { url: url.to_owned(), schema: format!("bench_{}", uuid::Uuid::now_v7().simple()) };
        runtime.block_on(async {
            database.backend().await.migrate().await.unwrap();
            database.run("CREATE TABLE {s}.plain (LIKE {s}.kv INCLUDING ALL)").await;
        });
        database
    }

    async fn backend(&self) -> PostgresBackend {
        let mut config = PostgresConfig::default().schema(SchemaName::new(&*self.schema).unwrap());
        config.connections_per_runtime = usize::try_from(TASKS).unwrap();
        PostgresBackend::connect_url(&self.url, config).await.unwrap()
    }

    pub(crate) fn existing(url: &str, schema: &str) -> Self {
        Database { url: url.to_owned(), schema: schema.to_owned() }
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    pub(crate) fn fill(&self, statement: &str) -> Arc<str> {
        statement.replace("{s}", &self.schema).into()
    }

    pub(crate) async fn run(&self, statement: &str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(AssertSqlSafe(self.fill(statement))).execute(&mut connection).await.unwrap();
    }

    /// Puts this process on one core and its server processes on another.
    pub(crate) fn pin(&self, runtime: &Runtime) -> bool {
        let Some(other) = pin() else { return false };
        runtime.block_on(self.server_processes()).iter().all(|pid| taskset(other, pid))
    }

    pub(crate) fn unpin(&self, runtime: &Runtime) {
        for pid in runtime.block_on(self.server_processes()) {
            taskset(ALL_CORES, &pid);
        }
        unpin();
    }

    async fn server_processes(&self) -> Vec<String> {
        let mut connection = self.connection().await;
        let pids = "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let rows = sqlx::query(pids).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn cloud(
        &self,
        dispatch: bool,
        records: bool,
        module: Option<ScriptModule>,
    ) -> (Picloud, App) {
        let mut config = PicloudConfig::default();
        config.dispatcher.enabled = dispatch;
        let mut builder = Picloud::builder(self.backend().await).config(config);
        if !records {
            builder = builder.execution_log(Nowhere);
        }
        if let Some(module) = module {
            builder = builder.script_module(module);
        }
        let cloud = builder.start().await.unwrap();
        let app = cloud.ensure_app("bench").await.unwrap();
        (cloud, app)
    }
}

pub(crate) fn scripts(triggers: usize) -> Bundle {
    (0..triggers)
        .try_fold(Bundle::new(), |bundle, n| bundle.file(&format!("handler-{n}"), "//! on kv orders\n1"))
        .unwrap()
}

/// Seconds for one of `TASKS × WRITES` writes by tasks at the same time, as nanoseconds.
pub(crate) fn together<F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    task: impl Fn(u64) -> F,
) -> f64 {
    runtime.block_on(async {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..TASKS).map(|number| tokio::spawn(task(number))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        nanos(begin.elapsed()) / (TASKS * WRITES) as f64
    })
}

fn sets(database: &Database, runtime: &Runtime, table: &mut Table) {
    let value = "x".repeat(200);
    let (cloud, app) = runtime.block_on(database.cloud(false, false, None));
    let upsert = database.fill(
        "INSERT INTO {s}.plain AS kv (app, collection, key, value, version) VALUES ($1, $2, $3, $4, 1)
         ON CONFLICT (app, collection, key) DO UPDATE SET value = excluded.value, version = kv.version + 1",
    );
    let connections: Vec<_> = (0..TASKS)
        .map(|_| Arc::new(tokio::sync::Mutex::new(runtime.block_on(database.connection()))))
        .collect();
    let app_id = *app.id().as_uuid();
    for (triggers, most) in [(0, 1.3), (1, 1.7), (5, 2.4)] {
        runtime.block_on(async {
            app.deploy(&scripts(triggers)).await.unwrap();
            database.run("TRUNCATE {s}.outbox").await;
        });
        let mut ours = || {
            together(runtime, |task| {
                let (orders, value) = (app.kv("orders").unwrap(), value.clone());
                async move {
                    for n in 0..WRITES {
                        orders.set(&format!("key {}", task * 50 + n % 50), &value).await.unwrap();
                    }
                }
            })
        };
        let mut plain = || {
            together(runtime, |task| {
                let connection = connections.get(usize::try_from(task).unwrap()).unwrap().clone();
                let (upsert, value) = (upsert.clone(), format!("{value:?}"));
                async move {
                    let mut connection = connection.lock().await;
                    for n in 0..WRITES {
                        sqlx::query(AssertSqlSafe(upsert.clone()))
                            .bind(app_id)
                            .bind("orders")
                            .bind(format!("key {}", task * 50 + n % 50))
                            .bind(value.clone())
                            .execute(&mut *connection)
                            .await
                            .unwrap();
                    }
                }
            })
        };
        let [ours, plain] = in_turns(7, [&mut ours, &mut plain]);
        let what = format!(
            "Postgres: KV set, 200 bytes, 8 tasks, {triggers} matching triggers, beside a plain upsert"
        );
        table.row(what, show(ours), show(plain), ours / plain, " ×", Goal::AtMost(most));
    }
    runtime.block_on(cloud.shutdown(Duration::from_secs(5)));
}

fn gets(database: &Database, runtime: &Runtime, table: &mut Table) {
    const SOURCE: &str = "let c = kv::collection(\"orders\"); for i in 0..500 { c.get(\"key 1\"); }";
    let (cloud, app) = runtime.block_on(database.cloud(false, false, None));
    let bundle = Bundle::new().named("gets").file("get", SOURCE).unwrap();
    runtime.block_on(async {
        app.deploy(&bundle).await.unwrap();
        app.kv("orders").unwrap().set("key 1", &"x".repeat(200)).await.unwrap();
    });
    let select = database.fill("SELECT value FROM {s}.kv WHERE app = $1 AND collection = $2 AND key = $3");
    let app_id = *app.id().as_uuid();
    let handle = cloud.executor().runtimes().next().unwrap().clone();
    let mut ours = || {
        let app = app.clone();
        let run = handle.spawn(async move {
            let script = app.script("get").unwrap();
            let begin = Instant::now();
            script.execute(script.invocation()).await.result.unwrap();
            nanos(begin.elapsed()) / 500.0
        });
        runtime.block_on(run).unwrap()
    };
    // On the same thread: what a round trip costs depends on where its two ends run.
    let connection = {
        let database = database.clone();
        let opened = handle.spawn(async move { database.connection().await });
        Arc::new(tokio::sync::Mutex::new(runtime.block_on(opened).unwrap()))
    };
    let mut plain = || {
        let (connection, select) = (connection.clone(), select.clone());
        let run = handle.spawn(async move {
            let mut connection = connection.lock().await;
            let begin = Instant::now();
            for _ in 0..500 {
                let query =
                    sqlx::query(AssertSqlSafe(select.clone())).bind(app_id).bind("orders").bind("key 1");
                drop(query.fetch_one(&mut *connection).await.unwrap().get::<String, _>(0));
            }
            nanos(begin.elapsed()) / 500.0
        });
        runtime.block_on(run).unwrap()
    };
    // Once before, so that the connection is there to be pinned.
    ours();
    let pinned = database.pin(runtime);
    let [ours, plain] = in_turns(7, [&mut ours, &mut plain]);
    database.unpin(runtime);
    let place = if pinned { "each end on a core of its own" } else { "wherever the system puts the ends" };
    let what =
        format!("Postgres: KV get through a script, beside the raw select on the same thread, {place}");
    table.row(what, show(ours), show(plain), ours / plain, " ×", Goal::AtMost(1.4));
    runtime.block_on(cloud.shutdown(Duration::from_secs(5)));
}

const STORE: &str = "INSERT INTO {s}.outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, occurred_at, run_at)
    SELECT gen_random_uuid(), a.id, 'kv', t.id, t.script, '{\"collection\":\"orders\",\"key\":\"k\",\"op\":\"insert\",\"prev_value\":null,\"value\":1,\"version\":1}',
           1, gen_random_uuid(), gen_random_uuid(), now(), now()
    FROM {s}.apps a JOIN {s}.triggers t ON t.app = a.id, generate_series(1, {rows}); ANALYZE {s}.outbox";

async fn store(database: &Database, rows: u64) {
    database.run(&STORE.replace("{rows}", &rows.to_string())).await;
}

async fn left(connection: &mut PgConnection, count: &Arc<str>) -> u64 {
    let row = sqlx::query(AssertSqlSafe(count.clone())).fetch_one(connection).await.unwrap();
    row.get::<i64, _>(0).unsigned_abs()
}

/// Rows a second, with a real script.
async fn drain(database: &Database, rows: u64, records: bool) -> (f64, Vec<f64>) {
    store(database, rows).await;
    let mut connection = database.connection().await;
    let count = database.fill("SELECT count(*) FROM {s}.outbox");
    let begin = Instant::now();
    let (cloud, _) = database.cloud(true, records, None).await;
    let (mut parts, mut part_began, mut next) = (Vec::new(), begin, rows.saturating_sub(ROWS));
    // Counting rows costs as much as handling some: only where the parts are wanted, and seldom.
    let mut remaining = if rows > ROWS { rows } else { 0 };
    while remaining > 0 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        remaining = left(&mut connection, &count).await;
        if remaining <= next {
            parts.push(ROWS as f64 / part_began.elapsed().as_secs_f64());
            part_began = Instant::now();
            next = next.saturating_sub(ROWS);
        }
    }
    cloud.run_until_idle().await.unwrap();
    let rate = rows as f64 / begin.elapsed().as_secs_f64();
    cloud.shutdown(Duration::from_secs(10)).await;
    (rate, parts)
}

/// Rows a second, claimed and removed by the plain statements, one after the other.
async fn drain_plain(database: &Database) -> f64 {
    store(database, ROWS).await;
    let claim = database.fill(
        "WITH due AS MATERIALIZED (SELECT id FROM {s}.outbox WHERE state = 0 AND run_at <= now()
             ORDER BY run_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
         UPDATE {s}.outbox o SET state = 1, attempt = o.attempt + 1, worker = $2 FROM due WHERE o.id = due.id
         RETURNING o.id, o.payload",
    );
    let remove = database.fill("DELETE FROM {s}.outbox WHERE id = ANY($1) AND worker = $2");
    let (mut connection, worker) = (database.connection().await, uuid::Uuid::now_v7());
    let begin = Instant::now();
    loop {
        let rows = sqlx::query(AssertSqlSafe(claim.clone())).bind(BATCH).bind(worker);
        let rows = rows.fetch_all(&mut connection).await.unwrap();
        if rows.is_empty() {
            return ROWS as f64 / begin.elapsed().as_secs_f64();
        }
        let ids: Vec<uuid::Uuid> = rows.iter().map(|row| row.get(0)).collect();
        let gone = sqlx::query(AssertSqlSafe(remove.clone())).bind(ids).bind(worker);
        gone.execute(&mut connection).await.unwrap();
    }
}

async fn one_trigger(database: &Database) {
    let (cloud, app) = database.cloud(false, false, None).await;
    app.deploy(&scripts(1)).await.unwrap();
    cloud.shutdown(Duration::from_secs(5)).await;
}

fn drains(database: &Database, runtime: &Runtime, table: &mut Table) {
    runtime.block_on(async {
        one_trigger(database).await;
        let (mut plain, mut without, mut with) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            database.run("TRUNCATE {s}.outbox, {s}.executions").await;
            plain.push(drain_plain(database).await);
            database.run("TRUNCATE {s}.outbox, {s}.executions").await;
            without.push(drain(database, ROWS, false).await.0);
            database.run("TRUNCATE {s}.outbox, {s}.executions").await;
            with.push(drain(database, ROWS, true).await.0);
        }
        let (plain, without, with) = (median(&mut plain), median(&mut without), median(&mut with));
        for (what, rate, least) in [("without", without, 0.6), ("with", with, 0.45)] {
            let what = format!(
                "Postgres: 100 000 events handled by a script, {what} execution records, beside raw claim and complete"
            );
            table.row(what, per_second(rate), per_second(plain), rate / plain, " ×", Goal::AtLeast(least));
        }
    });
}

/// Latencies from a write's return to the handler's first line, at a hundred a second.
fn latency(database: &Database, runtime: &Runtime, elsewhere: bool) -> f64 {
    let began: Arc<Mutex<Vec<(i64, Instant)>>> = Arc::default();
    let seen = began.clone();
    let module = ScriptModule::new("bench").function("began(n: int)", move |_cx: CallCx, n: i64| {
        seen.lock().unwrap().push((n, Instant::now()));
    });
    runtime.block_on(async {
        database.run("TRUNCATE {s}.outbox").await;
        let (handling, app) = database.cloud(true, false, Some(module)).await;
        let source = "//! on kv latency\nbench::began(ctx.event.kv.value);";
        app.deploy(&Bundle::new().named("latency").file("latency", source).unwrap()).await.unwrap();
        let (writing, writer) = if elsewhere {
            database.cloud(false, false, None).await
        } else {
            (handling.clone(), app.clone())
        };
        let kv = writer.kv("latency").unwrap();
        // Until both have listened.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut returned = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for n in 0..300_i64 {
            ticks.tick().await;
            kv.set("key", &n).await.unwrap();
            returned.push((n, Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = began.lock().unwrap().clone();
        let mut waits: Vec<f64> = returned
            .iter()
            .filter_map(|(n, returned)| {
                let (_, began) = began.iter().find(|(known, _)| known == n)?;
                Some(nanos(began.saturating_duration_since(*returned)))
            })
            .collect();
        assert!(waits.len() > 290, "only {} handlers ran", waits.len());
        if elsewhere {
            writing.shutdown(Duration::from_secs(5)).await;
        }
        handling.shutdown(Duration::from_secs(5)).await;
        median(&mut waits)
    })
}

fn latencies(database: &Database, runtime: &Runtime, table: &mut Table) {
    for (elsewhere, most) in [(false, 2.0), (true, 5.0)] {
        let wait = latency(database, runtime, elsewhere);
        let place = if elsewhere { "on another node" } else { "on the same node" };
        let what =
            format!("Postgres: from a write's return to its handler's first line {place}, 100 a second, p50");
        table.row(what, show(wait), "0", wait / 1e6, " ms", Goal::AtMost(most));
    }
}

fn empty_claim(database: &Database, runtime: &Runtime, table: &mut Table) {
    let wait = runtime.block_on(async {
        database.run("TRUNCATE {s}.outbox").await;
        store(database, ROWS).await;
        database.run("UPDATE {s}.outbox SET run_at = now() + interval '1 day'").await;
        // Statements that come together are one transaction, and this one allows none around it.
        database.run("VACUUM ANALYZE {s}.outbox").await;
        let backend = database.backend().await;
        let (outbox, worker) =
            (picloud_core::Backend::outbox(&backend), picloud_core::outbox::WorkerId::new());
        outbox.beat(worker).await.unwrap();
        let mut waits = Vec::new();
        for _ in 0..200 {
            let begin = Instant::now();
            assert!(outbox.claim(worker, 200).await.unwrap().is_empty());
            waits.push(nanos(begin.elapsed()));
        }
        database.run("TRUNCATE {s}.outbox").await;
        median(&mut waits)
    });
    let what = "Postgres: an empty claim over 100 000 delayed events, p50";
    table.row(what, show(wait), "0", wait / 1e6, " ms", Goal::AtMost(1.0));
}

/// A part of it, on a schema of its own.
pub(crate) type Part = fn(&Database, &Runtime, &mut Table);

pub(crate) const PARTS: [(&str, Part); 8] = [
    ("postgres sets", sets),
    ("postgres gets", gets),
    ("postgres latencies", latencies),
    ("postgres claims", empty_claim),
    ("postgres queries", documents::queries),
    ("postgres documents", documents::writes),
    ("postgres messages", documents::messages),
    ("postgres drains", drains),
];

pub(crate) fn run(url: &str, part: Part, table: &mut Table) {
    let runtime = runtime();
    part(&Database::new(url, &runtime), &runtime, table);
}

/// A long drain, to see whether it slows down: by hand.
pub(crate) fn long_drain(url: &str, rows: u64) {
    let runtime = runtime();
    let database = Database::new(url, &runtime);
    runtime.block_on(async {
        one_trigger(&database).await;
        let (rate, parts) = drain(&database, rows, false).await;
        for (number, part) in parts.iter().enumerate() {
            println!("100 000 events, part {}: {}", number + 1, per_second(*part));
        }
        println!("{rows} events: {}", per_second(rate));
    });
}
