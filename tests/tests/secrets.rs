//! Secrets as scripts have them: good for headers, for signing and comparing, and for nothing from which they could be
//! told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::{IntoResponse, Redirect};
use axum::routing::any;
use picloud_core::alloc::CountingAllocator;
use picloud_core::authz::{AppRole, Principal, PrincipalKind};
use picloud_core::execution::{Answer, HttpRequest, Outcome};
use picloud_core::http::HttpConfig;
use picloud_core::script::Bundle;
use picloud_core::secrets::{SealedSecret, SecretKeys, SecretName};
use picloud_core::{App, Backend, Picloud};
use picloud_memory::MemoryBackend;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

/// No part of this may ever be seen.
const VALUE: &str = "hush-4711-hush";

struct World {
    cloud: Picloud,
    app: App,
    backend: MemoryBackend,
    server: SocketAddr,
    /// What the server was sent as authorization, request by request.
    sent: Arc<Mutex<Vec<Option<String>>>>,
}

fn keys() -> SecretKeys {
    SecretKeys::new("1", &[7; 32]).unwrap()
}

async fn world() -> World {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let sent: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = sent.clone();
    let router = axum::Router::new().fallback(any(async move |request: Request| {
        let header = request.headers().get("authorization");
        seen.lock().unwrap().push(header.map(|value| value.to_str().unwrap().to_owned()));
        match request.uri().path() {
            "/here" => Redirect::temporary("/end").into_response(),
            "/away" => {
                Redirect::temporary(&format!("http://localhost:{}/end", server.port())).into_response()
            }
            _ => "fine".into_response(),
        }
    }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = HttpConfig::default();
    config.allow_private = true;
    let backend = MemoryBackend::new();
    let cloud = Picloud::builder(backend.clone()).http(config).secrets(keys()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    app.secrets().set("key", VALUE, ["127.0.0.1", "*.mail.example"]).await.unwrap();
    app.secrets().set("local", "only to sign", [""; 0]).await.unwrap();
    World { cloud, app, backend, server, sent }
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

    async fn code(&self, source: &str) -> Value {
        let caught = self
            .value(&format!("try {{ {source}; return #{{ code: \"none\" }}; }} catch (e) {{ return e; }}"))
            .await;
        assert!(!caught.to_string().contains("4711"), "{source}: {caught}");
        caught["code"].clone()
    }
}

#[tokio::test]
async fn a_header_carries_a_secret_to_its_host() {
    let world = world().await;
    let call = r#"http::get("@/", #{ headers: #{ Authorization: secrets::get("key").with_prefix("Bearer ") } }).status"#;
    assert_eq!(world.value(call).await, json!(200));
    assert_eq!(*world.sent.lock().unwrap(), [Some(format!("Bearer {VALUE}"))]);
}

#[tokio::test]
async fn it_goes_to_no_other_host_and_not_on_with_a_redirect() {
    let world = world().await;
    let send = |secret: &str, url: &str| {
        format!("http::get(\"{url}\", #{{ headers: #{{ authorization: secrets::get(\"{secret}\") }} }})")
    };
    assert_eq!(world.code(&send("local", "@/")).await, "http.secret_not_for_host");
    assert_eq!(
        world.code(&send("key", &format!("http://localhost:{}/", world.server.port()))).await,
        "http.secret_not_for_host"
    );
    assert_eq!(world.code(&send("key", "https://example.com/")).await, "http.secret_not_for_host");
    assert!(world.sent.lock().unwrap().is_empty(), "nothing was sent");

    assert_eq!(world.code(&send("key", "@/here")).await, "none");
    assert_eq!(world.code(&send("key", "@/away")).await, "none");
    let with = Some(VALUE.to_owned());
    assert_eq!(*world.sent.lock().unwrap(), [with.clone(), with.clone(), with, None]);
}

#[tokio::test]
async fn it_is_not_sent_in_the_clear() {
    let cloud = Picloud::builder(MemoryBackend::new())
        .http(HttpConfig::default())
        .secrets(keys())
        .start()
        .await
        .unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    app.secrets().set("key", VALUE, ["a.mail.example"]).await.unwrap();
    let source = r#"
        try { http::get("http://a.mail.example/", #{ headers: #{ a: secrets::get("key") } }); } catch (e) { return e.code; }
    "#;
    app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    assert_eq!(app.script("script").unwrap().call::<String>(&()).await.unwrap(), "http.secret_needs_https");
}

#[tokio::test]
async fn it_signs_and_compares() {
    let world = world().await;
    let plain = world.value(&format!("crypto::hmac_sha256(\"{VALUE}\", \"data\")")).await;
    assert_eq!(world.value(r#"crypto::hmac_sha256(secrets::get("key"), "data")"#).await, plain);
    let told = world
        .value(r#"try { crypto::hmac_sha256((), "data") } catch (problem) { return problem.message; }"#)
        .await;
    assert!(told.as_str().unwrap().contains("expected a string, a blob or a secret"), "{told}");
    let prefixed = world.value(&format!("crypto::hmac_sha256(\"AWS4{VALUE}\", \"data\")")).await;
    assert_eq!(
        world.value(r#"crypto::hmac_sha256(secrets::get("key").with_prefix("AWS4"), "data")"#).await,
        prefixed
    );
    for (compared, same) in [
        (format!("crypto::equals(secrets::get(\"key\"), \"{VALUE}\")"), true),
        (format!("crypto::equals(\"{VALUE}\".to_blob(), secrets::get(\"key\"))"), true),
        ("crypto::equals(secrets::get(\"key\"), secrets::get(\"key\"))".to_owned(), true),
        ("crypto::equals(secrets::get(\"key\"), secrets::get(\"local\"))".to_owned(), false),
        ("crypto::equals(secrets::get(\"key\"), \"\")".to_owned(), false),
    ] {
        assert_eq!(world.value(&compared).await, json!(same), "{compared}");
    }
}

/// Whatever a script does with it, it learns the name at most.
#[tokio::test]
async fn nothing_tells_what_it_is() {
    let world = world().await;
    let uses = [
        "print(s)",
        "debug(s)",
        "log::info(s)",
        "log::info(\"x\", #{ a: s })",
        "s.to_string()",
        "s.to_debug()",
        "`${s}`",
        "\"\" + s",
        "s + \"\"",
        "let t = \"\"; t += s; t",
        "[s].to_string()",
        "#{ a: s }.to_json()",
        "[s]",
        "#{ a: s }",
        "s",
        "s == \"x\"",
        "s == s",
        "s != s",
        "s < s",
        "s in [s]",
        "[s].contains(s)",
        "[s, s].sort(); 1",
        "s.len()",
        "s.bytes",
        "s[0]",
        "s.expose()",
        "s.name",
        "s.to_blob()",
        "s.chars()",
        "for c in s { return c; }",
        "type_of(s)",
        "json::stringify(s)",
        "json::stringify([s])",
        "base64::encode(s)",
        "hex::encode(s)",
        "url::encode(s)",
        "url::build_query(#{ a: s })",
        "regex::is_match(\".*\", s)",
        "regex::is_match(s, \"\")",
        "crypto::sha256(s)",
        "crypto::hmac_sha256(\"known\", s)",
        "time::parse(s)",
        "kv::collection(\"c\").set(\"k\", s)",
        "kv::collection(\"c\").set(\"k\", [s])",
        "kv::collection(s)",
        "docs::collection(\"c\").create(#{ a: s })",
        "pubsub::publish_durable(\"t\", s)",
        "http::post(\"@/\", s)",
        "http::post(\"@/\", [s])",
        "http::get(s)",
        "http::get(\"@/\", #{ query: #{ a: s } })",
        "http::get(\"@/\", #{ headers: #{ a: [s] } })",
        "http::get(\"@/\", s)",
        "secrets::get(s)",
        "sleep(s)",
        "throw s",
        "throw #{ statusCode: 500, body: s }",
        "#{ statusCode: 200, headers: #{ a: s }, body: \"\" }",
        "#{ statusCode: 200, body: s }",
        "let f = |x| x; f.curry(s).to_string()",
        "s.with_prefix(\"a\").to_string()",
        "s.with_prefix(s)",
        "let a = blob(3); a += s; a",
        "\"abc\".replace(\"b\", s)",
        "\"a\".split(s)",
        "assert(s)",
    ];
    for code in uses {
        let source = format!("let s = secrets::get(\"key\"); {code}");
        let outcome = world.run(&source).await;
        let told = format!("{outcome:?}");
        assert!(!told.contains("4711") && !told.contains("52, 55, 49, 49"), "{code}: {told}");
        let script = world.app.script("script").unwrap();
        let answered = format!("{:?}", script.request(HttpRequest::default()).await);
        assert!(!answered.contains("4711"), "{code}: {answered}");
    }
    for (code, text) in [("s.to_string()", "secret key"), ("`${s}`", "secret key"), ("type_of(s)", "Secret")]
    {
        assert_eq!(
            world.value(&format!("let s = secrets::get(\"key\"); {code}")).await,
            json!(text),
            "{code}"
        );
    }
    for code in [
        "s",
        "[s]",
        "kv::collection(\"c\").set(\"k\", s)",
        "json::stringify(s)",
        "crypto::sha256(s)",
        "s.len()",
    ] {
        let outcome = world.run(&format!("let s = secrets::get(\"key\"); {code}")).await;
        assert!(outcome.result.is_err(), "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_it_has_a_code() {
    let world = world().await;
    for (call, code) in [
        (r#"secrets::get("none")"#, "secrets.not_found"),
        (r#"secrets::get("a b")"#, "secrets.invalid_name"),
        (r#"secrets::get("key").with_prefix("x".pad(300, "x"))"#, "invalid_argument"),
        (r#"let p = ""; p.pad(257, "x"); secrets::get("key").with_prefix(p)"#, "secrets.prefix_too_long"),
        (
            r#"let p = ""; p.pad(200, "x"); secrets::get("key").with_prefix(p).with_prefix(p)"#,
            "secrets.prefix_too_long",
        ),
        (r#"http::get("@/", #{ headers: #{ host: secrets::get("key") } })"#, "http.header_not_allowed"),
        (
            r#"http::get("@/", #{ headers: #{ a: secrets::get("key").with_prefix("\n") } })"#,
            "http.invalid_header",
        ),
    ] {
        assert_eq!(world.code(call).await, code, "{call}");
    }
    let secrets = world.app.secrets();
    let code = |result: picloud_core::Result<()>| result.unwrap_err().code().to_owned();
    assert_eq!(code(secrets.set("", "x", ["a.example"]).await), "secrets.invalid_name");
    assert_eq!(code(secrets.set("a", "", ["a.example"]).await), "secrets.invalid_value");
    assert_eq!(code(secrets.set("a", vec![1; 20_000], ["a.example"]).await), "secrets.invalid_value");
    assert_eq!(code(secrets.set("a", "x", ["*"]).await), "secrets.invalid_host");
    assert_eq!(code(secrets.set("a", "x", [""]).await), "secrets.invalid_host");
    assert_eq!(code(secrets.set("a", "x", ["https://a.example"]).await), "secrets.invalid_host");
    assert_eq!(
        code(secrets.set("a", "x", (0..33).map(|n| format!("{n}.example"))).await),
        "secrets.invalid_host"
    );
    for n in 0..198 {
        secrets.set(&format!("n{n}"), "x", [""; 0]).await.unwrap();
    }
    assert_eq!(code(secrets.set("one-more", "x", [""; 0]).await), "secrets.too_many");
    secrets.set("key", "another", [""; 0]).await.unwrap();
}

#[tokio::test]
async fn an_app_has_its_own_and_hosts_list_names_only() {
    let world = world().await;
    let other = world.cloud.create_app("blog").await.unwrap();
    assert_eq!(other.secrets().list().await.unwrap(), []);
    let source = r#"try { secrets::get("key"); } catch (e) { return e.code; }"#;
    other.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    assert_eq!(other.script("script").unwrap().call::<String>(&()).await.unwrap(), "secrets.not_found");
    let list = world.app.secrets().list().await.unwrap();
    let told: Vec<_> = list.iter().map(|info| (info.name.as_str(), info.hosts.len())).collect();
    assert_eq!(told, [("key", 2), ("local", 0)]);
    assert!(world.app.secrets().delete("local").await.unwrap());
    assert!(!world.app.secrets().delete("local").await.unwrap());
}

#[tokio::test]
async fn what_is_stored_is_sealed_and_cannot_be_moved() {
    let world = world().await;
    let (store, app) = (world.backend.secrets(), world.app.id());
    let key = SecretName::new("key").unwrap();
    let stored = store.get(app, &key).await.unwrap().unwrap();
    assert!(!stored.sealed.windows(VALUE.len()).any(|part| part == VALUE.as_bytes()));
    assert!(!format!("{stored:?}").contains("sealed"));
    // Another host, another name, another app.
    let moved = |change: &dyn Fn(&mut SealedSecret)| {
        let mut secret = stored.clone();
        change(&mut secret);
        secret
    };
    let elsewhere = moved(&|secret| secret.hosts.push("evil.example".to_owned()));
    store.put(app, &elsewhere, None).await.unwrap();
    assert_eq!(world.code(r#"secrets::get("key")"#).await, "secrets.unreadable");
    store.put(app, &moved(&|secret| secret.name = SecretName::new("kex").unwrap()), None).await.unwrap();
    assert_eq!(world.code(r#"secrets::get("kex")"#).await, "secrets.unreadable");
    store.put(app, &stored, None).await.unwrap();
    assert_eq!(world.code(r#"secrets::get("key")"#).await, "none");
    let other = world.cloud.create_app("blog").await.unwrap();
    store.put(other.id(), &stored, None).await.unwrap();
    assert_eq!(other.secrets().reseal().await.unwrap_err().code(), "secrets.unreadable");
}

#[tokio::test]
async fn keys_are_changed_without_a_gap() {
    let world = world().await;
    let with = |keys: SecretKeys| Picloud::builder(world.backend.clone()).secrets(keys).start();
    let both = SecretKeys::new("2", &[8; 32]).unwrap().or("1", &[7; 32]).unwrap();
    let cloud = with(both).await.unwrap();
    let app = cloud.app(world.app.id());
    assert_eq!(app.secrets().reseal().await.unwrap(), 2);
    assert_eq!(app.secrets().reseal().await.unwrap(), 0);
    let cloud = with(SecretKeys::new("2", &[8; 32]).unwrap()).await.unwrap();
    let source = format!("crypto::equals(secrets::get(\"key\"), \"{VALUE}\")");
    let app = cloud.app(world.app.id());
    app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    assert!(app.script("script").unwrap().call::<bool>(&()).await.unwrap());
    // Who has only the old one has none.
    assert_eq!(world.code(r#"secrets::get("key")"#).await, "secrets.unreadable");
}

#[tokio::test]
async fn whoever_may_not_is_refused_and_a_host_without_a_key_has_none() {
    let world = world().await;
    let source = "type_of(secrets::get(\"key\"))";
    world.app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    let script = world.app.script("script").unwrap();
    let ask = async |principal: Principal| {
        let mut invocation = script.invocation();
        invocation.principal = Some(Arc::new(principal));
        script.execute(invocation).await.result.is_ok()
    };
    let user = || Principal::new(PrincipalKind::User, "u", "ada");
    assert!(!ask(user()).await);
    assert!(ask(user().member(world.app.id(), AppRole::Viewer)).await);

    let cloud = Picloud::builder(MemoryBackend::new()).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    assert_eq!(app.secrets().set("a", "x", [""; 0]).await.unwrap_err().code(), "secrets.not_enabled");
}
