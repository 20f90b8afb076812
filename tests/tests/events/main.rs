//! What a host and a script see of events: triggers, retries, dead letters, async routes, loops, transactions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod dead_letters;
mod messages;
mod processes;
mod queues;
mod schedules;
mod triggers;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use picloud_core::alloc::CountingAllocator;
use picloud_core::authz::{AppRole, Principal, PrincipalKind, PrincipalResolver};
use picloud_core::execution::{Answer, ExecutionListOptions, ExecutionRecord, ExecutionStatus, HttpRequest};
use picloud_core::kv::ListOptions;
use picloud_core::outbox::{DeadLetter, DeadLetterListOptions, DeadLetterReason, Resolution};
use picloud_core::script::{Bundle, Change};
use picloud_core::trigger::{Backoff, RetryPolicy, TriggerKind};
use picloud_core::{App, Backend, Error, ErrorKind, Picloud, PicloudConfig, Result, async_trait};
use picloud_memory::{MemoryBackend, TestClock};
use serde_json::{Value, json};

use world::{NOTE, People, World, bundle, letters_of};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

#[tokio::test]
async fn a_write_fires_the_script_that_watches_its_collection() {
    let world = World::new().await;
    world.deploy(&[("note", NOTE)]).await;

    world.app.kv("orders").unwrap().set("42", &json!({ "apples": 2 })).await.unwrap();
    world.app.kv("others").unwrap().set("43", &1).await.unwrap();
    world.settle().await;

    let seen = world.seen("42").await.unwrap();
    let wanted = json!({
        "collection": "orders", "key": "42", "op": "insert", "value": { "apples": 2 }, "prev_value": null,
        "version": seen["version"],
    });
    assert_eq!(seen, wanted);
    assert_eq!(world.seen("43").await, None);
}

#[tokio::test]
async fn a_write_of_another_app_fires_nothing_here() {
    let world = World::new().await;
    world.deploy(&[("note", NOTE)]).await;

    world.other.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;

    assert_eq!((world.seen("42").await, world.statuses().await), (None, vec![]));
}

#[tokio::test]
async fn a_trigger_fires_for_its_operations_only() {
    let world = World::new().await;
    let source = "//! on kv orders:* update,delete\nkv::collection(\"seen\").increment(ctx.event.kv.op, 1);";
    world.deploy(&[("count", source)]).await;

    let orders = world.app.kv("orders:eu").unwrap();
    orders.set("a", &1).await.unwrap();
    orders.set("a", &2).await.unwrap();
    orders.increment("a", 1).await.unwrap();
    orders.delete("a").await.unwrap();
    orders.delete("a").await.unwrap();
    world.settle().await;

    assert_eq!(world.seen("insert").await, None);
    assert_eq!(world.seen("update").await, Some(json!(2)));
    assert_eq!(world.seen("delete").await, Some(json!(1)));
}

#[tokio::test]
async fn ctx_event_has_these_keys_and_no_others() {
    let world = World::new().await;
    let source = r#"
        //! on kv orders
        let seen = kv::collection("seen");
        seen.set("event", ctx.event.keys());
        seen.set("ctx", #{ type: ctx.invocation_type, depth: ctx.trigger_depth, here: "event" in ctx,
                           attempt: ctx.event.attempt, kind: ctx.event.kind, principal: ctx.principal });
    "#;
    world.deploy(&[("look", source), ("plain", "\"event\" in ctx")]).await;

    world.app.kv("orders").unwrap().set("a", &1).await.unwrap();
    world.settle().await;

    let mut keys: Vec<String> = serde_json::from_value(world.seen("event").await.unwrap()).unwrap();
    keys.sort();
    assert_eq!(keys, ["attempt", "id", "kind", "kv", "occurred_at", "trigger_id"]);
    let wanted = json!({
        "type": "trigger", "depth": 1, "here": true, "attempt": 1, "kind": "kv",
        "principal": { "kind": "host", "id": "host", "name": "host" },
    });
    assert_eq!(world.seen("ctx").await.unwrap(), wanted);
    let without: bool = world.app.script("plain").unwrap().call(&()).await.unwrap();
    assert!(!without, "an execution without an event has no ctx.event");
}

