//! Memory by the ways that no size limit of the interpreter sees.

use crate::world::{Attack, HARMLESS, STOPPED, together};

const MEMORY: &[Attack<'_>] = &[
    ("entries of a map", "let m = #{}; let i = 0; loop { m[`key ${i}`] = `value ${i}`; i += 1; }", STOPPED),
    (
        "elements that are replaced by large ones",
        "let s = \"\"; s.pad(@STRING - 10, 'x'); let a = []; a.pad(@ARRAY, 0); let i = 0; loop { a[i % @ARRAY] = s + i; i += 1; }",
        STOPPED,
    ),
    (
        "properties that are replaced by large ones",
        "let m = #{}; for i in 0..1000 { m[`k${i}`] = 0; } let a = []; a.pad(@ARRAY / 2, 1); let i = 0; loop { m[`k${i % 1000}`] = a; i += 1; }",
        STOPPED,
    ),
    (
        "elements that become arrays",
        "let a = []; a.pad(1000, 0); let b = []; b.pad(1000, 1); let i = 0; loop { a[i % 1000] = b; i += 1; if i % 1000 == 0 { b = a; } }",
        STOPPED,
    ),
    (
        "curried arguments",
        "let s = []; s.pad(@ARRAY / 2, 1); let f = Fn(\"g\"); loop { f = f.curry(s); }",
        STOPPED,
    ),
    ("functions that curry themselves", "let f = Fn(\"g\"); loop { f = f.curry(f); }", STOPPED),
    (
        "locals of frames",
        "fn f(n) { let a = []; a.pad(10000, n); let b = a; b[0] = 1; f(n + 1) } f(0)",
        STOPPED,
    ),
    ("arguments of frames", "fn f(a) { a[0] += 1; f(a) } let a = []; a.pad(@ARRAY, 1); f(a)", STOPPED),
    (
        "strings of frames",
        "fn f(s) { let t = s + \"y\"; f(t) } let s = \"\"; s.pad(@STRING - 200, 'x'); f(s)",
        STOPPED,
    ),
    (
        "variables",
        "let s = \"\"; s.pad(@STRING - 30, 'x'); let i = 0; loop { let x = s + i; let f = || x; i += 1; }",
        HARMLESS,
    ),
    (
        "closures in an array",
        "let a = []; let s = []; s.pad(1000, 1); loop { let x = s; x[0] = 2; a.push(|| x); }",
        STOPPED,
    ),
    (
        "interpolated texts",
        "let a = []; let i = 0; let s = \"\"; s.pad(1000, 'x'); loop { a.push(`${s}${i}`); i += 1; if a.len() == @ARRAY { a = [a]; } }",
        STOPPED,
    ),
    (
        "arrays in arrays in arrays",
        "let a = []; a.pad(1000, 0); loop { let b = []; b.pad(1000, 0); for i in 0..1000 { b[i] = a; } a = b; }",
        STOPPED,
    ),
    ("maps in maps", "let m = #{ a: 1 }; loop { m = #{ a: m, b: m }; }", STOPPED),
    ("blobs in a map", "let m = #{}; let i = 0; loop { m[`k${i}`] = blob(1000000, 1); i += 1; }", STOPPED),
    (
        "long keys",
        "let s = \"\"; s.pad(@STRING / 2, 'x'); let m = #{}; let i = 0; loop { m[`${s}${i}`] = 1; i += 1; }",
        STOPPED,
    ),
    ("thrown values", "let a = []; loop { try { throw a } catch (e) { a = [e, e]; } }", STOPPED),
    (
        "timestamps",
        "let a = []; loop { a.push(timestamp()); if a.len() == @ARRAY { let b = a; a = [b]; } }",
        STOPPED,
    ),
    (
        "parts of a text",
        "let s = \"\"; s.pad(@STRING, 'x'); let a = []; let i = 0; loop { a.push(s.sub_string(i % 10)); i += 1; }",
        STOPPED,
    ),
    (
        "as much as is allowed, over and over",
        "loop { let a = []; for i in 0..300 { a.push(blob(100000, 1)); } }",
        STOPPED,
    ),
    ("a modest amount", "let a = []; for i in 0..30 { a.push(blob(1000000, 1)); } a.len()", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_whatever_way_it_is_gathered() {
    together(7, MEMORY).await;
}
