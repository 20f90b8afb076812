//! Queries: which documents, in which order, how many, and what of them.
//!
//! A query is a JSON object. A key that begins with `$` is an operator, any other is a path: `"a.b"` means the value under
//! `b` in the object under `a`. Where a path meets an array on its way, it goes on in each object of the array.
//!
//! | condition | holds for a document when |
//! |---|---|
//! | `"path": value`, `$eq` | a value at the path equals it. `null` also means: there is no value |
//! | `$ne` | `$eq` does not hold: also when there is no value |
//! | `$gt`, `$gte`, `$lt`, `$lte` | a value of the operand's type (number, string or boolean) is greater … |
//! | `$in` | `$eq` holds for one of up to [`MAX_IN`] values |
//! | `$nin` | `$in` does not hold |
//! | `$exists` | there is a value, `null` included; with `false`: there is none |
//! | `$contains` | a string at the path contains the text, or an array has an element that equals the operand |
//! | `$starts_with` | a string starts with the text |
//! | `"path": #{ $not: … }` | the operators in it do not hold |
//! | `$and`, `$or` | all of several queries hold, or one of them |
//! | `$not` | a query does not hold |
//!
//! As in MongoDB, an array counts as itself and as each of its elements, for every operator but `$exists` and `$contains`:
//! `#{ tags: "red" }` finds `["red", "blue"]`, and `#{ n: #{ $gt: 5, $lt: 3 } }` finds `[1, 9]`. Numbers compare as numbers,
//! so 1 equals 1.0; strings by code point; objects are equal when they have equal values under the same keys, arrays when
//! they have equal elements in the same order.
//!
//! `$sort` orders by up to [`MAX_SORT`] paths: `"age"`, `#{ age: -1 }`, or an array of such. The order across types is
//! that of MongoDB: missing and `null`, numbers, strings, objects, arrays, `false`, `true`. For sorting a path goes through
//! objects only, all objects are alike, all arrays are alike, and of a string its first [`MAX_SORT_CHARS`] characters
//! count. Documents that are alike are ordered by id, as are those of a query without `$sort`.
//!
//! `$limit` is clamped to 1 ..= 1 000, 100 when it is missing. `$cursor` goes on where another page of the same query ended.
//! `$select`, an array of paths, leaves only these parts of the data; arrays on the way are gone through.
//!
//! ```
//! use picloud_core::Json;
//! use picloud_core::docs::Query;
//!
//! let text = r#"{ "tags": "red", "price": { "$lt": 10 }, "$sort": { "price": -1 }, "$limit": 5 }"#;
//! let query = Query::parse(&Json::parse(text)?)?;
//! assert!(query.filter().matches(&Json::parse(r#"{ "tags": ["red"], "price": 9.5 }"#)?)?);
//! // Another type is never in a range.
//! assert!(!query.filter().matches(&Json::parse(r#"{ "tags": ["red"], "price": "9.5" }"#)?)?);
//!
//! let wrong = Json::parse(r#"{ "price": { "$regex": "9" } }"#)?;
//! assert!(Query::parse(&wrong).unwrap_err().message().contains("there is no operator $regex"));
//! # Ok::<(), picloud_core::Error>(())
//! ```

mod eval;
mod order;
mod parse;
mod path;
mod query;
mod sort;
#[cfg(test)]
mod tests;

pub use order::{canonical_numbers, values_order};
pub use path::{MAX_PATH_BYTES, Path};
pub use query::{Pager, Query};
pub use sort::{MAX_SORT_CHARS, Place, Sort, SortKey};

/// A parsed JSON value, as the operands of conditions are.
pub use serde_json::Value;

/// Most values of `$in` and `$nin`.
pub const MAX_IN: usize = 1_000;

/// How deep `$and`, `$or` and `$not` may nest.
pub const MAX_FILTER_DEPTH: usize = 16;

/// Most conditions of one query: each may be looked at for every document of a collection.
pub const MAX_CONDITIONS: usize = 128;

/// Most paths of `$sort`.
pub const MAX_SORT: usize = 4;

/// Most paths of `$select`.
pub const MAX_SELECT: usize = 100;

/// Longest query, in bytes of its canonical text.
pub const MAX_QUERY_BYTES: usize = 256 << 10;

/// Which documents: a tree of conditions.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// All of them hold; with none: every document.
    All(Vec<Filter>),
    /// One of them holds.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// What is at a path passes a test.
    At(Path, Test),
}

/// What a value must be. An array passes as itself or by one of its elements, unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Test {
    /// It equals one of these, which are in [order](values_order) and without duplicates. `null` also means that there is
    /// no value.
    In(Vec<Value>),
    /// It compares so with a number, string or boolean, and is of the same type.
    Compare(Comparison, Value),
    /// There is one, or not. An array is one value.
    Exists(bool),
    /// A string that contains this string, or an array with an element that equals this.
    Contains(Value),
    /// A string that starts so.
    StartsWith(String),
}

/// How a value compares with an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}
