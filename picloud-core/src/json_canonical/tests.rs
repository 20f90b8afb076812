use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Json, fuzzing};

/// Code and path of an error.
fn place(error: &Error) -> (&str, &str) {
    let path = error.context().find(|(name, _)| *name == "path").map_or("", |(_, path)| path);
    (error.code(), path)
}

#[track_caller]
fn canonical(text: &str) -> String {
    Json::parse(text).unwrap().as_str().to_owned()
}

#[track_caller]
fn refused(text: &str) -> (String, String) {
    let error = Json::parse(text).unwrap_err();
    let (code, path) = place(&error);
    (code.to_owned(), path.to_owned())
}

fn invalid_at(path: &str) -> (String, String) {
    ("json.invalid".to_owned(), path.to_owned())
}

#[test]
fn white_space_goes_and_keys_are_sorted() {
    assert_eq!(canonical(" { \"b\" : [ 1 , true ] ,\n\t\"a\" : null } "), r#"{"a":null,"b":[1,true]}"#);
}

#[test]
fn keys_are_sorted_by_their_bytes_and_not_by_their_escapes() {
    let text = r#"{"é":1,"z":2,"\\":3,"a\n":4,"a\"":5,"a!":6,"a":7,"\u0001":8,"[":9}"#;
    assert_eq!(canonical(text), r#"{"\u0001":8,"[":9,"\\":3,"a":7,"a\n":4,"a!":6,"a\"":5,"z":2,"é":1}"#);
}

#[test]
fn keys_of_inner_objects_are_sorted_too() {
    assert_eq!(
        canonical(r#"{"b":{"d":[{"y":1,"x":2}],"c":{}},"a":{"f":1,"e":2}}"#),
        r#"{"a":{"e":2,"f":1},"b":{"c":{},"d":[{"x":2,"y":1}]}}"#
    );
}

#[test]
fn a_string_has_one_spelling() {
    assert_eq!(
        canonical(r#""\u0061\/\u00e9\uD83D\uDE00\u001F\u0008\t\u000a\f\r\"\\""#),
        "\"a/é😀\\u001f\\b\\t\\n\\f\\r\\\"\\\\\""
    );
}

#[test]
fn floats_keep_a_point_or_an_exponent() {
    assert_eq!(
        canonical("[1.0,-0.0,-0,1e16,1E+2,0.1,123456789.5,5e-324,1.7976931348623157e+308]"),
        "[1.0,-0.0,-0.0,1e16,100.0,0.1,123456789.5,5e-324,1.7976931348623157e308]"
    );
}

// Stored values are compared as text: a new version of the formatter must not spell them otherwise.
#[test]
fn floats_change_to_an_exponent_where_they_always_did() {
    let text = "[0.00001,0.000012,1e-6,1.2e-6,1000000000000000.0,1234567890123456.0,1e16,1.2e16]";
    assert_eq!(canonical(text), text);
}

#[test]
fn every_integer_of_64_bits_stays_one() {
    let text = "[-9223372036854775808,9223372036854775807,0]";
    assert_eq!(canonical(text), text);
}

#[test]
fn an_integer_just_outside_64_bits_is_refused() {
    assert_eq!(refused(r#"{"a":[0,9223372036854775808]}"#), invalid_at("$.a[1]"));
    assert_eq!(refused(r#"{"a":[0,-9223372036854775809]}"#), invalid_at("$.a[1]"));
}

#[test]
fn a_huge_integer_is_refused_and_not_made_a_float() {
    let text = r#"[1e300,{"a \"1":"18446744073709551616","b":[ 18446744073709551616 ]}]"#;
    assert_eq!(refused(text), invalid_at("$[1].b[0]"));
}

#[test]
fn the_refusal_of_an_integer_names_it() {
    let error = Json::parse("[18446744073709551616]").unwrap_err();
    assert!(error.message().contains("18446744073709551616"), "{error}");
}

#[test]
fn a_huge_float_is_accepted() {
    assert_eq!(canonical("[1e300,18446744073709551616.0]"), "[1e300,1.8446744073709552e19]");
}

#[test]
fn a_number_that_no_float_holds_is_refused() {
    assert_eq!(refused("[1,1e999]"), invalid_at("$[1]"));
}

#[test]
fn a_duplicate_key_is_refused() {
    assert_eq!(refused(r#"{"x":{"a":1,"a":2}}"#), invalid_at("$.x.a"));
}

#[test]
fn a_duplicate_key_among_unsorted_ones_is_refused() {
    assert_eq!(refused(r#"[{"b":1,"a":2,"\u0062":3}]"#), invalid_at("$[0].b"));
}

#[test]
fn a_nul_in_a_string_is_refused() {
    assert_eq!(refused(r#"{"a":[1,"x\u0000"]}"#), invalid_at("$.a[1]"));
}

#[test]
fn a_nul_in_a_key_is_refused() {
    assert_eq!(refused(r#"{"a":{"\u0000":1}}"#), invalid_at("$.a"));
}

#[test]
fn text_after_the_value_is_refused() {
    assert_eq!(refused("[1] 2"), invalid_at("$"));
}

#[test]
fn a_mistake_in_the_text_is_located() {
    assert_eq!(refused(r#"{"a":[1,{"b":tru}]}"#), invalid_at("$.a[1].b"));
}

#[test]
fn sixty_four_levels_are_accepted() {
    let text = format!("{}{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(canonical(&text), text);
}

#[test]
fn sixty_five_levels_are_refused() {
    let text = format!("{}{}", "[".repeat(65), "]".repeat(65));
    assert_eq!(refused(&text).0, "json.too_deep");
}

#[test]
fn the_path_of_an_error_is_short_however_deep_the_error() {
    let text = format!("{}tru", format!("{{\"{}\":", "k".repeat(1000)).repeat(60));
    let (_, path) = refused(&text);
    assert!(path.len() <= 200 && path.ends_with('…'), "{path}");
}

#[test]
fn a_key_that_is_no_word_is_quoted_in_the_path() {
    assert_eq!(refused(r#"{"a b":{"":[x]}}"#), invalid_at(r#"$["a b"][""][0]"#));
}

#[test]
fn the_path_of_a_mismatch_leads_to_the_value() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Shape {
        list: Vec<i64>,
        inner: Option<Box<Shape>>,
    }
    for (text, path) in [
        (r#"{"list":[1,"two"]}"#, "$.list[1]"),
        (r#"{"inner":{"list":[1,[]]},"list":[]}"#, "$.inner.list[1]"),
        (r#"{"inner":{"list":{}},"list":[]}"#, "$.inner.list"),
        (r#"{"inner":{"inner":null}}"#, "$.inner"),
        (r#"{"inner":{"list":[],"lost":1},"list":[]}"#, "$.inner.lost"),
        (r#"{"list":[1.0]}"#, "$.list[0]"),
        (r#"{"list":[1,[["x"]]]}"#, "$.list[1]"),
        (r#""text""#, "$"),
    ] {
        let error = Json::parse(text).unwrap().to_value::<Shape>().unwrap_err();
        assert_eq!(place(&error), ("json.mismatch", path), "{text}: {error}");
    }
}

#[test]
fn a_mismatch_does_not_speak_of_lines_and_columns() {
    let error = Json::parse("[true]").unwrap().to_value::<Vec<String>>().unwrap_err();
    assert_eq!(error.message(), "invalid type: boolean `true`, expected a string");
}

#[test]
fn a_mismatch_does_not_quote_a_long_string_whole() {
    let error = Json::from_value(&"x".repeat(100_000)).unwrap().to_value::<i64>().unwrap_err();
    assert!(error.to_string().len() < 600);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Shape {
    Nothing,
    Single(i64),
    Pair(i64, f64),
    Named { b: bool, a: char },
}

#[test]
fn a_rust_value_is_written_as_serde_json_would_apart_from_the_order() {
    let value = (
        vec![Shape::Nothing, Shape::Single(1), Shape::Pair(2, 3.0), Shape::Named { b: true, a: 'ß' }],
        HashMap::from([(2_u8, Some(0.1_f32)), (10, None)]),
        (),
        i128::from(i64::MIN),
    );
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(Json::from_value(&value).unwrap(), Json::parse(&text).unwrap());
}

#[test]
fn variants_come_back_as_they_went() {
    let value = vec![Shape::Nothing, Shape::Single(1), Shape::Pair(2, 3.0), Shape::Named { b: true, a: 'ß' }];
    assert_eq!(Json::from_value(&value).unwrap().to_value::<Vec<Shape>>().unwrap(), value);
}

#[test]
fn nan_is_refused_and_not_made_null() {
    let error = Json::from_value(&BTreeMap::from([("a", vec![1.0, f64::NAN])])).unwrap_err();
    assert_eq!(place(&error), ("json.invalid", "$.a[1]"));
}

#[test]
fn a_rust_integer_outside_64_bits_is_refused() {
    let error = Json::from_value(&[u64::MAX]).unwrap_err();
    assert_eq!(place(&error), ("json.invalid", "$[0]"));
}

#[test]
fn a_map_whose_keys_are_no_strings_is_refused() {
    let error = Json::from_value(&BTreeMap::from([((1, 2), 3)])).unwrap_err();
    assert_eq!(place(&error), ("json.invalid", "$"));
}

#[test]
fn a_rust_value_that_is_too_deep_is_refused() {
    #[derive(Serialize)]
    struct Nest(Option<Box<[Nest; 1]>>);
    let nest = (0..65).fold(Nest(None), |nest, _| Nest(Some(Box::new([nest]))));
    assert_eq!(Json::from_value(&nest).unwrap_err().code(), "json.too_deep");
}

#[test]
fn a_bytes_value_reads_back_as_bytes() {
    let bytes = bytes::Bytes::from_static(b"\x00\xff");
    struct Raw(bytes::Bytes);
    impl Serialize for Raw {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    assert_eq!(Json::from_value(&Raw(bytes)).unwrap().to_value::<Vec<u8>>().unwrap(), [0, 255]);
}

#[test]
fn a_json_keeps_its_numbers_when_embedded_in_a_rust_value() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Record {
        value: Json,
        after: bool,
    }
    let value = Json::parse("[1.0,-9223372036854775808,-0.0,1e16,{\"b\":1,\"a\":\"\\n\"}]").unwrap();
    let record = Record { value, after: true };
    let text = serde_json::to_string(&record).unwrap();
    assert!(text.starts_with(r#"{"value":[1.0,-9223372036854775808,-0.0,1e"#), "{text}");
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

#[test]
fn a_json_survives_a_detour_through_another_tree() {
    let json = Json::parse("[1.0,-9223372036854775808,-0.0,1e16,{\"a\":[]}]").unwrap();
    let tree = serde_json::to_value(&json).unwrap();
    assert_eq!(serde_json::from_value::<Json>(tree).unwrap(), json);
}

#[test]
fn a_json_inside_of_other_json_is_read_as_strictly() {
    let error = serde_json::from_str::<Vec<Json>>(r#"[{"a":1,"a":2}]"#).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}

/// JSON text with any spelling that the grammar allows, and now and then a value that is to be refused.
fn any_text() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?",
    ];
    let string = proptest::collection::vec((any::<char>(), 0..3_u8), 0..12).prop_map(|chars| {
        let mut text = String::from("\"");
        for (c, spelling) in chars {
            match (c, spelling) {
                (_, 0) => c.encode_utf16(&mut [0; 2]).iter().for_each(|u| text += &format!("\\u{u:04X}")),
                ('/', 1) => text += "\\/",
                _ => text += serde_json::to_string(&c).unwrap().trim_matches('"'),
            }
        }
        // A trailing quote that was escaped lost more than its delimiters.
        if text.ends_with('\\') { "\"\\\"\"".to_owned() } else { text + "\"" }
    });
    let key = prop_oneof!["[a-c]{0,2}".prop_map(|key| format!("\"{key}\"")), string.clone()];
    let space = "[ \t\r\n]{0,2}";
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), number, string];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let item = (space, inner, space).prop_map(|(a, item, b)| format!("{a}{item}{b}"));
        let entry = (space, key.clone(), item.clone()).prop_map(|(a, key, item)| format!("{a}{key}:{item}"));
        prop_oneof![
            proptest::collection::vec(item, 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(entry, 0..8).prop_map(|entries| format!("{{{}}}", entries.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn all_ways_of_reading_json_agree(text in any_text()) {
        fuzzing::json(text.as_bytes());
    }

    #[test]
    fn all_ways_of_reading_agree_on_text_that_is_almost_json(text in "[\\[\\]{}\":,\\\\u0019eE.+tru \\-]{0,24}") {
        fuzzing::json(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        fuzzing::json(&bytes);
    }

    #[test]
    fn a_float_comes_back_bit_for_bit(value in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
        let json = Json::from_value(&value).unwrap();
        prop_assert_eq!(json.to_value::<f64>().unwrap().to_bits(), value.to_bits());
        prop_assert!(json.as_str().contains(['.', 'e']));
    }

    #[test]
    fn a_string_comes_back_as_it_went(value in any::<String>()) {
        let value = value.replace('\0', "");
        prop_assert_eq!(Json::from_value(&value).unwrap().to_value::<String>().unwrap(), value);
    }

    #[test]
    fn a_string_is_spelt_as_serde_json_spells_it(value in "[ -~\\x01-\\x1f\\x7f\u{80}-\u{10ffff}]{0,40}") {
        let expected = serde_json::to_string(&value).unwrap();
        let json = Json::from_value(&value).unwrap();
        prop_assert_eq!(json.as_str(), expected);
    }
}
