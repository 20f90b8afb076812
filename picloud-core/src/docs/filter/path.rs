//! Dotted paths into documents.

use std::fmt;

use super::Value;
use crate::{Error, Result};

/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 512;

/// A dotted path: `a.b.c` is the value under `c` in the object under `b` in the object under `a`. There is no way to spell
/// a key with a dot in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<String>);

impl Path {
    /// Reads a path: at most [`MAX_PATH_BYTES`], no empty key, and none that begins with `$`.
    ///
    /// # Errors
    /// `docs.invalid_path`, quoting it.
    pub fn parse(text: &str) -> Result<Self> {
        let shown = || text.chars().take(80).collect::<String>();
        let wrong = if text.len() > MAX_PATH_BYTES {
            format!("a path has at most {MAX_PATH_BYTES} bytes, this one has {}", text.len())
        } else if text.contains('\0') {
            "a path must not contain a NUL character".to_owned()
        } else if text.split('.').any(str::is_empty) {
            format!("a path is keys with dots between them, as in \"address.city\", not {:?}", shown())
        } else if text.split('.').count() > crate::Json::MAX_DEPTH {
            format!("a path has at most {} keys", crate::Json::MAX_DEPTH)
        } else if text.split('.').any(|key| key.starts_with('$')) {
            format!("a key in a path does not begin with $, as in {:?}", shown())
        } else {
            return Ok(Path(text.split('.').map(str::to_owned).collect()));
        };
        Err(Error::invalid("docs.invalid_path", wrong))
    }

    /// The keys, from the outside in.
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// Whether one of the values at the path is so. Arrays on the way are gone through, the one at the end is a value.
    pub(super) fn any(&self, value: &Value, is_so: &mut dyn FnMut(&Value) -> bool) -> bool {
        any(value, &self.0, is_so)
    }

    /// The value at the path, through objects only.
    pub(super) fn only<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |value, key| value.as_object()?.get(key))
    }
}

fn any(value: &Value, keys: &[String], is_so: &mut dyn FnMut(&Value) -> bool) -> bool {
    let Some((key, rest)) = keys.split_first() else { return is_so(value) };
    let mut into = |value: &Value| {
        let found = value.as_object().and_then(|object| object.get(key));
        found.is_some_and(|value| any(value, rest, is_so))
    };
    match value {
        Value::Array(items) => items.iter().any(into),
        value => into(value),
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.join("."))
    }
}
