//! Time: waiting, callbacks that go on for ever, and single operations that take long.

use crate::world::{Attack, HARMLESS, Limits, REFUSED, STOPPED, World, together};

const SLEEPS: &[Attack<'_>] = &[
    (
        "more seconds than there are",
        "sleep(1e308)",
        &[crate::world::End::Runtime, crate::world::End::Timeout],
    ),
    ("infinitely many seconds", "sleep(1e300 * 1e300)", REFUSED),
    ("no number of seconds", "let z = 0.0; sleep(z / z)", REFUSED),
    ("seconds backwards", "sleep(-1)", REFUSED),
    ("a fraction backwards", "sleep(-0.000001)", REFUSED),
    ("the largest number", "sleep(9223372036854775807)", STOPPED),
    ("the smallest number", "sleep(-9223372036854775807 - 1)", REFUSED),
    ("longer than allowed", "sleep(3600); 1", STOPPED),
    ("longer than allowed, through a pointer", "let f = Fn(\"sleep\"); f.call(1e9)", STOPPED),
    ("inside a callback", "[1].map(|x| sleep(1e9))", STOPPED),
    ("inside a comparer", "[3, 2, 1].sort(|a, b| { sleep(0.5); 1 })", HARMLESS),
    ("where errors are caught", "loop { try { sleep(0.01) } catch { } }", STOPPED),
    ("where refusals are caught", "loop { try { sleep(-1) } catch { } }", STOPPED),
    ("for no time, over and over", "loop { sleep(0) }", STOPPED),
    ("for the shortest time, over and over", "loop { sleep(0.000000001) }", STOPPED),
    ("in a function of that name", "fn sleep(n) { loop { } } sleep(1)", STOPPED),
    ("a text", "sleep(\"1\")", REFUSED),
    ("on a timestamp", "let t = timestamp(); while t.elapsed < 60 { } 1", STOPPED),
    ("a timestamp at the edge", "let t = timestamp(); (t + 9223372036854775807) - 1e300", HARMLESS),
    ("a timestamp before time", "let t = timestamp(); t - 9223372036854775807", HARMLESS),
    ("a timestamp and no number", "let t = timestamp(); let z = 0.0; t += z / z; t.elapsed", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_waits_blocks_nobody_and_ends_at_its_deadline() {
    together(SLEEPS.len(), SLEEPS).await;
}

const CALLBACKS: &[Attack<'_>] = &[
    ("map", "[1].map(|x| { loop { } })", STOPPED),
    ("filter", "[1].filter(|x| { loop { } })", STOPPED),
    ("reduce", "[1, 2].reduce(|sum, x| { loop { } })", STOPPED),
    ("reduce_rev", "[1, 2].reduce_rev(|sum, x| { loop { } }, 0)", STOPPED),
    ("for_each", "[1].for_each(|| { loop { } })", STOPPED),
    ("some", "[1].some(|x| { loop { } })", STOPPED),
    ("all", "[1].all(|x| { loop { } })", STOPPED),
    ("find", "[1].find(|x| { loop { } })", STOPPED),
    ("find_map", "[1].find_map(|x| { loop { } })", STOPPED),
    ("index_of", "[1].index_of(|x| { loop { } })", STOPPED),
    ("drain", "[1].drain(|x| { loop { } })", STOPPED),
    ("retain", "[1].retain(|x| { loop { } })", STOPPED),
    ("dedup", "[1, 2, 3].dedup(|a, b| { loop { } })", STOPPED),
    ("sort", "[2, 1].sort(|a, b| { loop { } })", STOPPED),
    ("sort_by", "[2, 1].sort_by(|a, b| { loop { } })", STOPPED),
    ("order_by", "[2, 1].order_by(|a, b| { loop { } })", STOPPED),
    ("filter of a map", "#{ a: 1 }.filter(|k, v| { loop { } })", STOPPED),
    ("drain of a map", "#{ a: 1 }.drain(|k, v| { loop { } })", STOPPED),
    ("retain of a map", "#{ a: 1 }.retain(|k, v| { loop { } })", STOPPED),
    ("for_each of a map", "#{ a: 1 }.for_each(|k, v| { loop { } })", HARMLESS),
    (
        "callbacks of callbacks",
        "let b = []; b.pad(1000, 1); let c = b; let a = b; a.map(|x| b.map(|y| c.map(|z| x + y + z)))",
        STOPPED,
    ),
    ("many short callbacks", "let a = []; a.pad(@ARRAY, 1); loop { a.map(|x| x + 1); }", STOPPED),
    ("errors swallowed in callbacks", "loop { try { [1].map(|x| { while true { } }) } catch { } }", STOPPED),
    (
        "a comparer that lies",
        "let a = []; for i in 0..5000 { a.push(i); } loop { a.sort(|x, y| 1); a.sort(|x, y| -1); }",
        STOPPED,
    ),
    (
        "a comparer of odd answers",
        "let a = []; for i in 0..5000 { a.push(i); } loop { a.sort(|x, y| ()); a.sort(|x, y| \"a\"); }",
        HARMLESS,
    ),
    ("callbacks by name", "fn spin(x) { loop { } } [1].map(Fn(\"spin\"))", STOPPED),
    ("a getter by index", "let a = [1]; a[{ loop { } }]", STOPPED),
    ("a default that loops", "let m = #{}; (m?.x ?? { loop { } })", STOPPED),
    ("a loop in an interpolation", "`${loop { }}`", STOPPED),
    ("a loop in a switch", "switch { loop { } } { 1 => 2, _ => 3 }", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_in_callbacks_of_natives_are_counted() {
    together(CALLBACKS.len(), CALLBACKS).await;
}

const COSTLY: &[Attack<'_>] = &[
    ("in", "let a = []; a.pad(@ARRAY, 1); loop { 2 in a; }", STOPPED),
    ("plus", "let a = []; a.pad(@ARRAY / 2, 1); loop { a + a; }", STOPPED),
    ("slices", "let a = []; a.pad(@ARRAY, 1); loop { a.extract(0..@ARRAY); }", STOPPED),
    ("extracts", "let a = []; a.pad(@ARRAY, 1); loop { a.extract(0, @ARRAY); }", STOPPED),
    ("comparisons", "let a = []; a.pad(@ARRAY, 1); let b = a; loop { a == b; }", STOPPED),
    ("copies", "let a = []; a.pad(@ARRAY, 1); loop { let b = a; b[0] = 2; }", STOPPED),
    ("arguments", "fn f(a) { a.len() } let a = []; a.pad(@ARRAY, 1); loop { f(a); }", STOPPED),
    (
        "sorting",
        "let a = []; for i in 0..@ARRAY / 10 { a.push(@ARRAY - i); } loop { a.sort(); a.reverse(); }",
        STOPPED,
    ),
    (
        "insertion at the front",
        "let a = []; a.pad(@ARRAY - 1, 1); loop { a.insert(0, 1); a.shift(); }",
        STOPPED,
    ),
    ("searching", "let a = []; a.pad(@ARRAY, 1); loop { a.index_of(2); }", STOPPED),
    (
        "removing duplicates",
        "let a = []; for i in 0..@ARRAY / 10 { a.push(i); } loop { let b = a; b.dedup(); }",
        STOPPED,
    ),
    (
        "keys and values",
        "let m = #{}; for i in 0..2000 { m[`k${i}`] = i; } loop { m.keys(); m.values(); m + m; m == m; }",
        STOPPED,
    ),
    (
        "strings as arguments",
        "let s = \"\"; s.pad(@STRING, 'x'); loop { s.index_of(\"y\"); s.to_upper(); s.len(); }",
        STOPPED,
    ),
    (
        "searching for what almost matches",
        "let s = \"\"; s.pad(@STRING, 'x'); let n = \"\"; n.pad(@STRING / 2, 'x'); n += 'y'; loop { s.contains(n); }",
        STOPPED,
    ),
    ("the last character", "let s = \"\"; s.pad(@STRING, 'ä'); loop { s[-1]; s[@STRING / 3]; }", HARMLESS),
    (
        "growing by a character",
        "let s = \"\"; s.pad(@STRING / 2, 'x'); loop { s += 'x'; s.truncate(@STRING / 2); }",
        STOPPED,
    ),
    ("blobs", "let b = blob(10000000, 1); loop { let c = b; c[0] = 2; c == b; c.contains(3); }", STOPPED),
    ("blobs back and forth", "let b = blob(1000000, 65); loop { b.as_string(); b.to_array(); }", STOPPED),
    (
        "JSON back and forth",
        "let a = []; a.pad(@ARRAY / 2, 1); loop { parse_json(#{ a: a }.to_json()); }",
        STOPPED,
    ),
    (
        "rows of rows",
        "let a = []; for i in 0..100 { let r = []; r.pad(@ARRAY / 200, i); a.push(r); } loop { a[99][0] += 1; let b = a; b == a; }",
        STOPPED,
    ),
    (
        "nested changes",
        "let a = [[[[]]]]; a[0][0][0].pad(@ARRAY / 2, 1); loop { a[0][0][0][7] += 1; }",
        STOPPED,
    ),
    (
        "a constant in a loop",
        "const A = []; let b = A; b.pad(@ARRAY, 1); loop { for x in b { break; } }",
        STOPPED,
    ),
    ("captured values", "let a = []; a.pad(@ARRAY, 1); let f = || a.len(); loop { f.call(); }", STOPPED),
    (
        "curried values",
        "let a = []; a.pad(@ARRAY, 1); let f = Fn(\"g\").curry(a); fn g(a) { a.len() } loop { f.call(); }",
        STOPPED,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_costly_operation_is_ended_by_the_clock() {
    together(9, COSTLY).await;
}

/// Single operations that take long: a character of a text is changed by the interpreter itself, by way of all
/// characters (about ten milliseconds for 64 KiB, a hundred for the megabyte of the ceiling, unoptimised); an array of
/// a hundred thousand elements is written out. Nothing can interrupt them, so the bystander usually waits longer than
/// the twenty milliseconds of all other tests. What holds is the bound on the longest wait.
const COARSE: &[Attack<'_>] = &[
    (
        "changing characters",
        "let s = \"\"; s.pad(@STRING - 10, 'x'); loop { s[0] = 'y'; s[0] = 'x'; }",
        STOPPED,
    ),
    ("printing", "let a = []; a.pad(@ARRAY / 2, 1); loop { print(a); }", STOPPED),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coarse_operation_keeps_others_waiting_for_itself_only() {
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        world.coarse = true;
        world.one_by_one(COARSE).await;
        world.finish().await;
    }
}
