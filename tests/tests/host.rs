//! What a host sees: apps, deployments, executions, services, shutdown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use picloud_core::alloc::CountingAllocator;
use picloud_core::execution::{Answer, ExecutionStatus, FailureClass, HttpRequest, Outcome};
use picloud_core::log::LogLevel;
use picloud_core::script::{Bundle, Change, DeployError};
use picloud_core::trigger::MAX_TRIGGERS;
use picloud_core::{App, ErrorKind, Picloud, PicloudConfig, engine::ScriptSandbox};
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

async fn world() -> World {
    world_with(PicloudConfig::default()).await
}

async fn world_with(config: PicloudConfig) -> World {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let cloud = Picloud::builder(backend.clone()).config(config).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let other = cloud.create_app("other").await.unwrap();
    World { backend, clock, cloud, app, other }
}

fn bundle(files: &[(&str, &str)]) -> Bundle {
    files.iter().try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source)).unwrap()
}

/// Deploys one script and runs it.
async fn run(app: &App, source: &str) -> Outcome {
    app.deploy(&bundle(&[("script", source)])).await.unwrap();
    let script = app.script("script").unwrap();
    script.execute(script.invocation()).await
}

async fn value(app: &App, source: &str) -> Value {
    match run(app, source).await.result {
        Ok(Answer::Value(value)) => value.to_value().unwrap(),
        other => panic!("{source}: {other:?}"),
    }
}

async fn error(app: &App, source: &str) -> String {
    run(app, source).await.result.unwrap_err().message
}

#[tokio::test]
async fn a_script_is_tested_in_three_lines() {
    let World { app, .. } = world().await;
    app.deploy(&bundle(&[("greet", "//! route GET /greet/:name\n`hello ${ctx.request.params.name}`")]))
        .await
        .unwrap();
    let response = app.request(HttpRequest::new(http::Method::GET, "/greet/ada")).await.unwrap();
    assert_eq!(response.body, "\"hello ada\"");
}

#[tokio::test]
async fn apps_share_neither_scripts_nor_routes_nor_values() {
    let World { app, other, .. } = world().await;
    app.deploy(&bundle(&[("write", "//! route GET /\nkv::collection(\"c\").set(\"k\", 1); 1")]))
        .await
        .unwrap();
    app.request(HttpRequest::new(http::Method::GET, "/")).await.unwrap();
    assert_eq!(other.script("write").unwrap_err().code(), "script.not_found");
    assert_eq!(
        other.request(HttpRequest::new(http::Method::GET, "/")).await.unwrap_err().code(),
        "route.not_found"
    );
    assert_eq!(value(&other, "kv::collection(\"c\").get(\"k\")").await, json!(null));
    assert_eq!(app.kv("c").unwrap().get::<i64>("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_slug_is_taken_once() {
    let World { cloud, .. } = world().await;
    let error = cloud.create_app("shop").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::AlreadyExists, "app.slug_taken"));
    assert_eq!(cloud.create_app("no slug").await.unwrap_err().code(), "app.invalid_slug");
    let again = cloud.ensure_app("shop").await.unwrap();
    assert_eq!(again.id(), cloud.app_by_slug("shop").unwrap().id());
}

#[tokio::test]
async fn one_bad_file_keeps_the_whole_old_set_and_every_mistake_is_told() {
    let World { app, .. } = world().await;
    app.deploy(&bundle(&[("a", "//! route GET /a\n\"old\""), ("b", "1")])).await.unwrap();
    let wrong = bundle(&[
        ("a", "//! route GET /a\n\"new\""),
        ("b", "let x = ;"),
        ("c", "//! route GET /{c}\n1"),
        ("d", "//! route GET /api/d\n1"),
    ]);
    let DeployError::Invalid(problems) = app.deploy(&wrong).await.unwrap_err() else { panic!() };
    let told: Vec<_> = problems
        .iter()
        .map(|p| (p.file.as_str(), p.position.map(|at| (at.line, at.column)), p.code.as_str()))
        .collect();
    assert_eq!(
        told,
        [("b.rhai", Some((1, 9)), "compile"), ("c.rhai", Some((1, 15)), "route.invalid_pattern")]
    );
    let response = app.request(HttpRequest::new(http::Method::GET, "/a")).await.unwrap();
    assert_eq!(response.body, "\"old\"");
    assert_eq!(app.script("c").unwrap_err().code(), "script.not_found");
}

