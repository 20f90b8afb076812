//! Outbound HTTP as scripts see it, against a server on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use picloud_core::alloc::CountingAllocator;
use picloud_core::async_trait;
use picloud_core::authz::{AppRole, Principal, PrincipalKind};
use picloud_core::execution::{Answer, FailureClass, HttpRequest, Outcome};
use picloud_core::http::{
    AllowedHosts, HttpConfig, HttpError, HttpService, OutboundRequest, OutboundResponse,
};
use picloud_core::script::Bundle;
use picloud_core::{App, CallCx, Picloud, Result};
use picloud_memory::MemoryBackend;
use serde_json::{Value, json};
use tokio::sync::watch;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// What a request was, as JSON.
async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 20 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    axum::Json(json!({
        "method": parts.method.as_str(),
        "uri": parts.uri.to_string(),
        "type": header("content-type"),
        "agent": header("user-agent"),
        "token": header("x-token"),
        "size": body.len(),
        "body": String::from_utf8_lossy(&body[..body.len().min(100)]),
    }))
    .into_response()
}

/// A body of a size and a type.
async fn sized(Path((size, kind)): Path<(usize, String)>) -> Response {
    ([("content-type", kind)], Bytes::from(vec![b'1'; size])).into_response()
}

struct World {
    app: App,
    cloud: Picloud,
    server: SocketAddr,
    /// How many requests wait for an answer that never comes.
    stuck: watch::Receiver<usize>,
}

struct Stuck(Arc<watch::Sender<usize>>);

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

async fn world() -> World {
    world_with(|_| {}).await
}

