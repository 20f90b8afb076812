//! Messages that are not stored, as hosts and scripts see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use picloud_core::authz::{AppRole, Principal, PrincipalKind};
use picloud_core::execution::{Answer, HttpRequest};
use picloud_core::pubsub::{EventStream, Heard, MAX_EPHEMERAL_BYTES, Subscription};
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud};
use picloud_memory::MemoryBackend;
use picloud_postgres::{PostgresBackend, PostgresConfig, SchemaName};

async fn app(cloud: &Picloud, files: &[(&str, &str)]) -> App {
    let app = cloud.ensure_app("shop").await.unwrap();
    let bundle = files.iter().try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source));
    app.deploy(&bundle.unwrap()).await.unwrap();
    app
}

async fn next(subscription: &mut Subscription) -> (String, String) {
    match tokio::time::timeout(Duration::from_secs(20), subscription.next()).await {
        Ok(Some(Heard::Message(message))) => (message.topic.to_string(), message.message.to_string()),
        other => panic!("{other:?}"),
    }
}

const SAY: &str = "//! route POST /say
pubsub::publish_ephemeral(ctx.request.query.topic, #{ n: 1.0 })";

#[tokio::test]
async fn what_a_script_publishes_is_heard_by_whom_a_script_let_in() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = app(&cloud, &[("say", SAY), ("hear", "//! route GET /hear\npubsub::stream(\"chat.*\")")]).await;
    let other = cloud.create_app("other").await.unwrap();
    let answer = app.request(HttpRequest::new(Method::GET, "/hear")).await.unwrap();
    assert_eq!(
        (answer.headers["content-type"].to_str().unwrap(), answer.body.len()),
        ("text/event-stream", 0)
    );
    let mut stranger = other.subscribe(&EventStream::new(["*"]).unwrap()).unwrap();
    let mut subscription = app.subscribe(&answer.stream.expect("it is a stream")).unwrap();
    for topic in ["news", "chat.a", "chat.b"] {
        let mut request = HttpRequest::new(Method::POST, "/say");
        request.query = Some(format!("topic={topic}"));
        assert_eq!(app.request(request).await.unwrap().body, "null");
    }
    other.publish_ephemeral("of.other", &1).unwrap();
    assert_eq!(next(&mut subscription).await, ("chat.a".to_owned(), "{\"n\":1.0}".to_owned()));
    assert_eq!(next(&mut subscription).await.0, "chat.b");
    assert_eq!(next(&mut stranger).await.0, "of.other");
    cloud.shutdown(Duration::from_secs(5)).await;
    assert_eq!(subscription.next().await, None);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_its_reason() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = app(&cloud, &[("say", SAY)]).await;
    let mut subscription = app.subscribe(&EventStream::new(["*"]).unwrap()).unwrap();
    // With its quotes one byte too long.
    let long = "x".repeat(MAX_EPHEMERAL_BYTES - 1);
    for (topic, message, code) in [
        ("a..b", "x", "pubsub.invalid_topic"),
        ("a.*", "x", "pubsub.invalid_topic"),
        ("a", &*long, "pubsub.message_too_large"),
    ] {
        assert_eq!(app.publish_ephemeral(topic, message).unwrap_err().code(), code);
    }
    app.publish_ephemeral("a", &long[1..]).unwrap();
    assert_eq!(next(&mut subscription).await.1.len(), MAX_EPHEMERAL_BYTES);
}

#[tokio::test]
async fn who_may_publish_is_asked_of_users_and_not_of_visitors() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = app(&cloud, &[("say", "pubsub::publish_ephemeral(\"a\", 1)")]).await;
    let script = app.script("say").unwrap();
    for (role, may) in [(None, true), (Some(AppRole::Editor), true), (Some(AppRole::Viewer), false)] {
        let mut invocation = script.invocation();
        invocation.principal =
            role.map(|role| Arc::new(Principal::new(PrincipalKind::User, "1", "ada").member(app.id(), role)));
        let result = script.execute(invocation).await.result;
        match result {
            Ok(Answer::Value(_)) => assert!(may, "{role:?}"),
            Err(failure) => assert!(!may && failure.message.contains("AppPubsubPublish"), "{failure}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_app_that_is_not_there_is_not_listened_to() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let nobody = cloud.app(picloud_core::AppId::new());
    let refused = nobody.subscribe(&EventStream::new(["*"]).unwrap()).unwrap_err();
    assert_eq!((refused.code(), cloud.subscribers()), ("app.not_found", 0));
}

/// Two processes on one database.
#[tokio::test]
async fn processes_hear_each_other() {
    let schema = SchemaName::new(picloud_test_postgres::unused_schema()).unwrap();
    let mut clouds = Vec::new();
    for _ in 0..2 {
        let config = PostgresConfig::default().schema(schema.clone());
        let backend = PostgresBackend::connect_url(&picloud_test_postgres::url(), config).await.unwrap();
        backend.migrate().await.unwrap();
        clouds.push(Picloud::builder(backend).start().await.unwrap());
    }
    let here = app(&clouds[0], &[("say", SAY)]).await;
    let there = clouds[1].ensure_app("shop").await.unwrap();
    let mut subscription = there.subscribe(&EventStream::new(["chat.*"]).unwrap()).unwrap();
    let mut request = HttpRequest::new(Method::POST, "/say");
    request.query = Some("topic=chat.a".to_owned());
    here.request(request).await.unwrap();
    assert_eq!(next(&mut subscription).await, ("chat.a".to_owned(), "{\"n\":1.0}".to_owned()));
    for cloud in clouds {
        cloud.shutdown(Duration::from_secs(5)).await;
    }
}
