//! Documents, messages and schedules, beside the plain statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use picloud_core::docs::{DocId, WriteOptions};
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud};
use picloud_memory::MemoryBackend;
use picloud_postgres::sqlx::{self, AssertSqlSafe, PgConnection, Row};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::hello::runtime;
use crate::measure::{Goal, Table, in_turns, median, nanos, show};
use crate::postgres::{Database, TASKS, WRITES, together};

const DOCUMENTS: u64 = 100_000;
const FINDS: u32 = 200;
const SECONDS: u32 = 200;

fn data(n: u64) -> Value {
    json!({ "n": n, "name": format!("name {n}"), "tags": ["a", format!("t{}", n % 100)], "address": { "city": "Paris" },
            "text": "x".repeat(100) })
}

/// The key below which the forms of a collection lie.
async fn scope(database: &Database, app: &App, collection: &str) -> String {
    app.docs(collection).unwrap().create(&data(0)).await.unwrap();
    let keys = database.fill(
        "SELECT jsonb_object_keys(form) FROM (SELECT form FROM {s}.docs WHERE app = $1 AND collection = $2 LIMIT 1) d",
    );
    let query = sqlx::query(AssertSqlSafe(keys)).bind(*app.id().as_uuid()).bind(collection.to_owned());
    query.fetch_one(&mut database.connection().await).await.unwrap().get(0)
}

/// Many documents, without waiting for each.
async fn fill(database: &Database, app: &App) -> String {
    let scope = scope(database, app, "things").await;
    let fill = format!(
        "INSERT INTO {{s}}.docs (app, collection, id, data, form, version, created_at, updated_at)
         SELECT '{}', 'things', gen_random_uuid(), data::text, jsonb_build_object('{scope}', data), 1, now(), now()
         FROM generate_series(1, {DOCUMENTS}) n, LATERAL (SELECT jsonb_build_object('n', n, 'name', 'name ' || n,
             'tags', jsonb_build_array('a', 't' || n % 100), 'address', jsonb_build_object('city', 'Paris'),
             'text', repeat('x', 100)) AS data) d;
         ANALYZE {{s}}.docs",
        app.id()
    );
    database.run(&fill).await;
    // New entries of the index wait in a list that every look goes through.
    database.run("VACUUM ANALYZE {s}.docs").await;
    scope
}

/// Nanoseconds of one find by a script that makes many.
fn finds(cloud: &Picloud, app: &App, runtime: &Runtime, script: &'static str) -> f64 {
    let (app, handle) = (app.clone(), cloud.executor().runtimes().next().unwrap().clone());
    let run = handle.spawn(async move {
        let script = app.script(script).unwrap();
        let begin = Instant::now();
        script.execute(script.invocation()).await.result.unwrap();
        nanos(begin.elapsed()) / f64::from(FINDS)
    });
    runtime.block_on(run).unwrap()
}

