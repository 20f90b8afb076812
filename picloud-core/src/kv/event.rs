//! The event that a KV write fires.

use serde::{Deserialize, Serialize};

use crate::trigger::CollectionOp;
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

impl CollectionOp for KvOp {
    const ALL: &'static [Self] = &[KvOp::Insert, KvOp::Update, KvOp::Delete];

    fn as_str(self) -> &'static str {
        KvOp::as_str(self)
    }
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

/// The payload of a `kv` event: all keys are always present. [`to_json`](KvEvent::to_json) makes the text to store.
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

impl KvEvent {
    /// The payload as an outbox row stores it: canonical text. It may nest one level deeper than a value, so
    /// [`Json::from_value`] would refuse some.
    pub fn to_json(&self) -> Json {
        let text = |value: &Option<Json>| value.as_ref().map_or("null", Json::as_str).to_owned();
        // Names and keys hold nothing that JSON cannot: they were checked when they were made.
        let quoted = |text: &str| Json::from_value(text).unwrap_or_else(|_| Json::null());
        Json::from_canonical(format!(
            "{{\"collection\":{},\"key\":{},\"op\":\"{}\",\"prev_value\":{},\"value\":{},\"version\":{}}}",
            quoted(self.collection.as_str()),
            quoted(self.key.as_str()),
            self.op.as_str(),
            text(&self.prev_value),
            text(&self.value),
            self.version,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_serde_would_write_in_canonical_form() {
        let event = KvEvent {
            collection: CollectionName::new("orders").unwrap(),
            key: Key::new("a \"quoted\" ü").unwrap(),
            op: KvOp::Update,
            value: Some(Json::parse("{\"n\":1.0}").unwrap()),
            prev_value: None,
            version: 7,
        };
        assert_eq!(event.to_json(), Json::from_value(&event).unwrap());
    }
}
