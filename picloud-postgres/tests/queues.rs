//! Queues among processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use picloud_core::app::{AppRecord, AppSlug};
use picloud_core::outbox::{Claimed, Fanout, FanoutRow, Revision, Settlement, Verdict, WorkerId};
use picloud_core::queue::{QueueKey, QueueName, QueueService, SEND, SendOptions};
use picloud_core::script::Bundle;
use picloud_core::{
    AppId, Backend, CallCx, EventId, Json, Picloud, PicloudConfig, ScriptId, Timestamp, TriggerId,
};
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

/// A consumer of a new app.
struct Consumer {
    app: AppId,
    cx: CallCx,
    name: QueueName,
    options: SendOptions,
}

impl Consumer {
    async fn new(backend: &PostgresBackend) -> Self {
        let app = AppId::new();
        let slug = AppSlug::new("shop").unwrap();
        let record = AppRecord { id: app, slug, created_at: Timestamp::UNIX_EPOCH };
        backend.catalog().create_app(&record).await.unwrap();
        let row = FanoutRow { op: SEND, trigger: TriggerId::new(), script: ScriptId::new() };
        let fanout = Fanout { revision: Some(Revision(0)), rows: vec![row] };
        let cx = CallCx::new(app).with_fanout(Arc::new(fanout));
        let options = SendOptions::default().key(QueueKey::new("k").unwrap());
        Consumer { app, cx, name: QueueName::new("jobs").unwrap(), options }
    }

    async fn send(&self, queue: &dyn QueueService, n: i64) -> EventId {
        let message = Json::parse(&n.to_string()).unwrap();
        queue.send(&self.cx, &self.name, &message, &self.options).await.unwrap().unwrap()
    }
}

async fn worker(backend: &PostgresBackend) -> WorkerId {
    let worker = WorkerId::new();
    assert!(backend.outbox().beat(worker).await.unwrap());
    worker
}

fn done(claimed: &Claimed) -> Settlement {
    Settlement { id: claimed.row.id, claim: claimed.claim, verdict: Verdict::Done }
}

/// Whoever settled the first message of a key died before it could let the next one go.
#[tokio::test]
async fn what_a_process_left_behind_is_found_by_a_thorough_look() {
    let [one, two] = backends().await;
    let consumer = Consumer::new(&one).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(consumer.send(&*one.queue(), n).await);
    }
    let (outbox, first) = (one.outbox(), worker(&one).await);
    outbox.promote(false).await.unwrap();
    let claimed = outbox.claim(first, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].row.id), (1, ids[0]));
    outbox.settle(first, &[done(&claimed[0])]).await.unwrap();

    let (outbox, second) = (two.outbox(), worker(&two).await);
    assert_eq!(outbox.promote(false).await.unwrap().count, 0, "this one settled nothing");
    assert_eq!(outbox.promote(true).await.unwrap().count, 1);
    let claimed = outbox.claim(second, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].row.id), (1, ids[1]));
    assert_eq!(outbox.waiting(consumer.app, 10).await.unwrap().len(), 2);
}

/// It was sent before the other one, as positions go, and is seen after it.
#[tokio::test]
async fn a_message_that_is_committed_late_waits_for_others_of_its_key() {
    let [one] = backends().await;
    let consumer = Consumer::new(&one).await;
    let transaction = one.transaction().await.unwrap();
    let late = consumer.send(&*transaction.services().queue, 1).await;
    let early = consumer.send(&*one.queue(), 2).await;
    let (outbox, worker) = (one.outbox(), worker(&one).await);
    outbox.promote(false).await.unwrap();
    let claimed = outbox.claim(worker, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].row.id), (1, early));
    transaction.commit().await.unwrap();
    assert_eq!(outbox.promote(true).await.unwrap().count, 0, "the other one is handled");
    outbox.settle(worker, &[done(&claimed[0])]).await.unwrap();
    assert_eq!(outbox.promote(false).await.unwrap().count, 1);
    assert_eq!(outbox.claim(worker, 10).await.unwrap()[0].row.id, late);
}

/// More consumers, and more keys, than one call goes through.
#[tokio::test]
async fn every_consumer_has_its_turn() {
    let [one] = backends().await;
    let consumer = Consumer::new(&one).await;
    for n in 0..450 {
        let row = FanoutRow { op: SEND, trigger: TriggerId::new(), script: ScriptId::new() };
        let fanout = Fanout { revision: Some(Revision(0)), rows: vec![row] };
        let cx = CallCx::new(consumer.app).with_fanout(Arc::new(fanout));
        let message = Json::parse(&n.to_string()).unwrap();
        one.queue().send(&cx, &consumer.name, &message, &consumer.options).await.unwrap();
    }
    let (mut promoted, mut calls) = (0, 0);
    loop {
        let now = one.outbox().promote(true).await.unwrap();
        promoted += now.count;
        calls += 1;
        if !now.more {
            break;
        }
    }
    assert_eq!(promoted, 450);
    assert!((3..10).contains(&calls), "{calls}");
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