async fn world_with(change: impl FnOnce(&mut HttpConfig)) -> World {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let (stuck, watched) = watch::channel(0);
    let stuck = Arc::new(stuck);
    let router = axum::Router::new()
        .route("/echo", any(echo))
        .route("/sized/{size}/{*kind}", get(sized))
        .route("/json", get(async || ([("content-type", "application/problem+json")], r#"{"a":[1,2.0]}"#)))
        .route("/broken", get(async || ([("content-type", "application/json")], "{")))
        .route("/gone", get(async || (axum::http::StatusCode::GONE, "gone")))
        .route(
            "/packed",
            get(async || ([("content-encoding", "gzip"), ("content-type", "text/plain")], "packed")),
        )
        .route("/moved", get(async || Redirect::temporary("/echo")))
        .route("/inside", get(async || Redirect::temporary("http://169.254.169.254/")))
        .route(
            "/cookies",
            get(async || {
                axum::response::AppendHeaders([
                    ("set-cookie", "a=1"),
                    ("set-cookie", "b=2"),
                    ("vary", "x"),
                    ("vary", "y"),
                ])
            }),
        )
        .route(
            "/stuck",
            any(async move || {
                stuck.send_modify(|count| *count += 1);
                let _stuck = Stuck(stuck.clone());
                std::future::pending::<()>().await;
            }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = HttpConfig::default();
    config.allowed_addresses = vec![server];
    change(&mut config);
    let cloud = Picloud::builder(MemoryBackend::new()).http(config).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    World { app, cloud, server, stuck: watched }
}

impl World {
    async fn run(&self, source: &str) -> Outcome {
        let source = source.replace("@", &format!("http://{}", self.server));
        self.app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
        let script = self.app.script("script").unwrap();
        script.execute(script.invocation()).await
    }

    async fn value(&self, source: &str) -> Value {
        match self.run(source).await.result {
            Ok(Answer::Value(value)) => value.to_value().unwrap(),
            other => panic!("{source}: {other:?}"),
        }
    }

    /// What a script that fails throws.
    async fn thrown(&self, source: &str) -> Value {
        self.value(&format!("try {{ {source}; return \"no error\"; }} catch (e) {{ return e; }}")).await
    }
}

#[tokio::test]
async fn each_method_sends_what_it_says() {
    let world = world().await;
    for (call, method) in [
        (r#"http::get("@/echo")"#, "GET"),
        (r#"http::delete("@/echo")"#, "DELETE"),
        (r#"http::options("@/echo")"#, "OPTIONS"),
        (r#"http::post("@/echo", ())"#, "POST"),
        (r#"http::put("@/echo", ())"#, "PUT"),
        (r#"http::patch("@/echo", ())"#, "PATCH"),
    ] {
        assert_eq!(world.value(&format!("{call}.body")).await["method"], method, "{call}");
    }
    let head =
        world.value(r#"let r = http::head("@/echo"); [r.status, r.body, r.headers["content-type"]]"#).await;
    assert_eq!(head, json!([200, null, "application/json"]));
}

#[tokio::test]
async fn a_body_is_sent_by_its_type() {
    let world = world().await;
    for (body, kind, text) in [
        ("#{ b: 1, a: [1.0, ()] }", "application/json", r#"{"a":[1.0,null],"b":1}"#),
        ("[1]", "application/json", "[1]"),
        ("42", "application/json", "42"),
        ("true", "application/json", "true"),
        ("\"ä\"", "text/plain; charset=utf-8", "ä"),
        ("\"x\".to_blob()", "application/octet-stream", "x"),
    ] {
        let sent = world.value(&format!("http::post(\"@/echo\", {body}).body")).await;
        assert_eq!((&sent["type"], &sent["body"]), (&json!(kind), &json!(text)), "{body}");
    }
    let sent = world.value("http::post(\"@/echo\", (), #{ headers: #{} }).body").await;
    assert_eq!((&sent["type"], &sent["size"]), (&json!(null), &json!(0)));
    let own = r#"http::put("@/echo", "a=1", #{ headers: #{ "Content-Type": "application/x-www-form-urlencoded" } }).body"#;
    assert_eq!(world.value(own).await["type"], "application/x-www-form-urlencoded");
}

#[tokio::test]
async fn options_are_sent_along() {
    let world = world().await;
    let source = r#"http::get("@/echo?a=1", #{
        query: #{ b: [1, "x y"], c: (), d: true },
        headers: #{ "X-Token": "secret" },
        timeout_ms: 5000,
        max_redirects: 1,
    }).body"#;
    let sent = world.value(source).await;
    assert_eq!((&sent["uri"], &sent["token"]), (&json!("/echo?a=1&b=1&b=x+y&d=true"), &json!("secret")));
    let agent = format!("picloud/{} (script script)", env!("CARGO_PKG_VERSION"));
    assert_eq!(sent["agent"], json!(agent));
}

#[tokio::test]
async fn a_response_is_read_by_its_type() {
    let world = world().await;
    for (source, answer) in [
        (r#"http::get("@/json").body"#, json!({ "a": [1, 2.0] })),
        (r#"type_of(http::get("@/json").body.a[1])"#, json!("f64")),
        (r#"http::get("@/json").body_raw.as_string()"#, json!(r#"{"a":[1,2.0]}"#)),
        (r#"http::get("@/broken").body"#, json!("{")),
        (r#"let r = http::get("@/gone"); [r.status, r.body]"#, json!([410, "gone"])),
        (r#"type_of(http::get("@/sized/3/image/png").body)"#, json!("blob")),
        (r#"http::get("@/sized/0/text/plain").body"#, json!(null)),
        (r#"type_of(http::get("@/packed").body)"#, json!("blob")),
        (r#"http::get("@/moved").body.uri"#, json!("/echo")),
        (r#"http::get("@/moved", #{ max_redirects: 0 }).status"#, json!(307)),
        (
            r#"let h = http::get("@/cookies").headers; [h["set-cookie"], h.vary]"#,
            json!([["a=1", "b=2"], "x, y"]),
        ),
        (r#"http::get("@/json").keys()"#, json!(["body", "body_raw", "headers", "status"])),
    ] {
        assert_eq!(world.value(source).await, answer, "{source}");
    }
}

#[tokio::test]
async fn what_is_refused_can_be_caught_by_its_code() {
    let world = world().await;
    for (call, code) in [
        (r#"http::get("http://127.0.0.1:1/")"#, "http.address_refused"),
        (r#"http::get("http://localhost/")"#, "http.address_refused"),
        (r#"http::get("@/inside")"#, "http.address_refused"),
        (r#"http::get("ftp://example.com/")"#, "http.scheme_not_allowed"),
        (r#"http::get("http://a:b\x40example.com/")"#, "http.credentials_in_url"),
        (r#"http::get("http://example.com:22/")"#, "http.port_not_allowed"),
        (r#"http::get("example.com")"#, "http.invalid_url"),
        (r#"http::get("http://no-such-name.invalid/")"#, "http.name_not_found"),
        (r#"http::get("@/echo", #{ header: #{} })"#, "invalid_argument"),
        (r#"http::get("@/echo", #{ headers: #{ a: #{} } })"#, "invalid_argument"),
        (r#"http::get("@/echo", #{ headers: #{ "a b": "" } })"#, "http.invalid_header"),
        (r#"http::get("@/echo", #{ headers: #{ a: "x\r\nb: c" } })"#, "http.invalid_header"),
        (r#"http::get("@/echo", #{ headers: #{ Host: "x" } })"#, "http.header_not_allowed"),
        (r#"http::get("@/echo", #{ headers: #{ "content-length": "1" } })"#, "http.header_not_allowed"),
        (
            r#"http::get("@/echo", #{ headers: #{ "transfer-encoding": "chunked" } })"#,
            "http.header_not_allowed",
        ),
        (r#"http::get("@/echo", #{ headers: #{ "proxy-authorization": "x" } })"#, "http.header_not_allowed"),
        (r#"http::get("@/echo", #{ headers: #{ "user-agent": "x" } })"#, "http.header_not_allowed"),
        (r#"http::get("@/echo", #{ timeout_ms: 0 })"#, "http.invalid_option"),
        (r#"http::get("@/echo", #{ timeout_ms: -1 })"#, "http.invalid_option"),
        (r#"http::get("@/echo", #{ timeout_ms: 30001 })"#, "http.invalid_option"),
        (r#"http::get("@/echo", #{ max_redirects: 6 })"#, "http.invalid_option"),
        (r#"http::get("@/echo", #{ max_redirects: -1 })"#, "http.invalid_option"),
        (r#"http::get("@/stuck", #{ timeout_ms: 50 })"#, "http.timeout"),
        (r#"http::post("@/echo", || 1)"#, "json.invalid"),
        (r#"http::post("@/echo", [0.0 / 0.0])"#, "json.invalid"),
        (r#"http::get(1)"#, "invalid_argument"),
    ] {
        let caught = world.thrown(call).await;
        assert_eq!(caught["code"], code, "{call}: {caught}");
        assert!(caught["message"].as_str().is_some_and(|message| message.len() > 10), "{call}: {caught}");
    }
    assert_eq!(world.thrown(r#"http::get("@/inside")"#).await["category"], "cloud metadata");
}

#[tokio::test]
async fn ten_megabytes_pass_both_ways_and_no_more() {
    let world = world().await;
    let most = 10 << 20;
    let sent = world.value(&format!("http::post(\"@/echo\", blob({most}, 1)).body.size")).await;
    assert_eq!(sent, json!(most));
    let read = world.value(&format!("http::get(\"@/sized/{most}/image/png\").body_raw.len()")).await;
    assert_eq!(read, json!(most));
    let caught = world.thrown(&format!("http::get(\"@/sized/{}/image/png\")", most + 1)).await;
    assert_eq!(caught["code"], "http.response_too_large");
}

#[tokio::test]
async fn the_deadline_of_the_script_ends_the_request() {
    let mut world = world().await;
    let outcome = world.run("//! timeout 1\ntry { http::get(\"@/stuck\") } catch { \"caught\" }").await;
    assert_eq!(outcome.result.unwrap_err().class, FailureClass::Timeout);
    world.stuck.wait_for(|stuck| *stuck == 0).await.unwrap();
}

#[tokio::test]
async fn a_script_that_is_cancelled_hangs_up() {
    let mut world = world().await;
    let source = format!("http::get(\"http://{}/stuck\")", world.server);
    world.app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    let script = world.app.script("script").unwrap();
    let task = tokio::spawn(async move { script.execute(script.invocation()).await });
    world.stuck.wait_for(|stuck| *stuck == 1).await.unwrap();
    task.abort();
    world.stuck.wait_for(|stuck| *stuck == 0).await.unwrap();
    world.cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn requests_of_many_scripts_go_out_at_once() {
    let world = world().await;
    let source = format!("http::get(\"http://{}/echo\").status", world.server);
    world.app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let script = world.app.script("script").unwrap();
            tokio::spawn(async move { script.call::<i64>(&()).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), 200);
    }
}

#[tokio::test]
async fn each_app_has_its_list_of_hosts() {
    let hosts = AllowedHosts::any_unless_listed();
    let policy = hosts.clone();
    let world = world_with(|config| config.hosts = Arc::new(policy)).await;
    assert_eq!(world.value(r#"http::get("@/json").status"#).await, json!(200));
    hosts.set(world.app.id(), ["api.example.com"]).unwrap();
    let caught = world.thrown(r#"http::get("@/json")"#).await;
    assert_eq!((&caught["code"], &caught["host"]), (&json!("http.host_not_allowed"), &json!("127.0.0.1")));
    // The list opens nothing that the guard refuses.
    hosts.set(world.app.id(), ["*"]).unwrap();
    assert_eq!(world.thrown(r#"http::get("http://10.0.0.1/")"#).await["code"], "http.address_refused");
}

#[tokio::test]
async fn whoever_may_not_is_refused() {
    let world = world().await;
    let source = format!("http::get(\"http://{}/json\").status", world.server);
    world.app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    let script = world.app.script("script").unwrap();
    for (role, passes) in [(AppRole::Viewer, false), (AppRole::Editor, true)] {
        let mut invocation = script.invocation();
        let user = Principal::new(PrincipalKind::User, "u", "ada").member(world.app.id(), role);
        invocation.principal = Some(Arc::new(user));
        let outcome = script.execute(invocation).await;
        assert_eq!(outcome.result.is_ok(), passes, "{role:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_host_that_enables_nothing_is_told_about() {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let source = r#"try { http::get("https://example.com/"); } catch (e) { return e.code; }"#;
    app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    assert_eq!(app.script("script").unwrap().call::<String>(&()).await.unwrap(), "http.not_enabled");
}

/// A host's own way of sending, which answers without any server.
#[derive(Debug)]
struct Canned;

#[async_trait]
impl HttpService for Canned {
    async fn send(&self, _cx: &CallCx, request: OutboundRequest) -> Result<OutboundResponse> {
        if request.url.contains("none") {
            return Err(HttpError::ConnectFailed.into());
        }
        let mut response = OutboundResponse::new(http::StatusCode::ACCEPTED);
        response.body = request.body;
        Ok(response)
    }
}

#[tokio::test]
async fn a_host_can_send_in_its_own_way() {
    let services = |mut services: picloud_core::Services| {
        services.http = Arc::new(Canned);
        services
    };
    let cloud = Picloud::builder(MemoryBackend::new()).services(services).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let source = "let r = http::post(\"any\", \"x\"); [r.status, r.body_raw.len()]";
    app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    assert_eq!(app.script("script").unwrap().call::<Value>(&()).await.unwrap(), json!([202, 1]));
}

const FORWARD: &str = include_str!("../../examples/scripts/hooks/forward.rhai");

/// The example forwards what it is sent, tries again what fails for a while, and says what became of it.
#[tokio::test]
async fn the_example_forwards_and_tries_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let failures = Arc::new(std::sync::atomic::AtomicUsize::new(2));
    let left = failures.clone();
    let router = axum::Router::new()
        .route(
            "/flaky",
            any(async move |request: Request| {
                let failed = left
                    .fetch_update(
                        std::sync::atomic::Ordering::Relaxed,
                        std::sync::atomic::Ordering::Relaxed,
                        |n| n.checked_sub(1),
                    )
                    .is_ok();
                if failed {
                    axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response()
                } else {
                    echo(request).await
                }
            }),
        )
        .route("/no", any(async || axum::http::StatusCode::FORBIDDEN));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = HttpConfig::default();
    config.allowed_addresses = vec![address];
    let (backend, clock) = MemoryBackend::with_test_clock();
    let cloud = Picloud::builder(backend).http(config).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    app.deploy(&Bundle::new().file("hooks/forward", FORWARD).unwrap()).await.unwrap();
    // The pauses between attempts follow this clock.
    let pacing = tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    });
    let forward = async |to: &str| {
        app.kv("settings").unwrap().set("forward_to", to).await.unwrap();
        let mut request = HttpRequest::new(http::Method::POST, "/forward");
        request.headers.insert("content-type", http::HeaderValue::from_static("application/json"));
        request.body = r#"{"order":7}"#.into();
        let response = app.request(request).await.unwrap();
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        (response.status.as_u16(), body)
    };
    let (status, body) = forward(&format!("http://{address}/flaky")).await;
    assert_eq!((status, &body["status"], &body["attempts"]), (200, &json!(200), &json!(3)), "{body}");
    assert_eq!(body["answer"]["body"], r#"{"order":7}"#);
    // What the receiver refuses is not asked again.
    let (status, body) = forward(&format!("http://{address}/no")).await;
    assert_eq!((status, &body["status"], &body["attempts"]), (502, &json!(403), &json!(1)), "{body}");
    // A target inside is refused, and the script says why.
    let (status, body) = forward("http://10.0.0.1/").await;
    assert_eq!((status, &body["error"]), (502, &json!("http.address_refused")), "{body}");
    pacing.abort();
}
