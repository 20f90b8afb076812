//! Ids, names, types and records of files.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, Method};
use serde::{Serialize, Serializer};

use super::FilesError;
use crate::ids::id;
use crate::page::{Cursor, ListId};
use crate::{AppId, Error, ErrorKind, Json, Result, Timestamp, hex};

pub use crate::names::CollectionName;
pub use crate::page::ListOptions;

/// Longest name of a file, in bytes: what file systems of those who save it take.
pub const MAX_FILE_NAME_BYTES: usize = 255;

/// Longest content type, in bytes.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// Largest metadata of a file, in bytes of its canonical JSON text.
pub const MAX_METADATA_BYTES: usize = 16 << 10;

/// How deep metadata may nest: an event holds it two levels down, before and after.
pub const MAX_METADATA_DEPTH: usize = 32;

id!(
    /// Identifies a file.
    FileId, "files"
);
id!(
    /// Names the bytes of one write of one file. Bytes never change: other bytes have another name.
    BlobId, "blob"
);

/// The name of a file: 1 to [`MAX_FILE_NAME_BYTES`] bytes without control characters. It is told to those who download,
/// and nothing else hangs on it: it need not be unique, and no path is made of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FileName(String);

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// `files.invalid_name`.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let wrong = if text.is_empty() {
            "the name of a file must not be empty".to_owned()
        } else if text.len() > MAX_FILE_NAME_BYTES {
            format!("the name of a file has at most {MAX_FILE_NAME_BYTES} bytes, this one has {}", text.len())
        } else if text.chars().any(char::is_control) {
            format!("the name of a file has no control characters, unlike {text:?}")
        } else {
            return Ok(FileName(text));
        };
        Err(Error::invalid("files.invalid_name", wrong))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A media type such as `text/plain; charset=utf-8`, of at most [`MAX_CONTENT_TYPE_BYTES`]. Kept as it was written.
///
/// ```
/// use picloud_core::files::ContentType;
/// assert!(ContentType::new("text/plain; charset=\"utf-8\"").is_ok());
/// assert_eq!(ContentType::new("text").unwrap_err().code(), "files.invalid_content_type");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ContentType(String);

impl ContentType {
    /// Checks a type.
    ///
    /// # Errors
    /// `files.invalid_content_type`.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let wrong = if text.len() > MAX_CONTENT_TYPE_BYTES {
            format!("a content type has at most {MAX_CONTENT_TYPE_BYTES} bytes, this one has {}", text.len())
        } else if is_media_type(&text) {
            return Ok(ContentType(text));
        } else {
            format!(
                "a content type reads type/subtype, with parameters such as ; charset=utf-8, not {text:?}"
            )
        };
        Err(Error::invalid("files.invalid_content_type", wrong))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The grammar of RFC 9110: `type/subtype` and parameters, whose values are tokens or quoted strings.
fn is_media_type(text: &str) -> bool {
    let Some(rest) = after_token(text).and_then(|rest| after_token(rest.strip_prefix('/')?)) else {
        return false;
    };
    let mut rest = rest.trim_end_matches([' ', '\t']);
    while let Some(parameter) = rest.trim_start_matches([' ', '\t']).strip_prefix(';') {
        let parameter = parameter.trim_start_matches([' ', '\t']);
        let value = after_token(parameter).and_then(|rest| rest.strip_prefix('='));
        let Some(after) = value.and_then(|value| after_token(value).or_else(|| after_quoted(value))) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

/// What follows a token of at least one character.
fn after_token(text: &str) -> Option<&str> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let end = text.bytes().position(|b| !is_token(b)).unwrap_or(text.len());
    text.get(end..).filter(|_| end > 0)
}

/// What follows a quoted string. ASCII only, so that it fits into a header.
fn after_quoted(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, b) in text.strip_prefix('"')?.bytes().enumerate() {
        match b {
            _ if !(b == b'\t' || (b' '..=b'~').contains(&b)) => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.get(at + 2..),
            _ => {}
        }
    }
    None
}

/// What an app notes about a file: a JSON object of at most [`MAX_METADATA_BYTES`] and [`MAX_METADATA_DEPTH`] levels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Metadata(Json);