pub(crate) fn queries(database: &Database, runtime: &Runtime, table: &mut Table) {
    let (cloud, app) = runtime.block_on(database.cloud(false, false, None));
    let scope = runtime.block_on(fill(database, &app));
    let script = |query: &str| {
        format!(
            "let c = docs::collection(\"things\"); for i in 0..{FINDS} {{ if c.find({query}).len() == 0 {{ throw i; }} }}"
        )
    };
    let bundle = Bundle::new().named("finds").file("equal", script("#{ n: 1 + i * 37 }")).unwrap();
    let range = "#{ n: #{ \"$gt\": i * 400, \"$lte\": i * 400 + 300 }, \"$sort\": \"n\", \"$limit\": 20 }";
    let bundle = bundle.file("range", script(range)).unwrap();
    let newest = "#{ \"$sort\": #{ n: -1 }, \"$limit\": 20 }";
    let bundle = bundle.file("newest", script(newest)).unwrap();
    runtime.block_on(app.deploy(&bundle)).unwrap();

    let select = database.fill(
        "SELECT id, data, version, created_at::text, updated_at::text FROM {s}.docs
         WHERE app = $1 AND collection = $2 AND form @> $3::text::jsonb ORDER BY id LIMIT 101",
    );
    let handle = cloud.executor().runtimes().next().unwrap().clone();
    let connection = {
        let database = database.clone();
        let opened = handle.spawn(async move { database.connection().await });
        Arc::new(Mutex::new(runtime.block_on(opened).unwrap()))
    };
    let app_id = *app.id().as_uuid();
    let mut ours = || finds(&cloud, &app, runtime, "equal");
    let mut plain = || {
        let (connection, select, scope) = (connection.clone(), select.clone(), scope.clone());
        let run = handle.spawn(async move {
            let mut connection = connection.lock().await;
            let begin = Instant::now();
            for n in 0..FINDS {
                let form = format!("{{\"{scope}\":{{\"n\":{}}}}}", 1 + n * 37);
                let query = sqlx::query(AssertSqlSafe(select.clone())).bind(app_id).bind("things").bind(form);
                let rows = query.fetch_all(&mut *connection).await.unwrap();
                assert_eq!(rows.first().unwrap().get::<String, _>(1).len(), rows[0].get::<&str, _>(1).len());
            }
            nanos(begin.elapsed()) / f64::from(FINDS)
        });
        runtime.block_on(run).unwrap()
    };
    // Once before, so that the connection is there to be pinned.
    ours();
    database.pin(runtime);
    let [equal, plain] = in_turns(7, [&mut ours, &mut plain]);
    let what =
        "Postgres: find by equality among 100 000 documents through a script, beside the statement by hand";
    table.row(what, show(equal), show(plain), equal / plain, " ×", Goal::AtMost(1.5));

    let without = finds(&cloud, &app, runtime, "range");
    let begin = Instant::now();
    runtime.block_on(async {
        let things = app.docs("things").unwrap();
        things.declare_index("n").await.unwrap();
        while !things.indexes().await.unwrap().iter().all(|index| index.is_complete) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let filling = nanos(begin.elapsed());
    // What a node knows of indexes is a second old at most.
    std::thread::sleep(Duration::from_millis(1_100));
    for (what, script) in [("by range and sort", "range"), ("the last by sort", "newest")] {
        let mut with: Vec<_> = (0..7).map(|_| finds(&cloud, &app, runtime, script)).collect();
        let with = median(&mut with);
        let what = format!(
            "Postgres: find {what} among 100 000 documents through a script, with a declared index, beside without"
        );
        table.row(what, show(with), show(without), with / 1e6, " ms", Goal::AtMost(1.0));
    }
    database.unpin(runtime);
    let what = "Postgres: declaring an index on 100 000 documents, until it is complete";
    table.row(what, show(filling), "0", filling / 1e9, " s", Goal::None);
    runtime.block_on(cloud.shutdown(Duration::from_secs(5)));
}

async fn plain_writes(
    connection: Arc<Mutex<PgConnection>>,
    statement: Arc<str>,
    bind: Vec<(uuid::Uuid, String)>,
    app: uuid::Uuid,
) {
    let mut connection = connection.lock().await;
    for (id, data) in bind {
        let query = sqlx::query(AssertSqlSafe(statement.clone())).bind(app).bind("new").bind(id);
        let form = format!("{{\"0123456789abcdef\":{data}}}");
        query.bind(data).bind(form).execute(&mut *connection).await.unwrap();
    }
}

pub(crate) fn writes(database: &Database, runtime: &Runtime, table: &mut Table) {
    let (cloud, app) = runtime.block_on(database.cloud(false, false, None));
    runtime.block_on(database.run("CREATE TABLE {s}.plain_docs (LIKE {s}.docs INCLUDING ALL)"));
    let insert = database.fill(
        "INSERT INTO {s}.plain_docs (app, collection, id, data, form, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5::text::jsonb, 1, now(), now())",
    );
    let update = database.fill(
        "UPDATE {s}.plain_docs SET data = $4, form = $5::text::jsonb, version = version + 1, updated_at = now()
         WHERE app = $1 AND collection = $2 AND id = $3",
    );
    let connections: Vec<_> =
        (0..TASKS).map(|_| Arc::new(Mutex::new(runtime.block_on(database.connection())))).collect();
    let app_id = *app.id().as_uuid();
    for (triggers, most) in [(0, 1.3), (1, 1.8)] {
        let bundle = (0..triggers)
            .try_fold(Bundle::new(), |bundle, n| bundle.file(&format!("handler-{n}"), "//! on docs new\n1"));
        runtime.block_on(async {
            app.deploy(&bundle.unwrap()).await.unwrap();
            database.run("TRUNCATE {s}.outbox, {s}.docs, {s}.plain_docs").await;
        });
        let ids: Vec<Vec<DocId>> = runtime.block_on(async {
            let new = app.docs("new").unwrap();
            let mut ids = Vec::new();
            for task in 0..TASKS {
                let mut of_task = Vec::new();
                for n in 0..50 {
                    let id = new.create(&data(task * 50 + n)).await.unwrap().id;
                    let known = vec![(*id.as_uuid(), data(n).to_string())];
                    plain_writes(connections[0].clone(), insert.clone(), known, app_id).await;
                    of_task.push(id);
                }
                ids.push(of_task);
            }
            ids
        });
        let at = |task: u64| usize::try_from(task).unwrap();
        let mut create = || {
            together(runtime, |_| {
                let new = app.docs("new").unwrap();
                async move {
                    for n in 0..WRITES {
                        new.create(&data(n)).await.unwrap();
                    }
                }
            })
        };
        let mut plain_create = || {
            together(runtime, |task| {
                let bind = (0..WRITES).map(|n| (uuid::Uuid::now_v7(), data(n).to_string())).collect();
                plain_writes(connections[at(task)].clone(), insert.clone(), bind, app_id)
            })
        };
        let [created, plain] = in_turns(5, [&mut create, &mut plain_create]);
        let what = format!(
            "Postgres: documents created by 8 tasks, {triggers} matching triggers, beside a plain insert"
        );
        table.row(what, show(created), show(plain), created / plain, " ×", Goal::AtMost(most));
        let mut change = || {
            together(runtime, |task| {
                let (new, ids) = (app.docs("new").unwrap(), ids[at(task)].clone());
                async move {
                    for n in 0..WRITES {
                        let id = ids[usize::try_from(n % 50).unwrap()];
                        new.update(id, &data(n), &WriteOptions::default()).await.unwrap();
                    }
                }
            })
        };
        let mut plain_change = || {
            together(runtime, |task| {
                let ids = ids[at(task)].clone();
                let bind = (0..WRITES)
                    .map(|n| (*ids[usize::try_from(n % 50).unwrap()].as_uuid(), data(n).to_string()))
                    .collect();
                plain_writes(connections[at(task)].clone(), update.clone(), bind, app_id)
            })
        };
        let [changed, plain] = in_turns(5, [&mut change, &mut plain_change]);
        let what = format!(
            "Postgres: documents updated by 8 tasks, {triggers} matching triggers, beside a plain update"
        );
        table.row(what, show(changed), show(plain), changed / plain, " ×", Goal::AtMost(most));
    }
    runtime.block_on(cloud.shutdown(Duration::from_secs(5)));
}

pub(crate) fn messages(database: &Database, runtime: &Runtime, table: &mut Table) {
    let (cloud, app) = runtime.block_on(database.cloud(false, false, None));
    let bundle = (0..10).try_fold(Bundle::new(), |bundle, n| {
        bundle.file(&format!("handler-{n}"), "//! on pubsub order.*\n1")
    });
    runtime.block_on(async {
        app.deploy(&bundle.unwrap()).await.unwrap();
        database.run("CREATE TABLE {s}.plain_outbox (LIKE {s}.outbox INCLUDING ALL)").await;
    });
    let insert = database.fill(
        "INSERT INTO {s}.plain_outbox (id, app, kind, trigger, script, payload, trigger_depth, trace, request, occurred_at, run_at)
         SELECT id, $1, 'pubsub', id, id, $3, 1, $1, $1, now(), now() FROM unnest($2::uuid[]) AS row (id)",
    );
    let connections: Vec<_> =
        (0..TASKS).map(|_| Arc::new(Mutex::new(runtime.block_on(database.connection())))).collect();
    let (app_id, message) = (*app.id().as_uuid(), data(1));
    let mut ours = || {
        together(runtime, |_| {
            let (app, message) = (app.clone(), message.clone());
            async move {
                for _ in 0..WRITES {
                    assert_eq!(app.publish("order.paid", &message).await.unwrap(), 10);
                }
            }
        })
    };
    let mut plain = || {
        together(runtime, |task| {
            let connection = connections[usize::try_from(task).unwrap()].clone();
            let (insert, message) = (insert.clone(), message.to_string());
            async move {
                let mut connection = connection.lock().await;
                for _ in 0..WRITES {
                    let ids: Vec<_> = (0..10).map(|_| uuid::Uuid::now_v7()).collect();
                    let query = sqlx::query(AssertSqlSafe(insert.clone())).bind(app_id).bind(ids);
                    query.bind(message.clone()).execute(&mut *connection).await.unwrap();
                }
            }
        })
    };
    let [ours, plain] = in_turns(5, [&mut ours, &mut plain]);
    let what = "Postgres: a message to 10 matching triggers, 8 tasks, beside a plain insert of 10 rows";
    table.row(what, show(ours), show(plain), ours / plain, " ×", Goal::AtMost(2.0));
    runtime.block_on(cloud.shutdown(Duration::from_secs(5)));
}

/// Processor time of this process so far, in nanoseconds, as precisely as the system tells: a hundredth of a second.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    if ticks.len() == 2 { ticks.iter().sum::<f64>() * 1e7 } else { f64::NAN }
}

/// Seconds of the clock, in each of which a few of many schedules are due.
pub(crate) fn schedules(table: &mut Table) {
    let runtime = runtime();
    let cost = runtime.block_on(async {
        let (backend, clock) = MemoryBackend::with_test_clock();
        let cloud = Picloud::builder(backend).start().await.unwrap();
        let app = cloud.create_app("bench").await.unwrap();
        let bundle = (0..200_u32).try_fold(Bundle::new(), |bundle, file| {
            let line = |n: u32| format!("//! cron \"{} {} * * * *\"\n", n % 60, n / 60 % 60);
            let lines: String = (file * 50..file * 50 + 50).map(line).collect();
            bundle.file(&format!("tick-{file}"), format!("{lines}1"))
        });
        app.deploy(&bundle.unwrap()).await.unwrap();
        cloud.run_until_idle().await.unwrap();
        let begin = processor_time();
        for _ in 0..SECONDS {
            clock.advance(Duration::from_secs(1));
            cloud.run_until_idle().await.unwrap();
        }
        let cost = (processor_time() - begin) / f64::from(SECONDS);
        cloud.shutdown(Duration::from_secs(5)).await;
        cost
    });
    let what = "a second with 10 000 schedules, of which some three are due and run: processor time";
    table.row(what, show(cost), "0", cost / 1e6, " ms", Goal::AtMost(50.0));
}
