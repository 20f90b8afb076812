//! What leaves a script: logs, responses, errors.

use picloud_core::log::{MAX_LOG_BYTES, MAX_LOG_LINES};

use crate::world::{Attack, HARMLESS, Limits, REFUSED, STOPPED, World, one_by_one, together};

const FLOODS: &[Attack<'_>] = &[
    ("prints", "loop { print(\"x\") }", STOPPED),
    ("debugs", "loop { debug(\"x\") }", STOPPED),
    ("long prints", "let s = \"\"; s.pad(@STRING, 'x'); loop { print(s) }", STOPPED),
    ("log lines", "loop { log::info(\"x\") }", STOPPED),
    ("log lines with data", "let a = []; a.pad(1000, 1); loop { log::warn(\"x\", #{ a: a }) }", STOPPED),
    ("long log lines", "let s = \"\"; s.pad(@STRING, 'x'); loop { log::error(s, s) }", STOPPED),
    ("log lines of arrays", "let a = []; a.pad(1000, \"x\"); loop { log::trace(a) }", STOPPED),
    ("log lines of functions", "log::info(|| 1)", REFUSED),
    ("log lines of no number", "let z = 0.0; log::info(\"x\", z / z)", REFUSED),
    ("log lines in callbacks", "let a = []; a.pad(1000, 1); loop { a.map(|x| log::info(\"x\")); }", STOPPED),
    ("control characters", "log::info(\"a\\r\\nb\\x00\\x1b[2J\"); print(\"\\x00\\n\"); 1", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_log_lines_ends_with_the_script() {
    together(6, FLOODS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_keeps_so_many_lines_and_bytes_and_counts_the_rest() {
    let world = World::new(Limits::Ceiling).await;
    let app = world.app().await;
    for source in [
        "for i in 0..5000 { print(i) }",
        "let s = \"\"; s.pad(10000, 'x'); for i in 0..2000 { log::info(s, s) }",
        "let s = \"\"; s.pad(@STRING, 'x'); for i in 0..20 { print(s) }",
    ] {
        let log = world.run(&app, source).await.log;
        let bytes: usize =
            log.lines.iter().map(|line| line.message.len() + line.data.as_ref().map_or(0, |d| d.len())).sum();
        assert!(
            log.lines.len() <= MAX_LOG_LINES && bytes <= MAX_LOG_BYTES,
            "{source}: {} {bytes}",
            log.lines.len()
        );
        assert!(log.dropped > 0, "{source}");
    }
    world.finish().await;
}

const LARGE: &[Attack<'_>] = &[
    ("a long text", "let s = \"\"; s.pad(@STRING, 'x'); s", HARMLESS),
    ("many long texts", "let s = \"\"; s.pad(@STRING, 'x'); let a = []; a.pad(@ARRAY, s); a", HARMLESS),
    (
        "characters that are written longer",
        "let s = \"\"; s.pad(@STRING, '\\x01'); let a = []; a.pad(1000, s); a",
        HARMLESS,
    ),
    ("a large blob", "blob(10000000, 1)", HARMLESS),
    ("a large blob in JSON", "[blob(10000000, 1)]", HARMLESS),
    (
        "shared over and over",
        "let a = [1]; for i in 0..14 { let b = a; let f = || b; a = [b, b]; } a",
        HARMLESS,
    ),
    (
        "shared until the end",
        "let a = [1]; for i in 0..60 { let b = a; let f = || b; a = [f, f]; } a",
        HARMLESS,
    ),
    ("no number", "let z = 0.0; z / z", REFUSED),
    ("an infinite number", "1e300 * 1e300", REFUSED),
    ("a NUL", "\"a\\x00b\"", REFUSED),
    ("a NUL in a key", "let m = #{}; m[\"\\x00\"] = 1; m", REFUSED),
    ("a function", "|| 1", REFUSED),
    ("a timestamp", "timestamp()", REFUSED),
    ("a range", "0..10", REFUSED),
    ("a handle", "kv::collection(\"c\")", REFUSED),
    ("an exit with a function", "exit(|| 1)", REFUSED),
    ("an exit in a callback", "[1].map(|x| exit(5)); 6", HARMLESS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_large_or_no_value_is_refused() {
    one_by_one(LARGE).await;
}

const THROWN: &[Attack<'_>] = &[
    ("nothing", "throw", REFUSED),
    ("no number", "let z = 0.0; throw z / z", REFUSED),
    ("a function", "throw || 1", REFUSED),
    ("a long text", "let s = \"\"; s.pad(@STRING, 'x'); throw s", REFUSED),
    ("a large array", "let a = []; a.pad(@ARRAY, 1); throw a", REFUSED),
    ("a blob", "throw blob(1000000, 1)", REFUSED),
    ("a range", "throw 0..9", REFUSED),
    ("a timestamp", "throw timestamp()", REFUSED),
    ("a handle", "throw kv::collection(\"c\")", REFUSED),
    ("control characters", "throw \"a\\r\\n\\x00\\x1b[31m\"", REFUSED),
    ("a forged service error", "throw #{ code: \"internal\", message: \"a defect\" }", REFUSED),
    ("a code that is none", "throw #{ code: || 1, message: [1] }", REFUSED),
    ("a forged error of the sandbox", "throw \"Script terminated\"", REFUSED),
    ("a status", "throw #{ statusCode: 200, body: 1 }", REFUSED),
    ("a position", "throw #{ message: \"x (line 9223372036854775807, position 1)\" }", REFUSED),
    ("over and over", "let e = 1; loop { try { throw e } catch (x) { e = x; } }", STOPPED),
    ("from a callback", "[1].map(|x| throw [x, || x])", REFUSED),
    ("from a comparer", "[2, 1].sort(|a, b| throw #{ a: a })", REFUSED),
    ("from deep below", "fn f(n) { if n == 0 { throw n } f(n - 1) } f(20)", REFUSED),
    ("again", "try { throw 1 } catch (e) { throw [e, e] }", REFUSED),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_thrown_values_are_errors_of_the_script() {
    one_by_one(THROWN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_response_is_an_error_of_the_script() {
    for limits in [Limits::Default, Limits::Ceiling] {
        let mut world = World::new(limits).await;
        let app = world.app().await;
        for source in [
            "#{ statusCode: 100 }",
            "#{ statusCode: 99999999999 }",
            "#{ statusCode: -200 }",
            "#{ statusCode: 200.0 }",
            "#{ statusCode: () }",
            "#{ statusCode: || 1 }",
            "#{ statusCode: 200, headers: [] }",
            "#{ statusCode: 200, headers: #{ x: || 1 } }",
            "#{ statusCode: 200, headers: #{ x: #{} } }",
            "#{ statusCode: 200, headers: #{ x: [[1]] } }",
            "#{ statusCode: 200, headers: #{ \"\": \"x\" } }",
            "#{ statusCode: 200, headers: #{ \"a b\": \"x\" } }",
            "#{ statusCode: 200, headers: #{ \"x\\r\\ny\": \"x\" } }",
            "#{ statusCode: 200, headers: #{ x: \"a\\nb\" } }",
            "#{ statusCode: 200, headers: #{ x: \"a\\x00b\" } }",
            "#{ statusCode: 200, headers: #{ \"Content-Length\": \"0\" } }",
            "#{ statusCode: 200, headers: #{ \"transfer-encoding\": \"chunked\" } }",
            "#{ statusCode: 200, headers: #{ connection: \"close\" } }",
            "#{ statusCode: 200, headers: #{ upgrade: \"h2c\" } }",
            "let a = []; a.pad(1000, \"x\"); #{ statusCode: 200, headers: #{ x: a } }",
            "let h = #{}; for i in 0..1000 { h[`x-${i}`] = i; } #{ statusCode: 200, headers: h }",
            "#{ statusCode: 200, body: || 1 }",
            "#{ statusCode: 200, extra: 1 }",
            "throw #{ statusCode: 1 }",
            "throw #{ statusCode: 200, headers: #{ x: \"a\\r\\nb: c\" } }",
            "let z = 0.0; #{ statusCode: 200, body: z / z }",
            "let s = \"\"; s.pad(@STRING, 'x'); let n = #{}; n[s] = 1; #{ statusCode: 200, headers: n }",
        ] {
            let result = world.respond(&app, source).await.result;
            let runtime = picloud_core::execution::FailureClass::Runtime;
            if !result.as_ref().is_err_and(|failure| failure.class == runtime) {
                world.problem(source, format!("{result:?}"));
            }
        }
        world.finish().await;
    }
}
