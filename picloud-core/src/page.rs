//! Pages of long lists.

use serde::{Deserialize, Serialize};

use uuid::Uuid;

use crate::{Error, Result, Timestamp, hex};

/// One page of a list, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items of this page, in the order that the list promises.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when this is the last one.
    pub cursor: Option<Cursor>,
}

impl<T> Page<T> {
    /// The page of what a backend read when it asked for one item more than `limit`: if that one is there, more follows, and
    /// `cursor` makes the place after the last item that stays.
    ///
    /// ```
    /// use picloud_core::page::{ListId, Page};
    ///
    /// let list = ListId::new(["letters"]);
    /// let page = Page::cut(vec!["a", "b", "c"], 2, |last| list.cursor(last));
    /// assert_eq!((page.items, page.cursor), (vec!["a", "b"], Some(list.cursor("b"))));
    /// assert_eq!(Page::cut(vec!["a"], 2, |last| list.cursor(last)).cursor, None);
    /// ```
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> Cursor) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let cursor = items.last().filter(|_| more).map(cursor);
        Page { items, cursor }
    }
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

/// What to list. The default is the first page of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ListOptions {
    /// Where to go on, from the page before.
    pub cursor: Option<Cursor>,
    /// Items on a page; clamped to 1 ..= 1 000, 100 when `None`.
    pub limit: Option<usize>,
}

impl ListOptions {
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

/// A list that hands out cursors: what its items were chosen by, so that its cursors are good for it alone. For
/// backends.
///
/// ```
/// use picloud_core::page::ListId;
///
/// let carts = ListId::new(["shop", "carts"]);
/// let cursor = carts.cursor("item 42");
/// assert_eq!(carts.last(&cursor).as_deref(), Some("item 42"));
/// assert_eq!(ListId::new(["shop", "orders"]).last(&cursor), None);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ListId {
    hash: u64,
}

impl ListId {
    /// The list that was chosen by these parts: app, collection, filters.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = ListId { hash: 0xcbf2_9ce4_8422_2325 };
        parts.into_iter().for_each(|part| list.add(part));
        list
    }

    /// FNV-1a. It guards against accidents and guesses that change nothing: a cursor is no secret, and the caller may
    /// list every item anyway.
    fn add(&mut self, part: &str) {
        // The length keeps the end of one part apart from the beginning of the next.
        for byte in part.bytes().chain((part.len() as u64).to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The place after the item that orders as `last`: a checksum over list and item, then the item, in hexadecimal.
    pub fn cursor(mut self, last: &str) -> Cursor {
        self.add(last);
        Cursor(format!("{:016x}{}", self.hash, hex::encode(last.as_bytes())))
    }

    /// The place after an item of a list in order of time and id. Times count to the microsecond.
    pub fn cursor_at(self, at: Timestamp, id: &Uuid) -> Cursor {
        self.cursor(&format!("{} {id}", at.as_microsecond()))
    }

    /// Time and id that a cursor was made from; `None` when there is no cursor.
    ///
    /// # Errors
    /// `code`, when this list did not make the cursor.
    pub fn place_of(self, cursor: Option<&Cursor>, code: &'static str) -> Result<Option<(Timestamp, Uuid)>> {
        let Some(cursor) = cursor else { return Ok(None) };
        let read = |text: &str| {
            let (at, id) = text.split_once(' ')?;
            Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, id.parse().ok()?))
        };
        let place = self.last(cursor).and_then(|text| read(&text));
        place.map(Some).ok_or_else(|| Error::invalid(code, "the cursor was not handed out by this list"))
    }

    /// What a cursor was made from; `None` if this list did not make it.
    pub fn last(self, cursor: &Cursor) -> Option<String> {
        let bytes = hex::decode(cursor.0.as_bytes().get(16..)?)?;
        let last = String::from_utf8(bytes).ok()?;
        // Writing it again is the whole check: any other text, list or item gives another cursor.
        (self.cursor(&last) == *cursor).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_item(last in ".{0,40}", part in ".{0,5}") {
            let list = ListId::new(["list", &part]);
            prop_assert_eq!(list.last(&list.cursor(&last)), Some(last));
        }

        #[test]
        fn no_text_makes_the_check_panic_or_pass(text in "([0-9a-f+]{0,60}|.{0,40})") {
            prop_assert_eq!(ListId::new(["list"]).last(&Cursor::new(text)), None);
        }

        #[test]
        fn a_changed_character_is_noticed(last in ".{1,40}", at: prop::sample::Index, to in "[0-9a-fA-F+]") {
            let list = ListId::new(["list"]);
            let cursor = list.cursor(&last);
            let at = at.index(cursor.as_str().len());
            let mut text = cursor.as_str().to_owned();
            text.replace_range(at..=at, &to);
            prop_assume!(text != cursor.as_str());
            prop_assert_eq!(list.last(&Cursor::new(text)), None);
        }

        #[test]
        fn lists_do_not_share_cursors(one in prop::collection::vec(".{0,3}", 0..4), two in prop::collection::vec(".{0,3}", 0..4)) {
            prop_assume!(one != two);
            let (one, two) = (one.iter().map(String::as_str), two.iter().map(String::as_str));
            prop_assert_eq!(ListId::new(two).last(&ListId::new(one).cursor("x")), None);
        }
    }
}
