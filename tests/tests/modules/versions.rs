//! Which version of a module an execution sees, and that it leaves nothing behind.

use std::num::NonZeroUsize;
use std::time::Duration;

use picloud_core::PicloudConfig;
use serde_json::{Value, json};

use crate::{app_with, cloud, cloud_with, deploy, failure, value};

fn module(version: u32) -> String {
    format!("//! module\nfn version() {{ {version} }}")
}

#[tokio::test]
async fn a_changed_module_is_live_for_its_importers_at_once() {
    let app = cloud().await.create_app("shop").await.unwrap();
    let main = ("main", "import \"mid\" as m; m::version()");
    let mid = ("mid", "//! module\nimport \"m\" as m;\nfn version() { m::version() }");
    for version in 1..=5 {
        let report = deploy(&app, &[("m", &module(version)), mid, main]).await;
        assert_eq!(report.unchanged.len(), if version == 1 { 0 } else { 2 });
        assert_eq!(value(&app, "main").await, json!(version));
    }
}

#[tokio::test]
async fn a_running_execution_keeps_its_version() {
    let app = app_with(&[
        ("m", &module(1)),
        (
            "main",
            "import \"m\" as a; kv::collection(\"c\").set(\"begun\", true);
            while !kv::collection(\"c\").has(\"changed\") { sleep(0.001); }
            fn later() { import \"m\" as b; b::version() }
            import \"m\" as c;
            import \"late\" as d;
            [a::version(), later(), c::version(), d::version()]",
        ),
        ("late", &module(1)),
    ])
    .await;
    let script = app.script("main").unwrap();
    let running = tokio::spawn(async move { script.call::<Value>(&()).await.unwrap() });
    while app.kv("c").unwrap().get::<bool>("begun").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let main = app.script("main").unwrap().record().source.to_string();
    deploy(&app, &[("m", &module(2)), ("late", &module(2)), ("main", &main)]).await;
    app.kv("c").unwrap().set("changed", &true).await.unwrap();
    assert_eq!(running.await.unwrap(), json!([1, 1, 1, 1]));
    assert_eq!(value(&app, "main").await, json!([2, 2, 2, 2]));
}

#[tokio::test]
async fn a_removed_module_is_missing_at_the_next_call_and_its_importers_are_told() {
    let main = ("main", "import \"m\" as m; m::version()");
    let app = app_with(&[("m", &module(1)), main, ("other", "import \"m\" as m; 1")]).await;
    assert_eq!(value(&app, "main").await, json!(1));
    assert_eq!(app.importers("m").unwrap().len(), 2);
    let report = deploy(&app, &[main, ("other", "import \"m\" as m; 1")]).await;
    assert_eq!(report.removed.len(), 1);
    let told = report.warnings.iter().find(|warning| warning.contains("removed")).unwrap();
    assert_eq!(told, "m is removed and still imported by main, other: they fail at their next call");
    assert!(failure(&app, "main").await.message.contains("the app has no module \"m\""));
    // They still say that they import it.
    assert_eq!(app.importers("m").unwrap().len(), 2);
    deploy(&app, &[("m", &module(2)), main]).await;
    assert_eq!(value(&app, "main").await, json!(2));
    assert_eq!(app.importers("m").unwrap().len(), 1);
}

#[tokio::test]
async fn the_graph_follows_the_sources() {
    let names = |app: &picloud_core::App, module: &str| {
        app.importers(module).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let app = app_with(&[
        ("a", "//! module\nfn f() { import \"b\" as b; }"),
        ("b", "//! module\nfn f() { 1 }"),
        ("main", "import \"a\" as a; let f = || { import \"b\" as b; }; import \"none\" as n;"),
    ])
    .await;
    assert_eq!(names(&app, "a"), ["main"]);
    assert_eq!(names(&app, "b"), ["a", "main"]);
    assert_eq!(names(&app, "none"), ["main"]);
    let main = app.script("main").unwrap().record().id;
    let imports: Vec<_> = app.state().unwrap().imports(main).iter().map(ToString::to_string).collect();
    assert_eq!(imports, ["a", "b", "none"]);
    deploy(&app, &[("b", "//! module\nfn f() { 1 }"), ("main", "1")]).await;
    assert_eq!(names(&app, "a"), [""; 0]);
    assert_eq!(names(&app, "b"), [""; 0]);
}

#[tokio::test]
async fn a_module_keeps_nothing_from_one_call_to_the_next() {
    for module in [
        "const F = { let n = 0; || { n += 1; n } };\nfn next() { let f = global::F; f.call() }",
        "export const LIST = [];\nfn next() { let l = global::LIST; l.push(1); l.len() }",
        "export const MAP = #{ n: 0 };\nfn next() { let m = global::MAP; m.n += 1; m.n }",
        "const MAP = #{ n: 0 };\nfn next() { try { global::MAP.n += 1; } catch { } global::MAP.n + 1 }",
    ] {
        let main = ("main", "import \"m\" as m; m::next()");
        let app = app_with(&[("m", &format!("//! module\n{module}")), main]).await;
        for call in 0..4 {
            assert_eq!(value(&app, "main").await, json!(1), "call {call} of {module}");
        }
    }
}

#[tokio::test]
async fn constants_are_of_the_execution_that_imports_them() {
    let app = app_with(&[
        ("m", "//! module\nexport const ID = ctx.execution_id;\nexport const BODY = ctx.request.body;"),
        ("main", "import \"m\" as m; [m::ID == ctx.execution_id, m::BODY]"),
    ])
    .await;
    for payload in [json!(1), json!("two"), json!(null)] {
        let answer: Value = app.script("main").unwrap().call(&payload).await.unwrap();
        assert_eq!(answer, json!([true, payload]));
    }
}

#[tokio::test]
async fn a_small_cache_is_only_slower() {
    let mut config = PicloudConfig::default();
    config.module_cache_size = NonZeroUsize::MIN;
    config.script_cache_size = NonZeroUsize::MIN;
    let app = cloud_with(config).await.create_app("shop").await.unwrap();
    let mut files = Vec::new();
    for at in 0..8 {
        let next = if at == 7 { String::new() } else { format!("import \"m{}\" as n;", at + 1) };
        let value = if at == 7 { "1".to_owned() } else { "n::f() + 1".to_owned() };
        files.push((format!("m{at}"), format!("//! module\n{next}\nfn f() {{ {value} }}")));
    }
    files.push(("main".to_owned(), "import \"m0\" as m; m::f()".to_owned()));
    let files: Vec<_> = files.iter().map(|(name, source)| (name.as_str(), source.as_str())).collect();
    deploy(&app, &files).await;
    for _ in 0..3 {
        assert_eq!(value(&app, "main").await, json!(8));
    }
}
