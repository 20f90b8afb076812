//! Triggers that watch dead letters.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TriggerId;
use crate::outbox::{EventKind, OutboxRow};
use crate::script::ScriptName;

/// Watches events that are given up. What is `None` does not narrow it.
///
/// Its handler runs once for each letter: it is not tried again, and makes no letter when it fails. Then the letter is
/// [`HandlerFailed`](crate::outbox::Resolution::HandlerFailed).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterTrigger {
    /// Only events of this kind.
    pub source: Option<EventKind>,
    /// Only events of this script, by its name.
    pub script: Option<ScriptName>,
    /// Only events of this trigger.
    pub trigger: Option<TriggerId>,
}

impl DeadLetterTrigger {
    /// Whether an event is watched, should it be given up, whose script has this name.
    pub(crate) fn matches(&self, row: &OutboxRow, script: Option<&ScriptName>) -> bool {
        self.source.is_none_or(|source| source == row.kind)
            && self.script.as_ref().is_none_or(|wanted| Some(wanted) == script)
            && self.trigger.is_none_or(|trigger| Some(trigger) == row.trigger)
    }
}

impl fmt::Display for DeadLetterTrigger {
    /// As a directive spells it: `kv resize`, as far as a directive can.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source.map_or("*", EventKind::as_str))?;
        match &self.script {
            Some(script) => write!(f, " {script}"),
            None => Ok(()),
        }
    }
}
