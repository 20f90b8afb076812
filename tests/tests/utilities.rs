//! What scripts reach of the utilities: each function once as it is meant, and each way of using it wrongly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use picloud_core::alloc::CountingAllocator;
use picloud_core::execution::{Answer, FailureClass, HttpRequest, Outcome};
use picloud_core::script::Bundle;
use picloud_core::{App, Picloud};
use picloud_memory::{MemoryBackend, TestClock};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

async fn world() -> (App, TestClock) {
    let (backend, clock) = MemoryBackend::with_test_clock();
    let cloud = Picloud::builder(backend).start().await.unwrap();
    (cloud.create_app("shop").await.unwrap(), clock)
}

async fn run(app: &App, source: &str) -> Outcome {
    app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
    let script = app.script("script").unwrap();
    script.execute(script.invocation()).await
}

async fn value(app: &App, source: &str) -> Value {
    match run(app, source).await.result {
        Ok(Answer::Value(value)) => value.to_value().unwrap(),
        other => panic!("{source}: {other:?}"),
    }
}

/// Each source and what it answers.
async fn answers(cases: &[(&str, Value)]) {
    let (app, _) = world().await;
    for (source, expected) in cases {
        assert_eq!(value(&app, source).await, *expected, "{source}");
    }
}

/// Each source and the code of what it throws; a script can catch it.
async fn refusals(cases: &[(&str, &str)]) {
    let (app, _) = world().await;
    for (source, code) in cases {
        let caught =
            value(&app, &format!("try {{ {source}; return \"no error\"; }} catch (e) {{ return e; }}")).await;
        assert_eq!(caught["code"], *code, "{source}: {caught}");
        assert!(caught["message"].as_str().is_some_and(|message| message.len() > 10), "{source}: {caught}");
    }
}

