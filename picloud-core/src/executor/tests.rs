//! The executor as a whole: what its contract says, on real threads.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::cache::Compiler;
use crate::engine::compile::Toolbox;
use crate::engine::{Limits, ScriptModule};
use crate::execution::{HttpRequest, HttpResponse};
use crate::script::{Owner, ScriptKind, ScriptName, ScriptRecord};
use crate::{AppId, CallCx, ScriptId, SystemClock};

#[global_allocator]
static ALLOCATOR: crate::alloc::CountingAllocator = crate::alloc::CountingAllocator::system();

pub(crate) fn executor_with(limits: Limits, gate: GateConfig, modules: Vec<ScriptModule>) -> LocalExecutor {
    executor_of(Toolbox::new(limits, modules).unwrap(), gate)
}

pub(crate) fn executor_of(toolbox: Toolbox, gate: GateConfig) -> LocalExecutor {
    let toolbox = Arc::new(toolbox);
    let size = NonZeroUsize::new(256).unwrap();
    let cache = Arc::new(ScriptCache::new(toolbox, size, Compiler::new(Handle::current())));
    let config = ExecutorConfig { threads: NonZeroUsize::new(2).unwrap(), gate };
    LocalExecutor::start(
        config,
        cache,
        Arc::new(SystemClock),
        ExecutionLog::new(crate::execution::ExecutionLogConfig::default()),
    )
    .unwrap()
}

pub(crate) fn executor() -> LocalExecutor {
    executor_with(Limits::default(), GateConfig::default(), Vec::new())
}

pub(crate) fn script(source: &str) -> Arc<ScriptRecord> {
    Arc::new(ScriptRecord {
        id: ScriptId::new(),
        name: ScriptName::new("test").unwrap(),
        kind: ScriptKind::Endpoint,
        source: source.into(),
        version: 1,
        sandbox: Default::default(),
        timeout_seconds: Some(2),
        owner: Owner::Api,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    })
}

pub(crate) async fn run(executor: &LocalExecutor, source: &str) -> Outcome {
    executor.run(Invocation::new(AppId::new(), script(source))).await
}

pub(crate) async fn value(executor: &LocalExecutor, source: &str) -> String {
    match run(executor, source).await.result.unwrap() {
        Answer::Value(json) => json.to_string(),
        Answer::Response(response) => panic!("{response:?}"),
    }
}

pub(crate) async fn failure(executor: &LocalExecutor, source: &str) -> Failure {
    run(executor, source).await.result.unwrap_err()
}

#[tokio::test]
async fn the_last_expression_is_the_answer() {
    assert_eq!(value(&executor(), "let name = \"ada\"; `hello ${name}`").await, "\"hello ada\"");
}

#[tokio::test]
async fn a_script_runs_in_place_when_polled_on_an_executor_thread() {
    let executor = executor();
    let handle = executor.runtimes().next().unwrap().clone();
    let on_thread = executor.clone();
    let answer = handle.spawn(async move { value(&on_thread, "1 + 1").await }).await.unwrap();
    assert_eq!(answer, "2");
}

#[tokio::test]
async fn an_endless_loop_is_stopped_by_the_operation_budget() {
    let failure = failure(&executor(), "loop {}").await;
    assert_eq!(failure.class, FailureClass::Budget);
    assert_eq!(failure.limit.unwrap().limit, "max_operations");
}

#[tokio::test]
async fn operations_inside_callbacks_of_natives_count() {
    let failure = failure(&executor(), "let a = []; a.pad(10000, 1); loop { a.map(|x| { x + 1 }); }").await;
    assert_eq!(failure.limit.unwrap().limit, "max_operations");
}

#[tokio::test]
async fn a_stop_cannot_be_caught() {
    let failure = failure(&executor(), "try { loop {} } catch (e) { } 1").await;
    assert_eq!(failure.class, FailureClass::Budget);
}

