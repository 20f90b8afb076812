//! The event that a write to a file fires.

use serde::{Deserialize, Serialize};

use super::{FileId, FileInfo};
use crate::trigger::CollectionOp;
use crate::{CollectionName, Json, Result};

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesOp {
    /// It was created.
    Create,
    /// Its bytes, or what is known about it, were replaced.
    Update,
    /// It was removed.
    Delete,
}

impl FilesOp {
    /// The word that scripts, triggers and outbox rows use.
    pub const fn as_str(self) -> &'static str {
        match self {
            FilesOp::Create => "create",
            FilesOp::Update => "update",
            FilesOp::Delete => "delete",
        }
    }
}

impl CollectionOp for FilesOp {
    const ALL: &'static [Self] = &[FilesOp::Create, FilesOp::Update, FilesOp::Delete];

    fn as_str(self) -> &'static str {
        FilesOp::as_str(self)
    }
}

/// The payload of a `files` event: all keys are always present, and bytes are never in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilesEvent<'a> {
    /// The collection that was written to.
    pub collection: &'a CollectionName,
    /// The file that was written.
    pub id: FileId,
    /// What happened.
    pub op: FilesOp,
    /// The file now; `None` after a delete.
    pub file: Option<&'a FileInfo>,
    /// The file before; `None` for a new one.
    pub prev_file: Option<&'a FileInfo>,
}

impl<'a> FilesEvent<'a> {
    /// The event of a write between these two states; `None` when nothing was there and nothing is.
    pub fn between(
        collection: &'a CollectionName,
        before: Option<&'a FileInfo>,
        after: Option<&'a FileInfo>,
    ) -> Option<Self> {
        let op = match (before, after) {
            (None, None) => return None,
            (None, Some(_)) => FilesOp::Create,
            (Some(_), Some(_)) => FilesOp::Update,
            (Some(_), None) => FilesOp::Delete,
        };
        let id = after.or(before)?.id;
        Some(FilesEvent { collection, id, op, file: after, prev_file: before })
    }

    /// The payload as an outbox row stores it.
    ///
    /// # Errors
    /// None that are known: every part was checked.
    pub fn to_json(&self) -> Result<Json> {
        Json::from_value(self)
    }
}