#[tokio::test]
async fn json_text_becomes_values_and_back() {
    answers(&[
        (r#"json::parse("{\"b\": [1, 2.0, null, true], \"a\": \"x\"}").b"#, json!([1, 2.0, null, true])),
        (r#"type_of(json::parse("1")) + type_of(json::parse("1.0"))"#, json!("i64f64")),
        (r#"json::parse("[9223372036854775807]".to_blob())[0]"#, json!(i64::MAX)),
        (r#"json::stringify(#{ b: 1.0, a: [(), "ä\n"] })"#, json!(r#"{"a":[null,"ä\n"],"b":1.0}"#)),
        (r#"json::stringify(#{ a: [1] }, #{ pretty: true })"#, json!("{\n  \"a\": [\n    1\n  ]\n}")),
        (r#"json::stringify(#{ a: [1] }, #{ pretty: false })"#, json!(r#"{"a":[1]}"#)),
        (r#"json::parse(json::stringify(1e16, #{ pretty: true }))"#, json!(1e16)),
        ("json::stringify(())", json!("null")),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_json_says_where() {
    let (app, _) = world().await;
    let e = value(&app, r#"try { json::parse("{\"a\": [1, 2,, 3]}") } catch (e) { return e; }"#).await;
    assert_eq!(e["code"], "json.invalid");
    assert!(e["message"].as_str().unwrap().contains("line 1 column 13"), "{e}");
    let e = value(&app, r#"try { json::stringify(#{ a: [1, 0.0 / 0.0] }) } catch (e) { return e; }"#).await;
    assert_eq!((&e["code"], &e["path"]), (&json!("json.invalid"), &json!("$.a[1]")));
    refusals(&[
        (r#"json::parse("")"#, "json.invalid"),
        (r#"json::parse("{\"a\":1,\"a\":2}")"#, "json.invalid"),
        (r#"json::parse("\"\\u0000\"")"#, "json.invalid"),
        (r#"json::parse("9223372036854775808")"#, "json.invalid"),
        (r#"json::parse(blob(2, 0xff))"#, "json.invalid"),
        (r#"json::parse(blob(1048577, 32))"#, "json.too_large"),
        (r#"let s = ""; s.pad(65, "["); json::parse(s)"#, "json.too_deep"),
        ("json::parse(1)", "invalid_argument"),
        ("json::stringify(|x| x)", "json.invalid"),
        ("json::stringify(1, #{ prety: true })", "invalid_argument"),
        (r#"let s = ""; s.pad(65533, "x"); json::stringify([s])"#, "json.too_large"),
        (
            r#"let a = []; a.pad(1000, [[[[[[[]]]]]]]); json::stringify(a, #{ pretty: true })"#,
            "json.too_large",
        ),
    ])
    .await;
}

#[tokio::test]
async fn instants_are_told_and_written_in_any_zone() {
    answers(&[
        (r#"time::parse("2026-03-29T02:30:00+01:00")"#, json!("2026-03-29T01:30:00Z")),
        (r#"time::parse("Sun, 06 Nov 1994 08:49:37 GMT")"#, json!("1994-11-06T08:49:37Z")),
        ("time::parse(1500)", json!("1970-01-01T00:00:01.5Z")),
        (r#"time::parse("2026-07-01 12:00", (), "Europe/Paris")"#, json!("2026-07-01T10:00:00Z")),
        // The hour that is left out in spring is after the change, the one that comes twice in autumn the first.
        (r#"time::parse("2026-03-29T02:30", (), "Europe/Paris")"#, json!("2026-03-29T01:30:00Z")),
        (r#"time::parse("2026-10-25T02:30", (), "Europe/Paris")"#, json!("2026-10-25T00:30:00Z")),
        (r#"time::parse("01/07/2026", "%d/%m/%Y", "America/New_York")"#, json!("2026-07-01T04:00:00Z")),
        (r#"time::parse("1700000000", "%s")"#, json!("2023-11-14T22:13:20Z")),
        (r#"time::parse("12:00 1 Jul 2026 Asia/Tokyo", "%H:%M %d %b %Y %Q")"#, json!("2026-07-01T03:00:00Z")),
        (r#"time::format("2026-07-01T10:00:00Z")"#, json!("2026-07-01T10:00:00Z")),
        (r#"time::format(0, (), "Asia/Kolkata")"#, json!("1970-01-01T05:30:00+05:30")),
        (r#"time::format(0, "%A %d %B %Y, %H:%M %Z", "Europe/Paris")"#, json!("Thursday 01 January 1970, 01:00 CET")),
        (r#"time::millis("2023-11-14T22:13:20.25Z")"#, json!(1_700_000_000_250_i64)),
        (
            r#"time::parts("2024-12-30T23:30:00.007Z", "Europe/Berlin")"#,
            json!({ "year": 2024, "month": 12, "day": 31, "hour": 0, "minute": 30, "second": 0, "millisecond": 7, "weekday": 2, "day_of_year": 366, "offset_seconds": 3600 }),
        ),
        (r#"time::add("2024-01-31T12:00:00Z", #{ months: 1 })"#, json!("2024-02-29T12:00:00Z")),
        // A day over the change of clocks has 23 hours in the zone, and 24 by the second.
        (r#"time::add("2026-03-28T11:00:00Z", #{ days: 1 }, "Europe/Paris")"#, json!("2026-03-29T10:00:00Z")),
        (r#"time::add("2026-03-28T11:00:00Z", #{ hours: 24 }, "Europe/Paris")"#, json!("2026-03-29T11:00:00Z")),
        (r#"time::add(0, #{ seconds: -1, milliseconds: 500 })"#, json!("1969-12-31T23:59:59.5Z")),
        (r#"time::zones().contains("Europe/Paris")"#, json!(true)),
    ])
    .await;
}

#[tokio::test]
async fn the_time_now_is_that_of_the_clock_and_the_same_as_text_and_number() {
    let (app, clock) = world().await;
    let first = value(&app, "[time::now(), time::millis(), time::millis(time::now())]").await;
    assert_eq!(first[1], first[2]);
    clock.advance(Duration::from_secs(90));
    let later = value(&app, "[time::now(), time::millis()]").await;
    assert_eq!(later[1].as_i64().unwrap() - first[1].as_i64().unwrap(), 90_000);
    assert_eq!(later[0], picloud_core::Clock::now(&clock).to_string());
}

#[tokio::test]
async fn what_is_no_time_is_refused() {
    refusals(&[
        (r#"time::parse("yesterday")"#, "time.invalid"),
        (r#"time::parse("2026-02-30T00:00:00Z")"#, "time.invalid"),
        (r#"time::parse("2026-07-01T12:00")"#, "time.invalid"),
        (r#"time::parse("2026-07-01", "%d/%m/%Y")"#, "time.invalid"),
        (r#"time::parse("12", "%M", "UTC")"#, "time.invalid"),
        (r#"time::parse("2026-07-01 12:00", (), "Europe/Pari")"#, "time.unknown_zone"),
        (r#"time::format(0, "%!")"#, "time.invalid_format"),
        ("time::format(9223372036854775807)", "time.invalid"),
        (r#"time::add(0, #{ years: 100000 })"#, "time.invalid"),
        (r#"time::add("9999-12-01T00:00:00Z", #{ months: 2 })"#, "time.invalid"),
        (r#"time::add(0, #{ day: 1 })"#, "invalid_argument"),
        ("time::millis(true)", "invalid_argument"),
        (r#"let s = ""; s.pad(300, "x"); time::parse(s)"#, "time.invalid"),
        (r#"let s = ""; s.pad(300, "%c"); time::format(0, s)"#, "time.invalid"),
        (r#"time::format(0, (), "../../etc/passwd")"#, "time.unknown_zone"),
    ])
    .await;
}

#[tokio::test]
async fn hashes_take_text_and_blobs_and_come_in_three_forms() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    answers(&[
        (r#"crypto::sha256("abc")"#, json!(abc)),
        (r#"crypto::sha256("abc".to_blob())"#, json!(abc)),
        (r#"crypto::sha256("abc", "base64")"#, json!("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")),
        (r#"let hash = crypto::sha256("abc", "blob"); [type_of(hash), hash.len(), hex::encode(hash)]"#, json!(["blob", 32, abc])),
        (
            r#"crypto::hmac_sha256("Jefe", "what do ya want for nothing?")"#,
            json!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ),
        (
            r#"crypto::hmac_sha256("Jefe".to_blob(), "what do ya want for nothing?".to_blob(), "base64")"#,
            json!("W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="),
        ),
        (r#"[crypto::equals("a", "a"), crypto::equals("a", "b"), crypto::equals("a", "aa"), crypto::equals("a", "a".to_blob())]"#, json!([true, false, false, true])),
        (r#"let a = crypto::random_bytes(16); [type_of(a), a.len(), a == crypto::random_bytes(16)]"#, json!(["blob", 16, false])),
        ("crypto::random_bytes(0).len() + crypto::random_bytes(1024).len()", json!(1024)),
        (r#"regex::is_match("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", crypto::uuid())"#, json!(true)),
        ("crypto::uuid() == crypto::uuid()", json!(false)),
    ])
    .await;
    refusals(&[
        (r#"crypto::sha256("abc", "HEX")"#, "crypto.invalid_encoding"),
        ("crypto::sha256(1)", "invalid_argument"),
        ("crypto::random_bytes(-1)", "crypto.invalid_count"),
        ("crypto::random_bytes(1025)", "crypto.invalid_count"),
        ("crypto::equals((), \"a\")", "invalid_argument"),
    ])
    .await;
}

#[tokio::test]
async fn bytes_become_text_and_back() {
    answers(&[
        (r#"base64::encode("hi?>")"#, json!("aGk/Pg==")),
        (r#"base64::encode_url("hi?>")"#, json!("aGk_Pg")),
        (
            r#"base64::decode("aGk/Pg==").as_string() + base64::decode("aGk_Pg").as_string()"#,
            json!("hi?>hi?>"),
        ),
        (r#"hex::encode("hi") + hex::encode(blob(2, 255))"#, json!("6869ffff")),
        (r#"hex::decode("68A9").len()"#, json!(2)),
        (r#"base64::decode("").len() + hex::decode("").len()"#, json!(0)),
        // What a script decodes may be longer than an array.
        (
            r#"let s = ""; s.pad(60000, "a"); [base64::decode(s).len(), hex::decode(s).len()]"#,
            json!([45_000, 30_000]),
        ),
    ])
    .await;
    refusals(&[
        (r#"base64::decode("a")"#, "base64.invalid"),
        (r#"hex::decode("abc")"#, "hex.invalid"),
        (r#"hex::decode("0g")"#, "hex.invalid"),
        ("base64::encode(blob(60000))", "base64.too_large"),
        ("hex::encode(blob(40000))", "hex.too_large"),
        ("hex::decode(1)", "invalid_argument"),
    ])
    .await;
}

#[tokio::test]
async fn urls_and_forms_are_read_and_written() {
    answers(&[
        (r#"url::encode("a b/ä?&=+~")"#, json!("a%20b%2F%C3%A4%3F%26%3D%2B~")),
        (r#"url::decode("a%20b%2F%c3%a4+")"#, json!("a b/ä+")),
        (
            r#"let u = url::parse("https://example.com/a?x=1"); [u.host, u.port, u.query.x, u.fragment]"#,
            json!(["example.com", null, "1", ""]),
        ),
        (r#"url::parse_query("name=Ada+L&text=%68i&name=x")"#, json!({ "name": "Ada L", "text": "hi" })),
        (r#"url::parse_query_all("a=1&a=2".to_blob())"#, json!({ "a": ["1", "2"] })),
        (
            r#"url::build_query(#{ b: "x y&", a: [1, 2.5, true], none: (), empty: [] })"#,
            json!("a=1&a=2.5&a=true&b=x+y%26"),
        ),
    ])
    .await;
    refusals(&[
        (r#"url::decode("50%")"#, "url.invalid"),
        (r#"url::parse("no url")"#, "url.invalid"),
        (r#"let s = "http://a/"; s.pad(8193, "x"); url::parse(s)"#, "url.too_large"),
        (r#"let s = ""; s.pad(30000, "/"); url::encode(s)"#, "url.too_large"),
        ("url::build_query(#{ a: #{ b: 1 } })", "invalid_argument"),
        ("url::decode(blob(2, 255))", "url.invalid"),
    ])
    .await;
}

#[tokio::test]
async fn patterns_find_replace_and_split() {
    answers(&[
        (r#"[regex::is_match("^\\d+$", "123"), regex::is_match("^\\d+$", "12a")]"#, json!([true, false])),
        (r#"regex::find("l+", "äöü hello")"#, json!({ "text": "ll", "start": 6, "end": 8 })),
        (
            r#"let f = regex::find("l+", "äöü hello"); "äöü hello".sub_string(f.start, f.end - f.start)"#,
            json!("ll"),
        ),
        (r#"regex::find("x", "hello")"#, json!(null)),
        (r#"regex::find_all("\\w+", "ä, b").map(|m| m.text + m.start)"#, json!(["ä0", "b3"])),
        (r#"regex::find_all("", "äb").map(|m| m.start)"#, json!([0, 1, 2])),
        (
            r#"regex::captures("(?<year>\\d{4})-(\\d\\d)(-\\d\\d)?", "on 2026-07")"#,
            json!({ "groups": ["2026-07", "2026", "07", null], "names": { "year": "2026" } }),
        ),
        (r#"regex::captures("(x)", "y")"#, json!(null)),
        (r#"regex::replace("(\\w+)@(\\w+)", "ada@lab bob@home", "$2: $1")"#, json!("lab: ada home: bob")),
        (r#"regex::replace("(?<a>x)", "axbx", "[${a}$$]", 1)"#, json!("a[x$]bx")),
        (r#"regex::replace("\\s+", " a  b ", "")"#, json!("ab")),
        (r#"regex::replace("", "äb", "-")"#, json!("-ä-b-")),
        (r#"regex::split("\\s*[,;]\\s*", "a , b;c")"#, json!(["a", "b", "c"])),
        (r#"regex::split(",", "a,b,c", 2)"#, json!(["a", "b,c"])),
        (r#"regex::split(",", "a,b", 1) + regex::split(",", "")"#, json!(["a,b", ""])),
        (r#"regex::is_match("(?i)straSSE", "STRAsse".to_blob())"#, json!(true)),
    ])
    .await;
}

#[tokio::test]
async fn a_pattern_that_is_none_says_where() {
    let (app, _) = world().await;
    let e = value(&app, r#"try { regex::is_match("ab(c", "x") } catch (e) { return e; }"#).await;
    assert_eq!(
        e,
        json!({ "code": "regex.invalid_pattern", "message": "unclosed group", "pattern": "ab(c", "line": "1", "column": "3" })
    );
    refusals(&[
        (r#"regex::is_match("\\p{nonsense}", "x")"#, "regex.invalid_pattern"),
        // Both need backtracking.
        (r#"regex::is_match("(a)\\1", "x")"#, "regex.invalid_pattern"),
        (r#"regex::is_match("(?=a)", "x")"#, "regex.invalid_pattern"),
        (r#"regex::is_match("\\w{100}{100}", "x")"#, "regex.too_large"),
        (r#"let p = ""; p.pad(1025, "a"); regex::is_match(p, "x")"#, "regex.too_large"),
        (r#"let p = ""; p.pad(300, "("); regex::is_match(p, "x")"#, "regex.invalid_pattern"),
        (r#"regex::is_match("a", blob(262145, 97))"#, "regex.too_large"),
        (r#"regex::is_match("a", blob(2, 255))"#, "regex.invalid_text"),
        (r#"regex::split("a", "x", 0)"#, "regex.invalid_limit"),
        (r#"let s = ""; s.pad(20000, "a"); regex::find_all("a", s)"#, "regex.too_many"),
        (r#"let s = ""; s.pad(20000, "a"); regex::split("a", s)"#, "regex.too_many"),
        (r#"let s = ""; s.pad(60000, "a"); regex::replace("a", s, "bb")"#, "regex.too_large"),
        (r#"let s = ""; s.pad(60000, "a"); regex::replace("a+", s, "$0$0$0$0")"#, "regex.too_large"),
    ])
    .await;
}

#[tokio::test]
async fn a_body_of_any_size_can_be_hashed_and_its_signature_compared() {
    let (app, _) = world().await;
    let source = r#"//! route POST /
        let mac = crypto::hmac_sha256("key", ctx.request.body_raw, "blob");
        [ctx.request.body_raw.len(), crypto::equals(mac, hex::decode(ctx.request.headers["x-signature"]))]"#;
    app.deploy(&Bundle::new().file("hook", source).unwrap()).await.unwrap();
    let mut request = HttpRequest::new(http::Method::POST, "/");
    request.body = vec![b'a'; 10 << 20].into();
    request.headers.insert(
        "x-signature",
        "a0e5ea62f6f23a05b13e9ee8fd72da9dc8e7dab3ab3a4d0d5fb4b5a05ad2f52c".parse().unwrap(),
    );
    let answer = app.request(request).await.unwrap();
    assert_eq!(answer.body, "[10485760,false]");
}

#[tokio::test]
async fn long_work_is_counted_and_ends_with_the_budget() {
    let (app, _) = world().await;
    let outcome = run(&app, "let b = blob(1048576); crypto::sha256(b)").await;
    assert!(outcome.operations > 1_000, "{}", outcome.operations);
    let endless = [
        "let b = blob(1048576); loop { crypto::sha256(b); }",
        "let b = blob(1048576, 48); loop { try { hex::decode(b); } catch { } }",
        "let b = blob(1048576, 48); loop { try { base64::decode(b); } catch { } }",
        "let b = blob(1048576); loop { try { crypto::equals(b, b); } catch { } }",
        "let b = blob(262144, 48); loop { try { url::decode(b); } catch { } }",
        "let s = \"[\"; s.pad(18000, \"1,\"); s += \"1]\"; loop { try { json::parse(s); } catch { } }",
        "let s = \"\"; s.pad(60000, \"a\"); loop { try { regex::is_match(\"(a|b|ab)*c\", s); } catch { } }",
    ];
    for source in endless {
        app.deploy(&Bundle::new().file("script", source).unwrap()).await.unwrap();
        let sandbox = serde_json::from_value(json!({ "max_operations": 20_000 })).unwrap();
        let script = app.set_sandbox("script", sandbox).await.unwrap();
        let outcome = script.execute(script.invocation()).await;
        let failure = outcome.result.unwrap_err();
        assert_eq!(failure.class, FailureClass::Budget, "{source}: {failure:?}");
    }
}