#[tokio::test]
async fn routes_that_conflict_or_are_reserved_name_file_and_line() {
    let World { app, .. } = world().await;
    let conflict = bundle(&[("a", "//! route GET /x/:id\n1"), ("b", "// second\n//! route ANY /x/:name\n1")]);
    let text = app.deploy(&conflict).await.unwrap_err().to_string();
    assert!(text.starts_with("b.rhai:2:15: ") && text.contains("a.rhai:1:15"), "{text}");
    let reserved = app.deploy(&bundle(&[("a", "//! route GET /api/x\n1")])).await.unwrap_err();
    assert_eq!(reserved.problems()[0].code, "route.reserved_prefix");
}

#[tokio::test]
async fn unchanged_content_makes_no_new_version_and_a_missing_file_is_removed() {
    let World { app, .. } = world().await;
    let first = app.deploy(&bundle(&[("a", "//! route GET /a\n1"), ("b", "2")])).await.unwrap();
    assert_eq!((first.created.len(), first.routes.len(), first.warnings.len()), (2, 1, 1));
    let same = app.deploy(&bundle(&[("a", "//! route GET /a\n1"), ("b", "2")])).await.unwrap();
    assert!(!same.changed() && same.revision == first.revision, "{same}");
    let changed = app.deploy(&bundle(&[("a", "//! route GET /b\n1")])).await.unwrap();
    assert_eq!(changed.removed.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["b"]);
    let routes: Vec<_> = changed.routes.iter().map(|r| (r.route.path.as_str(), r.change)).collect();
    assert_eq!(routes, [("/b", Change::Added), ("/a", Change::Removed)]);
    assert_eq!(app.script("a").unwrap().record().version, 2);
    assert!(app.script("b").is_err());
}

#[tokio::test]
async fn folders_of_different_names_share_an_app_and_leave_each_other_alone() {
    let World { app, .. } = world().await;
    app.deploy(&bundle(&[("a", "//! route GET /a\n1")]).named("one")).await.unwrap();
    app.deploy(&bundle(&[("b", "2")]).named("two")).await.unwrap();
    assert!(app.script("a").is_ok() && app.script("b").is_ok());
    let taken = app.deploy(&bundle(&[("a", "3")]).named("two")).await.unwrap_err();
    assert_eq!(taken.problems()[0].code, "script.name_taken");
    let clash = app.deploy(&bundle(&[("c", "//! route GET /a\n3")]).named("two")).await.unwrap_err();
    assert_eq!(clash.problems()[0].code, "route.conflict");
}

#[tokio::test]
async fn a_running_execution_keeps_its_version_and_a_new_one_gets_the_new() {
    let World { app, clock, cloud, .. } = world().await;
    app.deploy(&bundle(&[("s", "sleep(5); \"old\"")])).await.unwrap();
    let old = app.script("s").unwrap();
    let running = tokio::spawn(async move { old.execute(old.invocation()).await });
    while cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    app.deploy(&bundle(&[("s", "\"new\"")])).await.unwrap();
    assert_eq!(app.script("s").unwrap().call::<String>(&()).await.unwrap(), "new");
    while !running.is_finished() {
        clock.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    assert!(matches!(running.await.unwrap().result, Ok(Answer::Value(value)) if value.as_str() == "\"old\""));
}

#[tokio::test]
async fn a_script_may_have_limits_of_its_own_up_to_the_ceiling() {
    let World { app, .. } = world().await;
    app.deploy(&bundle(&[("s", "let n = 0; for i in 0..1000000 { n += 1; } n")])).await.unwrap();
    let script = app.script("s").unwrap();
    assert_eq!(script.execute(script.invocation()).await.result.unwrap_err().class, FailureClass::Budget);
    let sandbox: ScriptSandbox = serde_json::from_value(json!({ "max_operations": 10_000_000 })).unwrap();
    let script = app.set_sandbox("s", sandbox).await.unwrap();
    assert!(script.execute(script.invocation()).await.result.is_ok());
    let above: ScriptSandbox = serde_json::from_value(json!({ "max_operations": 10_000_001 })).unwrap();
    let error = app.set_sandbox("s", above).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "sandbox.above_ceiling: a limit is above the ceiling of this instance (field: max_operations, requested: 10000001, ceiling: 10000000)"
    );
    assert!(
        serde_json::from_value::<ScriptSandbox>(json!({ "max_operation": 1 })).is_err(),
        "unknown fields are refused"
    );
}