#[tokio::test]
async fn a_spinning_script_is_stopped_at_its_deadline() {
    let mut limits = Limits::default();
    limits.max_operations = u64::MAX;
    let executor = executor_with(limits, GateConfig::default(), Vec::new());
    let mut record = (*script("loop {}")).clone();
    record.timeout_seconds = Some(1);
    let started = Instant::now();
    let outcome = executor.run(Invocation::new(AppId::new(), Arc::new(record))).await;
    assert_eq!(outcome.result.unwrap_err().class, FailureClass::Timeout);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_sleeping_script_is_stopped_at_its_deadline_too() {
    let executor = executor();
    let mut record = (*script("sleep(60); 1")).clone();
    record.timeout_seconds = Some(1);
    let outcome = executor.run(Invocation::new(AppId::new(), Arc::new(record))).await;
    assert_eq!(outcome.result.unwrap_err().class, FailureClass::Timeout);
}

#[tokio::test]
async fn scripts_wait_together_on_few_threads() {
    let executor = executor();
    let (app, script) = (AppId::new(), script("sleep(0.2); 1"));
    let started = Instant::now();
    let runs: Vec<_> =
        (0..1000).map(|_| tokio::spawn(executor.run(Invocation::new(app, script.clone())))).collect();
    for run in runs {
        assert!(run.await.unwrap().result.is_ok());
    }
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "a thousand waits of 0.2 s took {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn memory_held_at_once_is_bounded() {
    let mut limits = Limits::default();
    limits.max_memory = 4 << 20;
    let executor = executor_with(limits, GateConfig::default(), Vec::new());
    let failure = failure(
        &executor,
        "let a = []; let s = \"x\"; s.pad(60000, 'x'); for i in 0..9000 { a.push(s + i); }",
    )
    .await;
    assert_eq!(failure.class, FailureClass::Budget, "{failure}");
}

#[tokio::test]
async fn deep_recursion_ends_with_the_limit_of_call_levels() {
    let failure = failure(&executor(), "fn f(n) { f(n + 1) } f(0)").await;
    assert_eq!(failure.limit.unwrap().limit, "max_call_levels");
}

#[tokio::test]
async fn a_dropped_future_stops_a_spinning_script() {
    let mut limits = Limits::default();
    limits.max_operations = u64::MAX;
    let executor = executor_with(limits, GateConfig::default(), Vec::new());
    let running = tokio::spawn(executor.run(Invocation::new(AppId::new(), script("loop {}"))));
    while executor.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    running.abort();
    tokio::time::timeout(Duration::from_secs(1), executor.shared.gate.wait_idle()).await.expect("it goes on");
}

#[tokio::test]
async fn a_detached_script_runs_on_after_its_caller_has_gone() {
    let executor = executor();
    let mut invocation = Invocation::new(AppId::new(), script("sleep(0.1); 1"));
    invocation.detach_on_drop = true;
    let running = tokio::spawn(executor.run(invocation));
    while executor.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    // Given that it waits.
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.abort();
    let _ = running.await;
    assert_eq!(executor.in_flight(), 1);
    tokio::time::timeout(Duration::from_secs(2), executor.shared.gate.wait_idle()).await.expect("it hangs");
}

#[tokio::test]
async fn a_panic_in_a_host_function_is_an_error_of_that_execution() {
    let module =
        ScriptModule::new("host").function("boom() -> never", |_cx: crate::CallCx| -> i64 { panic!("boom") });
    let executor = executor_with(Limits::default(), GateConfig::default(), vec![module]);
    assert_eq!(failure(&executor, "host::boom()").await.class, FailureClass::Internal);
    assert_eq!(value(&executor, "1").await, "1");
}

#[tokio::test]
async fn host_functions_take_and_answer_typed_values_and_errors_can_be_caught() {
    let module = ScriptModule::new("host")
        .function("add(a: int, b?: int) -> int", |_cx: crate::CallCx, a: i64, b: Option<i64>| {
            a + b.unwrap_or(10)
        })
        .async_function("fail(text: string)", |_cx: crate::CallCx, text: String| async move {
            tokio::task::yield_now().await;
            Err::<(), _>(Error::invalid("host.failed", text))
        });
    let executor = executor_with(Limits::default(), GateConfig::default(), vec![module]);
    assert_eq!(value(&executor, "[host::add(1, 2), host::add(1)]").await, "[3,11]");
    assert_eq!(
        value(
            &executor,
            "let r = (); try { host::fail(\"no\") } catch (e) { r = e.code + \" \" + e.message } r"
        )
        .await,
        "\"host.failed no\""
    );
    let failure = failure(&executor, "\n  host::add(\"x\")").await;
    assert!(failure.message.contains("argument `a`"), "{failure}");
    assert_eq!(failure.position.unwrap().line, 2);
}

#[tokio::test]
async fn a_full_gate_answers_overloaded_at_once() {
    let gate = GateConfig { max_executions: 10, max_executions_per_app: 1, ..GateConfig::default() };
    let executor = executor_with(Limits::default(), gate, Vec::new());
    let app = AppId::new();
    let _waiting = tokio::spawn(executor.run(Invocation::new(app, script("sleep(1)"))));
    while executor.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let refused = executor.run(Invocation::new(app, script("1"))).await;
    assert_eq!(refused.result.unwrap_err().class, FailureClass::Overloaded);
    assert_eq!(value(&executor, "1").await, "1");
}

#[tokio::test]
async fn ctx_is_constant_and_visible_in_functions_and_closures_and_gives_way_to_a_local() {
    let executor = executor();
    assert_eq!(
        value(
            &executor,
            "fn f() { ctx.script_name } let g = || ctx.script_name; [f(), g.call(), ctx.script_name]"
        )
        .await,
        r#"["test","test","test"]"#
    );
    assert_eq!(value(&executor, "fn f(ctx) { ctx } let ctx = 5; [ctx, f(6)]").await, "[5,6]");
    assert_eq!(failure(&executor, "ctx.app_id = 1").await.class, FailureClass::Runtime);
    assert_eq!(failure(&executor, "ctx.clear()").await.class, FailureClass::Runtime);
    assert_eq!(
        value(&executor, "[\"event\" in ctx, ctx.invocation_type, ctx.request.body, ctx.principal]").await,
        r#"[false,"invoke",null,null]"#
    );
}

async fn respond(
    executor: &LocalExecutor,
    source: &str,
    request: HttpRequest,
) -> Result<HttpResponse, Failure> {
    match executor.run(Invocation::new(AppId::new(), script(source)).request(request)).await.result? {
        Answer::Response(response) => Ok(response),
        Answer::Value(value) => panic!("{value}"),
    }
}

#[tokio::test]
async fn a_map_with_status_code_is_the_whole_response() {
    let source = r#"#{ statusCode: 201, headers: #{ "content-type": "text/html", "set-cookie": ["a=1", "b=2"] }, body: "<p>" }"#;
    let response = respond(&executor(), source, HttpRequest::default()).await.unwrap();
    assert_eq!(response.status, 201);
    assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(&response.body[..], b"<p>");
}

#[tokio::test]
async fn a_broken_response_is_an_error_of_the_script() {
    let executor = executor();
    for source in [
        "#{ statusCode: 1000 }",
        "#{ statusCode: \"200\" }",
        "#{ statusCode: 200, headers: #{ \"x\": \"a\\r\\nb: c\" } }",
        "#{ statusCode: 200, headers: #{ \"bad name\": \"a\" } }",
        "#{ statusCode: 200, headers: #{ \"content-length\": \"1\" } }",
        "#{ statusCode: 200, headers: 5 }",
        "#{ statusCode: 200, bdy: 5 }",
    ] {
        let failure = respond(&executor, source, HttpRequest::default()).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Runtime, "{source}");
    }
}

