//! Messages of queues.

use picloud_core::queue::{Priority, QueueKey, QueueName, QueueTrigger, SendOptions};
use picloud_core::trigger::TriggerKind;

use super::*;

/// Writes down, under the id of each message, what it was.
const WRITE_DOWN: &str = r#"
    let told = ctx.event.queue;
    kv::collection("seen").set(told.message.to_string(), #{ name: told.name, attempt: told.attempt, id: ctx.event.id });"#;

async fn keys_seen(world: &World) -> Vec<String> {
    let seen = world.app.kv("seen").unwrap().list(&ListOptions::default()).await.unwrap();
    seen.items.iter().map(|entry| entry.key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_message_is_handled_by_the_script_that_consumes_its_queue() {
    let world = World::new().await;
    let send = r#"//! route POST /send
        let id = queue::send("jobs", "first");
        let again = queue::send("jobs", "later", #{ delay_seconds: 60, priority: 7, key: "k", dedupe_key: "d" });
        let duplicate = queue::send("jobs", "never", #{ dedupe_key: "d" });
        [type_of(id), again == duplicate]"#;
    world.deploy(&[("send", send), ("worker", &format!("//! queue jobs\n{WRITE_DOWN}"))]).await;
    let answer = world.app.request(HttpRequest::new(http::Method::POST, "/send")).await.unwrap();
    assert_eq!(answer.body, r#"["string",true]"#);
    world.settle().await;
    assert_eq!(keys_seen(&world).await, ["first"]);
    let told = world.seen("first").await.unwrap();
    assert_eq!((&told["name"], &told["attempt"]), (&json!("jobs"), &json!(1)));
    world.after(Duration::from_secs(59)).await;
    assert_eq!(keys_seen(&world).await, ["first"]);
    world.after(Duration::from_secs(1)).await;
    assert_eq!(keys_seen(&world).await, ["first", "later"]);
    assert_eq!(world.other.waiting_events(10).await.unwrap(), []);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_its_reason() {
    let world = World::new().await;
    world
        .deploy(&[
            ("worker", "//! queue jobs\n1"),
            (
                "send",
                r#"let codes = [];
                for options in [#{ delay_seconds: -1 }, #{ delay_seconds: 1e12 }, #{ priority: 101 }, #{ key: "" }, #{ dedupe_key: "" }, #{ dedupe_key: 1 }, #{ colour: 1 }] {
                    try { queue::send("jobs", 1, options); codes.push("sent"); } catch (problem) { codes.push(problem.code); }
                }
                try { queue::send("job", 1); } catch (problem) { codes.push(problem.code); codes.push(problem.message); }
                codes"#,
            ),
        ])
        .await;
    let script = world.app.script("send").unwrap();
    let outcome = script.execute(script.invocation()).await;
    let Answer::Value(codes) = outcome.result.unwrap() else { panic!("a response") };
    let codes: Vec<String> = codes.to_value().unwrap();
    let wanted = [
        "queue.invalid_delay",
        "queue.invalid_delay",
        "queue.invalid_priority",
        "queue.invalid_key",
        "queue.invalid_key",
        "invalid_argument",
        "invalid_argument",
        "queue.no_consumer",
    ];
    assert_eq!(codes[..8], wanted);
    assert!(codes[8].contains("//! queue job"), "says what to do: {}", codes[8]);
    let long = "x".repeat(1024 * 1024);
    let plain = SendOptions::default();
    assert_eq!(world.app.send("jobs", &long, &plain).await.unwrap_err().code(), "queue.message_too_large");
    assert_eq!(world.app.send("a b", &1, &plain).await.unwrap_err().code(), "queue.invalid_name");
    assert_eq!(world.app.waiting_events(10).await.unwrap(), []);
}

#[tokio::test]
async fn a_batch_is_handled_by_one_execution() {
    let world = World::new().await;
    let worker = r#"//! queue jobs batch=4
        let told = ctx.event.queue;
        let runs = kv::collection("seen").increment("runs", 1);
        kv::collection("seen").set(`run ${runs}`, told.messages.map(|one| one.message));"#;
    world.deploy(&[("worker", worker)]).await;
    let tx = world.app.transaction().await.unwrap();
    for n in 0..10 {
        tx.send("jobs", &n, &SendOptions::default()).await.unwrap();
    }
    tx.commit().await.unwrap();
    world.settle().await;
    let mut all = Vec::new();
    for run in 1..=3 {
        let Some(Value::Array(messages)) = world.seen(&format!("run {run}")).await else {
            panic!("run {run}")
        };
        assert!(messages.len() <= 4);
        all.extend(messages.into_iter().map(|message| message.as_i64().unwrap()));
    }
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>());
    assert_eq!(world.seen("runs").await, Some(json!(3)));
}

#[tokio::test]
async fn a_batch_that_fails_is_retried_message_by_message_to_the_end() {
    let world = World::new().await;
    let worker = r#"//! queue jobs batch=10
        for one in ctx.event.queue.messages {
            kv::collection("seen").set(`${one.message} ${one.attempt}`, one.id);
        }
        throw "no luck";"#;
    world.deploy(&[("worker", worker)]).await;
    for n in 0..3 {
        world.app.send("jobs", &n, &SendOptions::default()).await.unwrap();
    }
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    let letters = letters_of(&world.app).await;
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|letter| letter.attempts == 5));
    assert_eq!(keys_seen(&world).await.len(), 15, "five attempts of three");

    // Sent again, a letter goes through its queue once more.
    world.deploy(&[("worker", &format!("//! queue jobs\n{WRITE_DOWN}"))]).await;
    world.app.replay(letters[0].row.id).await.unwrap();
    world.settle().await;
    let message = letters[0].row.payload.to_value::<Value>().unwrap()["message"].to_string();
    assert_eq!(world.seen(&message).await.unwrap()["id"], json!(letters[0].row.id));
}

#[tokio::test]
async fn messages_of_a_key_are_handled_in_order_through_failures() {
    let world = World::new().await;
    let worker = r#"//! queue jobs
        let message = ctx.event.queue.message;
        if ctx.event.attempt < 3 && message % 3 == 0 { throw "not yet"; }
        let order = kv::collection("order");
        let place = order.increment("places", 1);
        order.set(`${place}`, message);"#;
    world.deploy(&[("worker", worker)]).await;
    let key = SendOptions::default().key(QueueKey::new("one").unwrap());
    for n in 0..8 {
        // The later the more urgent, and the first of all delayed: order is stronger.
        let options = key.clone().priority(Priority::new(n).unwrap());
        let options = if n == 0 { options.delay_seconds(5.0) } else { options };
        world.app.send("jobs", &n, &options).await.unwrap();
    }
    world.settle().await;
    let order = world.app.kv("order").unwrap();
    assert_eq!(order.get::<i64>("places").await.unwrap(), None, "the first waits for its delay");
    for _ in 0..40 {
        world.after(Duration::from_secs(2)).await;
    }
    for n in 0..8 {
        assert_eq!(order.get::<i64>(&(n + 1).to_string()).await.unwrap(), Some(n));
    }
}

#[tokio::test]
async fn no_more_messages_are_handled_at_one_time_than_the_consumer_says() {
    let world = World::new().await;
    // Counts who is inside while each of them waits.
    let worker = r#"//! queue jobs concurrency=3
        let inside = kv::collection("inside");
        let now = inside.increment("now", 1);
        let most = inside.get("most");
        if most == () || now > most { inside.set("most", now); }
        sleep(0.01);
        inside.increment("now", -1);
        inside.increment("done", 1);"#;
    world.deploy(&[("worker", worker)]).await;
    for n in 0..20 {
        world.app.send("jobs", &n, &SendOptions::default()).await.unwrap();
    }
    let inside = world.app.kv("inside").unwrap();
    for _ in 0..2_000 {
        // Sleep follows the clock of the test.
        world.clock.advance(Duration::from_millis(10));
        if inside.get::<i64>("done").await.unwrap() == Some(20) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(inside.get::<i64>("done").await.unwrap(), Some(20));
    assert_eq!(inside.get::<i64>("now").await.unwrap(), Some(0));
    let most = inside.get::<i64>("most").await.unwrap().unwrap();
    assert!((1..=3).contains(&most), "{most}");
}

#[tokio::test]
async fn a_queue_has_one_consumer() {
    let world = World::new().await;
    let files = [("one", "//! queue jobs\n1"), ("two", "// A comment.\n//! queue jobs concurrency=2\n1")];
    let error = world.app.deploy(&bundle(&files)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("two.rhai:2:") && text.contains("one.rhai:1:"), "{text}");

    world.deploy(&[("one", "//! queue jobs\n1"), ("plain", "1")]).await;
    let kind = TriggerKind::Queue(QueueTrigger::new(QueueName::new("jobs").unwrap()));
    let host = Principal::host(world.app.id());
    let error = world.app.create_trigger("plain", kind.clone(), None, &host).await.unwrap_err();
    assert_eq!(error.code(), "trigger.queue_taken");

    // From one file to another in one go; and what was created by hand is not taken over.
    world.deploy(&[("two", "//! queue jobs\n1"), ("plain", "1")]).await;
    world.deploy(&[("plain", "1")]).await;
    world.app.create_trigger("plain", kind, None, &host).await.unwrap();
    let error = world.app.deploy(&bundle(&[("one", "//! queue jobs\n1"), ("plain", "1")])).await.unwrap_err();
    assert!(error.to_string().contains("the queue jobs has a consumer already"), "{error}");
}
