//! What `import` finds, and what modules can do.

use picloud_core::engine::ScriptSandbox;
use picloud_core::execution::FailureClass;
use picloud_core::{CallCx, ErrorKind, Picloud, ScriptModule};
use picloud_memory::MemoryBackend;
use serde_json::{Value, json};

use crate::{app_with, bundle, cloud, deploy, failure, problems, value};

#[tokio::test]
async fn two_scripts_use_one_module() {
    let app = app_with(&[
        ("prices", "//! module\nexport const VAT = 19;\nfn gross(net) { net * (100 + global::VAT) / 100 }"),
        ("tea", "import \"prices\" as p; p::gross(200)"),
        ("rate", "import \"prices\" as p; p::VAT"),
    ])
    .await;
    assert_eq!(value(&app, "tea").await, json!(238));
    assert_eq!(value(&app, "rate").await, json!(19));
}

#[tokio::test]
async fn imports_work_wherever_they_stand() {
    let module = ("m", "//! module\nfn f() { 7 }");
    for source in [
        "import \"m\" as m; m::f()",
        "import \"m\" as m; fn g() { m::f() } g()",
        "fn g() { import \"m\" as m; m::f() } g()",
        "let g = || { import \"m\" as m; m::f() }; g.call()",
        "[0].map(|x| { import \"m\" as m; m::f() })[0]",
        "let n = \"m\"; import n as m; m::f()",
        "import `${\"m\"}` as m; m::f()",
        "let sum = 0; for i in 0..7 { import \"m\" as m; sum += m::f() / 7; } sum",
        "import \"m\" as a; import \"m\" as b; a::f() + b::f() - 7",
        "let r = 0; try { import \"m\" as m; r = m::f(); } catch { } r",
    ] {
        let app = app_with(&[module, ("main", source)]).await;
        assert_eq!(value(&app, "main").await, json!(7), "{source}");
    }
}

#[tokio::test]
async fn modules_import_modules() {
    let app = app_with(&[
        ("base", "//! module\nexport const ONE = 1;\nfn two() { 2 }"),
        ("sums", "//! module\nimport \"base\" as b;\nexport const THREE = b::ONE + b::two();\nfn four() { b::two() * 2 }"),
        ("main", "import \"sums\" as s; [s::THREE, s::four()]"),
    ])
    .await;
    assert_eq!(value(&app, "main").await, json!([3, 4]));
}

