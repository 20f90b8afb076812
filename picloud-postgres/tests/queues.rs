//! Queues among processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::outbox::{Fanout, FanoutRow, Revision, Settlement, Verdict, WorkerId};
use picloud_core::queue::{QueueKey, QueueName, SEND, SendOptions};
use picloud_core::script::Bundle;
use picloud_core::{AppId, Backend, CallCx, Json, Picloud, PicloudConfig, ScriptId, Timestamp, TriggerId};
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};
use picloud_test_postgres::{unused_schema, url};

/// As many backends on one schema as there are processes to play.
async fn backends<const N: usize>() -> [PostgresBackend; N] {
    let schema = SchemaName::new(unused_schema()).unwrap();
    let mut backends = Vec::new();
    for _ in 0..N {
        let config = PostgresConfig::default().schema(schema.clone());
        backends.push(PostgresBackend::connect_url(&url(), config).await.unwrap());
    }
    backends[0].migrate().await.unwrap();
    backends.try_into().unwrap()
}

/// Whoever settled the first message of a key died before it could let the next one go.
#[tokio::test]
async fn what_a_process_left_behind_is_found_by_a_thorough_look() {
    let [one, two] = backends().await;
    let app = AppId::new();
    let slug = AppSlug::new("shop").unwrap();
    let record = AppRecord { id: app, slug, created_at: Timestamp::UNIX_EPOCH };
    one.catalog().create_app(&record).await.unwrap();
    let row = FanoutRow { op: SEND, trigger: TriggerId::new(), script: ScriptId::new() };
    let fanout = Fanout { revision: Some(Revision(0)), rows: vec![row] };
    let cx = CallCx::new(app).with_fanout(Arc::new(fanout));
    let (name, options) =
        (QueueName::new("jobs").unwrap(), SendOptions::default().key(QueueKey::new("k").unwrap()));
    let mut ids = Vec::new();
    for n in 0..3 {
        let message = Json::parse(&n.to_string()).unwrap();
        ids.extend(one.queue().send(&cx, &name, &message, &options).await.unwrap());
    }
    let (outbox, worker) = (one.outbox(), WorkerId::new());
    outbox.beat(worker).await.unwrap();
    outbox.promote(false).await.unwrap();
    let claimed = outbox.claim(worker, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].row.id), (1, ids[0]));
    let done = Settlement { id: ids[0], claim: claimed[0].claim, verdict: Verdict::Done };
    outbox.settle(worker, &[done]).await.unwrap();

    let (outbox, worker) = (two.outbox(), WorkerId::new());
    outbox.beat(worker).await.unwrap();
    assert_eq!(outbox.promote(false).await.unwrap(), 0, "this one settled nothing and looks at nothing");
    assert_eq!(outbox.promote(true).await.unwrap(), 1);
    let claimed = outbox.claim(worker, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].row.id), (1, ids[1]));
}

const WORKER: &str = r#"//! queue jobs concurrency=4
    let message = ctx.event.queue.message;
    let inside = kv::collection("inside");
    let now = inside.increment("now", 1);
    if now > 4 { inside.set("too many", now); }
    sleep(0.002);
    inside.increment("now", -1);
    let log = kv::collection("log");
    let place = log.increment(`places ${message.key}`, 1);
    log.set(`${message.key} ${place}`, message.n);
    inside.increment("done", 1);"#;

/// Two processes share a queue: each message is handled once, those of a key in order, and no more at one time than may be.
#[tokio::test(flavor = "multi_thread")]
async fn order_and_room_hold_among_processes() {
    const KEYS: i64 = 8;
    const EACH: i64 = 20;
    let [one, two] = backends().await;
    let one = Picloud::builder(one).config(PicloudConfig::default()).start().await.unwrap();
    let app = one.create_app("shop").await.unwrap();
    app.deploy(&Bundle::new().file("worker", WORKER).unwrap()).await.unwrap();
    let two = Picloud::builder(two).config(PicloudConfig::default()).start().await.unwrap();
    let there = two.app(app.id());
    for n in 0..KEYS * EACH {
        let options = SendOptions::default().key(QueueKey::new(format!("k{}", n % KEYS)).unwrap());
        let message = serde_json::json!({ "key": n % KEYS, "n": n / KEYS });
        let sender = if n / KEYS % 2 == 0 { &app } else { &there };
        sender.send("jobs", &message, &options).await.unwrap();
    }
    let inside = app.kv("inside").unwrap();
    let all_done = async {
        while inside.get::<i64>("done").await.unwrap() != Some(KEYS * EACH) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_done).await.expect("every message is handled");
    assert_eq!(inside.get::<i64>("too many").await.unwrap(), None);
    let log = app.kv("log").unwrap();
    for key in 0..KEYS {
        for n in 0..EACH {
            assert_eq!(log.get::<i64>(&format!("{key} {}", n + 1)).await.unwrap(), Some(n), "key {key}");
        }
    }
    for cloud in [one, two] {
        cloud.shutdown(Duration::from_secs(5)).await;
    }
}
