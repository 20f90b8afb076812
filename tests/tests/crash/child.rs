//! The process that dies, and what is in the database.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use picloud_core::kv::ListOptions;
use picloud_core::outbox::{DeadLetter, DeadLetterListOptions};
use picloud_core::script::Bundle;
use picloud_core::trigger::RetryPolicy;
use picloud_core::{App, Picloud, PicloudConfig};
use picloud_postgres::fault::{self, Commit};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};

/// Each handler notes which attempt at which event it was: one that runs twice under one number would show.
const HANDLERS: [(&str, &str); 3] = [
    (
        "one",
        "//! on kv orders
        kv::collection(\"runs\").increment(`${ctx.event.id}:${ctx.event.attempt}`, 1);
        kv::collection(\"done\").set(`one:${ctx.event.kv.key}`, 1);",
    ),
    (
        "two",
        "//! on kv orders
        kv::collection(\"runs\").increment(`${ctx.event.id}:${ctx.event.attempt}`, 1);
        if ctx.event.attempt == 1 && ctx.event.kv.value % 3 == 0 { throw \"not yet\"; }
        kv::collection(\"done\").set(`two:${ctx.event.kv.key}`, 1);",
    ),
    ("doomed", "//! on kv doomed\nthrow \"never\";"),
];

const WRITERS: u32 = 4;

/// What the database holds in the end.
pub(crate) struct Found {
    pub(crate) orders: BTreeSet<String>,
    pub(crate) doomed: BTreeSet<String>,
    pub(crate) done: BTreeSet<String>,
    /// How often each attempt at each event ran.
    pub(crate) runs: BTreeMap<String, i64>,
    /// The keys of the dead letters, each as often as it comes.
    pub(crate) dead: Vec<String>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn backend(url: &str, schema: &str) -> PostgresBackend {
    let config = PostgresConfig::default().schema(SchemaName::new(schema).unwrap());
    PostgresBackend::connect_url(url, config).await.unwrap()
}

async fn start(url: &str, schema: &str) -> (Picloud, App) {
    let mut config = PicloudConfig::default();
    config.triggers.retry =
        RetryPolicy { max_attempts: 8, base_ms: 20, max_ms: 200, ..RetryPolicy::default() };
    config.dispatcher.heartbeat = Duration::from_millis(100);
    config.dispatcher.lease = Duration::from_secs(1);
    config.dispatcher.poll = Duration::from_millis(300);
    let cloud = Picloud::builder(backend(url, schema).await).config(config).start().await.unwrap();
    let app = cloud.ensure_app("crash").await.unwrap();
    let bundle = HANDLERS.iter().try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source));
    app.deploy(&bundle.unwrap()).await.unwrap();
    (cloud, app)
}

pub(crate) fn prepare(schema: &str) {
    runtime().block_on(async {
        backend(&picloud_test_postgres::url(), schema).await.migrate().await.unwrap();
    });
}

/// `child URL SCHEMA ROUND load|drain|POINT`
pub(crate) fn main(arguments: &[String]) {
    let [_, url, schema, round, work] = arguments else { panic!("{arguments:?}") };
    runtime().block_on(async {
        let (cloud, app) = start(url, schema).await;
        if work == "drain" {
            drain(&app).await;
            cloud.shutdown(Duration::from_secs(10)).await;
            return;
        }
        if let Some((commit, when)) = work.rsplit_once('-') {
            let commit = match commit {
                "write" => Commit::Write,
                "claim" => Commit::Claim,
                "completion" => Commit::Completion,
                "retry" => Commit::Retry,
                _ => Commit::DeadLetter,
            };
            fault::arm(commit, when == "after", 7);
        }
        let writers = (0..WRITERS).map(|writer| tokio::spawn(load(app.clone(), format!("{round}-{writer}"))));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

/// Writes until it is killed.
async fn load(app: App, name: String) {
    let (orders, doomed) = (app.kv("orders").unwrap(), app.kv("doomed").unwrap());
    for n in 0_u64.. {
        let key = format!("{name}-{n}");
        say(&format!("intend orders {key}"));
        orders.set(&key, &n).await.unwrap();
        say(&format!("stored orders {key}"));
        if n % 10 == 0 {
            say(&format!("intend doomed {key}"));
            doomed.set(&key, &n).await.unwrap();
            say(&format!("stored doomed {key}"));
        }
        // Handlers are to keep up, or the end would take long.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whole lines, at once: the parent reads them until the very end.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone has nobody to tell.
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

/// Waits until every event was handled or given up.
async fn drain(app: &App) {
    let began = Instant::now();
    while !app.waiting_events(1).await.unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "events are left over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn all(app: &App, collection: &str) -> BTreeMap<String, i64> {
    let collection = app.kv(collection).unwrap();
    let (mut found, mut options) = (BTreeMap::new(), ListOptions::default().limit(1_000));
    loop {
        let page = collection.list(&options).await.unwrap();
        found.extend(page.items.iter().map(|item| (item.key.to_string(), item.value.to_value().unwrap())));
        match page.cursor {
            Some(cursor) => options = options.cursor(cursor),
            None => return found,
        }
    }
}

async fn every_letter(app: &App) -> Vec<DeadLetter> {
    let (mut options, mut found) = (DeadLetterListOptions::default(), Vec::new());
    loop {
        let page = app.dead_letters(&options).await.unwrap();
        found.extend(page.items);
        options.cursor = page.cursor;
        if options.cursor.is_none() {
            return found;
        }
    }
}

pub(crate) fn found(schema: &str) -> Found {
    runtime().block_on(async {
        let (cloud, app) = start(&picloud_test_postgres::url(), schema).await;
        let keys = async |name: &str| all(&app, name).await.into_keys().collect();
        let letters = every_letter(&app).await;
        let key = |payload: &picloud_core::Json| {
            payload.to_value::<serde_json::Value>().unwrap()["key"].as_str().unwrap().to_owned()
        };
        let found = Found {
            orders: keys("orders").await,
            doomed: keys("doomed").await,
            done: keys("done").await,
            runs: all(&app, "runs").await,
            dead: letters.iter().map(|letter| key(&letter.row.payload)).collect(),
        };
        cloud.shutdown(Duration::from_secs(10)).await;
        found
    })
}
