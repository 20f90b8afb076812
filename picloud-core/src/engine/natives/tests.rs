//! Hostile calls of natives, through the executor as scripts make them, and generated ones.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rhai::{Engine, packages::Package, packages::StandardPackage};

use super::probe::{self, functions};
use crate::engine::Limits;
use crate::execution::{Failure, FailureClass};
use crate::executor::GateConfig;
use crate::executor::tests::{executor, executor_with, failure, value};

/// What a script is stopped for.
async fn stopped(source: &str) -> Failure {
    let started = Instant::now();
    let failure = failure(&executor(), source).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{source} took {:?}", started.elapsed());
    assert_eq!(failure.class, FailureClass::Budget, "{source}: {failure:?}");
    failure
}

async fn limit_of(source: &str) -> String {
    stopped(source).await.limit.unwrap().limit
}

#[tokio::test]
async fn all_four_replaces_measure_before_they_build() {
    for call in [
        "s.replace(\"a\", t)",
        "s.replace('a', t)",
        "s.replace(\"a\", '€')",
        "s.replace('a', '€')",
        "s.replace(\"\", t)",
    ] {
        let source = format!("let s = \"\"; s.pad(60000, 'a'); let t = \"\"; t.pad(60000, 'b'); {call}; s");
        assert_eq!(limit_of(&source).await, "max_string_size", "{call}");
    }
}

#[tokio::test]
async fn a_replacement_that_fits_replaces() {
    assert_eq!(value(&executor(), "let s = \"a-b-c\"; s.replace(\"-\", \"++\"); s").await, "\"a++b++c\"");
}

#[tokio::test]
async fn padding_with_nothing_is_an_error_that_scripts_can_catch() {
    let source = "let s = \"x\"; try { s.pad(100, \"\"); } catch (e) { return e.code; }";
    assert_eq!(value(&executor(), source).await, "\"pad.empty\"");
}

#[tokio::test]
async fn a_string_is_padded_to_the_character() {
    let source = "let s = \"ß\"; s.pad(6, \"abc\"); let t = \"x\"; t.pad(3, '€'); [s, t]";
    assert_eq!(value(&executor(), source).await, "[\"ßabcab\",\"x€€\"]");
}

#[tokio::test]
async fn padding_a_string_past_any_number_is_the_size_limit() {
    for len in ["65537", "0x7fffffffffffffff", "30000"] {
        let source = format!("let s = \"\"; s.pad({len}, \"€€€\"); 1");
        assert_eq!(limit_of(&source).await, "max_string_size", "{len}");
    }
}

#[tokio::test]
async fn padding_an_array_cannot_overflow_its_own_size_check() {
    // Elements times copies is 2^64 here, which is nothing in 64 bits.
    let source = "let a = []; let item = []; item.pad(2047, 0); a.pad(1 << 53, item); 1";
    assert_eq!(limit_of(source).await, "max_array_size");
}

#[tokio::test]
async fn padding_an_array_counts_what_is_inside_the_copies() {
    let array = "let a = []; let item = []; item.pad(9000, 0); a.pad(9000, item); 1";
    assert_eq!(limit_of(array).await, "max_array_size");
    let blob = "let a = []; a.pad(9000, blob(9000000, 0)); 1";
    assert_eq!(limit_of(blob).await, "max_blob_size");
}

#[tokio::test]
async fn blobs_have_their_own_limit() {
    for source in [
        "blob(10485761)",
        "blob(0x7fffffffffffffff, 1)",
        "let b = blob(10); b.pad(0x7fffffffffffffff, 1); 1",
        "let b = blob(10485760); b.append(b); 1",
        "let b = blob(10485760); b.push(1); 1",
        "let b = blob(10485760); b.insert(0, 1); 1",
        "let b = blob(10485760); b.splice(0, 0, b); 1",
    ] {
        assert_eq!(limit_of(source).await, "max_blob_size", "{source}");
    }
    assert_eq!(value(&executor(), "blob(10485760).len()").await, "10485760");
}

#[tokio::test]
async fn a_blob_does_not_become_a_huge_array_or_string() {
    assert_eq!(limit_of("blob(10001).to_array()").await, "max_array_size");
    // Every byte that is not text becomes three.
    assert_eq!(limit_of("blob(10000000, 0xff).as_string().len()").await, "max_string_size");
}

