//! Services, called with arguments that nobody expects.

use crate::world::{Attack, HARMLESS, Limits, REFUSED, STOPPED, World, one_by_one, together};

const ODD: &[Attack<'_>] = &[
    ("no number", "let z = 0.0; kv::collection(\"c\").set(\"k\", z / z)", REFUSED),
    ("an infinite number", "kv::collection(\"c\").set(\"k\", [1e300 * 1e300])", REFUSED),
    ("a function", "kv::collection(\"c\").set(\"k\", #{ f: || 1 })", REFUSED),
    ("a timestamp", "kv::collection(\"c\").set(\"k\", timestamp())", REFUSED),
    ("a handle", "let c = kv::collection(\"c\"); c.set(\"k\", c)", REFUSED),
    ("a NUL in the key", "kv::collection(\"c\").set(\"a\\x00b\", 1)", REFUSED),
    ("a NUL in the value", "kv::collection(\"c\").set(\"k\", \"a\\x00b\")", REFUSED),
    (
        "a NUL in a key of the value",
        "let m = #{}; m[\"\\x00\"] = 1; kv::collection(\"c\").set(\"k\", m)",
        REFUSED,
    ),
    ("a NUL in the name", "kv::collection(\"a\\x00b\")", REFUSED),
    ("an empty name", "kv::collection(\"\")", REFUSED),
    ("a name that is none", "kv::collection(\"../other\")", REFUSED),
    ("a name that is a number", "kv::collection(5)", REFUSED),
    ("a long name", "let s = \"\"; s.pad(1000, 'x'); kv::collection(s)", REFUSED),
    ("an empty key", "kv::collection(\"c\").set(\"\", 1)", REFUSED),
    ("a long key", "let s = \"\"; s.pad(@STRING, 'x'); kv::collection(\"c\").set(s, 1)", REFUSED),
    ("a key that is a function", "kv::collection(\"c\").get(|| 1)", REFUSED),
    ("a key that is a number", "kv::collection(\"c\").get(1)", REFUSED),
    ("a large value", "kv::collection(\"c\").set(\"k\", blob(2000000, 1))", REFUSED),
    ("a deep value", "let a = []; for i in 0..70 { a = [a]; } kv::collection(\"c\").set(\"k\", a)", REFUSED),
    ("an option that is none", "kv::collection(\"c\").set(\"k\", 1, #{ app: \"other\" })", REFUSED),
    ("no time to live", "kv::collection(\"c\").set(\"k\", 1, #{ ttl_seconds: 0 })", REFUSED),
    ("negative time to live", "kv::collection(\"c\").set(\"k\", 1, #{ ttl_seconds: -1 })", REFUSED),
    (
        "endless time to live",
        "kv::collection(\"c\").set(\"k\", 1, #{ ttl_seconds: 9223372036854775807 })",
        HARMLESS,
    ),
    ("time to live that is a text", "kv::collection(\"c\").set(\"k\", 1, #{ ttl_seconds: \"1\" })", REFUSED),
    ("options that are a number", "kv::collection(\"c\").set(\"k\", 1, 5)", REFUSED),
    ("too many arguments", "kv::collection(\"c\").set(\"k\", 1, #{}, 4)", REFUSED),
    ("too few arguments", "kv::collection(\"c\").set()", REFUSED),
    (
        "an overflow",
        "let c = kv::collection(\"c\"); c.increment(\"n\", 9223372036854775807); c.increment(\"n\", 1)",
        REFUSED,
    ),
    (
        "an increment of a text",
        "let c = kv::collection(\"c\"); c.set(\"n\", \"1\"); c.increment(\"n\")",
        REFUSED,
    ),
    ("an increment by a float", "kv::collection(\"c\").increment(\"n\", 1.5)", REFUSED),
    ("a cursor of one's own", "kv::collection(\"c\").list(#{ cursor: \"AAAA\" })", REFUSED),
    ("a page without end", "kv::collection(\"c\").list(#{ limit: 9223372036854775807 })", HARMLESS),
    ("a page backwards", "kv::collection(\"c\").list(#{ limit: -1 })", REFUSED),
    ("many keys", "let a = []; a.pad(@ARRAY, \"k\"); kv::collection(\"c\").get_many(a)", HARMLESS),
    ("keys that are none", "kv::collection(\"c\").get_many([1, || 2])", REFUSED),
    ("comparing no number", "let z = 0.0; kv::collection(\"c\").compare_and_set(\"k\", z / z, 1)", REFUSED),
    ("a method on something else", "set(5, \"k\", 1)", REFUSED),
    (
        "a method through a pointer",
        "let f = Fn(\"set\"); f.call(kv::collection(\"c\"), \"k\", || 1)",
        REFUSED,
    ),
];

const ENDLESS: &[Attack<'_>] = &[
    (
        "in a comparer",
        "let c = kv::collection(\"c\"); [3, 2, 1].sort(|a, b| c.increment(\"n\", a))",
        HARMLESS,
    ),
    ("over and over", "let c = kv::collection(\"c\"); loop { c.increment(\"n\") }", STOPPED),
    (
        "over and over, in callbacks",
        "let c = kv::collection(\"c\"); let a = []; a.pad(100, 1); loop { a.map(|x| c.get(\"n\")); }",
        STOPPED,
    ),
    ("errors over and over", "loop { try { kv::collection(\"\") } catch { } }", STOPPED),
    (
        "handles over and over",
        "let a = []; loop { a.push(kv::collection(\"c\")); if a.len() == @ARRAY { a = [a]; } }",
        STOPPED,
    ),
    (
        "large values read over and over",
        "let c = kv::collection(\"c\"); c.set(\"k\", blob(700000, 1)); let a = []; loop { a.push(c.get(\"k\")); }",
        STOPPED,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_arguments_of_services_are_refused() {
    one_by_one(ODD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_services_without_end_keep_nobody_waiting() {
    together(ENDLESS.len(), ENDLESS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_write_writes_nothing() {
    for limits in [Limits::Default, Limits::Ceiling] {
        let world = World::new(limits).await;
        let app = world.app().await;
        for value in ["|| 1", "0.0 / 0.0 * 0.0", "\"\\x00\"", "blob(2000000, 1)", "[[|| 1]]", "timestamp()"] {
            world.run(&app, &format!("kv::collection(\"c\").set(\"k\", {value})")).await.result.unwrap_err();
            assert!(!app.kv("c").unwrap().has("k").await.unwrap(), "{value}");
        }
        world.finish().await;
    }
}
