//! Hello: what one execution costs.

use std::sync::Arc;
use std::time::Instant;

use http::Method;
use picloud_core::execution::{HttpRequest, Invocation};
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud, PicloudConfig};
use picloud_memory::MemoryBackend;
use rhai::{AST, Dynamic, Engine, Map, Scope};
use tokio::runtime::Runtime;

use crate::measure::{Goal, Table, each, in_turns, per_second, show};

pub(crate) const HELLO: &str = "//! route GET /greet/:name\n`hello ${ctx.request.params.name}`";

/// The same with a call of the host in it that costs next to nothing, so that no thread of the host's tries it by itself: it is handed over.
pub(crate) const HANDED_OVER: &str =
    "//! route POST /greet/:name\nkv::collection(\"none\"); `hello ${ctx.request.params.name}`";

/// A started picloud with these scripts.
pub(crate) fn cloud(runtime: &Runtime, scripts: &[(&str, &str)], config: PicloudConfig) -> (Picloud, App) {
    runtime.block_on(async {
        let cloud = Picloud::builder(MemoryBackend::new()).config(config).start().await.unwrap();
        let app = cloud.create_app("bench").await.unwrap();
        let bundle = scripts
            .iter()
            .try_fold(Bundle::new(), |bundle, (name, source)| bundle.file(name, *source))
            .unwrap();
        app.deploy(&bundle).await.unwrap();
        (cloud, app)
    })
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn greet(app: &App, name: &str) -> Invocation {
    let script = app.script(name).unwrap();
    let mut request = HttpRequest::new(Method::GET, "/greet/ada");
    request.params = vec![("name".into(), "ada".to_owned())];
    script.invocation().request(request)
}

/// What a host would write by hand: the same keys, the same values.
fn ctx_by_hand() -> Dynamic {
    let id = || Dynamic::from(uuid::Uuid::now_v7().to_string());
    let mut params = Map::new();
    params.insert("name".into(), "ada".into());
    let mut request = Map::new();
    for (name, value) in [("method", "GET"), ("host", ""), ("path", "/greet/ada"), ("rest", "")] {
        request.insert(name.into(), value.into());
    }
    request.insert("params".into(), Dynamic::from_map(params));
    let mut ctx = Map::new();
    for name in ["execution_id", "request_id", "app_id", "script_id"] {
        ctx.insert(name.into(), id());
    }
    for (name, value) in [("sdk_version", "1.0"), ("script_name", "greet"), ("invocation_type", "http")] {
        ctx.insert(name.into(), value.into());
    }
    ctx.insert("trigger_depth".into(), 0_i64.into());
    ctx.insert("principal".into(), Dynamic::UNIT);
    ctx.insert("request".into(), Dynamic::from_map(request));
    Dynamic::from_map(ctx)
}

fn evaluate(engine: &Engine, ast: &AST) {
    let mut scope = Scope::new();
    scope.push_constant_dynamic("ctx", ctx_by_hand());
    let answer = engine.eval_ast_with_scope::<Dynamic>(&mut scope, ast).unwrap();
    drop(std::hint::black_box(answer));
}

/// Runs `times` on the first executor thread, and measures there.
fn on_executor(cloud: &Picloud, app: &App, runtime: &Runtime, times: u32) -> f64 {
    let (cloud, app) = (cloud.clone(), app.clone());
    let handle = cloud.executor().runtimes().next().unwrap().clone();
    let task = handle.spawn(async move {
        let template = greet(&app, "greet");
        let begin = Instant::now();
        for _ in 0..times {
            let mut invocation = Invocation::new(template.app, template.script.clone());
            invocation = invocation.request(template.request.clone().unwrap());
            cloud.executor().run(invocation).await.result.unwrap();
        }
        crate::measure::nanos(begin.elapsed()) / f64::from(times)
    });
    runtime.block_on(task).unwrap()
}

/// Executions a second with 64 in flight.
fn in_flight<F>(runtime: &Runtime, times: u32, run: impl Fn() -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    const TASKS: u32 = 64;
    let begin = Instant::now();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..TASKS {
            let runs: Vec<F> = (0..times / TASKS).map(|_| run()).collect();
            tasks.push(tokio::spawn(async move {
                for run in runs {
                    run.await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    f64::from(times / TASKS * TASKS) / begin.elapsed().as_secs_f64()
}

pub(crate) fn run(table: &mut Table) {
    let runtime = runtime();
    let scripts = [("greet", HELLO), ("handed over", HANDED_OVER)];
    let (cloud, app) = cloud(&runtime, &scripts, PicloudConfig::default());
    let engine = Arc::new(Engine::new());
    let ast = Arc::new(engine.compile(HELLO).unwrap());

    let [ours, bare] = in_turns(
        9,
        [&mut || on_executor(&cloud, &app, &runtime, 20_000), &mut || {
            each(20_000, || evaluate(&engine, &ast))
        }],
    );
    table.row(
        "hello on an executor thread, beside bare `eval_ast` with a ctx built by hand",
        show(ours),
        show(bare),
        ours / bare,
        " ×",
        Goal::AtMost(2.0),
    );

    let in_host = |script: &str| {
        let template = greet(&app, script);
        let cloud = cloud.clone();
        in_flight(&runtime, 64_000, move || {
            let invocation = Invocation::new(template.app, template.script.clone())
                .request(template.request.clone().unwrap());
            let executor = cloud.executor().clone();
            async move { drop(executor.run(invocation).await.result.unwrap()) }
        })
    };
    let shared = || {
        let (engine, ast) = (engine.clone(), ast.clone());
        in_flight(&runtime, 32_000, move || {
            let (engine, ast) = (engine.clone(), ast.clone());
            async move { tokio::task::spawn_blocking(move || evaluate(&engine, &ast)).await.unwrap() }
        })
    };
    let per_call = || {
        in_flight(&runtime, 3_200, move || async move {
            let work = || {
                let engine = Engine::new();
                let ast = engine.compile(HELLO).unwrap();
                evaluate(&engine, &ast);
            };
            tokio::task::spawn_blocking(work).await.unwrap()
        })
    };
    let [ours, in_place, shared, per_call] = in_turns(
        7,
        [&mut || in_host("handed over"), &mut || in_host("greet"), &mut || shared(), &mut || per_call()],
    );
    table.row(
        "hello handed over, 64 in flight, beside a shared engine on blocking threads",
        per_second(ours),
        per_second(shared),
        ours / shared,
        " ×",
        Goal::AtLeast(1.5),
    );
    table.row(
        "hello handed over, 64 in flight, beside an engine per call on blocking threads",
        per_second(ours),
        per_second(per_call),
        ours / per_call,
        " ×",
        Goal::AtLeast(20.0),
    );
    table.row(
        "hello on the thread of the host's that asks, 64 in flight, beside a shared engine on blocking threads",
        per_second(in_place),
        per_second(shared),
        in_place / shared,
        " ×",
        Goal::None,
    );
    runtime.block_on(cloud.shutdown(std::time::Duration::from_secs(5)));
}
