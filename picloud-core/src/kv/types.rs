//! Names, keys and options of the KV service.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::page::Cursor;
use crate::{Error, Json, Result};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// Largest stored value, in bytes of its canonical JSON text.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Longest time to live, in seconds: about a hundred years, so that every expiry is a valid time.
pub const MAX_TTL_SECONDS: u64 = 3_153_600_000;

pub use crate::names::CollectionName;

/// A key: 1 to [`MAX_KEY_BYTES`] bytes of UTF-8 without NUL. Keys order by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Checks a key.
    ///
    /// # Errors
    /// `kv.invalid_key` naming what is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let wrong = if text.is_empty() {
            "a key must not be empty".to_owned()
        } else if text.len() > MAX_KEY_BYTES {
            format!("a key has at most {MAX_KEY_BYTES} bytes, this one has {}", text.len())
        } else if text.contains('\0') {
            "a key must not contain a NUL character".to_owned()
        } else {
            return Ok(Key(text));
        };
        Err(Error::invalid("kv.invalid_key", wrong))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What to do besides writing. The default is a plain write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SetOptions {
    /// After this many seconds the entry is gone; 1 to [`MAX_TTL_SECONDS`]. `None`: it stays, and a TTL set
    /// earlier is cleared.
    pub ttl_seconds: Option<u64>,
}

impl SetOptions {
    /// An entry that is gone after `seconds`.
    pub fn ttl(seconds: u64) -> Self {
        SetOptions { ttl_seconds: Some(seconds) }
    }
}

/// What to list. The default is the first page of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only keys that begin with this; `None` or empty for all.
    pub prefix: Option<String>,
    /// Where to go on, from the page before.
    pub cursor: Option<Cursor>,
    /// Items on a page; clamped to 1 ..= 1 000, 100 when `None`.
    pub limit: Option<usize>,
}

impl ListOptions {
    /// Only keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Goes on where another page ended.
    #[must_use]
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// At most this many items.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// An item of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Json,
}
