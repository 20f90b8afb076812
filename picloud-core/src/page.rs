//! Pages of long lists.

use serde::{Deserialize, Serialize};

/// One page of a list, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items of this page, in the order that the list promises.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when this is the last one.
    pub cursor: Option<Cursor>,
}

/// An opaque place in a list.
///
/// Only a cursor that the same list handed out is valid; anything else is answered with
/// `"<service>.invalid_cursor"`. A cursor stays valid while items come and go: it names a place in the order,
/// not an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Wraps the text a backend made, or the text a caller sent back.
    pub fn new(text: impl Into<String>) -> Self {
        Cursor(text.into())
    }

    /// The text to hand out.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many items a page has when the caller does not say.
pub const DEFAULT_PAGE_SIZE: usize = 100;

/// The most items a page has; a larger request is clamped, and one for none gets one.
pub const MAX_PAGE_SIZE: usize = 1_000;

/// Clamps a requested page size to what a page may have.
///
/// ```
/// use picloud_core::page::{clamp_page_size, MAX_PAGE_SIZE};
/// assert_eq!(clamp_page_size(None), 100);
/// assert_eq!(clamp_page_size(Some(0)), 1);
/// assert_eq!(clamp_page_size(Some(1_000_000)), MAX_PAGE_SIZE);
/// ```
pub fn clamp_page_size(requested: Option<usize>) -> usize {
    requested.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE)
}