#[tokio::test]
async fn the_largest_and_deepest_values_reach_handlers() {
    let world = World::new().await;
    let source =
        "//! on kv orders\nkv::collection(\"seen\").set(ctx.event.kv.key, ctx.event.kv.value != ());";
    world.deploy(&[("look", source)]).await;

    let deepest: Value = serde_json::from_str(&format!("{}{}", "[".repeat(64), "]".repeat(64))).unwrap();
    let orders = world.app.kv("orders").unwrap();
    orders.set("deep", &deepest).await.unwrap();
    orders.set("large", &"x".repeat((1 << 20) - 2)).await.unwrap();
    world.settle().await;

    assert_eq!(world.seen("deep").await, Some(json!(true)));
    assert_eq!(world.seen("large").await, Some(json!(true)));
}

#[tokio::test]
async fn cause_and_effect_share_a_trace_and_know_their_parents() {
    let world = World::new().await;
    let order = "//! route POST /order\nkv::collection(\"orders\").set(\"42\", 1)";
    world.deploy(&[("order", order), ("note", NOTE)]).await;

    world.app.request(HttpRequest::new(http::Method::POST, "/order")).await.unwrap();
    world.settle().await;

    let records = world.records().await;
    let of = |name: &str| records.iter().find(|record| &*record.script_name == name).unwrap();
    let (cause, effect) = (of("order"), of("note"));
    assert_eq!(effect.trace, cause.trace);
    assert_eq!(effect.request_id, cause.request_id);
    assert_eq!(effect.parent, Some(cause.id));
    assert_eq!((cause.trigger_depth, effect.trigger_depth), (0, 1));
    assert_eq!((effect.attempt, effect.trigger.is_some(), effect.event.is_some()), (Some(1), true, true));
}

#[tokio::test]
async fn a_failed_handler_is_tried_again_after_a_growing_wait() {
    let world = World::new().await;
    let source = r#"
        //! on kv orders
        kv::collection("seen").increment("attempts", 1);
        if ctx.event.attempt < 3 { throw "not yet"; }
    "#;
    world.deploy(&[("flaky", source)]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;
    assert_eq!(world.seen("attempts").await, Some(json!(1)));

    // A second, give or take a fifth; then two.
    world.after(Duration::from_millis(799)).await;
    assert_eq!(world.seen("attempts").await, Some(json!(1)));
    world.after(Duration::from_millis(402)).await;
    assert_eq!(world.seen("attempts").await, Some(json!(2)));
    world.after(Duration::from_millis(2_401)).await;
    assert_eq!(world.seen("attempts").await, Some(json!(3)));

    world.after(Duration::from_secs(100_000)).await;
    assert_eq!(world.seen("attempts").await, Some(json!(3)), "what succeeded is not run again");
    assert_eq!(letters_of(&world.app).await, []);
    use ExecutionStatus::{Error, Success};
    assert_eq!(world.statuses().await, [Error, Error, Success]);
    let ids: std::collections::BTreeSet<_> =
        world.records().await.iter().map(|record| record.event).collect();
    assert_eq!(ids.len(), 1, "the id of the event is the same at each attempt");
}

#[tokio::test]
async fn what_fires_itself_is_cut_and_said_to_be_a_loop() {
    let world = World::new().await;
    let source = "//! on kv orders\nkv::collection(\"orders\").increment(\"n\", 1);";
    world.deploy(&[("loop", source)]).await;

    world.app.kv("orders").unwrap().set("n", &0).await.unwrap();
    world.settle().await;

    assert_eq!(world.app.kv("orders").unwrap().get::<i64>("n").await.unwrap(), Some(8));
    let records = world.records().await;
    let ran = records.iter().filter(|record| record.status == ExecutionStatus::Success).count();
    let cut: Vec<_> = records.iter().filter(|record| record.status == ExecutionStatus::Loop).collect();
    assert_eq!((ran, cut.len()), (8, 1));
    assert_eq!(cut[0].trigger_depth, 9);
    assert!(cut[0].error.as_deref().unwrap().contains("PICLOUD_MAX_TRIGGER_DEPTH"), "{:?}", cut[0].error);
    let last = records.iter().find(|record| Some(record.id) == cut[0].parent).unwrap();
    assert!(last.log.lines.iter().any(|line| line.message.contains("not run")), "{:?}", last.log);
    assert_eq!(letters_of(&world.app).await, []);
}

#[tokio::test]
async fn an_async_route_answers_at_once_and_runs_later() {
    let world = World::new().await;
    let source = r#"
        //! route POST /hooks/:name async
        let seen = #{ body: ctx.request.body, name: ctx.request.params.name, type: ctx.invocation_type,
                      here: "event" in ctx, query: ctx.request.query.a, id: ctx.execution_id };
        kv::collection("seen").set("hook", seen);
    "#;
    world.deploy(&[("hook", source)]).await;
    let mut request = HttpRequest::new(http::Method::POST, "/hooks/stripe");
    request.query = Some("a=1".into());
    request.headers.insert("content-type", "application/json".parse().unwrap());
    request.body = r#"{"paid":true}"#.into();

    let response = world.app.request(request).await.unwrap();
    world.settle().await;

    assert_eq!(response.status, 202);
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(answer["accepted_at"], "2026-01-01T00:00:00Z");
    let wanted = json!({
        "body": { "paid": true }, "name": "stripe", "type": "http", "here": false, "query": "1",
        "id": answer["execution_id"],
    });
    assert_eq!(world.seen("hook").await, Some(wanted));
    let records = world.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(
        json!(records[0].id),
        answer["execution_id"],
        "the log knows the execution by the id of the answer"
    );
}

