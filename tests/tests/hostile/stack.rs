//! Depth: of values, of calls, of expressions.

use crate::world::{Attack, End, HARMLESS, REFUSED, STOPPED, one_by_one, together};

const NESTED: &[Attack<'_>] = &[
    ("arrays, returned", "let a = []; for i in 0..100000 { a = [a]; } a", HARMLESS),
    ("arrays by pushing", "let a = []; loop { let b = []; b.push(a); a = b; }", STOPPED),
    ("maps, returned", "let m = #{}; for i in 0..100000 { m = #{ m: m }; } m", HARMLESS),
    ("arrays, taken along", "let a = []; loop { a = [a.take()]; }", HARMLESS),
    (
        "arrays, printed",
        "let a = []; for i in 0..2000 { a = [a]; } print(a); debug(a); `${a}`.len()",
        HARMLESS,
    ),
    ("arrays, compared", "let a = []; for i in 0..2000 { a = [a]; } let b = a; a == b", HARMLESS),
    ("arrays, searched", "let a = []; for i in 0..2000 { a = [a]; } a in [a]", HARMLESS),
    ("arrays, as JSON", "let a = []; for i in 0..300 { a = [a]; } #{ a: a }.to_json()", REFUSED),
    ("arrays, thrown", "let a = []; for i in 0..300 { a = [a]; } throw a", REFUSED),
    ("arrays, logged", "let a = []; for i in 0..300 { a = [a]; } log::info(\"x\", a)", REFUSED),
    (
        "arrays, padded",
        "let a = []; for i in 0..2000 { a = [a]; } let b = []; b.pad(1000, a); b.len()",
        HARMLESS,
    ),
    (
        "arrays, without duplicates",
        "let a = []; for i in 0..2000 { a = [a]; } let b = [a, a]; b.dedup(); b.len()",
        HARMLESS,
    ),
    (
        "arrays, sorted",
        "let a = []; for i in 0..2000 { a = [a]; } let b = [a, a]; b.sort(); b.len()",
        HARMLESS,
    ),
    ("functions in functions", "let f = || 1; let i = 0; loop { let g = f; f = || g; i += 1; }", STOPPED),
    (
        "functions in functions, called",
        "let f = |x| 1; for i in 0..2000 { let g = f; f = |x| g.call(x); } f.call(1)",
        STOPPED,
    ),
    (
        "functions in functions, dropped",
        "let f = || 1; for i in 0..100000 { let g = f; f = || g; } 1",
        HARMLESS,
    ),
    (
        "functions in functions, compared",
        "let f = || 1; for i in 0..5000 { let g = f; f = || g; } let h = f; f == h",
        HARMLESS,
    ),
    (
        "functions in functions, printed",
        "let f = || 1; for i in 0..5000 { let g = f; f = || g; } print(f); `${f}`.len()",
        HARMLESS,
    ),
    (
        "curried functions in functions",
        "let f = Fn(\"g\"); for i in 0..100000 { f = Fn(\"g\").curry(f); } 1",
        HARMLESS,
    ),
    (
        "shared values in shared values",
        "let a = []; for i in 0..50000 { let b = a; let f = || b; a = [b]; } 1",
        HARMLESS,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_values_do_not_overflow_the_stack() {
    together(10, NESTED).await;
}

/// Recursion whose every level is a deep expression.
fn deep_levels(open: &str, close: &str, depth: usize) -> String {
    format!("fn f(n) {{ {}f(n + 1){} }} f(0)", open.repeat(depth), close.repeat(depth))
}

const RECURSION: &[Attack<'_>] = &[
    ("a function", "fn f(n) { f(n + 1) } f(0)", STOPPED),
    ("two functions", "fn f(n) { g(n) } fn g(n) { f(n) } f(0)", STOPPED),
    ("a function and its sum", "fn f(n) { 1 + f(n + 1) } f(0)", STOPPED),
    ("a callback", "fn f(n) { [n].map(|x| f(x)) } f(0)", STOPPED),
    ("a comparer", "fn f(n) { [2, 1].sort(|a, b| f(a)) } f(0)", STOPPED),
    ("an interpolation", "fn f(n) { `${f(n)}` } f(0)", STOPPED),
    ("a function by name", "fn f(n) { call(Fn(\"f\"), n) } f(0)", STOPPED),
    ("a closure that is given itself", "let f = |g| g.call(g); f.call(f)", STOPPED),
    ("a caught recursion", "fn f(n) { try { f(n + 1) } catch { f(n + 1) } } f(0)", STOPPED),
    ("a recursion in catch", "fn f(n) { try { throw 1 } catch { f(n + 1) } } f(0)", STOPPED),
    ("a tree", "fn f(n) { f(n + 1); f(n + 1) } try { f(0) } catch { }", STOPPED),
    ("a switch", "fn f(n) { switch n { 0 => f(n), _ => f(n) } } f(0)", STOPPED),
    ("to_string of one's own", "fn to_string(x) { `${x}` } let a = [1]; `${a}` + a", HARMLESS),
    ("an operator of one's own", "fn +(a, b) { a + b } 1 + 2", HARMLESS),
    ("equality of one's own", "fn ==(a, b) { a == b } [1] == [2]", HARMLESS),
    ("eval", "eval(\"1 + 1\")", &[End::Compile, End::Runtime]),
    ("eval of eval", "let s = \"eval(s)\"; eval(s)", &[End::Compile, End::Runtime]),
    ("eval by name", "Fn(\"eval\").call(\"1\")", &[End::Compile, End::Runtime]),
    ("eval by text", "let n = \"ev\" + \"al\"; call(Fn(n), \"40 + 2\")", &[End::Compile, End::Runtime]),
    ("eval as a method", "\"1\".eval()", &[End::Compile, End::Runtime]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recursion_ends_before_the_stack_does() {
    let deep: Vec<(String, String)> =
        [("(1 + ", ")"), ("[", "]"), ("#{a: ", "}"), ("{ ", " }"), ("if true { ", " }"), ("-", "")]
            .iter()
            .flat_map(|(open, close)| {
                [10, 14, 28, 30, 60]
                    .map(|depth| (format!("{depth} times {open:?}"), deep_levels(open, close, depth)))
            })
            .collect();
    let mut attacks = RECURSION.to_vec();
    let ends = &[End::Compile, End::Runtime, End::Budget, End::Timeout];
    attacks.extend(deep.iter().map(|(name, source)| (name.as_str(), source.as_str(), &ends[..])));
    one_by_one(&attacks).await;
}