#[tokio::test]
async fn ctx_has_every_key_in_the_shape_that_scripts_rely_on() {
    let World { app, .. } = world().await;
    let outcome = value(&app, "let c = ctx; c.request.keys()").await;
    let keys = [
        "body",
        "body_raw",
        "headers",
        "headers_all",
        "host",
        "method",
        "params",
        "path",
        "query",
        "query_all",
        "rest",
    ];
    assert_eq!(outcome, json!(keys));
    let keys = [
        "app_id",
        "execution_id",
        "invocation_type",
        "principal",
        "request",
        "request_id",
        "script_id",
        "script_name",
        "sdk_version",
        "trigger_depth",
    ];
    assert_eq!(value(&app, "ctx.keys()").await, json!(keys));
    assert_eq!(value(&app, "\"event\" in ctx").await, json!(false));
    let fixed = "[ctx.sdk_version, ctx.script_name, ctx.invocation_type, ctx.trigger_depth, ctx.principal, ctx.request.method, ctx.request.rest]";
    assert_eq!(value(&app, fixed).await, json!(["1.0", "script", "invoke", 0, null, "", ""]));
}

#[tokio::test]
async fn ctx_is_seen_inside_functions_and_closures_and_a_local_of_that_name_wins() {
    let World { app, .. } = world().await;
    assert_eq!(value(&app, "fn f() { ctx.script_name } f()").await, json!("script"));
    assert_eq!(value(&app, "let f = || ctx.script_name; f.call()").await, json!("script"));
    assert_eq!(value(&app, "fn f(ctx) { ctx } f(7)").await, json!(7));
    assert_eq!(value(&app, "fn f() { let ctx = 8; ctx } f()").await, json!(8));
}

