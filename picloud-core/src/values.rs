//! What a name in a query, a form or a header can stand for: a value, several, or none.

use std::fmt;

use serde::Deserialize;

/// One value or several; `()` is none.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, a number or a bool, or an array of these")]
pub(crate) enum Values {
    None(()),
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string, a number or a bool")]
pub(crate) enum Scalar {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Values {
    pub(crate) fn as_slice(&self) -> &[Scalar] {
        match self {
            Values::None(()) => &[],
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(values) => values,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => f.write_str(text),
            Scalar::Int(number) => number.fmt(f),
            Scalar::Float(number) => number.fmt(f),
            Scalar::Bool(truth) => truth.fmt(f),
        }
    }
}
