//! Published messages.

use super::*;

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
