//! `scripts::invoke`.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use picloud_core::engine::ScriptSandbox;
use picloud_core::execution::{ExecutionListOptions, ExecutionStatus, FailureClass};
use picloud_core::{App, PicloudConfig};
use serde_json::{Value, json};

use crate::{app_with, cloud, cloud_with, deploy, failure, run, value};

#[tokio::test]
async fn a_script_runs_another_and_gets_its_answer() {
    let app = app_with(&[
        ("double", "let n = ctx.request.body; if n == () { \"nothing\" } else { n * 2 }"),
        ("main", "[scripts::invoke(\"double\", 21), scripts::invoke(\"double\", 1.5), scripts::invoke(\"double\")]"),
    ])
    .await;
    assert_eq!(value(&app, "main").await, json!([42, 3.0, "nothing"]));
}

#[tokio::test]
async fn the_payload_is_the_body_and_the_rest_of_ctx_is_that_of_a_call() {
    let app = app_with(&[
        ("seen", "#{ type: ctx.invocation_type, body: ctx.request.body, raw: ctx.request.body_raw.len(),
            method: ctx.request.method, depth: ctx.trigger_depth, name: ctx.script_name, request: ctx.request_id,
            execution: ctx.execution_id, event: \"event\" in ctx, principal: ctx.principal }"),
        ("main", "let seen = scripts::invoke(\"seen\", #{ a: [1] });
            seen.request = seen.request == ctx.request_id; seen.execution = seen.execution == ctx.execution_id; seen"),
    ])
    .await;
    let wanted = json!({
        "type": "invoke", "body": { "a": [1] }, "raw": 9, "method": "", "depth": 0, "name": "seen",
        "request": true, "execution": false, "event": false, "principal": null,
    });
    assert_eq!(value(&app, "main").await, wanted);
}

#[tokio::test]
async fn failures_are_thrown_with_a_code() {
    let app = app_with(&[
        ("bad", "\nthrow #{ code: \"shop.sold_out\", message: \"no tea\" }"),
        ("m", "//! module\nfn f() { 1 }"),
        ("syntax", "1"),
        (
            "main",
            "let told = [];
            for name in [\"bad\", \"none\", \"m\"] {
                try { scripts::invoke(name, 1); } catch (e) { told.push([e.code, e.message]); }
            }
            told",
        ),
        ("uncaught", "scripts::invoke(\"bad\")"),
        ("types", "try { scripts::invoke(\"bad\", || 1); } catch (e) { return e.code; }"),
    ])
    .await;
    assert_eq!(
        value(&app, "main").await,
        json!([
            ["scripts.failed", "runtime: shop.sold_out: no tea (line 2, column 1)"],
            ["scripts.not_found", "the app has no script \"none\""],
            [
                "scripts.is_module",
                "a module is imported by other scripts; it is not run, and has no routes or triggers"
            ],
        ])
    );
    assert!(failure(&app, "uncaught").await.message.starts_with("scripts.failed: runtime: shop.sold_out"));
    assert!(value(&app, "types").await.as_str().unwrap().starts_with("json."));
}

#[tokio::test]
async fn scripts_of_other_apps_are_not_found() {
    let cloud = cloud().await;
    let (shop, blog) = (cloud.create_app("shop").await.unwrap(), cloud.create_app("blog").await.unwrap());
    deploy(&shop, &[("secret", "42")]).await;
    deploy(&blog, &[("main", "scripts::invoke(\"secret\")")]).await;
    assert!(failure(&blog, "main").await.message.starts_with("scripts.not_found"));
}

#[tokio::test]
async fn eight_executions_may_wait_for_each_other() {
    let source = "let n = ctx.request.body; if n == 0 { 0 } else { 1 + scripts::invoke(\"down\", n - 1) }";
    let app = app_with(&[("down", source)]).await;
    let down = app.script("down").unwrap();
    assert_eq!(down.call::<i64>(&8).await.unwrap(), 8);
    let error = down.call::<i64>(&9).await.unwrap_err();
    assert!(error.message().contains("scripts.depth_exceeded"), "{error}");
    let endless = ("endless", "try { return scripts::invoke(\"endless\"); } catch (e) { return e.code; }");
    deploy(&app, &[endless]).await;
    assert_eq!(value(&app, "endless").await, json!("scripts.depth_exceeded"));
}

fn operations(max: u64) -> ScriptSandbox {
    let mut sandbox = ScriptSandbox::default();
    sandbox.max_operations = Some(max);
    sandbox
}

#[tokio::test]
async fn the_invoked_lives_on_the_operations_of_its_caller() {
    let app = app_with(&[
        ("work", "for i in 0..1000 { } 1"),
        ("main", "let n = 0; loop { n += scripts::invoke(\"work\"); kv::collection(\"c\").set(\"n\", n); }"),
        ("spin", "loop { }"),
        ("waits", "try { scripts::invoke(\"spin\"); } catch (e) { return 1; }"),
    ])
    .await;
    app.set_sandbox("main", operations(10_000)).await.unwrap();
    let told = failure(&app, "main").await;
    assert_eq!((told.class, told.limit.unwrap().max), (FailureClass::Budget, 10_000));
    let rounds = app.kv("c").unwrap().get::<i64>("n").await.unwrap().unwrap();
    assert!((2..10).contains(&rounds), "{rounds}");
    // What the invoked used up is gone for its caller too: there is nothing left to catch it with.
    app.set_sandbox("waits", operations(5_000)).await.unwrap();
    let outcome = run(&app, "waits").await;
    assert_eq!(outcome.result.unwrap_err().class, FailureClass::Budget);
    // And the price of an invocation comes on top.
    assert!((6_000..=6_100).contains(&outcome.operations), "{}", outcome.operations);
}

#[tokio::test]
async fn the_invoked_lives_on_the_memory_of_its_caller() {
    let app = app_with(&[
        ("hold", "let a = #{}; let s = \"\"; s.pad(60000, 'x'); for i in 0..ctx.request.body { a[\"k\" + i] = s + i; } ctx.request.body"),
        ("main", "let a = #{}; let s = \"\"; s.pad(60000, 'x'); for i in 0..350 { a[\"k\" + i] = s + i; } scripts::invoke(\"hold\", 350)"),
        ("small", "scripts::invoke(\"hold\", 350)"),
    ])
    .await;
    assert_eq!(value(&app, "small").await, json!(350));
    let told = failure(&app, "main").await;
    assert!(told.message.contains("budget") && told.message.contains("max_memory"), "{told}");
}

#[tokio::test]
async fn the_invoked_ends_with_the_deadline_of_its_caller() {
    let app = app_with(&[
        ("slow", "sleep(20); 1"),
        ("main", "//! timeout 1\ntry { scripts::invoke(\"slow\"); } catch (e) { return 2; }"),
    ])
    .await;
    let begun = Instant::now();
    assert_eq!(failure(&app, "main").await.class, FailureClass::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_full_gate_is_an_error_and_not_a_deadlock() {
    let mut config = PicloudConfig::default();
    config.executor.gate.max_executions = 2;
    config.executor.threads = NonZeroUsize::MIN;
    let app = cloud_with(config).await.create_app("shop").await.unwrap();
    let source = "let n = ctx.request.body; if n == 0 { 0 } else { try { return 1 + scripts::invoke(\"down\", n - 1); } catch (e) { throw e.code + e.message; } }";
    deploy(&app, &[("down", source)]).await;
    let down = app.script("down").unwrap();
    assert_eq!(down.call::<i64>(&1).await.unwrap(), 1);
    let error = down.call::<i64>(&2).await.unwrap_err();
    assert!(error.message().contains("scripts.overloaded"), "{error}");
    assert_eq!(down.call::<i64>(&1).await.unwrap(), 1);
}

async fn records(
    app: &App,
    cloud: &picloud_core::Picloud,
    wanted: usize,
) -> Vec<picloud_core::execution::ExecutionRecord> {
    for _ in 0..2_000 {
        let page =
            cloud.backend().executions().list(app.id(), &ExecutionListOptions::default()).await.unwrap();
        if page.items.len() >= wanted {
            return page.items;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the records do not come");
}

#[tokio::test]
async fn both_executions_are_recorded_as_of_one_trace() {
    let cloud = cloud().await;
    let app = cloud.create_app("shop").await.unwrap();
    deploy(
        &app,
        &[("inner", "throw \"no\""), ("outer", "try { scripts::invoke(\"inner\"); } catch { return 1; }")],
    )
    .await;
    assert_eq!(value(&app, "outer").await, json!(1));
    let records = records(&app, &cloud, 2).await;
    let inner = records.iter().find(|record| record.status == ExecutionStatus::Error).unwrap();
    let outer = records.iter().find(|record| record.status == ExecutionStatus::Success).unwrap();
    assert_eq!((inner.trace, inner.parent), (outer.trace, Some(outer.id)));
}

#[tokio::test]
async fn modules_can_invoke_and_the_invoked_can_import() {
    let app = app_with(&[
        ("m", "//! module\nfn ask(n) { scripts::invoke(\"answer\", n) }"),
        ("plus", "//! module\nfn one(n) { n + 1 }"),
        ("answer", "import \"plus\" as p; p::one(ctx.request.body)"),
        ("main", "import \"m\" as m; m::ask(41)"),
    ])
    .await;
    assert_eq!(value(&app, "main").await, json!(42));
}

#[tokio::test]
async fn invoking_over_http_works_on_the_threads_that_serve() {
    let app = app_with(&[
        ("inner", "kv::collection(\"c\").increment(\"n\", 1)"),
        ("outer", "//! route GET /\nscripts::invoke(\"inner\")"),
    ])
    .await;
    for n in 1..=20 {
        let request = picloud_core::execution::HttpRequest::new(http::Method::GET, "/");
        let body: Value = serde_json::from_slice(&app.request(request).await.unwrap().body).unwrap();
        assert_eq!(body, json!(n));
    }
}