#[tokio::test]
async fn a_string_is_not_split_into_more_parts_than_an_array_has() {
    for call in
        ["split(\"\")", "split(',')", "split(\",\")", "split_rev(',')", "to_chars()", "split(',', 20000)"]
    {
        let source = format!("let s = \"\"; s.pad(20000, \",\"); s.{call}.len()");
        assert_eq!(limit_of(&source).await, "max_array_size", "{call}");
    }
    assert_eq!(value(&executor(), "let s = \"\"; s.pad(20000, \",\"); s.split(',', 3).len()").await, "3");
}

#[tokio::test]
async fn interpolation_of_something_huge_ends_the_script_though_the_interpreter_drops_the_error() {
    let huge = "let s = \"\"; s.pad(60000, 'x'); let a = [s]; a.push(s); ";
    for tail in ["`${a}`.len()", "try { `${a}`; } catch { } 1", "`${#{a: a}}`", "[`${a}`]"] {
        let source = format!("let blob = 0; {huge}{tail}");
        assert_eq!(limit_of(&source).await, "max_string_size", "{tail}");
    }
}

#[tokio::test]
async fn text_of_something_huge_is_an_error_that_cannot_be_caught() {
    let huge = "let blob = 0; let s = \"\"; s.pad(40000, 'x'); let a = [s, s]; ";
    for tail in [
        "a.to_string()",
        "print(a)",
        "debug(a)",
        "\"\" + a",
        "a + \"\"",
        "let t = \"\"; t += a",
        "a.to_debug()",
    ] {
        let source = format!("{huge} try {{ {tail}; }} catch {{ }} 1");
        assert_eq!(limit_of(&source).await, "max_string_size", "{tail}");
    }
}

#[tokio::test]
async fn a_text_of_escapes_is_bounded_too() {
    assert_eq!(
        limit_of("let blob = 0; let s = \"\"; s.pad(60000, '\\x01'); s.to_debug()").await,
        "max_string_size"
    );
}

#[tokio::test]
async fn a_value_that_contains_itself_through_a_closure_can_be_printed() {
    let source = "let a = #{ n: 1 }; a.f = || a; print(a); let t = `${a}`; t.contains(\"n\")";
    assert_eq!(value(&executor(), source).await, "true");
}

#[tokio::test]
async fn deep_values_are_printed_as_far_as_their_first_levels() {
    let source = "let a = 1; for i in 0..500 { a = [a]; } a.to_string()";
    let text = value(&executor(), source).await;
    assert_eq!(text.matches('[').count(), 65, "{text}");
    assert!(text.contains('…'));
}

#[tokio::test]
async fn comparing_many_references_to_one_long_string_counts() {
    let setup = "let s = \"\"; s.pad(1000, 'x'); let t = s + \"\"; let a = []; let b = []; \
                 a.pad(10000, 0); b.pad(10000, 0); for i in 0..10000 { a[i] = s; b[i] = t; } ";
    for tail in ["a == b", "a.dedup()", "a.index_of(t + \"y\")", "a != b", "a.contains(1)"] {
        let source = format!("let blob = 0; {setup} loop {{ {tail}; }}");
        let limits = Limits { max_operations: 300_000, ..Limits::default() };
        let executor = executor_with(limits, GateConfig::default(), Vec::new());
        let failure = failure(&executor, &source).await;
        assert_eq!(failure.limit.unwrap().limit, "max_operations", "{tail}");
    }
}

#[tokio::test]
async fn containers_compare_by_what_is_in_them() {
    let source = "[[1, 2] == [1, 2], [1] != [1.0], #{a: [1]} == #{a: [1]}, #{a: 1} == #{b: 1}, [1, \"x\", ()] == [1, \"x\", ()], \
                  [1] == [\"1\"], [1, 2, 3].contains(2), [1, 2, 3, 2].index_of(2, 2), #{a: 1} == #{a: \"1\"}]";
    assert_eq!(value(&executor(), source).await, "[true,false,true,false,true,false,true,3,false]");
}

