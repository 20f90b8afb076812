//! What a host and a script see of events: triggers, retries, dead letters, async routes, loops, transactions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

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

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

struct World {
    backend: MemoryBackend,
    clock: TestClock,
    cloud: Picloud,
    /// The two of every test: what one does the other must not notice.
    app: App,
    other: App,
}

/// The newest dead letters.
async fn letters_of(app: &App) -> Vec<DeadLetter> {
    app.dead_letters(&DeadLetterListOptions::default()).await.unwrap().items
}

impl World {
    async fn new() -> Self {
        World::with(PicloudConfig::default(), None).await
    }

    async fn with(config: PicloudConfig, people: Option<People>) -> Self {
        let (backend, clock) = MemoryBackend::with_test_clock();
        let mut builder = Picloud::builder(backend.clone()).config(config);
        if let Some(people) = people {
            builder = builder.principals(people);
        }
        let cloud = builder.start().await.unwrap();
        let app = cloud.create_app("shop").await.unwrap();
        let other = cloud.create_app("other").await.unwrap();
        World { backend, clock, cloud, app, other }
    }

    async fn deploy(&self, files: &[(&str, &str)]) {
        self.app.deploy(&bundle(files)).await.unwrap();
    }

    async fn settle(&self) {
        self.cloud.run_until_idle().await.unwrap();
    }

    async fn after(&self, duration: Duration) {
        self.clock.advance(duration);
        self.settle().await;
    }

    /// The records of the app, by attempt: threads hand theirs over in no order.
    async fn records(&self) -> Vec<ExecutionRecord> {
        self.cloud.execution_log().flush().await;
        let mut records = self.backend.execution_records(self.app.id());
        records.sort_by_key(|record| record.attempt);
        records
    }

    async fn statuses(&self) -> Vec<ExecutionStatus> {
        self.records().await.iter().map(|record| record.status).collect()
    }

    async fn seen(&self, key: &str) -> Option<Value> {
        self.app.kv("seen").unwrap().get(key).await.unwrap()
    }
}

fn bundle(files: &[(&str, &str)]) -> Bundle {
    files.iter().try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source)).unwrap()
}

/// Writes what it was told under the name of the key.
const NOTE: &str = "//! on kv orders\nkv::collection(\"seen\").set(ctx.event.kv.key, ctx.event.kv);";

/// A host's people, whose roles change.
#[derive(Debug, Clone, Default)]
struct People(Arc<Mutex<BTreeMap<String, Result<Principal>>>>);

impl People {
    fn put(&self, id: &str, principal: Result<Principal>) {
        self.0.lock().unwrap().insert(id.to_owned(), principal);
    }
}

#[async_trait]
impl PrincipalResolver for People {
    async fn resolve(&self, _headers: &http::HeaderMap) -> Result<Option<Principal>> {
        Ok(None)
    }

    async fn by_id(&self, id: &str) -> Result<Option<Principal>> {
        self.0.lock().unwrap().get(id).cloned().transpose()
    }
}

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
async fn what_fails_as_often_as_it_may_is_a_dead_letter() {
    let world = World::new().await;
    world.deploy(&[("broken", "//! on kv orders\nthrow `no luck with ${ctx.event.kv.key}`;")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }

    let letters = letters_of(&world.app).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].attempts, letters[0].reason), (5, DeadLetterReason::Failed));
    assert!(letters[0].error.contains("no luck with 42"), "{}", letters[0].error);
    assert_eq!(letters[0].row.payload.to_value::<Value>().unwrap()["key"], "42");
    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);
    assert_eq!(letters_of(&world.other).await, []);
    assert_eq!(world.statuses().await, [ExecutionStatus::Error; 5]);
}

