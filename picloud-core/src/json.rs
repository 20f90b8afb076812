//! Values at the seams: canonical JSON text.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::Result;
use crate::json_canonical::{self, clip};

/// A value as canonical JSON text: what scripts, services and backends hand each other.
///
/// Object keys are sorted by their UTF-8 bytes and unique, there is no insignificant white space, integers
/// are all of `i64` without a fraction, floats always carry a `.` or an exponent, no string holds a NUL, and
/// nothing nests deeper than [`Json::MAX_DEPTH`]. Hence two values are equal exactly when their texts are,
/// `1` is not `1.0`, and a float that a script stores comes back as a float.
///
/// Cloning is cheap: the text is shared.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

impl Json {
    /// How deep arrays and objects may nest.
    pub const MAX_DEPTH: usize = 64;

    /// JSON `null`, a script's `()`.
    pub fn null() -> Self {
        Json(Arc::from("null"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length of the text in bytes: what limits on stored values count.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// Wraps text that is already canonical: written by [`Json`] before, or by picloud's own serialiser.
    ///
    /// Not checked. Text that is not canonical breaks equality (`compare_and_set`), not memory.
    pub fn from_canonical(text: impl Into<Arc<str>>) -> Self {
        Json(text.into())
    }

    /// Reads any JSON text and makes it canonical.
    ///
    /// # Errors
    /// `json.invalid` for text that is not JSON, an integer outside `i64`, a number that no finite float
    /// holds, a duplicate key or a NUL character; `json.too_deep` past [`Json::MAX_DEPTH`]. The context has the
    /// `path` to the offending value, such as `$.items[3]`.
    ///
    /// ```
    /// use picloud_core::Json;
    ///
    /// let json = Json::parse(r#"{ "b": 1E2, "a": [1, -0] }"#)?;
    /// // An integer has no minus zero, so that one is read as a float.
    /// assert_eq!(json.as_str(), r#"{"a":[1,-0.0],"b":100.0}"#);
    /// # Ok::<(), picloud_core::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        json_canonical::canonicalize(text).map(Self::from_canonical)
    }

    /// Serialises a Rust value.
    ///
    /// # Errors
    /// As [`Json::parse`], and `json.invalid` for what JSON cannot hold: NaN, infinities, and maps whose keys are
    /// neither strings nor spelt like one (characters, integers, booleans, plain variants).
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        json_canonical::serialize(value).map(Self::from_canonical)
    }

    /// Reads the text as a Rust value.
    ///
    /// # Errors
    /// `json.mismatch` when the value has not the shape of `T`, with the `path` to where it differs.
    pub fn to_value<T: DeserializeOwned>(&self) -> Result<T> {
        json_canonical::deserialize(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = clip(&self.0, 200);
        write!(f, "Json({start}{})", if start.len() < self.0.len() { "…" } else { "" })
    }
}
