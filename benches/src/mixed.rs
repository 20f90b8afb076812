//! Mixed load from two processes on few keys, and whether the events tell one story: by hand.

use std::process::Stdio;
use std::time::{Duration, Instant};

use picloud_core::Json;
use picloud_core::kv::{Key, SetOptions};
use picloud_core::{CollectionName, ErrorKind};
use picloud_postgres::sqlx::{self, AssertSqlSafe, Row};
use serde_json::Value;

use crate::hello::runtime;
use crate::postgres::{Database, scripts};

const TASKS: u64 = 8;
const KEYS: u64 = 6;

/// Two processes write for so long; then every event is looked at.
pub(crate) fn run(url: &str, seconds: u64) {
    let runtime = runtime();
    let database = Database::new(url, &runtime);
    runtime.block_on(async {
        // Who watches, and nobody who handles: every event stays to be looked at.
        let (cloud, app) = database.cloud(false, false, None).await;
        app.deploy(&scripts(1)).await.unwrap();
        cloud.shutdown(Duration::from_secs(5)).await;
        let program = std::env::current_exe().unwrap();
        let children: Vec<_> = (0..2)
            .map(|number| {
                let mut child = std::process::Command::new(&program);
                child.args(["--database", url, "--mixed", &seconds.to_string(), "--mixed-schema"]);
                child.args([database.schema(), &format!("--mixed-seed={number}")]);
                child.stdout(Stdio::inherit()).spawn().unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let mut connection = database.connection().await;
        let rows = sqlx::query(AssertSqlSafe(database.fill(
            "SELECT payload FROM {s}.outbox ORDER BY payload::json ->> 'key', (payload::json ->> 'version')::bigint",
        )))
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let (mut before, mut wrong) = (None::<Value>, 0);
        for row in &rows {
            let event: Value = serde_json::from_str(&row.get::<String, _>(0)).unwrap();
            let last = before.take().filter(|last| last["key"] == event["key"]);
            let value = last.map_or(Value::Null, |last| last["value"].clone());
            let op = match (value.is_null(), event["value"].is_null()) {
                (_, true) => "delete",
                (true, false) => "insert",
                (false, false) => "update",
            };
            if event["prev_value"] != value || event["op"] != op {
                wrong += 1;
                println!("wrong: {event} after {value}");
            }
            before = Some(event);
        }
        println!("{} events, {wrong} with a wrong prev_value or op", rows.len());
    });
}

/// One of the two processes.
pub(crate) fn work(url: &str, schema: &str, seed: u64, seconds: u64) {
    let runtime = runtime();
    let database = Database::existing(url, schema);
    let (writes, given_up) = runtime.block_on(async {
        let (cloud, app) = database.cloud(false, false, None).await;
        let end = Instant::now() + Duration::from_secs(seconds);
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (kv, cx) = (cloud.services().kv.clone(), app.cx());
                tokio::spawn(async move {
                    let orders = CollectionName::new("orders").unwrap();
                    let mut random = seed * TASKS + task + 1;
                    let (mut writes, mut given_up) = (0_u64, 0_u64);
                    while Instant::now() < end {
                        // xorshift
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let key = Key::new(format!("key {}", random % KEYS)).unwrap();
                        let value = Json::from_value(&(random >> 40)).unwrap();
                        let answer = match (random >> 8) % 4 {
                            0 => kv.set(&cx, &orders, &key, &value, &SetOptions::default()).await,
                            1 => kv.increment(&cx, &orders, &key, 1).await.map(drop),
                            2 => kv.delete(&cx, &orders, &key).await.map(drop),
                            _ => match kv.get(&cx, &orders, &key).await {
                                Ok(seen) => kv
                                    .compare_and_set(&cx, &orders, &key, seen.as_ref(), &value)
                                    .await
                                    .map(drop),
                                Err(error) => Err(error),
                            },
                        };
                        match answer {
                            Ok(()) => writes += 1,
                            Err(error)
                                if error.kind() == ErrorKind::Unavailable
                                    && error.code() == "kv.contended" =>
                            {
                                given_up += 1;
                            }
                            unexpected => unexpected.unwrap(),
                        }
                    }
                    (writes, given_up)
                })
            })
            .collect();
        let mut sums = (0, 0);
        for task in tasks {
            let (writes, given_up) = task.await.unwrap();
            sums = (sums.0 + writes, sums.1 + given_up);
        }
        cloud.shutdown(Duration::from_secs(5)).await;
        sums
    });
    println!("{writes} calls answered, {given_up} given up as contended, no other error");
}
