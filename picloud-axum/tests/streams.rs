//! Messages as server-sent events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use picloud_axum::{RouterConfig, ServeConfig, bind, router, serve};
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud, PicloudConfig};
use picloud_memory::MemoryBackend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

const CHAT: &str = "//! route GET /chat\npubsub::stream([\"chat.*\", \"news\"])";

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

async fn cloud(source: &str, config: PicloudConfig) -> (Picloud, App) {
    let cloud = Picloud::builder(MemoryBackend::new()).config(config).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    (cloud, app)
}

async fn send(routes: &Router, method: Method, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    routes.clone().oneshot(request).await.unwrap()
}

async fn ask(source: &str) -> Response<Body> {
    let (cloud, _) = cloud(source, PicloudConfig::default()).await;
    send(&router(&cloud, RouterConfig::default().expose_errors(true)), Method::GET, "/chat").await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The next piece of a body.
async fn piece(body: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("something comes")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

/// Waits until so many listen.
async fn until_subscribers(cloud: &Picloud, wanted: usize) {
    let there = async {
        while cloud.subscribers() != wanted {
            tokio::task::yield_now().await;
        }
    };
    let there = tokio::time::timeout(PATIENCE, there).await;
    assert!(there.is_ok(), "{} listen, not {wanted}", cloud.subscribers());
}

struct Server {
    cloud: Picloud,
    app: App,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn server(source: &str) -> Server {
    let (cloud, app) = cloud(source, PicloudConfig::default()).await;
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    // Longer than a test may take: nothing waits for it.
    let config = ServeConfig::default().drain(Duration::from_secs(600));
    let task = tokio::spawn({
        let (cloud, routes) = (cloud.clone(), router(&cloud, RouterConfig::default()));
        async move { serve(&cloud, listener, routes, config, async { drop(stopped.await) }).await }
    });
    Server { cloud, app, address, stop, task }
}

/// A client that reads what comes.
struct Client {
    stream: TcpStream,
    read: String,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /chat HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        Client { stream, read: String::new() }
    }

    /// Reads until this is there; answers everything so far.
    async fn until(&mut self, wanted: &str) -> &str {
        let mut buffer = [0; 4096];
        while !self.read.contains(wanted) {
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await;
            let read = read.unwrap_or_else(|_| panic!("no {wanted:?} in {:?}", self.read)).unwrap();
            assert!(read > 0, "the end, and no {wanted:?} in {:?}", self.read);
            self.read.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        &self.read
    }
}

#[tokio::test]
async fn messages_reach_clients_as_events() {
    let server = server(CHAT).await;
    let mut client = Client::connect(server.address).await;
    let head = client.until(":\n\n").await.to_ascii_lowercase();
    for wanted in [
        "http/1.1 200 ok\r\n",
        "content-type: text/event-stream\r\n",
        "cache-control: no-cache\r\n",
        "x-accel-buffering: no\r\n",
    ] {
        assert!(head.contains(wanted), "{head}");
    }
    assert_eq!(server.cloud.executor().in_flight(), 0, "nothing runs while the stream is open");
    server.app.publish_ephemeral("chat", &"not below").unwrap();
    server
        .app
        .publish_ephemeral("chat.room", &serde_json::json!({ "text": "a\nb\u{2028}", "n": 1.0 }))
        .unwrap();
    server.app.publish_ephemeral("news", &()).unwrap();
    let all = client.until("event: news\ndata: null\n\n").await;
    let (id, event) = all.split_once("id: ").unwrap().1.split_once('\n').unwrap();
    assert!(uuid_like(id), "{id}");
    assert!(
        event.starts_with("event: chat.room\ndata: {\"n\":1.0,\"text\":\"a\\nb\u{2028}\"}\n\n"),
        "{event}"
    );
    assert!(!all.contains("not below"));
    drop(server.stop);
    server.task.await.unwrap().unwrap();
}

fn uuid_like(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[tokio::test]
async fn a_client_that_goes_gives_its_place_free() {
    let server = server(CHAT).await;
    let mut client = Client::connect(server.address).await;
    client.until(":\n\n").await;
    assert_eq!(server.cloud.subscribers(), 1);
    drop(client);
    until_subscribers(&server.cloud, 0).await;
    drop(server.stop);
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_stops_ends_open_streams() {
    let server = server(CHAT).await;
    let mut client = Client::connect(server.address).await;
    client.until(":\n\n").await;
    drop(server.stop);
    client.until("\r\n0\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, server.task).await.expect("it stops").unwrap().unwrap();
    assert_eq!(server.cloud.subscribers(), 0);
}

#[tokio::test]
async fn a_stream_that_opens_while_the_server_stops_ends_as_well() {
    let server = server("//! route GET /chat\nsleep(0.3); pubsub::stream(\"*\")").await;
    let mut client = Client::connect(server.address).await;
    while server.cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    drop(server.stop);
    client.until("\r\n0\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, server.task).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_ends_streams_and_takes_no_more() {
    let (cloud, _) = cloud(CHAT, PicloudConfig::default()).await;
    let routes = router(&cloud, RouterConfig::default());
    let mut body = send(&routes, Method::GET, "/chat").await.into_body();
    assert_eq!(piece(&mut body).await.as_deref(), Some(":\n\n"));
    cloud.end_streams();
    assert_eq!(piece(&mut body).await, None);
    assert_eq!(send(&routes, Method::GET, "/chat").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_server_of_the_hosts_stops_when_its_streams_are_ended() {
    let (cloud, app) = cloud(CHAT, PicloudConfig::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let routes: Router = router(&cloud, RouterConfig::default());
    let ending = cloud.clone();
    let task = tokio::spawn(async move {
        let stopped = async move {
            drop(stopped.await);
            ending.end_streams();
        };
        axum::serve(listener, routes).with_graceful_shutdown(stopped).await
    });
    let mut client = Client::connect(address).await;
    client.until(":\n\n").await;
    app.publish_ephemeral("news", &1).unwrap();
    client.until("data: 1\n\n").await;
    drop(stop);
    client.until("\r\n0\r\n\r\n").await;
    drop(client);
    tokio::time::timeout(PATIENCE, task).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn a_quiet_stream_sends_comments() {
    let (cloud, app) = cloud(CHAT, PicloudConfig::default()).await;
    let config = RouterConfig::default().heartbeat(Duration::from_millis(5));
    let mut body = send(&router(&cloud, config), Method::GET, "/chat").await.into_body();
    for _ in 0..4 {
        assert_eq!(piece(&mut body).await.as_deref(), Some(":\n\n"));
    }
    app.publish_ephemeral("news", &1).unwrap();
    while piece(&mut body).await.unwrap() == ":\n\n" {}
    assert_eq!(piece(&mut body).await.as_deref(), Some(":\n\n"));
}

#[tokio::test]
async fn a_stream_ends_after_its_time() {
    let (cloud, app) = cloud(CHAT, PicloudConfig::default()).await;
    let config = RouterConfig::default().stream_lifetime(Duration::from_millis(20));
    let mut body = send(&router(&cloud, config), Method::GET, "/chat").await.into_body();
    while piece(&mut body).await.is_some() {
        app.publish_ephemeral("news", &1).unwrap();
        // The clock gets its turn.
        tokio::task::yield_now().await;
    }
    drop(body);
    assert_eq!(cloud.subscribers(), 0);
}

#[tokio::test]
async fn a_slow_client_is_told_what_it_lost() {
    let (cloud, app) = cloud(CHAT, PicloudConfig::default()).await;
    let mut body = send(&router(&cloud, RouterConfig::default()), Method::GET, "/chat").await.into_body();
    for n in 0..100 {
        app.publish_ephemeral("news", &n).unwrap();
    }
    let read = piece(&mut body).await.unwrap();
    assert!(read.starts_with(":\n\nevent: $lagged\ndata: {\"lost\":36}\n\nid: "), "{read}");
    assert!(read.contains("data: 36\n\n") && read.ends_with("data: 99\n\n"), "{read}");
}

#[tokio::test]
async fn head_and_methods_without_a_body_take_no_place() {
    let (cloud, _) = cloud(CHAT, PicloudConfig::default()).await;
    let response = send(&router(&cloud, RouterConfig::default()), Method::HEAD, "/chat").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(cloud.subscribers(), 0);
}

#[tokio::test]
async fn a_client_without_a_place_is_asked_to_come_again() {
    let mut config = PicloudConfig::default();
    config.subscriptions.max_per_app = 1;
    let (cloud, _) = cloud(CHAT, config).await;
    let routes = router(&cloud, RouterConfig::default());
    let first = send(&routes, Method::GET, "/chat").await;
    let second = send(&routes, Method::GET, "/chat").await;
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(second.headers().contains_key(header::RETRY_AFTER));
    assert!(text(second).await.contains("pubsub.too_many_subscribers"));
    drop(first);
    assert_eq!(send(&routes, Method::GET, "/chat").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_script_decides_who_hears_what_and_sets_headers() {
    let source = "//! route GET /chat
        if ctx.request.query.key != \"secret\" { throw #{ statusCode: 403 }; }
        #{ statusCode: 200, headers: #{ \"set-cookie\": \"a=1\", \"cache-control\": \"no-store\" },
           body: pubsub::stream(\"chat.\" + ctx.request.query.room, #{ retry_ms: 1500 }) }";
    let (cloud, app) = cloud(source, PicloudConfig::default()).await;
    let routes = router(&cloud, RouterConfig::default());
    assert_eq!(send(&routes, Method::GET, "/chat?room=a").await.status(), StatusCode::FORBIDDEN);
    let response = send(&routes, Method::GET, "/chat?room=a&key=secret").await;
    assert_eq!(response.headers()[header::SET_COOKIE], "a=1");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let mut body = response.into_body();
    assert_eq!(piece(&mut body).await.as_deref(), Some("retry: 1500\n\n"));
    app.publish_ephemeral("chat.b", &1).unwrap();
    app.publish_ephemeral("chat.a", &2).unwrap();
    assert!(piece(&mut body).await.unwrap().ends_with("event: chat.a\ndata: 2\n\n"));
}

#[tokio::test]
async fn a_stream_is_an_answer_and_not_a_value() {
    for wrong in [
        "[pubsub::stream(\"a\")]",
        "#{ statusCode: 201, body: pubsub::stream(\"a\") }",
        "#{ statusCode: 200, headers: #{ \"content-type\": \"text/plain\" }, body: pubsub::stream(\"a\") }",
        "pubsub::stream([])",
        "pubsub::stream(\"a.*.b\")",
        "pubsub::stream(7)",
        "pubsub::stream(\"a\", #{ retry: 1 })",
        "pubsub::stream(\"a\", #{ retry_ms: 100_000_000 })",
    ] {
        let response = ask(&format!("//! route GET /chat\n{wrong}")).await;
        let status = response.status();
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{wrong}: {}", text(response).await);
    }
}
