//! The order in which a query answers, and places in it.

use std::cmp::Ordering;

use super::order::{numbers, rank};
use super::{Path, Value};
use crate::docs::DocId;

/// How many characters of a string count when sorting: a place in the order must fit into a cursor.
pub const MAX_SORT_CHARS: usize = 1_000;

/// One path that a query sorts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The path. It goes through objects only.
    pub path: Path,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// What counts of a value when sorting.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey(Value);

impl SortKey {
    pub(super) fn new(value: Option<&Value>) -> Self {
        SortKey(match value {
            None => Value::Null,
            Some(Value::String(text)) => match text.char_indices().nth(MAX_SORT_CHARS) {
                Some((end, _)) => Value::String(text[..end].to_owned()),
                None => Value::String(text.clone()),
            },
            Some(Value::Array(_)) => Value::Array(Vec::new()),
            Some(Value::Object(_)) => Value::Object(serde_json::Map::new()),
            Some(value) => value.clone(),
        })
    }

    /// The value; arrays and objects are empty, and strings cut.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The place of its type in the order: 1 missing and `null`, 2 numbers, 3 strings, 4 objects, 5 arrays, 6 `false`,
    /// 7 `true`.
    pub fn rank(&self) -> u8 {
        rank(&self.0) + u8::from(self.0 == Value::Bool(true))
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(one), Value::Number(two)) => numbers(one, two),
            (Value::String(one), Value::String(two)) => one.cmp(two),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// A place in the order of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// A key for each [`Sort`] of the query.
    pub keys: Vec<SortKey>,
    /// The document there. It need not exist any more.
    pub id: DocId,
}

impl Place {
    /// How two places of a query with this order lie to each other.
    pub fn compare(&self, other: &Self, sort: &[Sort]) -> Ordering {
        let keys = self.keys.iter().zip(&other.keys).zip(sort);
        let mut by_key = keys.map(|((one, two), sort)| {
            let order = one.compare(two);
            if sort.descending { order.reverse() } else { order }
        });
        by_key.find(|order| order.is_ne()).unwrap_or_else(|| self.id.cmp(&other.id))
    }
}