#[tokio::test]
async fn a_thrown_map_with_status_code_is_the_response() {
    let response = respond(
        &executor(),
        "fn f() { throw #{ statusCode: 404, body: \"no\" } } f()",
        HttpRequest::default(),
    )
    .await
    .unwrap();
    assert_eq!(response.status, 404);
}

#[tokio::test]
async fn a_body_past_the_string_limit_can_be_passed_on() {
    let mut request = HttpRequest::default();
    request.headers.insert("content-type", http::HeaderValue::from_static("text/plain"));
    request.body = "x".repeat(1 << 20).into();
    let response = respond(&executor(), "let b = ctx.request.body; #{ statusCode: 200, headers: #{ \"content-type\": \"text/plain\" }, body: b }", request).await.unwrap();
    assert_eq!(response.body.len(), 1 << 20);
}

#[tokio::test]
async fn prints_and_debugs_are_in_the_log_of_the_execution() {
    let outcome = run(&executor(), "print(\"a\"); debug(\"b\"); 1").await;
    let lines: Vec<_> = outcome.log.lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(lines, ["a", "\"b\""]);
}

#[tokio::test]
async fn a_mistake_in_the_source_has_class_and_place() {
    let failure = failure(&executor(), "let x = 1;\nlet = 2;").await;
    assert_eq!(failure.class, FailureClass::Compile);
    assert_eq!(failure.position.unwrap().line, 2);
}

