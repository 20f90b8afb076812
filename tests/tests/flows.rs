//! The flows of the example folder, each as its users meet it, with what can go wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use http::{Method, StatusCode};
use picloud_core::alloc::CountingAllocator;
use picloud_core::execution::{HttpRequest, HttpResponse};
use picloud_core::http::HttpConfig;
use picloud_core::outbox::{DeadLetterListOptions, Resolution};
use picloud_core::pubsub::Heard;
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud};
use picloud_memory::{MemoryBackend, TestClock};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

macro_rules! flow {
    ($name:literal) => {
        include_str!(concat!("../../examples/scripts/flows/", $name, ".rhai"))
    };
}

struct World {
    cloud: Picloud,
    app: App,
    clock: TestClock,
}

impl World {
    async fn with(source: &str) -> Self {
        World::starting_at("2026-03-01T12:00:00Z", source).await
    }

    async fn starting_at(now: &str, source: &str) -> Self {
        let clock = TestClock::starting_at(now.parse().unwrap());
        let backend = MemoryBackend::with_clock(Arc::new(clock.clone()));
        let mut http = HttpConfig::default();
        http.allow_private = true;
        let cloud = Picloud::builder(backend).http(http).start().await.unwrap();
        let app = cloud.create_app("flows").await.unwrap();
        let report = app.deploy(&Bundle::new().file("flow", source).unwrap()).await.unwrap();
        assert_eq!(report.warnings, [""; 0]);
        World { cloud, app, clock }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> HttpResponse {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut request = HttpRequest::new(method, path);
        request.query = query.map(str::to_owned);
        for (name, value) in headers {
            request.headers.insert(*name, value.parse().unwrap());
        }
        request.body = body.to_vec().into();
        self.app.request(request).await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> HttpResponse {
        let json = [("content-type", "application/json")];
        self.ask(Method::POST, path, &json, body.to_string().as_bytes()).await
    }

    async fn get(&self, path: &str) -> HttpResponse {
        self.ask(Method::GET, path, &[], b"").await
    }

    async fn settle(&self) {
        self.cloud.run_until_idle().await.unwrap();
    }

    async fn after(&self, duration: Duration) {
        self.clock.advance(duration);
        self.settle().await;
    }

    async fn value(&self, collection: &str, key: &str) -> Option<Value> {
        self.app.kv(collection).unwrap().get(key).await.unwrap()
    }
}

fn body(response: &HttpResponse) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[derive(Clone, Default)]
struct Upstream {
    answer: Arc<AtomicU16>,
    asked: Arc<AtomicU32>,
}

impl Upstream {
    /// A server that answers with the status of now; with its URL.
    async fn start() -> (Self, String) {
        let upstream = Upstream::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/charge", listener.local_addr().unwrap());
        let charge = async |State(upstream): State<Upstream>| {
            upstream.asked.fetch_add(1, Ordering::SeqCst);
            StatusCode::from_u16(upstream.answer.load(Ordering::SeqCst)).unwrap()
        };
        let router = Router::new().route("/charge", axum::routing::post(charge)).with_state(upstream.clone());
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
        (upstream, url)
    }
}

#[tokio::test]
async fn a_webhook_is_one_write_however_often_it_is_sent() {
    let world = World::with(include_str!("../../examples/scripts/hooks/webhook.rhai")).await;
    // Each write is an event of its own, and stays one since its handler fails: were there two, the process could end in
    // between.
    let watcher = "//! on kv *\nthrow \"not yet\";";
    let bundle = Bundle::new().named("watcher").file("watcher", watcher).unwrap();
    world.app.deploy(&bundle).await.unwrap();
    let send = async |source: &str, id: &str, order: i64| {
        let headers = [("content-type", "application/json"), ("x-delivery-id", id)];
        let order = json!({ "order": order }).to_string();
        world.ask(Method::POST, &format!("/hooks/{source}"), &headers, order.as_bytes()).await.status
    };

    assert_eq!(world.get("/hooks/shop").await.status, StatusCode::NOT_FOUND);
    assert_eq!(send("shop", "7:8", 1).await, StatusCode::ACCEPTED);
    assert_eq!(send("shop", "7:8", 1).await, StatusCode::OK);
    world.settle().await;
    assert_eq!(world.app.waiting_events(10).await.unwrap().len(), 1);
    // Another source, however it is spelt.
    assert_eq!(send("shop:7", "8", 2).await, StatusCode::ACCEPTED);

    let kept = body(&world.get("/hooks/shop").await);
    let payloads: Vec<_> = kept.as_array().unwrap().iter().map(|kept| &kept["payload"]).collect();
    assert_eq!(payloads, [&json!({ "order": 1 })]);
}

#[tokio::test]
async fn old_webhooks_are_forgotten_at_night() {
    let night = include_str!("../../examples/scripts/events/nightly.rhai");
    let world = World::starting_at("2026-03-10T12:00:00Z", night).await;
    let hooks = world.app.kv("webhooks").unwrap();
    for (key, received_at) in [("shop:1", "2026-03-01T12:00:00.25Z"), ("shop:2", "2026-03-09T12:00:00Z")] {
        hooks.set(key, &json!({ "received_at": received_at })).await.unwrap();
    }
    world.after(Duration::from_secs(14 * 3_600 + 10)).await;
    assert!(!hooks.has("shop:1").await.unwrap() && hooks.has("shop:2").await.unwrap());
}

const PAYMENT: &[u8] = br#"{"id":"p-1","amount":12}"#;

async fn signature(world: &World) -> String {
    let bundle = Bundle::new()
        .named("signer")
        .file("sign", r#""sha256=" + crypto::hmac_sha256("a key to try it with", ctx.request.body_raw)"#)
        .unwrap();
    world.app.deploy(&bundle).await.unwrap();
    let mut request = HttpRequest::new(Method::POST, "/");
    request.body = PAYMENT.to_vec().into();
    let answer = world.app.script("sign").unwrap().request(request).await.unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_payment_reaches_an_upstream_that_is_not_always_there() {
    let world = World::with(flow!("payment")).await;
    let (upstream, url) = Upstream::start().await;
    world.app.kv("settings").unwrap().set("payments upstream", &url).await.unwrap();
    let signature = signature(&world).await;
    let signed = [("content-type", "application/json"), ("x-signature-256", signature.as_str())];
    let forged = [("content-type", "application/json"), ("x-signature-256", "sha256=00")];

    let refused = world.ask(Method::POST, "/flows/payments", &forged, PAYMENT).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let unsigned = world.post("/flows/payments", &json!({ "id": "p-1" })).await;
    assert_eq!(unsigned.status, StatusCode::UNAUTHORIZED);

    // Down for the first three attempts. The provider says it twice: it is charged once.
    upstream.answer.store(503, Ordering::SeqCst);
    let first = world.ask(Method::POST, "/flows/payments", &signed, PAYMENT).await;
    let second = world.ask(Method::POST, "/flows/payments", &signed, PAYMENT).await;
    assert_eq!((first.status, second.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(body(&first), body(&second));
    world.settle().await;
    for _ in 0..2 {
        world.after(Duration::from_secs(60)).await;
    }
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 3);
    upstream.answer.store(201, Ordering::SeqCst);
    world.after(Duration::from_secs(60)).await;
    assert_eq!(world.value("payments", "p-1").await, Some(json!({ "status": 201, "attempt": 4 })));
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 4);

    // Down for good: a dead letter, which is sent again when it is mended.
    upstream.answer.store(500, Ordering::SeqCst);
    world.ask(Method::POST, "/flows/payments", &signed, PAYMENT).await;
    for _ in 0..6 {
        world.after(Duration::from_secs(3_600)).await;
    }
    let letters = world.app.dead_letters(&DeadLetterListOptions::default()).await.unwrap().items;
    assert_eq!((letters.len(), letters[0].attempts), (1, 5));
    assert!(letters[0].error.contains("the upstream answered 500"), "{}", letters[0].error);
    upstream.answer.store(200, Ordering::SeqCst);
    world.app.replay(letters[0].row.id).await.unwrap();
    world.settle().await;
    assert_eq!(world.value("payments", "p-1").await, Some(json!({ "status": 200, "attempt": 1 })));
    let letters = world.app.dead_letters(&DeadLetterListOptions::default()).await.unwrap().items;
    assert_eq!(letters[0].resolution, Some(Resolution::Replayed));
}

#[tokio::test]
async fn a_picture_is_stored_served_and_a_thumbnail_asked_for() {
    let world = World::with(flow!("upload")).await;
    let refused =
        world.ask(Method::POST, "/flows/uploads/x.html", &[("content-type", "text/html")], b"<p>").await;
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stored =
        world.ask(Method::POST, "/flows/uploads/dot.gif", &[("content-type", "image/gif")], b"GIF89a").await;
    assert_eq!(
        (stored.status, &body(&stored)["metadata"]["thumbnail"]),
        (StatusCode::CREATED, &json!("asked for"))
    );
    let place = stored.headers["location"].to_str().unwrap().to_owned();

    world.settle().await;

    let served = world.get(&place).await;
    assert_eq!((served.status, &served.body[..]), (StatusCode::OK, &b"GIF89a"[..]));
    assert_eq!(served.headers["content-type"], "image/gif");
    let part = world.ask(Method::GET, &place, &[("range", "bytes=0-2")], b"").await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &b"GIF"[..]));
    let id = body(&stored)["id"].as_str().unwrap().parse().unwrap();
    let file = world.app.files("uploads").unwrap().head(id).await.unwrap().unwrap();
    let metadata: Value = serde_json::to_value(&file.metadata).unwrap();
    assert_eq!(metadata, json!({ "thumbnail": "made", "of_bytes": 6 }));
    for nothing in ["/flows/uploads/7", "/flows/uploads/0197c2f0-0000-7000-8000-000000000000"] {
        assert_eq!(world.get(nothing).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn each_night_reports_the_day_before_in_paris() {
    // A quarter before midnight in Paris, on the eve of the night whose clocks go back: UTC is two hours behind.
    let world = World::starting_at("2026-10-24T21:45:00Z", flow!("nightly")).await;
    for _ in 0..3 {
        assert_eq!(world.post("/flows/visits?page=/a", &json!(null)).await.status, StatusCode::CREATED);
    }
    world.after(Duration::from_secs(30 * 60)).await;
    world.settle().await;
    world.post("/flows/visits", &json!(null)).await;
    assert_eq!(world.value("flow-reports", "2026-10-24").await.unwrap()["visits"], 3);

    // The day has 25 hours.
    world.after(Duration::from_secs(24 * 3_600)).await;
    assert_eq!(world.value("flow-reports", "2026-10-25").await, None);
    world.after(Duration::from_secs(3_600)).await;
    assert_eq!(world.value("flow-reports", "2026-10-25").await.unwrap()["visits"], 1);
    let told = body(&world.get("/flows/reports").await);
    let days: Vec<_> =
        told.as_array().unwrap().iter().map(|report| report["key"].as_str().unwrap()).collect();
    assert!(days.ends_with(&["2026-10-24", "2026-10-25"]), "{days:?}");
}

#[tokio::test]
async fn a_day_of_23_hours_is_reported_as_one() {
    // A quarter before midnight in Paris, on the eve of the night whose clocks go forward: UTC is one hour behind.
    let world = World::starting_at("2026-03-28T22:45:00Z", flow!("nightly")).await;
    world.post("/flows/visits", &json!(null)).await;
    world.after(Duration::from_secs(30 * 60)).await;
    assert_eq!(world.value("flow-reports", "2026-03-28").await.unwrap()["visits"], 1);
    // The last minutes of the short day are of that day.
    world.after(Duration::from_secs(22 * 3_600 + 44 * 60)).await;
    for _ in 0..2 {
        world.post("/flows/visits", &json!(null)).await;
    }
    world.after(Duration::from_secs(15 * 60)).await;
    assert_eq!(world.value("flow-reports", "2026-03-29").await, None);
    world.after(Duration::from_secs(60)).await;
    assert_eq!(world.value("flow-reports", "2026-03-29").await.unwrap()["visits"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_stock_is_not_sold() {
    let world = Arc::new(World::with(flow!("order")).await);
    world.app.kv("stock").unwrap().set("tea", &10).await.unwrap();
    let orders: Vec<_> = (0..16)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(
                async move { world.post("/flows/orders", &json!({ "item": "tea", "count": 2 })).await },
            )
        })
        .collect();
    let (mut sold, mut refused) = (Vec::new(), 0);
    for order in orders {
        let answer = order.await.unwrap();
        match answer.status {
            StatusCode::CREATED => sold.push(body(&answer)["order"].as_str().unwrap().to_owned()),
            StatusCode::CONFLICT => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((sold.len(), refused), (5, 11));
    assert_eq!(world.value("stock", "tea").await, Some(json!(0)));
    world.settle().await;
    for order in sold {
        assert_eq!(world.value("receipts", &order).await, Some(json!("2 of tea, thank you")));
    }
    for wrong in [
        json!(1),
        json!({ "item": "tea" }),
        json!({ "item": "tea", "count": 0 }),
        json!({ "item": "tea", "count": 1.5 }),
    ] {
        assert_eq!(
            world.post("/flows/orders", &wrong).await.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn who_is_in_the_room_hears_what_is_said_and_who_comes_later_reads_it() {
    let world = World::with(flow!("room")).await;
    let stream = world.get("/flows/rooms/lobby/events").await.stream.expect("a stream");
    let mut lobby = world.app.subscribe(&stream).unwrap();
    let said = json!({ "name": "ada", "text": "</script><b>hi" });
    assert_eq!(world.post("/flows/rooms/other", &said).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.post("/flows/rooms/lobby", &said).await.status, StatusCode::ACCEPTED);

    let heard = tokio::time::timeout(Duration::from_secs(5), lobby.next()).await.unwrap();
    let Some(Heard::Message(heard)) = heard else { panic!("{heard:?}") };
    assert_eq!(heard.topic.as_str(), "flow-room.lobby");
    assert_eq!(heard.message.to_value::<Value>().unwrap()["text"], said["text"]);

    let page = world.get("/flows/rooms/lobby").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains(r#""name":"ada","text":"\u003c/script>\u003cb>hi""#), "{page}");

    for n in 0..60 {
        world.post("/flows/rooms/lobby", &json!({ "name": "ada", "text": n.to_string() })).await;
    }
    let kept = world.value("rooms", "lobby").await.unwrap();
    let texts: Vec<_> = kept.as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect();
    assert_eq!((texts.len(), texts[0], texts[49]), (50, "10", "59"));
    for nowhere in ["/flows/rooms/*/events", "/flows/rooms/A"] {
        assert_eq!(world.get(nowhere).await.status, StatusCode::NOT_FOUND);
    }
}