#[tokio::test]
async fn values_that_nest_a_thousand_deep_compare() {
    let source = "let a = []; let b = []; for i in 0..1000 { a = [a]; b = [b]; } a == b";
    assert_eq!(value(&executor(), source).await, "true");
}

#[tokio::test]
async fn sorting_ends_with_the_error_of_its_comparer() {
    let source = "let a = [3, 1, 2]; try { a.sort(|x, y| { throw \"no\" }); } catch (e) { return [e, a]; }";
    assert_eq!(value(&executor(), source).await, "[\"no\",[3,1,2]]");
}

#[tokio::test]
async fn sorting_needs_no_consistent_comparer() {
    let source = "let a = []; for i in 0..200 { a.push(i); } a.sort(|x, y| -1); \
                  let b = []; for i in 0..200 { b.push(if i % 3 == 0 { 0.0 / 0.0 } else { i.to_float() }); } b.sort(); \
                  [a.len(), b.len()]";
    assert_eq!(value(&executor(), source).await, "[200,200]");
}

#[tokio::test]
async fn sorting_is_stable_and_sorts() {
    let source = "let a = [5, 3, 9, 1, 3]; a.sort(); let b = a.order_desc(); let c = [[2, 0], [1, 0], [2, 1], [1, 1]]; \
                  c.sort(|x, y| x[0] - y[0]); let d = [\"b\", \"a\"]; d.sort_by(|x, y| x < y); [a, b, c, d]";
    assert_eq!(
        value(&executor(), source).await,
        "[[1,3,3,5,9],[9,5,3,3,1],[[1,0],[1,1],[2,0],[2,1]],[\"a\",\"b\"]]"
    );
}

#[tokio::test]
async fn a_comparer_that_answers_something_else_is_told_so() {
    let failure = failure(&executor(), "let a = [2, 1]; a.sort(|x, y| \"x\"); a").await;
    assert!(failure.message.contains("sort.comparer"), "{failure:?}");
}