#[tokio::test]
async fn an_async_route_is_retried_and_given_up_like_an_event() {
    let world = World::new().await;
    world.deploy(&[("hook", "//! route POST /hook async\nthrow \"no\"")]).await;
    world.app.request(HttpRequest::new(http::Method::POST, "/hook")).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    let letters = letters_of(&world.app).await;
    assert_eq!((letters.len(), letters[0].attempts), (1, 5));
}

#[tokio::test]
async fn writes_of_a_transaction_and_their_events_commit_together() {
    let world = World::new().await;
    world.deploy(&[("note", NOTE)]).await;

    let tx = world.app.transaction().await.unwrap();
    tx.kv("orders").unwrap().set("a", &1).await.unwrap();
    tx.kv("orders").unwrap().set("b", &2).await.unwrap();
    world.settle().await;
    assert_eq!(world.seen("a").await, None);
    tx.commit().await.unwrap();
    world.settle().await;
    assert!(world.seen("a").await.is_some() && world.seen("b").await.is_some());

    let dropped = world.app.transaction().await.unwrap();
    dropped.kv("orders").unwrap().set("c", &3).await.unwrap();
    drop(dropped);
    world.settle().await;
    assert_eq!(world.seen("c").await, None);
    assert_eq!(world.app.kv("orders").unwrap().get::<i64>("c").await.unwrap(), None);
}

#[tokio::test]
async fn records_are_read_in_pages() {
    let world = World::new().await;
    world.deploy(&[("note", NOTE)]).await;
    for n in 0..5 {
        world.app.kv("orders").unwrap().set(&n.to_string(), &1).await.unwrap();
    }
    world.settle().await;
    world.cloud.execution_log().flush().await;

    let mut options = ExecutionListOptions::default();
    options.limit = Some(3);
    let first = world.backend.executions().list(world.app.id(), &options).await.unwrap();
    options.cursor = first.cursor.clone();
    let second = world.backend.executions().list(world.app.id(), &options).await.unwrap();

    assert_eq!((first.items.len(), second.items.len(), second.cursor), (3, 2, None));
}
