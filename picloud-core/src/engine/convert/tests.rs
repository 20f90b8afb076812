use proptest::prelude::*;
use rhai::{Array, Blob, Dynamic, Engine, FnPtr, Map};
use serde::{Deserialize, Serialize};

use super::*;
use crate::Error;

/// Code and path of an error.
fn place(error: &Error) -> (&str, &str) {
    let path = error.context().find(|(name, _)| *name == "path").map_or("", |(_, path)| path);
    (error.code(), path)
}

#[track_caller]
fn text(value: impl Into<Dynamic>) -> String {
    to_json_text(&value.into(), ConvertLimits::default()).unwrap()
}

#[track_caller]
fn refused(value: &Dynamic) -> Error {
    to_json_text(value, ConvertLimits::default()).unwrap_err()
}

/// `#{ a: [0, value] }`.
fn nested(value: impl Into<Dynamic>) -> Dynamic {
    map([("a", Dynamic::from_array(vec![Dynamic::ZERO, value.into()]))])
}

fn map<const N: usize>(entries: [(&str, Dynamic); N]) -> Dynamic {
    Dynamic::from_map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect::<Map>())
}

fn nest(levels: usize) -> Dynamic {
    (0..levels).fold(Dynamic::UNIT, |inner, _| Dynamic::from_array(vec![inner]))
}

#[test]
fn each_kind_of_value_has_its_spelling() {
    let value = map([
        ("unit", Dynamic::UNIT),
        ("truth", true.into()),
        ("int", i64::MIN.into()),
        ("float", 1.0.into()),
        ("char", 'ß'.into()),
        ("string", "a\n\"b\"".into()),
        ("array", Dynamic::from_array(vec![Dynamic::ONE, 1e16.into(), (-0.0).into()])),
        ("map", Dynamic::from_map(Map::new())),
    ]);
    assert_eq!(
        text(value),
        "{\"array\":[1,1e16,-0.0],\"char\":\"ß\",\"float\":1.0,\"int\":-9223372036854775808,\"map\":{},\
         \"string\":\"a\\n\\\"b\\\"\",\"truth\":true,\"unit\":null}"
    );
}

#[test]
fn a_blob_becomes_base64_at_any_depth() {
    for (bytes, expected) in [
        (&b""[..], ""),
        (b"f", "Zg=="),
        (b"fo", "Zm8="),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg=="),
        (b"\xfb\xff\xfe", "+//+"),
    ] {
        let blob = Dynamic::from_blob(Blob::from(bytes));
        assert_eq!(text(nested(blob)), format!("{{\"a\":[0,\"{expected}\"]}}"));
    }
}

#[test]
fn a_function_is_refused() {
    let error = refused(&nested(FnPtr::new("f").unwrap()));
    assert_eq!(place(&error), ("json.invalid", "$.a[1]"));
    assert!(error.message().contains("a function"), "{error}");
}

#[test]
fn a_timestamp_is_refused() {
    let error = refused(&nested(Dynamic::from(std::time::Instant::now())));
    assert_eq!(place(&error), ("json.invalid", "$.a[1]"));
    assert!(error.message().contains("timestamp"), "{error}");
}

#[test]
fn a_value_of_a_rust_type_is_refused_by_its_short_name() {
    #[derive(Clone)]
    struct Handle;
    let error = refused(&nested(Dynamic::from(Handle)));
    assert_eq!(place(&error), ("json.invalid", "$.a[1]"));
    assert_eq!(error.message(), "a value of type Handle is not a value that JSON can hold");
}

#[test]
fn a_range_is_refused() {
    let error = refused(&nested(Dynamic::from(0_i64..3)));
    assert_eq!(place(&error), ("json.invalid", "$.a[1]"));
    assert!(error.message().contains("a range"), "{error}");
}

#[test]
fn nan_and_infinities_are_refused() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = refused(&nested(number));
        assert_eq!(place(&error), ("json.invalid", "$.a[1]"));
    }
}

#[test]
fn a_nul_in_a_string_is_refused() {
    assert_eq!(place(&refused(&nested("a long string with a \0 in it"))), ("json.invalid", "$.a[1]"));
}

#[test]
fn a_nul_in_a_key_is_refused() {
    assert_eq!(place(&refused(&nested(map([("b\0", 1.into())])))).0, "json.invalid");
}

#[test]
fn the_nul_character_is_refused() {
    assert_eq!(place(&refused(&nested('\0'))), ("json.invalid", "$.a[1]"));
}

