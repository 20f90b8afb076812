//! What a deployment refuses, and what it warns about.

use picloud_core::authz::Principal;
use picloud_core::script::{Bundle, DeployError};
use picloud_core::trigger::TriggerKind;

use crate::{app_with, bundle, cloud, deploy, problems};

#[tokio::test]
async fn circles_are_refused_and_named() {
    let app = cloud().await.create_app("shop").await.unwrap();
    let told = problems(
        &app,
        &[
            ("a", "//! module\n\nimport \"b\" as b;"),
            ("b", "//! module\nfn f() { import \"c\" as c; }"),
            ("c", "//! module\nimport \"a\" as a;"),
            ("main", "import \"a\" as a; 1"),
        ],
    )
    .await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].file.as_str(), told[0].code.as_str()), ("a.rhai", "module.cycle"));
    assert_eq!(told[0].position.map(|at| (at.line, at.column)), Some((3, 8)));
    assert!(told[0].message.ends_with(": a → b → c → a"), "{}", told[0].message);
    assert!(app.script("main").is_err());
    let told = problems(&app, &[("self", "//! module\nimport \"self\" as s;")]).await;
    assert!(told[0].message.ends_with(": self → self"), "{}", told[0].message);
}

#[tokio::test]
async fn a_circle_through_another_folder_is_told_where_it_is_closed() {
    let app = cloud().await.create_app("shop").await.unwrap();
    let library = Bundle::new().named("library").file("a", "//! module\nimport \"b\" as b;").unwrap();
    app.deploy(&library).await.unwrap();
    let told = problems(&app, &[("b", "//! module\nimport \"a\" as a;")]).await;
    assert_eq!((told.len(), told[0].file.as_str()), (1, "b.rhai"));
    assert!(told[0].message.ends_with(": b → a → b"), "{}", told[0].message);
}

#[tokio::test]
async fn chains_that_are_too_deep_are_refused_and_named() {
    let app = cloud().await.create_app("shop").await.unwrap();
    let chain = |modules: usize| {
        let mut bundle = Bundle::new().file("main", "import \"m1\" as m; 1").unwrap();
        for at in 1..=modules {
            let next = if at == modules { String::new() } else { format!("import \"m{}\" as n;", at + 1) };
            bundle = bundle.file(&format!("m{at}"), format!("//! module\n{next}")).unwrap();
        }
        bundle
    };
    app.deploy(&chain(8)).await.unwrap();
    let Err(DeployError::Invalid(told)) = app.deploy(&chain(9)).await else { panic!() };
    assert_eq!(
        (told.len(), told[0].file.as_str(), told[0].code.as_str()),
        (1, "main.rhai", "module.too_deep")
    );
    assert!(told[0].message.ends_with(": main → m1 → m2 → m3 → m4 → m5 → m6 → m7 → m8 → m9"), "{}", told[0]);
}

#[tokio::test]
async fn what_is_imported_and_missing_is_warned_about_with_its_place() {
    let app = cloud().await.create_app("shop").await.unwrap();
    let main = "//! route GET /\n\nfn f() { import \"prices\" as p; p::gross(1) }";
    let report = deploy(&app, &[("main", main), ("other", "//! route GET /b\nimport \"main\" as m;")]).await;
    assert_eq!(
        report.warnings,
        [
            "main.rhai:3:17: imports \"prices\", which the app does not have: it fails when it comes there",
            "other.rhai:2:8: imports \"main\", which is no module: it fails when it comes there",
        ]
    );
    // Said again as long as it is so, and no longer.
    let report = deploy(&app, &[("main", main)]).await;
    assert_eq!(report.warnings.len(), 1);
    let report = deploy(&app, &[("main", main), ("prices", "//! module\nfn gross(n) { n }")]).await;
    assert_eq!(report.warnings, [""; 0]);
}

#[tokio::test]
async fn modules_that_nobody_imports_are_warned_about() {
    let app = cloud().await.create_app("shop").await.unwrap();
    let module = ("m", "//! module\nfn f() { 1 }");
    assert_eq!(deploy(&app, &[module]).await.warnings, ["m.rhai: no script imports this module"]);
    let main = ("main", "//! route GET /\nimport \"m\" as m; 1");
    assert_eq!(deploy(&app, &[module, main]).await.warnings, [""; 0]);
    // It may be any.
    let main = ("main", "//! route GET /\nimport ctx.request.query.n as m; 1");
    assert_eq!(deploy(&app, &[module, main]).await.warnings, [""; 0]);
}

#[tokio::test]
async fn scripts_that_nothing_reaches_are_warned_about() {
    let app = cloud().await.create_app("shop").await.unwrap();
    let told = |name: &str| {
        format!(
            "{name}.rhai: no route and no trigger leads to it; only a call by the host or by its id runs it"
        )
    };
    let alone = ("alone", "1");
    assert_eq!(deploy(&app, &[alone]).await.warnings, [told("alone")]);
    let root = ("root", "//! route GET /\nscripts::invoke(\"alone\", 1)");
    assert_eq!(deploy(&app, &[alone, root]).await.warnings, [""; 0]);
    let root = ("root", "//! route GET /\nscripts::invoke(\"other\", 1)");
    assert_eq!(deploy(&app, &[alone, root]).await.warnings, [told("alone")]);
    let root = ("root", "//! route GET /\nscripts::invoke(ctx.request.query.n, 1)");
    assert_eq!(deploy(&app, &[alone, root]).await.warnings, [""; 0]);
    let root = ("root", "//! route GET /\nimport \"m\" as m; m::start()");
    let module = ("m", "//! module\nfn start() { scripts::invoke(\"alone\") }");
    assert_eq!(deploy(&app, &[alone, root, module]).await.warnings, [""; 0]);
    let kind: TriggerKind = serde_json::from_str(r#"{"kind":"pubsub","topic":"a"}"#).unwrap();
    app.create_trigger("alone", kind, None, &Principal::host(app.id())).await.unwrap();
    assert_eq!(deploy(&app, &[alone]).await.warnings, [""; 0]);
}

#[tokio::test]
async fn a_script_with_triggers_that_others_made_does_not_become_a_module() {
    let app = app_with(&[("a", "//! route GET /\n1")]).await;
    let kind: TriggerKind = serde_json::from_str(r#"{"kind":"pubsub","topic":"a"}"#).unwrap();
    let trigger = app.create_trigger("a", kind, None, &Principal::host(app.id())).await.unwrap();
    let module = [("a", "//! module\nfn f() { 1 }")];
    let told = problems(&app, &module).await;
    assert_eq!((told.len(), told[0].code.as_str()), (1, "script.in_use"));
    assert!(told[0].message.ends_with("lead to it: 0, triggers: 1"), "{}", told[0].message);
    // Its own routes go with the directive.
    app.delete_trigger(trigger).await.unwrap();
    let report = deploy(&app, &module).await;
    assert_eq!(report.routes.len(), 1);
    assert!(app.deploy(&bundle(&module)).await.is_ok());
}
