//! Values that contain themselves.

use crate::world::{Attack, HARMLESS, Limits, REFUSED, World, one_by_one};

const CYCLES: &[Attack<'_>] = &[
    ("returned", "let a = #{}; a.f = || a; a", REFUSED),
    ("its function, returned", "let a = #{}; a.f = || a; a.f", REFUSED),
    ("as JSON", "let a = #{}; a.f = || a; a.to_json()", REFUSED),
    ("printed", "let a = #{}; a.f = || a; print(a); debug(a); 1", HARMLESS),
    ("as text", "let a = #{}; a.f = || a; `${a}` + a.to_string() + a.to_debug()", HARMLESS),
    ("compared", "let a = #{}; a.f = || a; let b = #{}; b.f = || b; [a == a, a == b, a.f == b.f]", HARMLESS),
    ("searched", "let a = #{}; a.f = || a; [a in [a], [a].index_of(a)]", HARMLESS),
    ("logged", "let a = #{}; a.f = || a; log::info(\"x\", a)", REFUSED),
    ("logged as the message", "let a = #{}; a.f = || a; log::info(a)", REFUSED),
    ("thrown", "let a = #{}; a.f = || a; throw a", REFUSED),
    ("thrown as a response", "let a = #{ statusCode: 200 }; a.body = || a; throw a", REFUSED),
    ("called", "let a = #{}; a.f = || a; a.f.call().f.call().f.call(); 1", HARMLESS),
    ("called for ever", "let a = #{}; a.f = || a.f.call(); a.f.call()", HARMLESS),
    (
        "changed while it is read",
        "let a = [1, 2, 3]; let f = || { a.push(1); a.len() }; a.map(|x| f.call())",
        HARMLESS,
    ),
    ("pushed into itself", "let a = []; let f = || a; a.push(a); a.push(f); a.len()", HARMLESS),
    ("an array in itself", "let a = []; let f = || a; loop { a.push(f); a = a; }", HARMLESS),
    ("appended to itself", "let a = [1]; let f = || a; a += a; a.append(a); a == a", HARMLESS),
    ("padded with itself", "let a = [1]; let f = || a; a.pad(100, a); a.len()", HARMLESS),
    ("assigned into itself", "let a = [1]; let f = || a; a[0] = a; a[0][0] = a; a", HARMLESS),
    ("a property of itself", "let m = #{}; let f = || m; m.m = m; m.m.m = m; m.to_json()", HARMLESS),
    ("mixed into itself", "let m = #{ a: 1 }; let f = || m; m.mixin(m); m += m; m.fill_with(m); m", HARMLESS),
    ("a text of itself", "let s = \"x\"; let f = || s; s += s; s.replace(s, s); s.pad(9, s); s", HARMLESS),
    ("sorted by itself", "let a = [3, 1, 2]; a.sort(|x, y| { a.push(1); x - y }); a", HARMLESS),
    ("drained by itself", "let a = [3, 1, 2]; a.drain(|x| { a.clear(); true }); a", HARMLESS),
    ("retained by itself", "let a = [3, 1, 2]; a.retain(|x| { a.push(x); true }); a", HARMLESS),
    ("a map retained by itself", "let m = #{ a: 1 }; m.retain(|k, v| { m.b = 2; true }); m", HARMLESS),
    (
        "iterated while it grows",
        "let a = [1]; let f = || a; for x in a { a.push(x); if a.len() > 100 { break; } } a.len()",
        HARMLESS,
    ),
    ("stored", "let a = #{}; a.f = || a; kv::collection(\"c\").set(\"k\", a)", REFUSED),
    ("stored, function alone", "kv::collection(\"c\").set(\"k\", || 1)", REFUSED),
    ("a response", "let a = #{ statusCode: 200, headers: #{} }; a.headers.x = || a; a", HARMLESS),
    (
        "as an error that is printed",
        "let a = #{}; a.f = || a; try { throw a } catch (e) { print(e); `${e}` }",
        HARMLESS,
    ),
    ("a hundred of them", "for i in 0..100 { let a = #{}; a.f = || a; a.g = || a.f; } 1", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_contains_itself_is_refused_where_it_would_be_written() {
    one_by_one(CYCLES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_leaks_by_cycles_is_stopped_and_no_other() {
    let world = World::new(Limits::Default).await;
    let (app, other) = (world.app().await, world.app().await);
    let source = "let a = #{ blob: blob(8000000, 1) }; a.f = || a; 1";
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(world.value(&app, source).await);
    }
    // Eight megabytes each: within 64 MiB there is room for eight, and one that takes it past.
    assert!(answers.iter().filter(|answer| *answer == "1").count() <= 9, "{answers:?}");
    assert!(answers[19].contains("max_leaked_memory"), "{answers:?}");
    assert_eq!(world.value(&other, "1 + 1").await, "2");
}
