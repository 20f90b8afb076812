//! What a client sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use picloud_axum::{RouterConfig, router};
use picloud_core::authz::{AppRole, Principal, PrincipalKind};
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud, ScriptModule, async_trait};
use picloud_memory::MemoryBackend;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A picloud with one app of these scripts.
async fn cloud(scripts: &[(&str, &str)]) -> (Picloud, App) {
    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let bundle = scripts.iter().try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source));
    app.deploy(&bundle.unwrap()).await.unwrap();
    (cloud, app)
}

fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).header("host", "example.com").body(Body::empty()).unwrap()
}

fn get(path: &str) -> Request<Body> {
    request(Method::GET, path)
}

fn post(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let builder = Request::builder().method(Method::POST).uri(path).header("content-type", content_type);
    builder.body(body.into()).unwrap()
}

async fn send(routes: &Router, request: Request<Body>) -> Response<Body> {
    routes.clone().oneshot(request).await.unwrap()
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn json_of(response: Response<Body>) -> Value {
    let body = bytes(response).await;
    serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body)))
}

/// One script, one request.
async fn ask(source: &str, ask: Request<Body>) -> Response<Body> {
    let (cloud, _) = cloud(&[("script", source)]).await;
    send(&router(&cloud, RouterConfig::default()), ask).await
}

