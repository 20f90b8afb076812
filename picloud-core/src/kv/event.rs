//! The event that a KV write fires.

use serde::{Deserialize, Serialize};

use crate::{CollectionName, Json};

use super::Key;

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvOp {
    /// There was no entry, or an expired one.
    Insert,
    /// The value was replaced.
    Update,
    /// The entry was removed.
    Delete,
}

impl KvOp {
    /// The word that scripts, triggers and outbox rows use.
    pub const fn as_str(self) -> &'static str {
        match self {
            KvOp::Insert => "insert",
            KvOp::Update => "update",
            KvOp::Delete => "delete",
        }
    }
}

/// The payload of a `kv` event: all keys are always present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvEvent {
    /// The collection that was written to.
    pub collection: CollectionName,
    /// The key that was written.
    pub key: Key,
    /// What happened.
    pub op: KvOp,
    /// The new value; `None` after a delete.
    pub value: Option<Json>,
    /// The value before; `None` for an insert.
    pub prev_value: Option<Json>,
    /// The version that this write made.
    pub version: u64,
}