#[tokio::test]
async fn mistakes_of_newcomers_are_told_with_what_would_be_right() {
    let executor = executor();
    for (source, told) in [
        ("let x = 1;\nx\nfn f() { 1 }", "functions stand before the last expression"),
        ("let x = 1;\nx\n  private fn f() { 1 }", "functions stand before the last expression"),
        ("let a = #{};\na.b.c", "there is no `c` in ()"),
        ("let a = #{};\na.b.c = 1;", "there is no `c` in ()"),
    ] {
        let failure = failure(&executor, source).await;
        assert!(failure.message.contains(told), "{source}: {failure}");
    }
    // Of another statement nothing is said of functions.
    let other = failure(&executor, "let x = 1\nlet fn_of = 2;").await;
    assert!(!other.message.contains("functions"), "{other}");
}

#[tokio::test]
async fn shutdown_ends_what_does_not_finish_in_time_and_joins_its_threads() {
    let mut limits = Limits::default();
    limits.max_operations = u64::MAX;
    let executor = executor_with(limits, GateConfig::default(), Vec::new());
    let spinning = tokio::spawn(executor.run(Invocation::new(AppId::new(), script("loop {}"))));
    let waiting = tokio::spawn(executor.run(Invocation::new(AppId::new(), script("sleep(60)"))));
    while executor.in_flight() < 2 {
        tokio::task::yield_now().await;
    }
    executor.shutdown(Duration::from_millis(50)).await;
    executor.end();
    let joining = executor.clone();
    tokio::task::spawn_blocking(move || joining.join()).await.unwrap();
    for run in [spinning, waiting] {
        assert_eq!(run.await.unwrap().result.unwrap_err().class, FailureClass::Cancelled);
    }
    assert_eq!(failure(&executor, "1").await.class, FailureClass::Cancelled);
}

#[test]
fn the_public_future_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Execute>();
}

/// Host functions of all kinds: sync, async, failing, keeping what they were given.
fn keeper() -> ScriptModule {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let also = kept.clone();
    ScriptModule::new("keeper")
        .function("keep(value: any)", move |_: CallCx, value: crate::engine::Raw| {
            kept.lock().unwrap().push(value.or_null());
        })
        .async_function(
            "keep_later(key: string, value: any) -> string",
            move |_: CallCx, key: String, value: crate::engine::Raw| {
                also.lock().unwrap().push(value.or_null());
                async move {
                    tokio::task::yield_now().await;
                    format!("{key} kept, {}", "x".repeat(500))
                }
            },
        )
        .async_function("fail(text: string)", |_: CallCx, text: String| async move {
            Err::<(), _>(Error::invalid("keeper.failed", text))
        })
}

