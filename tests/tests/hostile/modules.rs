//! Modules that go wrong on purpose: whatever they do, it is done by the script that imports them.

use picloud_core::App;
use picloud_core::script::Bundle;

use crate::world::{Limits, World};

/// Modules, a script that imports them, and how its failure may begin.
struct Attack {
    name: &'static str,
    modules: Vec<(String, String)>,
    main: String,
    ends: &'static [&'static str],
}

fn attack(name: &'static str, modules: &[(&str, &str)], main: &str, ends: &'static [&'static str]) -> Attack {
    let modules = modules.iter().map(|(name, source)| ((*name).to_owned(), format!("//! module\n{source}")));
    Attack { name, modules: modules.collect(), main: main.to_owned(), ends }
}

const STOPPED: &[&str] = &["budget: ", "timeout: "];

fn attacks() -> Vec<Attack> {
    let mut attacks = vec![
        attack(
            "a circle of names made at run time",
            &[("a", "const N = \"b\"; import N as b;"), ("b", "const N = \"a\"; import N as a;")],
            "import \"a\" as a; 1",
            &[
                "runtime: in module \"b\", line 2, column 23: module.cycle: modules import each other in a circle: a → b → a",
            ],
        ),
        attack(
            "a module that imports itself",
            &[("a", "const N = \"a\"; import N as a;")],
            "import \"a\" as a; 1",
            &[
                "runtime: in module \"a\", line 2, column 23: module.cycle: modules import each other in a circle: a → a",
            ],
        ),
        attack(
            "functions that import each other",
            &[
                ("a", "const N = \"b\"; fn f() { const N = \"b\"; import N as b; b::f() }"),
                ("b", "fn f() { const N = \"a\"; import N as a; a::f() }"),
            ],
            "import \"a\" as a; a::f()",
            STOPPED,
        ),
        attack(
            "a constant that never ends",
            &[("m", "const X = { loop { } };")],
            "import \"m\" as m; 1",
            STOPPED,
        ),
        attack(
            "a constant that calls what never ends",
            &[("m", "fn f() { loop { } }\nconst X = f();")],
            "import \"m\" as m; 1",
            STOPPED,
        ),
        attack(
            "a constant that catches its end",
            &[("m", "const X = { try { loop { } } catch { } 1 };")],
            "try { import \"m\" as m; } catch { } 1",
            STOPPED,
        ),
        attack(
            "a constant that recurses",
            &[("m", "fn f() { f() }\nconst X = f();")],
            "import \"m\" as m; 1",
            STOPPED,
        ),
        attack(
            "a constant that takes all memory",
            &[(
                "m",
                "const X = { let m = #{}; let s = \"\"; s.pad(60000, 'x'); let i = 0; loop { m[\"k\" + i] = s + i; i += 1; } };",
            )],
            "import \"m\" as m; 1",
            STOPPED,
        ),
        attack("a constant that sleeps", &[("m", "const X = sleep(100);")], "import \"m\" as m; 1", STOPPED),
        attack(
            "a failing import in a loop of catches",
            &[("m", "const X = 1 / 0;")],
            "loop { try { import \"m\" as m; } catch { } }",
            STOPPED,
        ),
        attack("the same import for ever", &[("m", "fn f() { 1 }")], "loop { import \"m\" as m; }", STOPPED),
        attack(
            "imports that pile up",
            &[("m", "fn f() { 1 }")],
            "fn f(n) { import \"m\" as m; f(n + 1) } f(0)",
            STOPPED,
        ),
        attack(
            "names without end",
            &[],
            "let n = \"\"; loop { n += \"x\"; try { import n as m; } catch { } }",
            STOPPED,
        ),
        attack(
            "a module that throws when it is loaded",
            &[("m", "const X = { throw #{ statusCode: 200 } };")],
            "import \"m\" as m; 1",
            &["runtime: "],
        ),
        attack(
            "callbacks to and fro",
            &[("m", "fn f(g) { g.call(g) }")],
            "import \"m\" as m; m::f(|g| m::f(g))",
            &["budget: ", "timeout: ", "runtime: "],
        ),
    ];
    // As many modules as there may be, each with as many constants as it likes.
    let mut wide = Attack {
        name: "a wide tree of large modules",
        modules: Vec::new(),
        main: "for n in 0..300 { let name = \"m\" + n; import name as m; }".to_owned(),
        ends: &["budget: ", "timeout: ", "runtime: module.too_many"],
    };
    for at in 0..300 {
        let source =
            format!("//! module\nconst N = {at};\nconst X = {{ let s = \"\"; s.pad(60000, 'x'); s + N }};");
        wide.modules.push((format!("m{at}"), source));
    }
    attacks.push(wide);
    let mut many = Attack {
        name: "many functions in many modules",
        modules: Vec::new(),
        main: "loop { for n in 0..40 { let name = \"m\" + n; import name as m; } }".to_owned(),
        ends: STOPPED,
    };
    for at in 0..40 {
        let functions: String = (0..900).map(|n| format!("fn f{n}(x){{x+{n}}}\n")).collect();
        many.modules.push((format!("m{at}"), format!("//! module\nconst X = [{at}].len();\n{functions}")));
    }
    attacks.push(many);
    attacks
}

async fn app_with(world: &World, attack: &Attack) -> App {
    let app = world.app().await;
    let mut bundle = Bundle::new().file("main", &*attack.main).unwrap();
    for (name, source) in &attack.modules {
        bundle = bundle.file(name, &**source).unwrap();
    }
    app.deploy(&bundle).await.unwrap();
    app
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_do_no_more_harm_than_scripts() {
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        for attack in attacks() {
            let app = app_with(&world, &attack).await;
            let main = app.script("main").unwrap();
            // Twice: what was compiled or loaded before changes nothing.
            for _ in 0..2 {
                let outcome = main.execute(main.invocation()).await;
                let told =
                    outcome.result.as_ref().map_or_else(ToString::to_string, |answer| format!("{answer:?}"));
                if !attack.ends.iter().any(|end| told.starts_with(end)) {
                    world.problem(attack.name, format!("ended with {told}"));
                }
                if outcome.duration > std::time::Duration::from_secs(3) {
                    world.problem(attack.name, format!("took {:?}", outcome.duration));
                }
            }
            if world.value(&app, "1 + 1").await != "2" {
                world.problem(attack.name, "a trivial script does not run any more");
            }
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_made_at_run_time_end_at_the_eighth_module() {
    let world = World::new(Limits::Default).await;
    let app = world.app().await;
    let mut bundle = Bundle::new();
    for at in 1..=20 {
        let source = format!("//! module\nconst N = \"m{}\"; import N as n;", at + 1);
        bundle = bundle.file(&format!("m{at}"), source).unwrap();
    }
    app.deploy(&bundle.file("main", "import \"m1\" as m; 1").unwrap()).await.unwrap();
    let main = app.script("main").unwrap();
    let told = main.execute(main.invocation()).await.result.unwrap_err().message;
    let chain = (1..=9).map(|at| format!(" → m{at}")).collect::<String>();
    assert!(
        told.ends_with(&format!("module.too_deep: modules import each other deeper than 8: main{chain}")),
        "{told}"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_values_count_and_are_given_back() {
    let world = World::new(Limits::Default).await;
    let app = world.app().await;
    let module = "//! module\nexport const X = { let m = #{}; let s = \"\"; s.pad(60000, 'x'); for i in 0..100 { m[\"k\" + i] = s + i; } m };";
    let bundle =
        Bundle::new().file("m", module).unwrap().file("main", "import \"m\" as m; m::X.len()").unwrap();
    app.deploy(&bundle).await.unwrap();
    let main = app.script("main").unwrap();
    // Ten times what an app may leak.
    for _ in 0..120 {
        let outcome = main.execute(main.invocation()).await;
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        assert!(outcome.peak_memory > 6_000_000, "{}", outcome.peak_memory);
    }
    world.finish().await;
}