#[tokio::test]
async fn kv_is_what_the_reference_says_it_is() {
    let World { app, clock, .. } = world().await;
    let script = r#"
        let c = kv::collection("c");
        c.set("a", #{ n: 1, f: 1.0, t: "ü", u: (), l: [] });
        c.set("b", 2, #{ ttl_seconds: 60 });
        let out = [c.get("a"), c.get("none"), c.has("b"), c.increment("n"), c.increment("n", 41)];
        out += [c.compare_and_set("b", 2, 3), c.compare_and_set("b", 2, 4), c.compare_and_set("new", (), 1)];
        out += [c.get_many(["b", "none", "b"]), c.delete("new"), c.delete("new")];
        let page = c.list(#{ limit: 2 });
        let next = c.list(#{ limit: 2, cursor: page.cursor });
        out.push([page.items.map(|i| i.key), next.items.map(|i| i.key), next.cursor]);
        out.push(c.list(#{ prefix: "a" }).items);
        out
    "#;
    let a = json!({ "n": 1, "f": 1.0, "t": "ü", "u": null, "l": [] });
    let expected = json!([
        a, null, true, 1, 42, true, false, true, [3, null, 3], true, false,
        [["a", "b"], ["n"], null], [{ "key": "a", "value": a }]
    ]);
    assert_eq!(value(&app, script).await, expected);
    clock.advance(Duration::from_secs(61));
    assert_eq!(value(&app, "kv::collection(\"c\").has(\"b\")").await, json!(false));
}

#[tokio::test]
async fn kv_refuses_what_is_wrong_with_a_code_and_the_argument() {
    let World { app, .. } = world().await;
    for (call, code) in [
        ("kv::collection(\"\")", "collection.invalid_name"),
        ("kv::collection(\"a/b\")", "collection.invalid_name"),
        ("kv::collection(\"c\").get(\"\")", "kv.invalid_key"),
        ("let k = \"x\"; k.pad(513, \"x\"); kv::collection(\"c\").set(k, 1)", "kv.invalid_key"),
        ("kv::collection(\"c\").get(7)", "invalid_argument"),
        ("kv::collection(\"c\").set(\"k\", || 1)", "json.invalid"),
        ("kv::collection(\"c\").set(\"k\", 0.0/0.0)", "json.invalid"),
        ("kv::collection(\"c\").set(\"k\", \"a\\x00b\")", "json.invalid"),
        ("kv::collection(\"c\").set(\"k\", 1, #{ ttl_seconds: 0 })", "kv.invalid_ttl"),
        ("kv::collection(\"c\").set(\"k\", 1, #{ ttl: 1 })", "invalid_argument"),
        (
            "kv::collection(\"c\").set(\"t\", \"x\"); kv::collection(\"c\").increment(\"t\")",
            "kv.not_an_integer",
        ),
        (
            "kv::collection(\"c\").set(\"m\", 9223372036854775807); kv::collection(\"c\").increment(\"m\")",
            "kv.overflow",
        ),
        ("kv::collection(\"c\").list(#{ cursor: \"made up\" })", "kv.invalid_cursor"),
    ] {
        let caught =
            format!("let r = (); try {{ {call}; }} catch (e) {{ r = [e.code, e.message.len() > 10]; }} r");
        assert_eq!(value(&app, &caught).await, json!([code, true]), "{call}");
        assert!(error(&app, call).await.starts_with(&format!("{code}: ")), "{call}");
    }
    let large = "let t = \"x\"; t.pad(60000, \"x\"); let a = []; for i in 0..20 { a.push(t); } kv::collection(\"c\").set(\"k\", a)";
    assert!(error(&app, large).await.starts_with("kv.value_too_large: "));
}

#[tokio::test]
async fn what_a_script_logs_is_in_its_record_with_its_data() {
    let World { app, cloud, backend, .. } = world().await;
    let outcome =
        run(&app, "log::warn(\"low\", #{ left: 2 }); print(\"p\"); debug(\"d\"); throw \"end\"").await;
    let lines: Vec<_> = outcome
        .log
        .lines
        .iter()
        .map(|line| (line.level, line.message.as_str(), line.data.as_ref().map(|d| d.as_str())))
        .collect();
    assert_eq!(
        lines,
        [
            (LogLevel::Warn, "low", Some("{\"left\":2}")),
            (LogLevel::Info, "p", None),
            (LogLevel::Trace, "\"d\"", None),
        ]
    );
    cloud.execution_log().flush().await;
    let records = backend.execution_records(app.id());
    let record = records.last().unwrap();
    assert_eq!(
        (record.id, record.status, record.class),
        (outcome.execution, ExecutionStatus::Error, Some(FailureClass::Runtime))
    );
    assert_eq!((record.error.as_deref(), record.log.lines.len(), record.script_version), (Some("end"), 3, 1));
}

#[tokio::test]
async fn every_outcome_leaves_a_record_in_its_own_app() {
    let World { app, other, cloud, backend, .. } = world().await;
    for source in ["1", "throw 1", "loop {}", "no_such_function()"] {
        run(&app, source).await;
    }
    cloud.execution_log().flush().await;
    let statuses: Vec<_> = backend.execution_records(app.id()).iter().map(|record| record.status).collect();
    use ExecutionStatus::{BudgetExceeded, Error, Success};
    assert_eq!(statuses, [Success, Error, BudgetExceeded, Error]);
    assert!(backend.execution_records(other.id()).is_empty());
}

#[tokio::test]
async fn a_log_past_its_limit_says_how_much_was_dropped() {
    let World { app, .. } = world().await;
    let outcome = run(&app, "for i in 0..1500 { log::info(\"line\"); }").await;
    assert_eq!((outcome.log.lines.len(), outcome.log.dropped), (1_000, 500));
}

#[tokio::test]
async fn shutdown_lets_scripts_finish_within_its_deadline_and_refuses_new_ones() {
    let World { app, cloud, clock, .. } = world().await;
    app.deploy(&bundle(&[("s", "sleep(1); \"done\"")])).await.unwrap();
    let script = app.script("s").unwrap();
    let running = tokio::spawn({
        let script = script.clone();
        async move { script.execute(script.invocation()).await }
    });
    while cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let ending = tokio::spawn({
        let cloud = cloud.clone();
        async move { cloud.shutdown(Duration::from_secs(20)).await }
    });
    while cloud.ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
    let refused = script.execute(script.invocation()).await;
    assert_eq!(refused.result.unwrap_err().class, FailureClass::Cancelled);
    while !running.is_finished() {
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert!(running.await.unwrap().result.is_ok());
    ending.await.unwrap();
}

#[tokio::test]
async fn a_script_that_does_not_finish_is_ended_by_shutdown() {
    let World { app, cloud, .. } = world().await;
    app.deploy(&bundle(&[("s", "sleep(1000)")])).await.unwrap();
    let script = app.script("s").unwrap();
    let running = tokio::spawn(async move { script.execute(script.invocation()).await });
    while cloud.executor().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    cloud.shutdown(Duration::from_millis(20)).await;
    assert_eq!(running.await.unwrap().result.unwrap_err().class, FailureClass::Cancelled);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_threads() {
    let World { app, other, cloud, backend, .. } = world().await;
    drop((app, other, cloud, backend));
    let threads = || {
        let names = std::fs::read_dir("/proc/self/task").unwrap();
        names
            .filter(|task| {
                let path = task.as_ref().unwrap().path().join("comm");
                std::fs::read_to_string(path).is_ok_and(|name| name.starts_with("picloud-"))
            })
            .count()
    };
    for _ in 0..2_000 {
        if threads() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{} threads are left", threads());
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_with_its_size() {
    let mut config = PicloudConfig::default();
    config.limits.max_memory = 16 << 20;
    let world = world_with(config).await;
    world.app.deploy(&bundle(&[("script", "ctx.request.body.len()")])).await.unwrap();
    let mut request = HttpRequest::new(http::Method::POST, "/");
    request.headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    request.body = format!("[{}{{}}]", "{\"a\":0},".repeat(500_000)).into();

    let script = world.app.script("script").unwrap();
    let outcome = script.execute(script.invocation().request(request)).await;

    // It stops before the first operation: the size has to be read then, too.
    assert!(outcome.peak_memory > 15 << 20, "{} bytes", outcome.peak_memory);
    let message = outcome.result.unwrap_err().message;
    assert!(message.starts_with("the script held 1"), "{message}");
    world.cloud.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_app_has_so_many_triggers_and_no_more() {
    let world = world().await;
    let lines = |files: std::ops::Range<usize>, line: fn(usize) -> String| {
        files.fold(Bundle::new(), |bundle, file| {
            let source: String = (0..200).map(|n| line(file * 200 + n)).collect();
            bundle.file(&format!("file-{file}"), source).unwrap()
        })
    };
    let hears = |n| format!("//! on pubsub t{n}\n");
    let app = &world.app;
    app.deploy(&lines(0..MAX_TRIGGERS / 200, hears)).await.unwrap();
    // In another folder, too; and what a folder had before does not count twice.
    let one = bundle(&[("one", "//! on kv orders\n//! cron @daily\n1")]);
    let refused = app.deploy(&one.clone().named("more")).await.unwrap_err();
    let problem = &refused.problems()[0];
    assert_eq!(
        (&*problem.code, &*problem.file, refused.problems().len()),
        ("trigger.too_many", "one.rhai", 1)
    );
    assert_eq!(problem.position.unwrap().line, 1);
    app.deploy(&lines(0..MAX_TRIGGERS / 200, |n| format!("//! on kv k{n}\n"))).await.unwrap();
    app.deploy(&lines(0..MAX_TRIGGERS / 200 - 1, hears)).await.unwrap();
    app.deploy(&one.named("more")).await.unwrap();
    // Another app has its own.
    world.other.deploy(&lines(0..MAX_TRIGGERS / 200, hears)).await.unwrap();
}
