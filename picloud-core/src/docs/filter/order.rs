//! The order of values, and when they are equal.

use std::cmp::Ordering;

use serde_json::Number;

use super::Value;
use crate::{Json, Result};

/// The order of all values: `null`, numbers, strings, objects, arrays, `false`, `true`. Numbers compare as numbers, exactly;
/// strings by code point; arrays element by element; objects entry by entry, in the order of their keys. Values are equal
/// in it exactly when `$eq` says so.
pub fn values_order(one: &Value, two: &Value) -> Ordering {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => numbers(one, two),
        (Value::String(one), Value::String(two)) => one.cmp(two),
        (Value::Bool(one), Value::Bool(two)) => one.cmp(two),
        (Value::Array(one), Value::Array(two)) => {
            let different = one.iter().zip(two).map(|(one, two)| values_order(one, two));
            different.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| one.len().cmp(&two.len()))
        }
        (Value::Object(one), Value::Object(two)) => {
            let entries = one.iter().zip(two);
            let mut different = entries.map(|((key, value), (other, another))| {
                key.cmp(other).then_with(|| values_order(value, another))
            });
            different.find(|order| order.is_ne()).unwrap_or_else(|| one.len().cmp(&two.len()))
        }
        _ => rank(one).cmp(&rank(two)),
    }
}

/// The place of a value's type in the order.
pub(super) fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Object(_) => 4,
        Value::Array(_) => 5,
        Value::Bool(_) => 6,
    }
}

pub(super) fn numbers(one: &Number, two: &Number) -> Ordering {
    let float = |number: &Number| number.as_f64().unwrap_or_default();
    match (one.as_i64(), two.as_i64()) {
        (Some(one), Some(two)) => one.cmp(&two),
        (Some(one), None) => integer_and_float(one, float(two)),
        (None, Some(two)) => integer_and_float(two, float(one)).reverse(),
        (None, None) => float(one).partial_cmp(&float(two)).unwrap_or(Ordering::Equal),
    }
}

/// 2⁶³: the first float above all integers.
const ABOVE: f64 = 9_223_372_036_854_775_808.0;

fn integer_and_float(integer: i64, float: f64) -> Ordering {
    if float >= ABOVE {
        return Ordering::Less;
    }
    if float < -ABOVE {
        return Ordering::Greater;
    }
    #[allow(clippy::cast_possible_truncation, reason = "its whole part is an integer of 64 bits")]
    let whole = float.trunc() as i64;
    integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal))
}

/// 2⁵³: from here on the shortest text of a float need not be its exact value.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The same value, in which numbers that equal each other have texts of the same decimal value: for databases, which
/// compare numbers by their text. Floats that are integers of 64 bits become those.
///
/// # Errors
/// None for canonical text; `json.mismatch` for other text.
pub fn canonical_numbers(json: &Json) -> Result<Json> {
    let mut value: Value = json.to_value()?;
    // Most documents have no such number.
    if exact(&mut value) { Json::from_value(&value) } else { Ok(json.clone()) }
}

/// Whether something was changed.
pub(super) fn exact(value: &mut Value) -> bool {
    match value {
        Value::Number(number) if !number.is_i64() => match number.as_f64() {
            Some(float) if (EXACT..ABOVE).contains(&float.abs()) || float == -ABOVE => {
                #[allow(clippy::cast_possible_truncation, reason = "it is in range")]
                let integer = float as i64;
                *number = integer.into();
                true
            }
            _ => false,
        },
        // All of them, not only the first.
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| exact(item) | changed),
        Value::Object(entries) => entries.values_mut().fold(false, |changed, item| exact(item) | changed),
        _ => false,
    }
}
