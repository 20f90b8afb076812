//! The event that a published message fires.

use serde::Serialize;

use super::Topic;
use crate::{Json, Timestamp};

/// The only thing that happens to a message, as rows of the outbox call it.
pub const PUBLISH: &str = "publish";

/// The payload of a `pubsub` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PubsubEvent<'a> {
    /// What the message is about.
    pub topic: &'a Topic,
    /// The message.
    pub message: &'a Json,
    /// When it was published.
    pub published_at: Timestamp,
}

impl PubsubEvent<'_> {
    /// The payload as an outbox row stores it: canonical text. It may nest one level deeper than a message, so
    /// [`Json::from_value`] would refuse some.
    pub fn to_json(&self) -> Json {
        // Nothing in either needs an escape: a topic was checked when it was made.
        Json::from_canonical(format!(
            "{{\"message\":{},\"published_at\":\"{}\",\"topic\":\"{}\"}}",
            self.message.as_str(),
            self.published_at,
            self.topic,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_serde_would_write_in_canonical_form() {
        let (topic, message) = (Topic::new("order.paid").unwrap(), Json::parse("{\"n\":1.0}").unwrap());
        let published_at = "2026-03-01T12:00:00.5Z".parse().unwrap();
        let event = PubsubEvent { topic: &topic, message: &message, published_at };
        assert_eq!(event.to_json(), Json::from_value(&event).unwrap());
    }
}