#[tokio::test]
async fn functions_of_modules_are_as_functions_of_the_script() {
    let cloud = cloud().await;
    let app = cloud.create_app("shop").await.unwrap();
    let host = (
        "m",
        "//! module
        fn who() { ctx.script_name }
        fn payload() { ctx.request.body }
        fn keep(k, v) { kv::collection(\"c\").set(k, v); kv::collection(\"c\").get(k) }
        fn pause() { sleep(0.001); 1 }
        fn shout(text) { log::info(text) }
        fn twice(f, x) { f.call(f.call(x)) }
        private fn hidden() { 1 }
        fn shown() { hidden() + 1 }",
    );
    let main = "import \"m\" as m;
        m::shout(\"hey\");
        let add = 3;
        [m::who(), m::payload(), m::keep(\"k\", #{ a: 1.5 }), m::pause(), m::twice(|x| x + add, 1), m::shown()]";
    deploy(&app, &[host, ("main", main)]).await;
    let answer: Value = app.script("main").unwrap().call(&json!({ "a": 1 })).await.unwrap();
    assert_eq!(answer, json!(["main", { "a": 1 }, { "a": 1.5 }, 1, 7, 2]));
    deploy(&app, &[host, ("main", "import \"m\" as m; m::hidden()")]).await;
    assert!(failure(&app, "main").await.message.contains("hidden"));
}

#[tokio::test]
async fn a_module_sees_nothing_of_who_imports_it() {
    let app = app_with(&[
        ("m", "//! module\nfn f() { secret }\nfn g() { own() }\nfn h() { global::SECRET }"),
        ("a", "let secret = 1; import \"m\" as m; m::f()"),
        ("b", "fn own() { 1 } import \"m\" as m; m::g()"),
        ("c", "const SECRET = 1; import \"m\" as m; m::h()"),
        ("other", "//! module\nconst X = 1;"),
        ("d", "import \"other\" as o; o::X"),
    ])
    .await;
    for script in ["a", "c", "d"] {
        assert_eq!(failure(&app, script).await.class, FailureClass::Runtime, "{script}");
    }
}

#[tokio::test]
async fn a_missing_module_is_named() {
    let app = app_with(&[
        ("main", "import \"prices\" as p; 1"),
        ("a", "//! module\nimport \"b\" as b;"),
        ("b", "//! module\nimport \"gone\" as g;"),
        ("deep", "import \"a\" as a; 1"),
        ("caught", "let c = 0; try { import \"prices\" as p; } catch (e) { c = e.code; } c"),
        ("script", "import \"main\" as m;"),
        ("empty", "import \"\" as m;"),
        ("number", "let n = 1; import n as m;"),
    ])
    .await;
    let told = failure(&app, "main").await;
    assert_eq!(told.class, FailureClass::Runtime);
    assert_eq!(told.message, "module.not_found: the app has no module \"prices\"");
    assert_eq!(told.position.map(|at| (at.line, at.column)), Some((1, 8)));
    assert!(
        failure(&app, "deep").await.message.ends_with("the app has no module \"gone\" (deep → a → b → gone)")
    );
    assert_eq!(value(&app, "caught").await, json!("module.not_found"));
    assert!(failure(&app, "script").await.message.starts_with("module.is_endpoint: "));
    assert!(failure(&app, "empty").await.message.starts_with("module.not_found: "));
    assert_eq!(failure(&app, "number").await.class, FailureClass::Runtime);
}

#[tokio::test]
async fn a_module_of_another_app_is_not_found() {
    let cloud = cloud().await;
    let (shop, blog) = (cloud.create_app("shop").await.unwrap(), cloud.create_app("blog").await.unwrap());
    let main = ("main", "import \"m\" as m; m::who()");
    deploy(&shop, &[("m", "//! module\nfn who() { \"shop\" }"), main]).await;
    deploy(&blog, &[main]).await;
    assert_eq!(value(&shop, "main").await, json!("shop"));
    assert!(failure(&blog, "main").await.message.starts_with("module.not_found"));
    deploy(&blog, &[("m", "//! module\nfn who() { \"blog\" }"), main]).await;
    for _ in 0..3 {
        assert_eq!(value(&blog, "main").await, json!("blog"));
        assert_eq!(value(&shop, "main").await, json!("shop"));
    }
}

#[tokio::test]
async fn what_fails_in_a_module_is_told_with_both_places() {
    let app = app_with(&[
        ("m", "//! module\nfn bad() {\n  throw \"no\";\n}\nfn calls() { bad() }\nfn back(f) { f.call() }"),
        ("main", "import \"m\" as m;\n\n  m::bad()"),
        ("indirect", "import \"m\" as m;\nm::calls()"),
        ("back", "import \"m\" as m;\n\nm::back(|| {\n  throw \"mine\"; })"),
        ("load", "//! module\nfn f() { 1 / 0 }\nexport const X =\n  f();"),
        ("loads", "\nimport \"load\" as l;"),
    ])
    .await;
    let told = failure(&app, "main").await;
    assert_eq!(told.message, "in module \"m\", line 3, column 3: no");
    assert_eq!(told.position.map(|at| at.line), Some(3));
    let told = failure(&app, "indirect").await;
    assert_eq!(told.message, "in module \"m\", line 3, column 3: no");
    assert_eq!(told.position.map(|at| at.line), Some(2));
    let told = failure(&app, "back").await;
    assert_eq!((told.message.as_str(), told.position.map(|at| at.line)), ("mine", Some(4)));
    let told = failure(&app, "loads").await;
    assert!(told.message.starts_with("in module \"load\", line 2"), "{told}");
    assert_eq!(told.position.map(|at| at.line), Some(2));
}

#[tokio::test]
async fn a_module_may_answer_for_its_script() {
    let app = app_with(&[
        ("m", "//! module\nfn refuse() { throw #{ statusCode: 418, body: \"tea\" } }"),
        ("main", "//! route GET /\nimport \"m\" as m; m::refuse()"),
    ])
    .await;
    let request = picloud_core::execution::HttpRequest::new(http::Method::GET, "/");
    assert_eq!(app.request(request).await.unwrap().status, 418);
}

#[tokio::test]
async fn a_module_has_the_shape_of_one() {
    let app = cloud().await.create_app("shop").await.unwrap();
    for (source, line) in [
        ("//! module\nlet x = 1;", 2),
        ("//! module\nfn f() { 1 }\n\nf();", 4),
        ("//! module\nkv::collection(\"c\").set(\"k\", 1)", 2),
        ("//! module\nif true { }", 2),
        ("//! module\n40 + 2", 2),
    ] {
        let told = problems(&app, &[("m", source)]).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].file.as_str(), told[0].code.as_str()), ("m.rhai", "compile"));
        assert_eq!(told[0].position.map(|at| at.line), Some(line), "{source}");
        assert!(told[0].message.contains("functions, constants and imports"), "{}", told[0].message);
    }
    assert!(app.script("m").is_err());
}

#[tokio::test]
async fn what_was_stored_otherwise_is_checked_when_it_is_loaded() {
    let cloud = cloud().await;
    let app = cloud.create_app("shop").await.unwrap();
    let main = "import \"m\" as m; 1";
    deploy(&app, &[("m", "//! module\nfn f() { 1 }"), ("main", main)]).await;
    let catalog = cloud.backend().catalog();
    for (version, source) in [(2, "//! module\nkv::collection(\"c\").set(\"k\", 1);"), (3, "let x = ;")] {
        let mut record = (**app.script("m").unwrap().record()).clone();
        (record.source, record.version) = (source.into(), version);
        let revision = catalog.snapshot(app.id()).await.unwrap().unwrap().revision;
        let changes = [picloud_core::catalog::CatalogChange::PutScript(record)];
        catalog.apply(app.id(), &changes, revision).await.unwrap();
        cloud.apps().reload(app.id()).await.unwrap();
        for _ in 0..2 {
            let told = failure(&app, "main").await.message;
            assert!(told.starts_with("module.invalid: in module \"m\": compile: "), "{told}");
        }
    }
    assert_eq!(app.kv("c").unwrap().get::<i64>("k").await.unwrap(), None);
}

#[tokio::test]
async fn names_of_modules_are_checked() {
    let host = ScriptModule::new("billing").function("one() -> int", |_cx: CallCx| 1_i64);
    let cloud = Picloud::builder(MemoryBackend::new()).script_module(host).start().await.unwrap();
    let app = cloud.create_app("shop").await.unwrap();
    let module = "//! module\nfn f() { 1 }";
    for (name, code) in [
        ("lib/prices", "module.invalid_name"),
        ("Prices", "module.invalid_name"),
        ("-a", "module.invalid_name"),
        ("ä", "module.invalid_name"),
        ("kv", "module.reserved_name"),
        ("log", "module.reserved_name"),
        ("scripts", "module.reserved_name"),
        ("json", "module.reserved_name"),
        ("billing", "module.reserved_name"),
    ] {
        let told = problems(&app, &[(name, module)]).await;
        assert_eq!((told.len(), told[0].code.as_str()), (1, code), "{name}");
        assert!(told[0].file.starts_with(name));
    }
    // An endpoint may have any of them.
    deploy(&app, &[("kv", "1"), ("lib/prices", "1"), ("0-_", module)]).await;
}

#[tokio::test]
async fn a_module_is_not_run_and_has_no_triggers() {
    let app = app_with(&[("m", "//! module\nfn f() { 1 }"), ("main", "import \"m\" as m; m::f()")]).await;
    let module = app.script("m").unwrap();
    let error = module.call::<Value>(&()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidInput, "script.is_module"));
    let request = picloud_core::execution::HttpRequest::new(http::Method::GET, "/");
    assert_eq!(module.request(request).await.unwrap_err().code(), "script.is_module");
    let told = failure(&app, "m").await;
    assert_eq!(told.class, FailureClass::Compile);
    assert!(told.message.starts_with("script.is_module"), "{told}");
    let kind = picloud_core::trigger::TriggerKind::Pubsub(picloud_core::pubsub::PubsubTrigger {
        topic: "a".parse().unwrap(),
    });
    let host = picloud_core::authz::Principal::host(app.id());
    let error = app.create_trigger("m", kind, None, &host).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::InvalidInput, "script.is_module"));
    let told = problems(&app, &[("m", "//! module\n//! route GET /\nfn f() { 1 }"), ("main", "1")]).await;
    assert_eq!((told[0].code.as_str(), told[0].position.unwrap().line), ("script.is_module", 2));
}