#[test]
fn sixty_four_levels_are_accepted_and_no_more() {
    assert_eq!(text(nest(64)).len(), 132);
    assert_eq!(refused(&nest(65)).code(), "json.too_deep");
}

#[test]
fn text_over_the_limit_is_refused() {
    let value = nested("x".repeat(100));
    let limit = |max_bytes| ConvertLimits { max_bytes };
    let length = text(value.clone()).len();
    assert!(to_json_text(&value, limit(length)).is_ok());
    for max in 0..length {
        assert_eq!(to_json_text(&value, limit(max)).unwrap_err().code(), "json.too_large");
    }
}

#[test]
fn escapes_and_base64_count_as_they_are_written() {
    let limits = ConvertLimits { max_bytes: 500 };
    for value in ["\u{1}".repeat(100).into(), Dynamic::from_blob(vec![0; 400])] {
        assert_eq!(place(&to_json_text(&nested(value), limits).unwrap_err()), ("json.too_large", "$.a[1]"));
    }
}

#[test]
fn a_captured_variable_is_read_through_its_lock() {
    let shared = Dynamic::from_array(vec![Dynamic::ONE, Dynamic::from(2_i64).into_shared()]).into_shared();
    let value = map([("first", shared.clone()), ("second", shared)]);
    assert_eq!(text(value), r#"{"first":[1,2],"second":[1,2]}"#);
}

#[test]
fn a_value_that_contains_itself_ends_too_deep() {
    let mut value = Dynamic::from_array(Array::new()).into_shared();
    let inner = nested(value.clone());
    value.write_lock::<Array>().unwrap().push(inner);
    assert_eq!(refused(&value).code(), "json.too_deep");
    // Unties the knot, so that nothing leaks.
    value.write_lock::<Array>().unwrap().clear();
}

#[test]
fn a_value_that_shares_its_parts_over_and_over_ends_too_large() {
    let value = (0..60).fold(Dynamic::ONE, |part, _| {
        let part = part.into_shared();
        Dynamic::from_array(vec![part.clone(), part])
    });
    assert_eq!(refused(&value).code(), "json.too_large");
}

#[test]
fn a_closure_that_captures_its_own_map_is_refused() {
    let engine = Engine::new();
    let value = engine.eval::<Dynamic>("let a = #{}; a.f = || a; a").unwrap();
    let error = refused(&value);
    assert_eq!(place(&error), ("json.invalid", "$.f"));
    value.flatten_clone().write_lock::<Map>().unwrap().clear();
}

#[test]
fn a_value_locked_for_writing_is_refused_and_not_waited_for() {
    let mut shared = Dynamic::from_array(Array::new()).into_shared();
    let value = nested(shared.clone());
    let _writing = shared.write_lock::<Array>().unwrap();
    let error = refused(&value);
    assert_eq!(place(&error), ("json.invalid", "$.a[1]"));
    assert!(error.message().contains("being changed"), "{error}");
}

#[test]
fn the_length_of_a_path_is_bounded() {
    let value = (0..60).fold(Dynamic::from(f64::NAN), |inner, _| map([("a key that is long", inner)]));
    let error = refused(&value);
    assert!(place(&error).1.len() <= 200, "{error}");
}

#[test]
fn numbers_are_read_as_what_they_are() {
    let value = parse_json(b"[1,1.0,-0.0,1e2]").unwrap().into_array().unwrap();
    let kinds: Vec<_> = value.iter().map(Dynamic::type_name).collect();
    assert_eq!(kinds, ["i64", "f64", "f64", "f64"]);
}

#[test]
fn a_refusal_to_read_has_its_code_and_path() {
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for (text, code, path) in [
        (r#"{"a":[0,{"b":1,"b":2}]}"#, "json.invalid", "$.a[1].b"),
        (r#"{"a":[0,"\u0000"]}"#, "json.invalid", "$.a[1]"),
        (r#"{"a":[0,{"\u0000":1}]}"#, "json.invalid", "$.a[1]"),
        (r#"{"a":[0,9223372036854775808]}"#, "json.invalid", "$.a[1]"),
        (r#"{"a":[0,99999999999999999999]}"#, "json.invalid", "$.a[1]"),
        (r#"{"a":[0,-9223372036854775809]}"#, "json.invalid", "$.a[1]"),
        (r#"{"a":[0,1e999]}"#, "json.invalid", "$.a[1]"),
        (r#"{"a":[0,]}"#, "json.invalid", "$.a[1]"),
        (r#"{"a" 1}"#, "json.invalid", "$.a"),
        ("", "json.invalid", "$"),
        ("1 2", "json.invalid", "$"),
    ] {
        assert_eq!(place(&parse_json(text.as_bytes()).unwrap_err()), (code, path), "{text}");
    }
    assert_eq!(parse_json(deep.as_bytes()).unwrap_err().code(), "json.too_deep");
}

#[test]
fn sixty_four_levels_are_read() {
    assert!(parse_json(format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    assert_eq!(place(&parse_json(b"[\"\xff\"]").unwrap_err()), ("json.invalid", "$"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    limit: u32,
    ratio: f64,
    name: Option<String>,
}

#[test]
fn an_options_map_becomes_a_struct() {
    let options: Options = from_dynamic(&map([("limit", 3.into()), ("ratio", 2.into())])).unwrap();
    assert_eq!(options, Options { limit: 3, ratio: 2.0, name: None });
}

#[test]
fn a_mismatch_names_the_place_in_the_value() {
    let value = Dynamic::from_array(vec![map([("limit", (-1).into()), ("ratio", 2.into())])]);
    let error = from_dynamic::<Vec<Options>>(&value).unwrap_err();
    assert_eq!(place(&error), ("json.mismatch", "$[0].limit"));
}

#[test]
fn a_value_that_contains_itself_is_no_argument() {
    let mut value = Dynamic::from_array(Array::new()).into_shared();
    let inner = value.clone();
    value.write_lock::<Array>().unwrap().push(inner);
    assert_eq!(from_dynamic::<Json>(&value).unwrap_err().code(), "json.too_deep");
    value.write_lock::<Array>().unwrap().clear();
}

#[test]
fn a_rust_value_becomes_a_script_value() {
    let value = to_dynamic(&Options { limit: 3, ratio: 2.0, name: None }).unwrap();
    assert_eq!(text(value), r#"{"limit":3,"name":null,"ratio":2.0}"#);
}

#[test]
fn a_rust_value_with_nan_is_refused() {
    let error = to_dynamic(&Options { limit: 3, ratio: f64::NAN, name: None }).unwrap_err();
    assert_eq!(place(&error), ("json.invalid", "$.ratio"));
}

/// Trees of what JSON has a kind for, shared here and there.
fn any_value() -> impl Strategy<Value = Dynamic> {
    let string = any::<String>().prop_map(|text| text.replace('\0', "0"));
    let leaf = prop_oneof![
        Just(Dynamic::UNIT),
        any::<bool>().prop_map(Dynamic::from),
        any::<i64>().prop_map(Dynamic::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Dynamic::from),
        string.clone().prop_map(Dynamic::from),
    ];
    leaf.prop_recursive(8, 64, 8, move |inner| {
        let inner =
            (inner, any::<bool>()).prop_map(|(value, share)| if share { value.into_shared() } else { value });
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Dynamic::from_array),
            proptest::collection::btree_map(string.clone(), inner, 0..8).prop_map(|entries| {
                Dynamic::from_map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
            }),
        ]
    })
}

/// Whether two values are the same to the bit, kinds of numbers and the sign of zero included.
fn same(a: &Dynamic, b: &Dynamic) -> bool {
    let (a, b) = (a.flatten_clone(), b.flatten_clone());
    if let (Some(a), Some(b)) = (a.read_lock::<Array>(), b.read_lock::<Array>()) {
        return a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b));
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Map>(), b.read_lock::<Map>()) {
        return a.len() == b.len()
            && a.iter().zip(b.iter()).all(|(a, b)| a.0.as_str() == b.0.as_str() && same(a.1, b.1));
    }
    match (a.as_float(), b.as_float()) {
        (Ok(a), Ok(b)) => a.to_bits() == b.to_bits(),
        _ => a.type_name() == b.type_name() && a.to_string() == b.to_string(),
    }
}

proptest! {
    #[test]
    fn a_script_value_comes_back_as_it_went(value in any_value()) {
        let json = to_json(&value, ConvertLimits::default()).unwrap();
        prop_assert!(same(&from_json(&json).unwrap(), &value), "{}", json);
    }

    #[test]
    fn what_is_written_is_canonical(value in any_value()) {
        let json = to_json(&value, ConvertLimits::default()).unwrap();
        prop_assert_eq!(Json::parse(json.as_str()).unwrap(), json);
    }

    #[test]
    fn a_script_value_is_the_same_as_a_rust_value(value in any_value()) {
        let json = to_json(&value, ConvertLimits::default()).unwrap();
        let foreign: serde_json::Value = from_dynamic(&value).unwrap();
        prop_assert_eq!(to_json(&to_dynamic(&foreign).unwrap(), ConvertLimits::default()).unwrap(), json);
    }
}