impl Metadata {
    /// Checks a value.
    ///
    /// # Errors
    /// `files.invalid_metadata`, `files.metadata_too_large`.
    pub fn new(json: Json) -> Result<Self> {
        if !json.as_str().starts_with('{') {
            return Err(Error::invalid("files.invalid_metadata", "the metadata of a file is an object"));
        }
        if json.len() > MAX_METADATA_BYTES {
            let text = format!(
                "the metadata of a file has at most {MAX_METADATA_BYTES} bytes as JSON, this has {}",
                json.len()
            );
            return Err(Error::new(ErrorKind::TooLarge, "files.metadata_too_large", text));
        }
        let depth = depth(json.as_str());
        if depth > MAX_METADATA_DEPTH {
            let text =
                format!("the metadata of a file nests at most {MAX_METADATA_DEPTH} levels, this {depth}");
            return Err(Error::invalid("files.invalid_metadata", text));
        }
        Ok(Metadata(json))
    }

    /// The metadata as JSON.
    pub fn json(&self) -> &Json {
        &self.0
    }
}

impl Default for Metadata {
    /// An empty object.
    fn default() -> Self {
        Metadata(Json::from_canonical("{}"))
    }
}

/// How deep the containers of canonical text nest.
fn depth(text: &str) -> usize {
    let (mut deep, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                deep += 1;
                deepest = deepest.max(deep);
            }
            b'}' | b']' if !in_string => deep = deep.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The SHA-256 of bytes. Its text is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(pub [u8; 32]);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = hex::decode(text.as_bytes()).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Checksum).filter(|sum| sum.to_string() == text).ok_or_else(|| {
            Error::invalid("files.invalid_checksum", "a checksum is 64 lower-case hexadecimal digits")
        })
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A file, without its bytes: what scripts and hosts see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileInfo {
    /// Identifies it. Ids grow with the time of creation, as far as clocks agree.
    pub id: FileId,
    /// Its name.
    pub name: FileName,
    /// What its bytes are.
    pub content_type: ContentType,
    /// How many bytes it has.
    pub size: u64,
    /// The checksum of its bytes.
    pub sha256: Checksum,
    /// What the app notes about it.
    pub metadata: Metadata,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

impl FileInfo {
    /// The file as canonical text, as scripts see it.
    ///
    /// # Errors
    /// None that are known: every part was checked.
    pub fn to_json(&self) -> Result<Json> {
        Json::from_value(self)
    }
}

/// Bytes that were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Their name in the blob store.
    pub blob: BlobId,
    /// How many they are.
    pub size: u64,
    /// Their checksum.
    pub sha256: Checksum,
}

/// A file about to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its name.
    pub name: FileName,
    /// What its bytes are.
    pub content_type: ContentType,
    /// What the app notes about it.
    pub metadata: Metadata,
    /// Its bytes.
    pub content: Content,
}

/// What becomes different about a file. The default is nothing but its time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileChange {
    /// Another name.
    pub name: Option<FileName>,
    /// Another type.
    pub content_type: Option<ContentType>,
    /// Other metadata, all of it.
    pub metadata: Option<Metadata>,
    /// Other bytes.
    pub content: Option<Content>,
}

/// A file as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// What is known about it.
    pub info: FileInfo,
    /// Its bytes.
    pub blob: BlobId,
}

/// What an update came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    /// The file as it is now.
    pub record: FileRecord,
    /// The bytes that it named before; the same as now, if they were not replaced.
    pub before: BlobId,
}

impl FileRecord {
    /// The record of a new file.
    pub fn created(id: FileId, file: &NewFile, now: Timestamp) -> Self {
        let now = precise(now);
        let info = FileInfo {
            id,
            name: file.name.clone(),
            content_type: file.content_type.clone(),
            size: file.content.size,
            sha256: file.content.sha256,
            metadata: file.metadata.clone(),
            created_at: now,
            updated_at: now,
        };
        FileRecord { info, blob: file.content.blob }
    }

    /// The record after a change. The time of the last write never falls.
    #[must_use]
    pub fn changed(&self, change: &FileChange, now: Timestamp) -> Self {
        let mut record = self.clone();
        let info = &mut record.info;
        if let Some(name) = &change.name {
            info.name = name.clone();
        }
        if let Some(content_type) = &change.content_type {
            info.content_type = content_type.clone();
        }
        if let Some(metadata) = &change.metadata {
            info.metadata = metadata.clone();
        }
        if let Some(content) = &change.content {
            (info.size, info.sha256, record.blob) = (content.size, content.sha256, content.blob);
        }
        info.updated_at = info.updated_at.max(precise(now));
        record
    }
}

