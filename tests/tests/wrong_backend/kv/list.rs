//! A list that is right unless told otherwise.

use std::collections::HashMap;

use picloud_core::kv::{Entry, KvError, ListOptions};
use picloud_core::page::{Cursor, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Page};
use picloud_core::{AppId, CallCx, CollectionName, Error, ErrorKind, Result};

use super::{Wrong, WrongKv};

/// The places that cursors stand for, by their text.
pub(crate) type Cursors = HashMap<String, Place>;

/// What a cursor stands for.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    app: AppId,
    collection: CollectionName,
    prefix: String,
    last: String,
    seen: usize,
}

impl WrongKv {
    pub(crate) async fn wrong_list(
        &self,
        cx: &CallCx,
        collection: &CollectionName,
        options: &ListOptions,
    ) -> Result<Page<Entry>> {
        let prefix = options.prefix.as_deref().unwrap_or_default();
        if self.is(Wrong::PrefixRefusedWhenLong) && prefix.len() > 512 {
            return Err(Error::new(ErrorKind::TooLarge, "kv.prefix_too_long", "the prefix is too long"));
        }
        let place = match &options.cursor {
            None => None,
            Some(cursor) if cursor.as_str() == "end" && self.is(Wrong::CursorAtTheEnd) => {
                return Ok(Page { items: vec![], cursor: None });
            }
            Some(cursor) => self.place(cursor, cx, collection, prefix)?,
        };

        let mut entries = self.everything(cx, collection).await?;
        if place.is_none() || !self.is(Wrong::PrefixOnTheFirstPageOnly) {
            let none = self.is(Wrong::EmptyPrefixSelectsNothing) && options.prefix.as_deref() == Some("");
            entries.retain(|entry| !none && self.begins(entry.key.as_str(), prefix));
        }
        match self.wrong {
            Some(Wrong::ListIsBackwards) => entries.reverse(),
            Some(Wrong::ListOrdersLikePeople) => {
                entries.sort_by_key(|entry| entry.key.as_str().to_lowercase())
            }
            Some(Wrong::ListOrdersByUtf16) => {
                entries.sort_by_key(|entry| entry.key.as_str().encode_utf16().collect::<Vec<_>>());
            }
            Some(Wrong::ListDropsTheLast) => {
                entries.pop();
            }
            Some(Wrong::ListForgetsValues) => {
                entries.iter_mut().for_each(|entry| entry.value = picloud_core::Json::null());
            }
            _ => (),
        }
        if let Some(place) = &place {
            if self.is(Wrong::CursorDiesWithItsEntry)
                && !entries.iter().any(|entry| entry.key.as_str() == place.last)
            {
                return Err(KvError::InvalidCursor.into());
            }
            if self.is(Wrong::PagesByOffset) {
                entries.drain(..place.seen.min(entries.len()));
            } else {
                let again = self.is(Wrong::ListRepeatsTheLast);
                entries.retain(|entry| {
                    entry.key.as_str() > place.last.as_str() || again && entry.key.as_str() == place.last
                });
                if self.is(Wrong::ListSkipsOneBetweenPages) && !entries.is_empty() {
                    entries.remove(0);
                }
            }
        }

        let limit = match (self.wrong, options.limit) {
            (Some(Wrong::SmallPages), None) => 10,
            (Some(Wrong::ZeroLimitIsAnEmptyPage), Some(0)) => 0,
            (Some(Wrong::LimitUnclamped), Some(limit)) => limit.max(1),
            (_, limit) => limit.unwrap_or(DEFAULT_PAGE_SIZE).clamp(1, MAX_PAGE_SIZE),
        };
        let more = entries.len() > limit;
        entries.truncate(limit);
        let cursor = match entries.last() {
            Some(last) if more => Some(self.remember(Place {
                app: cx.app(),
                collection: collection.clone(),
                prefix: prefix.to_owned(),
                last: last.key.as_str().to_owned(),
                seen: place.map_or(0, |place| place.seen) + entries.len(),
            })),
            _ if self.is(Wrong::CursorAtTheEnd) => Some(Cursor::new("end")),
            _ => None,
        };
        Ok(Page { items: entries, cursor })
    }

    /// Every entry, in the right order.
    async fn everything(&self, cx: &CallCx, collection: &CollectionName) -> Result<Vec<Entry>> {
        let (mut entries, mut options) = (Vec::new(), ListOptions::default().limit(MAX_PAGE_SIZE));
        loop {
            let page = self.inner.list(cx, collection, &options).await?;
            entries.extend(page.items);
            match page.cursor {
                Some(cursor) => options = options.cursor(cursor),
                None => return Ok(entries),
            }
        }
    }

    fn begins(&self, key: &str, prefix: &str) -> bool {
        match self.wrong {
            Some(Wrong::PrefixIgnored) => true,
            Some(Wrong::PrefixAnywhere) => key.contains(prefix),
            Some(Wrong::PrefixIsAPattern) => {
                let mut key = key.chars();
                prefix.chars().take_while(|sign| *sign != '%').all(|sign| {
                    let next = key.next();
                    next.is_some() && (sign == '_' || next == Some(sign))
                })
            }
            Some(Wrong::PrefixIgnoresCase) => key.to_lowercase().starts_with(&prefix.to_lowercase()),
            Some(Wrong::PrefixHasNoHighestCharacter) if prefix.ends_with(char::MAX) => key == prefix,
            Some(Wrong::PrefixEndsAtNul) => key.starts_with(prefix.split('\0').next().unwrap_or_default()),
            _ => key.starts_with(prefix),
        }
    }

    /// The place of a cursor, if it is one of this list.
    fn place(
        &self,
        cursor: &Cursor,
        cx: &CallCx,
        collection: &CollectionName,
        prefix: &str,
    ) -> Result<Option<Place>> {
        let text = if self.is(Wrong::CursorTrimmed) { cursor.as_str().trim() } else { cursor.as_str() };
        let Some(place) = self.notes().cursors.get(text).cloned() else {
            return if self.is(Wrong::CursorUnchecked) {
                Ok(None)
            } else {
                Err(KvError::InvalidCursor.into())
            };
        };
        let fits = (place.app == cx.app() || self.is(Wrong::CursorOfAnyApp))
            && (place.collection == *collection || self.is(Wrong::CursorOfAnyCollection))
            && (place.prefix == prefix || self.is(Wrong::CursorOfAnyPrefix));
        if fits { Ok(Some(place)) } else { Err(KvError::InvalidCursor.into()) }
    }

    fn remember(&self, place: Place) -> Cursor {
        let mut notes = self.notes();
        let text = format!("place {}", notes.cursors.len());
        notes.cursors.insert(text.clone(), place);
        Cursor::new(text)
    }
}
