//! The event of a message.

use serde::Serialize;

use super::QueueName;
use crate::outbox::Claimed;
use crate::{Error, Json, Result};

/// The only thing that happens to a message, as rows of the outbox call it.
pub const SEND: &str = "send";

/// The payload of a `queue` event. Scripts see the number of the `attempt` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueEvent<'a> {
    /// The message.
    pub message: &'a Json,
    /// The queue.
    pub name: &'a QueueName,
}

impl QueueEvent<'_> {
    /// The payload as an outbox row stores it: canonical text. It may nest one level deeper than a message, so
    /// [`Json::from_value`] would refuse some.
    pub fn to_json(&self) -> Json {
        // Nothing in either needs an escape: a name was checked when it was made.
        Json::from_canonical(format!("{{\"message\":{},\"name\":\"{}\"}}", self.message.as_str(), self.name))
    }
}

/// The payload of several messages that one execution handles: each with its id and its attempt.
pub(crate) fn batch_payload(batch: &[Claimed]) -> Result<Json> {
    let (mut messages, mut name) = (Vec::with_capacity(batch.len()), "");
    for claimed in batch {
        // As [`QueueEvent::to_json`] wrote it: nothing in a name could be taken for the end of a message.
        let told = claimed.row.payload.as_str().strip_prefix("{\"message\":");
        let told = told.and_then(|told| told.strip_suffix("\"}")?.rsplit_once(",\"name\":\""));
        let (message, queue) = told.ok_or_else(|| Error::internal("a stored message cannot be read"))?;
        name = queue;
        let (attempt, id) = (claimed.attempt, claimed.row.id);
        messages.push(format!("{{\"attempt\":{attempt},\"id\":\"{id}\",\"message\":{message}}}"));
    }
    Ok(Json::from_canonical(format!("{{\"messages\":[{}],\"name\":\"{name}\"}}", messages.join(","))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_serde_would_write_in_canonical_form() {
        let (name, message) = (QueueName::new("jobs").unwrap(), Json::parse("{\"n\":1.0}").unwrap());
        let event = QueueEvent { message: &message, name: &name };
        assert_eq!(event.to_json(), Json::from_value(&event).unwrap());
    }
}
