//! Who a script is, what it can reach, and what stays of it.

use picloud_core::App;

use crate::world::{Attack, End, HARMLESS, Limits, REFUSED, STOPPED, World, one_by_one};

const CONSTANTS: &[Attack<'_>] = &[
    ("a property", "const C = #{ a: 1 }; C.a = 2; C", HARMLESS),
    ("a property that is not there", "const c = #{}; c.a = 2; c", HARMLESS),
    ("an index", "const C = [1]; C[0] = 2; C", HARMLESS),
    ("a nested property", "const C = #{ a: #{ b: 1 } }; C.a.b = 2; C.a.b += 1; C", HARMLESS),
    ("a method", "const C = [1]; C.push(2); C.clear(); C", HARMLESS),
    ("a constant of a constant", "const A = #{ a: 1 }; const B = A; B.a = 2; B", HARMLESS),
    ("a constant condition", "const C = #{ a: true }; if C.a { C.a = false; } C", HARMLESS),
    ("a folded division", "const Z = 0; 1 / Z", REFUSED),
    ("a folded index", "const A = []; A[0][1]", REFUSED),
    ("a constant function", "const F = || 1; F.call(); F = 2", HARMLESS),
    ("a constant that is captured", "const A = [1]; let f = || A.push(1); f.call(); A", HARMLESS),
    ("a constant in a switch", "const A = #{}; switch A { _ if A.x == () => A.x = 1, _ => 2 }", HARMLESS),
    ("a literal", "#{ a: 1 }.a = 2; [1, 2][0] = 3; \"abc\"[0] = 'x'; 1", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_a_constant_map_panics_nothing() {
    one_by_one(CONSTANTS).await;
}

/// Ways to change `ctx`; whether they work is the script's own affair.
const FORGERIES: &[&str] = &[
    "ctx.app_id = \"forged\"",
    "ctx[\"app_id\"] = \"forged\"",
    "ctx.request.body = \"forged\"",
    "ctx.request.headers.x = \"forged\"",
    "ctx += #{ app_id: \"forged\" }",
    "ctx.mixin(#{ app_id: \"forged\" })",
    "ctx.clear()",
    "ctx.remove(\"app_id\")",
    "ctx.set(\"app_id\", \"forged\")",
    "ctx.fill_with(#{ app_id: \"forged\" })",
    "ctx.app_id.clear()",
    "ctx.app_id += \"forged\"",
    "ctx.app_id.replace(\"-\", \"forged\")",
    "ctx.drain(|k, v| true)",
    "ctx.retain(|k, v| false)",
    "set(ctx, \"app_id\", \"forged\")",
    "clear(ctx)",
    "mixin(ctx, #{ app_id: \"forged\" })",
    "take(ctx)",
    "ctx.take()",
    "let f = || { ctx.app_id = \"forged\" }; f.call()",
    "fn f() { ctx.app_id = \"forged\"; } f()",
    "fn f() { this.app_id = \"forged\"; } ctx.f()",
    "fn f() { this = #{ app_id: \"forged\" }; } ctx.f()",
    "Fn(\"clear\").call(ctx)",
    "call(Fn(\"clear\"), ctx)",
    "ctx.call(|| this.app_id = \"forged\")",
    "let f = || this.app_id = \"forged\"; ctx.call(f)",
    "let f = || ctx; ctx.app_id = \"forged\"",
    "const ctx = #{ app_id: \"forged\" };",
    "let ctx = #{ app_id: \"forged\", principal: #{ kind: \"host\" } };",
    "for (v, k) in ctx { v = \"forged\"; }",
    "for ctx in [#{ app_id: \"forged\" }] { kv::collection(\"c\").set(\"loop\", 1); }",
    "let a = [ctx]; a[0].clear();",
    "switch ctx { _ => ctx.app_id = \"forged\" }",
];

async fn kept(app: &App, key: &str) -> Option<i64> {
    app.kv("c").unwrap().get(key).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_ctx_changes_neither_who_calls_services_nor_the_next_call() {
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        let (app, other) = (world.app().await, world.app().await);
        for (index, forgery) in FORGERIES.iter().enumerate() {
            let source = forgery.replace("forged", &other.id().to_string());
            // Function definitions end without a semicolon, the rest is an expression.
            let attack =
                format!("try {{ {source}; }} catch {{ }} kv::collection(\"c\").set(\"{index}\", {index});");
            let attack = match source.split_once("} ").filter(|_| source.starts_with("fn ")) {
                Some((function, call)) => {
                    format!(
                        "{function}}} try {{ {call}; }} catch {{ }} kv::collection(\"c\").set(\"{index}\", {index});"
                    )
                }
                None => attack,
            };
            let script = world.script(&attack);
            let invocation = || picloud_core::execution::Invocation::new(app.id(), script.clone());
            let outcome = world.cloud.executor().run(invocation()).await;
            let key = index.to_string();
            match outcome.result {
                Err(failure) => world.problem(forgery, failure),
                Ok(_) if kept(&app, &key).await != Some(index as i64) => {
                    world.problem(forgery, "it wrote elsewhere")
                }
                Ok(_) => {}
            }
            if other.kv("c").unwrap().has(&key).await.unwrap() {
                world.problem(forgery, "it wrote into another app");
            }
            let seen =
                world.value(&app, "[ctx.app_id, ctx.principal, ctx.request.body, ctx.script_name]").await;
            if seen != format!("[\"{}\",null,null,\"attack\"]", app.id()) {
                world.problem(forgery, format!("the next call sees {seen}"));
            }
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_can_be_imported() {
    // Given a script that lies where the interpreter would look by itself.
    let folder = std::env::temp_dir().join(format!("picloud-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("secret.rhai"), "fn secret() { 42 } export const SECRET = 42;").unwrap();
    let path = folder.join("secret");
    let path = path.to_str().unwrap();
    let ends: &[End] = &[End::Compile, End::Runtime];
    let sources = [
        format!("import {path:?} as s; s::secret()"),
        format!("import \"{path}.rhai\" as s; s::SECRET"),
        format!("let p = {path:?}; import p as s; s::secret()"),
        format!("import `${{\"{path}\"}}` as s; s::secret()"),
        format!("fn f() {{ import {path:?} as s; s::secret() }} f()"),
        format!("[1].map(|x| {{ import {path:?} as s; s::secret() }})"),
        "import \"../../../../etc/passwd\" as s;".to_owned(),
        "import \"file:///etc/passwd\" as s;".to_owned(),
        "import \"attack\" as s; s::x()".to_owned(),
        "import \"\" as s;".to_owned(),
        "import \"/dev/zero\" as s;".to_owned(),
        "import \"/dev/stdin\" as s;".to_owned(),
        "loop { import \"x\" as s; }".to_owned(),
        "open_file(\"/etc/passwd\")".to_owned(),
        "load(\"/etc/passwd\")".to_owned(),
    ];
    let mut attacks: Vec<Attack<'_>> = sources.iter().map(|s| (s.as_str(), s.as_str(), ends)).collect();
    attacks.push(("import in a loop of catches", "loop { try { import \"x\" as s; } catch { } }", STOPPED));
    one_by_one(&attacks).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_from_one_call_to_the_next() {
    for limits in [Limits::Default, Limits::Ceiling] {
        let world = World::new(limits).await;
        let app = world.app().await;
        for source in [
            "let seen = is_def_var(\"x\"); let x = 1; seen",
            "let seen = is_def_fn(\"g\", 0); seen",
            "const L = [1]; let seen = L.len() != 1; try { L.push(2); } catch { } seen",
            "let l = [1, 2, 3]; let seen = l.len() != 3; l.clear(); seen",
            "let s = \"abc\"; let seen = s != \"abc\"; s.clear(); seen",
            "let m = #{ a: #{ b: 1 } }; let seen = m.a.b != 1; m.a.b = 2; seen",
            "let f = |x| x; let seen = f.call(1) != 1; f = |x| 2; seen",
            "let b = ctx.request.body; let seen = b != (); b = 1; seen",
            "let seen = (1).tag != 0; let x = 1; x.tag = 5; seen",
            "let c = ctx; let seen = \"mark\" in c; c.mark = 1; try { ctx.mark = 1; } catch { } seen",
            "fn f() { let seen = \"mark\" in ctx; try { ctx.mark = 1; } catch { } seen } f()",
        ] {
            let script = world.script(source);
            for call in 0..3 {
                let invocation = picloud_core::execution::Invocation::new(app.id(), script.clone());
                let outcome = world.cloud.executor().run(invocation).await;
                let answer = outcome.result.map(|answer| format!("{answer:?}"));
                let none = answer.as_ref().is_ok_and(|answer| answer.contains("false"));
                // What is no function of the language fails each time alike.
                assert!(none || answer.is_err(), "call {call} of {source:?} sees an earlier one: {answer:?}");
            }
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_shadows_functions_for_itself_only() {
    for limits in [Limits::Default, Limits::Ceiling] {
        let world = World::new(limits).await;
        let (app, other) = (world.app().await, world.app().await);
        for shadow in [
            "fn len(x) { -1 } \"abc\".len()",
            "fn to_string(x) { \"forged\" } 5.to_string()",
            "fn sleep(x) { \"forged\" } sleep(1)",
            "fn print(x) { \"forged\" } print(1)",
            "fn parse_json(x) { \"forged\" } parse_json(\"1\")",
            "fn collection(x) { \"forged\" } collection(\"c\")",
            "fn set(a, b, c) { \"forged\" } kv::collection(\"c\").set(\"k\", 1)",
            "fn kv() { } let kv = 5; kv",
            "fn +(a, b) { -1 } 1 + 1",
            "fn get(a, b) { \"forged\" } kv::collection(\"c\").get(\"k\")",
        ] {
            // Whatever it comes to: it is a script's own affair.
            let outcome = world.run(&app, shadow).await;
            assert!(!format!("{:?}", outcome.result).contains("Internal"), "{shadow}: {:?}", outcome.result);
            let seen = world
                .value(&other, "kv::collection(\"c\").set(\"k\", 7); [\"abc\".len(), 5.to_string(), parse_json(\"1\"), kv::collection(\"c\").get(\"k\"), 1 + 1]")
                .await;
            assert_eq!(seen, "[3,\"5\",1,7,2]", "after {shadow}");
        }
        world.finish().await;
    }
}