#[tokio::test]
async fn a_route_answers_with_the_value_of_its_script_as_json() {
    let response =
        ask("//! route GET /greet/:name\n#{ hello: ctx.request.params.name }", get("/greet/ada%20l")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(json_of(response).await, json!({ "hello": "ada l" }));
}

#[tokio::test]
async fn a_script_sees_all_values_of_a_header_and_of_the_query() {
    let source = "//! route GET /\n[ctx.request.query.a, ctx.request.query_all.a, ctx.request.headers[\"x-tag\"], ctx.request.headers_all[\"x-tag\"], ctx.request.headers_all.cookie]";
    let mut asked = get("/?a=1&a=2&b=%26");
    for (name, value) in [("x-tag", "one"), ("x-tag", "two"), ("cookie", "k=v")] {
        asked.headers_mut().append(name, value.parse().unwrap());
    }
    let answer = json_of(ask(source, asked).await).await;
    assert_eq!(answer, json!(["1", ["1", "2"], "one", ["one", "two"], ["k=v"]]));
}

#[tokio::test]
async fn several_cookies_are_set_by_an_array() {
    let source = "//! route GET /\n#{ statusCode: 200, headers: #{ \"set-cookie\": [\"a=1\", \"b=2\"] } }";
    let response = ask(source, get("/")).await;
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[tokio::test]
async fn html_is_sent_as_it_is_and_a_redirect_redirects() {
    let page = "//! route GET /\n#{ statusCode: 200, headers: #{ \"content-type\": \"text/html\" }, body: \"<p>hi</p>\" }";
    assert_eq!(bytes(ask(page, get("/")).await).await, b"<p>hi</p>");
    let redirect = "//! route GET /\n#{ statusCode: 302, headers: #{ location: \"/elsewhere\" } }";
    let response = ask(redirect, get("/")).await;
    assert_eq!(
        (response.status(), &response.headers()[header::LOCATION]),
        (StatusCode::FOUND, &"/elsewhere".parse().unwrap())
    );
}

#[tokio::test]
async fn the_body_is_parsed_by_its_content_type() {
    let source = "//! route POST /\n[type_of(ctx.request.body), ctx.request.body_raw.len()]";
    for (content_type, body, kind) in [
        ("application/json", "{\"a\":1}", "map"),
        ("application/problem+json; charset=utf-8", "[1]", "array"),
        ("text/plain", "hi", "string"),
        ("application/octet-stream", "\u{1}\u{2}", "blob"),
    ] {
        let answer = json_of(ask(source, post("/", content_type, body)).await).await;
        assert_eq!(answer, json!([kind, body.len()]), "{content_type}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_a_json_404_and_another_method_a_405_with_allow() {
    let (cloud, _) = cloud(&[("script", "//! route GET /x\n1")]).await;
    let routes = router(&cloud, RouterConfig::default());
    let missing = send(&routes, get("/y")).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(missing).await["error"]["code"], "route.not_found");
    let wrong = send(&routes, post("/x", "text/plain", "")).await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers()[header::ALLOW], "GET, HEAD, OPTIONS");
    let options = send(&routes, request(Method::OPTIONS, "/x")).await;
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    assert_eq!(options.headers()[header::ALLOW], "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let response = ask("//! route GET /x\n\"four\"", request(Method::HEAD, "/x")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "6");
    assert_eq!(bytes(response).await, b"");
}

#[tokio::test]
async fn a_path_that_could_mean_two_things_is_refused() {
    let source = "//! route GET /files/*\nctx.request.rest";
    assert_eq!(ask(source, get("/files/../secret")).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(source, get("/files/%2e%2e/secret")).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(source, get("/files/%ff")).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json_of(ask(source, get("/files//a/b/")).await).await, json!("a/b"));
}

#[tokio::test]
async fn below_a_prefix_scripts_see_the_path_below_it() {
    let (cloud, _) = cloud(&[("script", "//! route GET /x\nctx.request.path")]).await;
    let routes = Router::new().nest("/apps/shop", router(&cloud, RouterConfig::default()));
    assert_eq!(json_of(send(&routes, get("/apps/shop/x")).await).await, json!("/x"));
    assert_eq!(bytes(send(&routes, get("/apps/shop/healthz")).await).await, b"ok");
}

#[tokio::test]
async fn what_the_host_keeps_to_itself_no_script_answers() {
    let (cloud, _) = cloud(&[("all", "//! route ANY /:a/:b\n1")]).await;
    let routes = router(&cloud, RouterConfig::default());
    assert_eq!(send(&routes, get("/x/y")).await.status(), StatusCode::OK);
    let unknown = send(&routes, get("/api/v7")).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(unknown).await["error"]["code"], "api.unknown_version");
    assert_eq!(json_of(send(&routes, get("/admin/x")).await).await["error"]["code"], "route.not_found");
}

#[tokio::test]
async fn health_readiness_and_version_are_answered() {
    let (cloud, _) = cloud(&[]).await;
    let routes = router(&cloud, RouterConfig::default());
    assert_eq!(bytes(send(&routes, get("/healthz")).await).await, b"ok");
    assert_eq!(send(&routes, get("/readyz")).await.status(), StatusCode::OK);
    let version = json_of(send(&routes, get("/version")).await).await;
    assert_eq!(
        version,
        json!({ "product": env!("CARGO_PKG_VERSION"), "sdk": "1.0", "api": 1, "schema": 0, "wire": 1, "public_base_url": null })
    );
    cloud.shutdown(Duration::from_secs(1)).await;
    assert_eq!(send(&routes, get("/readyz")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_failure_has_the_status_of_its_class_and_hides_its_message() {
    for (source, status, class) in [
        ("//! route GET /\nthrow \"my secret\"", StatusCode::BAD_GATEWAY, "runtime"),
        ("//! route GET /\nlet secret = 1; loop {}", StatusCode::INSUFFICIENT_STORAGE, "budget"),
        ("//! route GET /\n//! timeout 1\nsleep(5.0); \"secret\"", StatusCode::GATEWAY_TIMEOUT, "timeout"),
    ] {
        let response = ask(source, get("/")).await;
        assert_eq!(response.status(), status);
        let error = json_of(response).await;
        assert_eq!(error["error"]["class"], class);
        assert!(error["error"]["execution_id"].is_string());
        assert!(!error.to_string().contains("secret") && error["error"]["position"].is_null(), "{error}");
    }
}

#[tokio::test]
async fn exposed_errors_tell_message_and_position() {
    let (cloud, _) = cloud(&[("script", "//! route GET /\nlet x = 1;\n  throw `no ${x}`;")]).await;
    let routes = router(&cloud, RouterConfig::default().expose_errors(true));
    let error = json_of(send(&routes, get("/")).await).await;
    assert_eq!(error["error"]["message"], "no 1");
    assert_eq!(error["error"]["position"], json!({ "line": 3, "column": 3 }));
}

#[tokio::test]
async fn a_thrown_map_with_a_status_code_is_the_response() {
    let response = ask("//! route GET /\nthrow #{ statusCode: 418, body: \"tea\" }", get("/")).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
}

#[tokio::test]
async fn headers_that_would_break_the_message_fail_the_script() {
    for headers in
        ["#{ \"x\": \"a\\r\\nset-cookie: b=1\" }", "#{ \"content-length\": \"1\" }", "#{ \"a b\": \"c\" }"]
    {
        let source = format!("//! route GET /\n#{{ statusCode: 200, headers: {headers} }}");
        let response = ask(&source, get("/")).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{headers}");
    }
}

#[tokio::test]
async fn a_body_past_the_cap_is_413_announced_or_not() {
    let (cloud, _) = cloud(&[("script", "//! route POST /\nctx.request.body_raw.len()")]).await;
    let routes = router(&cloud, RouterConfig::default().max_body_bytes(10));
    assert_eq!(json_of(send(&routes, post("/", "text/plain", "0123456789")).await).await, json!(10));
    let announced =
        Request::post("/").header("content-length", "11").body(Body::from("0123456789x")).unwrap();
    assert_eq!(send(&routes, announced).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let streamed = http_body_util::StreamBody::new(futures_stream(vec!["01234567", "89x"]));
    let streamed =
        Request::post("/").header("transfer-encoding", "chunked").body(Body::new(streamed)).unwrap();
    assert_eq!(send(&routes, streamed).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// Frames, one by one.
fn futures_stream(
    parts: Vec<&'static str>,
) -> impl futures_util::Stream<Item = Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>> {
    futures_util::stream::iter(
        parts.into_iter().map(|part| Ok(http_body::Frame::data(bytes::Bytes::from_static(part.as_bytes())))),
    )
}

#[tokio::test]
async fn a_full_gate_is_503_with_retry_after() {
    let mut config = picloud_core::PicloudConfig::default();
    config.executor.gate.max_executions = 1;
    let cloud = Picloud::builder(MemoryBackend::new()).config(config).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    app.deploy(&Bundle::new().file("wait", "//! route GET /\n//! timeout 5\nsleep(4.0)").unwrap())
        .await
        .unwrap();
    let routes = router(&cloud, RouterConfig::default());
    let first = tokio::spawn({
        let routes = routes.clone();
        async move { send(&routes, get("/")).await }
    });
    while cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let refused = send(&routes, get("/")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(json_of(refused).await["error"]["class"], "overloaded");
    first.abort();
}

/// A script that tells when it is running, then waits for ever, and one that finishes.
async fn waiting() -> (Picloud, Router, Arc<tokio::sync::Notify>) {
    let began = Arc::new(tokio::sync::Notify::new());
    let tell = began.clone();
    let module =
        ScriptModule::new("test").function("began()", move |_: picloud_core::CallCx| tell.notify_one());
    let cloud = Picloud::builder(MemoryBackend::new()).script_module(module).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let source = "//! route ANY /\n//! timeout 20\ntest::began(); sleep(0.2); kv::collection(\"c\").set(\"done\", true);";
    app.deploy(&Bundle::new().file("wait", source).unwrap()).await.unwrap();
    let routes = router(&cloud, RouterConfig::default());
    (cloud, routes, began)
}

#[tokio::test]
async fn a_client_that_goes_away_ends_a_get_and_not_a_post() {
    for (method, survives) in [(Method::GET, false), (Method::POST, true)] {
        let (cloud, routes, began) = waiting().await;
        let asked = tokio::spawn(async move { send(&routes, request(method, "/")).await });
        began.notified().await;
        asked.abort();
        let _ = asked.await;
        // Nobody waits for it, so this is its end.
        cloud.shutdown(Duration::from_secs(5)).await;
        let done = cloud.app_by_slug("shop").unwrap().kv("c").unwrap().has("done").await.unwrap();
        assert_eq!(done, survives);
    }
}

#[tokio::test]
async fn a_script_is_run_by_id_only_for_known_callers_unless_opened() {
    let (cloud, app) = cloud(&[("script", "ctx.request.body.a + 1")]).await;
    let id = app.script("script").unwrap().record().id;
    let path = format!("/api/v1/execute/{id}");
    let run = |path: &str| post(path, "application/json", "{\"a\":1}");
    let closed = router(&cloud, RouterConfig::default());
    assert_eq!(send(&closed, run(&path)).await.status(), StatusCode::UNAUTHORIZED);
    let by = |principal: Principal| {
        let mut asked = run(&path);
        asked.extensions_mut().insert(Arc::new(principal));
        asked
    };
    let user = || Principal::new(PrincipalKind::User, "1", "ada");
    assert_eq!(send(&closed, by(Principal::caller("1", "ada"))).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(send(&closed, by(user())).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(json_of(send(&closed, by(user().member(app.id(), AppRole::Viewer))).await).await, json!(2));
    let open = router(&cloud, RouterConfig::default().open_execute(true));
    assert_eq!(json_of(send(&open, run(&path)).await).await, json!(2));
    let missing = send(&open, run(&format!("/api/v1/execute/{}", picloud_core::ScriptId::new()))).await;
    assert_eq!(
        (missing.status(), json_of(missing).await["error"]["code"].clone()),
        (StatusCode::NOT_FOUND, json!("script.not_found"))
    );
}

#[tokio::test]
async fn a_viewer_may_not_write_where_an_anonymous_visitor_may() {
    let (cloud, app) = cloud(&[("write", "//! route POST /\nkv::collection(\"c\").set(\"k\", 1)")]).await;
    let routes = router(&cloud, RouterConfig::default().expose_errors(true));
    assert_eq!(send(&routes, post("/", "text/plain", "")).await.status(), StatusCode::OK);
    let mut asked = post("/", "text/plain", "");
    asked
        .extensions_mut()
        .insert(Arc::new(Principal::new(PrincipalKind::User, "1", "ada").member(app.id(), AppRole::Viewer)));
    let refused = send(&routes, asked).await;
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
    assert!(json_of(refused).await["error"]["message"].as_str().unwrap().starts_with("forbidden"));
}

#[derive(Debug)]
struct BrokenLogin;

#[async_trait]
impl picloud_core::authz::PrincipalResolver for BrokenLogin {
    async fn resolve(&self, _: &http::HeaderMap) -> picloud_core::Result<Option<Principal>> {
        Err(picloud_core::Error::internal("the users are gone"))
    }

    async fn by_id(&self, _: &str) -> picloud_core::Result<Option<Principal>> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_login_that_is_down_makes_callers_anonymous() {
    let cloud = Picloud::builder(MemoryBackend::new()).principals(BrokenLogin).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    app.deploy(&Bundle::new().file("who", "//! route GET /\nctx.principal").unwrap()).await.unwrap();
    let response = send(&router(&cloud, RouterConfig::default()), get("/")).await;
    assert_eq!(json_of(response).await, json!(null));
}

#[tokio::test]
async fn several_apps_need_a_resolver() {
    let (cloud, _) = cloud(&[("script", "//! route GET /\n1")]).await;
    cloud.create_app("other").await.unwrap();
    let response = send(&router(&cloud, RouterConfig::default()), get("/")).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(response).await["error"]["code"], "app.not_found");
}
