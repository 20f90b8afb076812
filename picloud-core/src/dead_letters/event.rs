//! The event of a dead letter.

use serde::{Deserialize, Serialize};

use crate::outbox::{DeadLetterReason, EventKind};
use crate::{EventId, Json, ScriptId, Timestamp, TriggerId};

/// The payload of a `dead_letter` event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetterEvent<'a> {
    /// The letter, which has the id of the event that was given up.
    pub id: EventId,
    /// What kind of event was given up.
    pub source: EventKind,
    /// The trigger whose handler failed; `None` for an async request.
    pub trigger_id: Option<TriggerId>,
    /// The script that failed.
    pub script_id: ScriptId,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: DeadLetterReason,
    /// The last failure, for people.
    pub error: &'a str,
    /// When the event happened.
    pub first_at: Timestamp,
    /// When it was given up.
    pub last_at: Timestamp,
    /// The event that was given up, as its kind says.
    pub event: &'a Json,
}

impl DeadLetterEvent<'_> {
    /// The payload as an outbox row stores it: canonical text. It nests deeper than values may, so [`Json::from_value`] would
    /// refuse some.
    pub fn to_json(&self) -> Json {
        let trigger = self.trigger_id.map_or("null".to_owned(), |id| format!("\"{id}\""));
        // Of all that is in it only the error may need escapes.
        let error = serde_json::Value::from(self.error);
        let error = Json::from_value(&error).map_or("\"\"".to_owned(), |error| error.as_str().to_owned());
        Json::from_canonical(format!(
            "{{\"attempts\":{},\"error\":{error},\"event\":{},\"first_at\":\"{}\",\"id\":\"{}\",\"last_at\":\"{}\",\"reason\":\"{}\",\"script_id\":\"{}\",\"source\":\"{}\",\"trigger_id\":{trigger}}}",
            self.attempts,
            self.event.as_str(),
            self.first_at,
            self.id,
            self.last_at,
            self.reason,
            self.script_id,
            self.source.as_str(),
        ))
    }
}

/// The letter that a payload tells of; `None` when it is not such a payload.
pub(crate) fn letter_of(payload: &Json) -> Option<EventId> {
    #[derive(Deserialize)]
    struct Told {
        id: EventId,
    }
    serde_json::from_str::<Told>(payload.as_str()).ok().map(|told| told.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_what_serde_would_write_in_canonical_form() {
        let event = Json::parse("{\"n\":1.0}").unwrap();
        for trigger_id in [None, Some(TriggerId::new())] {
            let letter = DeadLetterEvent {
                id: EventId::new(),
                source: EventKind::Kv,
                trigger_id,
                script_id: ScriptId::new(),
                attempts: 5,
                reason: DeadLetterReason::Crash,
                error: "it \"died\"\n\u{1}ü",
                first_at: "2026-03-01T12:00:00.5Z".parse().unwrap(),
                last_at: "2026-03-01T12:01:00Z".parse().unwrap(),
                event: &event,
            };
            assert_eq!(letter.to_json(), Json::from_value(&letter).unwrap());
            assert_eq!(letter_of(&letter.to_json()), Some(letter.id));
        }
        assert_eq!(letter_of(&event), None);
    }
}
