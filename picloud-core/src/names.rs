//! Names that several services share.

use std::fmt;

use serde::Serialize;

use crate::{Error, Result};

/// Longest name of a collection, queue or topic, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// The name of a collection: 1 to [`MAX_NAME_BYTES`] of `A-Z a-z 0-9 _ . : -`.
///
/// ```
/// use picloud_core::CollectionName;
/// assert!(CollectionName::new("orders:eu").is_ok());
/// assert_eq!(CollectionName::new("orders/eu").unwrap_err().code(), "collection.invalid_name");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CollectionName(String);

impl CollectionName {
    /// Checks a name.
    ///
    /// # Errors
    /// `collection.invalid_name`, quoting the name and saying what is allowed.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
        let wrong = if text.is_empty() {
            "a collection name must not be empty".to_owned()
        } else if text.len() > MAX_NAME_BYTES {
            format!("a collection name has at most {MAX_NAME_BYTES} bytes, this one has {}", text.len())
        } else if !text.bytes().all(allowed) {
            format!("a collection name consists of A-Z, a-z, 0-9, '_', '.', ':' and '-', not {text:?}")
        } else {
            return Ok(CollectionName(text));
        };
        Err(Error::invalid("collection.invalid_name", wrong))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