/// As precise as databases keep it.
fn precise(now: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

impl FileId {
    fn list(app: AppId, collection: &CollectionName) -> ListId {
        ListId::new(["files", &app.to_string(), collection.as_str()])
    }

    /// The cursor after this file in the list of a collection. For backends.
    pub fn cursor(&self, app: AppId, collection: &CollectionName) -> Cursor {
        FileId::list(app, collection).cursor(&self.to_string())
    }

    /// The file that a cursor comes after; `None` when there is no cursor. For backends.
    ///
    /// # Errors
    /// [`FilesError::InvalidCursor`], when the list of this collection did not make it.
    pub fn after(app: AppId, collection: &CollectionName, cursor: Option<&Cursor>) -> Result<Option<FileId>> {
        let Some(cursor) = cursor else { return Ok(None) };
        let last = FileId::list(app, collection).last(cursor).and_then(|last| last.parse().ok());
        last.map(Some).ok_or_else(|| FilesError::InvalidCursor.into())
    }
}

/// A file as the answer to a request: what `serve` of a collection gives to a script, and what a response carries instead
/// of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServedFile {
    /// The app.
    pub app: AppId,
    /// The collection.
    pub collection: CollectionName,
    /// The file, as it was when the script asked for it.
    pub record: FileRecord,
    /// Browsers are to show it rather than to save it.
    pub inline: bool,
}

/// A file that answers a request, and what the request asks for of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAnswer {
    /// The file.
    pub file: ServedFile,
    /// The method of the request.
    pub method: Method,
    /// The headers of the request.
    pub asked: HeaderMap,
}

impl ServedFile {
    /// A file to be saved by those who get it.
    pub fn new(app: AppId, collection: CollectionName, record: FileRecord) -> Self {
        ServedFile { app, collection, record, inline: false }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn media_types_are_checked() {
        let good = ["text/plain", "image/svg+xml", "a/b;c=d", "a/b ; c=\"d;\\\" e\" ;f=g", "*/*"];
        let bad = [
            "",
            "text",
            "text/",
            "/plain",
            "a b/c",
            "a/b;",
            "a/b; c",
            "a/b;c=",
            "a/b;c=\"d",
            "a/b\r\nx: y",
            "a/b;c=ü",
        ];
        for text in good {
            assert!(ContentType::new(text).is_ok(), "{text:?}");
        }
        for text in bad {
            assert_eq!(ContentType::new(text).unwrap_err().code(), "files.invalid_content_type", "{text:?}");
        }
        assert!(ContentType::new(format!("a/{}", "b".repeat(253))).is_ok());
        assert!(ContentType::new(format!("a/{}", "b".repeat(254))).is_err());
    }

    proptest! {
        #[test]
        fn a_media_type_fits_into_a_header(text in "[a-z]{1,3}/[a-z\"\\\\;= \t\r\nü]{0,20}|.{0,30}") {
            if let Ok(content_type) = ContentType::new(text) {
                prop_assert!(http::HeaderValue::from_str(content_type.as_str()).is_ok());
            }
        }
    }

    #[test]
    fn names_are_checked() {
        for name in ["a", "ä b.txt", "../x", &"n".repeat(255)] {
            assert!(FileName::new(name).is_ok(), "{name:?}");
        }
        for name in ["", "a\nb", "a\0b", "a\u{85}b", &"n".repeat(256)] {
            assert_eq!(FileName::new(name).unwrap_err().code(), "files.invalid_name", "{name:?}");
        }
    }

    #[test]
    fn metadata_is_checked() {
        let of = |text: &str| Metadata::new(Json::parse(text).unwrap());
        assert!(of(r#"{"a":"[[[[{{{{\"[["}"#).is_ok());
        assert_eq!(of("[]").unwrap_err().code(), "files.invalid_metadata");
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(of(&nested(MAX_METADATA_DEPTH)).is_ok());
        assert_eq!(of(&nested(MAX_METADATA_DEPTH + 1)).unwrap_err().code(), "files.invalid_metadata");
        let long = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        assert!(of(&long(MAX_METADATA_BYTES)).is_ok());
        assert_eq!(of(&long(MAX_METADATA_BYTES + 1)).unwrap_err().code(), "files.metadata_too_large");
    }

    #[test]
    fn a_checksum_reads_back() {
        let sum = Checksum([0xab; 32]);
        assert_eq!(sum.to_string().parse::<Checksum>().unwrap(), sum);
        for text in ["", "ab", &"AB".repeat(32), &"+a".repeat(32)] {
            assert!(text.parse::<Checksum>().is_err());
        }
    }
}
