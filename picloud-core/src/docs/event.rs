//! The event that a write to a document fires.

use serde::{Deserialize, Serialize};

use super::DocId;
use crate::trigger::CollectionOp;
use crate::{CollectionName, Json};

/// What happened to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocsOp {
    /// It was created.
    Create,
    /// Its data was replaced or patched.
    Update,
    /// It was removed.
    Delete,
}

impl DocsOp {
    /// The word that scripts, triggers and outbox rows use.
    pub const fn as_str(self) -> &'static str {
        match self {
            DocsOp::Create => "create",
            DocsOp::Update => "update",
            DocsOp::Delete => "delete",
        }
    }
}

impl CollectionOp for DocsOp {
    const ALL: &'static [Self] = &[DocsOp::Create, DocsOp::Update, DocsOp::Delete];

    fn as_str(self) -> &'static str {
        DocsOp::as_str(self)
    }
}

/// The payload of a `docs` event: all keys are always present. [`to_json`](DocsEvent::to_json) makes the text to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocsEvent {
    /// The collection that was written to.
    pub collection: CollectionName,
    /// The document that was written.
    pub id: DocId,
    /// What happened.
    pub op: DocsOp,
    /// The new data; `None` after a delete.
    pub data: Option<Json>,
    /// The data before; `None` for a new document.
    pub prev_data: Option<Json>,
}

impl DocsEvent {
    /// The payload as an outbox row stores it: canonical text. It may nest one level deeper than a value, so
    /// [`Json::from_value`] would refuse some.
    pub fn to_json(&self) -> Json {
        let text = |value: &Option<Json>| value.as_ref().map_or("null", Json::as_str).to_owned();
        // A name holds nothing that JSON would escape.
        Json::from_canonical(format!(
            "{{\"collection\":\"{}\",\"data\":{},\"id\":\"{}\",\"op\":\"{}\",\"prev_data\":{}}}",
            self.collection,
            text(&self.data),
            self.id,
            self.op.as_str(),
            text(&self.prev_data),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_serde_would_write_in_canonical_form() {
        let event = DocsEvent {
            collection: CollectionName::new("orders:eu.a-b_C").unwrap(),
            id: DocId::new(),
            op: DocsOp::Update,
            data: Some(Json::parse("{\"n\":1.0}").unwrap()),
            prev_data: None,
        };
        assert_eq!(event.to_json(), Json::from_value(&event).unwrap());
    }
}
