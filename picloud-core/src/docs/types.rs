//! Ids, data and options of the docs service.

use serde::{Deserialize, Serialize};

use super::DocsError;
use super::filter::{Path, Value};
use crate::ids::id;
use crate::{Error, ErrorKind, Json, Result, Timestamp};

pub use crate::names::CollectionName;
pub use crate::page::ListOptions;

/// Largest data of a document, in bytes of its canonical JSON text.
pub const MAX_DATA_BYTES: usize = 1 << 20;

/// The most that one query answers, in bytes of the data of all documents: a page of a thousand of the largest would not
/// fit into anybody's memory.
pub const MAX_FOUND_BYTES: usize = 16 << 20;

id!(
    /// Identifies a document.
    DocId, "docs"
);

/// Most declared indexes of a collection: each write keeps all of them.
pub const MAX_INDEXES: usize = 8;

/// A declared index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DocsIndex {
    /// What it is of.
    pub path: Path,
    /// Whether every document is in it; until then queries do without.
    pub is_complete: bool,
    /// How many documents were taken into it since it was declared, besides those that were written meanwhile.
    pub documents: u64,
}

impl DocsIndex {
    /// What a backend tells of an index.
    pub fn new(path: Path, is_complete: bool, documents: u64) -> Self {
        DocsIndex { path, is_complete, documents }
    }
}

/// The data of a document: a JSON object of at most [`MAX_DATA_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocData(Json);

impl DocData {
    /// Checks a value.
    ///
    /// # Errors
    /// `docs.not_an_object`, `docs.data_too_large`.
    pub fn new(json: Json) -> Result<Self> {
        if !json.as_str().starts_with('{') {
            return Err(DocsError::NotAnObject { found: kind_of_text(json.as_str()) }.into());
        }
        if json.len() > MAX_DATA_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "docs.data_too_large",
                format!("a document has at most {MAX_DATA_BYTES} bytes as JSON, this one has {}", json.len()),
            ));
        }
        Ok(DocData(json))
    }

    /// The data as JSON.
    pub fn json(&self) -> &Json {
        &self.0
    }

    /// The data as JSON.
    pub fn into_json(self) -> Json {
        self.0
    }
}

/// What kind of value canonical text is, for people.
fn kind_of_text(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// What kind of value it is, for people.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// Identifies it. Ids grow with the time of creation, as far as clocks agree.
    pub id: DocId,
    /// What was stored; in an answer to a query with `$select`, the selected part of it.
    pub data: Json,
    /// 1 when it was created, and one more with every write.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl Document {
    /// The document as canonical text, as scripts see it. Its data may nest as deep as any value, so the whole may nest
    /// one level deeper.
    pub fn to_json(&self) -> Json {
        Json::from_canonical(format!(
            "{{\"created_at\":\"{}\",\"data\":{},\"id\":\"{}\",\"updated_at\":\"{}\",\"version\":{}}}",
            self.created_at,
            self.data.as_str(),
            self.id,
            self.updated_at,
            self.version
        ))
    }
}

/// What must hold for a write. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WriteOptions {
    /// The version that the document must have.
    pub if_version: Option<u64>,
}

impl WriteOptions {
    /// Only if the document has this version.
    pub fn if_version(version: u64) -> Self {
        WriteOptions { if_version: Some(version) }
    }
}
