//! A whole query: filter, order, page, selection.

use super::{Filter, Path, Place, Sort, SortKey, Value};
use crate::docs::{DocsError, Document, ListOptions, MAX_FOUND_BYTES};
use crate::page::{Cursor, ListId, Page, clamp_page_size};
use crate::{AppId, CollectionName, Json, Result};

/// Which documents, in which order, how many, and what of them. The default is the first page of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub(super) filter: Filter,
    pub(super) sort: Vec<Sort>,
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<Cursor>,
    pub(super) select: Option<Vec<Path>>,
    /// Filter and order as they were spelt: cursors are good for them alone.
    pub(super) identity: String,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            filter: Filter::All(Vec::new()),
            sort: Vec::new(),
            limit: None,
            cursor: None,
            select: None,
            identity: "{}".to_owned(),
        }
    }
}

impl From<ListOptions> for Query {
    fn from(options: ListOptions) -> Self {
        Query { cursor: options.cursor, limit: options.limit, ..Query::default() }
    }
}

impl Query {
    /// Which documents.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// By what they are ordered before their id.
    pub fn sort(&self) -> &[Sort] {
        &self.sort
    }

    /// How many there are on a page.
    pub fn limit(&self) -> usize {
        clamp_page_size(self.limit)
    }

    /// The same with another limit.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same, going on where another page ended.
    #[must_use]
    pub fn with_cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Whether anything but the filter was given.
    pub(crate) fn is_more_than_a_filter(&self) -> bool {
        !self.sort.is_empty() || self.limit.is_some() || self.cursor.is_some() || self.select.is_some()
    }

    fn list(&self, app: AppId, collection: &CollectionName) -> ListId {
        ListId::new(["docs", &app.to_string(), collection.as_str(), &self.identity])
    }

    /// The place of a document in the order of this query.
    pub fn place_of(&self, document: &Document, data: &Value) -> Place {
        let keys = self.sort.iter().map(|sort| SortKey::new(sort.path.only(data))).collect();
        Place { keys, id: document.id }
    }

    /// The place after which the page begins, if it is not the first.
    ///
    /// # Errors
    /// [`DocsError::InvalidCursor`].
    pub fn after(&self, app: AppId, collection: &CollectionName) -> Result<Option<Place>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let place = || {
            let text = self.list(app, collection).last(cursor)?;
            let (keys, id): (Vec<Value>, crate::docs::DocId) = serde_json::from_str(&text).ok()?;
            let keys: Vec<_> = keys.iter().map(|key| SortKey::new(Some(key))).collect();
            (keys.len() == self.sort.len()).then_some(Place { keys, id })
        };
        place().map(Some).ok_or_else(|| DocsError::InvalidCursor.into())
    }

    fn cursor_after(&self, app: AppId, collection: &CollectionName, place: &Place) -> Result<Cursor> {
        let keys: Vec<_> = place.keys.iter().map(SortKey::value).collect();
        let text = Json::from_value(&(keys, place.id))?;
        Ok(self.list(app, collection).cursor(text.as_str()))
    }

    /// A page of an app's collection in the making.
    pub fn pager<'a>(&'a self, app: AppId, collection: &'a CollectionName) -> Pager<'a> {
        Pager { query: self, app, collection, items: Vec::new(), bytes: 0, last: None, more: false }
    }
}

/// Makes a page of the documents that a query finds, handed over in their order. It ends the page at the limit, makes the
/// cursor, and selects what was asked for.
#[derive(Debug)]
pub struct Pager<'a> {
    query: &'a Query,
    app: AppId,
    collection: &'a CollectionName,
    items: Vec<Document>,
    bytes: usize,
    /// The last document that fits.
    last: Option<Place>,
    more: bool,
}

impl Pager<'_> {
    /// Takes the next document; answers whether it wants another one. The first that does not fit tells that the page is
    /// not the last.
    ///
    /// # Errors
    /// [`DocsError::TooMuchFound`].
    pub fn take(&mut self, mut document: Document) -> Result<bool> {
        let limit = self.query.limit();
        if self.items.len() == limit {
            self.more = true;
            return Ok(false);
        }
        if self.items.len() + 1 == limit {
            self.last = Some(self.query.place_of(&document, &document.data.to_value()?));
        }
        if let Some(paths) = &self.query.select {
            document.data = selected(&document.data, paths)?;
        }
        self.bytes += document.data.len();
        if self.bytes > MAX_FOUND_BYTES {
            return Err(DocsError::TooMuchFound.into());
        }
        self.items.push(document);
        Ok(true)
    }

    /// How many more it wants.
    pub fn missing(&self) -> usize {
        if self.more { 0 } else { self.query.limit() + 1 - self.items.len() }
    }

    /// The page.
    ///
    /// # Errors
    /// None that are known.
    pub fn page(self) -> Result<Page<Document>> {
        let last = self.last.filter(|_| self.more);
        let cursor = last.map(|last| self.query.cursor_after(self.app, self.collection, &last));
        Ok(Page { items: self.items, cursor: cursor.transpose()? })
    }
}

/// The parts of data at some paths.
fn selected(data: &Json, paths: &[Path]) -> Result<Json> {
    let data: Value = data.to_value()?;
    let paths: Vec<&[String]> = paths.iter().map(Path::keys).collect();
    Json::from_value(&part(data, &paths).unwrap_or_else(|| Value::Object(serde_json::Map::new())))
}

/// What the paths leave of a value, `None` for nothing.
fn part(value: Value, paths: &[&[String]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value);
    }
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter_map(|(key, value)| {
                let inside: Vec<&[String]> = paths
                    .iter()
                    .filter_map(|path| path.split_first().filter(|(first, _)| **first == key))
                    .map(|(_, rest)| rest)
                    .collect();
                if inside.is_empty() { None } else { Some((key, part(value, &inside)?)) }
            });
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => {
            Some(Value::Array(items.into_iter().filter_map(|item| part(item, paths)).collect()))
        }
        _ => None,
    }
}
