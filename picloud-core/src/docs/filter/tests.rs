//! The texts of errors, which people read, and the order of values.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Json;

fn wrong(query: &str) -> String {
    Query::parse(&Json::parse(query).unwrap()).unwrap_err().to_string()
}

#[test]
fn an_unknown_operator_is_named_beside_those_that_there_are() {
    assert_eq!(
        wrong(r#"{"a":{"$regex":"x"}}"#),
        "docs.invalid_query: there is no operator $regex here; supported are $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, \
         $exists, $not, $contains and $starts_with"
    );
    assert_eq!(
        wrong(r#"{"$nor":[]}"#),
        "docs.invalid_query: there is no operator $nor here; supported are $and, $or, $not, $sort, $limit, $cursor and \
         $select"
    );
    assert_eq!(
        wrong(r#"{"$or":[{"$limit":1}]}"#),
        "docs.invalid_query: there is no operator $limit here; supported are $and, $or and $not"
    );
    assert_eq!(
        wrong(r#"{"$and":[{"a":1}],"$gt":1}"#),
        "docs.invalid_query: there is no operator $gt here; supported are $and, $or, $not, $sort, $limit, $cursor and \
         $select"
    );
}

#[test]
fn what_an_operator_needs_is_said() {
    for (query, text) in [
        ("[]", "a query is an object, as in #{ status: \"open\" }"),
        (r#"{"a":{"$gt":null}}"#, "$gt needs a number, a string or a boolean, not null"),
        (r#"{"a":{"$lte":[1]}}"#, "$lte needs a number, a string or a boolean, not an array"),
        (r#"{"a":{"$in":1}}"#, "$in needs an array, not a number"),
        (r#"{"a":{"$nin":{}}}"#, "$nin needs an array, not an object"),
        (r#"{"a":{"$exists":1}}"#, "$exists needs true or false, not a number"),
        (r#"{"a":{"$starts_with":true}}"#, "$starts_with needs a string, not a boolean"),
        (r#"{"a":{"$not":5}}"#, "$not behind a path needs operators, as in #{ $not: #{ $gt: 5 } }"),
        (r#"{"a":{"$gt":5,"b":1}}"#, "\"b\" stands among the operators of \"a\": give both a path"),
        (r#"{"$or":{}}"#, "$or needs an array of queries, not an object"),
        (r#"{"$and":[]}"#, "$and needs at least one query"),
        (r#"{"$or":[1]}"#, "$or needs a query, an object, not a number"),
        (r#"{"$not":[]}"#, "$not needs a query, an object, not an array"),
        (r#"{"$limit":"5"}"#, "$limit needs an integer, not a string"),
        (r#"{"$cursor":5}"#, "$cursor needs the cursor of another page, a string, not a number"),
        (
            r#"{"$select":"a"}"#,
            "$select needs an array of paths, as in [\"name\", \"address.city\"], not a string",
        ),
        (
            r#"{"$sort":5}"#,
            "$sort needs a path, #{ path: 1 }, #{ path: -1 }, or an array of these, not a number",
        ),
        (r#"{"$sort":{"a":1,"b":1}}"#, "$sort by several paths is an array, as in [#{ age: -1 }, \"name\"]"),
        (r#"{"$sort":{"a":2}}"#, "the direction of \"a\" in $sort is 1 or -1"),
        (r#"{"$sort":["a","b","c","d","e"]}"#, "$sort takes at most 4 paths, these are 5"),
    ] {
        assert_eq!(wrong(query), format!("docs.invalid_query: {text}"), "{query}");
    }
}

#[test]
fn a_path_is_keys_with_dots_between() {
    let text =
        "docs.invalid_path: a path is keys with dots between them, as in \"address.city\", not \"a..b\"";
    assert_eq!(wrong(r#"{"a..b":1}"#), text);
    assert!(wrong(r#"{"":1}"#).starts_with("docs.invalid_path"));
    assert_eq!(
        wrong(r#"{"a.$b":1}"#),
        "docs.invalid_path: a key in a path does not begin with $, as in \"a.$b\""
    );
    let long = wrong(&json!({ "x".repeat(513): 1 }).to_string());
    assert_eq!(long, "docs.invalid_path: a path has at most 512 bytes, this one has 513");
}

#[test]
fn queries_are_bounded() {
    let nested = |depth: usize| format!("{}{{\"a\":1}}{}", "{\"$not\":".repeat(depth), "}".repeat(depth));
    assert!(Query::parse(&Json::parse(&nested(MAX_FILTER_DEPTH)).unwrap()).is_ok());
    assert_eq!(
        wrong(&nested(MAX_FILTER_DEPTH + 1)),
        "docs.invalid_query: $and, $or and $not nest at most 16 levels deep"
    );
    let many = json!({ "a": { "$in": (0..1_001).collect::<Vec<_>>() } }).to_string();
    assert_eq!(wrong(&many), "docs.invalid_query: $in takes at most 1000 values, these are 1001");
    let conditions: Vec<_> = (0..MAX_CONDITIONS).map(|n| json!({ "a": n })).collect();
    let too_many = wrong(&json!({ "$or": conditions }).to_string());
    assert_eq!(too_many, "docs.invalid_query: a query has at most 128 conditions");
    let long = wrong(&json!({ "a": "x".repeat(MAX_QUERY_BYTES) }).to_string());
    assert_eq!(long, "docs.query_too_large: a query has at most 262144 bytes as JSON, this one has 262152");
}

#[test]
fn limits_are_clamped() {
    let limit = |text: &str| Query::parse(&Json::parse(text).unwrap()).unwrap().limit();
    assert_eq!([limit("{}"), limit(r#"{"$limit":0}"#), limit(r#"{"$limit":-5}"#)], [100, 1, 1]);
    assert_eq!([limit(r#"{"$limit":7}"#), limit(r#"{"$limit":5000}"#)], [7, 1_000]);
}

#[test]
fn a_filter_has_conditions_only() {
    let error = Filter::parse(&Json::parse(r#"{"a":1,"$limit":1}"#).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "docs.invalid_query: only conditions stand here: paths, $and, $or and $not"
    );
}

fn any_number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        (-4_i64..4).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        (-8_i32..8).prop_map(|half| Value::from(f64::from(half) / 2.0)),
        prop::sample::select(vec![i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1, 1 << 62]).prop_map(Value::from),
        prop::sample::select(vec![
            9_007_199_254_740_992.0,
            4.611_686_018_427_388e18,
            9.223_372_036_854_775e18
        ])
        .prop_map(Value::from),
    ]
}

/// Exactly, by way of 128 bits; `None` for what does not fit.
fn exactly(value: &Value) -> Option<(i128, i32)> {
    if let Some(integer) = value.as_i64() {
        return Some((i128::from(integer), 0));
    }
    let float = value.as_f64()?;
    #[allow(clippy::cast_possible_truncation, reason = "bounded")]
    (float.abs() < 1e30).then(|| (float.trunc() as i128, (float.fract() * 1e9) as i32))
}

proptest! {
    #[test]
    fn numbers_are_in_their_order(one in any_number(), two in any_number()) {
        let order = values_order(&one, &two);
        prop_assert_eq!(values_order(&two, &one), order.reverse());
        if let (Some(a), Some(b)) = (exactly(&one), exactly(&two)) && a != b {
            prop_assert_eq!(order, a.cmp(&b), "{} and {}", one, two);
        }
    }

    #[test]
    fn numbers_that_are_equal_are_written_alike(one in any_number(), two in any_number()) {
        let form = |value: &Value| canonical_numbers(&Json::from_value(value).unwrap()).unwrap();
        let same_number = |text: &str| text.strip_suffix(".0").map(|whole| if whole == "-0" { "0".into() } else { whole.to_owned() })
            .unwrap_or_else(|| text.to_owned());
        if values_order(&one, &two).is_eq() {
            prop_assert_eq!(same_number(form(&one).as_str()), same_number(form(&two).as_str()));
        }
    }
}