#[tokio::test]
async fn json_goes_both_ways() {
    let source = "let m = parse_json(`{\"a\": [1, null, \"x\"]}`); m.to_json()";
    assert_eq!(value(&executor(), source).await, r#""{\"a\":[1,null,\"x\"]}""#);
}

#[tokio::test]
async fn broken_json_can_be_caught() {
    let source = "try { parse_json(\"{\") } catch (e) { return e.code; }";
    assert!(value(&executor(), source).await.starts_with("\"json."));
}

#[tokio::test]
async fn json_that_is_too_long_is_the_size_limit() {
    let source = "let blob = 0; let s = \"\"; s.pad(40000, 'x'); #{ a: s, b: s }.to_json()";
    assert_eq!(limit_of(source).await, "max_string_size");
}

#[tokio::test]
async fn the_core_of_the_language_is_there() {
    let source = "let a = [1]; let b = a.take(); let x = 1; x.tag = 5; [b, x.tag, type_of(a)]";
    assert_eq!(value(&executor(), source).await, "[[1],5,\"()\"]");
    assert_eq!(value(&executor(), "exit(7); 8").await, "7");
}

#[tokio::test]
async fn reflection_and_evaluation_are_not() {
    for source in ["get_fn_metadata_list()", "eval(\"1\")"] {
        let failure = failure(&executor(), source).await;
        assert!(
            matches!(failure.class, FailureClass::Runtime | FailureClass::Compile),
            "{source}: {failure:?}"
        );
    }
}

#[test]
fn ordinary_values_read_as_the_standard_library_writes_them() {
    let mut standard = Engine::new_raw();
    standard.register_global_module(StandardPackage::new().as_shared_module());
    let mut ours = Engine::new_raw();
    for module in super::packages() {
        ours.register_global_module(module);
    }
    ours.register_global_module(super::module());
    for value in [
        "1",
        "-1.5",
        "1e300",
        "'x'",
        "\"a\\\"b\"",
        "()",
        "true",
        "[]",
        "#{}",
        "blob(20, 255)",
        "0..3",
        "0..=3",
        "|x| x",
        "[1, 2.0, 'c', \"s\", (), true, [1], #{a: 1}, 1..2, Fn(\"f\"), blob(2)]",
        "#{ a: 1, \"b c\": \"x\\n\", d: [()], e: |x| x }",
    ] {
        for text in
            ["v.to_string()", "v.to_debug()", "`${v}`", "\"<\" + v", "v + \">\"", "let t = \"\"; t += v; t"]
        {
            let source = format!("let v = {value}; {text}");
            let (a, b) = (standard.eval::<String>(&source), ours.eval::<String>(&source));
            let (a, b) = (a.map_err(|e| e.to_string()), b.map_err(|e| e.to_string()));
            // Names of closures are numbered by each engine.
            if !value.contains("|x|") {
                assert_eq!(a, b, "{source}");
            } else {
                assert_eq!(a.is_ok(), b.is_ok(), "{source}: {a:?} {b:?}");
            }
        }
    }
}

#[test]
fn parts_of_strings_are_those_of_the_standard_library() {
    let mut standard = Engine::new_raw();
    standard.register_global_module(StandardPackage::new().as_shared_module());
    let mut ours = Engine::new_raw();
    for module in super::packages() {
        ours.register_global_module(module);
    }
    ours.register_global_module(super::module());
    let numbers =
        ["0", "1", "2", "4", "5", "9", "-1", "-4", "-5", "-9", "0x7fffffffffffffff", "0x8000000000000000"];
    let mut calls = Vec::new();
    for a in numbers {
        for b in numbers {
            calls.push(format!("s.sub_string({a}, {b})"));
            calls.push(format!("s.crop({a}, {b}); s"));
            calls.push(format!("let r = {a}..{b}; s.sub_string(r) + \"|\" + s.sub_string({a}..={b})"));
            calls.push(format!("s.crop({a}..{b}); s"));
            calls.push(format!("s.crop({a}..={b}); s"));
            calls.push(format!("let a = [1, 2, 3, 4]; a.splice({a}, {b}, [7, 8]); a.to_string()"));
            calls.push(format!("let a = [1, 2, 3, 4]; a.splice({a}..={b}, [7, 8]); a.to_string()"));
        }
        calls.push(format!("s.sub_string({a})"));
        calls.push(format!("s.crop({a}); s"));
        calls.push(format!("s.pop({a}) + \"|\" + s"));
        calls.push(format!("s.set({a}, '😀'); s"));
        calls.push(format!("s.index_of('é', {a}).to_string() + s.index_of(\"€a\", {a})"));
        calls.push(format!("s.split('é', {a}).to_string() + s.split_rev(\"é\", {a}) + s.split(\"\", {a})"));
        calls.push(format!("let a = [1, 2, 1]; a.index_of(1, {a}).to_string()"));
    }
    for (find, with) in [("é", "xy"), ("€a", ""), ("", "-"), ("q", "r")] {
        calls.push(format!("s.replace(\"{find}\", \"{with}\"); s"));
    }
    for call in &calls {
        for s in ["", "é€aé", "abc"] {
            let source = format!("let s = \"{s}\"; {call}");
            let (a, b) = (standard.eval::<String>(&source), ours.eval::<String>(&source));
            assert_eq!(a.map_err(|e| e.to_string()), b.map_err(|e| e.to_string()), "{source}");
        }
    }
}

#[test]
fn nothing_that_blocks_is_among_the_functions() {
    for name in ["sleep", "eval", "get_fn_metadata_list"] {
        assert!(!functions().iter().any(|function| function.name == name), "{name}");
    }
}

#[test]
fn every_function_keeps_its_promises_at_the_edges() {
    assert!(functions().len() > 300, "{}", functions().len());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut calls, mut answered) = (0, 0);
    for function in functions() {
        for _ in 0..12 {
            let picks: Vec<(bool, usize)> = function
                .params
                .iter()
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 60 != 0, (state >> 33) as usize)
                })
                .collect();
            calls += 1;
            answered += u32::from(probe::call(function, &picks));
        }
    }
    assert!(answered > calls / 3, "only {answered} of {calls} calls reached a function");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_function_breaks_its_promises(bytes in proptest::collection::vec(any::<u8>(), 2..16)) {
        probe::call_random(&bytes);
    }
}