#[tokio::test]
async fn importers_and_modules_share_one_budget() {
    let module = "//! module\nfn spin(n) { let x = 0; for i in 0..n { x += 1; } x }\nexport const WORK = { let x = 0; for i in 0..2000 { x += 1; } x };";
    let app = app_with(&[("m", module), ("main", "import \"m\" as m; m::spin(2000)")]).await;
    let sandbox = |max| {
        let mut sandbox = ScriptSandbox::default();
        sandbox.max_operations = Some(max);
        sandbox
    };
    app.set_sandbox("main", sandbox(100_000)).await.unwrap();
    assert_eq!(value(&app, "main").await, json!(2000));
    // Loading alone takes more.
    app.set_sandbox("main", sandbox(3_000)).await.unwrap();
    let told = failure(&app, "main").await;
    assert_eq!(told.class, FailureClass::Budget);
    assert_eq!(told.limit.unwrap().limit, "max_operations");
}

#[tokio::test]
async fn what_a_deployment_changes_in_kind_keeps_the_script() {
    let app = app_with(&[("m", "1")]).await;
    let id = app.script("m").unwrap().record().id;
    deploy(&app, &[("m", "//! module\nfn f() { 2 }"), ("main", "import \"m\" as m; m::f()")]).await;
    assert_eq!(app.script("m").unwrap().record().id, id);
    assert_eq!(value(&app, "main").await, json!(2));
    deploy(&app, &[("m", "3"), ("main", "import \"m\" as m; m::f()")]).await;
    assert_eq!(value(&app, "m").await, json!(3));
    assert!(failure(&app, "main").await.message.starts_with("module.is_endpoint"));
    assert_eq!(app.deploy(&bundle(&[])).await.unwrap().removed.len(), 2);
}
