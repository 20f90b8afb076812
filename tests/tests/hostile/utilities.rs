//! Utilities asked for the worst that they can do: long work in one call, patterns that explode, answers that grow.

use crate::world::{Attack, HARMLESS, REFUSED, STOPPED, one_by_one};

const LONG_WORK: &[Attack<'_>] = &[
    ("hash for ever", "let b = blob(10485760); loop { crypto::sha256(b); }", STOPPED),
    ("sign with a huge key", "let b = blob(10485760); loop { crypto::hmac_sha256(b, \"x\"); }", STOPPED),
    ("compare what is long and equal", "let b = blob(10485760); loop { crypto::equals(b, b); }", STOPPED),
    ("decode for ever", "let b = blob(10485760, 65); loop { base64::decode(b); }", STOPPED),
    (
        "decode what is wrong at the end",
        "let b = blob(10485760, 65); b.push(42); loop { try { hex::decode(b); } catch { } }",
        STOPPED,
    ),
    ("random bytes for ever", "loop { crypto::random_bytes(1024); }", STOPPED),
    ("zones for ever", "let a = []; loop { a.push(time::zones()); }", STOPPED),
    ("widths without end", "let f = \"\"; f.pad(250, \"%255Y\"); loop { time::format(0, f); }", STOPPED),
    ("a format of itself", "time::format(0, \"%9999999999Y\")", REFUSED),
    (
        "years to the end of the numbers",
        "time::add(0, #{ years: 9223372036854775807, months: 9223372036854775807 })",
        REFUSED,
    ),
    (
        "days to the start of the numbers",
        "time::add(0, #{ days: -9223372036854775807 - 1, weeks: -1 })",
        REFUSED,
    ),
    (
        "wide JSON for ever",
        "let s = \"[\"; for i in 0..9000 { s += \"[],\"; } s += \"0]\"; loop { json::parse(s); }",
        STOPPED,
    ),
    (
        "wide JSON kept",
        "let s = \"[\"; for i in 0..900 { s += \"[],\"; } s += \"0]\"; let a = []; loop { a.push(json::parse(s)); }",
        STOPPED,
    ),
    ("JSON in JSON in JSON", "let s = \"x\"; loop { s = json::stringify(s + \"\\\\\"); }", REFUSED),
    (
        "pretty and deep",
        "let a = []; for i in 0..60 { a = [a]; } let b = []; b.pad(150, a); json::stringify(b, #{ pretty: true })",
        REFUSED,
    ),
    (
        "a query that is three times as long as its values",
        "let a = []; a.pad(1000, \"äääääääääääääääääääää\"); url::build_query(#{ a: a })",
        HARMLESS,
    ),
];

const PATTERNS: &[Attack<'_>] = &[
    (
        "nested repetition",
        "let s = \"\"; s.pad(@STRING, \"a\"); regex::is_match(\"(a*)*(a*)*(a*)*b\", s)",
        HARMLESS,
    ),
    (
        "counted repetition",
        "let s = \"\"; s.pad(@STRING, \"a\"); loop { try { regex::is_match(\"(a{1,30}){1,30}b\", s); } catch { } }",
        STOPPED,
    ),
    (
        "everything in every order",
        "let s = \"\"; s.pad(@STRING, \"ab\"); loop { try { regex::is_match(\"(?:a|b)*a(?:a|b){12}c\", s); } catch { } }",
        STOPPED,
    ),
    (
        "quadratic over all matches",
        "let s = \"\"; s.pad(@STRING, \"A\"); loop { try { regex::find_all(\".*[^A-Z]|[A-Z]\", s); } catch { } }",
        STOPPED,
    ),
    (
        "many groups",
        "let s = \"\"; s.pad(@STRING, \"a\"); let p = \"\"; p.pad(900, \"(a?)\"); loop { try { regex::captures(p, s); } catch { } }",
        STOPPED,
    ),
    (
        "a pattern that grows",
        "loop { try { regex::is_match(\"(((((\\\\w{50}){50}){50}){50}){50})\", \"x\"); } catch { } }",
        STOPPED,
    ),
    (
        "a new pattern each time",
        "let n = 0; loop { n += 1; regex::is_match(`\\\\w{${n % 5}}x{${n % 900}}`, \"x\"); }",
        STOPPED,
    ),
    (
        "a replacement of replacements",
        "let s = \"\"; s.pad(@STRING, \"a\"); let w = \"\"; w.pad(@STRING, \"$0\"); regex::replace(\"a+\", s, w)",
        REFUSED,
    ),
    (
        "a replacement of nothing, often",
        "let s = \"\"; s.pad(@STRING, \"a\"); let w = \"\"; w.pad(@STRING, \"$x\"); loop { try { regex::replace(\"a\", s, w); } catch { } }",
        STOPPED,
    ),
    (
        "split to pieces, kept",
        "let s = \"\"; s.pad(9000, \"a,\"); let a = []; loop { a.push(regex::split(\",\", s)); }",
        STOPPED,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_of_utilities_is_counted_and_lets_others_run() {
    one_by_one(LONG_WORK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pattern_stops_others_or_goes_on_for_ever() {
    one_by_one(PATTERNS).await;
}