#[tokio::test]
async fn a_dead_letter_is_sent_again_when_its_handler_is_mended() {
    let world = World::new().await;
    world.deploy(&[("handler", "//! on kv orders\nthrow \"broken\";")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    let id = letters_of(&world.app).await[0].row.id;
    assert_eq!(world.app.open_dead_letters().await.unwrap(), 1);
    assert_eq!(world.other.replay(id).await.unwrap_err().code(), "dead_letters.not_found");
    let wrong = world.app.resolve(id, Resolution::Replayed).await.unwrap_err();
    assert_eq!(wrong.code(), "dead_letters.invalid_resolution");

    world
        .deploy(&[(
            "handler",
            "//! on kv orders\nkv::collection(\"seen\").set(ctx.event.id, ctx.event.attempt);",
        )])
        .await;
    world.app.replay(id).await.unwrap();
    world.settle().await;

    assert_eq!(world.seen(&id.to_string()).await, Some(json!(1)));
    assert_eq!(letters_of(&world.app).await[0].resolution, Some(Resolution::Replayed));
    assert_eq!(world.app.open_dead_letters().await.unwrap(), 0);
    assert_eq!(world.app.replay(id).await.unwrap_err().code(), "dead_letters.already_resolved");
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_forgotten() {
    let world = World::new().await;
    world.deploy(&[("handler", "//! on kv orders\nthrow `broken`;")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    assert_eq!((letters_of(&world.app).await.len(), world.statuses().await.len()), (1, 5));

    // By hand, as a month of clock in one go: the sweeper looks when it wakes.
    let mut looked = 0;
    while !letters_of(&world.app).await.is_empty() || !world.statuses().await.is_empty() {
        looked += 1;
        assert!(looked < 100, "nothing is forgotten");
        world.after(Duration::from_secs(31 * 24 * 3_600)).await;
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn scripts_manage_dead_letters_for_those_who_may() {
    let world = World::new().await;
    let manage = r#"
        let open = dead_letters::list(#{ unresolved: true }).items;
        let first = open[0];
        let told = [dead_letters::count(), open.len(), first.source, first.event.key, first.attempts, first.error.contains("broken")];
        dead_letters::resolve(first.id, "ignored");
        try {
            dead_letters::replay(first.id);
        } catch (problem) {
            return told + [problem.code, dead_letters::get(first.id).resolution];
        }"#;
    world.deploy(&[("handler", "//! on kv orders\nthrow `broken`;"), ("manage", manage)]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }

    let script = world.app.script("manage").unwrap();
    for (principal, is_allowed) in [
        (None, false),
        (Some(Principal::new(PrincipalKind::Caller, "eve", "Eve")), false),
        (
            Some(Principal::new(PrincipalKind::User, "ed", "Ed").member(world.app.id(), AppRole::Editor)),
            false,
        ),
        (
            Some(Principal::new(PrincipalKind::User, "ada", "Ada").member(world.app.id(), AppRole::AppAdmin)),
            true,
        ),
    ] {
        let mut invocation = script.invocation();
        invocation.principal = principal.map(Arc::new);
        let outcome = script.execute(invocation).await;
        if is_allowed {
            let Answer::Value(told) = outcome.result.unwrap() else { panic!("a response") };
            assert_eq!(
                told.to_value::<Value>().unwrap(),
                json!([1, 1, "kv", "42", 5, true, "dead_letters.already_resolved", "ignored"])
            );
        } else {
            let failure = outcome.result.unwrap_err();
            assert!(failure.message.contains("AppDeadLetterManage"), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn a_trigger_has_the_retries_that_it_was_registered_with() {
    let world = World::new().await;
    world.deploy(&[("broken", "throw 1")]).await;
    let retry = RetryPolicy {
        max_attempts: 2,
        backoff: Backoff::Constant,
        base_ms: 50,
        jitter_percent: 0,
        ..RetryPolicy::default()
    };
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    let host = Principal::host(world.app.id());
    world.app.create_trigger("broken", kind, Some(retry), &host).await.unwrap();

    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;
    world.after(Duration::from_millis(50)).await;

    assert_eq!(letters_of(&world.app).await.len(), 1);
}

#[tokio::test]
async fn a_message_reaches_every_script_whose_pattern_matches_its_topic() {
    let world = World::new().await;
    let note = |pattern: &str, name: &str| {
        format!(
            "//! on pubsub {pattern}\nkv::collection(\"seen\").set({name:?} + \" \" + ctx.event.pubsub.topic, ctx.event.pubsub.message);"
        )
    };
    world
        .deploy(&[
            ("one", &note("order.paid", "one")),
            ("below", &note("order.*", "below")),
            ("all", &note("*", "all")),
            (
                "publish",
                "//! route POST /publish\nlet topic = ctx.request.query.topic; pubsub::publish_durable(topic, #{ topic: topic, n: 1.0 })",
            ),
        ])
        .await;

    for (topic, count) in [("order.paid", 3), ("order.paid.eu", 2), ("order", 1)] {
        let mut request = HttpRequest::new(http::Method::POST, "/publish");
        request.query = Some(format!("topic={topic}"));
        let answer = world.app.request(request).await.unwrap();
        assert_eq!(answer.body, count.to_string(), "{topic}");
    }
    assert_eq!(world.app.publish("stock", &1).await.unwrap(), 1);
    world.settle().await;

    let seen = world.app.kv("seen").unwrap().list(&ListOptions::default()).await.unwrap();
    let keys: Vec<_> = seen.items.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "all order",
            "all order.paid",
            "all order.paid.eu",
            "all stock",
            "below order.paid",
            "below order.paid.eu",
            "one order.paid",
        ]
    );
    assert_eq!(world.seen("one order.paid").await, Some(json!({ "topic": "order.paid", "n": 1.0 })));
    assert_eq!(world.other.waiting_events(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_schedule_fires_by_the_clock_of_its_zone() {
    let world = World::new().await;
    let source = "//! cron \"0 30 8 * * *\" Asia/Kolkata\nkv::collection(\"seen\").set(ctx.event.cron.scheduled_for, ctx.event.cron);";
    world.deploy(&[("report", source)]).await;
    world.settle().await;
    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);

    // A day has one such time, wherever it begins.
    world.after(Duration::from_secs(24 * 3_600)).await;

    let seen = world.app.kv("seen").unwrap().list(&ListOptions::default()).await.unwrap().items;
    assert_eq!(seen.len(), 1);
    let at: picloud_core::Timestamp = seen[0].key.as_str().parse().unwrap();
    assert_eq!(at.as_second().rem_euclid(24 * 3_600), 3 * 3_600, "08:30 in India is 03:00 UTC");
    let told: Value = seen[0].value.to_value().unwrap();
    assert_eq!((&told["schedule"], &told["timezone"]), (&json!("0 30 8 * * *"), &json!("Asia/Kolkata")));
}

#[tokio::test]
async fn a_schedule_makes_up_for_each_time_that_a_busy_process_passed() {
    let world = World::new().await;
    world.deploy(&[("tick", "//! cron @hourly\nkv::collection(\"seen\").increment(\"n\", 1);")]).await;
    world.settle().await;
    world.after(Duration::from_secs(5 * 3_600)).await;
    assert_eq!(world.seen("n").await, Some(json!(5)));
}

#[tokio::test]
async fn a_schedule_that_was_missed_fires_once_unless_it_says_skip() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let start = async || Picloud::builder(backend.clone()).start().await.unwrap();
    let cloud = start().await;
    let app = cloud.create_app("shop").await.unwrap();
    let count = |name: &str| format!("kv::collection(\"seen\").increment({name:?}, 1);");
    let once = format!("//! cron @hourly\n{}", count("once"));
    let skip = format!("//! cron @hourly UTC skip\n{}", count("skip"));
    app.deploy(&bundle(&[("once", &once), ("skip", &skip)])).await.unwrap();
    cloud.run_until_idle().await.unwrap();
    cloud.shutdown(Duration::from_secs(5)).await;

    clock.advance(Duration::from_secs(10 * 3_600));
    // Two processes start again: the missed time counts once all the same.
    let (cloud, other) = (start().await, start().await);
    cloud.run_until_idle().await.unwrap();
    other.run_until_idle().await.unwrap();
    let seen = cloud.app(app.id()).kv("seen").unwrap();
    assert_eq!(seen.get::<i64>("once").await.unwrap(), Some(1));
    assert_eq!(seen.get::<i64>("skip").await.unwrap(), None);

    clock.advance(Duration::from_secs(3_600));
    cloud.run_until_idle().await.unwrap();
    other.run_until_idle().await.unwrap();
    assert_eq!(seen.get::<i64>("once").await.unwrap(), Some(2));
    assert_eq!(seen.get::<i64>("skip").await.unwrap(), Some(1));
    other.shutdown(Duration::from_secs(5)).await;
    cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_schedule_that_is_changed_or_gone_does_not_fire_as_before() {
    let world = World::new().await;
    let tick = |schedule: &str| format!("//! cron {schedule}\nkv::collection(\"seen\").increment(\"n\", 1);");
    world.deploy(&[("tick", &tick("@hourly"))]).await;
    world.settle().await;
    world.deploy(&[("tick", &tick("\"0 0 0 1 1 *\""))]).await;
    world.after(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(world.seen("n").await, None);
    world.deploy(&[("tick", "1")]).await;
    world.after(Duration::from_secs(800 * 24 * 3_600)).await;
    assert_eq!(world.seen("n").await, None);
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_with_its_reason() {
    let world = World::new().await;
    world.deploy(&[("all", "//! on pubsub *\n1")]).await;
    let long = "x".repeat(1024 * 1024);
    for (topic, message, code) in [
        ("order..paid", &json!(1), "pubsub.invalid_topic"),
        ("order.*", &json!(1), "pubsub.invalid_topic"),
        ("order", &json!(long), "pubsub.message_too_large"),
    ] {
        assert_eq!(world.app.publish(topic, message).await.unwrap_err().code(), code);
    }
    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);
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
async fn a_handler_runs_as_whoever_registered_it_with_the_roles_of_now() {
    let people = People::default();
    let world = World::with(PicloudConfig::default(), Some(people.clone())).await;
    world.deploy(&[("note", "kv::collection(\"seen\").set(ctx.event.kv.key, ctx.principal.name);")]).await;
    let id = world.app.id();
    let ada = |role| Principal::new(PrincipalKind::User, "ada", "Ada").member(id, role);
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    let orders = world.app.kv("orders").unwrap();
    world.app.create_trigger("note", kind.clone(), None, &ada(AppRole::AppAdmin)).await.unwrap();
    let refused = world.app.create_trigger("note", kind, None, &ada(AppRole::Editor)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);

    people.put("ada", Ok(ada(AppRole::Editor)));
    orders.set("as an editor", &1).await.unwrap();
    world.settle().await;
    assert_eq!(world.seen("as an editor").await, Some(json!("Ada")));

    // A viewer may not write; the handler fails like any other.
    people.put("ada", Ok(ada(AppRole::Viewer)));
    orders.set("as a viewer", &1).await.unwrap();
    world.settle().await;
    assert_eq!(world.seen("as a viewer").await, None);

    // Nobody is run as somebody who is gone.
    people.put("ada", Ok(Principal::new(PrincipalKind::User, "ada", "Ada")));
    orders.set("without a role", &1).await.unwrap();
    world.settle().await;
    let letters = letters_of(&world.app).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, DeadLetterReason::RegistrantInvalid);
}

#[tokio::test]
async fn a_registrant_that_cannot_be_looked_up_makes_the_event_wait() {
    let people = People::default();
    let world = World::with(PicloudConfig::default(), Some(people.clone())).await;
    world.deploy(&[("note", "kv::collection(\"seen\").set(ctx.event.kv.key, ctx.event.attempt);")]).await;
    let ada = Principal::new(PrincipalKind::User, "ada", "Ada").member(world.app.id(), AppRole::AppAdmin);
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    world.app.create_trigger("note", kind, None, &ada).await.unwrap();

    people.put("ada", Err(Error::new(ErrorKind::Unavailable, "people.down", "no answer")));
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    for _ in 0..10 {
        world.after(Duration::from_secs(6)).await;
    }
    assert_eq!(letters_of(&world.app).await, []);
    people.put("ada", Ok(ada));
    world.after(Duration::from_secs(6)).await;

    assert_eq!(world.seen("42").await, Some(json!(1)), "waiting costs no attempt");
}

#[tokio::test]
async fn a_disabled_trigger_matches_nothing_new_and_what_waits_still_runs() {
    let world = World::new().await;
    let flaky = "if ctx.event.attempt == 1 { throw 1 } kv::collection(\"seen\").set(ctx.event.kv.key, 1);";
    world.deploy(&[("flaky", flaky)]).await;
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "orders" })).unwrap());
    let host = Principal::host(world.app.id());
    let trigger = world.app.create_trigger("flaky", kind, None, &host).await.unwrap();
    let orders = world.app.kv("orders").unwrap();
    orders.set("before", &1).await.unwrap();
    world.settle().await;

    world.app.enable_trigger(trigger, false).await.unwrap();
    orders.set("after", &1).await.unwrap();
    world.after(Duration::from_secs(2)).await;

    assert_eq!((world.seen("before").await, world.seen("after").await), (Some(json!(1)), None));
}

#[tokio::test]
async fn what_waits_for_a_deleted_trigger_is_dropped() {
    let world = World::new().await;
    world.deploy(&[("broken", "//! on kv orders\nthrow 1")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;
    assert_eq!(world.app.waiting_events(10).await.unwrap().len(), 1);

    world.deploy(&[("broken", "throw 1")]).await;
    world.after(Duration::from_secs(2)).await;

    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);
    assert_eq!(letters_of(&world.app).await, []);
    assert_eq!(world.statuses().await.len(), 1);
}

#[tokio::test]
async fn a_directive_that_changes_keeps_what_waits_for_it() {
    let world = World::new().await;
    world.deploy(&[("broken", "//! on kv orders\nthrow 1")]).await;
    world.app.kv("orders").unwrap().set("42", &1).await.unwrap();
    world.settle().await;

    let mended = NOTE.replace("on kv orders", "on kv orders insert");
    let report = world.app.deploy(&bundle(&[("broken", &mended)])).await.unwrap();
    world.after(Duration::from_secs(2)).await;

    assert_eq!(report.triggers.len(), 1);
    assert_eq!(report.triggers[0].change, Change::Added);
    assert!(world.seen("42").await.is_some(), "the event waited for the mended script");
}

#[tokio::test]
async fn a_deployment_tells_its_triggers_and_owns_those_of_its_directives_only() {
    let world = World::new().await;
    let report = world.app.deploy(&bundle(&[("note", NOTE), ("idle", "1")])).await.unwrap();
    assert!(report.to_string().contains("+ on kv orders"), "{report}");
    assert_eq!(report.warnings.len(), 1, "{report}");
    assert!(report.warnings[0].starts_with("idle.rhai"), "{report}");
    let kind = TriggerKind::Kv(serde_json::from_value(json!({ "collection": "mine" })).unwrap());
    let host = Principal::host(world.app.id());
    let mine = world.app.create_trigger("note", kind, None, &host).await.unwrap();

    let again = world.app.deploy(&bundle(&[("note", NOTE)])).await.unwrap();
    assert!(again.triggers.iter().all(|trigger| trigger.change == Change::Kept), "{again}");
    let without = world.app.deploy(&bundle(&[("note", "1")])).await.unwrap();
    assert_eq!(without.triggers.iter().map(|trigger| trigger.change).collect::<Vec<_>>(), [Change::Removed]);
    let state = world.app.state().unwrap();
    assert_eq!(state.triggers().map(|trigger| trigger.id).collect::<Vec<_>>(), [mine]);
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
async fn a_full_gate_makes_events_wait_and_costs_no_attempt() {
    let mut config = PicloudConfig::default();
    config.executor.gate.max_executions_per_app = 1;
    let world = World::with(config, None).await;
    let source =
        "//! on kv orders\nsleep(3600); kv::collection(\"seen\").increment(\"n\", ctx.event.attempt);";
    world.deploy(&[("slow", &format!("//! timeout 300\n{}", source.replace("3600", "1")))]).await;
    let orders = world.app.kv("orders").unwrap();
    for n in 0..3 {
        orders.set(&n.to_string(), &1).await.unwrap();
    }
    // One runs; the others find no room, again and again.
    let mut n = None;
    for _ in 0..2_000 {
        world.clock.advance(Duration::from_millis(250));
        tokio::task::yield_now().await;
        n = world.seen("n").await;
        if n == Some(json!(3)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(n, Some(json!(3)), "each ran at its first attempt");
    assert_eq!(letters_of(&world.app).await, []);
}

#[tokio::test]
async fn a_shutdown_gives_back_what_it_did_not_finish() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let start = || async { Picloud::builder(backend.clone()).start().await.unwrap() };
    let first = start().await;
    let app = first.create_app("shop").await.unwrap();
    let source = "//! on kv orders\n//! timeout 300\nlet seen = kv::collection(\"seen\");
        seen.increment(\"begun\", 1); sleep(60); seen.increment(\"done\", 1);";
    app.deploy(&bundle(&[("slow", source)])).await.unwrap();
    app.kv("orders").unwrap().set("42", &1).await.unwrap();
    while app.kv("seen").unwrap().get::<i64>("begun").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.shutdown(Duration::from_millis(10)).await;

    let second = start().await;
    let app = second.app(app.id());
    assert_eq!(app.waiting_events(10).await.unwrap().len(), 1);
    while app.kv("seen").unwrap().get::<i64>("done").await.unwrap().is_none() {
        clock.advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    second.run_until_idle().await.unwrap();
    assert_eq!(app.kv("seen").unwrap().get::<i64>("begun").await.unwrap(), Some(2));
    assert_eq!(letters_of(&app).await, []);
    second.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_events_of_a_process_that_died_are_run_by_another_after_its_lease() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let first = Picloud::builder(backend.clone()).start().await.unwrap();
    let app = first.create_app("shop").await.unwrap();
    let source = "//! on kv orders\nkv::collection(\"seen\").increment(\"done\", ctx.event.attempt);";
    app.deploy(&bundle(&[("note", source)])).await.unwrap();
    first.shutdown(Duration::from_secs(5)).await;
    // A worker that claims the event and is never heard of again.
    let dead = picloud_core::outbox::WorkerId::new();
    let outbox = backend.outbox();
    assert!(outbox.beat(dead).await.unwrap());
    let second = Picloud::builder(backend.clone());
    let mut config = PicloudConfig::default();
    config.dispatcher.enabled = false;
    let silent = Picloud::builder(backend.clone()).config(config).start().await.unwrap();
    silent.app(app.id()).kv("orders").unwrap().set("42", &1).await.unwrap();
    assert_eq!(outbox.claim(dead, 10).await.unwrap().len(), 1);

    let second = second.start().await.unwrap();
    let seen = second.app(app.id()).kv("seen").unwrap();
    second.run_until_idle().await.unwrap();
    assert_eq!(seen.get::<i64>("done").await.unwrap(), None, "its lease is not over");
    while seen.get::<i64>("done").await.unwrap().is_none() {
        clock.advance(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(seen.get::<i64>("done").await.unwrap(), Some(2), "the attempt of the dead worker counts");
    let at_least = clock_seconds(&clock);
    assert!(at_least >= 10, "it was taken over after {at_least} s");
    silent.shutdown(Duration::from_secs(5)).await;
    second.shutdown(Duration::from_secs(5)).await;
}

fn clock_seconds(clock: &TestClock) -> i64 {
    use picloud_core::Clock;
    clock.now().as_second() - TestClock::new().now().as_second()
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

#[tokio::test]
async fn a_process_that_takes_its_time_to_end_shows_that_it_is_alive() {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let ending = Picloud::builder(backend.clone()).start().await.unwrap();
    let app = ending.create_app("shop").await.unwrap();
    let source = "//! on kv orders\n//! timeout 300\nlet seen = kv::collection(\"seen\");
        seen.increment(\"begun\", 1); sleep(60); seen.increment(\"done\", 1);";
    app.deploy(&bundle(&[("slow", source)])).await.unwrap();
    let seen = app.kv("seen").unwrap();
    app.kv("orders").unwrap().set("42", &1).await.unwrap();
    while seen.get::<i64>("begun").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let other = Picloud::builder(backend.clone()).start().await.unwrap();

    // Much longer than a lease, in steps that are shorter than one.
    let end = tokio::spawn(async move { ending.shutdown(Duration::from_secs(30)).await });
    while !end.is_finished() {
        clock.advance(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let seen = other.app(app.id()).kv("seen").unwrap();
    other.run_until_idle().await.unwrap();
    assert_eq!(seen.get::<i64>("begun").await.unwrap(), Some(1), "it was not taken over");
    assert_eq!(seen.get::<i64>("done").await.unwrap(), Some(1));
    other.shutdown(Duration::from_secs(5)).await;
}