#[tokio::test]
async fn ordinary_scripts_leak_nothing_whatever_they_hand_over() {
    let gate = GateConfig { max_leaked_memory: 0, ..GateConfig::default() };
    let executor = executor_with(Limits::default(), gate, vec![keeper()]);
    let app = AppId::new();
    let sources = [
        "let a = []; for i in 0..100 { a.push(`text ${i}`); } a",
        "for i in 0..20 { keeper::keep([1, 2, `a longer text ${i}`]); } 1",
        "let t = \"\"; for i in 0..20 { t = keeper::keep_later(`key ${i}`, #{ i: i }); } t",
        "for i in 0..20 { try { keeper::fail(`no ${i}`) } catch (e) { print(e.code); } } ()",
        "let n = 1; let f = |x| x + n; [1, 2, 3].map(f)",
        "fn f() { ctx.request.path } print(f()); log(); fn log() { debug(\"hi\"); sleep(0.001); }",
        "throw #{ code: \"mine\", message: \"a longer text than that\" }",
        "#{ statusCode: 201, headers: #{ \"x-a\": [\"1\", \"2\"] }, body: \"a body\" }",
        "loop {}",
    ];
    for round in 0..3 {
        for source in sources {
            for http in [false, true] {
                let mut invocation = Invocation::new(app, script(source));
                if http {
                    invocation = invocation.request(HttpRequest::new(http::Method::GET, "/a/path"));
                }
                let outcome = executor.run(invocation).await;
                let refused = outcome.result.err().and_then(|failure| failure.limit);
                assert!(
                    refused.is_none_or(|limit| limit.limit != "max_leaked_memory"),
                    "before or at {source:?}, round {round}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_app_whose_closures_leak_is_stopped_and_others_go_on() {
    let gate = GateConfig { max_leaked_memory: 1 << 20, ..GateConfig::default() };
    let executor = executor_with(Limits::default(), gate, Vec::new());
    let (leaky, other) = (AppId::new(), AppId::new());
    let leak = script("let a = #{ big: [] }; a.big.pad(5000, 7); a.f = || a; 1");
    let mut stopped = None;
    for _ in 0..100 {
        if let Err(failure) = executor.run(Invocation::new(leaky, leak.clone())).await.result {
            stopped = Some(failure);
            break;
        }
    }
    let failure = stopped.expect("the app is stopped");
    assert_eq!(
        (failure.class, failure.limit.unwrap().limit.as_str()),
        (FailureClass::Budget, "max_leaked_memory")
    );
    assert!(executor.run(Invocation::new(other, script("1"))).await.result.is_ok());
}

#[tokio::test]
async fn memory_that_services_take_and_give_does_not_add_up() {
    let limits = Limits { max_memory: 4 << 20, ..Limits::default() };
    let executor = executor_with(limits, GateConfig::default(), vec![keeper()]);
    let source = "let t = \"\"; for i in 0..20000 { t = keeper::keep_later(\"key\", 1); } t.len()";
    assert_eq!(value(&executor, source).await, "510");
}

#[tokio::test]
async fn a_captured_variable_can_be_a_status_code() {
    let executor = executor();
    let source =
        "let code = 201; let f = || code; f.call(); #{ statusCode: code, headers: #{ \"x-code\": code } }";
    let invocation =
        Invocation::new(AppId::new(), script(source)).request(HttpRequest::new(http::Method::GET, "/"));
    match executor.run(invocation).await.result.unwrap() {
        Answer::Response(response) => assert_eq!(
            (response.status.as_u16(), &response.headers["x-code"]),
            (201, &"201".parse().unwrap())
        ),
        Answer::Value(value) => panic!("{value:?}"),
    }
}

/// Functions whose futures panic at their first poll, later, and when they are dropped.
fn panicking() -> ScriptModule {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }
    ScriptModule::new("boom")
        .async_function("now()", |_: CallCx| async {
            if true {
                panic!("now");
            }
        })
        .async_function("later()", |_: CallCx| async {
            tokio::task::yield_now().await;
            if true {
                panic!("later");
            }
        })
        .async_function("dropped()", |_: CallCx| async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        })
}

#[tokio::test]
async fn a_panic_in_the_future_of_a_host_function_ends_its_execution_and_nothing_else() {
    let executor = executor_with(Limits::default(), GateConfig::default(), vec![panicking()]);
    let spin = "let n = 0; for i in 0..200000 { n += i; }";
    for call in ["boom::now()", "boom::later()", "boom::dropped()"] {
        for source in [call.to_owned(), format!("{spin} {call}; {spin}")] {
            // More often than there are threads, so that a lost one would show.
            for _ in 0..4 {
                let mut invocation = Invocation::new(AppId::new(), script(&source));
                if call == "boom::dropped()" {
                    let mut short = ScriptRecord::clone(&invocation.script);
                    short.timeout_seconds = Some(1);
                    invocation.script = Arc::new(short);
                }
                let failure = executor.run(invocation).await.result.unwrap_err();
                assert_eq!(failure.class, FailureClass::Internal, "{source}: {failure}");
            }
        }
    }
    assert_eq!(executor.in_flight(), 0);
    for _ in 0..8 {
        assert_eq!(value(&executor, "let n = 0; for i in 0..200000 { n += 1; } n").await, "200000");
    }
}

#[tokio::test]
async fn a_body_that_grows_past_the_memory_limit_ends_the_script() {
    let limits = Limits { max_memory: 16 << 20, ..Limits::default() };
    let executor = executor_with(limits, GateConfig::default(), Vec::new());
    let mut request = HttpRequest::new(http::Method::POST, "/");
    request.headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    request.body = format!("[{}{{}}]", "{\"a\":0},".repeat(500_000)).into();
    let invocation =
        Invocation::new(AppId::new(), script("try { ctx.request.body.len() } catch { 0 }")).request(request);
    let outcome = executor.run(invocation).await;
    let limit = outcome.result.unwrap_err().limit.map(|limit| limit.limit);
    assert_eq!(limit.as_deref(), Some("max_memory"));
    assert!(outcome.peak_memory < 64 << 20, "{} bytes", outcome.peak_memory);
}
